"""Numbers behind the pictures of hysteresis: all frames of a recording, loops of one channel and
their areas, and work per second.

Shapes: T samples, N inner samples, F frames, C channels, S scales.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechasym.asymmetry import tracks
from speechasym.asymmetry.columns import CHUNK
from speechasym.asymmetry.tracks import Design, Tracks
from speechasym.auditory import filterbank

DRAWN_TRACKS = ("amplitude", "frequency", "lead")  # one track of each kind


def all_frames(x: NDArray[np.float32], d: Design, selection: slice = slice(None)) -> Tracks:
    """Return the `filterbank.frame_count` frames of samples x (T,), or some of them."""
    first, stop, _ = selection.indices(filterbank.frame_count(len(x), d.hop))
    state, count, parts = tracks.start(d), 0, []
    for chunk in _chunks(x, d):
        pooled, state = tracks.pool(chunk, d, state, DRAWN_TRACKS)
        part = slice(max(0, first - count), max(0, stop - count))
        parts.append([_frames(value, part) for value in pooled])
        count += len(pooled.power)
    return Tracks(*map(_joined, zip(*parts, strict=True)))


def _frames(value: Any, part: slice) -> Any:
    if isinstance(value, dict):
        return {track: work[:, part] for track, work in value.items()}
    return value[part]


def _joined(values: Sequence[Any]) -> Any:
    if isinstance(values[0], dict):
        return {track: np.concatenate([v[track] for v in values], 1) for track in values[0]}
    return np.concatenate(values)


def _chunks(x: NDArray[np.float32], d: Design) -> Iterator[NDArray[np.float32]]:
    """Yield x, truncated or followed by silence, so that all its frames come out."""
    size = filterbank.frame_count(len(x), d.hop) * d.hop + d.late * d.hop
    x = np.concatenate([x, np.zeros(max(0, size - len(x)), np.float32)])[:size]
    for i in range(0, max(1, size), CHUNK):
        yield x[i : i + CHUNK]


def work_rates(
    frames: Tracks, d: Design, track: str, selection: slice = slice(None)
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rise and fall work a second, (S, C) each, in the track's unit, as means over frames.

    A frame counts by its weight, so that silence does not dilute the mean; for lead, by the lesser
    weight of both neighbours. Silence throughout gives 0. The scales' memory is undone: what counts
    is the work done in a frame.

    Args:
        selection: which frames to take the mean of.
    """
    weight = frames.weight.astype(np.float64)
    if track == "lead":
        weight = np.minimum(weight[:, 1:], weight[:, :-1])
    weight = weight[selection]
    total = weight.sum(0)
    rate = d.sample_rate / d.hop
    rates = []
    for work in (frames.rise[track], frames.fall[track]):
        before = np.zeros_like(work)
        before[:, 1:] = work[:, :-1]
        new = np.maximum(work - before * d.decay[:, None, None], 0)  # below 0 by rounding only
        rates.append((weight * new[:, selection]).sum(1) * rate / np.where(total > 0, total, 1))
    return rates[0], rates[1]


def inner_tracks(
    x: NDArray[np.float32], d: Design, channel: int
) -> tuple[dict[str, NDArray], NDArray[np.bool_]]:
    """Samples x (T,) -> tracks (N,) of one channel at the inner rate, and where it is audible (N,).

    There are d.per_frame inner samples in a frame. Each track is the running sum of its weighted
    moves, the input of hysteresis: amplitude (dB) starts at the first level, frequency (ERB) and
    lead (cycles; over the channel below, or for the lowest channel, of the one above) start at 0
    and are free to drift.
    """
    state = tracks.start(d)
    moves: dict[str, list[NDArray]] = {track: [] for track in DRAWN_TRACKS}
    levels, audible = [], []
    for chunk in _chunks(x, d):
        inner, state = tracks.inner(chunk, d, state)
        for track, parts in moves.items():
            column = max(0, channel - 1) if track == "lead" else channel
            parts.append(inner.moves[track][:, column].astype(np.float64))
        levels.append(inner.level_db[:, channel])
        audible.append(inner.weight[:, channel] > 0)
    sums = {track: np.cumsum(np.concatenate(parts)) for track, parts in moves.items()}
    sums["amplitude"] += np.concatenate(levels)[:1]
    return sums, np.concatenate(audible)


def origins(track: str, y: NDArray[np.float64], audible: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return what a picture subtracts from a track (N,) and its plays, because it drifts: (N,).

    For lead whole cycles, for frequency its sum up to the last silence, for amplitude nothing.
    """
    if track == "lead":
        return np.rint(y)
    if track == "frequency":
        return y[np.maximum.accumulate(np.where(audible, 0, np.arange(len(y))))]
    return np.zeros(len(y))


def play(
    y: NDArray[np.float64], width: NDArray[np.float64], at_rest: bool = False
) -> NDArray[np.float64]:
    """A track y (N,) and half-widths (S,) -> the plays' outputs (S, N).

    At rest, as that of the amplitude, an output starts a half-width above the track, else on it.
    """
    from speechasym.ops import cpu_hysteresis as cpu

    start = (y[0] + width)[:, None] if at_rest else None
    return cpu.play(y[:, None], width, start)[0][..., 0]


def loop_area(x: NDArray, p: NDArray) -> NDArray[np.float64]:
    """Input (N,), outputs (..., N) -> |integral of x dp|, by trapezoids: x's unit times p's.

    The last sample is joined to the first; without loops, the area is 0.
    """
    middle = (x + np.roll(x, -1)) / 2
    return np.abs((middle * (np.roll(p, -1, -1) - p)).sum(-1))
