"""What stays in memory of a manifest: ids, durations, and its cuts as compressed lines.

A cut is parsed when it is needed. Tensors are shared with worker processes, not copied to them.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechasym.corpora.manifests import parse_cut
from speechasym.training.feature_store import pack_lines, unpack_lines

if TYPE_CHECKING:
    from lhotse.cut import Cut

BLOCK = 32  # lines compressed together
PART = 1 << 20  # numbers collected before they are packed


@dataclass(frozen=True)
class Rows:
    """Rows of different lengths, one after another."""

    values: Tensor  # uint8, int16 or int32
    ends: Tensor  # int64 (rows + 1,), from 0

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, number: int) -> NDArray[np.integer]:
        first, end = self.ends.numpy()[number : number + 2]
        return self.values.numpy()[first:end]


class RowsBuilder:
    """Collects rows of whole numbers from 0 on, and packs them into the smallest type."""

    def __init__(self) -> None:
        self._parts: list[Tensor] = []
        self._waiting, self._ends, self._packed = array("i"), array("q", [0]), 0

    def add(self, row: Iterable[int]) -> None:
        """Append a row."""
        self._waiting.extend(row)
        self._ends.append(self._packed + len(self._waiting))
        if len(self._waiting) >= PART:
            self._pack()

    def _pack(self) -> None:
        numbers = np.array(self._waiting, np.int32)
        most = numbers.max(initial=0)
        kind = np.uint8 if most < 1 << 8 else np.int16 if most < 1 << 15 else np.int32
        self._parts.append(torch.from_numpy(numbers.astype(kind)))
        self._packed, self._waiting = self._ends[-1], array("i")

    def rows(self) -> Rows:
        """Return all rows."""
        self._pack()
        return Rows(torch.cat(self._parts), torch.from_numpy(np.array(self._ends, np.int64)))


@dataclass(frozen=True)
class CutIndex:
    """The cuts of a manifest, by number."""

    ids: list[str]
    speakers: list[str]
    seconds: Tensor  # float64
    stamps: Tensor  # int64, of their audio files: see `cuts.file_stamp`
    blocks: list[bytes]  # compressed lines

    def __len__(self) -> int:
        return len(self.ids)

    def cut(self, number: int) -> "Cut":
        """Parse a cut."""
        return parse_cut(unpack_lines(self.blocks[number // BLOCK])[number % BLOCK])


class IndexBuilder:
    """Collects the cuts of an index."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._speakers: dict[str, str] = {}  # each name once
        self._by_cut: list[str] = []
        self._seconds, self._stamps = array("d"), array("q")
        self._lines: list[bytes] = []
        self._blocks: list[bytes] = []

    def add(self, line: bytes, cut: "Cut", stamp: int) -> None:
        """Append a cut and its line."""
        speaker = next((s.speaker for s in cut.supervisions if s.speaker), "")
        self.ids.append(cut.id)
        self._by_cut.append(self._speakers.setdefault(speaker, speaker))
        self._seconds.append(cut.duration)
        self._stamps.append(stamp)
        self._lines.append(line)
        if len(self._lines) == BLOCK:
            self._pack()

    def _pack(self) -> None:
        if self._lines:
            self._blocks.append(pack_lines(self._lines))
            self._lines = []

    def index(self) -> CutIndex:
        """Return all cuts."""
        self._pack()
        seconds = torch.from_numpy(np.array(self._seconds))
        stamps = torch.from_numpy(np.array(self._stamps))
        return CutIndex(self.ids, self._by_cut, seconds, stamps, self._blocks)
