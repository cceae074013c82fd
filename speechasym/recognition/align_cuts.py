"""Forced alignment of all cuts of a manifest, into a folder that an interrupted call resumes."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from speechasym import files
from speechasym.annotations.ctm import write_ctm
from speechasym.annotations.intervals import Interval
from speechasym.annotations.textgrid import read_textgrid, write_textgrid
from speechasym.config import check_choice
from speechasym.corpora.manifests import stream_cuts
from speechasym.errors import (
    AlignmentError,
    AnnotationError,
    ConfigError,
    MissingWordError,
    OutputError,
    SpeechAsymError,
)
from speechasym.language.lexicon import read_lexicon
from speechasym.progress import progress
from speechasym.recognition.alignment import Alignment, AlignmentHead, align, deviations
from speechasym.recognition.pronounced_words import pronouncer
from speechasym.recognition.recogniser import Recogniser, recogniser_of
from speechasym.recognition.trained_model import TrainedModel

LOG = "alignments.jsonl"
REPORT = "report.json"
LIMITS = (0.02, 0.05, 0.1)  # s
FORMAT = 1


@dataclass(kw_only=True)
class AlignedCuts:
    """What the alignment of a manifest, or of one recording, came to."""

    folder: Path
    scores: dict[str, float] = field(default_factory=dict)  # {cut: mean log posterior}
    heads: dict[str, str] = field(default_factory=dict)  # {cut: head that gave times of words}
    failed: dict[str, str] = field(default_factory=dict)  # {cut: why}
    kept: int = 0  # from an earlier call
    symbols: dict[str, int] = field(default_factory=dict)  # {tier: how many}
    late: dict[str, list[float]] = field(default_factory=dict)  # see `alignment.deviations`
    guessed: dict[str, list[str]] = field(default_factory=dict)  # {cut: words, see `spelling`}

    @property
    def mean_score(self) -> float | None:
        """Mean over cuts; None if there are none."""
        return sum(self.scores.values()) / len(self.scores) if self.scores else None

    def within(self) -> dict[str, dict[str, float]]:
        """{tier: {boundaries, median_s, and the share within each limit}}, against the cuts'."""
        result = {}
        for tier, late in self.late.items():
            off = np.abs(late)
            shares = {f"within_{s:g}_s": float(np.mean(off <= s + 1e-9)) for s in LIMITS}  # 1 ns
            median = round(float(np.median(off)), 6)
            result[tier] = {"boundaries": len(late), "median_s": median, **shares}
        return result


def align_cuts(
    run: str | Path | TrainedModel | Recogniser | None,
    cuts: str | Path,
    out: str | Path,
    text: str | None = None,
    *,
    lexicon: str | Path | None = None,
    head: AlignmentHead | None = None,
    spelling: bool | None = None,
    overwrite: bool = False,
    show_progress: bool = True,
) -> AlignedCuts:
    """Align all cuts of a manifest with their words, and write the times into a folder.

    Writes a TextGrid for each cut, phones.ctm, words.ctm and report.json. A cut that cannot be
    aligned is listed in the report, and the others continue. Called again with the same run, cuts
    and options, it keeps what is done and retries the cuts that failed. Of a recording and its text
    it writes STEM.TextGrid only.

    Args:
        run: folder of a finished run, or an open one; None: the pretrained model.
        cuts: manifest, as `speechasym prepare` writes; with `text`, a recording.
        out: output folder.
        text: what is said in the recording.
        lexicon: file of pronunciations; default: that of the recogniser.
        head: phones or letters, see `alignment.align`.
        spelling: guess the pronunciation of words that the lexicon lacks, or else align the cut by
            its letters; without it such a cut fails. Default: if no lexicon is given.
        overwrite: replace STEM.TextGrid even if it was not written here, or was changed since.
        show_progress: show progress on stderr.

    Raises:
        ConfigError: no manifest, cuts, or such head, or a folder with other alignments.
        CheckpointError, LexiconError: see `Recogniser`, `lexicon.read`.
        OutputError: `out` cannot be written.
        AudioError, AlignmentError, LabelError: the recording cannot be aligned with the text.

    Example:
        >>> speechasym.align(None, "speech.wav", "aligned", "he was not an ill disposed young man")
    """
    recogniser, out = recogniser_of(run), Path(out)
    trained = recogniser.trained
    spelling = lexicon is None and recogniser.lexicon is not None if spelling is None else spelling
    lexicon = lexicon or recogniser.lexicon
    if head is not None:
        check_choice("head", head, ("phones", "letters"))
        trained.check_heads([head], "head")
    count = sum(1 for _ in stream_cuts(cuts)) if text is None else 0
    if out.exists() and not out.is_dir():
        raise OutputError(out, "is a file", "Give a folder")
    guessed: set[str] = set()
    pronounce = None
    if lexicon is not None:
        pronounce = pronouncer(read_lexicon(lexicon), spelling, guessed)
    by_letters = spelling and head is None and "letters" in trained.inventories

    def aligned(source: Any, name: str) -> tuple[Alignment, list[str]]:
        guessed.clear()
        try:
            result = align(trained, source, text, pronounce=pronounce, head=head, name=name)
        except MissingWordError:
            if not by_letters:
                raise
            guessed.clear()
            result = align(trained, source, text, head="letters", name=name)
        return result, sorted(guessed)

    if text is not None:
        path = out / f"{Path(cuts).stem}.TextGrid"
        with files.replacing(path, overwrite=overwrite):
            one, words = aligned(recogniser.samples(cuts), str(cuts))
            write_textgrid(path, one.tiers, one.seconds)
        name, counts = path.stem, {tier: len(intervals) for tier, intervals in one.tiers.items()}
        return AlignedCuts(
            folder=out, scores={name: one.score}, heads={name: one.head}, symbols=counts,
            guessed={name: words} if words else {},
        )  # fmt: skip
    checksum = None if lexicon is None else files.sha256(Path(lexicon))
    key = {
        "format": FORMAT, "run": trained.fingerprint, "cuts": files.sha256(Path(cuts)),
        "lexicon": checksum, "head": head, "spelling": spelling,
    }  # fmt: skip
    log = _Log(out / LOG, key)
    result = AlignedCuts(folder=out)
    tables: dict[str, dict[str, list[Interval]]] = {"phones": {}, "words": {}}
    with progress(count, "align", show_progress) as step:
        for _, cut in stream_cuts(cuts):
            try:
                path = _path(out, cut.id)
                tiers = None
                if cut.id in log.entries:
                    with suppress(AnnotationError):  # missing or truncated
                        tiers = read_textgrid(path)
                if tiers is None:
                    one, words = aligned(cut, cut.id)
                    tiers = one.tiers
                    write_textgrid(path, tiers, one.seconds)
                    score, late = round(one.score, 4), deviations(trained, one, cut)
                    entry = {"id": cut.id, "score": score, "by": one.head, "late": late}
                    entry |= {"guessed": words} if words else {}
                    log.write(entry)
                    log.entries[cut.id] = entry
                else:
                    result.kept += 1
            except OutputError:
                raise
            except SpeechAsymError as error:
                result.failed[cut.id] = str(error)
            else:
                entry = log.entries[cut.id]
                result.scores[cut.id], result.heads[cut.id] = entry["score"], entry["by"]
                if words := entry.get("guessed", []):
                    result.guessed[cut.id] = words
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
            write_ctm(out / f"{tier}.ctm", table)
    content = asdict(result) | {"boundaries": result.within(), "folder": str(out), **key}
    del content["late"]
    files.write_json(out / REPORT, content | {"mean_score": result.mean_score})
    return result


def _path(out: Path, name: str) -> Path:
    """Return where the TextGrid of a cut goes, below the folder. Raises `AlignmentError`."""
    outside = any(part in ("", ".", "..") for part in name.split("/"))
    if len(name.split()) != 1 or outside or "\0" in name:
        raise AlignmentError(f"cut {name}", "is not a valid file name", "Rename it")
    return out / f"{name}.TextGrid"


class _Log:
    """A file with a line of JSON for each aligned cut, after one for run, cuts and options."""

    def __init__(self, path: Path, key: dict[str, Any]) -> None:
        self.path = path
        try:
            raw = path.read_bytes() if path.exists() else b""
            whole = raw[: raw.rfind(b"\n") + 1]  # a kill may leave half a line
            lines = [json.loads(line) for line in whole.splitlines()]
            self.entries: dict[str, Any] = {entry["id"]: entry for entry in lines[1:]}
            path.parent.mkdir(parents=True, exist_ok=True)
            if len(whole) < len(raw):
                path.write_bytes(whole)
        except (ValueError, TypeError, KeyError) as error:
            remedy = "Remove it, or choose another folder"
            raise ConfigError(path, "is not a list of alignments", remedy) from error
        except OSError as error:
            problem = f"cannot be used ({error.strerror})"
            raise OutputError(path, problem, "Choose a writable folder") from error
        if not lines:
            self.write(key)
        elif lines[0] != key:
            problem = "holds alignments by another run, of other cuts, or with other options"
            raise ConfigError(path.parent, problem, "Choose another folder, or remove it")

    def write(self, line: dict[str, Any]) -> None:
        """Append a line. Raises `OutputError`."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, sort_keys=True) + "\n")
        except OSError as error:
            problem = f"cannot be written ({error.strerror})"
            raise OutputError(self.path, problem, "Free space there") from error
