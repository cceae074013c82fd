"""Transcripts: tokens of each utterance, from text, .trn, CTM, TextGrid, .PHN and .WRD files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from speechasym.annotations import ctm, timit
from speechasym.annotations.intervals import Interval
from speechasym.annotations.tiers import SUFFIXES, read_tiers
from speechasym.annotations.transcript_lines import read_lines
from speechasym.errors import ScoringError
from speechasym.files import atomic


class Transcripts(dict[str, list[str]]):
    """{utterance: its tokens}, with the place in the file that each was read from."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[str, str] = {}

    def add(self, name: str, tokens: list[str], place: str) -> None:
        """Add an utterance. Raises `ScoringError` for a second one of the same name."""
        if name in self:
            problem = f"utterance {name!r} is a duplicate of the one at {self.places[name]}"
            raise ScoringError(place, problem, "Remove one of the two")
        self[name] = tokens
        self.places[name] = place


def place_of(transcripts: Mapping[str, Sequence[str]], name: str) -> str:
    """Return where an utterance was read from, for messages."""
    places = transcripts.places if isinstance(transcripts, Transcripts) else {}
    return f"{places[name]}, utterance {name}" if name in places else f"utterance {name}"


def read_transcripts(path: str | Path, tier: str = "phones") -> Transcripts:
    """Read transcripts: {utterance: tokens}.

    - .ctm: tokens ordered by start; an utterance has one channel.
    - .TextGrid, .PHN, .WRD: one utterance, named by the file's stem; empty labels are left out.
    - A folder: all of these below it, .PHN for the tier "phones", .WRD for "words", named by their
      path below the folder without suffix.
    - .trn: sclite's lines `token token ... (id)`.
    - Any other file: lines `id token token ...`; an id alone has an empty transcript. Other known
      formats, such as .rttm or JSON, are refused.

    Args:
        tier: which tier of a TextGrid.

    Raises:
        ScoringError: a path that cannot be read, text that is not UTF-8 or is empty, another
            format, a missing tier, a duplicate id.
        AnnotationError: a CTM, TextGrid, .PHN or .WRD that cannot be read.
    """
    path = Path(path)
    transcripts = Transcripts()
    if path.is_dir():
        _add_folder(transcripts, path, tier)
    elif path.suffix.lower() in SUFFIXES:
        transcripts.add(path.stem, _tier_tokens(path, tier), str(path))
    elif path.suffix.lower() == ".ctm":
        _add_ctm(transcripts, path)
    else:
        for name, tokens, place in read_lines(path):
            transcripts.add(name, tokens, place)
    return transcripts


def _add_ctm(transcripts: Transcripts, path: Path) -> None:
    rows: dict[str, list[Interval]] = {}
    first: dict[str, tuple[str, str]] = {}  # place and channel
    for place, name, channel, interval in ctm.read_rows(path):
        first_place, first_channel = first.setdefault(name, (place, channel))
        if channel != first_channel:
            raise ScoringError(
                place,
                f"channel {channel} of {name!r}, which has channel {first_channel} at "
                f"{first_place}; an utterance must have one channel",
                "Give each channel its own id",
            )
        rows.setdefault(name, []).append(interval)
    for name, intervals in rows.items():
        tokens = [i.label for i in sorted(intervals, key=lambda i: i.start)]
        transcripts.add(name, tokens, first[name][0])


def _tier_tokens(path: Path, tier: str) -> list[str]:
    tiers = read_tiers(path)
    if tier not in tiers:
        problem = f"has no tier {tier!r}; it has {', '.join(map(repr, tiers)) or 'none'}"
        raise ScoringError(path, problem, "Name one of its tiers")
    return [token for interval in tiers[tier] for token in interval.label.split()]


def _add_folder(transcripts: Transcripts, folder: Path, tier: str) -> None:
    suffixes = {".textgrid"} | {suffix for suffix, name in timit.TIERS.items() if name == tier}
    for path in sorted(folder.rglob("*")):
        hidden = path.name.startswith(".")  # such as ._x.TextGrid, which macOS leaves
        if path.suffix.lower() in suffixes and not hidden and path.is_file():
            name = path.relative_to(folder).with_suffix("").as_posix()
            transcripts.add(name, _tier_tokens(path, tier), str(path))
    if not transcripts:
        raise ScoringError(
            folder,
            f"no {' or '.join(sorted(suffixes))} files below this folder",
            "Give a folder of annotations, or a file of transcripts",
        )


def write_text(path: str | Path, transcripts: Mapping[str, Sequence[str]]) -> None:
    """Write lines `id token token ...`, in the order given; `read_transcripts` reads them back.

    Raises:
        ScoringError: an id or a token is empty or contains spaces, or an id begins with `;;`.
        OutputError: the file cannot be written.
    """
    for name, tokens in transcripts.items():
        if bad := [token for token in (name, *tokens) if token.split() != [token]]:
            problem = f"{bad[0]!r} is empty or contains spaces, which separate tokens"
            raise ScoringError(place_of(transcripts, name), problem, "Rename it")
        if name.startswith(";;"):
            problem = "an id that begins with `;;` reads as a comment"
            raise ScoringError(place_of(transcripts, name), problem, "Rename it")
    with atomic(Path(path)) as file:
        for name, tokens in transcripts.items():
            file.write((" ".join([name, *tokens]) + "\n").encode())
