"""Files of TIMIT: the sentences below a folder, and the reading of one, with every fault of it."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from speechasym.annotations.intervals import SampleInterval
from speechasym.annotations.timit import SAMPLE_RATE, parse_lines
from speechasym.corpora import checks
from speechasym.corpora.manifests import Utterance
from speechasym.corpora.report import Problems
from speechasym.language.phones import TIMIT_61

CLIPPED = 320  # samples; intervals that end no later than this after the audio are clipped to it
UNCOVERED = 8000  # samples of audio after the last phone; TIMIT's own files have some 3000

_SPEAKER = re.compile(r"(?:dr([1-8])[-_])?([fm][a-z]{3}[0-9])", re.IGNORECASE)
_DIALECT = re.compile(r"dr([1-8])", re.IGNORECASE)
_AUDIO = re.compile(r"(s[aix][0-9]+)((?:\.(?:wav|sph|nist|flac))+)", re.IGNORECASE)
_ANNOTATION = re.compile(r"(s[aix][0-9]+)\.(phn|wrd|txt)", re.IGNORECASE)
_OTHER_AUDIO = re.compile(r".*\.(?:wav|sph|nist|flac)", re.IGNORECASE)


@dataclass(frozen=True)
class Sentence:
    """The files of one sentence of one speaker, as paths below the root."""

    folder: str
    speaker: str
    dialect: str  # "DR1" to "DR8", or "" where no folder names it
    part: str  # "TRAIN", "TEST" or ""
    name: str
    audio: tuple[str, ...]  # one, or copies of it in several forms
    annotations: Mapping[str, str]  # {"phn", "wrd" or "txt": path}


def find_sentences(places: Iterable[str], problems: Problems) -> list[Sentence]:
    """Return the sentences, sorted by folder and name, of paths below the root."""
    audio = defaultdict(list)
    annotations: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    speakers = {}
    for place in places:
        path = PurePosixPath(place)
        folder = str(path.parent)
        speaker = _SPEAKER.fullmatch(path.parent.name)
        if speaker and (match := _AUDIO.fullmatch(path.name)):
            speakers[folder] = speaker
            audio[folder, match[1].upper()].append(place)
        elif speaker and (match := _ANNOTATION.fullmatch(path.name)):
            speakers[folder] = speaker
            annotations[folder, match[1].upper()][match[2].lower()] = place
        elif _OTHER_AUDIO.fullmatch(path.name):
            problems.add("note", "audio that is not TIMIT's by its path", place)
    sentences = []
    for folder, name in sorted({*audio, *annotations}):
        above = PurePosixPath(folder).parts
        region, speaker_name = speakers[folder].groups()
        regions = [match[1] for match in map(_DIALECT.fullmatch, above) if match]
        region = region or (regions[-1] if regions else "")
        parts = [part.upper() for part in above if part.upper() in ("TRAIN", "TEST")]
        sentence = Sentence(
            folder, speaker_name.upper(), f"DR{region}" if region else "",
            parts[-1] if parts else "", name,
            tuple(sorted(audio[folder, name], key=lambda place: (len(place), place))),
            annotations[folder, name],
        )  # fmt: skip
        sentences.append(sentence)
    return sentences


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
        if kind not in sentence.annotations:
            problems.add(severity, f"{what} missing", stem)
            continue
        faults = Problems()
        path = sentence.annotations[kind]
        texts[kind] = checks.read_text(root / path, path, what, faults)
        problems += [fault._replace(severity=severity) for fault in faults]
    prompt = phones = words = None
    if text := texts.get("txt"):
        prompt = _prompt(text, sentence, place, frames, problems)
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
        frames = checks.usable_frames(root / place, place, SAMPLE_RATE, faults)
        if frames:
            if len(sentence.audio) > 1:
                problems.add("note", "several copies of one recording", place, f"{place} is used")
            # a later copy can be used: the errors of the earlier ones become warnings
            problems += [
                fault._replace(severity="warning") if number else fault for fault in faults
            ]
            return place, frames
    problems += faults
    return sentence.audio[0], 0


def _prompt(
    text: str, sentence: Sentence, place: str, frames: int, problems: Problems
) -> str | None:
    """Return the sentence of a .TXT `begin end sentence`, or None if it has another form."""
    match = re.fullmatch(r"\s*-?[0-9]+\s+(-?[0-9]+)\s+(\S.*)", text, re.DOTALL)
    if not match:
        detail = f"{text.strip()[:40]!r} is not `begin end sentence`"
        path = sentence.annotations["txt"]
        problems.add("error", "transcript that cannot be read", path, detail)
        return None
    if 0 < frames < int(match[1]):
        detail = f"{frames} samples, {match[1]} in its .TXT"
        kind = "audio shorter than its transcript says"
        problems.add("warning", kind, place, detail)
    return " ".join(match[2].split())


def _intervals(text: str, place: str, faults: Problems) -> list[SampleInterval]:
    """Return the lines of a .PHN or .WRD; malformed lines and reversed times are faults."""
    intervals = []
    for number, line, interval in parse_lines(text):
        if interval is None or len(interval.label.split()) != 1:
            kind, detail = "label that cannot be read", f"{line.strip()[:40]!r}"
            detail += " is not `start end label`"
            faults.add("error", kind, f"{place}:{number}", detail)
            continue
        if interval.start < 0 or interval.end <= interval.start:
            faults.add("error", "reversed times", f"{place}:{number}", line.strip())
        intervals.append(interval)
    return intervals


def _phones(
    text: str, place: str, frames: int, problems: Problems
) -> tuple[SampleInterval, ...] | None:
    """Return the phones of a .PHN, or None after an error; frames is 0 if it is not known."""
    faults = Problems()
    phones = _intervals(text, place, faults)
    well_formed = not faults  # otherwise gaps cannot be judged
    unknown = sorted({symbol for *_, symbol in phones} - set(TIMIT_61))
    if unknown:
        faults.add("error", "unknown phone symbols", place, " ".join(unknown))
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
    return None if any(fault.severity == "error" for fault in faults) else tuple(phones)


def _words(
    text: str, place: str, frames: int, problems: Problems
) -> tuple[SampleInterval, ...] | None:
    """Return the words of a .WRD, some of which overlap in TIMIT, or None after a fault."""
    faults = Problems()
    words = _clipped(_intervals(text, place, faults), place, frames, faults)
    unusable = any(fault.severity == "error" for fault in faults)
    for fault in faults:
        detail = f"{fault.detail}; the words' times are left out" if unusable else fault.detail
        problems.append(fault._replace(severity="warning", detail=detail))
    if any(word.start < before.end for before, word in pairwise(words)):
        problems.add("note", "overlapping words, kept", place)
    return None if unusable else tuple(words)


def _clipped(
    intervals: list[SampleInterval], place: str, frames: int, faults: Problems
) -> list[SampleInterval]:
    """Return intervals that end with the audio, if they ended shortly after it."""
    excess = max((interval.end for interval in intervals), default=0) - frames
    if excess <= 0 or not frames:
        return intervals
    detail = f"labels end {excess} samples after the audio's {frames}"
    if excess > CLIPPED:
        faults.add("error", "audio shorter than its labels", place, detail)
        return intervals
    faults.add("warning", "labels clipped to the audio", place, detail)
    return [i._replace(end=min(i.end, frames)) for i in intervals if i.start < frames]
