"""Tables of recordings and what is said in them: CSV, TSV, with a header."""

import csv
import io
import math
from typing import Any, NamedTuple

from speechasym.corpora.report import Problems

COLUMNS = {  # names that each column may have, in any letter case
    "path": ("path", "file", "filename", "audio"),
    "text": ("text", "sentence", "transcript", "transcription"),
    "speaker": ("speaker", "speaker_id", "client_id"),
    "start": ("start", "begin", "start_time"),
    "end": ("end", "end_time"),
}
REQUIRED = ("path", "text")


class Row(NamedTuple):
    """A row of a table."""

    path: str
    text: str
    where: str  # table:line
    start: float = 0.0  # s
    end: float | None = None  # s; None: the end of the recording
    speaker: str | None = None


def read_rows(text: str, place: str, problems: Problems) -> list[Row]:
    """Return the rows of a table; what is wrong with others is added to `problems`.

    Columns are separated by tabs in a .tsv, otherwise by whichever of comma, semicolon and tab the
    header has most of. Fields may be in double quotes. A table without the columns path and text
    has no rows, and a warning says so.
    """
    head = text.split("\n", 1)[0]
    delimiter = "\t" if place.lower().endswith(".tsv") else max(",;\t", key=head.count)
    unquoted = delimiter == "\t" and '"' not in head  # then quotes are part of the text
    options: Any = {"quoting": csv.QUOTE_NONE} if unquoted else {}
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, **options)
    rows = []
    columns: dict[str, int] = {}
    try:
        header = [name.strip().casefold() for name in next(reader)]
        for column, names in COLUMNS.items():
            if available := [name for name in names if name in header]:
                columns[column] = header.index(available[0])
        if missing := [name for name in REQUIRED if name not in columns]:
            detail = f"no column {' or '.join(missing)}; it has {', '.join(header)}"
            problems.add("warning", "table not used", place, detail)
            return []
        for fields in reader:
            if any(field.strip() for field in fields):
                where = f"{place}:{reader.line_num}"
                values = {c: fields[n].strip() for c, n in columns.items() if n < len(fields)}
                if (row := _row(values, where, problems)) is not None:
                    rows.append(row)
    except csv.Error as error:
        detail = f"{error}, line {reader.line_num}"
        problems.add("error", "table that cannot be read", place, detail)
    return rows


def _row(values: dict[str, str], where: str, problems: Problems) -> Row | None:
    path, text = values.get("path", ""), values.get("text", "")
    if not path:
        problems.add("error", "row without path", where)
        return None
    if not text:
        problems.add("error", "text empty", where, path)
        return None
    start, end = (_seconds(values.get(name, "")) for name in ("start", "end"))
    begin = 0.0 if start is None else start
    if not (0 <= begin < math.inf and (end is None or begin < end < math.inf)):
        detail = f"start {values.get('start', '')!r}, end {values.get('end', '')!r}, in s"
        problems.add("error", "row with impossible times", where, detail)
        return None
    return Row(path, text, where, begin, end, values.get("speaker") or None)


def _seconds(field: str) -> float | None:
    """Return a time in s, None for an empty field, NaN for what is not a number."""
    try:
        return float(field.replace(",", ".")) if field else None
    except ValueError:
        return math.nan


def unusable(problems: Problems) -> tuple[str, str]:
    """Return problem and remedy of a table of which no row can be used."""
    remedy = "Give a header with path and text, separated by commas, semicolons or tabs"
    if not problems:
        return "has no rows", remedy
    first = problems[-1] if problems[-1].kind == "table not used" else problems[0]
    colon = ": " if first.detail else ""
    return f"no row can be used: {first.place}: {first.kind}{colon}{first.detail}", remedy
