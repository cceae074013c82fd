"""Praat's TextGrids, in the long and the short text form."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from speechasym import files
from speechasym.annotations.intervals import Interval, check_order, check_times
from speechasym.errors import AnnotationError

# how both forms declare the number of tiers, and that of the intervals in each
_TIERS = re.compile(r"<exists>\s*(?:size\s*=\s*)?(\d+)")
_SIZE = re.compile(
    r'"(?:Interval|Text)Tier"\s+(?:name\s*=\s*)?"(?:[^"]|"")*"\s+(?:xmin\s*=\s*)?-?[\d.]+\s+'
    r"(?:xmax\s*=\s*)?[\d.]+\s+(?:\w+\s*:\s*size\s*=\s*)?(\d+)"
)
_NEGATIVE = re.compile(r"^[ \t]*(?:(?:xmin|xmax|number)\s*=\s*)?(-\d[\d.]*)[ \t]*$", re.MULTILINE)


def read_textgrid(path: str | Path) -> dict[str, list[Interval]]:
    """Read the interval tiers of a TextGrid: {tier: intervals, sorted}, in the file's order.

    The file may be in UTF-8 or UTF-16. Point tiers are left out. Of tiers with one name the second
    gets the suffix " 2", and so on.

    Raises:
        AnnotationError: not a TextGrid, or truncated, or with impossible times.
    """
    from praatio.utilities import textgrid_io  # type: ignore[import-untyped,unused-ignore]
    from praatio.utilities.errors import (  # type: ignore[import-untyped,unused-ignore]
        PraatioException,
    )

    path = Path(path)
    text = files.read_text(path, AnnotationError, utf16=True)
    head = text.split("\n", 2)
    if len(head) < 3 or "ooTextFile" not in head[0] or "TextGrid" not in head[1]:
        raise AnnotationError(
            f"{path}:1",
            'not a TextGrid; the first lines should be File type = "ooTextFile" and Object class = '
            '"TextGrid"',
            "Save it in Praat as a text file, long or short",
        )
    for match in _NEGATIVE.finditer(text):  # the long form's reader would drop the sign
        if float(match[1]) < 0:
            check_times(f"{path}:{_line(text, match.start(1))}", float(match[1]), 0, "s")
    last = _line(text.rstrip(), len(text))
    try:
        tiers = textgrid_io.parseTextgridStr(text + "\n", includeEmptyIntervals=True)["tiers"]
    except (PraatioException, LookupError, ValueError) as error:
        problem = f"not a complete TextGrid ({error or type(error).__name__})"
        raise AnnotationError(f"{path}:{last}", problem, "Save it in Praat again") from error
    # a file truncated between two intervals parses without error
    expected = [int(size) for size in _SIZE.findall(text)]
    sizes = [len(tier["entries"]) for tier in tiers]
    count = _TIERS.search(text)
    if expected != sizes or count is None or int(count[1]) != len(sizes):
        raise AnnotationError(
            f"{path}:{last}",
            f"truncated TextGrid: its tiers have {sizes} intervals, expected {expected} in "
            f"{count[1] if count else 'some'} tiers",
            "Copy it again, or save it in Praat again",
        )
    intervals: dict[str, list[Interval]] = {}
    for tier in tiers:
        if tier["class"] == "IntervalTier":
            name, number = tier["name"], 2
            while name in intervals:
                name, number = f"{tier['name']} {number}", number + 1
            intervals[name] = sorted(_interval(path, text, entry) for entry in tier["entries"])
    return intervals


def _interval(path: Path, text: str, entry: Any) -> Interval:
    """Convert an entry (start, end, label) of strings, and check its times."""
    try:
        start, end = float(entry[0]), float(entry[1])
        if start <= end:
            return Interval(start, end, entry[2])
    except ValueError:
        start = end = float("nan")
    near = rf"\b{re.escape(entry[0])}\s+(?:xmax\s*=\s*)?{re.escape(entry[1])}\b"
    match = re.search(near, text)
    where = f"{path}:{_line(text, match.start())}" if match else str(path)
    check_times(where, start, end, "s")
    problem = f"{entry[0]!r} to {entry[1]!r} are not times in s"
    raise AnnotationError(where, problem, "Save it in Praat again")


def _line(text: str, position: int) -> int:
    """Return the number, from 1, of the line at a position of the text."""
    return text.count("\n", 0, position) + 1


def write_textgrid(
    path: str | Path, tiers: Mapping[str, Sequence[Interval]], duration: float, short: bool = False
) -> None:
    """Write tiers as a Praat TextGrid in UTF-8; gaps become empty intervals.

    `read_textgrid` returns the same times to the last bit. Line ends in labels become spaces.

    Args:
        duration: of the recording, in s.
        short: write the short text form.

    Raises:
        AnnotationError: no tiers; intervals that overlap, are reversed, or exceed the duration.
        OutputError: the file cannot be written.
    """
    from praatio import textgrid

    if not tiers:
        raise AnnotationError(path, "no tiers to write", "Give at least one")
    grid = textgrid.Textgrid(0, duration)
    for name, intervals in tiers.items():
        check_order(f"{path}, tier {name}", intervals, duration)
        rows = [(i.start, i.end, " ".join(i.label.split())) for i in intervals if i.end > i.start]
        grid.addTier(textgrid.IntervalTier(name, rows, 0, duration))
    form: Any = "short_textgrid" if short else "long_textgrid"
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder, "temporary.TextGrid")
        grid.save(str(temporary), form, includeBlankSpaces=True)
        with files.atomic(Path(path)) as file:
            file.write(temporary.read_bytes())
