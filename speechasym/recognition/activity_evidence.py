"""Numbers that tell speech from other sounds: the asymmetries of all channels, and how they differ.

In speech, channels rise and fall together, syllable by syllable, and neighbours that follow
different harmonics lose step. In noise each channel has its own ups and downs, which cancel in the
mean over channels. Per frame, 36 numbers of the hysteresis of the amplitude (`asymmetry.tracks`)
say this, at each of the four scales; their means and deviations over 0.1 to 1 s are the evidence.
How loud the recording is does not matter, above -100 dB in a channel.

Shapes: T samples, F frames, C channels, B bands, K columns, S scales.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from speechasym.asymmetry import tracks
from speechasym.asymmetry.columns import CHUNK
from speechasym.asymmetry.tracks import Design, Inner
from speechasym.auditory.filterbank import FilterbankConfig

RATE, FRAME_RATE = 16000, 100  # Hz
BANK = FilterbankConfig(sample_rate=RATE, frame_rate=FRAME_RATE, low_hz=100.0, high_hz=7000.0)
BANDS = 8  # of neighbouring channels
OF_SCALE = ("mean", "bands", "across", "channels", "rise", "fall", "rises", "falls")
OF_FRAME = ("coherence", "unevenness", "weight", "tilt")
WINDOWS = (11, 41, 101)  # frames over which means are taken, and from the second on deviations
REACH = WINDOWS[-1] // 2  # frames before and after that a window needs
GRID = 2000  # frames for which windows are computed at a time
FAINTEST = 1e-10  # power


def columns() -> list[str]:
    """Return the name of each column of the evidence, in order."""
    scales = range(1, len(tracks.SCALES) + 1)
    rows = [f"{name}{scale}" for scale in scales for name in OF_SCALE] + list(OF_FRAME)
    names = []
    for window in WINDOWS:
        kinds = ("mean",) if window == WINDOWS[0] else ("mean", "deviation")
        names += [
            f"{kind} of {row} over {window / FRAME_RATE:g} s" for kind in kinds for row in rows
        ]
    return names


def evidence(blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Blocks of samples (T,) at `RATE` -> parts (F, K) of the evidence of all complete frames.

    Memory does not grow with the recording, and the result does not depend on the blocks.
    """
    kept: NDArray[np.float32] = np.zeros((0, 0), np.float32)
    before = 0  # rows kept that have been described already
    for row in described(blocks):
        kept = np.concatenate([kept, row]) if kept.size else row
        while len(kept) - before >= GRID + REACH:
            yield windowed(kept[: before + GRID + REACH], before, before + GRID)
            first = max(0, before + GRID - REACH)
            kept, before = kept[first:], before + GRID - first
    if len(kept) > before:
        yield windowed(kept, before, len(kept))


def described(blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
    """Blocks of samples (T,) -> rows (F, 36) of the frames that each block completes."""
    design = tracks.design(tracks.AsymmetryConfig(bank=BANK))
    state = tracks.start(design)
    for block in blocks:
        for i in range(0, len(block), CHUNK):
            inner, state = tracks.inner(block[i : i + CHUNK], design, state, lean=True)
            if len(inner.frame_power):
                rows, stops = _rows(inner, design, state.stops["amplitude"])
                state = state._replace(stops={"amplitude": stops})
                yield rows


def _rows(inner: Inner, d: Design, stops: NDArray) -> tuple[NDArray[np.float32], NDArray]:
    """Return the rows of the frames of a chunk, and the state of the plays."""
    from speechasym.ops import cpu_asymmetry as cpu

    everywhere, width = np.ones_like(inner.level_db), d.width["amplitude"]
    _, rise, fall, asymmetry, stops = cpu.stop_pooled(
        inner.moves["amplitude"], everywhere, width, d.decay, d.per_frame, stops
    )
    found = []
    for scale, r in enumerate(width.tolist()):
        a, up, down = asymmetry[scale], np.log1p(rise[scale] / r), np.log1p(fall[scale] / r)
        bands = a.reshape(len(a), BANDS, -1).mean(2)
        squares = (bands**2).sum(1)
        across = (bands.sum(1) ** 2 - squares) / (BANDS * (BANDS - 1))
        found += [a.mean(1), squares / BANDS, across, (a**2).mean(1)]
        found += [up.mean(1), down.mean(1), (up**2).mean(1), (down**2).mean(1)]
    along, across, size = cpu.neighbours(inner.sample, d.per_frame)
    turned = along * d.mid_lead.real + across * d.mid_lead.imag
    coherence = turned / np.sqrt(np.maximum(size[:, 1:] * size[:, :-1], np.float32(1e-30)))
    power_db = 10 * np.log10(inner.frame_power + FAINTEST)
    weight = cpu.means(inner.weight, d.per_frame)
    found += [coherence.mean(1), coherence.std(1), weight.mean(1), power_db.std(1)]
    return np.stack(found, 1).astype(np.float32), stops


def windowed(rows: NDArray[np.float32], first: int, last: int) -> NDArray[np.float32]:
    """Return means and deviations (last - first, K) of rows in windows around first to last."""
    at, parts = np.arange(first, last), []
    start = np.zeros((1, rows.shape[1]))
    wide = rows.astype(np.float64)
    sums = np.concatenate([start, wide.cumsum(0)])
    squares = np.concatenate([start, (wide**2).cumsum(0)])
    for window in WINDOWS:
        a = np.maximum(at - window // 2, 0)
        b = np.minimum(at + window // 2 + 1, len(rows))
        count = (b - a)[:, None]
        mean = (sums[b] - sums[a]) / count
        parts.append(mean)
        if window > WINDOWS[0]:
            parts.append(np.sqrt(np.maximum((squares[b] - squares[a]) / count - mean**2, 1e-8)))
    return np.concatenate(parts, 1).astype(np.float32)
