"""The symbols of all cuts for a head: a vocabulary, and numbers in it."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechasym.language.ngrams import UNKNOWN
from speechasym.training import labels
from speechasym.training.cut_index import Rows, RowsBuilder

log = logging.getLogger(__name__)


class Symbols(NamedTuple):
    """The symbols of all cuts for a head."""

    vocabulary: list[str]
    rows: Rows  # by cut: indices in the vocabulary
    labels: Tensor  # (vocabulary,) int64, 0 for symbols that are left out


class SymbolsBuilder:
    """Collects the symbols of cuts."""

    def __init__(self) -> None:
        self._known: defaultdict[str, int] = defaultdict(count().__next__)
        self._rows = RowsBuilder()

    def add(self, row: Iterable[str]) -> None:
        """Append the symbols of a cut."""
        self._rows.add(map(self._known.__getitem__, row))

    def build(self) -> tuple[Rows, dict[str, int]]:
        """Return the rows, and how often each symbol occurs."""
        rows = self._rows.rows()
        counts = torch.bincount(rows.values, minlength=len(self._known)).tolist()
        return rows, dict(zip(self._known, counts, strict=True))


def labelled(rows: Rows, counts: Mapping[str, int], inventory: Sequence[str], what: str) -> Symbols:
    """Return symbols with their labels; warns of symbols that were not learned."""
    known = labels.classes(inventory)
    unknown = set(counts) - set(known)
    if unknown and UNKNOWN not in known:
        names = ", ".join(map(repr, sorted(unknown)[:5]))
        log.warning("%s %s not in the model's inventory: each counts as an error", what, names)
    other = known.get(UNKNOWN, 0)
    return Symbols(list(counts), rows, torch.tensor([known.get(s, other) for s in counts]))


def follow(symbols: Symbols, classes: int) -> NDArray[np.float64]:
    """Return how probable it is that a symbol follows another (classes, classes), by Witten-Bell.

    Row 0 is the beginning of a cut, column 0 its end.
    """
    counts = np.zeros((classes, classes))
    known = symbols.labels.numpy()
    for number in range(len(symbols.rows)):
        row = known[symbols.rows[number]]
        edged = np.concatenate([[0], row[row > 0], [0]])
        np.add.at(counts, (edged[:-1], edged[1:]), 1)
    alone = (counts.sum(0) + 1) / (counts.sum() + classes)
    kinds = (counts > 0).sum(1, keepdims=True) + 1
    return (counts + kinds * alone) / (counts.sum(1, keepdims=True) + kinds)
