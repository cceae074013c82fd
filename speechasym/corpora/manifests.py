"""Manifests of a corpus: utterances as lhotse sets, written to a folder and read again.

lhotse takes seconds to import, so it is imported only where it is used.
"""

import gzip
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from speechasym import files
from speechasym.annotations.intervals import SampleInterval
from speechasym.corpora.report import PreparationReport
from speechasym.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from lhotse import CutSet, RecordingSet, SupervisionSet

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
    words: tuple[SampleInterval, ...] = ()
    phones: tuple[SampleInterval, ...] = ()
    custom: Mapping[str, str] = field(default_factory=dict)  # for example the dialect

    @property
    def seconds(self) -> float:
        """Duration, s."""
        return self.frames / self.sample_rate


class Manifests(NamedTuple):
    """One set of a corpus as lhotse manifests."""

    recordings: "RecordingSet"
    supervisions: "SupervisionSet"
    cuts: "CutSet"


PARTS = Manifests._fields


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A prepared corpus: its sets, and the report of the preparation."""

    sets: Mapping[str, Manifests]
    report: PreparationReport


def manifests_of(utterances: list[Utterance]) -> Manifests:
    """Return a recording, a supervision and a cut for each utterance, all with its id."""
    from lhotse import CutSet, MonoCut, Recording, RecordingSet, SupervisionSegment, SupervisionSet
    from lhotse.audio import AudioSource

    recordings, supervisions, cuts = [], [], []
    for utterance in utterances:
        source = AudioSource(type="file", channels=[0], source=str(utterance.path))
        recording = Recording(
            id=utterance.id, sources=[source], sampling_rate=utterance.sample_rate,
            num_samples=utterance.frames, duration=utterance.seconds,
        )  # fmt: skip
        tiers = {"word": utterance.words, "phone": utterance.phones}
        segment: dict[str, Any] = {
            "id": utterance.id, "start": 0.0, "duration": utterance.seconds, "channel": 0
        }  # fmt: skip
        supervision = SupervisionSegment(
            **segment,
            recording_id=utterance.id,
            text=utterance.text,
            language="English",
            speaker=utterance.speaker,
            gender=utterance.gender,
            alignment={
                tier: [_alignment_item(interval, utterance.sample_rate) for interval in intervals]
                for tier, intervals in tiers.items()
                if intervals
            }
            or None,
            custom=dict(utterance.custom) or None,
        )
        recordings.append(recording)
        supervisions.append(supervision)
        cuts.append(MonoCut(**segment, recording=recording, supervisions=[supervision]))
    return Manifests(
        RecordingSet.from_recordings(recordings),
        SupervisionSet.from_segments(supervisions),
        CutSet.from_cuts(cuts),
    )


def _alignment_item(interval: SampleInterval, rate: int) -> Any:
    from lhotse.supervision import AlignmentItem

    start, end, symbol = interval
    return AlignmentItem(symbol, start / rate, (end - start) / rate)


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

    Raises `OutputError` if the folder cannot be written to, or another run is writing there.
    """
    index = out / "report.json"
    with files.locked_folder(out):
        try:
            earlier = json.loads(index.read_text("utf-8"))["sets"] if index.is_file() else {}
        except (OSError, ValueError, LookupError, TypeError):
            earlier = {}
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
                _write_items(written[-1], items)
        with files.atomic(out / "report.txt") as file:
            file.write(corpus.report.text(limit=None).encode())
        files.write_json(index, corpus.report.as_dict())
    return [*written, out / "report.txt", index]


def _write_items(path: Path, items: Iterable[Any]) -> None:
    with files.atomic(path) as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
        for item in items:
            line = json.dumps(item.to_dict(), ensure_ascii=False) + "\n"
            packed.write(line.encode("utf-8", "backslashreplace"))


def read_cuts(path: str | Path) -> Any:
    """Read a manifest of cuts into memory, as an eager `lhotse.CutSet`.

    Raises `ConfigError` if the file does not exist, is not a manifest of cuts, or is empty.
    """
    from lhotse import CutSet
    from lhotse.cut import Cut

    path = Path(path)
    if path.is_dir() or not path.name.removesuffix(".gz").endswith(MANIFEST_SUFFIXES):
        problem = "is not a manifest of cuts, such as .jsonl.gz"
        raise ConfigError(
            path, problem if path.exists() else "no such manifest",
            "Give one that `speechasym prepare` wrote",
        )  # fmt: skip
    try:
        lazy = CutSet.from_file(path)
        cuts = None if lazy is None else lazy.to_eager()  # None: the file is empty
        other = next((item for item in cuts or () if not isinstance(item, Cut)), None)
        ids = [] if other is not None else [cut.id for cut in cuts or ()]
    except FileNotFoundError as error:
        raise ConfigError(path, "no such manifest", "Run `speechasym prepare` first") from error
    except Exception as error:  # lhotse, json and gzip each raise their own
        raise ConfigError(
            path, f"cannot be read as a manifest of cuts ({error})", "Prepare the corpus again"
        ) from error
    if other is not None:
        raise ConfigError(
            path, f"contains a {type(other).__name__}, not cuts",
            "Give the manifest of cuts in the same folder",
        )  # fmt: skip
    if not ids:
        raise ConfigError(path, "contains no cuts", "Check how it was written")
    if len(set(ids)) < len(ids):
        repeated = next(name for name in ids if ids.count(name) > 1)
        raise ConfigError(path, f"contains the cut {repeated} twice", "Prepare the corpus again")
    return cuts
