"""Tiers of a recording written as TextGrid, CTM, CSV, JSON or subtitles.

CSV and JSON have the columns and keys of the Montreal Forced Aligner's.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from speechasym import files
from speechasym.annotations.ctm import write_ctm
from speechasym.annotations.intervals import Interval
from speechasym.annotations.textgrid import write_textgrid

FORMATS = {  # endings of the files of each
    "textgrid": (".TextGrid",),
    "ctm": (".words.ctm", ".phones.ctm"),
    "csv": (".csv",),
    "json": (".json",),
    "srt": (".srt",),
}
COLUMNS = ("Begin", "End", "Label", "Type", "Speaker")
LINE = 42  # characters of a subtitle, as broadcasters have it
SUBTITLE_S, PAUSE_S = 6.0, 0.5  # a subtitle lasts at most so long, and ends at such a pause

Tiers = Mapping[str, Sequence[Interval]]
Confidences = Mapping[str, Sequence[float]]


def paths_of(stem: Path, formats: Iterable[str]) -> list[Path]:
    """Return the files that `write_tiers` may write."""
    endings = [ending for name in formats for ending in FORMATS[name]]
    return [stem.with_name(stem.name + ending) for ending in endings]


def write_tiers(
    stem: Path, tiers: Tiers, seconds: float, formats: Iterable[str], name: str, speaker: str = "",
    about: Mapping[str, Any] | None = None, confidences: Confidences | None = None,
) -> list[Path]:  # fmt: skip
    """Write tiers in each format; return the files.

    Tiers of several speakers are called `SPEAKER - words`. A CTM has the words or phones of all of
    them, subtitles the words; tiers without any give no such file.

    Args:
        stem: path of the files without suffix.
        seconds: duration of the recording.
        name: of the recording, in CTM.
        speaker: of tiers without a speaker in their name, in CSV.
        about: what JSON says of the recording besides.
        confidences: {tier: of each interval, 0 to 1}, a column of CSV and a fourth entry in JSON.

    Raises:
        AnnotationError: see `write_textgrid` and `write_ctm`.
        OutputError: a file cannot be written.
    """
    written = []
    words, phones = (_of_kind(tiers, kind) for kind in ("words", "phones"))
    for path in paths_of(stem, formats):
        if path.name.endswith(".TextGrid"):
            write_textgrid(path, tiers, seconds)
        elif path.name.endswith(".ctm"):
            if not (rows := words if path.name.endswith(".words.ctm") else phones):
                continue
            write_ctm(path, {name: rows})
        elif path.suffix == ".csv":
            _write(path, _csv(tiers, speaker, confidences))
        elif path.suffix == ".json":
            entries: dict[str, list[list[Any]]]
            entries = {tier: [[*row] for row in rows] for tier, rows in tiers.items()}
            for tier, values in (confidences or {}).items():
                for entry, value in zip(entries[tier], values, strict=True):
                    entry.append(round(value, 3))
            table = {name: {"type": "interval", "entries": rows} for name, rows in entries.items()}
            content = {"start": 0.0, "end": seconds, **(about or {}), "tiers": table}
            files.write_json(path, content)
        else:
            _write(path, subtitles(words))
        written.append(path)
    return written


def _of_kind(tiers: Tiers, kind: str) -> list[Interval]:
    rows = [tiers[name] for name in tiers if name == kind or name.endswith(f" - {kind}")]
    return sorted(i for row in rows for i in row if i.label)


def _csv(tiers: Tiers, speaker: str, confidences: Confidences | None) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS if confidences is None else (*COLUMNS, "Confidence"))
    for name, intervals in tiers.items():
        other, _, kind = name.rpartition(" - ")
        known = (confidences or {}).get(name)
        for number, (start, end, label) in enumerate(intervals):
            row = [f"{start:.4f}", f"{end:.4f}", label, kind, other or speaker]
            if confidences is not None:
                row.append("" if known is None else f"{known[number]:.3f}")
            writer.writerow(row)
    return text.getvalue()


def subtitles(words: Sequence[Interval]) -> str:
    """Return words as subtitles in SubRip's format (.srt), a line each.

    A subtitle ends at a pause of half a second, after 42 characters or after 6 s.
    """
    groups: list[list[Interval]] = []
    for word in words:
        if groups:
            row = groups[-1]
            length = sum(len(other.label) + 1 for other in row) + len(word.label)
            pause, lasts = word.start - row[-1].end, word.end - row[0].start
            if length <= LINE and pause < PAUSE_S and lasts <= SUBTITLE_S:
                row.append(word)
                continue
        groups.append([word])
    lines = []
    for number, row in enumerate(groups, 1):
        text = " ".join(word.label for word in row)
        lines.append(f"{number}\n{_clock(row[0].start)} --> {_clock(row[-1].end)}\n{text}\n")
    return "\n".join(lines)


def _clock(seconds: float) -> str:
    whole, thousandths = divmod(round(1000 * seconds), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02},{thousandths:03}"


def _write(path: Path, text: str) -> None:
    with files.atomic(path) as file:
        file.write(text.encode())
