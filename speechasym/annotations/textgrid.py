"""Praat's TextGrids: read in all forms that Praat writes; written as text, long or short."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from speechasym import files
from speechasym.annotations.intervals import Interval, check_order, check_times
from speechasym.annotations.praat import BINARY, BinaryFields, Fields, TextFields, tokens
from speechasym.errors import AnnotationError

_log = logging.getLogger(__name__)

_CHRONOLOGICAL = "Praat chronological TextGrid text file"
_TOUCHING = 1e-6  # s; intervals that overlap by less are read as touching
_GAP = 1e-8  # s; smaller gaps come from rounding and are not written


class _Row(NamedTuple):
    place: int  # of the row in the file
    start: float  # s
    end: float  # s; of a point, its time
    label: str


class _Tier(NamedTuple):
    kind: str
    name: str
    start: float  # s
    end: float  # s
    rows: list[_Row]


def read_textgrid(path: str | Path) -> dict[str, list[Interval]]:
    """Read the interval tiers of a TextGrid: {tier: intervals, sorted}, in the file's order.

    The file may be text (long, short, chronological; UTF-8, UTF-16 with a byte order mark, else
    Latin-1) or binary. Point tiers are left out. Of tiers with one name the second gets the suffix
    " 2", and so on. A tier without intervals is one interval without label, as in Praat.

    Raises:
        AnnotationError: not a TextGrid, or truncated, with impossible times, or intervals that
            overlap by more than 1 us.
    """
    path = Path(path)
    fields, chronological = _open(path)
    tiers = _chronological(fields) if chronological else _tiers(fields)
    if fields.left():
        message = "%s: ignored, as Praat does: more than the tiers and intervals it declares"
        _log.warning(message, fields.where(fields.place))
    intervals: dict[str, list[Interval]] = {}
    for tier in tiers:
        if tier.kind == "IntervalTier":
            name, number = tier.name, 2
            while name in intervals:
                name, number = f"{tier.name} {number}", number + 1
            intervals[name] = _sorted_intervals(fields, tier)
    return intervals


def _open(path: Path) -> tuple[Fields, bool]:
    """Return the fields after the class name, and whether they are in chronological order."""
    raw = files.read_bytes(path, AnnotationError)
    if raw.startswith(BINARY):
        fields: Fields = BinaryFields(path, raw)
    else:
        text = files.read_text(path, AnnotationError, utf16=True, latin1=True)
        first = text.split("\n", 1)[0]
        fields = TextFields(path, text, len(first))
        if _CHRONOLOGICAL in first:
            return fields, True
        if "ooTextFile" not in first:
            problem = 'not a TextGrid; the first line should be File type = "ooTextFile"'
            fields.fail(0, problem, "Save it in Praat as a TextGrid")
    place, name = fields.place, fields.class_name()
    if name != "TextGrid":
        fields.fail(place, f"not a TextGrid but a {name!r} of Praat", "Save the TextGrid alone")
    return fields, False


def _tiers(fields: Fields) -> list[_Tier]:
    """Read tier after tier, as in long, short and binary files."""
    fields.number(), fields.number()  # when the grid begins and ends
    tiers = []
    for _ in range(_size(fields) if fields.exists() else 0):
        tier = _tier(fields)
        for _ in range(_size(fields)):
            tier.rows.append(_row(fields, tier))
        tiers.append(tier)
    return tiers


def _chronological(fields: Fields) -> list[_Tier]:
    """Read the tiers, and then intervals and points, each after the number of its tier."""
    fields.number(), fields.number()
    tiers = [_tier(fields) for _ in range(_size(fields))]
    while fields.left():
        place, number = fields.place, fields.integer()
        if number not in range(1, len(tiers) + 1):
            fields.fail(place, f"tier {number:g} is missing; the file has {len(tiers)}")
        tier = tiers[int(number) - 1]
        tier.rows.append(_row(fields, tier))
    for tier in tiers:
        last = max((row.end for row in tier.rows), default=tier.start)
        if tier.kind == "IntervalTier" and last < tier.end - _TOUCHING:
            problem = f"truncated TextGrid: tier {tier.name!r} ends at {last:g} of {tier.end:g} s"
            fields.fail(fields.place, problem)
    return tiers


def _size(fields: Fields) -> int:
    place, number = fields.place, fields.integer()
    if not number >= 0 or number % 1:
        fields.fail(place, f"{number:g} is not a number of tiers or intervals")
    return int(number)


def _tier(fields: Fields) -> _Tier:
    place, kind = fields.place, fields.class_name()
    if kind not in ("IntervalTier", "TextTier"):
        fields.fail(place, f"expected an IntervalTier or a TextTier, got {kind!r}")
    return _Tier(kind, fields.text(), fields.number(), fields.number(), [])


def _row(fields: Fields, tier: _Tier) -> _Row:
    """Read an interval or a point, and check its times."""
    place, start = fields.place, fields.number()
    end = fields.number() if tier.kind == "IntervalTier" else start
    if not math.isfinite(start + end):
        fields.fail(place, f"{start:g} to {end:g} s are not times")
    if not 0 <= start <= end and tier.kind == "IntervalTier":
        check_times(fields.where(place), start, end, "s")
    return _Row(place, start, end, fields.text())


def _sorted_intervals(fields: Fields, tier: _Tier) -> list[Interval]:
    """Return a tier's intervals, sorted; check that none overlaps another."""
    if not tier.rows:
        return [Interval(tier.start, tier.end, "")]
    intervals: list[Interval] = []
    for place, start, end, label in sorted(tier.rows, key=lambda row: row[1:]):
        previous = intervals[-1].end if intervals else 0.0
        if start < previous - _TOUCHING:
            problem = (
                f"{label!r} in tier {tier.name!r} starts at {start:g} s, before the end at "
                f"{previous:g} s of {intervals[-1].label!r}"
            )
            fields.fail(place, problem, "Give intervals without overlap")
        start = max(start, previous)
        intervals.append(Interval(start, max(start, end), label))
    return intervals


def write_textgrid(
    path: str | Path, tiers: Mapping[str, Sequence[Interval]], duration: float, short: bool = False
) -> None:
    """Write tiers as a Praat TextGrid in UTF-8; gaps become empty intervals.

    `read_textgrid` returns the same times to the last bit, but an interval that starts less than
    10 ns after another ends starts there. Line ends in labels become spaces.

    Args:
        duration: of the recording, in s.
        short: write the short text form.

    Raises:
        AnnotationError: no tiers; intervals that overlap, are reversed, or exceed the duration.
        OutputError: the file cannot be written.
    """
    if not tiers:
        raise AnnotationError(path, "no tiers to write", "Give at least one")
    lines = [_line(0, "xmin", 0), _line(0, "xmax", duration)]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, intervals) in enumerate(tiers.items(), 1):
        check_order(f"{path}, tier {name}", intervals, duration)
        rows = _without_gaps(intervals, duration)
        lines += [f"    item [{number}]:", _line(2, "class", "IntervalTier")]
        lines += [_line(2, "name", name), _line(2, "xmin", 0), _line(2, "xmax", duration)]
        lines.append(f"        intervals: size = {len(rows)}")
        for count, row in enumerate(rows, 1):
            lines += [f"        intervals [{count}]:", _line(3, "xmin", row.start)]
            lines += [_line(3, "xmax", row.end), _line(3, "text", " ".join(row.label.split()))]
    if short:  # without the comments
        lines = [token[0] for line in lines for token in tokens(line)]
    head = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
    with files.atomic(Path(path)) as file:
        file.write((head + "".join(f"{line}\n" for line in lines)).encode())


def _line(depth: int, key: str, value: str | float) -> str:
    quoted = value.replace('"', '""') if isinstance(value, str) else ""
    shown = f'"{quoted}"' if isinstance(value, str) else repr(float(value)).removesuffix(".0")
    return f"{'    ' * depth}{key} = {shown}"


def _without_gaps(intervals: Sequence[Interval], duration: float) -> list[Interval]:
    """Return intervals of some length, and empty ones between them, from 0 to the duration."""
    rows: list[Interval] = []
    for start, end, label in [*intervals, Interval(duration, duration, "")]:
        previous = rows[-1].end if rows else 0.0
        if start - previous >= _GAP:
            rows.append(Interval(previous, start, ""))
        else:
            start = previous
        if end > start and (label or end - start >= _GAP):
            rows.append(Interval(start, end, label))
    return rows
