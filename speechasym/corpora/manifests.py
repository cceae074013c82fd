"""From files to manifests: what the corpora share.

A corpus's own file finds its utterances; here they are checked against one another, counted, and
made lhotse's. lhotse takes seconds to import, so that is done only where it is used.
"""

import gzip
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from speechasym import files
from speechasym.annotations.intervals import SampleInterval
from speechasym.audio import reading
from speechasym.corpora.report import Count, Problem, Report
from speechasym.errors import AudioError, CorpusError, OutputError
from speechasym.files import locked_folder

if TYPE_CHECKING:
    from lhotse import CutSet, RecordingSet, SupervisionSet

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar", ".iso")
PARTS = ("recordings", "supervisions", "cuts")


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """A recording with all that is known of it."""

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
    more: Mapping[str, str] = field(default_factory=dict)  # such as the dialect

    @property
    def seconds(self) -> float:
        """Duration, s."""
        return self.frames / self.sample_rate


class Manifests(NamedTuple):
    """One set, as lhotse's."""

    recordings: "RecordingSet"
    supervisions: "SupervisionSet"
    cuts: "CutSet"


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A corpus prepared: its sets and the report of what was found."""

    sets: Mapping[str, Manifests]
    report: Report


def files_below(root: str | Path) -> tuple[Path, list[str]]:
    """The root, absolute, and the paths below it, with /, sorted; hidden and junk files left out.

    Links to folders are followed, each folder visited once.

    Raises:
        CorpusError: there is no such folder, it is an archive, or a folder cannot be listed.
    """

    def stop(error: OSError) -> None:
        raise CorpusError(
            error.filename, f"cannot be listed ({error.strerror})", "Change its permissions"
        ) from error

    root = Path(os.path.abspath(root))
    if root.is_file():
        archive = root.name.lower().endswith(ARCHIVES)
        raise CorpusError(
            root,
            "an archive, not a folder" if archive else "a file, not a folder",
            "Unpack it and give the folder" if archive else "Give the corpus's folder",
        )
    if not root.is_dir():
        raise CorpusError(root, "no such folder", "Check the path")
    found = []
    seen = set()
    for folder, folders, names in os.walk(root, onerror=stop, followlinks=True):
        stat = os.stat(folder)
        if (stat.st_dev, stat.st_ino) in seen:
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name != "__MACOSX"
        )
        below = Path(folder).relative_to(root)
        found += [(below / name).as_posix() for name in names if not name.startswith(".")]
    return root, sorted(found)


def nothing_found(root: Path, places: Iterable[str], expected: str) -> CorpusError:
    """The error for a folder that holds none of what was expected; names archives it holds."""
    archives = [place for place in places if place.lower().endswith(ARCHIVES)]
    if archives:
        return CorpusError(
            root, f"{expected} not found, but an archive: {archives[0]}", "Unpack it there"
        )
    return CorpusError(root, f"{expected} not found below it", "Give the corpus's own folder")


def header(path: Path, place: str, sample_rate: int, problems: list[Problem]) -> int:
    """A recording's length in samples, or 0 where it cannot be used; its faults go to `problems`.

    Args:
        path: the recording; place: how the report names it.
        sample_rate: Hz that it should have; one channel is expected.
    """
    try:
        str(path).encode()
        found = reading.info(path)
    except UnicodeEncodeError:
        problems.append(Problem("error", "path not UTF-8, which lhotse cannot open", place))
        return 0
    except AudioError as error:
        problems.append(Problem("error", "audio that cannot be read", place, error.args[1]))
        return 0
    fault = ""
    if found.sample_rate != sample_rate:
        fault = f"{found.sample_rate} Hz, not {sample_rate}"
        problems.append(Problem("error", "wrong sample rate", place, fault))
    if found.channels != 1:
        fault = f"{found.channels} channels, not 1"
        problems.append(Problem("error", "more than one channel", place, fault))
    if not found.frames:
        fault = "0 samples"
        problems.append(Problem("error", "audio without samples", place, fault))
    if found.warning:
        problems.append(Problem("warning", "damaged audio", place, found.warning))
    return 0 if fault else found.frames


def read_text(path: Path, place: str, what: str, problems: list[Problem]) -> str | None:
    """A text file, or None where it is not UTF-8 or empty; the fault goes to `problems`."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        problems.append(Problem("error", f"{what} cannot be read", place, str(error.strerror)))
        return None
    except UnicodeDecodeError as error:
        detail = f"byte {error.start} is {error.object[error.start]:#04x}"
        problems.append(Problem("error", f"{what} not UTF-8", place, detail))
        return None
    if not text.strip():
        problems.append(Problem("error", f"{what} empty", place))
        return None
    return text


def gather(
    name: str,
    split: str,
    sets: Mapping[str, list[Utterance]],
    problems: list[Problem],
    published: Mapping[str, tuple[int, int]] | None = None,
) -> Corpus:
    """Check utterances against one another, and make manifests and a report of those kept.

    Of utterances with one id, or with the very same samples, the first is kept.

    Args:
        name: the corpus; split: which split it is, in words.
        sets: {name of the set: its utterances}.
        problems: those found so far; those of speakers, ids, samples and texts are added.
        published: speakers and sentences of the official sets, to be printed beside the counts.
    """
    problems = problems + _overlaps(sets)
    taken: set[str] = set()
    kept: dict[str, list[Utterance]] = {}
    for set_name, utterances in sets.items():
        kept[set_name] = []
        for utterance in utterances:
            if utterance.id in taken:
                problems.append(Problem("error", "duplicate id", utterance.place, utterance.id))
            else:
                taken.add(utterance.id)
                kept[set_name].append(utterance)
    doubles = _same_audio([utterance for part in kept.values() for utterance in part])
    for utterance, first in doubles:
        detail = f"{utterance.id} sounds as {first.id} ({first.place})"
        problems.append(Problem("error", "same audio under two ids", utterance.place, detail))
    gone = {utterance.id for utterance, _ in doubles}
    kept = {key: [u for u in part if u.id not in gone] for key, part in kept.items()}
    counts = {key: count_of(part) for key, part in kept.items()}
    for key, count in counts.items():
        if not count.sentences:
            problems.append(Problem("warning", "empty set", key))
    report = Report(
        corpus=name, split=split, counts=counts, published=published or {}, problems=problems
    )
    return Corpus(sets={key: manifests_of(part) for key, part in kept.items()}, report=report)


def _overlaps(sets: Mapping[str, list[Utterance]]) -> list[Problem]:
    """Speakers in two sets: errors. Sentences in two sets: one warning for each pair of sets."""
    problems = []
    names = list(sets)
    for number, first in enumerate(names):
        for second in names[number + 1 :]:
            pair = f"{first} and {second}"
            speakers = {u.speaker for u in sets[first]} & {u.speaker for u in sets[second]}
            problems += [
                Problem("error", "speaker in two sets", pair, speaker)
                for speaker in sorted(speakers)
            ]
            texts = {u.text.lower() for u in sets[first]} & {u.text.lower() for u in sets[second]}
            if texts:
                some = "; ".join(sorted(texts)[:2])
                detail = f"{len(texts)} different ones, such as: {some}"
                problems.append(Problem("warning", "sentences in two sets", pair, detail))
    return problems


def _same_audio(utterances: list[Utterance]) -> list[tuple[Utterance, Utterance]]:
    """Utterances whose samples are those of an earlier one, with that one.

    Only recordings of one length are compared, so that few need decoding.
    """
    lengths = defaultdict(list)
    for utterance in utterances:
        lengths[utterance.frames].append(utterance)
    doubles = []
    for group in lengths.values():
        if len(group) == 1:
            continue
        first: dict[bytes, Utterance] = {}
        for utterance in group:
            earlier = first.setdefault(_digest(utterance.path), utterance)
            if earlier is not utterance:
                doubles.append((utterance, earlier))
    return doubles


def _digest(path: Path) -> bytes:
    """MD5 of the samples as 16-bit little-endian integers: FLAC files hold it in their header."""
    with path.open("rb") as file:
        head = file.read(42)
    if head[:4] == b"fLaC" and any(head[26:42]) and head[20] & 1 == 0 and head[21] >> 4 == 15:
        return head[26:42]  # of 16 bits a sample: STREAMINFO's field of 5 bits, less one
    try:
        samples = np.concatenate(list(reading.blocks(path)))
    except AudioError:  # cut or damaged behind its header: comparable as a file only
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).digest()
    whole = np.round(samples.astype(np.float64) * 32768).clip(-32768, 32767).astype("<i2")
    return hashlib.md5(whole.tobytes(), usedforsecurity=False).digest()


def count_of(utterances: list[Utterance]) -> Count:
    """How much they are: speakers, sentences, seconds, words, phones."""
    return Count(
        speakers=len({utterance.speaker for utterance in utterances}),
        sentences=len(utterances),
        seconds=round(sum(utterance.seconds for utterance in utterances), 4),
        words=sum(len(u.words) if u.words else len(u.text.split()) for u in utterances),
        phones=sum(len(utterance.phones) for utterance in utterances),
    )


def manifests_of(utterances: list[Utterance]) -> Manifests:
    """lhotse's sets: a recording, a supervision and a cut for each utterance, all of one id."""
    from lhotse import CutSet, MonoCut, Recording, RecordingSet, SupervisionSegment, SupervisionSet
    from lhotse.audio import AudioSource

    recordings, supervisions, cuts = [], [], []
    for utterance in utterances:
        source = AudioSource(type="file", channels=[0], source=str(utterance.path))
        recording = Recording(
            id=utterance.id,
            sources=[source],
            sampling_rate=utterance.sample_rate,
            num_samples=utterance.frames,
            duration=utterance.seconds,
        )
        tiers = {"word": utterance.words, "phone": utterance.phones}
        supervision = SupervisionSegment(
            id=utterance.id,
            recording_id=utterance.id,
            start=0.0,
            duration=utterance.seconds,
            channel=0,
            text=utterance.text,
            language="English",
            speaker=utterance.speaker,
            gender=utterance.gender,
            alignment={
                tier: [_item(interval, utterance.sample_rate) for interval in intervals]
                for tier, intervals in tiers.items()
                if intervals
            }
            or None,
            custom=dict(utterance.more) or None,
        )
        cut = MonoCut(
            id=utterance.id,
            start=0.0,
            duration=utterance.seconds,
            channel=0,
            recording=recording,
            supervisions=[supervision],
        )
        recordings.append(recording)
        supervisions.append(supervision)
        cuts.append(cut)
    return Manifests(
        RecordingSet.from_recordings(recordings),
        SupervisionSet.from_segments(supervisions),
        CutSet.from_cuts(cuts),
    )


def _item(interval: SampleInterval, rate: int) -> Any:
    from lhotse.supervision import AlignmentItem

    start, end, label = interval
    return AlignmentItem(label, start / rate, (end - start) / rate)


def check_writable(out: str | Path) -> Path:
    """The folder to write to, absolute. Raises `OutputError` before any long work is done."""
    out = Path(os.path.abspath(out))
    nearest = next(path for path in (out, *out.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        problem = "read-only for this user" if nearest.is_dir() else "a file, not a folder"
        raise OutputError(nearest, problem, "Choose a folder that you may write to")
    return out


def write(corpus: Corpus, out: Path) -> list[Path]:
    """Write SET_recordings, SET_supervisions and SET_cuts (.jsonl.gz), report.txt and report.json.

    Each file is whole or not there; report.json is written last, so that its presence says that
    all belong together. Sets of an earlier preparation that are no longer made are removed. The
    same corpus gives the same bytes.

    Raises `OutputError` if it cannot be written, or another run is writing there.
    """
    with locked_folder(out):
        return _write(corpus, out)


def _write(corpus: Corpus, out: Path) -> list[Path]:
    index = out / "report.json"
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
            out, f"cannot be written ({error.strerror})", "Choose a folder that you may write to"
        ) from error
    written = []
    for name, manifests in corpus.sets.items():
        for part in PARTS:
            path = out / f"{name}_{part}.jsonl.gz"
            with files.atomic(path) as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                for item in getattr(manifests, part):
                    line = json.dumps(item.to_dict(), ensure_ascii=False) + "\n"
                    packed.write(line.encode("utf-8", "backslashreplace"))
            written.append(path)
    with files.atomic(out / "report.txt") as file:
        file.write(corpus.report.text(shown=None).encode())
    files.write_json(index, corpus.report.as_dict())
    return [*written, out / "report.txt", index]
