"""TIMIT: the LDC disc and its usual re-packagings [1].

An utterance is a file SPEAKER/SENTENCE, its speaker's folder named FVMH0 or dr1-fvmh0, in any
letter case, with .PHN, .WRD and .TXT beside it. Only what lies below the given folder counts.

[1] J. S. Garofolo et al., "TIMIT Acoustic-Phonetic Continuous Speech Corpus", LDC93S1, 1993.
[2] A. K. Halberstadt, "Heterogeneous acoustic measurements and multiple classifiers for speech
    recognition", thesis, MIT, 1998: the development set of 50 speakers; the lists are Kaldi's.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from speechasym.annotations.intervals import SampleInterval
from speechasym.annotations.timit import parse_lines
from speechasym.corpora import checks
from speechasym.corpora.manifests import Corpus, Utterance
from speechasym.corpora.report import Problem
from speechasym.corpora.splits import split_names
from speechasym.errors import ConfigError
from speechasym.language.phones import TIMIT_61
from speechasym.progress import progress


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


RATE = 16000  # Hz, also of the times in .PHN and .WRD
CORE_TEST = _names(
    """MDAB0 MWBT0 FELC0 MTAS1 MWEW0 FPAS0 MJMP0 MLNT0 FPKT0 MLLL0 MTLS0 FJLM0 MBPM0 MKLT0 FNLP0
    MCMJ0 MJDH0 FMGD0 MGRT0 MNJM0 FDHC0 MJLN0 MPAM0 FMLD0"""
)
DEVELOPMENT = _names(  # [2]
    """FAKS0 FDAC1 FJEM0 MGWT0 MJAR0 MMDB1 MMDM2 MPDF0 FCMH0 FKMS0 MBDG0 MBWM0 MCSH0 FADG0 FDMS0
    FEDW0 MGJF0 MGLB0 MRTK0 MTAA0 MTDT0 MTHC0 MWJG0 FNMR0 FREW0 FSEM0 MBNS0 MMJR0 MDLS0 MDLF0 MDVC0
    MERS0 FMAH0 FDRW0 MRCS0 MRJM4 FCAL1 MMWH0 FJSJ0 MAJC0 MJSW0 MREB0 FGJD0 FJMG0 MROA0 MTEB0 MJFC0
    MRJR0 FMML0 MRWS1"""
)
PUBLISHED = {"train": (462, 3696), "dev": (50, 400), "test": (24, 192)}  # speakers, sentences
SHARES = {"train": 0.8, "dev": 0.1, "test": 0.1}
CLIPPED = 320  # samples; intervals that end no later than this after the audio are clipped to it
UNCOVERED = 8000  # samples of audio after the last phone; TIMIT's own files have some 3000

_SPEAKER = re.compile(r"(?:dr([1-8])[-_])?([fm][a-z]{3}[0-9])", re.IGNORECASE)
_DIALECT = re.compile(r"dr([1-8])", re.IGNORECASE)
_AUDIO = re.compile(r"(s[aix][0-9]+)((?:\.(?:wav|sph|nist|flac))+)", re.IGNORECASE)
_ANNOTATION = re.compile(r"(s[aix][0-9]+)\.(phn|wrd|txt)", re.IGNORECASE)
_OTHER_AUDIO = re.compile(r".*\.(?:wav|sph|nist|flac)", re.IGNORECASE)


@dataclass(frozen=True)
class _Sentence:
    """The files of one sentence of one speaker, as paths below the root."""

    folder: str
    speaker: str
    dialect: str  # "DR1" to "DR8", or "" where no folder names it
    part: str  # "TRAIN", "TEST" or ""
    name: str
    audio: tuple[str, ...]  # one, or copies of it in several forms
    annotations: Mapping[str, str]  # {"phn", "wrd" or "txt": path}


class _Split(NamedTuple):
    description: str  # for the report
    set_of: Mapping[tuple[str, str], str]  # {(speaker, part): set}; other speakers are left out
    official: bool
    sets: tuple[str, ...]


def prepare(
    root: str | Path,
    *,
    sa: bool = False,
    seed: int | None = None,
    shares: Mapping[str, float] = SHARES,
    lists: Mapping[str, Iterable[str]] | None = None,
    show_progress: bool = False,
) -> Corpus:
    """Return TIMIT as lhotse manifests, with the times of its words and its 61 phones.

    The sets are the first of these that applies: `lists`; the official train, dev and test if
    TEST has all 50 development and 24 core-test speakers (the other TEST speakers are left out);
    the folders TRAIN and TEST, and with a seed a dev set of some of TRAIN's speakers; with a seed,
    a split of all speakers by `shares`; otherwise one set, "all". All but the official one are
    local splits, whose figures cannot be compared with published ones.

    Args:
        root: a folder; TRAIN and TEST may lie anywhere below it, or be missing.
        sa: keep the sentences SA1 and SA2, which every speaker reads.
        seed: seed of a split by speakers, if there is no official one.
        shares: {set: share of the speakers} of such a split.
        lists: {set: its speakers}, used instead.
        show_progress: show progress on stderr.

    Raises:
        CorpusError: the folder contains no TIMIT.
        ConfigError: a speaker is in two lists, or the shares are invalid.
    """
    root, places = checks.files_below(root)
    problems: list[Problem] = []
    sentences = _scan(places, problems)
    if not any(sentence.audio for sentence in sentences):
        raise checks.nothing_found(root, places, "recordings such as TRAIN/DR1/FCJF0/SI648.WAV")
    split = _split(sentences, seed, shares, lists, problems)
    sets: dict[str, list[Utterance]] = {name: [] for name in split.sets}
    left_out = Counter[str]()
    selected = []
    for sentence in sentences:
        if not sa and sentence.name.startswith("SA"):
            left_out["SA sentences"] += 1
        elif (sentence.speaker, sentence.part) not in split.set_of:
            left_out["recordings of speakers in no set"] += 1
        else:
            selected.append(sentence)
    problems += [Problem("note", "left out", f"{n} {kind}") for kind, n in left_out.items()]
    _check_complete(selected, sa, problems)
    with progress(len(selected), "TIMIT", show_progress) as step:
        for sentence in selected:
            utterance = _read(root, sentence, problems)
            if utterance is not None:
                sets[split.set_of[sentence.speaker, sentence.part]].append(utterance)
            step()
    published = {
        name: (speakers, count * 10 // 8 if sa else count)
        for name, (speakers, count) in PUBLISHED.items()
    }
    corpus = checks.check_sets("timit", split.description, sets, problems, published)
    if split.official:
        for name, count in corpus.report.counts.items():
            if (count.speakers, count.sentences) != published[name]:
                detail = "{} speakers, {} sentences are published".format(*published[name])
                corpus.report.problems.append(
                    Problem("warning", "counts that are not the published ones", name, detail)
                )
    return corpus


def _scan(places: Iterable[str], problems: list[Problem]) -> list[_Sentence]:
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
            problems.append(Problem("note", "audio that is not TIMIT's by its path", place))
    sentences = []
    for folder, name in sorted({*audio, *annotations}):
        above = PurePosixPath(folder).parts
        region, speaker_name = speakers[folder].groups()
        regions = [match[1] for match in map(_DIALECT.fullmatch, above) if match]
        region = region or (regions[-1] if regions else "")
        parts = [part.upper() for part in above if part.upper() in ("TRAIN", "TEST")]
        sentence = _Sentence(
            folder,
            speaker_name.upper(),
            f"DR{region}" if region else "",
            parts[-1] if parts else "",
            name,
            tuple(sorted(audio[folder, name], key=lambda place: (len(place), place))),
            annotations[folder, name],
        )
        sentences.append(sentence)
    return sentences


def _split(
    sentences: list[_Sentence],
    seed: int | None,
    shares: Mapping[str, float],
    lists: Mapping[str, Iterable[str]] | None,
    problems: list[Problem],
) -> _Split:
    """Choose the split; see `prepare`."""
    keys = sorted({(sentence.speaker, sentence.part) for sentence in sentences})
    if lists is not None:
        return _listed(keys, lists, problems)
    parts = {part for _, part in keys if part}
    test = {speaker for speaker, part in keys if part == "TEST"}
    train = {speaker for speaker, part in keys if part == "TRAIN"}
    if test >= CORE_TEST | DEVELOPMENT:
        set_of = {key: "train" for key in keys if key[1] == "TRAIN"}
        set_of |= {(speaker, "TEST"): "dev" for speaker in DEVELOPMENT}
        set_of |= {(speaker, "TEST"): "test" for speaker in CORE_TEST}
        description = "official split: TRAIN, the 50 development and the 24 core-test speakers"
        return _Split(description, set_of, True, ("train", "dev", "test"))
    local = "no figure of the core test can be claimed"
    if not parts:
        if seed is None:
            description = f"local split: no TRAIN or TEST folder, all speakers in one set; {local}"
            return _Split(description, dict.fromkeys(keys, "all"), False, ("all",))
        drawn = split_names((speaker for speaker, _ in keys), shares, seed)
        set_of = {(speaker, ""): name for name, group in drawn.items() for speaker in group}
        description = f"local split: speakers by seed {seed}; {local}"
        return _Split(description, set_of, False, tuple(shares))
    set_of = {key: key[1].lower() for key in keys if key[1]}
    description = "local split: the folders TRAIN and TEST as they are"
    names = [name for name in ("train", "test") if name.upper() in parts]
    if seed is not None and "TRAIN" in parts:
        share = shares.get("dev", SHARES["dev"])
        drawn = split_names(train, {"train": 1 - share, "dev": share}, seed)
        set_of |= {(speaker, "TRAIN"): "dev" for speaker in drawn["dev"]}
        names.insert(1, "dev")
        description += f", a dev set of TRAIN's speakers by seed {seed}"
    return _Split(f"{description}; {local}", set_of, False, tuple(names))


def _listed(
    keys: list[tuple[str, str]], lists: Mapping[str, Iterable[str]], problems: list[Problem]
) -> _Split:
    set_of: dict[str, str] = {}
    for name, speakers in lists.items():
        for speaker in speakers:
            if set_of.setdefault(speaker.upper(), name) != name:
                raise ConfigError(
                    "lists", f"{speaker} is in {set_of[speaker.upper()]} and {name}", "Use one"
                )
    for speaker in sorted(set(set_of) - {speaker for speaker, _ in keys}):
        problems.append(Problem("warning", "speaker of a list not there", speaker))
    by_key = {key: set_of[key[0]] for key in keys if key[0] in set_of}
    return _Split("local split: speakers by given lists", by_key, False, tuple(lists))


def _check_complete(sentences: list[_Sentence], sa: bool, problems: list[Problem]) -> None:
    """Warn of speakers that do not have all 2 SA, 5 SX and 3 SI sentences."""
    names: dict[str, set[str]] = defaultdict(set)
    for sentence in sentences:
        names[sentence.speaker].add(sentence.name)
    expected = 10 if sa else 8
    for speaker, read in sorted(names.items()):
        if len(read) != expected:
            detail = f"{len(read)}, not {expected}"
            problems.append(Problem("warning", "number of sentences", speaker, detail))


def _read(root: Path, sentence: _Sentence, problems: list[Problem]) -> Utterance | None:
    """Return one sentence, or None if an error leaves it out."""
    stem = f"{sentence.folder}/{sentence.name}"
    if not sentence.audio:
        problems.append(Problem("error", "labels without audio", stem))
        return None
    place, frames = _recording(root, sentence, problems)
    texts = {}
    for kind, what in (("txt", "transcript"), ("phn", "phone file"), ("wrd", "word file")):
        severity = "warning" if kind == "wrd" else "error"  # a word file leaves no utterance out
        if kind not in sentence.annotations:
            problems.append(Problem(severity, f"{what} missing", stem))
            continue
        faults: list[Problem] = []
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
        id=f"{sentence.speaker}_{sentence.name}",
        path=root / place,
        place=place,
        sample_rate=RATE,
        frames=frames,
        text=prompt,
        speaker=sentence.speaker,
        gender="female" if sentence.speaker[0] == "F" else "male",
        words=words or (),
        phones=phones,
        custom={"dialect": sentence.dialect} if sentence.dialect else {},
    )


def _recording(root: Path, sentence: _Sentence, problems: list[Problem]) -> tuple[str, int]:
    """Return the first copy that can be used and its length in samples, 0 if none can."""
    faults: list[Problem] = []
    for number, place in enumerate(sentence.audio):
        frames = checks.usable_frames(root / place, place, RATE, faults)
        if frames:
            if len(sentence.audio) > 1:
                detail = f"{place} is used"
                problems.append(Problem("note", "several copies of one recording", place, detail))
            # a later copy can be used: the errors of the earlier ones become warnings
            problems += [
                fault._replace(severity="warning") if number else fault for fault in faults
            ]
            return place, frames
    problems += faults
    return sentence.audio[0], 0


def _prompt(
    text: str, sentence: _Sentence, place: str, frames: int, problems: list[Problem]
) -> str | None:
    """Return the sentence of a .TXT `begin end sentence`, or None if it has another form."""
    match = re.fullmatch(r"\s*-?[0-9]+\s+(-?[0-9]+)\s+(\S.*)", text, re.DOTALL)
    if not match:
        detail = f"{text.strip()[:40]!r} is not `begin end sentence`"
        path = sentence.annotations["txt"]
        problems.append(Problem("error", "transcript that cannot be read", path, detail))
        return None
    if 0 < frames < int(match[1]):
        detail = f"{frames} samples, {match[1]} in its .TXT"
        kind = "audio shorter than its transcript says"
        problems.append(Problem("warning", kind, place, detail))
    return " ".join(match[2].split())


def _intervals(text: str, place: str, faults: list[Problem]) -> list[SampleInterval]:
    """Return the lines of a .PHN or .WRD; malformed lines and reversed times are faults."""
    intervals = []
    for number, line, interval in parse_lines(text):
        if interval is None or len(interval.label.split()) != 1:
            kind, detail = "label that cannot be read", f"{line.strip()[:40]!r}"
            detail += " is not `start end label`"
            faults.append(Problem("error", kind, f"{place}:{number}", detail))
            continue
        if interval.start < 0 or interval.end <= interval.start:
            faults.append(Problem("error", "reversed times", f"{place}:{number}", line.strip()))
        intervals.append(interval)
    return intervals


def _phones(
    text: str, place: str, frames: int, problems: list[Problem]
) -> tuple[SampleInterval, ...] | None:
    """Return the phones of a .PHN, or None after an error; frames is 0 if it is not known."""
    faults: list[Problem] = []
    phones = _intervals(text, place, faults)
    well_formed = not faults  # otherwise gaps cannot be judged
    unknown = sorted({symbol for *_, symbol in phones} - set(TIMIT_61))
    if unknown:
        faults.append(Problem("error", "unknown phone symbols", place, " ".join(unknown)))
    last = 0
    for start, end, symbol in phones:
        detail = f"{symbol} begins at {start}, after {last}"
        if start < last:
            faults.append(Problem("error", "overlapping phones", place, detail))
        elif start > last and well_formed:
            faults.append(Problem("warning", "phones that leave a gap", place, detail))
        last = end
    if well_formed and frames - last > UNCOVERED:
        detail = f"the last ends at {last} of {frames} samples"
        faults.append(Problem("warning", "phones that end before the audio", place, detail))
    phones = _clipped(phones, place, frames, faults)
    problems += faults
    return None if any(fault.severity == "error" for fault in faults) else tuple(phones)


def _words(
    text: str, place: str, frames: int, problems: list[Problem]
) -> tuple[SampleInterval, ...] | None:
    """Return the words of a .WRD, some of which overlap in TIMIT, or None after a fault."""
    faults: list[Problem] = []
    words = _clipped(_intervals(text, place, faults), place, frames, faults)
    unusable = any(fault.severity == "error" for fault in faults)
    for fault in faults:
        detail = f"{fault.detail}; the words' times are left out" if unusable else fault.detail
        problems.append(fault._replace(severity="warning", detail=detail))
    if any(word.start < before.end for before, word in pairwise(words)):
        problems.append(Problem("note", "overlapping words, kept", place))
    return None if unusable else tuple(words)


def _clipped(
    intervals: list[SampleInterval], place: str, frames: int, faults: list[Problem]
) -> list[SampleInterval]:
    """Return intervals that end with the audio, if they ended shortly after it."""
    excess = max((interval.end for interval in intervals), default=0) - frames
    if excess <= 0 or not frames:
        return intervals
    detail = f"labels end {excess} samples after the audio's {frames}"
    if excess > CLIPPED:
        faults.append(Problem("error", "audio shorter than its labels", place, detail))
        return intervals
    faults.append(Problem("warning", "labels clipped to the audio", place, detail))
    return [i._replace(end=min(i.end, frames)) for i in intervals if i.start < frames]
