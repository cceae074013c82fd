"""Numbers behind the pictures: tracks, plays and areas of loops, and work a second."""

import numpy as np
import pytest
import torch
from asymmetry_signals import RATE, designed, tone

from speechasym.asymmetry import loops
from speechasym.asymmetry.hysteresis import Play


def channel_at(d, hertz: float) -> int:
    return int(np.abs(d.inner.frequency - hertz).argmin())


def test_inner_tracks_are_those_of_the_features():
    """The plays' work, forgotten by scale, is the work that `pool` returns."""
    x = np.random.default_rng(2).normal(0, 0.1, RATE // 2).astype(np.float32)
    x *= np.linspace(0, 1, len(x), dtype=np.float32) ** 2
    d = designed(align=True)
    frames = loops.all_frames(x, d)
    tracks, audible = loops.inner_tracks(x, d, 30)
    assert audible.shape == (250,) and 0 < audible.mean() <= 1
    for track, y in tracks.items():
        plays = loops.play(y, d.width[track], track == "amplitude")
        steps = np.diff(plays, axis=1, prepend=plays[:, :1]).reshape(4, -1, d.per_frame)
        column = 29 if track == "lead" else 30
        for work, sign in ((frames.rise, 1), (frames.fall, -1)):
            moves = np.maximum(sign * steps, 0).sum(2)
            for scale, keep in enumerate(d.decay):
                total, expected = 0.0, []
                for move in moves[scale]:
                    total = keep * total + move
                    expected.append(total)
                got = work[track][scale, :, column]
                np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-3)


def test_area_and_play_are_those_of_hysteresis():
    y = np.cumsum(np.random.default_rng(3).normal(size=300))
    widths = np.array([0.5, 2.0])
    p, _ = Play(widths.tolist())(torch.as_tensor(y))
    np.testing.assert_allclose(loops.play(y, widths), p.numpy(), rtol=1e-6)
    triangle = np.abs(np.arange(400) % 200 - 100) / 10.0  # between 0 and 10, twice
    area = loops.loop_area(triangle, loops.play(triangle, np.array([1.0])))
    assert area == pytest.approx(2 * 2 * 8, rel=0.1)  # a parallelogram, 2 r wide and 8 high


def test_work_rates_of_a_tone_that_goes_up_and_down():
    """By 20 dB, 5 times a second: each play does that less its width, twice; the widest nothing."""
    time = np.arange(RATE) / RATE
    decibel = np.abs((10 * time) % 2 - 1) * 20 - 40
    x = np.where(time < 0.15, 0, tone(1000, level=1.0) * 10 ** (decibel / 20))
    d = designed(align=True)
    frames = loops.all_frames(x.astype(np.float32), d)
    at = channel_at(d, 1000)
    for work in loops.work_rates(frames, d, "amplitude", slice(40, 80)):
        assert work[:, at] == pytest.approx([85, 70, 40, 0], abs=6)


def test_work_rates_of_a_chirp():
    chirp = np.concatenate([np.zeros(3200, np.float32), tone(np.linspace(800, 1200, 9600), 0.6)])
    d = designed(align=True)
    frames = loops.all_frames(chirp, d)
    rise, fall = loops.work_rates(frames, d, "frequency", slice(30, 75))
    at = channel_at(d, 1000)
    assert (rise[:, at] > 5 * fall[:, at]).all()


@pytest.mark.parametrize("align", [False, True])
def test_some_frames_are_those_of_all(align):
    """Whatever came before them, and with chunks that end within them."""
    x = np.random.default_rng(4).normal(0, 0.1, 3 * RATE).astype(np.float32)
    x *= np.abs(np.sin(np.arange(len(x)) / 3000)).astype(np.float32)
    d = designed(align=align)
    whole, part = loops.all_frames(x, d), loops.all_frames(x, d, slice(95, 230))
    assert len(whole.power) == 300
    assert np.array_equal(part.power, whole.power[95:230])
    for track in loops.DRAWN_TRACKS:
        assert np.array_equal(part.asymmetry[track], whole.asymmetry[track][:, 95:230])
        assert np.array_equal(part.rise[track], whole.rise[track][:, 95:230])
