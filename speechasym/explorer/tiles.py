"""Pieces of pictures of a recording: their columns in time, and how they are sent to the page.

A tile of zoom Z has up to 512 columns of 10 ms / 2^Z; tile K begins with column 512 K. Its values
are bytes b that stand for lo + (hi - lo) b / 255.

Shapes: F frames, K columns, R rows.
"""

import csv
import io
import json
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.errors import ConfigError

COLUMNS = 512
COARSEST, FINEST, FINEST_WAVE = -12, 5, 10  # zooms


class Grid(NamedTuple):
    """Columns of a picture."""

    zoom: int
    first: int  # the first column, counted from the beginning of the recording
    columns: int

    @property
    def column_s(self) -> float:
        """Duration of a column in s."""
        return 0.01 * 2.0**-self.zoom

    @property
    def start(self) -> float:
        """Time in s at which the first column begins."""
        return self.first * self.column_s

    @property
    def end(self) -> float:
        """Time in s at which the last column ends."""
        return (self.first + self.columns) * self.column_s

    def edges(self, rate: float) -> NDArray[np.float64]:
        """Return the (K + 1,) edges of the columns, in units of 1 / rate s."""
        return (self.first + np.arange(self.columns + 1.0)) * (self.column_s * rate)

    def frames(self, rate: float) -> tuple[int, int]:
        """Return the first frame under the columns, and the one after the last."""
        edges = self.edges(rate)
        return int(edges[0] + 1e-6), int(np.ceil(edges[-1] - 1e-6))


def grid(seconds: float, zoom: int, index: int, finest: int) -> Grid:
    """Return the columns of a tile. Raises `ConfigError` for an impossible zoom or index."""
    if not COARSEST <= zoom <= finest:
        problem = f"must be between {COARSEST} and {finest}, got {zoom}"
        raise ConfigError("zoom", problem, "Choose one of those")
    if not 0 <= index < 1 << 40:
        raise ConfigError("index", f"must be >= 0, got {index}", "Count tiles from 0")
    return stretch(zoom, index * COLUMNS, (index + 1) * COLUMNS, seconds)


def stretch(zoom: int, first: int, last: int, seconds: float) -> Grid:
    """Return columns `first` to `last`, as far as a recording that lasts `seconds` has them."""
    most = int(np.ceil(round(seconds / (0.01 * 2.0**-zoom), 6)))
    return Grid(zoom, first, max(0, min(last, most) - first))


class Picture(NamedTuple):
    """Values over columns, and what they are."""

    values: NDArray  # (R, K), lowest frequency first
    lo: float  # drawn as the least
    hi: float  # drawn as the greatest
    unit: str
    rows: dict[str, list[Any]]  # "frequencies" in Hz, or "names", of the R rows
    exact: bool = True  # False: a preview, to be asked for again
    note: str = ""  # instead of values: what to do to see them


def tile(picture: Picture, g: Grid) -> bytes:
    """Return a picture as it is sent: length of the header, the header in JSON, the bytes."""
    values, lo, hi = picture.values, picture.lo, picture.hi
    header = {
        "rows": values.shape[0], "columns": values.shape[1], "lo": lo, "hi": hi,
        "unit": picture.unit, "from": g.start, "column_s": g.column_s, "exact": picture.exact,
        **picture.rows, **({"note": picture.note} if picture.note else {}),
    }  # fmt: skip
    text = json.dumps(header).encode()
    return struct.pack("<I", len(text)) + text + scaled(values, lo, hi).tobytes()


def scaled(values: NDArray, lo: float, hi: float) -> NDArray[np.uint8]:
    """Return values as bytes, `lo` as 0 and `hi` as 255."""
    return np.clip(np.rint((values - lo) * (255 / (hi - lo))), 0, 255).astype(np.uint8)


def table(panel: str, draw: Callable[[Grid], Picture], g: Grid) -> bytes:
    """Return a picture as CSV: a line for each column, with the time in s at which it begins."""
    picture = draw(g)
    names = picture.rows.get("frequencies") or picture.rows.get("names") or []
    hertz = " Hz" if "frequencies" in picture.rows else ""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["time (s)", *(f"{panel} {n}{hertz} ({picture.unit})" for n in names)])
    times = g.edges(1.0)[: picture.values.shape[1]]
    for time, column in zip(times, picture.values.T.tolist(), strict=True):
        writer.writerow([f"{time:.4f}", *(f"{value:.6g}" for value in column)])
    return text.getvalue().encode()


def columns_of(frames: NDArray, first: int, rate: float, g: Grid) -> NDArray[np.float64]:
    """Return frames (F, R), the first of which has the number `first`, as columns (K, R).

    A column is the mean of the frames that begin in it, or the frame at its middle where frames
    are longer.
    """
    edges = g.edges(rate) - first
    if not len(frames):
        return np.zeros((g.columns, frames.shape[1]))
    if g.column_s * rate < 1.5:
        middle = np.floor((edges[1:] + edges[:-1]) / 2 + 1e-6).astype(int)
        return frames[np.clip(middle, 0, len(frames) - 1)].astype(np.float64)
    begin = np.clip(np.ceil(edges - 1e-6).astype(int), 0, len(frames))
    count = np.maximum(np.diff(begin), 1)[:, None]
    first = np.minimum(begin[:-1], len(frames) - 1)  # of a last column without a frame: the last
    return np.add.reduceat(frames[: max(begin[-1], 1)], np.minimum(first, begin[-1] - 1)) / count
