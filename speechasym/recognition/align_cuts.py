"""Forced alignment of all cuts of a manifest, into a folder that an interrupted call resumes."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speechasym import files
from speechasym.annotations import ctm, textgrid
from speechasym.annotations.intervals import Interval
from speechasym.corpora.manifests import read_cuts
from speechasym.errors import (
    AlignmentError,
    AnnotationError,
    ConfigError,
    MissingWordError,
    OutputError,
    SpeechAsymError,
)
from speechasym.language import lexicon as lexicons
from speechasym.language.lexicon import Lexicon
from speechasym.progress import progress
from speechasym.recognition import alignment
from speechasym.recognition.alignment import Alignment, AlignmentHead
from speechasym.recognition.pronounced_words import Spell, speller
from speechasym.recognition.recogniser import Recogniser, recogniser_of
from speechasym.recognition.trained_model import TrainedModel

if TYPE_CHECKING:
    from lhotse.cut import Cut

LOG = "alignments.jsonl"
REPORT = "report.json"
LIMITS = (0.02, 0.05, 0.1)  # s
FORMAT = 1


@dataclass(kw_only=True)
class AlignedCuts:
    """What the alignment of a manifest came to."""

    folder: Path
    scores: dict[str, float] = field(default_factory=dict)  # {cut: mean log posterior}
    heads: dict[str, str] = field(default_factory=dict)  # {cut: head that gave times of words}
    failed: dict[str, str] = field(default_factory=dict)  # {cut: why}
    kept: int = 0  # from an earlier call
    symbols: dict[str, int] = field(default_factory=dict)  # {tier: how many}
    late: dict[str, list[float]] = field(default_factory=dict)  # see `alignment.deviations`

    @property
    def mean_score(self) -> float | None:
        """Mean over cuts; None if there are none."""
        return sum(self.scores.values()) / len(self.scores) if self.scores else None

    def within(self) -> dict[str, dict[str, float]]:
        """{tier: {boundaries, median_s, and the share within each limit}}, against the cuts'."""
        shares = {tier: alignment.share_within(late, LIMITS) for tier, late in self.late.items()}
        return {
            tier: {
                "boundaries": len(late),
                "median_s": round(float(np.median(np.abs(late))), 6),
                **{f"within_{limit:g}_s": share for limit, share in shares[tier].items()},
            }
            for tier, late in self.late.items()
        }


def align_cuts(
    run: str | Path | TrainedModel | Recogniser | None,
    cuts: str | Path,
    out: str | Path,
    *,
    lexicon: str | Path | None = None,
    head: AlignmentHead | None = None,
    spelling: bool = False,
    show_progress: bool = True,
) -> AlignedCuts:
    """Align all cuts of a manifest with their words, and write the times into a folder.

    Writes a TextGrid for each cut, phones.ctm, words.ctm and report.json. A cut that cannot be
    aligned is listed in the report, and the others continue. Called again with the same run, cuts
    and options, it keeps what is done and retries the cuts that failed.

    Args:
        run: folder of a finished run, or an open one; None: the pretrained model.
        cuts: manifest, as `speechasym prepare` writes.
        out: output folder.
        lexicon: file of pronunciations; default: that of the recogniser, or of the run's training
            if it still exists.
        head: phones or letters, see `alignment.align`.
        spelling: guess the pronunciation of words that the lexicon lacks, or else align the cut by
            its letters; without it such a cut fails.
        show_progress: show progress on stderr.

    Raises:
        ConfigError: no manifest, cuts, or such head, or a folder with other alignments.
        CheckpointError, LexiconError: see `Recogniser`, `lexicon.read`.
        OutputError: `out` cannot be written.
    """
    recogniser, out = recogniser_of(run), Path(out)
    trained, lexicon = recogniser.trained, lexicon or recogniser.lexicon
    if head not in (None, "phones", "letters"):
        raise ConfigError("head", f"must be phones or letters, got {head!r}", "Use phones")
    if head is not None:
        trained.check_heads([head], "head")
    rows = list(read_cuts(cuts))
    if out.exists() and not out.is_dir():
        raise OutputError(out, "is a file", "Give a folder")
    trained_with = trained.config.data.labels.lexicon
    if lexicon is None and trained_with is not None and Path(trained_with).is_file():
        lexicon = trained_with
    words = None if lexicon is None else lexicons.read_lexicon(lexicon)
    log = _Log(
        out / LOG,
        {
            "format": FORMAT,
            "run": trained.fingerprint,
            "cuts": files.sha256(Path(cuts)),
            "lexicon": None if lexicon is None else files.sha256(Path(lexicon)),
            "head": head,
            "spelling": spelling,
        },
    )
    spell = speller(words) if spelling and words is not None else None
    result = AlignedCuts(folder=out)
    tables: dict[str, dict[str, list[Interval]]] = {"phones": {}, "words": {}}
    with progress(len(rows), "align", show_progress) as step:
        for cut in rows:
            try:
                path = _path(out, cut.id)
                tiers = _read(path) if cut.id in log.entries else None
                if tiers is None:
                    aligned, by = _align(trained, cut, words, head, spell, spelling)
                    tiers = aligned.tiers
                    textgrid.write_textgrid(path, tiers, aligned.seconds)
                    entry = {"id": cut.id, "score": round(aligned.score, 4), "by": by}
                    log.add(entry | {"late": alignment.deviations(trained, aligned, cut)})
                else:
                    result.kept += 1
            except OutputError:
                raise
            except SpeechAsymError as error:
                result.failed[cut.id] = str(error)
            else:
                entry = log.entries[cut.id]
                result.scores[cut.id], result.heads[cut.id] = entry["score"], entry["by"]
                for tier, late in entry["late"].items():
                    result.late.setdefault(tier, []).extend(late)
                for tier, intervals in tiers.items():
                    symbols = [i for i in intervals if i.label and i.end > i.start]
                    result.symbols[tier] = result.symbols.get(tier, 0) + len(symbols)
                    if tier in tables:
                        tables[tier][cut.id] = symbols
            step()
    for tier, table in tables.items():
        if table:
            ctm.write_ctm(out / f"{tier}.ctm", table)
    content = asdict(result) | {"boundaries": result.within(), "folder": str(out), **log.key}
    del content["late"]
    files.write_json(out / REPORT, content | {"mean_score": result.mean_score})
    return result


def _align(
    trained: TrainedModel,
    cut: "Cut",
    lexicon: Lexicon | None,
    head: AlignmentHead | None,
    spell: Spell | None,
    spelling: bool,
) -> tuple[Alignment, str]:
    """The alignment of a cut, and the head that gave the times of its words."""
    try:
        aligned = alignment.align(trained, cut, lexicon=lexicon, head=head, spell=spell)
    except MissingWordError:
        if not spelling or head is not None or "letters" not in trained.inventories:
            raise
        return alignment.align(trained, cut, head="letters"), "letters"
    return aligned, head or ("phones" if "phones" in aligned.tiers else "letters")


def _path(out: Path, name: str) -> Path:
    """Where the TextGrid of a cut goes, below the folder."""
    parts = name.split("/")
    outside = any(part in ("", ".", "..") for part in parts)
    if len(name.split()) != 1 or outside or "\0" in name:
        raise AlignmentError(f"cut {name}", "is not a valid file name", "Rename it")
    return out / f"{name}.TextGrid"


def _read(path: Path) -> dict[str, list[Interval]] | None:
    try:
        return textgrid.read_textgrid(path)
    except AnnotationError:  # missing or truncated
        return None


class _Log:
    """A file with a line of JSON for each aligned cut, after one for run, cuts and options."""

    def __init__(self, path: Path, key: dict[str, Any]) -> None:
        self.path, self.key = path, key
        self.entries: dict[str, Any] = {}
        try:
            raw = path.read_bytes() if path.exists() else b""
            whole = raw[: raw.rfind(b"\n") + 1]  # a kill may leave half a line
            lines = [json.loads(line) for line in whole.splitlines()]
            self.entries = {entry["id"]: entry for entry in lines[1:]}
            path.parent.mkdir(parents=True, exist_ok=True)
            if len(whole) < len(raw):
                path.write_bytes(whole)
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                path, "is not a list of alignments", "Remove it, or choose another folder"
            ) from error
        except OSError as error:
            raise OutputError(
                path, f"cannot be used ({error.strerror})", "Choose a writable folder"
            ) from error
        if lines and lines[0] != key:
            raise ConfigError(
                path.parent,
                "holds alignments by another run, of other cuts, or with other options",
                "Choose another folder, or remove it",
            )
        if not lines:
            self._write(key)

    def add(self, entry: dict[str, Any]) -> None:
        """Add the line of a cut. Raises `OutputError`."""
        self._write(entry)
        self.entries[entry["id"]] = entry

    def _write(self, line: dict[str, Any]) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, sort_keys=True) + "\n")
        except OSError as error:
            raise OutputError(
                self.path, f"cannot be written ({error.strerror})", "Free space there"
            ) from error
