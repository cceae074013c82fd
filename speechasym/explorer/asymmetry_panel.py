"""Pictures of the asymmetry of amplitude, frequency and phase, by scale.

A recording is computed in parts. A part continues from the state in which the one before ended, if
that is known: then its values are those of the whole recording. Far from any known state it begins
after a run-in of 10 s instead. Measured on speech, that gives the same values to the bit, but for
phase at scales of 100 ms and more: there they differ by 0.002 on average.

Shapes: T samples, F frames, C channels, S scales.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from speechasym.asymmetry import loops, tracks
from speechasym.asymmetry.columns import CHUNK
from speechasym.asymmetry.tracks import SCALES, AsymmetryConfig, Design, Scale, State
from speechasym.auditory import erb
from speechasym.auditory.filterbank import FilterbankConfig
from speechasym.explorer import overview
from speechasym.explorer.choices import FRAME_S, KINDS, chosen
from speechasym.explorer.memo import Memo
from speechasym.explorer.overview import Overview
from speechasym.explorer.recordings import Recording
from speechasym.explorer.tiles import Grid, Picture, columns_of

Part = dict[str, NDArray[np.float16]]  # {track: (S, F, C)}

NEAR_S = 60.0  # shown by parts; more is shown from afar
PART_S, BEFORE_S = 5.0, 10.0  # of a part, and of the run-in


def asymmetry(recording: Recording, g: Grid, options: Mapping[str, str], memo: Memo) -> Picture:
    """Return (rise - fall) / (rise + fall + width) of one kind of track at one scale."""
    track, number = KINDS[chosen(options, "kind")], int(chosen(options, "scale"))
    channels, width = int(chosen(options, "channels")), float(chosen(options, "width"))
    d = design(recording.rate, channels, width)
    key = recording.key("asymmetry", channels, width)
    states = memo((*key, "states"), lambda: {0: tracks.start(d)})
    rate, exact = recording.rate / d.hop, True
    first, stop = g.frames(rate)
    if g.end - g.start <= NEAR_S or recording.seconds <= NEAR_S:
        size = _size(d)
        numbers = range(first // size, -(-stop // size))
        with memo((*key, "lock"), Lock):
            parts = _parts(recording, d, numbers, states, memo, key)
        values = np.concatenate([part[track][number] for part in parts])
        values = values[first - numbers[0] * size :][: stop - first]
    else:
        whole = memo((*key, "afar"), partial(_from_afar, recording, d, states))
        rate = whole.rate
        first, stop = g.frames(rate)
        exact = whole.done >= min(stop, len(whole.values))
        values = whole.values[first:stop, _columns(d)[track]]
        values = values.reshape(len(values), len(SCALES), -1)[:, number] / np.float32(127)
    columns = columns_of(values.astype(np.float32), first, rate, g).T
    rows = {"frequencies": _centres(d, track).round(2).tolist()}
    return Picture(columns, -1.0, -1 + 255 / 127, "asymmetry", rows, exact)


def design(rate: int, channels: int, width: float) -> Design:
    """Return the design of feature extraction at this sample rate, with widths so many times."""
    hop = max(1, round(FRAME_S * rate))
    config = FilterbankConfig(sample_rate=rate, channels=channels, frame_rate=rate / hop)
    scales = tuple(Scale(t, *(width * value for value in rest)) for t, *rest in SCALES)
    return tracks.design(AsymmetryConfig(bank=config, scales=scales))


def _centres(d: Design, track: str) -> NDArray[np.float64]:
    """Return centre frequencies in Hz; of lead, midway between neighbours."""
    if track != "lead":
        return d.inner.frequency
    cam = erb.hz_to_cam(d.inner.frequency)
    return erb.cam_to_hz((cam[1:] + cam[:-1]) / 2)


def _per_frame(d: Design) -> int:
    """Return the frames that one of the overview holds."""
    return max(1, overview.hop(d.sample_rate) // d.hop)


def _size(d: Design) -> int:
    """Return the frames of a part, a multiple of those that one of the overview holds."""
    n = _per_frame(d)
    return n * max(1, round(PART_S * d.sample_rate / (d.hop * n)))


def _parts(
    recording: Recording, d: Design, numbers: range, states: dict[int, State], memo: Memo,
    key: tuple,
) -> list[Part]:  # fmt: skip
    """Return parts, and keep them, and the states after them that are those of the whole."""
    parts: list[Part] = []
    before = round(BEFORE_S / PART_S)
    state: State | None = None  # with which the next part begins
    for number in numbers:
        part = memo.get((*key, number))
        if part is not None:
            state = states.get(number + 1)
            parts.append(part)
            continue
        if state is None:
            far = 0 if recording.seconds <= NEAR_S else max(0, number - before)
            known = next((n for n in range(number, far - 1, -1) if n in states), None)
            begin = max(0, number - before) if known is None else known
            state = tracks.start(d) if known is None else states[known]
            for n in range(begin, number):
                _, state = _part(recording, d, n, state)
                if known is not None:
                    states[n + 1] = state
        part, state = _part(recording, d, number, state)
        if number in states:
            states[number + 1] = state
        parts.append(memo((*key, number), partial(_identity, part)))
    return parts


def _identity(part: Part) -> Part:
    return part


def _part(recording: Recording, d: Design, number: int, state: State) -> tuple[Part, State]:
    """Return the asymmetry of the frames of a part, and the state after it."""
    size = _size(d) * d.hop
    x = recording.read(number * size, (number + 1) * size)
    x = np.pad(x, (0, -len(x) % d.hop))
    pieces = []
    for i in range(0, max(1, len(x)), CHUNK):
        pooled, state = tracks.pool(x[i : i + CHUNK], d, state, loops.DRAWN_TRACKS)
        pieces.append(pooled.asymmetry)
    return {
        track: np.concatenate([piece[track] for piece in pieces], 1).astype(np.float16)
        for track in loops.DRAWN_TRACKS
    }, state


def _columns(d: Design) -> dict[str, slice]:
    """Return where the overview has the scales and channels of each track."""
    ends = np.cumsum([len(SCALES) * len(_centres(d, track)) for track in loops.DRAWN_TRACKS])
    begins = [0, *ends[:-1].tolist()]
    return dict(zip(loops.DRAWN_TRACKS, map(slice, begins, ends.tolist()), strict=True))


def _from_afar(recording: Recording, d: Design, states: dict[int, State]) -> Overview:
    n, count = _per_frame(d), -(-recording.samples // (_size(d) * d.hop))

    def parts() -> Iterator[NDArray]:
        for number in range(count):
            part, states[number + 1] = _part(recording, d, number, states[number])
            rows = [part[track].transpose(1, 0, 2) for track in loops.DRAWN_TRACKS]
            flat = np.concatenate([row.reshape(len(row), -1) for row in rows], 1)
            flat = np.pad(flat, ((0, -len(flat) % n), (0, 0)), mode="edge").astype(np.float32)
            means = flat.reshape(-1, n, flat.shape[1]).mean(1)
            yield np.rint(127 * means).astype(np.int8)

    return Overview(recording, n * d.hop, _columns(d)["lead"].stop, parts, kind=np.int8)
