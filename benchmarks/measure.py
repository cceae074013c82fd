"""Timing that can be compared: the same sound, all rows in turn, medians; and markdown tables."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechasym.audio import reading

ROOT = Path(__file__).resolve().parent.parent
RATE = 16000  # Hz, of everything measured here
SHORTEST = 0.05  # s: quicker calls are repeated until one timing lasts about as long


@dataclass
class Row:
    """One thing to time."""

    name: str
    call: Callable[[], object] | None  # None: cannot be run here, and `note` says why
    seconds: float  # of sound heard by one call
    rounds: int  # timings; 0 stands for the reason in `note`
    note: str = ""
    factor: float = 1.0  # cost is multiplied by it, to compare equal numbers of channels
    flops: float = 0.0  # a sample and channel, counted in the source
    moved: float = 0.0  # bytes a sample and channel to and from memory, counted in the source
    work: float = 0.0  # flops or bytes a call, for the rows that measure the machine itself
    threads: int = 1
    times: dict[int, float] = field(default_factory=dict)  # round -> s a call

    @property
    def median(self) -> float:
        """s a call."""
        return statistics.median(self.times.values()) * self.factor

    @property
    def best(self) -> float:
        """s, the fastest call."""
        return min(self.times.values()) * self.factor

    def ratio(self, other: "Row") -> float:
        """Cost of a second of sound over the other's: the median over the rounds they share."""
        each = [self.times[turn] / other.times[turn] for turn in self.times if turn in other.times]
        return statistics.median(each) * self.factor * other.seconds / self.seconds


def recordings() -> list[Path]:
    """The speech that lies in data/, in the order of its names."""
    return sorted(p for p in (ROOT / "data").iterdir() if p.suffix in (".flac", ".wav"))


def speech(seconds: float) -> NDArray[np.float32]:
    """(T,) the recordings of data/ one after the other, repeated to `seconds` at 16 kHz."""
    whole = np.concatenate([reading.load(path, RATE)[0] for path in recordings()])
    return np.resize(whole, round(seconds * RATE))


def run(rows: Sequence[Row], tell: Callable[[str], None]) -> None:
    """Time all rows in turn, round after round, so that what slows the machine slows them all.

    Each is called once before. Rows with fewer rounds are spread over the whole run.
    """
    live = [row for row in rows if row.call is not None]
    calls = {row.name: _calls(row) for row in live if row.rounds > 1}
    rounds = max((row.rounds for row in live), default=0)
    for turn in range(rounds):
        tell(f"round {turn + 1} of {rounds}")
        for row in live:
            if turn % math.ceil(rounds / row.rounds) == 0:
                row.times[turn] = _time(row, calls.get(row.name, 1))


def _time(row: Row, calls: int) -> float:
    assert row.call is not None
    begun = time.perf_counter()
    for _ in range(calls):
        row.call()
    return (time.perf_counter() - begun) / calls


def _calls(row: Row) -> int:
    """Warm up (compile, cache) and find how many calls make one timing."""
    _time(row, 1)
    once = _time(row, 1) if row.rounds > 3 else SHORTEST
    return max(1, math.ceil(SHORTEST / once))


def table(head: Sequence[str], body: Sequence[Sequence[str]], notes: bool = False) -> str:
    """A markdown table, aligned as plain text too: names, and notes at the end, to the left."""
    columns = list(zip(head, *body, strict=True))
    left = [i == 0 or (notes and i == len(head) - 1) for i in range(len(head))]
    widths = [max(map(len, column)) for column in columns]
    rule = [
        ":" + "-" * (w - 1) if on else "-" * (w - 1) + ":"
        for w, on in zip(widths, left, strict=True)
    ]
    padded = [
        [c.ljust(w) if on else c.rjust(w) for c, w, on in zip(row, widths, left, strict=True)]
        for row in (head, rule, *body)
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in padded)


def digits(value: float, count: int = 3) -> str:
    """`count` significant digits, no exponent."""
    if value == 0:
        return "0"
    return f"{value:,.{max(0, count - 1 - math.floor(math.log10(abs(value))))}f}"
