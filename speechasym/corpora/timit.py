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
from speechasym.corpora import manifests
from speechasym.corpora.manifests import Utterance
from speechasym.corpora.report import Problem
from speechasym.corpora.splits import split_names
from speechasym.errors import ConfigError
from speechasym.language.phones import TIMIT_61
from speechasym.progress import progress


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


RATE = 16000  # Hz
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
CLIPPED = 320  # samples; labels that end no later than this after the audio are cut to it
UNCOVERED = 8000  # samples of audio after the last phone; TIMIT's own files have some 3000

_SPEAKER = re.compile(r"(?:dr([1-8])[-_])?([fm][a-z]{3}[0-9])", re.IGNORECASE)
_DIALECT = re.compile(r"dr([1-8])", re.IGNORECASE)
_AUDIO = re.compile(r"(s[aix][0-9]+)((?:\.(?:wav|sph|nist|flac))+)", re.IGNORECASE)
_LABELS = re.compile(r"(s[aix][0-9]+)\.(phn|wrd|txt)", re.IGNORECASE)
_SOUND = re.compile(r".*\.(?:wav|sph|nist|flac)", re.IGNORECASE)


@dataclass(frozen=True)
class _Found:
    """The files of one sentence of one speaker, by their paths below the root."""

    folder: str
    speaker: str
    dialect: str  # "DR1" to "DR8", or "" where no folder says
    part: str  # "TRAIN", "TEST" or ""
    sentence: str
    audio: tuple[str, ...]  # one, or copies of it in several forms
    labels: Mapping[str, str]  # of "phn", "wrd" and "txt"


class _Split(NamedTuple):
    words: str  # how the report describes it
    home: Mapping[tuple[str, str], str]  # set of a (speaker, part); others are left out
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
) -> manifests.Corpus:
    """TIMIT as lhotse manifests, with the times of its words and its 61 phones.

    Sets are, by the first of these that holds: `lists`; the official train, dev and test where
    TEST has all 50 development and 24 core-test speakers (the other TEST speakers are left out);
    the folders TRAIN and TEST, and with a seed a dev taken from TRAIN's speakers; with a seed, a
    split of all speakers by `shares`; else one set, "all". All but the official are local: their
    figures compare with no published ones.

    Args:
        root: a folder; TRAIN and TEST may lie anywhere below it, or be missing.
        sa: keep the sentences SA1 and SA2, which every speaker reads.
        seed: of a split by speakers, where the corpus has no official one.
        shares: {set: share of the speakers} of such a split.
        lists: {set: its speakers} instead.
        show_progress: a bar, or lines, on stderr.

    Raises:
        CorpusError: no TIMIT there.
        ConfigError: a speaker in two lists, or shares that cannot be.
    """
    root, places = manifests.files_below(root)
    problems: list[Problem] = []
    found = _scan(places, problems)
    if not any(entry.audio for entry in found):
        raise manifests.nothing_found(root, places, "recordings such as TRAIN/DR1/FCJF0/SI648.WAV")
    split = _split(found, seed, shares, lists, problems)
    sets: dict[str, list[Utterance]] = {name: [] for name in split.sets}
    left_out = Counter[str]()
    wanted = []
    for entry in found:
        if not sa and entry.sentence.startswith("SA"):
            left_out["SA sentences"] += 1
        elif (entry.speaker, entry.part) not in split.home:
            left_out["recordings of speakers in no set"] += 1
        else:
            wanted.append(entry)
    problems += [Problem("note", "left out", f"{n} {kind}") for kind, n in left_out.items()]
    _check_complete(wanted, sa, problems)
    with progress(len(wanted), "TIMIT", show_progress) as step:
        for entry in wanted:
            utterance = _read(root, entry, problems)
            if utterance is not None:
                sets[split.home[entry.speaker, entry.part]].append(utterance)
            step()
    published = {
        name: (speakers, sentences * 10 // 8 if sa else sentences)
        for name, (speakers, sentences) in PUBLISHED.items()
    }
    corpus = manifests.gather("timit", split.words, sets, problems, published)
    if split.official:
        for name, count in corpus.report.counts.items():
            if (count.speakers, count.sentences) != published[name]:
                detail = "{} speakers, {} sentences are published".format(*published[name])
                corpus.report.problems.append(
                    Problem("warning", "counts that are not the published ones", name, detail)
                )
    return corpus


def _scan(places: Iterable[str], problems: list[Problem]) -> list[_Found]:
    """Sentences, sorted by folder and name, from paths below the root."""
    audio = defaultdict(list)
    labels: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    speakers = {}
    for place in places:
        path = PurePosixPath(place)
        speaker = _SPEAKER.fullmatch(path.parent.name)
        sound = _AUDIO.fullmatch(path.name)
        label = _LABELS.fullmatch(path.name)
        if speaker and (sound or label):
            speakers[str(path.parent)] = speaker
        if speaker and sound:
            audio[str(path.parent), sound[1].upper()].append(place)
        elif speaker and label:
            labels[str(path.parent), label[1].upper()][label[2].lower()] = place
        elif _SOUND.fullmatch(path.name):
            problems.append(Problem("note", "audio that is not TIMIT's by its path", place))
    found = []
    for key in sorted(set(audio) | set(labels)):
        folder, sentence = key
        above = PurePosixPath(folder).parts
        region, name = speakers[folder].groups()
        regions = [match[1] for match in map(_DIALECT.fullmatch, above) if match]
        region = region or (regions[-1] if regions else "")
        parts = [part.upper() for part in above if part.upper() in ("TRAIN", "TEST")]
        entry = _Found(
            folder,
            name.upper(),
            f"DR{region}" if region else "",
            parts[-1] if parts else "",
            sentence,
            tuple(sorted(audio[key], key=lambda place: (len(place), place))),
            labels[key],
        )
        found.append(entry)
    return found


def _split(
    found: list[_Found],
    seed: int | None,
    shares: Mapping[str, float],
    lists: Mapping[str, Iterable[str]] | None,
    problems: list[Problem],
) -> _Split:
    """Which split it is, and the set of each speaker."""
    keys = sorted({(entry.speaker, entry.part) for entry in found})
    if lists is not None:
        return _listed(keys, lists, problems)
    parts = {part for _, part in keys if part}
    test = {speaker for speaker, part in keys if part == "TEST"}
    train = {speaker for speaker, part in keys if part == "TRAIN"}
    if test >= CORE_TEST | DEVELOPMENT:
        home = {key: "train" for key in keys if key[1] == "TRAIN"}
        home |= {(speaker, "TEST"): "dev" for speaker in DEVELOPMENT}
        home |= {(speaker, "TEST"): "test" for speaker in CORE_TEST}
        words = "official split: TRAIN, the 50 development and the 24 core-test speakers"
        return _Split(words, home, True, ("train", "dev", "test"))
    local = "no figure of the core test can be claimed"
    if not parts:
        if seed is None:
            words = f"local split: no TRAIN or TEST folder, all speakers in one set; {local}"
            return _Split(words, dict.fromkeys(keys, "all"), False, ("all",))
        drawn = split_names((speaker for speaker, _ in keys), shares, seed)
        home = {(speaker, ""): name for name, group in drawn.items() for speaker in group}
        return _Split(f"local split: speakers by seed {seed}; {local}", home, False, tuple(shares))
    home = {key: key[1].lower() for key in keys if key[1]}
    words = "local split: the folders TRAIN and TEST as they are"
    names = [name for name in ("train", "test") if name.upper() in parts]
    if seed is not None and "TRAIN" in parts:
        share = shares.get("dev", SHARES["dev"])
        drawn = split_names(train, {"train": 1 - share, "dev": share}, seed)
        home |= {(speaker, "TRAIN"): "dev" for speaker in drawn["dev"]}
        names.insert(1, "dev")
        words += f", a dev set of TRAIN's speakers by seed {seed}"
    return _Split(f"{words}; {local}", home, False, tuple(names))


def _listed(
    keys: list[tuple[str, str]], lists: Mapping[str, Iterable[str]], problems: list[Problem]
) -> _Split:
    wanted: dict[str, str] = {}
    for name, speakers in lists.items():
        for speaker in speakers:
            if wanted.setdefault(speaker.upper(), name) != name:
                raise ConfigError(
                    "lists", f"{speaker} is in {wanted[speaker.upper()]} and {name}", "Use one"
                )
    for speaker in sorted(set(wanted) - {speaker for speaker, _ in keys}):
        problems.append(Problem("warning", "speaker of a list not there", speaker))
    home = {key: wanted[key[0]] for key in keys if key[0] in wanted}
    return _Split("local split: speakers by given lists", home, False, tuple(lists))


def _check_complete(wanted: list[_Found], sa: bool, problems: list[Problem]) -> None:
    """Every speaker reads 2 SA, 5 SX and 3 SI sentences."""
    read: dict[str, set[str]] = defaultdict(set)
    for entry in wanted:
        read[entry.speaker].add(entry.sentence)
    expected = 10 if sa else 8
    for speaker, sentences in sorted(read.items()):
        if len(sentences) != expected:
            detail = f"{len(sentences)}, not {expected}"
            problems.append(Problem("warning", "number of sentences", speaker, detail))


def _read(root: Path, entry: _Found, problems: list[Problem]) -> Utterance | None:
    """One sentence, or None where an error leaves it out."""
    stem = f"{entry.folder}/{entry.sentence}"
    if not entry.audio:
        problems.append(Problem("error", "labels without audio", stem))
        return None
    place, frames = _sound(root, entry, problems)
    texts = {}
    for kind, what in (("txt", "transcript"), ("phn", "phone file"), ("wrd", "word file")):
        if kind in entry.labels:
            severe: list[Problem] = []
            texts[kind] = manifests.read_text(
                root / entry.labels[kind], entry.labels[kind], what, severe
            )
            if kind == "wrd":  # no utterance is lost by its words' times
                severe = [problem._replace(severity="warning") for problem in severe]
            problems += severe
        else:
            severity = "warning" if kind == "wrd" else "error"
            problems.append(Problem(severity, f"{what} missing", stem))
    sentence = None
    if text := texts.get("txt"):
        match = re.fullmatch(r"\s*-?[0-9]+\s+(-?[0-9]+)\s+(\S.*)", text, re.DOTALL)
        if match:
            sentence = " ".join(match[2].split())
            if 0 < frames < int(match[1]):
                detail = f"{frames} samples, {match[1]} in its .TXT"
                problems.append(
                    Problem("warning", "audio shorter than its transcript says", place, detail)
                )
        else:
            detail = f"{text.strip()[:40]!r} is not `begin end sentence`"
            problems.append(
                Problem("error", "transcript that cannot be read", entry.labels["txt"], detail)
            )
    phones = words = None
    if text := texts.get("phn"):
        phones = _phones(text, entry.labels["phn"], frames, problems)
    if text := texts.get("wrd"):
        words = _words(text, entry.labels["wrd"], frames, problems)
    if not frames or sentence is None or phones is None:
        return None
    return Utterance(
        id=f"{entry.speaker}_{entry.sentence}",
        path=root / place,
        place=place,
        sample_rate=RATE,
        frames=frames,
        text=sentence,
        speaker=entry.speaker,
        gender="female" if entry.speaker[0] == "F" else "male",
        words=words or (),
        phones=phones,
        more={"dialect": entry.dialect} if entry.dialect else {},
    )


def _sound(root: Path, entry: _Found, problems: list[Problem]) -> tuple[str, int]:
    """The first copy that can be used, and its samples; 0 where none can."""
    faults: list[Problem] = []
    for number, place in enumerate(entry.audio):
        frames = manifests.header(root / place, place, RATE, faults)
        if frames:
            if len(entry.audio) > 1:
                detail = f"{place} is used"
                problems.append(Problem("note", "several copies of one recording", place, detail))
            # of copies that could not be used, one that could makes warnings
            problems += [
                fault._replace(severity="warning") if number else fault for fault in faults
            ]
            return place, frames
    problems += faults
    return entry.audio[0], 0


def _rows(text: str, place: str, faults: list[Problem]) -> list[SampleInterval]:
    """Lines `begin end symbol`, with those that cannot be, or whose times cannot, in `faults`."""
    rows = []
    for number, line, row in parse_lines(text):
        if row is not None and len(row.label.split()) == 1:
            if row.start < 0 or row.end <= row.start:
                faults.append(Problem("error", "reversed times", f"{place}:{number}", line.strip()))
            rows.append(row)
        else:
            detail = f"{line.strip()[:40]!r} is not `start end label`"
            faults.append(
                Problem("error", "label that cannot be read", f"{place}:{number}", detail)
            )
    return rows


def _phones(
    text: str, place: str, frames: int, problems: list[Problem]
) -> tuple[SampleInterval, ...] | None:
    """Phones that are known and follow one another, or None; frames 0: of an unknown length."""
    faults: list[Problem] = []
    rows = _rows(text, place, faults)
    whole = not faults  # else what is covered cannot be said
    unknown = sorted({row.label for row in rows} - set(TIMIT_61))
    if unknown:
        faults.append(Problem("error", "unknown phone symbols", place, " ".join(unknown)))
    end = 0
    for row in rows:
        detail = f"{row.label} begins at {row.start}, after {end}"
        if row.start < end:
            faults.append(Problem("error", "overlapping phones", place, detail))
        elif row.start > end and whole:
            faults.append(Problem("warning", "phones that leave a gap", place, detail))
        end = row.end
    if whole and frames - end > UNCOVERED:
        detail = f"the last ends at {end} of {frames} samples"
        faults.append(Problem("warning", "phones that end before the audio", place, detail))
    rows = _clip(rows, place, frames, faults)
    problems += faults
    return None if any(fault.severity == "error" for fault in faults) else tuple(rows)


def _words(
    text: str, place: str, frames: int, problems: list[Problem]
) -> tuple[SampleInterval, ...] | None:
    """Words; where TIMIT's overlap they stay so. None, and warnings, where they cannot be."""
    faults: list[Problem] = []
    rows = _clip(_rows(text, place, faults), place, frames, faults)
    bad = any(fault.severity == "error" for fault in faults)
    for fault in faults:
        detail = f"{fault.detail}; the words' times are left out" if bad else fault.detail
        problems.append(fault._replace(severity="warning", detail=detail))
    if any(row.start < before.end for before, row in pairwise(rows)):
        problems.append(Problem("note", "overlapping words, kept", place))
    return None if bad else tuple(rows)


def _clip(
    rows: list[SampleInterval], place: str, frames: int, faults: list[Problem]
) -> list[SampleInterval]:
    """Labels that end with the audio, if they ended just after it."""
    over = max((row.end for row in rows), default=0) - frames
    if over <= 0 or not frames:
        return rows
    detail = f"labels end {over} samples after the audio's {frames}"
    if over > CLIPPED:
        faults.append(Problem("error", "audio shorter than its labels", place, detail))
        return rows
    faults.append(Problem("warning", "labels clipped to the audio", place, detail))
    return [row._replace(end=min(row.end, frames)) for row in rows if row.start < frames]
