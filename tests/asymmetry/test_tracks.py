"""Asymmetry tracks and sets: equal to dumb loops, true to physics, the same in any chunks."""

import numpy as np
import oracle
import pytest
from scipy.fft import dct

import speechasym
from speechasym.asymmetry import cepstra, tracks
from speechasym.asymmetry.scales import SCALES, TRACKS, AsymmetryConfig, Scale
from speechasym.auditory import erb, filterbank
from speechasym.auditory.filterbank import FilterbankConfig
from speechasym.feature_extraction import sets
from speechasym.feature_extraction.sets import AsymmetryFeatures
from speechasym.ops import cpu_asymmetry, cpu_hysteresis, ref

RATE = 16000
ALL = ("track", "stop", "asymmetry", "rise", "fall")


def noise(samples, level=0.1, seed=0):
    return (np.random.default_rng(seed).standard_normal(samples) * level).astype(np.float32)


def tone(hz, seconds=1.0, level=0.3, rate=RATE):
    """A sine; `hz` a number, or (T,) instantaneous frequencies."""
    t = np.arange(int(seconds * rate))
    turns = np.cumsum(np.broadcast_to(hz, t.shape)) / rate
    return (level * np.sin(2 * np.pi * turns)).astype(np.float32)


def quiet_first(x, seconds=0.5):
    """Faint noise before, so that the sound is not taken for the noise floor."""
    return np.concatenate([noise(int(seconds * RATE), 1e-4), x + noise(len(x), 1e-4, 1)])


def designed(**options):
    return tracks.design(AsymmetryConfig(bank=FilterbankConfig(**{"sample_rate": RATE} | options)))


def pooled(x, **options):
    d = designed(**options)
    return tracks.pool(x, d, tracks.start(d))[0], d


# --- recurrences ----------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [0, 1, 63, 500])
@pytest.mark.parametrize("heard", [0, 4, 100])
def test_noise_floor_equals_its_definition(frames, heard):
    rng = np.random.default_rng(frames)
    power = (10 ** rng.uniform(-9, 0, (frames, 3))).astype(np.float32)
    state = None if not heard else np.float32([[1e-3, 1e-5, 0.1], [-40, -60, -5]])
    got, after = cpu_asymmetry.noise_floor(power, 0.2, 0.01, 10, state, heard)
    for c in range(3):
        if frames:
            before = None if state is None else state[:, c].astype(float)
            own = power[:, c].astype(float)
            want, end = ref.noise_floor(own, 0.2, 0.01, 10, before, heard)
            np.testing.assert_allclose(got[:, c], want, rtol=1e-5, atol=1e-4)
            np.testing.assert_allclose(after[:, c], end, rtol=1e-5, atol=1e-4)


def test_noise_floor_of_noise_is_its_level_and_survives_bursts():
    power = np.random.default_rng(0).exponential(1e-4, (3000, 1)).astype(np.float32)
    power[1000:1100] = 1.0  # 40 dB louder for a second
    floor, _ = cpu_asymmetry.noise_floor(power, 0.2, 0.002, 10)
    assert -49 < floor[20:1000].mean() < -40
    assert floor[1099] - floor[999] < 10
    assert floor[1110] < -35


@pytest.mark.parametrize("hop", [1, 5, 7])
@pytest.mark.parametrize("frames", [0, 1, 63])
@pytest.mark.parametrize("started", [False, True])
def test_stop_pooled_equals_its_definition_and_dumb_loops(hop, frames, started):
    rng = np.random.default_rng(frames)
    step = rng.standard_normal((frames * hop, 4))
    weight = rng.uniform(0, 1, step.shape)
    width, decay = np.array([0.5, 2.0, 5.0]), np.array([0.1, 0.5, 0.9])
    state = rng.uniform(0, 0.5, (3, 3, 4)) if started else None
    *got, index, after = cpu_asymmetry.stop_pooled(step, weight, width, decay, hop, state)
    total = got[1] + got[2] + width[:, None, None]
    np.testing.assert_allclose(index, (got[1] - got[2]) / total, rtol=1e-12)
    got.append(after)
    for c in range(4):
        before = None if state is None else state[:, :, c]
        want = ref.stop_pooled(step[:, c], weight[:, c], width, decay, hop, before)
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a[..., c], b, rtol=1e-12, atol=1e-13)
        if not started:
            for k in range(3):
                s, rise, fall = oracle.stops(step[:, c], width[k], decay[k], hop)
                mean = (np.array(s) * weight[:, c]).reshape(frames, hop).mean(1) / width[k]
                for a, b in zip(got, (mean, rise, fall), strict=False):
                    np.testing.assert_allclose(a[k, :, c], b, rtol=1e-12, atol=1e-13)


def test_stop_is_the_track_less_its_play():
    x = np.cumsum(np.random.default_rng(1).standard_normal((400, 5)), 0)
    width = np.array([0.7, 3.0])
    p, _ = cpu_hysteresis.play(x, width)
    moves = np.diff(p, axis=1, prepend=np.stack([x[:1], x[:1]]))
    mean = p.reshape(2, -1, 5, 5).mean(2)
    rise, fall = (m.clip(min=0).reshape(2, -1, 5, 5).sum(2) for m in (moves, -moves))
    step = np.diff(x, axis=0, prepend=x[:1])
    none = np.zeros(2)
    stop, up, down, index, _ = cpu_asymmetry.stop_pooled(step, np.ones_like(x), width, none, 5)
    track = x.reshape(-1, 5, 5).mean(1)
    np.testing.assert_allclose(stop * width[:, None, None], track - mean, atol=1e-10)
    np.testing.assert_allclose(up, rise, atol=1e-10)
    np.testing.assert_allclose(down, fall, atol=1e-10)
    want = (rise - fall) / (rise + fall + width[:, None, None])
    np.testing.assert_allclose(index, want, atol=1e-10)


def test_plays_of_plays_add_their_widths():
    """Level l + 1 could as well listen to what level l passes on."""
    x = np.cumsum(np.random.default_rng(2).standard_normal((500, 3)), 0)
    first, _ = cpu_hysteresis.play(x, np.array([1.5]))
    second, _ = cpu_hysteresis.play(first[0], np.array([3.0]))
    both, _ = cpu_hysteresis.play(x, np.array([4.5]))
    np.testing.assert_allclose(second, both, atol=1e-10)


@pytest.mark.parametrize("parts", [[300], [1, 299], [100, 0, 200]])
def test_running_norm_equals_its_definition(parts):
    x = noise((300, 4)) * [1, 10, 0.1, 0] + [0, 5, -3, 2]
    state, heard, got = None, 0, []
    for part in np.split(x.astype(np.float32), np.cumsum(parts)[:-1]):
        made, state = cpu_asymmetry.running_norm(part, 0.05, state, heard)
        got.append(made)
        heard += len(part)
    want, end = ref.running_norm(x.astype(np.float32).astype(float), 0.05)
    np.testing.assert_allclose(np.concatenate(got), want, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(state, end, rtol=1e-6, atol=1e-9)


# --- tracks and levels ----------------------------------------------------------------------------


def test_tracks_equal_dumb_loops():
    """From the bank's own output at the inner rate, in float64 and plain Python."""
    x = quiet_first(tone(np.linspace(300, 900, 8000), 0.5), 0.25)
    f, d = pooled(x, channels=6, low_hz=200, high_hz=2000)
    h, frames = d.per_frame, len(f.power)
    inner, _ = filterbank.pool(x[None, : frames * d.hop], d.inner)
    power, lag1, sample = (part[0].T.astype(complex) for part in inner)
    power = power.real
    np.testing.assert_allclose(f.power, power.reshape(frames, h, -1).mean(1), rtol=1e-5)
    smooth, rise = 1 - np.exp(-0.01 / 0.05), 1 - np.exp(-0.01 / 5)
    mean = power.reshape(frames, h, -1).mean(1)
    under = [ref.noise_floor(np.maximum(m, 1e-11), smooth, rise, 10)[0] for m in mean.T]
    floor = np.maximum(np.transpose(under) + 6, -100)
    np.testing.assert_allclose(f.floor, floor, atol=2e-3)
    own = np.angle(d.inner.pole) / (2 * np.pi)
    turn, phase = np.angle(lag1) / (2 * np.pi), np.angle(sample) / (2 * np.pi)
    least = 10 ** (f.floor.astype(float) / 10)
    moves = oracle.tracks(
        power.tolist(), turn.tolist(), phase.tolist(), least.tolist(), own,
        d.erb_per_cycle.astype(float), d.inner.hop, 30 / RATE, h,
    )  # fmt: skip
    weight = np.array(moves.pop("weight"))
    np.testing.assert_allclose(f.weight, weight.reshape(frames, h, -1).mean(1), atol=2e-5)
    for track, steps in moves.items():
        steps = np.array(steps)
        for k in range(len(SCALES)):
            for c in range(steps.shape[1]):
                width, decay = d.width[track][k], d.decay[k]
                s, up, down = oracle.stops(steps[:, c], width, decay, h)
                counts = np.ones(len(s)) if track == "amplitude" else weight[:, c]
                if track == "lead":
                    counts = np.minimum(weight[:, c], weight[:, c + 1])
                want = (np.array(s) * counts).reshape(frames, h).mean(1) / width
                tight = {"rtol": 2e-3, "atol": 2e-3 * max(1.0, up[-1] + down[-1])}
                np.testing.assert_allclose(f.stop[track][k, :, c], want, atol=5e-3)
                np.testing.assert_allclose(f.rise[track][k, :, c], up, **tight)
                np.testing.assert_allclose(f.fall[track][k, :, c], down, **tight)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("normalise", ["none", "running"])
def test_any_chunking_is_the_whole(align, small, normalise):
    x = quiet_first(noise(9000) + tone(700, 9000 / RATE), 0.3)
    outputs = {} if small else {"outputs": ALL}
    config = AsymmetryFeatures(
        channels=18, align=align, compact=small, normalise=normalise,
        **outputs,
    )  # fmt: skip
    whole = np.concatenate(list(config.frames([x])))
    assert whole.shape == (round(len(x) / 160), len(config.columns()))
    cuts = np.sort(np.random.default_rng(3).integers(0, len(x), 12))
    parts = np.concatenate(list(config.frames(np.split(x, cuts))))
    np.testing.assert_array_equal(parts, whole)


def test_inner_rate_is_near_500():
    for rate, frame_rate, inner in (
        (16000, 100, 500), (8000, 100, 500), (44100, 100, 700), (48000, 100, 500), (16000, 50, 500),
        (16000, 1000, 1000), (22050, 90, 450), (16000, 62.5, 500),
    ):  # fmt: skip
        hop = filterbank.hop(rate, frame_rate)
        count = tracks.inner_per_frame(hop, rate)
        assert hop % count == 0 and rate * count / hop == pytest.approx(inner)


def test_silence_gives_zero_not_noise():
    for x in (np.zeros(16000, np.float32), noise(16000, 1e-5), noise(16000, 1e-3)):
        f, _ = pooled(x)
        later = slice(10, None)  # the first 100 ms are noise by definition
        for track in ("frequency", "carrier", "lead"):
            index = f.asymmetry[track]
            assert np.abs(getattr(f, track)[later]).mean() < 0.03
            assert np.abs(index[:, later]).mean() < 0.15
            assert np.isfinite(f.stop[track]).all()
        assert f.weight[later].mean() < 0.06
        assert (f.amplitude >= tracks.QUIET_DB - 1e-3).all()


def test_rise_and_fall_of_amplitude():
    t = np.arange(8000) / RATE
    ramped = quiet_first(tone(1000, 0.5) * np.exp((t - 0.5) / 0.1))
    damped = quiet_first(tone(1000, 0.5) * np.exp(-t / 0.1))
    for x, sign in ((ramped, 1), (damped, -1)):
        f, d = pooled(x)
        at = np.abs(d.inner.frequency - 1000).argmin()
        index = f.asymmetry["amplitude"]
        middle = index[:, 80:95, at]  # past the onset, which the upper levels still remember
        assert (sign * middle[:2] > 0.3).all() and (sign * middle[2] > 0.1).all()
        assert (sign * f.stop["amplitude"][:2, 80:95, at] > 0.5).all()


def test_glides_rise_and_fall_in_frequency():
    up = quiet_first(tone(np.linspace(900, 1100, 8000), 0.5))
    down = quiet_first(tone(np.linspace(1100, 900, 8000), 0.5))
    still = quiet_first(tone(1030, 0.5))
    for x, sign in ((up, 1), (down, -1)):
        f, d = pooled(x)
        at = np.abs(d.inner.frequency - 1000).argmin()
        rise, fall = f.rise["frequency"][1, 60:95, at], f.fall["frequency"][1, 60:95, at]
        assert (sign * (rise - fall)).mean() > 0.05
        assert sign * (f.frequency[94, at] - f.frequency[56, at]) > 0.5
    f, d = pooled(still)
    at = np.abs(d.inner.frequency - 1000).argmin()
    own = (1030 - d.inner.frequency[at]) / erb.erb(d.inner.frequency[at])
    np.testing.assert_allclose(f.frequency[60:, at], own, atol=0.01)
    assert f.rise["frequency"][0, 75:, at].max() < 0.01


def test_carrier_keeps_its_prediction_until_the_phase_jumps():
    x = tone(1000, 0.5)
    x[4000:] = 0.3 * np.sin(2 * np.pi * (1000 * np.arange(4000, 8000) / RATE + 0.25))
    f, d = pooled(quiet_first(x))
    at = np.abs(d.inner.frequency - 1000).argmin()
    assert np.abs(f.carrier[60:74, at]).max() < 1e-3
    ahead = f.rise["carrier"][0, 74:82, at].max()
    assert ahead > 0.05 and ahead > 3 * f.fall["carrier"][0, 74:82, at].max()


def test_lead_of_a_tone_midway_is_nothing():
    for align in (False, True):
        d = designed(align=align)
        middle = (d.inner.frequency[30] + d.inner.frequency[31]) / 2
        f, _ = pooled(quiet_first(tone(middle)), align=align)
        assert np.abs(f.lead[80:140, 30]).max() < 0.01
        assert f.coherence[80:140, 30].min() > 0.99
    f, _ = pooled(quiet_first(noise(RATE)))
    assert 0.2 < f.coherence[80:140].mean() < 0.9


@pytest.mark.parametrize("f0", [110, 200, 240, 350])
def test_neighbours_that_follow_two_harmonics_do_not_count(f0):
    f, _ = pooled(quiet_first(tone(4 * f0) + tone(5 * f0)))
    turned = f0 * 0.5  # cycles that level 4 would remember
    for work in (f.rise["lead"], f.fall["lead"]):
        assert work[3, 110:140].max() < 0.03 * turned


def test_lead_follows_a_component_through_its_channels():
    """A tone that glides up comes into step with the upper channel's centre: the lead rises."""
    for low, high, sign in ((950, 1050, 1), (1050, 950, -1)):
        f, d = pooled(quiet_first(tone(np.linspace(low, high, 8000), 0.5)))
        at = np.abs(d.inner.frequency - 1000).argmin()
        assert sign * (f.lead[95, at] - f.lead[57, at]) > 0.03
        moved = (f.rise["lead"] - f.fall["lead"])[0, 57:96, at].sum()
        assert sign * moved > 0.02


def test_stops_of_phases_stay_bounded():
    f, _ = pooled(quiet_first(tone(1000, 4.0) + tone(1130, 4.0)))
    for track in ("carrier", "lead"):
        assert np.abs(f.stop[track]).max() <= 1 + 1e-5
        assert np.abs(getattr(f, track)).max() <= 0.5


# --- sets -----------------------------------------------------------------------------------------


def test_columns_say_what_rows_hold():
    x = quiet_first(noise(8000) + tone(700, 0.5))
    config = AsymmetryFeatures(channels=8, outputs=ALL)
    columns = config.columns()
    matrix = sets.features(x, RATE, features="asymmetry", channels=8, outputs=ALL)
    f, _ = pooled(np.concatenate([x, np.zeros(160, np.float32)]), channels=8)
    assert len({c["name"] for c in columns}) == len(columns) == matrix.shape[1]
    for i, column in enumerate(columns):
        track, c = column["track"], column["channel"]
        if "output" not in column:
            want = getattr(f, track)[:, c]
        else:
            level = column["level"] - 1
            assert column["width"] == SCALES[level].width(track)
            want = getattr(f, column["output"])[track][level, :, c]
        np.testing.assert_array_equal(matrix[:, i], want[: len(matrix)], err_msg=column["name"])


def test_compact_set_from_its_parts():
    x = quiet_first(noise(8000) + tone(700, 0.5))
    matrix = sets.features(x, RATE, features="asymmetry", compact=True)
    config = AsymmetryFeatures(compact=True)
    names = [c["name"] for c in config.columns()]
    assert matrix.shape == (100, len(names)) and len(names) == 33 <= 80
    f, _ = pooled(x)
    index = f.asymmetry["amplitude"][0]
    both = np.minimum(f.weight[:, 1:], f.weight[:, :-1])
    root = f.power.astype(float) ** 0.2
    for group, track, count in (
        ("power", root, 9), ("asymmetry1", index, 3), ("deviation", f.frequency * root, 5),
        ("coherence", f.coherence * both, 5),
    ):  # fmt: skip
        coefficients = dct(track, norm="ortho", axis=1)[:, :count]
        padded = np.pad(coefficients, ((5, 5), (0, 0)), "edge")
        for k in range(count):
            smooth = np.convolve(padded[:, k], [0.25, 0.5, 0.25], "valid")
            own = names.index(f"{group}_{k:02d}")
            np.testing.assert_allclose(matrix[:, own], smooth[4:-4], atol=1e-4)
            if group == "power" and k < 6:
                slope = np.correlate(smooth, np.array([-2, -1, 0, 1, 2]) / 10, "valid")
                got = matrix[:, names.index(f"slope_{k:02d}")]
                np.testing.assert_allclose(got, slope[2:-2], atol=1e-4)
            if group == "power" and k < 5:
                curve = np.correlate(slope, np.array([-2, -1, 0, 1, 2]) / 10, "valid")
                got = matrix[:, names.index(f"curve_{k:02d}")]
                np.testing.assert_allclose(got, curve, atol=1e-4)


@pytest.mark.parametrize("kinds", [("amplitude",), ("frequency",), ("phase",)])
def test_kinds_are_parts_of_the_whole(kinds):
    x = quiet_first(noise(8000))
    for small in (False, True):
        options = {"features": "asymmetry", "compact": small, "channels": 16}
        every = [c["kind"] for c in sets.feature_config(**options).columns()]
        part = sets.features(x, RATE, kinds=kinds, **options)
        whole = sets.features(x, RATE, **options)
        np.testing.assert_array_equal(part, whole[:, np.isin(every, kinds)])


@pytest.mark.parametrize("samples", [1, 79, 80, 161, 900])
@pytest.mark.parametrize("small", [False, True])
def test_short_recordings(samples, small):
    for normalise in ("none", "utterance", "running"):
        matrix = sets.features(
            noise(samples), RATE, features="asymmetry", compact=small, normalise=normalise
        )
        assert len(matrix) == filterbank.frame_count(samples, 160) and np.isfinite(matrix).all()


@pytest.mark.parametrize("features", ["gammatone", "asymmetry", "logmel", "mfcc"])
def test_normalisation(features):
    x = quiet_first(noise(16000) * np.linspace(0, 1, 16000, dtype=np.float32))
    plain = sets.features(x, RATE, features=features)
    whole = sets.features(x, RATE, features=features, normalise="utterance")
    moving = plain.std(0) > 1e-3
    np.testing.assert_allclose(whole[:, moving].mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(whole[:, moving].std(0), 1, rtol=1e-3)
    got = sets.features(x, RATE, features=features, normalise="running")
    want, _ = ref.running_norm(plain.astype(float), 1 - np.exp(-0.01 / 3))
    np.testing.assert_allclose(got[:, moving], want[:, moving], rtol=0.02, atol=0.02)


# --- noise test -----------------------------------------------------------------------------------


def test_surrogates_keep_the_spectrum_only():
    from speechasym.asymmetry.surrogates import surrogate

    x = quiet_first(noise(8000) * np.linspace(0, 1, 8000, dtype=np.float32))
    for size in (len(x), len(x) - 1):
        y = surrogate(x[:size], np.random.default_rng(0))
        np.testing.assert_allclose(np.abs(np.fft.rfft(y)), np.abs(np.fft.rfft(x[:size])), atol=0.02)
        assert np.abs(np.corrcoef(x[:size], y)[0, 1]) < 0.3


def test_noise_is_noise_and_ramps_are_not():
    ramps = np.tile(np.exp(np.linspace(-5, 0, 1600)), 15).astype(np.float32) * noise(24000, 0.3)
    found = speechasym.noise_test(noise(24000), RATE, noises=39)
    assert [v.scale for v in found] == [1, 2, 3, 4] * 4
    assert [v.track for v in found[::4]] == list(TRACKS)
    assert np.mean([v.p <= 0.05 for v in found]) <= 0.2  # 5 % are expected
    loud = {(v.track, v.scale): v for v in speechasym.noise_test(ramps, RATE, noises=39)}
    assert loud["amplitude", 3].p == 0.05 and loud["amplitude", 3].observed > 0.1
    again = speechasym.noise_test(noise(24000), RATE, noises=39)
    assert again == found


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"level_db": (1, 3, 3, 9)}, "strictly rising"),
        ({"level_erb": (0.3, 0.2, 0.4, 0.5)}, "strictly rising"),
        ({"level_cycles": (0, 0.1, 0.2, 0.3)}, "positive"),
        ({"level_ms": (-1, 1, 2, 3)}, "positive"),
        ({"level_ms": (5, float("nan"), 100, 500)}, "positive"),
        ({"level_ms": (5, 25)}, "2, 4, 4, 4 values"),
        ({"channels": 1}, "no neighbour"),
        ({"rate": 70}, "do not divide"),
        ({"kinds": ("loudness",)}, "must be one or more of"),
        ({"kinds": ()}, "must be one or more of"),
        ({"outputs": ("stop", "stop")}, "at most once"),
        ({"compact": True, "outputs": ("stop",)}, "compact set has its own"),
        ({"tracks": ("level", "phase")}, "is an option of gammatone features, not of asymmetry"),
        ({"normalise": "speaker"}, "must be one of none, utterance"),
    ],
)
def test_options_out_of_range(options, says):
    with pytest.raises(speechasym.ConfigError, match=says):
        sets.feature_config(features="asymmetry", **options)


def test_no_levels_and_bad_sounds():
    with pytest.raises(speechasym.ConfigError, match="at least one"):
        AsymmetryConfig(bank=FilterbankConfig(sample_rate=RATE), scales=())
    assert AsymmetryConfig(bank=FilterbankConfig(sample_rate=RATE), scales=(Scale(5, 1, 1, 1),))
    for x in (np.zeros((2, 100)), np.zeros(0), np.array([0.0, np.nan])):
        with pytest.raises(speechasym.ConfigError, match="finite mono"):
            speechasym.noise_test(x, RATE)
    with pytest.raises(speechasym.ConfigError, match="must be >= 1"):
        speechasym.noise_test(noise(1000), RATE, noises=0)


def test_lookahead_of_the_compact_set():
    x = quiet_first(noise(8000))
    other = x.copy()
    other[8000:] += noise(8000, 0.1, 9)
    a, b = (sets.features(y, RATE, features="asymmetry", compact=True) for y in (x, other))
    same = (a == b).all(1)
    assert same[: 50 - cepstra.LOOKAHEAD].all() and not same[50:].any()
