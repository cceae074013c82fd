"""CTM files: lines `recording channel start duration label [confidence]`, in s; `;;` comments."""

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from speechasym import files
from speechasym.annotations.intervals import Interval
from speechasym.errors import AnnotationError


def read_rows(path: str | Path) -> Iterator[tuple[str, str, str, Interval]]:
    """Yield each line of a CTM file: (place `file:line`, recording, channel, interval).

    Raises:
        AnnotationError: the file cannot be read, or has a malformed line or impossible times.
    """
    text = files.read_text(path, AnnotationError, utf16=True)
    for number, line in enumerate(text.split("\n"), 1):
        parts = line.split()
        if not parts or parts[0].startswith(";;"):
            continue
        try:
            recording, channel, first, length, label = parts[:5]
            start, duration = Decimal(first), Decimal(length)
            valid = start >= 0 and duration >= 0 and math.isfinite(start + duration)
        except (ValueError, InvalidOperation):  # too few columns, or not numbers
            valid = False
        if not valid:
            raise AnnotationError(
                f"{path}:{number}",
                f"{line.strip()!r} is not `recording channel start duration label`, times >= 0 s",
                "Fix the line",
            )
        # the sum of decimals: a time that was written comes back to the last bit
        interval = Interval(float(start), float(start + duration), label)
        yield f"{path}:{number}", recording, channel, interval


def read_ctm(path: str | Path) -> dict[str, list[Interval]]:
    """Read a CTM file: {recording: its intervals, sorted}. Raises as `read_rows`."""
    rows: dict[str, list[Interval]] = {}
    for _, recording, _, interval in read_rows(path):
        rows.setdefault(recording, []).append(interval)
    return {recording: sorted(intervals) for recording, intervals in rows.items()}


def write_ctm(path: str | Path, recordings: Mapping[str, Sequence[Interval]]) -> None:
    """Write {recording: intervals} as channel 1 of a CTM file; empty labels are left out.

    `read_ctm` returns the same times to the last bit.

    Raises:
        AnnotationError: a recording's name or a label contains spaces.
        OutputError: the file cannot be written.
    """
    lines = []
    for recording, intervals in recordings.items():
        for start, end, label in intervals:
            if label == "":
                continue
            if any(len(part.split()) != 1 for part in (recording, label)):
                problem = f"{recording!r} or {label!r} contains spaces"
                raise AnnotationError(path, problem, "Replace them")
            first = Decimal(repr(start))
            lines.append(f"{recording} 1 {first} {Decimal(repr(end)) - first} {label}\n")
    with files.atomic(Path(path)) as file:
        file.write("".join(lines).encode())
