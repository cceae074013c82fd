"""What is said in the recordings of a folder: texts beside them, TextGrids, and tables.

A text is in NAME.txt, NAME.lab or NAME.TextGrid beside NAME.wav, in a row of a table, or in a line
`NAME text` of a .txt in the same folder.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from speechasym import files
from speechasym.annotations.intervals import Interval
from speechasym.annotations.textgrid import read_textgrid
from speechasym.audio.reading import EXTENSIONS
from speechasym.config import plural
from speechasym.corpora import checks, tables
from speechasym.corpora.report import Problems
from speechasym.errors import AnnotationError, CorpusError, TextError
from speechasym.language.letters import normalise
from speechasym.language.phones import SILENCES

TEXTS = (".textgrid", ".txt", ".lab")  # in order of preference
TABLES = (".csv", ".tsv")
OURS = {"alignments.jsonl", "report.json"}  # mark folders of results
NOT_TEXTS = {"readme", "license", "licence", "notice", "copying"}
_LOSSLESS = (".wav", ".flac")  # first choice among copies


class Part(NamedTuple):
    """What is said in a recording or a part of it, and where that is written."""

    recording: str  # path below the root
    text: str
    where: str  # file, or file:line
    start: float = 0.0  # s
    end: float | None = None  # s; None: the end of the recording
    speaker: str | None = None
    words: Sequence[Interval] = ()
    phones: Sequence[Interval] = ()


def find_parts(source: str | Path, problems: Problems) -> tuple[Path, list[Part]]:
    """Return the root of recordings, and what is said in them; add what is wrong to `problems`.

    Args:
        source: a folder; or a table, whose paths are relative to its own folder.

    Raises:
        CorpusError: no such folder or table, nothing to read, or a table without the columns.
    """
    source = Path(source)
    if source.is_file() and source.suffix.lower() in TABLES:
        root = Path(source.parent.absolute())
        text, fault = _decoded(source, source.name, problems), Problems()
        rows = tables.read_rows(text, source.name, fault) if text else []
        problems += fault
        if not rows:
            raise CorpusError(source, *tables.unusable(fault or problems))
        candidates = _of_rows(root, rows, problems)
        return root, [part for place in candidates for part in _chosen(candidates[place], problems)]
    root, places = checks.files_below(source)
    results = {str(PurePosixPath(p).parent) for p in places if PurePosixPath(p).name in OURS}
    places = [p for p in places if not _is_result(p, results)]
    audio, texts, rows = _sorted_places(root, places, problems)
    if not audio:
        endings = " ".join(sorted(EXTENSIONS))
        raise checks.nothing_found(root, places, f"recordings ({endings})")
    if not texts and not rows:
        count = sum(map(len, audio.values()))
        problem = f"{plural(count, 'recording')}, but no texts beside them (.txt .lab .TextGrid)"
        remedy = "Write NAME.txt for each NAME.wav, or a table with the columns path and text"
        raise CorpusError(root, problem, remedy)
    for key in [key for key in texts if key not in audio]:
        if lines := _lines(root, texts[key][0], audio, problems):
            rows += lines
            del texts[key]
    candidates = _of_rows(root, rows, problems)
    for key, paths in sorted(audio.items()):
        best = sorted(paths, key=lambda p: (PurePosixPath(p).suffix.lower() not in _LOSSLESS, p))
        listed = [place for place in best if place in candidates]
        place = (listed or best)[0]
        if len(paths) > 1 and len(listed) < len(paths):
            problems.add("note", "several copies of one recording", place, f"{place} is used")
        beside = texts.pop(key, [])
        if not beside and place not in candidates:
            problems.add("error", "audio without text", place)
        candidates[place] += [_beside(root, place, path, problems) for path in beside]
    for paths in texts.values():
        for place in paths:
            problems.add("error", "text without audio", place)
    parts = [part for place in candidates for part in _chosen(candidates[place], problems)]
    return root, sorted(parts, key=lambda part: (part.recording, part.start))


def _is_result(place: str, results: set[str]) -> bool:
    """Return whether a file is in a folder that `prepare` or `align` wrote."""
    path = PurePosixPath(place)
    if len(path.parts) == 1:
        return path.name == "report.txt" and "." in results
    return any(str(parent) in results for parent in list(path.parents)[:-1])


def _sorted_places(
    root: Path, places: Iterable[str], problems: Problems
) -> tuple[dict[str, list[str]], dict[str, list[str]], list[tables.Row]]:
    """Return recordings and texts by path without suffix, and the rows of tables at the top."""
    audio, texts = defaultdict(list), defaultdict(list)
    rows: list[tables.Row] = []
    for place in places:
        path = PurePosixPath(place)
        suffix, key = path.suffix.lower(), str(path.with_suffix(""))
        if suffix in EXTENSIONS:
            audio[key].append(place)
        elif suffix in TEXTS and path.stem.casefold() not in NOT_TEXTS:
            texts[key].append(place)
        elif suffix in TABLES and len(path.parts) == 1:
            text = _decoded(root / place, place, problems)
            rows += tables.read_rows(text, place, problems) if text else []
    return audio, texts, rows


def _lines(
    root: Path, place: str, audio: dict[str, list[str]], problems: Problems
) -> list[tables.Row]:
    """Return the lines `NAME text` of a list of recordings in its folder, as in Kaldi's `text`.

    It is one if at least half of its lines begin with names of recordings, with or without suffix.
    """
    folder = PurePosixPath(place).parent
    names: dict[str, str] = {}
    for key, paths in audio.items():
        if PurePosixPath(key).parent == folder:
            names |= {PurePosixPath(name).name: name for name in (key, *paths)}
            names[PurePosixPath(key).name] = sorted(paths)[0]
    faults = Problems()
    lines = [line.split(None, 1) for line in _decoded(root / place, place, faults).split("\n")]
    rows = []
    for number, words in enumerate(lines, 1):
        if words:
            path = names.get(words[0], str(folder / words[0]))
            rows.append(tables.Row(path, " ".join(words[1:]), f"{place}:{number}"))
    if 2 * sum(row.path in names.values() for row in rows) < max(1, len(rows)):
        return []
    problems += faults
    for row in rows:
        if not row.text:
            problems.add("error", "text empty", row.where, row.path)
    return [row for row in rows if row.text]


def _of_rows(
    root: Path, rows: Iterable[tables.Row], problems: Problems
) -> dict[str, list[list[Part]]]:
    """Return {recording: [the parts that the table lists]}."""
    parts: dict[str, dict[tuple[float, float | None], Part]] = defaultdict(dict)
    conflicts = set()
    for row in rows:
        spellings = (row.path, row.path.replace("\\", "/"))
        name = next((name for name in spellings if os.path.isfile(root / name)), None)
        if name is None:
            problems.add("error", "recording of a table not found", row.where, row.path)
            continue
        path = Path(name)
        if path.is_relative_to(root):
            path = path.relative_to(root)
        place, times = path.as_posix(), (row.start, row.end)
        first = parts[place].get(times)
        if first is None:
            new = Part(place, row.text, row.where, row.start, row.end, row.speaker)
            parts[place][times] = new
        elif normalise(first.text) == normalise(row.text):
            detail = f"the same as {first.where}"
            problems.add("warning", "duplicate row, the first one is kept", row.where, detail)
        else:
            problems.add("error", "two texts for one recording", place, _both(first, row))
            conflicts.add((place, times))
    for place, times in conflicts:
        parts[place][times] = parts[place][times]._replace(text="")
    found = {place: [list(table.values())] for place, table in parts.items()}
    return defaultdict(list, found)


def _both(first: Part, second: Part | tables.Row) -> str:
    return f"{first.where} {_short(first.text)!r}, {second.where} {_short(second.text)!r}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 30 else text[:27] + "..."


def _beside(root: Path, recording: str, place: str, problems: Problems) -> list[Part]:
    """Return what a file beside a recording says; a part without text if it cannot be read."""
    failed = [Part(recording, "", "")]
    if not place.lower().endswith(".textgrid"):
        text = _decoded(root / place, place, problems)
        return [Part(recording, text, place)] if text else failed
    try:
        tiers = read_textgrid(root / place)
    except AnnotationError as error:
        problems.add("error", "TextGrid that cannot be read", place, error.args[1])
        return failed
    parts = parts_of_tiers(recording, place, tiers)
    if not parts:
        problems.add("error", "TextGrid without text", place, f"its tiers: {', '.join(tiers)}")
    return parts or failed


def parts_of_tiers(recording: str, place: str, tiers: dict[str, list[Interval]]) -> list[Part]:
    """Return what a TextGrid says.

    A tier `words` (and `phones`) are times of a text that is spoken in the whole recording.
    Otherwise, as in the Montreal Forced Aligner, each interval with text is an utterance, and if
    there are several tiers, their names are the speakers.
    """
    named = {name.casefold(): intervals for name, intervals in tiers.items()}
    words = named.get("words") or named.get("word") or []
    spoken = [i for i in words if i.label.strip() and i.label.casefold() not in SILENCES]
    if spoken:
        phones = named.get("phones") or named.get("phone") or []
        phones = [i for i in phones if i.label.strip()]
        text = " ".join(i.label for i in spoken)
        return [Part(recording, text, place, words=spoken, phones=phones)]
    used = {
        name: rows for name, rows in tiers.items() if name.casefold() not in ("phones", "phone")
    }
    return [
        Part(recording, i.label, f"{place}, tier {name!r} at {i.start:.2f} s", i.start, i.end,
             name if len(used) > 1 else None)
        for name, intervals in used.items()
        for i in intervals
        if i.label.strip() and i.end > i.start
    ]  # fmt: skip


def _chosen(candidates: list[list[Part]], problems: Problems) -> list[Part]:
    """Return one text of those that a recording has; none if they disagree or all failed."""
    read = [[part for part in parts if part.text] for parts in candidates]
    read = [parts for parts in read if parts]
    texts = [normalise(" ".join(part.text for part in parts)) for parts in read]
    for parts, text in zip(read, texts, strict=True):
        if text != texts[0]:
            first, second = read[0][0], parts[0]
            detail = _both(first, second)
            problems.add("error", "two texts for one recording", first.recording, detail)
            return []
    if len(read) > 1:
        kind = "several texts that agree, the first one is used"
        others = ", ".join(parts[0].where for parts in read[1:])
        problems.add("note", kind, read[0][0].where, others)
    return read[0] if read else []


def _decoded(path: Path, place: str, problems: Problems) -> str:
    """Return the text of a file in UTF-8, marked UTF-16 or Latin-1; "" if it cannot be read."""
    with suppress(TextError):
        return files.read_text(path, TextError, utf16=True)
    try:
        text = files.read_text(path, TextError, utf16=True, latin1=True)
    except TextError as error:
        empty = error.args[1] == "is empty"
        kind = "text empty" if empty else "text that cannot be read"
        problems.add("error", kind, place, "" if empty else error.args[1])
        return ""
    line = next(line for line in text.split("\n") if not line.isascii())
    problems.add("warning", "text not UTF-8, read as Latin-1", place, _short(line))
    return text
