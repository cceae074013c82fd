"""Checks that all corpora share: of files on disk, of recordings, and of sets among themselves.

What is wrong with a single file goes to a list of problems, and the preparation continues.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np

from speechasym.audio import reading
from speechasym.corpora.manifests import Sets, Utterance
from speechasym.corpora.report import Problems
from speechasym.errors import AudioError, CorpusError

FLOATS = ("FLOAT", "DOUBLE")  # encodings whose samples may be NaN or infinite
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar", ".iso")


def files_below(root: str | Path) -> tuple[Path, list[str]]:
    """Return the absolute root and the sorted paths below it, with /, without hidden files.

    Links to folders are followed; each folder is visited once.

    Raises:
        CorpusError: the folder does not exist, is an archive, or cannot be listed.
    """

    def stop(error: OSError) -> None:
        problem = f"cannot be listed ({error.strerror})"
        raise CorpusError(error.filename, problem, "Change its permissions") from error

    root = Path(os.path.abspath(root))
    if root.is_file():
        if root.name.lower().endswith(ARCHIVES):
            raise CorpusError(root, "an archive, not a folder", "Unpack it and give the folder")
        raise CorpusError(root, "a file, not a folder", "Give the corpus's folder")
    if not root.is_dir():
        kind = "file" if root.suffix.lower() in (".csv", ".tsv") else "folder"
        raise CorpusError(root, f"no such {kind}", "Check the path")
    places = []
    visited = set()
    for folder, folders, names in os.walk(root, onerror=stop, followlinks=True):
        real = os.path.realpath(folder)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(n for n in folders if not n.startswith(".") and n != "__MACOSX")
        below = Path(folder).relative_to(root)
        places += [(below / name).as_posix() for name in names if not name.startswith(".")]
    return root, sorted(places)


def nothing_found(root: Path, places: Iterable[str], expected: str) -> CorpusError:
    """Return the error for a folder without the expected files; it names an archive in it."""
    for place in places:
        if place.lower().endswith(ARCHIVES):
            problem = f"{expected} not found, but an archive: {place}"
            return CorpusError(root, problem, "Unpack it there")
    return CorpusError(root, f"{expected} not found below it", "Give the corpus's own folder")


def usable_frames(path: Path, place: str, sample_rate: int, problems: Problems) -> int:
    """Return a recording's length in samples from its header, or 0 if it cannot be used.

    Args:
        path: the recording, expected to have one channel.
        place: how the report names it.
        sample_rate: expected sample rate, Hz.
        problems: the list that its faults are added to.
    """
    info = usable_header(path, place, problems)
    if info is None:
        return 0
    faults = Problems()
    if info.sample_rate != sample_rate:
        faults.add("error", "wrong sample rate", place, f"{info.sample_rate} Hz, not {sample_rate}")
    if info.channels != 1:
        faults.add("error", "more than one channel", place, f"{info.channels} channels, not 1")
    problems += faults
    return 0 if faults else info.frames


def usable_header(path: Path, place: str, problems: Problems) -> reading.AudioInfo | None:
    """Return a recording's header, or None if it cannot be used; see `usable_frames`.

    Samples are read only where they are floating-point numbers, which may be NaN or infinite.
    """
    try:
        str(path).encode()
        info = reading.info(path)
    except UnicodeEncodeError:
        problems.add("error", "path not UTF-8, which lhotse cannot open", place)
        return None
    except AudioError as error:
        problems.add("error", "audio that cannot be read", place, error.args[1])
        return None
    if info.warning:
        problems.add("warning", "damaged audio", place, info.warning)
    if not info.frames:
        problems.add("error", "audio without samples", place, "0 samples")
        return None
    if info.subtype in FLOATS:
        try:
            for _ in reading.blocks(path):
                pass
        except AudioError as error:
            kind = "samples that are not finite" if "finite" in error.args[1] else ""
            problems.add("error", kind or "audio that cannot be read", place, error.args[1])
            return None
    return info


def read_bytes(
    path: Path, place: str, what: str, problems: Problems, severity: str = "error"
) -> bytes:
    """Return the content of a text file without a byte order mark, b"" if it cannot be read.

    Args:
        place, what: how the report names the file and its kind.
        problems: the list that its fault, unreadable or empty, is added to.
        severity: of the fault.
    """
    try:
        raw = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        problems.add(severity, f"{what} cannot be read", place, str(error.strerror))
        return b""
    if not raw.strip():
        problems.add(severity, f"{what} empty", place)
    return raw.rstrip()


def read_text(
    path: Path, place: str, what: str, problems: Problems, severity: str = "error"
) -> str:
    """Return the content of a text file, "" if it is not UTF-8; otherwise like `read_bytes`."""
    try:
        return read_bytes(path, place, what, problems, severity).decode()
    except UnicodeDecodeError as error:
        detail = f"byte {error.start} is {error.object[error.start]:#04x}"
        problems.add(severity, f"{what} not UTF-8", place, detail)
        return ""


def check_sets(
    sets: Sets, problems: Problems, keep_duplicates: bool = False, shared_speakers: bool = False
) -> dict[str, list[Utterance]]:
    """Check {set: utterances} against each other; return those that are kept.

    Of several utterances with one id, or with identical samples unless `keep_duplicates`, the first
    is kept. Problems of speakers (unless sets may share them), ids, samples and texts are added to
    the list.
    """
    _check_overlaps(sets, problems, shared_speakers)
    first: dict[str, Utterance] = {}  # of each id
    for utterances in sets.values():
        for utterance in utterances:
            if first.setdefault(utterance.id, utterance) is not utterance:
                problems.add("error", "duplicate id", utterance.place, utterance.id)
    compared = [] if keep_duplicates else list(first.values())
    for utterance, earlier in _same_audio(compared):
        detail = f"{utterance.id} has the samples of {earlier.id} ({earlier.place})"
        problems.add("error", "same audio under two ids", utterance.place, detail)
        del first[utterance.id]
    kept = {key: [u for u in part if first.get(u.id) is u] for key, part in sets.items()}
    for key, part in kept.items():
        if not part:
            problems.add("warning", "empty set", key)
    return kept


def _check_overlaps(sets: Sets, problems: Problems, shared_speakers: bool) -> None:
    """Add an error for each speaker in two sets, and a warning for sentences in two sets."""
    for one, other in combinations(sets, 2):
        pair = f"{one} and {other}"
        shared = {u.speaker for u in sets[one]} & {u.speaker for u in sets[other]}
        for speaker in () if shared_speakers else sorted(shared):
            problems.add("error", "speaker in two sets", pair, speaker)
        if texts := {u.text.lower() for u in sets[one]} & {u.text.lower() for u in sets[other]}:
            detail = f"{len(texts)} different ones, such as: {'; '.join(sorted(texts)[:2])}"
            problems.add("warning", "sentences in two sets", pair, detail)


def _same_audio(utterances: list[Utterance]) -> Iterator[tuple[Utterance, Utterance]]:
    """Yield each utterance whose samples equal those of an earlier one, with that one.

    Only recordings of equal length are compared, so that few have to be decoded.
    """
    lengths = Counter((utterance.frames, utterance.start) for utterance in utterances)
    first: dict[tuple[bytes, int, int], Utterance] = {}
    digest = cache(_digest)  # of a recording with several utterances
    for utterance in utterances:
        if lengths[place := (utterance.frames, utterance.start)] > 1:
            earlier = first.setdefault((digest(utterance.path), *place), utterance)
            if earlier is not utterance:
                yield utterance, earlier


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
