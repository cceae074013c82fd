"""Feature sets: columns and values from their parts, any chunking, and options out of range."""

import numpy as np
import pytest
from asymmetry_signals import RATE, noise, pooled, quiet_first, tone
from scipy.fft import dct

import speechasym
from speechasym.asymmetry import cepstra
from speechasym.asymmetry.tracks import OUTPUTS, SCALES, AsymmetryConfig, Scale
from speechasym.auditory import filterbank
from speechasym.auditory.filterbank import FilterbankConfig
from speechasym.feature_extraction import sets
from speechasym.feature_extraction.sets import AsymmetryFeatures
from speechasym.ops import ref


def test_columns_describe_the_rows():
    x = quiet_first(noise(8000) + tone(700, 0.5))
    config = AsymmetryFeatures(channels=8, outputs=OUTPUTS)
    columns = config.columns()
    matrix = sets.features(x, RATE, features="asymmetry", channels=8, outputs=OUTPUTS)
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
    f, _ = pooled(x, compact=True)
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
            column = names.index(f"{group}_{k:02d}")
            np.testing.assert_allclose(matrix[:, column], smooth[4:-4], atol=1e-4)
            if group == "power" and k < 6:
                slope = np.correlate(smooth, np.array([-2, -1, 0, 1, 2]) / 10, "valid")
                got = matrix[:, names.index(f"slope_{k:02d}")]
                np.testing.assert_allclose(got, slope[2:-2], atol=1e-4)
            if group == "power" and k < 5:
                curve = np.correlate(slope, np.array([-2, -1, 0, 1, 2]) / 10, "valid")
                got = matrix[:, names.index(f"curve_{k:02d}")]
                np.testing.assert_allclose(got, curve, atol=1e-4)


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("normalise", ["none", "running"])
def test_any_chunking_is_the_whole(align, small, normalise):
    x = quiet_first(noise(9000) + tone(700, 9000 / RATE), 0.3)
    outputs = {} if small else {"outputs": OUTPUTS}
    config = AsymmetryFeatures(
        channels=18, align=align, compact=small, normalise=normalise,
        **outputs,
    )  # fmt: skip
    whole = np.concatenate(list(config.frames([x])))
    assert whole.shape == (round(len(x) / 160), len(config.columns()))
    cuts = np.sort(np.random.default_rng(3).integers(0, len(x), 12))
    parts = np.concatenate(list(config.frames(np.split(x, cuts))))
    np.testing.assert_array_equal(parts, whole)


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


def test_lookahead_of_the_compact_set():
    x = quiet_first(noise(8000))
    other = x.copy()
    other[8000:] += noise(8000, 0.1, 9)
    a, b = (sets.features(y, RATE, features="asymmetry", compact=True) for y in (x, other))
    same = (a == b).all(1)
    assert same[: 50 - cepstra.LOOKAHEAD].all() and not same[50:].any()


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
        ({"rate": 1300}, "do not divide"),
        ({"kinds": ("loudness",)}, "must be one or more of"),
        ({"kinds": ()}, "must be one or more of"),
        ({"outputs": ("stop", "stop")}, "at most once"),
        ({"compact": True, "outputs": ("stop",)}, "cannot be chosen for the compact set"),
        ({"tracks": ("level", "phase")}, "is an option of gammatone features, not of asymmetry"),
        ({"normalise": "speaker"}, "must be one of none, utterance"),
    ],
)
def test_options_out_of_range(options, says):
    with pytest.raises(speechasym.ConfigError, match=says):
        sets.feature_config(features="asymmetry", **options)


def test_no_scales():
    with pytest.raises(speechasym.ConfigError, match="at least one"):
        AsymmetryConfig(bank=FilterbankConfig(sample_rate=RATE), scales=())
    assert AsymmetryConfig(bank=FilterbankConfig(sample_rate=RATE), scales=(Scale(5, 1, 1, 1),))


def test_unknown_options_are_named_with_the_known_ones():
    says = r"foo: is not an option of mfcc features\. Known options: .*rate"
    with pytest.raises(speechasym.ConfigError, match=says):
        sets.features(np.zeros(100), 16000, features="mfcc", foo=3)
    with pytest.raises(speechasym.ConfigError, match=r"chanels: .* Did you mean channels\?"):
        sets.features(np.zeros(100), 16000, chanels=3)
