"""Numbers behind the pictures of levels: all frames of a recording, loops of one channel, their
areas, and work per second.

Shapes: T samples, N inner samples, F frames, C channels, L levels.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechasym.asymmetry import tracks as extractors
from speechasym.asymmetry.tracks import Design, Frames
from speechasym.auditory import filterbank

SHOWN = ("amplitude", "frequency", "lead")  # one track of each kind


def level_frames(x: NDArray[np.float32], d: Design) -> Frames:
    """Samples x (T,) -> its `bank.frame_count` frames, what alignment delays brought back."""
    count, late = filterbank.frame_count(len(x), d.hop), -(-d.latency // d.hop)
    made, _ = extractors.pool(_filled(x, d, count), d, extractors.start(d), SHOWN)
    on_time: dict[str, Any] = {
        name: {track: part[:, late:] for track, part in value.items()}
        if isinstance(value, dict)
        else value[late:]
        for name, value in made._asdict().items()
    }
    return Frames(**on_time)


def _filled(x: NDArray[np.float32], d: Design, count: int) -> NDArray[np.float32]:
    """x cut or followed by silence, so that `count` frames come out after those that are late."""
    size = count * d.hop + d.latency
    return np.concatenate([x, np.zeros(max(0, size - len(x)), np.float32)])[:size]


def work_rates(
    frames: Frames, d: Design, track: str, shown: slice = slice(None)
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rise and fall work a second, (L, C) each, in the track's unit: means over the frames
    `shown`.

    A frame counts by its weight, so that silence does not water down what is heard; of lead, by
    the lesser weight of both neighbours. Nothing heard gives 0. The levels' memory is undone: what
    counts is the work done in a frame.
    """
    weight = frames.weight.astype(np.float64)
    if track == "lead":
        weight = np.minimum(weight[:, 1:], weight[:, :-1])
    weight = weight[shown]
    heard = weight.sum(0)
    rate = d.sample_rate / d.hop
    found = []
    for work in (frames.rise[track], frames.fall[track]):
        before = np.zeros_like(work)
        before[:, 1:] = work[:, :-1]
        done = np.maximum(work - before * d.decay[:, None, None], 0)  # below 0 by rounding only
        found.append((weight * done[:, shown]).sum(1) * rate / np.where(heard > 0, heard, 1))
    return found[0], found[1]


def inner_tracks(
    x: NDArray[np.float32], d: Design, channel: int
) -> tuple[dict[str, NDArray], NDArray[np.bool_]]:
    """Samples x (T,) -> tracks (N,) of one channel at the inner rate, and where it is heard (N,).

    There are d.per_frame inner samples in a frame.

    Each is the running sum of its weighted moves, as hysteresis sees them: amplitude (dB) from the
    first level on, frequency (ERB) and lead (cycles; over the channel below, of the lowest: of the
    channel above) from 0 on, and free to drift.
    """
    count, late = filterbank.frame_count(len(x), d.hop), -(-d.latency // d.hop)
    found, _ = extractors.inner(_filled(x, d, count), d, extractors.start(d))
    lower = max(0, channel - 1)
    place = {"amplitude": channel, "frequency": channel, "lead": lower}
    tracks = {
        track: np.cumsum(found.steps[track][:, place[track]], dtype=np.float64) for track in SHOWN
    }
    tracks["amplitude"] += found.level[0, channel]
    first = late * d.per_frame
    return {track: y[first:] for track, y in tracks.items()}, found.weight[first:, channel] > 0


def origins(track: str, y: NDArray[np.float64], heard: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What a picture takes off a track (N,) and its plays, because it drifts: (N,) in its unit.

    Of lead whole cycles, of frequency its sum up to the last silence, of amplitude nothing.
    """
    if track == "lead":
        return np.rint(y)
    if track == "frequency":
        return y[np.maximum.accumulate(np.where(heard, 0, np.arange(len(y))))]
    return np.zeros(len(y))


def play(y: NDArray[np.float64], width: NDArray[np.float64]) -> NDArray[np.float64]:
    """A track y (N,) and half-widths (L,) -> the plays' outputs (L, N): p = y - s, s the stop."""
    from speechasym.ops import cpu_hysteresis as cpu

    return cpu.play(y[:, None], width)[0][..., 0]


def loop_area(x: NDArray, p: NDArray) -> NDArray[np.float64]:
    """Input (N,), outputs (..., N) -> |integral of x dp|, by trapezoids: x's unit times p's.

    The last sample is joined to the first, as in `hysteresis.loop_area`: without loops, 0.
    """
    middle = (x + np.roll(x, -1)) / 2
    return np.abs((middle * (np.roll(p, -1, -1) - p)).sum(-1))
