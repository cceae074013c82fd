"""Manifests of a corpus: utterances as lhotse sets, written to a folder and read again.

lhotse takes seconds to import, so it is imported only where it is used.
"""

import gzip
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from speechasym import files
from speechasym.annotations.intervals import SampleInterval
from speechasym.corpora.report import Count, PreparationReport, Problems, Published
from speechasym.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from lhotse import CutSet, Recording, RecordingSet, SupervisionSegment, SupervisionSet
    from lhotse.cut import Cut

Tier = tuple[SampleInterval, ...]
MANIFEST_SUFFIXES = (".jsonl", ".json", ".yaml")  # each may be followed by .gz


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """A recording and its annotation; the times of words and phones are in samples."""

    id: str
    path: Path
    place: str  # the path below the corpus's root, as the report names it
    sample_rate: int  # Hz
    frames: int  # samples
    text: str
    speaker: str
    gender: str | None = None  # "female" or "male" where known
    words: Tier = ()
    phones: Tier = ()
    custom: Mapping[str, str] = field(default_factory=dict)  # for example the dialect
    start: int = 0  # sample of the recording with which it begins
    recording: str = ""  # id of the recording that it is a part of; "": it is the whole
    recording_frames: int = 0  # samples of that recording
    channels: int = 1

    @property
    def seconds(self) -> float:
        """Duration, s."""
        return self.frames / self.sample_rate


Sets = Mapping[str, list[Utterance]]  # of a corpus, by name


class Manifests(NamedTuple):
    """One set of a corpus as lhotse manifests."""

    recordings: "RecordingSet"
    supervisions: "SupervisionSet"
    cuts: "CutSet"


PARTS = Manifests._fields


class Corpus(NamedTuple):
    """A prepared corpus: its sets, and the report of the preparation."""

    sets: Mapping[str, Manifests]
    report: PreparationReport


def corpus_of(
    name: str, split: str, sets: Sets, problems: Problems, published: Published
) -> Corpus:
    """Return the manifests and the report of {set: utterances}; see `PreparationReport`."""
    counts = {}
    for key, utterances in sets.items():
        counts[key] = Count(
            speakers=len({u.speaker for u in utterances}),
            sentences=len(utterances),
            seconds=round(sum(u.seconds for u in utterances), 4),
            words=sum(len(u.words) or len(u.text.split()) for u in utterances),
            phones=sum(len(u.phones) for u in utterances),
        )
    report = PreparationReport(name, split, counts, published, problems)
    return Corpus({key: manifests_of(part) for key, part in sets.items()}, report)


def manifests_of(utterances: list[Utterance]) -> Manifests:
    """Return a supervision and a cut for each utterance, with its id, and their recordings.

    A recording that is one utterance has its id too.
    """
    from lhotse import CutSet, Recording, RecordingSet, SupervisionSegment, SupervisionSet
    from lhotse.audio import AudioSource
    from lhotse.supervision import AlignmentItem
    from lhotse.utils import fastcopy

    recordings: dict[str, Recording] = {}
    supervisions, cuts = [], []
    for utterance in utterances:
        rate, name = utterance.sample_rate, utterance.recording or utterance.id
        channels, start = list(range(utterance.channels)), utterance.start / utterance.sample_rate
        if name not in recordings:
            frames = utterance.recording_frames or utterance.frames
            recordings[name] = Recording(
                id=name, sources=[AudioSource("file", channels, str(utterance.path))],
                sampling_rate=rate, num_samples=frames, duration=frames / rate,
            )  # fmt: skip
        alignment = {
            tier: [AlignmentItem(label, at / rate, (end - at) / rate) for at, end, label in items]
            for tier, items in (("word", utterance.words), ("phone", utterance.phones))
            if items
        }
        supervision = SupervisionSegment(
            id=utterance.id, recording_id=name, start=start, duration=utterance.seconds,
            channel=0 if len(channels) == 1 else channels,
            text=utterance.text, language="English", speaker=utterance.speaker,
            gender=utterance.gender, alignment=alignment or None,
            custom=dict(utterance.custom) or None,
        )  # fmt: skip
        cut = recordings[name].to_cut()
        if utterance.recording:
            cut = fastcopy(cut, id=utterance.id, start=start, duration=utterance.seconds)
        cut.supervisions = [supervision.with_offset(-start) if start else supervision]
        supervisions.append(supervision)
        cuts.append(cut)
    return Manifests(
        RecordingSet.from_recordings(recordings.values()),
        SupervisionSet.from_segments(supervisions),
        CutSet.from_cuts(cuts),
    )


def check_writable(out: str | Path) -> Path:
    """Return the output folder as an absolute path.

    Raises `OutputError`, before any long computation, if it cannot be written to.
    """
    out = Path(os.path.abspath(out))
    nearest = next(path for path in (out, *out.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        problem = "read-only for this user" if nearest.is_dir() else "a file, not a folder"
        raise OutputError(nearest, problem, "Choose a folder that you may write to")
    return out


def write(corpus: Corpus, out: Path) -> list[Path]:
    """Write SET_recordings, SET_supervisions and SET_cuts (.jsonl.gz), report.txt and report.json.

    Each file is written atomically. report.json is removed first and written last: where it
    exists, all the other files belong to it. Sets that an earlier preparation wrote and that no
    longer exist are removed. The same corpus gives the same bytes.

    Raises `OutputError`, before anything is written, if the folder holds a file of one of these
    names that no preparation wrote, such as a transcript report.txt; and if the folder cannot be
    written to, or another run is writing there.
    """
    index = out / "report.json"
    with files.locked_folder(out):
        earlier: Iterable[str] | None = None
        with suppress(OSError, ValueError, LookupError, TypeError):
            earlier = json.loads(index.read_text("utf-8"))["sets"]
        targets = [out / f"{name}_{part}.jsonl.gz" for name in corpus.sets for part in PARTS]
        targets += [out / "report.txt", index]
        if earlier is None:  # no finished preparation: only what an interrupted one recorded
            try:
                files.check_replaceable(targets)
            except OutputError as error:
                subject, problem, _ = error.args
                raise OutputError(subject, problem, "Choose another folder") from error
        earlier = earlier or ()
        try:
            for name in set(earlier) - set(corpus.sets):
                for part in PARTS:
                    (out / f"{name}_{part}.jsonl.gz").unlink(missing_ok=True)
            index.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                out, f"cannot be written ({error.strerror})", "Choose a writable folder"
            ) from error
        written = []
        for name, manifests in corpus.sets.items():
            for part, items in manifests._asdict().items():
                written.append(out / f"{name}_{part}.jsonl.gz")
                write_items(written[-1], items)
        with files.atomic(out / "report.txt") as file:
            file.write(corpus.report.text(limit=None).encode())
        files.record_written(out / "report.txt")
        files.write_json(index, corpus.report.as_dict())
    return [*written, out / "report.txt", index]


def write_items(path: Path, items: "Iterable[Cut | Recording | SupervisionSegment]") -> None:
    """Write a manifest (.jsonl.gz); the same items give the same bytes. Raises `OutputError`."""
    with files.atomic(path) as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
        for item in items:
            line = json.dumps(item.to_dict(), ensure_ascii=False) + "\n"
            packed.write(line.encode("utf-8", "backslashreplace"))
    files.record_written(path)


def stream_cuts(path: str | Path) -> "Iterator[tuple[bytes, Cut]]":
    """Yield each cut of a manifest after its line of JSON, which `parse_cut` reads; keeps no cut.

    Raises `ConfigError` if the file does not exist, is not a manifest of cuts, or is empty.
    """
    from lhotse.cut import Cut
    from lhotse.lazy import LazyJsonlIterator
    from lhotse.serialization import deserialize_item, load_json, load_yaml

    path = Path(path)
    if not path.exists():
        raise ConfigError(path, "no such manifest", "Run `speechasym prepare` first")
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if path.is_dir() or suffix not in MANIFEST_SUFFIXES:
        remedy = "Give a .jsonl.gz that `speechasym prepare` wrote"
        raise ConfigError(path, "is not a manifest of cuts", remedy)
    readers = (LazyJsonlIterator, load_json, load_yaml)
    known = set()
    try:
        for row in readers[MANIFEST_SUFFIXES.index(suffix)](path):
            line = json.dumps(row).encode()
            cut = deserialize_item(row)
            if not isinstance(cut, Cut):
                remedy = "Give the manifest of cuts in the same folder"
                raise ConfigError(path, f"contains a {type(cut).__name__}, not cuts", remedy)
            if cut.id in known:
                problem = f"contains the cut {cut.id} twice"
                raise ConfigError(path, problem, "Prepare the corpus again")
            known.add(cut.id)
            yield line, cut
    except ConfigError:
        raise
    except Exception as error:  # lhotse, json and gzip each raise their own
        problem = f"cannot be read as a manifest of cuts ({error})"
        raise ConfigError(path, problem, "Prepare the corpus again") from error
    if not known:
        raise ConfigError(path, "contains no cuts", "Check how it was written")


def parse_cut(line: bytes) -> "Cut":
    """Return the cut of a line of `stream_cuts`."""
    from lhotse.serialization import deserialize_item

    return deserialize_item(json.loads(line))


def read_cuts(path: str | Path) -> "CutSet":
    """Read a manifest of cuts into memory. Raises `ConfigError` as `stream_cuts` does."""
    from lhotse import CutSet

    return CutSet.from_cuts(cut for _, cut in stream_cuts(path))
