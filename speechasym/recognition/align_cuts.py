"""Forced alignment into a folder: of one recording, of a folder of recordings, or of cuts."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechasym import files
from speechasym.annotations.ctm import write_ctm
from speechasym.annotations.intervals import Interval
from speechasym.annotations.textgrid import read_textgrid, write_textgrid
from speechasym.annotations.tier_files import FORMATS, paths_of, write_tiers
from speechasym.config import check_choice
from speechasym.corpora.folder_texts import TABLES
from speechasym.corpora.manifests import stream_cuts, write_items
from speechasym.errors import (
    AnnotationError,
    MissingWordError,
    OutputError,
    SpeechAsymError,
)
from speechasym.language.lexicon import read_lexicon
from speechasym.progress import progress
from speechasym.recognition.align_folder import align_folder
from speechasym.recognition.alignment import Alignment, AlignmentHead, align, deviations
from speechasym.recognition.alignment_results import LOG, AlignedCuts, AlignmentLog, path_below
from speechasym.recognition.pronounced_words import pronouncer
from speechasym.recognition.recogniser import Recogniser, recogniser_of
from speechasym.recognition.trained_model import TrainedModel

if TYPE_CHECKING:
    from lhotse.cut import Cut

FORMAT = 2  # of the log
ALIGNED = "aligned_cuts.jsonl.gz"


def align_cuts(
    run: str | Path | TrainedModel | Recogniser | None,
    cuts: str | Path,
    out: str | Path,
    text: str | None = None,
    *,
    lexicon: str | Path | None = None,
    head: AlignmentHead | None = None,
    spelling: bool | None = None,
    formats: Sequence[str] = ("textgrid",),
    overwrite: bool = False,
    show_progress: bool = True,
) -> AlignedCuts:
    """Find when the known words of recordings are said, and write the times into a folder.

    - Of a recording and its text it writes STEM.TextGrid.
    - Of a folder of recordings with texts beside them, or a table, as `prepare folder` reads them,
      it writes NAME.TextGrid for each recording, in the tree of the folder, report.json and
      scores.csv.
    - Of a manifest of cuts it writes a TextGrid for each, phones.ctm, words.ctm, report.json,
      scores.csv and aligned_cuts.jsonl.gz: the cuts that were aligned, with the times of their
      words and phones, to train with.

    Texts that do not fit what is said are aligned, but named in `warned` of the result.

    What cannot be aligned is listed in the report, and the others continue. Called again with the
    same run, recordings and options, it keeps what is done and retries what failed. In a folder, a
    file that it did not write, or that was changed since, is not replaced but listed.

    Args:
        run: folder of a finished run, or an open one; None: the pretrained model.
        cuts: a manifest, as `speechasym prepare` writes; a folder, or a table (.csv, .tsv); with
            `text`, a recording.
        out: output folder.
        text: what is said in the recording.
        lexicon: file of pronunciations; default: that of the recogniser.
        head: phones or letters, see `alignment.align`.
        spelling: guess the pronunciation of words that the lexicon lacks, or else align by letters;
            without it such a cut fails. Default: if no lexicon is given.
        formats: textgrid, ctm, csv, json or srt, see `tier_files.write_tiers`; cuts have TextGrids
            and CTM in any case.
        overwrite: replace files even if they were not written here, or were changed since.
        show_progress: show progress on stderr.

    Raises:
        ConfigError: no manifest, cuts, such head or format, or a folder with other alignments.
        CorpusError: a folder without recordings or texts.
        CheckpointError, LexiconError: see `Recogniser`, `lexicon.read`.
        OutputError: `out` cannot be written.
        AudioError, AlignmentError, LabelError: the recording cannot be aligned with the text.

    Example:
        >>> text = "he was not an ill disposed young man"
        >>> result = speechasym.align(None, "speech.wav", "aligned", text)
        >>> result.symbols["words"], result.failed
        (8, {})
        >>> result = speechasym.align(None, "recordings", "more", formats=["csv"])
    """
    for name in formats:
        check_choice("format", name, tuple(FORMATS))
    recogniser, out = recogniser_of(run), Path(out)
    trained = recogniser.trained
    spelling = lexicon is None and recogniser.lexicon is not None if spelling is None else spelling
    lexicon = lexicon or recogniser.lexicon
    if head is not None:
        check_choice("head", head, ("phones", "letters"))
        trained.check_heads([head], "head")
    folder = text is None and (Path(cuts).is_dir() or Path(cuts).suffix.lower() in TABLES)
    count = sum(1 for _ in stream_cuts(cuts)) if text is None and not folder else 0
    if out.exists() and not out.is_dir():
        raise OutputError(out, "is a file", "Give a folder")
    guessed: set[str] = set()
    pronounce = None
    if lexicon is not None:
        pronounce = pronouncer(read_lexicon(lexicon), spelling, guessed)
    by_letters = spelling and head is None and "letters" in trained.inventories

    def aligned(source: Any, name: str, text: str | None) -> tuple[Alignment, list[str]]:
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
        stem = out / Path(cuts).stem
        with files.replacing(*paths_of(stem, formats), overwrite=overwrite):
            one, words = aligned(recogniser.samples(cuts), str(cuts), text)
            about: dict[str, Any] = {"score": round(one.score, 4)}
            about |= {"misfit": one.fit.misfit} if one.fit else {}
            write_tiers(
                stem, one.tiers, one.seconds, formats, "_".join(stem.name.split()), about=about
            )
        name, counts = stem.name, {tier: len(intervals) for tier, intervals in one.tiers.items()}
        return AlignedCuts(
            folder=out, scores={name: one.score}, heads={name: one.head}, symbols=counts,
            guessed={name: words} if words else {},
            misfits={name: one.fit.misfit} if one.fit else {},
            warned={name: says} if one.fit and (says := one.fit.warning(str(cuts))) else {},
        )  # fmt: skip
    checksum = None if lexicon is None else files.sha256(Path(lexicon))
    key = {
        "format": FORMAT, "run": trained.fingerprint, "lexicon": checksum, "head": head,
        "spelling": spelling,
    }  # fmt: skip
    if folder:
        return align_folder(
            aligned, recogniser, cuts, out, formats, key, overwrite=overwrite,
            show_progress=show_progress,
        )  # fmt: skip
    key["cuts"] = files.sha256(Path(cuts))
    extra = [name for name in formats if name not in ("textgrid", "ctm")]
    if not overwrite:
        files.check_replaceable([out / ALIGNED])
    log = AlignmentLog(out / LOG, key)
    result = AlignedCuts(folder=out)
    tables: dict[str, dict[str, list[Interval]]] = {"phones": {}, "words": {}}
    with progress(count, "align", show_progress) as step:
        for _, cut in stream_cuts(cuts):
            try:
                stem = path_below(out, cut.id)
                path = stem.with_name(f"{stem.name}.TextGrid")
                tiers = None
                if cut.id in log.entries:
                    with suppress(AnnotationError):  # missing or truncated
                        tiers = read_textgrid(path)
                if tiers is None:
                    one, words = aligned(cut, cut.id, None)
                    tiers = one.tiers
                    write_textgrid(path, tiers, one.seconds)
                    score, late = round(one.score, 4), deviations(trained, one, cut)
                    entry = {"id": cut.id, "score": score, "by": one.head, "late": late}
                    entry |= {"guessed": words} if words else {}
                    entry |= {"fit": one.fit} if one.fit else {}
                    log.write(entry)
                    log.entries[cut.id] = entry
                else:
                    result.kept += 1
                spoken = {tier: [i for i in row if i.label] for tier, row in tiers.items()}
                write_tiers(stem, spoken, cut.duration, extra, cut.id)
            except OutputError:
                raise
            except SpeechAsymError as error:
                result.failed[cut.id] = str(error)
            else:
                entry = log.entries[cut.id]
                result.scores[cut.id], result.heads[cut.id] = entry["score"], entry["by"]
                if words := entry.get("guessed", []):
                    result.guessed[cut.id] = words
                result.add_fit(cut.id, entry.get("fit"))
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
    if result.scores:
        write_items(out / ALIGNED, _with_times(cuts, tables))
    result.write_report(key)
    return result


def _with_times(
    cuts: str | Path, tables: Mapping[str, Mapping[str, list[Interval]]]
) -> "Iterator[Cut]":
    """Yield the cuts that were aligned; each supervision has the words and phones next to it."""
    from lhotse.supervision import AlignmentItem
    from lhotse.utils import fastcopy

    for _, cut in stream_cuts(cuts):
        alignments: dict[str, Any] = {s.id: {} for s in cut.supervisions}
        for kind in ("word", "phone"):
            for start, end, label in tables[f"{kind}s"].get(cut.id, ()):
                nearest = min(cut.supervisions, key=lambda s: max(s.start - end, start - s.end))
                items = alignments[nearest.id].setdefault(kind, [])
                items.append(AlignmentItem(label, start, round(end - start, 6)))
        timed = {name: partial(fastcopy, alignment=rows) for name, rows in alignments.items()}
        if any(alignments.values()):
            yield cut.map_supervisions(lambda s, timed=timed: timed[s.id](s))
