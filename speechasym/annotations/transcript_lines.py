"""Transcripts with one utterance per line: `id token token ...`, or sclite's `token ... (id)`.

Files of other formats are refused by name: most would pass for lines `id token token ...`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from speechasym.errors import ScoringError
from speechasym.files import read_text

TRN = ".trn"
_SUPPORTED = "Convert it to lines `id token token ...`, sclite's .trn, CTM or TextGrid"
_JSON, _SUBTITLES, _TABLE = "JSON", "subtitles", "a table"
_REFUSED = {  # by suffix
    ".stm": "sclite's segment time marks (STM)", ".rttm": "speaker turns (RTTM)",
    ".uem": "scoring regions (UEM)", ".mlf": "an HTK master label file", ".lab": "a label file",
    ".json": _JSON, ".jsonl": _JSON, ".ndjson": _JSON, ".yaml": "YAML", ".yml": "YAML",
    ".srt": _SUBTITLES, ".vtt": _SUBTITLES, ".sbv": _SUBTITLES, ".ass": _SUBTITLES,
    ".ssa": _SUBTITLES, ".lrc": _SUBTITLES, ".sub": _SUBTITLES, ".ttml": _SUBTITLES,
    ".eaf": "an ELAN file", ".trs": "a Transcriber file", ".cha": "a CHAT file",
    ".exb": "an EXMARaLDA file", ".antx": "an Annotation Pro file", ".tg": "not a known format",
    ".csv": _TABLE, ".xlsx": _TABLE, ".xml": "XML", ".html": "HTML", ".htm": "HTML",
    ".md": "Markdown", ".rtf": "rich text", ".arpa": "a language model", ".fst": "a transducer",
    ".scp": "a list of files", ".par": "a BAS partitur file",
}  # fmt: skip
_CONTENTS = (  # what files of other formats contain, whatever their suffix
    (re.compile(r"#!MLF!#"), "an HTK master label file"),
    (re.compile(r"WEBVTT\b|(?:\d+\s+)?[\d:.,]+\s*-->"), _SUBTITLES),
    (re.compile(r'\{\s*"|\[\s*[{"\[]|[\[{]\s*\n'), _JSON),
    (re.compile(r"<\?xml|<!DOCTYPE"), "XML"),
    (re.compile(r"File type = \"ooTextFile"), "a Praat file; name a TextGrid .TextGrid"),
    (re.compile(r"(?:SPEAKER|LEXEME|SPKR-INFO)(?:[ \t]+\S+){8,}"), "speaker turns (RTTM)"),
    (
        re.compile(r"\S+\s+[\dA-Z]\s+\S+\s+\d+\.\d+\s+\d+\.\d+\s"),
        "sclite's segment time marks (STM)",
    ),
    (re.compile(r"\S+\s+[\dA-Z]\s+\d+\.\d+\s+\d+\.\d+\s+\S"), "a CTM file; name it .ctm"),
    (re.compile(r"\d+\.\d+[ \t]+\d+\.\d+[ \t]+\S"), "a label file"),
)
_TRN_LINE = re.compile(r"(.*?)\(([^\s()]+)\)")
_TRN_ID = re.compile(r"\S*\([^\s()]*[-_\d][^\s()]*\)")  # at the end of a line


def read_lines(path: Path) -> Iterator[tuple[str, list[str], str]]:
    """Yield each utterance: id, tokens, place `file:line`. Lines that begin with `;;` are comments.

    Raises:
        ScoringError: the file cannot be read, is in another format, or has a malformed line.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    suffix = suffixes[-1] if suffixes else ""
    if suffix in _REFUSED:
        raise ScoringError(path, f"is {_REFUSED[suffix]}, which is not supported", _SUPPORTED)
    lines = read_text(path, ScoringError).split("\n")
    rows = [(n, line.strip()) for n, line in enumerate(lines, 1) if line.strip()]
    rows = [(n, line) for n, line in rows if not line.startswith(";;")]
    if suffix == TRN:
        for number, line in rows:
            yield _trn_line(line, f"{path}:{number}")
        return
    text = "\n".join(line for _, line in rows)
    for pattern, name in _CONTENTS:
        if pattern.match(text):
            raise ScoringError(path, f"looks like {name}", _SUPPORTED)
    if suffix == ".tsv" and any(line.count("\t") > 1 for _, line in rows):
        raise ScoringError(path, f"is {_TABLE} of more than two columns", _SUPPORTED)
    if rows and all(_TRN_ID.fullmatch(line.split()[-1]) for _, line in rows):
        remedy = "Name it .trn, or move the ids to the front"
        raise ScoringError(path, "looks like sclite's `token token ... (id)`", remedy)
    for number, line in rows:
        name, *tokens = line.split()
        yield name, tokens, f"{path}:{number}"


def _trn_line(line: str, place: str) -> tuple[str, list[str], str]:
    match = _TRN_LINE.fullmatch(line)
    if match is None:
        problem = f"{line[:60]!r} does not end with the utterance's id in parentheses"
        raise ScoringError(place, problem, "Write lines `token token ... (id)`")
    tokens = match[1].split()
    for token in tokens:
        if token in ("{", "}") or re.fullmatch(r"\(.+\)", token):
            problem = f"{token!r}: alternatives and optional words of sclite are not supported"
            raise ScoringError(place, problem, "Write one version of the words")
    return match[2], tokens, place
