"""Alignments: which phone or word is said when, from Praat TextGrids and TIMIT's .PHN and .WRD;
and out again as TextGrid, CTM and Audacity labels.

A tier is a list of intervals in s from the beginning of the recording, in order of their starts.
"""

import re
import tempfile
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple

from speechasym import files
from speechasym.errors import AnnotationError

TIMIT_TIERS = {".wrd": "words", ".phn": "phones"}
TIMIT_RATE = 16000  # samples a second that TIMIT counts in, whatever its copies are resampled to
# as both forms of a TextGrid say how many tiers, and how many intervals in each, are to come
_TIERS = re.compile(r"<exists>\s*(?:size\s*=\s*)?(\d+)")
_SIZE = re.compile(
    r'"(?:Interval|Text)Tier"\s+(?:name\s*=\s*)?"(?:[^"]|"")*"\s+(?:xmin\s*=\s*)?-?[\d.]+\s+'
    r"(?:xmax\s*=\s*)?[\d.]+\s+(?:\w+\s*:\s*size\s*=\s*)?(\d+)"
)
_NEGATIVE = re.compile(r"^[ \t]*(?:(?:xmin|xmax|number)\s*=\s*)?(-\d[\d.]*)[ \t]*$", re.MULTILINE)


class Interval(NamedTuple):
    """What is said from start to end."""

    start: float  # s
    end: float  # s, not before the start
    label: str  # "" where nothing is said


def read_tiers(path: str | Path, sample_rate: int = TIMIT_RATE) -> dict[str, list[Interval]]:
    """Read an alignment file: {name of the tier: its intervals}, in the file's order.

    A TextGrid may have the long or the short form, in UTF-8 or UTF-16; its point tiers hold no
    intervals and are left out. A .PHN gives the tier "phones", a .WRD the tier "words".

    Args:
        path: a .TextGrid, .PHN or .WRD, in any letter case.
        sample_rate: samples a second that a .PHN or .WRD counts in; TIMIT's is 16000.

    Raises:
        AnnotationError: not such a file, or empty, cut, not text, or with times that cannot be.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in (".textgrid", *TIMIT_TIERS):
        raise AnnotationError(
            path, "not an alignment file known here", "Give a .TextGrid, .PHN or .WRD"
        )
    text = _text(path)
    if kind == ".textgrid":
        return _textgrid(path, text)
    return {TIMIT_TIERS[kind]: _timit(path, text, sample_rate)}


def tiers_beside(recording: str | Path, sample_rate: int = TIMIT_RATE) -> dict[str, list[Interval]]:
    """The tiers of NAME.TextGrid beside a recording, else of NAME.WRD and NAME.PHN; {} if none.

    The endings may have any letter case. Args and errors as `read_tiers`.
    """
    recording = Path(recording)
    named = {
        other.suffix.lower(): other
        for other in sorted(recording.parent.glob("*"))
        if other.stem == recording.stem and other.is_file()
    }
    if ".textgrid" in named:
        return read_tiers(named[".textgrid"])
    found: dict[str, list[Interval]] = {}
    for kind in TIMIT_TIERS:
        if kind in named:
            found |= read_tiers(named[kind], sample_rate)
    return found


def _text(path: Path) -> str:
    """A file's text, lines ended by a line feed alone."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise AnnotationError(path, f"cannot be read ({error.strerror})", "Check it") from error
    wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")  # the mark with which Praat begins its UTF-16
    try:
        text = raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise AnnotationError(
            f"{path}:{line}",
            f"byte {error.start} is neither UTF-8 nor, with a mark at the beginning, UTF-16 text",
            "Save it as UTF-8",
        ) from error
    if not text.strip():
        raise AnnotationError(
            path, "is empty; at least one interval is expected", "Align the recording again"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _timit(path: Path, text: str, sample_rate: int) -> list[Interval]:
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        parts = line.split(maxsplit=2)
        if len(parts) < 3 or not all(re.fullmatch(r"-?\d+", part) for part in parts[:2]):
            raise AnnotationError(
                f"{path}:{number}",
                f"{line!r} is not `start end label`, with start and end in samples",
                "Mend the line",
            )
        first, last = int(parts[0]), int(parts[1])
        _check(f"{path}:{number}", first, last, "samples")
        found.append(Interval(first / sample_rate, last / sample_rate, parts[2].strip()))
    return sorted(found)


def _check(where: str, start: float, end: float, unit: str) -> None:
    if start < 0:
        raise AnnotationError(
            where, f"start {start:g} {unit} is before the recording", "Count from its beginning"
        )
    if end < start:
        raise AnnotationError(
            where,
            f"end {end:g} {unit} is before the start, {start:g}; times rise",
            "Swap them, or align the recording again",
        )


def _textgrid(path: Path, text: str) -> dict[str, list[Interval]]:
    from praatio.utilities import textgrid_io  # type: ignore[import-untyped,unused-ignore]
    from praatio.utilities.errors import (  # type: ignore[import-untyped,unused-ignore]
        PraatioException,
    )

    head = text.split("\n", 2)
    if len(head) < 3 or "ooTextFile" not in head[0] or "TextGrid" not in head[1]:
        raise AnnotationError(
            f"{path}:1",
            'no TextGrid; the first lines should be File type = "ooTextFile" and Object class = '
            '"TextGrid"',
            "Save it in Praat as a text file, long or short",
        )
    for match in _NEGATIVE.finditer(text):  # the long form's reader would drop the sign
        if float(match[1]) < 0:
            _check(f"{path}:{_line(text, match.start(1))}", float(match[1]), 0, "s")
    last = _line(text.rstrip(), len(text))
    try:
        tiers = textgrid_io.parseTextgridStr(text + "\n", includeEmptyIntervals=True)["tiers"]
    except (PraatioException, LookupError, ValueError) as error:
        raise AnnotationError(
            f"{path}:{last}",
            f"no whole TextGrid in its {last} lines ({error or type(error).__name__})",
            "Save it in Praat again",
        ) from error
    # a file that was cut between two intervals reads well, and lacks the rest
    promised = [int(size) for size in _SIZE.findall(text)]
    held = [len(tier["entries"]) for tier in tiers]
    count = _TIERS.search(text)
    if promised != held or count is None or int(count[1]) != len(held):
        raise AnnotationError(
            f"{path}:{last}",
            f"the file ends with {held} intervals in its tiers; {promised} in "
            f"{count[1] if count else 'some'} tiers are promised",
            "Copy it again, or save it in Praat again",
        )
    found: dict[str, list[Interval]] = {}
    for tier in tiers:
        if tier["class"] == "IntervalTier":
            name, number = tier["name"], 2
            while name in found:
                name, number = f"{tier['name']} {number}", number + 1
            found[name] = sorted(_interval(path, text, entry) for entry in tier["entries"])
    return found


def _interval(path: Path, text: str, entry: Any) -> Interval:
    """An interval as it was written: (start, end, label) -> in numbers, checked."""
    near = rf"\b{re.escape(entry[0])}\s+(?:xmax\s*=\s*)?{re.escape(entry[1])}\b"
    try:
        start, end = float(entry[0]), float(entry[1])
        if start <= end:
            return Interval(start, end, entry[2])
    except ValueError:
        start = end = float("nan")
    match = re.search(near, text)
    where = f"{path}:{_line(text, match.start())}" if match else str(path)
    if start > end:
        _check(where, start, end, "s")
    raise AnnotationError(
        where, f"{entry[0]!r} to {entry[1]!r} are not times in s", "Save it in Praat again"
    )


def _line(text: str, place: int) -> int:
    """Number, from 1, of the line with the character at this place."""
    return text.count("\n", 0, place) + 1


def write_textgrid(
    path: str | Path, tiers: Mapping[str, Sequence[Interval]], duration: float, short: bool = False
) -> None:
    """Write tiers as a Praat TextGrid (UTF-8), long form or short; what lies between is empty.

    Reading it gives the same times to the last bit, empty intervals added, labels without line
    ends. Args: duration of the recording in s.

    Raises:
        AnnotationError: no tiers; intervals that overlap, end before they begin, or pass the end.
        OutputError: it cannot be written.
    """
    from praatio import textgrid

    if not tiers:
        raise AnnotationError(path, "no tiers to write", "Give one at least")
    grid = textgrid.Textgrid(0, duration)
    for name, intervals in tiers.items():
        _check_order(f"{path}, tier {name}", intervals, duration)
        rows = [(i.start, i.end, " ".join(i.label.split())) for i in intervals if i.end > i.start]
        grid.addTier(textgrid.IntervalTier(name, rows, 0, duration))
    form: Any = "short_textgrid" if short else "long_textgrid"
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "made.TextGrid")
        grid.save(str(made), form, includeBlankSpaces=True)
        with files.atomic(Path(path)) as file:
            file.write(made.read_bytes())


def _check_order(place: str, intervals: Sequence[Interval], duration: float) -> None:
    before = 0.0
    for i in intervals:
        if not before <= i.start <= i.end <= duration:
            raise AnnotationError(
                place,
                f"{i.label!r} from {i.start:g} to {i.end:g} s begins before {before:g} s, where the"
                f" one before it ends, or ends before its beginning or after {duration:g} s",
                "Give intervals in order, within the recording",
            )
        before = i.end


def write_ctm(path: str | Path, alignments: Mapping[str, Sequence[Interval]]) -> None:
    """Write {recording: intervals} as CTM: `recording 1 start duration label`, in s; no empty ones.

    Durations are differences of decimals, so that `read_ctm` gives the same times to the last bit.
    Raises `AnnotationError` for a name or label with spaces, `OutputError` if it cannot be written.
    """
    lines = []
    for name, intervals in alignments.items():
        for start, end, label in intervals:
            if label == "":
                continue
            if any(len(part.split()) != 1 for part in (name, label)):
                raise AnnotationError(
                    path, f"{name!r} or {label!r} has spaces, which CTM has not", "Replace them"
                )
            first = Decimal(repr(start))
            lines.append(f"{name} 1 {first} {Decimal(repr(end)) - first} {label}\n")
    with files.atomic(Path(path)) as file:
        file.write("".join(lines).encode())


def read_ctm(path: str | Path) -> dict[str, list[Interval]]:
    """Read a CTM file: {recording: intervals}. Raises `AnnotationError` as `read_tiers`."""
    path = Path(path)
    found: dict[str, list[Interval]] = {}
    for number, line in enumerate(_text(path).split("\n"), 1):
        parts = line.split()
        if not parts or parts[0].startswith(";;"):
            continue
        if len(parts) not in (5, 6):
            raise AnnotationError(
                f"{path}:{number}",
                f"{line!r} is not `recording channel start duration label`",
                "Mend the line",
            )
        start, end = _decimals(f"{path}:{number}", parts[2], parts[3])
        found.setdefault(parts[0], []).append(Interval(start, end, parts[4]))
    return {name: sorted(intervals) for name, intervals in found.items()}


def _decimals(place: str, start: str, more: str) -> tuple[float, float]:
    """Start and duration as written -> start and end in s."""
    try:
        first, length = Decimal(start), Decimal(more)
    except InvalidOperation as error:
        raise AnnotationError(place, f"{start} {more} are not times in s", "Mend it") from error
    _check(place, float(first), float(first + length), "s")
    return float(first), float(first + length)


def write_labels(path: str | Path, intervals: Sequence[Interval]) -> None:
    """Write one tier as an Audacity label track: `start<TAB>end<TAB>label`, in s."""
    lines = [f"{i.start!r}\t{i.end!r}\t{' '.join(i.label.split())}\n" for i in intervals]
    with files.atomic(Path(path)) as file:
        file.write("".join(lines).encode())


def read_labels(path: str | Path) -> list[Interval]:
    """Read an Audacity label track. Raises `AnnotationError` as `read_tiers`."""
    path = Path(path)
    found = []
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip() or line.startswith("\\"):  # Audacity's lines of frequency ranges
            continue
        parts = line.split("\t", 2)
        try:
            start, end = float(parts[0]), float(parts[1])
        except (ValueError, IndexError) as error:
            raise AnnotationError(
                f"{path}:{number}",
                f"{line!r} is not `start<TAB>end<TAB>label`, in s",
                "Export the label track anew",
            ) from error
        _check(f"{path}:{number}", start, end, "s")
        found.append(Interval(start, end, parts[2] if len(parts) > 2 else ""))
    return sorted(found)
