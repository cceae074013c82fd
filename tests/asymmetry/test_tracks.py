"""Asymmetry tracks: equal to dumb loops, and true to physics."""

import numpy as np
import oracle
import pytest
from asymmetry_signals import RATE, designed, noise, pooled, quiet_first, tone

from speechasym.asymmetry import tracks
from speechasym.asymmetry.tracks import SCALES
from speechasym.auditory import erb, filterbank
from speechasym.ops import ref


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
        d.erb_per_cycle.astype(float), d.inner.hop, 1 - np.exp(-0.002 / 0.02), h, 50,
    )  # fmt: skip
    weight = np.array(moves.pop("weight"))
    np.testing.assert_allclose(f.weight, weight.reshape(frames, h, -1).mean(1), atol=2e-5)
    for track, steps in moves.items():
        steps = np.array(steps)
        for k in range(len(SCALES)):
            for c in range(steps.shape[1]):
                width, decay = d.width[track][k], d.decay[k]
                at_rest = -width if track == "amplitude" else 0.0
                s, up, down = oracle.stops(steps[:, c], width, decay, h, at_rest)
                counts = np.ones(len(s)) if track == "amplitude" else weight[:, c]
                if track == "lead":
                    counts = np.minimum(weight[:, c], weight[:, c + 1])
                want = (np.array(s) * counts).reshape(frames, h).mean(1) / width
                tight = {"rtol": 2e-3, "atol": 2e-3 * max(1.0, up[-1] + down[-1])}
                np.testing.assert_allclose(f.stop[track][k, :, c], want, atol=5e-3)
                np.testing.assert_allclose(f.rise[track][k, :, c], up, **tight)
                np.testing.assert_allclose(f.fall[track][k, :, c], down, **tight)


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


@pytest.mark.parametrize("f0", [100, 120, 160, 200])
def test_lead_of_pulses_does_not_drift(f0):
    """Channels ring at their own frequencies after each pulse and are set back by the next."""
    x = np.zeros(RATE, np.float32)
    x[:: RATE // f0] = 0.5
    f, _ = pooled(quiet_first(x))
    steady = f.asymmetry["lead"][:, 90:145]  # past the beginning
    assert np.abs(steady.mean((1, 2))).max() < 0.01
    assert np.abs(steady[1:]).mean((1, 2)).max() < 0.01


def test_a_sound_falls_as_far_as_it_rose():
    """The first play starts at rest, and the floor, which the sound raised, sinks again."""
    swell = tone(1000) * np.sin(np.linspace(0, np.pi, RATE)).astype(np.float32)
    f, d = pooled(np.concatenate([quiet_first(swell), noise(3 * RATE // 2, 1e-4, 2)]))
    at = np.abs(d.inner.frequency - 1000).argmin()
    totals = []
    for work in (f.rise["amplitude"][..., at], f.fall["amplitude"][..., at]):
        before = np.concatenate([np.zeros((4, 1)), work[:, :-1]], 1)
        totals.append((work - before * d.decay[:, None]).sum(1))
    assert totals[0].min() > 10
    np.testing.assert_allclose(*totals, rtol=0.02)


@pytest.mark.parametrize("align", [False, True])
def test_stationary_noise_has_no_asymmetry_at_the_start(align):
    f, d = pooled(noise(RATE), align=align)
    assert len(f.power) == 100 - d.late
    for index in f.asymmetry.values():
        assert np.abs(index[:, :10]).mean((1, 2)).max() < 0.02


def test_lean_frames_are_those_of_all_tracks():
    x = noise(8000).astype(np.float32)
    d = designed(compact=True)
    whole, _ = tracks.pool(x, d, tracks.start(d))
    lean, _ = tracks.pool(x, d, tracks.start(d), ("amplitude",), lean=True)
    for name in ("power", "floor", "weight", "frequency", "coherence"):
        np.testing.assert_array_equal(getattr(lean, name), getattr(whole, name))
    np.testing.assert_array_equal(lean.asymmetry["amplitude"][0], whole.asymmetry["amplitude"][0])
