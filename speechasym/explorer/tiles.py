"""Pieces of pictures of a recording, computed when they are asked for.

A tile of zoom Z has up to 512 columns of 10 ms / 2^Z; tile K begins with column 512 K. Its values
are bytes b that stand for lo + (hi - lo) b / 255. A column holds the mean over its time of what the
library computes with frames of its length, or the frame at its middle where frames are longer.

Shapes: T samples, F frames, C channels, K columns, R rows.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.auditory import filterbank
from speechasym.auditory.filterbank import FilterbankConfig, FilterbankState
from speechasym.config import check_choice
from speechasym.errors import ConfigError
from speechasym.explorer.memo import Memo
from speechasym.explorer.recordings import Recording

COLUMNS = 512
COARSEST, FINEST, FINEST_WAVE = -12, 5, 10  # zooms
LOW_DB, HIGH_DB = -120.0, 7.5  # half a dB a step; full scale is 0
RUN_IN_S = 0.3  # after which the narrowest filter has forgotten what was before
CHANNELS = (32, 64, 128)  # of the filterbank, to choose from


class Grid(NamedTuple):
    """The columns of a tile."""

    zoom: int
    index: int
    count: int  # columns up to the end of the recording

    @property
    def column_s(self) -> float:
        """Duration of a column in s."""
        return 0.01 * 2.0**-self.zoom

    @property
    def start(self) -> float:
        """Time in s at which the tile begins."""
        return self.index * COLUMNS * self.column_s

    def edges(self, rate: float) -> NDArray[np.float64]:
        """Return the (K + 1,) edges of the columns, in units of 1 / rate."""
        return (self.index * COLUMNS + np.arange(self.count + 1)) * (self.column_s * rate)


class Tile(NamedTuple):
    """A piece of a picture."""

    header: dict[str, Any]
    values: NDArray[np.uint8]  # (R, K), lowest frequency first

    def encoded(self) -> bytes:
        """Return the length of the header, the header in JSON, and the values."""
        text = json.dumps(self.header).encode()
        return struct.pack("<I", len(text)) + text + self.values.tobytes()


def grid(recording: Recording, zoom: int, index: int, finest: int = FINEST) -> Grid:
    """Return the columns of a tile. Raises `ConfigError` for an impossible zoom or index."""
    if not COARSEST <= zoom <= finest:
        problem = f"must be between {COARSEST} and {finest}, got {zoom}"
        raise ConfigError("zoom", problem, "Choose one of those")
    if not 0 <= index < 1 << 40:
        raise ConfigError("index", f"must be >= 0, got {index}", "Count tiles from 0")
    column = 0.01 * 2.0**-zoom
    rest = int(np.ceil(round(recording.seconds / column - index * COLUMNS, 6)))
    return Grid(zoom, index, min(COLUMNS, max(0, rest)))


def tile(
    g: Grid, values: NDArray, lo: float, hi: float, unit: str, exact: bool = True, **more: Any
) -> Tile:
    """Return values (R, K) as a tile."""
    scaled = np.rint((values - lo) * (255 / (hi - lo)))
    header = {
        "rows": values.shape[0], "columns": values.shape[1], "lo": lo, "hi": hi, "unit": unit,
        "from": g.start, "column_s": g.column_s, "exact": exact, **more,
    }  # fmt: skip
    return Tile(header, np.clip(scaled, 0, 255).astype(np.uint8))


def columns_of(frames: NDArray, first: float, rate: float, g: Grid) -> NDArray:
    """Return frames (F, R), of which the first begins at `first` / rate s, as columns (K, R).

    A column is the mean of the frames that begin in it, or the frame at its middle.
    """
    edges = g.edges(rate) - first
    if not len(frames):
        return np.zeros((g.count, frames.shape[1]), frames.dtype)
    if g.column_s * rate > 1.5:
        begin = np.clip(np.rint(edges).astype(int), 0, len(frames))
        sums = np.concatenate([frames[:1] * 0.0, frames.cumsum(0, dtype=np.float64)])
        means = (sums[begin[1:]] - sums[begin[:-1]]) / np.maximum(np.diff(begin), 1)[:, None]
        return means.astype(frames.dtype)
    middle = np.floor((edges[1:] + edges[:-1]) / 2 + 1e-6).astype(int)
    return frames[np.clip(middle, 0, len(frames) - 1)]


def waveform(recording: Recording, zoom: int, index: int, memo: Memo) -> Tile:
    """Return the least and the greatest sample of each column; between samples, a line."""
    g = grid(recording, zoom, index, FINEST_WAVE)
    edges = g.edges(recording.rate)
    low, high = least_and_greatest(recording, edges)
    peak = float(max(np.abs(low).max(initial=0), np.abs(high).max(initial=0))) or 1.0
    return tile(g, np.stack([low, high]), -peak, peak, "full scale 1", names=["min", "max"])


def least_and_greatest(
    recording: Recording, edges: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return minima and maxima (K,) between edges (K + 1,) in samples."""
    begin = int(edges[0])
    x = recording.read(begin, int(np.ceil(edges[-1])) + 1)
    if len(edges) < 2 or not len(x):
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    if edges[1] - edges[0] < 1:
        middle = (edges[1:] + edges[:-1]) / 2
        line = np.interp(middle - 0.5, begin + np.arange(len(x)), x).astype(np.float32)
        return line, line
    at = np.minimum(np.rint(edges[:-1]).astype(int) - begin, len(x) - 1)
    x = x[: int(np.rint(edges[-1])) - begin]
    return np.minimum.reduceat(x, at), np.maximum.reduceat(x, at)


def powers(
    recording: Recording, config: FilterbankConfig, first: int, stop: int
) -> NDArray[np.float32]:
    """Return the mean power (F, C) of frames from `first` to `stop`, as of the whole recording."""
    c = filterbank.design(config)
    late = -(-c.latency // c.hop)
    before = min(first, int(np.ceil(RUN_IN_S * recording.rate / c.hop)))
    begin, end = (first - before) * c.hop, (stop + late) * c.hop
    x = recording.read(begin, end)
    x = np.pad(x, (0, max(0, end - begin - len(x))))
    state = FilterbankState(None, np.zeros((1, late * c.hop), np.float32))
    frames, _ = filterbank.pool(x[None], c, state)
    return np.ascontiguousarray(frames.power[0].T[before + late :])


def bank(recording: Recording, options: Mapping[str, str], column_s: float) -> FilterbankConfig:
    """Return the filterbank with frames no longer than a column."""
    channels, align = options.get("channels", "64"), options.get("align", "false")
    check_choice("channels", channels, tuple(map(str, CHANNELS)))
    check_choice("align", align, ("true", "false"))
    hop = max(1, int(column_s * recording.rate + 1e-6))
    return FilterbankConfig(
        sample_rate=recording.rate, channels=int(channels), align=align == "true",
        frame_rate=recording.rate / hop,
    )  # fmt: skip


def gammatone(
    recording: Recording, zoom: int, index: int, options: Mapping[str, str], memo: Memo
) -> Tile:
    """Return levels in dB re a full-scale sine in each channel of the filterbank."""
    g = grid(recording, zoom, index)
    config = bank(recording, options, g.column_s)
    hop = round(recording.rate / config.frame_rate)
    edges = g.edges(recording.rate / hop)
    first, stop = int(edges[0] + 1e-6), int(np.ceil(edges[-1] - 1e-6)) + 1
    frames = powers(recording, config, first, stop)
    level_db = filterbank.level_db(columns_of(frames, first, recording.rate / hop, g)).T
    frequencies = filterbank.design(config).frequency.round(2).tolist()
    return tile(g, level_db, LOW_DB, HIGH_DB, "dB re full-scale sine", frequencies=frequencies)


def parameters() -> dict[str, Any]:
    """Return what can be chosen for the pictures."""
    return {
        "gammatone": {
            "channels": {"default": "64", "choices": list(map(str, CHANNELS))},
            "align": {"default": "false", "choices": ["false", "true"]},
        },
    }


def tile_of(
    recording: Recording, panel: str, zoom: int, index: int, options: Mapping[str, str], memo: Memo
) -> Tile:
    """Return a tile of a panel. Raises `ConfigError` for one that is not known."""
    check_choice("panel", panel, ("waveform", "gammatone"))
    if panel == "waveform":
        return waveform(recording, zoom, index, memo)
    return gammatone(recording, zoom, index, options, memo)
