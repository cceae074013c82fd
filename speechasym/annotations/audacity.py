"""Audacity label tracks: lines `start<TAB>end<TAB>label`, in s."""

from collections.abc import Sequence
from pathlib import Path

from speechasym import files
from speechasym.annotations.intervals import Interval, check_times
from speechasym.errors import AnnotationError


def read_audacity(path: str | Path) -> list[Interval]:
    """Read a label track, sorted.

    Raises:
        AnnotationError: the file cannot be read, or has a malformed line or impossible times.
    """
    intervals = []
    for number, line in enumerate(
        files.read_text(path, AnnotationError, utf16=True).split("\n"), 1
    ):
        if not line.strip() or line.startswith("\\"):  # Audacity's lines of frequency ranges
            continue
        parts = line.split("\t", 2)
        try:
            start, end = float(parts[0]), float(parts[1])
        except (ValueError, IndexError) as error:
            raise AnnotationError(
                f"{path}:{number}",
                f"{line!r} is not `start<TAB>end<TAB>label` in s",
                "Export the label track again",
            ) from error
        check_times(f"{path}:{number}", start, end, "s")
        intervals.append(Interval(start, end, parts[2] if len(parts) > 2 else ""))
    return sorted(intervals)


def write_audacity(path: str | Path, intervals: Sequence[Interval]) -> None:
    """Write one tier as a label track. Raises `OutputError` if it cannot be written."""
    lines = [f"{i.start!r}\t{i.end!r}\t{' '.join(i.label.split())}\n" for i in intervals]
    with files.atomic(Path(path)) as file:
        file.write("".join(lines).encode())
