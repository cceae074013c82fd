"""Transcripts: the tokens of each utterance, from text, CTM, TextGrid, .PHN and .WRD files.

`scoring` compares them.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from speechasym.annotations.intervals import TIMIT_TIERS, read_tiers
from speechasym.errors import ScoringError
from speechasym.files import atomic


class Transcripts(dict[str, list[str]]):
    """{utterance: its tokens}, with the place in the file that each was read from."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[str, str] = {}

    def add(self, name: str, tokens: list[str], place: str) -> None:
        """Add an utterance; raises `ScoringError` if it is there already."""
        if name in self:
            raise ScoringError(
                place,
                f"utterance {name!r} is there already, at {self.places[name]}; once is expected",
                "Remove one of the two",
            )
        self[name] = tokens
        self.places[name] = place


def place_of(transcripts: Mapping[str, Sequence[str]], name: str) -> str:
    """Where an utterance stands, for messages."""
    known = transcripts.places if isinstance(transcripts, Transcripts) else {}
    return f"{known[name]}, utterance {name}" if name in known else f"utterance {name}"


def read_transcripts(path: str | Path, tier: str = "phones") -> Transcripts:
    """Read transcripts: {utterance: tokens}.

    .ctm: lines `id channel start duration token`, ordered by start; an utterance has one channel.
    .TextGrid, .PHN, .WRD: one utterance, named by its stem; intervals without a label are left
    out. A folder: all of these below it, .PHN for the tier "phones", .WRD for "words", named by
    their path in it without ending. Any other file: lines `id token token ...`; an id alone has
    an empty transcript.

    Args:
        tier: of a TextGrid.

    Raises:
        ScoringError: not there, not UTF-8, empty, a bad line, no such tier, an id twice.
        AnnotationError: a TextGrid, .PHN or .WRD that cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path, tier)
    if path.suffix.lower() in (".textgrid", *TIMIT_TIERS):
        found = Transcripts()
        found.add(path.stem, _tier(path, tier), str(path))
        return found
    lines = _lines(path)
    return _ctm(path, lines) if path.suffix.lower() == ".ctm" else _text(path, lines)


def _lines(path: Path) -> list[str]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ScoringError(path, f"cannot be read ({error.strerror})", "Check the path") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ScoringError(
            f"{path}:{raw[: error.start].count(10) + 1}",
            f"byte {error.start} is not UTF-8 text",
            "Give a text, a .ctm or a .TextGrid, saved as UTF-8",
        ) from error
    if "\0" in text:
        raise ScoringError(
            f"{path}:{text[: text.index(chr(0))].count(chr(10)) + 1}",
            "is not text: it holds a zero byte",
            "Give a text, a .ctm or a .TextGrid, saved as UTF-8",
        )
    if not text.strip():
        raise ScoringError(
            path, "is empty; a line for each utterance is expected", "Write it again"
        )
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _text(path: Path, lines: list[str]) -> Transcripts:
    found = Transcripts()
    for number, line in enumerate(lines, 1):
        if parts := line.split():
            found.add(parts[0], parts[1:], f"{path}:{number}")
    return found


def _ctm(path: Path, lines: list[str]) -> Transcripts:
    rows: dict[str, list[tuple[float, str]]] = {}
    channels: dict[str, str] = {}
    first: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if not parts or line.startswith(";;"):
            continue
        place = f"{path}:{number}"
        try:
            name, channel, start, duration, token = parts[:5]
            good = float(start) >= 0 and float(duration) >= 0  # nan is neither
        except ValueError:
            good = False
        if not good or not math.isfinite(float(start) + float(duration)):
            raise ScoringError(
                place,
                f"{line.strip()!r} is not `id channel start duration token`, with times in s",
                "Mend the line",
            )
        if channels.setdefault(name, channel) != channel:
            raise ScoringError(
                place,
                f"channel {channel} of {name!r}, which began with channel {channels[name]} at "
                f"{first[name]}; an utterance has one channel",
                "Give each channel an id of its own",
            )
        first.setdefault(name, place)
        rows.setdefault(name, []).append((float(start), token))
    found = Transcripts()
    for name, row in rows.items():
        found.add(name, [token for _, token in sorted(row, key=lambda r: r[0])], first[name])
    return found


def _tier(path: Path, tier: str) -> list[str]:
    tiers = read_tiers(path)
    if tier not in tiers:
        raise ScoringError(
            path,
            f"has no tier {tier!r}; it has {', '.join(map(repr, tiers)) or 'none'}",
            "Name one of its tiers",
        )
    return [token for interval in tiers[tier] for token in interval.label.split()]


def _folder(folder: Path, tier: str) -> Transcripts:
    kinds = {".textgrid"} | {kind for kind, of in TIMIT_TIERS.items() if of == tier}
    found = Transcripts()
    for path in sorted(folder.rglob("*")):
        hidden = path.name.startswith(".")  # ._x.TextGrid, which macOS leaves, is none
        if path.suffix.lower() in kinds and not hidden and path.is_file():
            name = path.relative_to(folder).with_suffix("").as_posix()
            found.add(name, _tier(path, tier), str(path))
    if not found:
        raise ScoringError(
            folder,
            f"no {' or '.join(sorted(kinds))} below this folder",
            "Give a folder of alignments, or a file of transcripts",
        )
    return found


def write_text(path: str | Path, transcripts: Mapping[str, Sequence[str]]) -> None:
    """Write lines `id token token ...`, in the order given; `read_transcripts` takes them back.

    Raises `ScoringError` for an id or a token that is empty or holds a space, `OutputError`
    where it cannot be written.
    """
    for name, tokens in transcripts.items():
        if bad := [token for token in (name, *tokens) if token.split() != [token]]:
            raise ScoringError(
                place_of(transcripts, name),
                f"{bad[0]!r} is empty or holds a space, which stands between tokens",
                "Name it otherwise",
            )
    with atomic(Path(path)) as file:
        for name, tokens in transcripts.items():
            file.write((" ".join([name, *tokens]) + "\n").encode())
