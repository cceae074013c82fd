"""Files of TIMIT: the sentences below a folder, and the reading of one, with every fault of it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath

from speechasym.annotations.timit import SAMPLE_RATE, parse_lines
from speechasym.corpora import checks
from speechasym.corpora.manifests import Tier, Utterance
from speechasym.corpora.report import Problems
from speechasym.language.phones import TIMIT_61

CLIPPED = 320  # samples; intervals that end no later than this after the audio are clipped to it
UNCOVERED = 8000  # samples of audio after the last phone; TIMIT's own files have some 3000

_SPEAKER = re.compile(r"(?:dr([1-8])[-_])?([fm][a-z]{3}[0-9])", re.IGNORECASE)
_DIALECT = re.compile(r"dr([1-8])", re.IGNORECASE)
_FILE = re.compile(r"(s[aix][0-9]+)(?:\.(phn|wrd|txt)|(?:\.(?:wav|sph|nist|flac))+)", re.IGNORECASE)
_OTHER_AUDIO = re.compile(r".*\.(?:wav|sph|nist|flac)", re.IGNORECASE)


@dataclass
class Sentence:
    """The files of one sentence of one speaker, as paths below the root."""

    folder: str
    name: str
    speaker: str
    dialect: str  # "DR1" to "DR8", or "" where no folder names it
    part: str  # "TRAIN", "TEST" or ""
    audio: list[str] = field(default_factory=list)  # one, or copies of it in several forms
    annotations: dict[str, str] = field(default_factory=dict)  # {"phn", "wrd" or "txt": path}


def find_sentences(places: Iterable[str], problems: Problems) -> list[Sentence]:
    """Return the sentences, sorted by folder and name, of sorted paths below the root."""
    sentences: dict[tuple[str, str], Sentence] = {}
    for place in places:
        path = PurePosixPath(place)
        speaker = _SPEAKER.fullmatch(path.parent.name)
        match = _FILE.fullmatch(path.name)
        if speaker and match:
            key = str(path.parent), match[1].upper()
            regions = [region[1] for region in map(_DIALECT.fullmatch, path.parts) if region]
            region = speaker[1] or "".join(regions[-1:])
            parts = [part.upper() for part in path.parts if part.upper() in ("TRAIN", "TEST")]
            sentence = sentences.setdefault(
                key,
                Sentence(*key, speaker[2].upper(), region and f"DR{region}", "".join(parts[-1:])),
            )
            if match[2]:
                sentence.annotations[match[2].lower()] = place
            else:
                sentence.audio.append(place)
                sentence.audio.sort(key=len)
        elif _OTHER_AUDIO.fullmatch(path.name):
            problems.add("note", "audio that is not TIMIT's by its path", place)
    return [sentence for _, sentence in sorted(sentences.items())]


def read_sentence(root: Path, sentence: Sentence, problems: Problems) -> Utterance | None:
    """Return one sentence, or None if an error leaves it out."""
    stem = f"{sentence.folder}/{sentence.name}"
    if not sentence.audio:
        problems.add("error", "labels without audio", stem)
        return None
    place, frames = _recording(root, sentence, problems)
    texts = {}
    for kind, what in (("txt", "transcript"), ("phn", "phone file"), ("wrd", "word file")):
        severity = "warning" if kind == "wrd" else "error"  # a word file leaves no utterance out
        path = sentence.annotations.get(kind)
        if path is None:
            problems.add(severity, f"{what} missing", stem)
        else:
            texts[kind] = checks.read_text(root / path, path, what, problems, severity)
    prompt = phones = words = None
    if text := texts.get("txt"):
        prompt = _prompt(text, sentence.annotations["txt"], place, frames, problems)
    if text := texts.get("phn"):
        phones = _phones(text, sentence.annotations["phn"], frames, problems)
    if text := texts.get("wrd"):
        words = _words(text, sentence.annotations["wrd"], frames, problems)
    if not frames or prompt is None or phones is None:
        return None
    return Utterance(
        id=f"{sentence.speaker}_{sentence.name}", path=root / place, place=place,
        sample_rate=SAMPLE_RATE, frames=frames, text=prompt, speaker=sentence.speaker,
        gender="female" if sentence.speaker[0] == "F" else "male", words=words or (), phones=phones,
        custom={"dialect": sentence.dialect} if sentence.dialect else {},
    )  # fmt: skip


def _recording(root: Path, sentence: Sentence, problems: Problems) -> tuple[str, int]:
    """Return the first copy that can be used and its length in samples, 0 if none can."""
    faults = Problems()
    for number, place in enumerate(sentence.audio):
        if frames := checks.usable_frames(root / place, place, SAMPLE_RATE, faults):
            if len(sentence.audio) > 1:
                problems.add("note", "several copies of one recording", place, f"{place} is used")
            # a later copy can be used: the errors of the earlier ones become warnings
            problems += [
                fault._replace(severity="warning") if number else fault for fault in faults
            ]
            return place, frames
    problems += faults
    return sentence.audio[0], 0


def _prompt(text: str, path: str, place: str, frames: int, problems: Problems) -> str | None:
    """Return the sentence of a .TXT `begin end sentence`, or None if it has another form."""
    match = re.fullmatch(r"\s*-?[0-9]+\s+(-?[0-9]+)\s+(\S.*)", text, re.DOTALL)
    if not match:
        detail = f"{text.strip()[:40]!r} is not `begin end sentence`"
        problems.add("error", "transcript that cannot be read", path, detail)
        return None
    if 0 < frames < int(match[1]):
        detail = f"{frames} samples, {match[1]} in its .TXT"
        problems.add("warning", "audio shorter than its transcript says", place, detail)
    return " ".join(match[2].split())


def _intervals(text: str, place: str, faults: Problems) -> Tier:
    """Return the lines of a .PHN or .WRD; malformed lines and reversed times are faults."""
    intervals = []
    for number, line, interval in parse_lines(text):
        if interval is None or len(interval.label.split()) != 1:
            detail = f"{line.strip()[:40]!r} is not `start end label`"
            faults.add("error", "label that cannot be read", f"{place}:{number}", detail)
            continue
        if interval.start < 0 or interval.end <= interval.start:
            faults.add("error", "reversed times", f"{place}:{number}", line.strip())
        intervals.append(interval)
    return tuple(intervals)


def _phones(text: str, place: str, frames: int, problems: Problems) -> Tier | None:
    """Return the phones of a .PHN, or None after an error; frames is 0 if it is not known."""
    faults = Problems()
    phones = _intervals(text, place, faults)
    well_formed = not faults  # otherwise gaps cannot be judged
    if unknown := {symbol for *_, symbol in phones} - set(TIMIT_61):
        faults.add("error", "unknown phone symbols", place, " ".join(sorted(unknown)))
    last = 0
    for start, end, symbol in phones:
        detail = f"{symbol} begins at {start}, after {last}"
        if start < last:
            faults.add("error", "overlapping phones", place, detail)
        elif start > last and well_formed:
            faults.add("warning", "phones that leave a gap", place, detail)
        last = end
    if well_formed and frames - last > UNCOVERED:
        detail = f"the last ends at {last} of {frames} samples"
        faults.add("warning", "phones that end before the audio", place, detail)
    phones = _clipped(phones, place, frames, faults)
    problems += faults
    return None if any(fault.severity == "error" for fault in faults) else phones


def _words(text: str, place: str, frames: int, problems: Problems) -> Tier | None:
    """Return the words of a .WRD, some of which overlap in TIMIT, or None after a fault."""
    faults = Problems()
    words = _clipped(_intervals(text, place, faults), place, frames, faults)
    unusable = any(fault.severity == "error" for fault in faults)
    for fault in faults:
        detail = f"{fault.detail}; the words' times are left out" if unusable else fault.detail
        problems.append(fault._replace(severity="warning", detail=detail))
    if any(word.start < before.end for before, word in pairwise(words)):
        problems.add("note", "overlapping words, kept", place)
    return None if unusable else words


def _clipped(intervals: Tier, place: str, frames: int, faults: Problems) -> Tier:
    """Return intervals that end with the audio, if they ended shortly after it."""
    excess = max((interval.end for interval in intervals), default=0) - frames
    if excess <= 0 or not frames:
        return intervals
    detail = f"labels end {excess} samples after the audio's {frames}"
    if excess > CLIPPED:
        faults.add("error", "audio shorter than its labels", place, detail)
        return intervals
    faults.add("warning", "labels clipped to the audio", place, detail)
    return tuple(i._replace(end=min(i.end, frames)) for i in intervals if i.start < frames)
