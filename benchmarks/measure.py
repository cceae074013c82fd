"""Comparable timings (one sound, all rows in turn, medians), markdown tables, and the machine."""

import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from llvmlite.binding import get_host_cpu_features
from numpy.typing import NDArray

from speechasym.audio import sources

ROOT = Path(__file__).resolve().parent.parent
RATE = 16000  # Hz
# The environment of a machine that has AVX2 but not AVX-512, for numba, numpy, torch, and MKL.
AVX2 = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+popcnt,+sse4.2",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512F AVX512_SKX AVX512_ICL AVX512_SPR",
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
SHORTEST = 0.05  # s: faster calls are repeated until one timing takes about as long


@dataclass
class Row:
    """A call to time."""

    name: str
    call: Callable[[], object] | None  # None: cannot run here, for the reason in `note`
    seconds: float  # of sound per call
    rounds: int  # number of timings
    note: str = ""
    factor: float = 1.0  # multiplies the cost, to compare equal numbers of channels
    flops: float = 0.0  # per sample and channel, counted in the source
    moved: float = 0.0  # bytes to and from memory per sample and channel, counted in the source
    work: float = 0.0  # flops or bytes per call, of rows that measure the machine
    threads: int = 1
    times: dict[int, float] = field(default_factory=dict)  # round -> s per call

    @property
    def median(self) -> float:
        """Median s per call."""
        return statistics.median(self.times.values()) * self.factor

    @property
    def best(self) -> float:
        """s of the fastest call."""
        return min(self.times.values()) * self.factor

    def ratio(self, other: "Row") -> float:
        """Return the cost per second of sound relative to another row, median over the rounds."""
        ratios = [t / other.times[turn] for turn, t in self.times.items() if turn in other.times]
        return statistics.median(ratios) * self.factor * other.seconds / self.seconds


def recordings() -> list[Path]:
    """Return the recordings of data/, sorted by name."""
    return sorted(p for p in (ROOT / "data").iterdir() if p.suffix in (".flac", ".wav"))


def speech(seconds: float) -> NDArray[np.float32]:
    """Return the recordings of data/ at 16 kHz, concatenated and repeated to `seconds`: (T,)."""
    whole = np.concatenate([sources.load(path, RATE)[0] for path in recordings()])
    return np.resize(whole, round(seconds * RATE))


def run(rows: Sequence[Row], log: Callable[[str], None]) -> None:
    """Time all rows in turn, round by round, so that other load on the machine affects them all.

    Each is called once before. Rows with fewer rounds are spread over the whole run.
    """
    live = [row for row in rows if row.call is not None]
    calls = {row.name: _calls(row) for row in live if row.rounds > 1}
    rounds = max((row.rounds for row in live), default=0)
    for turn in range(rounds):
        log(f"round {turn + 1} of {rounds}")
        for row in live:
            if turn % math.ceil(rounds / row.rounds) == 0:
                row.times[turn] = _time(row, calls.get(row.name, 1))


def _time(row: Row, calls: int) -> float:
    assert row.call is not None
    start = time.perf_counter()
    for _ in range(calls):
        row.call()
    return (time.perf_counter() - start) / calls


def _calls(row: Row) -> int:
    """Warm up (compile, fill caches), and return the number of calls per timing."""
    _time(row, 1)
    once = _time(row, 1) if row.rounds > 3 else SHORTEST
    return max(1, math.ceil(SHORTEST / once))


def table(head: Sequence[str], body: Sequence[Sequence[str]], notes: bool = False) -> str:
    """Return a markdown table, aligned as plain text: first column and final notes to the left."""
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
    """Format a number with `count` significant digits, without exponent."""
    if value == 0:
        return "0"
    return f"{value:,.{max(0, count - 1 - math.floor(math.log10(abs(value))))}f}"


def instruction_set(forced: str | None = os.environ.get("NUMBA_CPU_FEATURES")) -> str:
    """Return the widest vector instructions of the kernels: the host's, or numba's if forced."""
    if forced is None:
        features = {f"+{name}" for name, on in get_host_cpu_features().items() if on}
    else:
        features = set(forced.split(","))
    known = {"+avx512f": "AVX-512", "+avx2": "AVX2", "+neon": "NEON"}
    return next((name for feature, name in known.items() if feature in features), "no AVX2")


def load() -> str:
    """Return the load average as text, or "" if the system has none."""
    return f"{os.getloadavg()[0]:.2f}" if hasattr(os, "getloadavg") else ""
