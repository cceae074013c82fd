"""The command `align`: when each known word, phone and letter of a manifest's cuts is said."""

import json
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechasym.cli.options import optional

if TYPE_CHECKING:
    from lhotse.cut import Cut

    from speechasym.annotations.intervals import Interval
    from speechasym.language.lexicon import Lexicon
    from speechasym.recognition.alignment import Alignment
    from speechasym.recognition.transcription import Trained

LOG = "alignments.jsonl"
REPORT = "report.json"
LIMITS = (0.02, 0.05, 0.1)  # s
FORMAT = 1
SHOWN = 5  # problems, and low scores


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    parser = commands.add_parser(
        "align",
        help="cuts and their words -> times",
        description="Find the times of the known words and phones of cuts. Writes a TextGrid for"
        " each cut, phones.ctm, words.ctm and report.json. An interrupted call resumes when it is"
        " called again.",
        epilog="Example:  speechasym align runs/mini mini/test_cuts.jsonl.gz --out aligned",
    )
    parser.set_defaults(execute=run_align)
    add = parser.add_argument
    add("run", metavar="RUN", help="folder of a finished run")
    add("cuts", metavar="CUTS", help="manifest written by prepare")
    add("--out", required=True, metavar="DIR", help="output folder")
    add(
        "--lexicon", default=None, metavar="FILE",
        help="pronunciations, for cuts without phones (default: the lexicon of the run, if any)",
    )  # fmt: skip
    add(
        "--head", type=optional(str), default=None, metavar="HEAD",
        help="head that determines the times of words: phones or letters (default: phones where"
        " they are known)",
    )  # fmt: skip
    add(
        "--spelling", action="store_true",
        help="pronounce words that the lexicon lacks by their spelling; where that is impossible,"
        " align the cut by its letters",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Aligned:
    """What came of a manifest."""

    folder: Path
    scores: dict[str, float] = field(default_factory=dict)  # {cut: mean log posterior}
    heads: dict[str, str] = field(default_factory=dict)  # {cut: what told the times of words}
    failed: dict[str, str] = field(default_factory=dict)  # {cut: why}
    kept: int = 0  # of an earlier call
    symbols: dict[str, int] = field(default_factory=dict)  # {tier: how many}
    late: dict[str, list[float]] = field(default_factory=dict)  # see `forced.deviations`

    def within(self) -> dict[str, dict[str, float]]:
        """{tier: {boundaries, median_s, and the share within each limit}}, against the cuts'."""
        import numpy as np

        from speechasym.recognition.alignment import within

        return {
            tier: {
                "boundaries": len(late),
                "median_s": round(float(np.median(np.abs(late))), 6),
                **{f"within_{limit:g}_s": share for limit, share in within(late, LIMITS).items()},
            }
            for tier, late in self.late.items()
        }


def align_cuts(
    run: "str | Path | Trained",
    cuts: str | Path,
    out: str | Path,
    *,
    lexicon: str | Path | None = None,
    head: Any = None,
    spelling: bool = False,
    shown: bool = True,
) -> Aligned:
    """Align all cuts of a manifest by `forced.align`, and write what was found into a folder.

    A cut that cannot be aligned is told in the report, and the others go on. Called again with the
    same run, cuts and options, it keeps what is there; cuts that failed are tried again.

    Args:
        run, head: see `forced.align`; cuts: manifest; out: folder to fill.
        lexicon: file; None: the run's own, if it is still there.
        spelling: pronounce words that the lexicon has not by `pronounce.learn`, or align such a
            cut by its letters; else such a cut fails.
        shown: tell how far it is, on stderr.

    Raises:
        ConfigError: no manifest, no cuts, no such head, or a folder with alignments of others.
        CheckpointError, LexiconError: see `open_run`, `lexicon.read`; OutputError: `out` cannot be
        written.
    """
    from speechasym import files
    from speechasym.annotations.ctm import write_ctm
    from speechasym.annotations.textgrid import write_textgrid
    from speechasym.corpora import manifests
    from speechasym.errors import (
        AlignmentError,
        ConfigError,
        MissingWordError,
        OutputError,
        SpeechAsymError,
    )
    from speechasym.language import lexicon as lexicons
    from speechasym.progress import progress
    from speechasym.recognition import alignment
    from speechasym.recognition.transcription import open_run

    trained, out = open_run(run), Path(out)
    if head not in (None, "phones", "letters"):
        raise ConfigError("--head", f"{head!r} tells no times", "Use phones or letters")
    if head is not None:
        trained.check_heads([head], "--head")
    rows = list(manifests.read_cuts(Path(cuts)))
    if out.exists() and not out.is_dir():
        raise OutputError(out, "is a file", "Give a folder as --out")
    own = trained.config.data.labels.lexicon
    if lexicon is None and own is not None and Path(own).is_file():
        lexicon = own
    words = None if lexicon is None else lexicons.read(lexicon)
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
    spell = _speller(words) if spelling and words is not None else None
    tables: dict[str, dict[str, list[Interval]]] = {"phones": {}, "words": {}}
    result: dict[str, Any] = {"scores": {}, "heads": {}, "failed": {}, "late": {}, "symbols": {}}
    kept = 0

    def one(cut: "Cut") -> "tuple[Alignment, str]":
        try:
            return alignment.align(trained, cut, lexicon=words, head=head, spell=spell), head or ""
        except MissingWordError:
            if not spelling or head is not None or "letters" not in trained.inventories:
                raise
            return alignment.align(trained, cut, head="letters"), "letters"

    with progress(len(rows), "align", shown) as step:
        for cut in rows:
            path = _path(out, cut.id)
            entry = log.done.get(cut.id)
            tiers = None if entry is None or path is None else _kept(path)
            if entry is None or tiers is None:
                try:
                    if path is None:
                        raise AlignmentError(f"cut {cut.id}", "is no name of a file", "Rename")
                    found, by = one(cut)
                    write_textgrid(path, found.tiers, found.seconds)
                except OutputError:
                    raise
                except SpeechAsymError as error:
                    result["failed"][cut.id] = str(error)
                    step()
                    continue
                tiers = found.tiers
                by = by or ("phones" if "phones" in tiers else "letters")
                entry = {"id": cut.id, "score": round(found.score, 4), "by": by}
                entry["late"] = alignment.deviations(trained, found, cut)
                log.add(entry)
            else:
                kept += 1
            result["scores"][cut.id], result["heads"][cut.id] = entry["score"], entry["by"]
            for tier, late in entry["late"].items():
                result["late"].setdefault(tier, []).extend(late)
            for tier, intervals in tiers.items():
                said = [i for i in intervals if i.label and i.end > i.start]
                result["symbols"][tier] = result["symbols"].get(tier, 0) + len(said)
                if tier in tables:
                    tables[tier][cut.id] = said
            step()
    done = Aligned(folder=out, kept=kept, **result)
    for tier, table in tables.items():
        if table:
            write_ctm(out / f"{tier}.ctm", table)
    content = asdict(done) | {"boundaries": done.within(), "folder": str(out), **log.key}
    content["mean_score"] = _mean(list(done.scores.values()))
    del content["late"]
    files.write_json(out / REPORT, content)
    return done


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _speller(words: "Lexicon") -> Callable[[str], Sequence[tuple[str, ...]]]:
    """Pronunciations from spelling, as the lexicon's words suggest; learned when first asked."""
    from speechasym.errors import LexiconError
    from speechasym.language import letter_to_sound

    learned: list[letter_to_sound.Guesser] = []

    def spell(word: str) -> list[tuple[str, ...]]:
        try:
            learned[:] = learned or [letter_to_sound.learn(words)]
            return [learned[0].pronounce(word)]
        except LexiconError:  # nothing to learn from, or a letter that no word has
            return []

    return spell


def _path(out: Path, name: str) -> Path | None:
    """Where the TextGrid of a cut goes; none for a name that is no file below the folder."""
    parts = name.split("/")
    good = len(name.split()) == 1 and not any(part in ("", ".", "..") for part in parts)
    return out / f"{name}.TextGrid" if good and "\0" not in name else None


def _kept(path: Path) -> "dict[str, list[Interval]] | None":
    from speechasym.annotations.tiers import read_tiers
    from speechasym.errors import AnnotationError

    try:
        return read_tiers(path)
    except AnnotationError:  # not there, or cut
        return None


class _Log:
    """A line of JSON for each cut that is aligned, after one that says with what."""

    def __init__(self, path: Path, key: dict[str, Any]) -> None:
        from speechasym.errors import ConfigError, OutputError

        self.path, self.key = path, key
        self.done: dict[str, Any] = {}
        try:
            raw = path.read_bytes() if path.exists() else b""
            whole = raw[: raw.rfind(b"\n") + 1]  # a kill may leave half a line
            lines = [json.loads(line) for line in whole.splitlines()]
            self.done = {entry["id"]: entry for entry in lines[1:]}
            path.parent.mkdir(parents=True, exist_ok=True)
            if len(whole) < len(raw):
                path.write_bytes(whole)
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                path, "is no list of alignments", "Remove it, or choose another folder"
            ) from error
        except OSError as error:
            raise OutputError(
                path, f"cannot be used ({error.strerror})", "Choose a folder to write to"
            ) from error
        if lines and lines[0] != key:
            raise ConfigError(
                path.parent,
                "holds alignments by another run, of other cuts, or with other options",
                "Choose another folder, or remove it",
            )
        if not lines:
            self.add(key)

    def add(self, entry: dict[str, Any]) -> None:
        """Another line. Raises `OutputError`."""
        from speechasym.errors import OutputError

        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry, sort_keys=True) + "\n")
        except OSError as error:
            raise OutputError(
                self.path, f"cannot be written ({error.strerror})", "Free space there"
            ) from error


def run_align(options: Namespace) -> int:
    """Align, and print a table. Exit code 1 where cuts failed."""
    from rich.console import Console
    from rich.table import Table

    found = align_cuts(
        options.run, options.cuts, options.out, lexicon=options.lexicon, head=options.head,
        spelling=options.spelling,
    )  # fmt: skip
    console = Console(soft_wrap=False, highlight=False)
    count = len(found.scores)
    table = Table(title=f"{count} of {count + len(found.failed)} cuts aligned", show_header=False)
    table.title_justify = "left"
    for tier, number in found.symbols.items():
        table.add_row(tier, f"{number:,}")
    if found.kept:
        table.add_row("kept from before", f"{found.kept:,}")
    letters = sum(by == "letters" for by in found.heads.values())
    if letters:
        table.add_row("cuts by letters", f"{letters:,}")
    if (mean := _mean(list(found.scores.values()))) is not None:
        table.add_row("mean log posterior", f"{mean:.2f}")
        low = sorted(found.scores, key=lambda name: found.scores[name])[:SHOWN]
        table.add_row("lowest", ", ".join(f"{name} {found.scores[name]:.2f}" for name in low))
    console.print(table, markup=False)
    if rows := found.within():
        table = Table(title="Against the times in the cuts", title_justify="left")
        limits = [f"within {1000 * limit:g} ms" for limit in LIMITS]
        for name in ("tier", "boundaries", *limits, "median"):
            table.add_column(name, justify="left" if name == "tier" else "right", no_wrap=True)
        for tier, row in rows.items():
            shares = [f"{row[f'within_{limit:g}_s']:.1%}" for limit in LIMITS]
            median = f"{1000 * row['median_s']:.1f} ms"
            table.add_row(tier, f"{int(row['boundaries']):,}", *shares, median)
        console.print(table, markup=False)
    for reason in list(found.failed.values())[:SHOWN]:
        print(f"speechasym: {reason}", file=sys.stderr)
    if len(found.failed) > SHOWN:
        print(f"... and {len(found.failed) - SHOWN} more, in {REPORT}", file=sys.stderr)
    print(found.folder)
    return 1 if found.failed else 0
