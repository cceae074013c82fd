"""TIMIT's .PHN and .WRD files: lines `start end label`, in samples at 16 kHz."""

import re
from collections.abc import Iterator
from pathlib import Path

from speechasym.annotations.intervals import Interval, SampleInterval, check_times
from speechasym.errors import AnnotationError
from speechasym.files import read_text

TIERS = {".wrd": "words", ".phn": "phones"}
SAMPLE_RATE = 16000  # Hz, the unit of the times even where the audio has been resampled

_LINE = re.compile(r"\s*(-?[0-9]+)\s+(-?[0-9]+)\s+(\S.*?)\s*")


def parse_lines(text: str) -> Iterator[tuple[int, str, SampleInterval | None]]:
    """Yield each line that is not blank: number, text, interval (None if it is malformed).

    Times are not checked.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if match := _LINE.fullmatch(line):
            yield number, line, SampleInterval(int(match[1]), int(match[2]), match[3])
        elif line.strip():
            yield number, line, None


def read_samples(path: str | Path) -> list[SampleInterval]:
    """Read a .PHN or .WRD file with its times in samples, in the file's order.

    Raises:
        AnnotationError: the file cannot be read, or has a malformed line or impossible times.
    """
    rows = []
    for number, line, row in parse_lines(read_text(path, AnnotationError, utf16=True)):
        if row is None:
            problem = f"{line!r} is not `start end label` in samples"
            raise AnnotationError(f"{path}:{number}", problem, "Fix the line")
        check_times(f"{path}:{number}", row.start, row.end, "samples")
        rows.append(row)
    return rows


def read_timit(path: str | Path) -> list[Interval]:
    """Read a .PHN or .WRD file with its times in s, sorted. Raises as `read_samples`."""
    return sorted(
        Interval(start / SAMPLE_RATE, end / SAMPLE_RATE, label)
        for start, end, label in read_samples(path)
    )
