"""Checks that all corpora share: of files on disk, of recordings, and of sets among themselves.

What is wrong with a single file goes to a list of problems, and the preparation continues.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

import numpy as np

from speechasym.audio import reading
from speechasym.corpora.manifests import Corpus, Utterance, manifests_of
from speechasym.corpora.report import Count, PreparationReport, Problems
from speechasym.errors import AudioError, CorpusError

ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar", ".iso")


def files_below(root: str | Path) -> tuple[Path, list[str]]:
    """Return the absolute root and the sorted paths below it, with /, without hidden files.

    Links to folders are followed; each folder is visited once.

    Raises:
        CorpusError: the folder does not exist, is an archive, or cannot be listed.
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
    places = []
    visited = set()
    for folder, folders, names in os.walk(root, onerror=stop, followlinks=True):
        stat = os.stat(folder)
        if (stat.st_dev, stat.st_ino) in visited:
            folders.clear()
            continue
        visited.add((stat.st_dev, stat.st_ino))
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name != "__MACOSX"
        )
        below = Path(folder).relative_to(root)
        places += [(below / name).as_posix() for name in names if not name.startswith(".")]
    return root, sorted(places)


def nothing_found(root: Path, places: Iterable[str], expected: str) -> CorpusError:
    """Return the error for a folder without the expected files; it names an archive in it."""
    archives = [place for place in places if place.lower().endswith(ARCHIVES)]
    if archives:
        return CorpusError(
            root, f"{expected} not found, but an archive: {archives[0]}", "Unpack it there"
        )
    return CorpusError(root, f"{expected} not found below it", "Give the corpus's own folder")


def usable_frames(path: Path, place: str, sample_rate: int, problems: Problems) -> int:
    """Return a recording's length in samples, or 0 if it cannot be used, from its header.

    Args:
        path: the recording, expected to have one channel.
        place: how the report names it.
        sample_rate: expected sample rate, Hz.
        problems: the list that its faults are added to.
    """
    try:
        str(path).encode()
        info = reading.info(path)
    except UnicodeEncodeError:
        problems.add("error", "path not UTF-8, which lhotse cannot open", place)
        return 0
    except AudioError as error:
        problems.add("error", "audio that cannot be read", place, error.args[1])
        return 0
    faults = []
    if info.sample_rate != sample_rate:
        faults.append(("wrong sample rate", f"{info.sample_rate} Hz, not {sample_rate}"))
    if info.channels != 1:
        faults.append(("more than one channel", f"{info.channels} channels, not 1"))
    if not info.frames:
        faults.append(("audio without samples", "0 samples"))
    for kind, detail in faults:
        problems.add("error", kind, place, detail)
    if info.warning:
        problems.add("warning", "damaged audio", place, info.warning)
    return 0 if faults else info.frames


def read_text(path: Path, place: str, what: str, problems: Problems) -> str | None:
    """Return the content of a text file, or None if it cannot be read, is not UTF-8, or is empty.

    Args:
        place, what: how the report names the file and its kind.
        problems: the list that its fault is added to.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        problems.add("error", f"{what} cannot be read", place, str(error.strerror))
        return None
    except UnicodeDecodeError as error:
        detail = f"byte {error.start} is {error.object[error.start]:#04x}"
        problems.add("error", f"{what} not UTF-8", place, detail)
        return None
    if not text.strip():
        problems.add("error", f"{what} empty", place)
        return None
    return text


def check_sets(
    name: str,
    split: str,
    sets: Mapping[str, list[Utterance]],
    problems: Problems,
    published: Mapping[str, tuple[int, int]] | None = None,
) -> Corpus:
    """Check utterances against each other; return the manifests and the report of those kept.

    Of several utterances with one id, or with identical samples, the first is kept.

    Args:
        name: of the corpus.
        split: a description of the split.
        sets: {name of the set: its utterances}.
        problems: those of single files; those of speakers, ids, samples and texts are added.
        published: {name of the set: speakers and sentences of the official one}.
    """
    _check_overlaps(sets, problems)
    first: dict[str, Utterance] = {}  # of each id
    for utterances in sets.values():
        for utterance in utterances:
            if first.setdefault(utterance.id, utterance) is not utterance:
                problems.add("error", "duplicate id", utterance.place, utterance.id)
    for utterance, earlier in _same_audio(list(first.values())):
        detail = f"{utterance.id} has the samples of {earlier.id} ({earlier.place})"
        problems.add("error", "same audio under two ids", utterance.place, detail)
        del first[utterance.id]
    kept = {key: [u for u in part if first.get(u.id) is u] for key, part in sets.items()}
    counts = {key: count_of(part) for key, part in kept.items()}
    for key in (key for key, part in kept.items() if not part):
        problems.add("warning", "empty set", key)
    report = PreparationReport(
        corpus=name, split=split, counts=counts, published=published or {}, problems=problems
    )
    return Corpus(sets={key: manifests_of(part) for key, part in kept.items()}, report=report)


def _check_overlaps(sets: Mapping[str, list[Utterance]], problems: Problems) -> None:
    """Add an error for each speaker in two sets, and a warning for sentences in two sets."""
    for one, other in combinations(sets, 2):
        pair = f"{one} and {other}"
        speakers = {u.speaker for u in sets[one]} & {u.speaker for u in sets[other]}
        for speaker in sorted(speakers):
            problems.add("error", "speaker in two sets", pair, speaker)
        texts = {u.text.lower() for u in sets[one]} & {u.text.lower() for u in sets[other]}
        if texts:
            examples = "; ".join(sorted(texts)[:2])
            detail = f"{len(texts)} different ones, such as: {examples}"
            problems.add("warning", "sentences in two sets", pair, detail)


def _same_audio(utterances: list[Utterance]) -> list[tuple[Utterance, Utterance]]:
    """Return the utterances whose samples equal those of an earlier one, each with that one.

    Only recordings of equal length are compared, so that few have to be decoded.
    """
    lengths = defaultdict(list)
    for utterance in utterances:
        lengths[utterance.frames].append(utterance)
    doubles = []
    for group in lengths.values():
        first: dict[bytes, Utterance] = {}
        for utterance in group if len(group) > 1 else ():
            earlier = first.setdefault(_digest(utterance.path), utterance)
            if earlier is not utterance:
                doubles.append((utterance, earlier))
    return doubles


def _digest(path: Path) -> bytes:
    """Return the MD5 of the samples as 16-bit little-endian integers, which FLAC headers hold."""
    with path.open("rb") as file:
        head = file.read(42)
    if head[:4] == b"fLaC" and any(head[26:42]) and head[20] & 1 == 0 and head[21] >> 4 == 15:
        return head[26:42]  # of 16 bits a sample: STREAMINFO's field of 5 bits, less one
    try:
        samples = np.concatenate(list(reading.blocks(path)))
    except AudioError:  # truncated or damaged behind its header: comparable as a file only
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).digest()
    whole = np.round(samples.astype(np.float64) * 32768).clip(-32768, 32767).astype("<i2")
    return hashlib.md5(whole.tobytes(), usedforsecurity=False).digest()


def count_of(utterances: list[Utterance]) -> Count:
    """Count the speakers, sentences, seconds, words and phones of utterances."""
    return Count(
        speakers=len({utterance.speaker for utterance in utterances}),
        sentences=len(utterances),
        seconds=round(sum(utterance.seconds for utterance in utterances), 4),
        words=sum(len(u.words) if u.words else len(u.text.split()) for u in utterances),
        phones=sum(len(utterance.phones) for utterance in utterances),
    )
