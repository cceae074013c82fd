"""LibriSpeech: SUBSET/READER/CHAPTER/*.flac with READER-CHAPTER.trans.txt beside them [1].

[1] V. Panayotov, G. Chen, D. Povey, S. Khudanpur, "Librispeech: an ASR corpus based on public
    domain audio books", ICASSP 2015.
"""

import re
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from speechasym.corpora import checks
from speechasym.corpora.manifests import Corpus, Utterance
from speechasym.corpora.report import Problem
from speechasym.errors import ConfigError
from speechasym.language.letters import normalise
from speechasym.progress import progress

RATE = 16000  # Hz
PUBLISHED = {  # speakers, utterances [1]
    "train-clean-100": (251, 28539),
    "train-clean-360": (921, 104014),
    "train-other-500": (1166, 148688),
    "dev-clean": (40, 2703),
    "dev-other": (33, 2864),
    "test-clean": (40, 2620),
    "test-other": (33, 2939),
}
ENDINGS = ("flac", "wav", "sph")  # in order of preference

_AUDIO = re.compile(r"([0-9]+)-([0-9]+)-([0-9]+)\.(flac|wav|sph)", re.IGNORECASE)
_TEXT = re.compile(r"[0-9]+-[0-9]+\.trans\.txt", re.IGNORECASE)


def prepare(
    root: str | Path, *, subsets: Collection[str] | None = None, show_progress: bool = False
) -> Corpus:
    """Return LibriSpeech as lhotse manifests: a set for each subset found below `root`.

    Only the headers of recordings are read. Texts are reduced to the 28 letters of `letters`.

    Args:
        root: the folder of the subsets, one above it, or one subset.
        subsets: names of the subsets to prepare; None: all.
        show_progress: show progress on stderr.

    Raises:
        CorpusError: the folder contains no LibriSpeech.
        ConfigError: a subset is missing.
    """
    root, places = checks.files_below(root)
    problems: list[Problem] = []
    audio: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)  # (subset, id): {form: place}
    texts: dict[tuple[str, str], tuple[str, str]] = {}  # (subset, id): text, place
    tables = []
    clashes = []
    for place in places:
        path = PurePosixPath(place)
        if match := _AUDIO.fullmatch(path.name):
            key = _subset(root, path), path.name[: match.end(3)]
            if audio[key].setdefault(match[4].lower(), place) != place:
                clashes.append(Problem("error", "duplicate id", place, key[1]))
        elif _TEXT.fullmatch(path.name):
            subset = _subset(root, path)
            if subsets is None or subset in subsets:
                _transcripts(root, place, subset, texts, problems)
        elif path.name.upper() == "SPEAKERS.TXT":
            tables.append(place)
    available = sorted({subset for subset, _ in (*audio, *texts)})
    if not available:
        raise checks.nothing_found(root, places, "files such as 84/121123/84-121123-0000.flac")
    names = available if subsets is None else list(subsets)
    if missing := sorted(set(names) - set(available)):
        raise ConfigError(
            "subsets", f"{missing[0]!r} is not below {root}", f"Use {', '.join(available)}"
        )
    problems += clashes
    genders = _speakers(root, tables, problems)
    selected = sorted(key for key in {*audio, *texts} if key[0] in names)
    sets: dict[str, list[Utterance]] = {name: [] for name in names}
    with progress(len(selected), "LibriSpeech", show_progress) as step:
        for key in selected:
            utterance = _read(root, key[1], audio.get(key, {}), texts.get(key), genders, problems)
            if utterance is not None:
                sets[key[0]].append(utterance)
            step()
    problems += _unknown_speakers(sets, genders)
    local = [name for name in names if name not in PUBLISHED]
    split = "the corpus's own subsets"
    if local:
        split = f"local split, no official subsets: {', '.join(local)}; say so beside every figure"
    published = {name: PUBLISHED[name] for name in names if name in PUBLISHED}
    return checks.check_sets("librispeech", split, sets, problems, published)


def _subset(root: Path, path: PurePosixPath) -> str:
    """Return the name of the folder above reader and chapter, which may be the root."""
    return path.parts[-4] if len(path.parts) >= 4 else root.name


def _transcripts(
    root: Path,
    place: str,
    subset: str,
    texts: dict[tuple[str, str], tuple[str, str]],
    problems: list[Problem],
) -> None:
    """Read a file of lines `ID TEXT` into `texts`, each line decoded by itself."""
    try:
        raw = (root / place).read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        problems.append(Problem("error", "transcript cannot be read", place, str(error.strerror)))
        return
    if not raw.strip():
        problems.append(Problem("error", "transcript empty", place))
    for number, line in enumerate(raw.splitlines(), 1):
        where = f"{place}:{number}"
        name, _, rest = line.strip().partition(b" ")
        if not name:
            continue
        try:
            key = subset, name.decode("utf-8")
        except UnicodeDecodeError as error:
            detail = f"byte {error.start} of the id is {name[error.start]:#04x}"
            problems.append(Problem("error", "transcript not UTF-8", where, detail))
            continue
        if key in texts:
            problems.append(Problem("error", "two texts for one id", where, key[1]))
            continue
        try:
            texts[key] = rest.decode("utf-8"), where
        except UnicodeDecodeError as error:
            detail = f"byte {error.start} of the text is {rest[error.start]:#04x}"
            problems.append(Problem("error", "transcript not UTF-8", where, detail))
            texts[key] = "", ""  # so that its audio is not reported as being without text


def _speakers(root: Path, tables: list[str], problems: list[Problem]) -> dict[str, str]:
    """Return {reader: gender} of the files SPEAKERS.TXT."""
    genders = {}
    if not tables:
        problems.append(Problem("warning", "no SPEAKERS.TXT, genders unknown", "all"))
    for place in tables:
        try:
            text = (root / place).read_bytes().decode("utf-8", "replace")
        except OSError as error:
            problems.append(Problem("warning", "cannot be read", place, str(error.strerror)))
            continue
        for line in text.splitlines():
            fields = [field.strip() for field in line.split("|")]
            if not line.startswith(";") and len(fields) >= 2 and fields[1].upper() in ("F", "M"):
                genders[fields[0]] = "female" if fields[1].upper() == "F" else "male"
    return genders


def _unknown_speakers(sets: dict[str, list[Utterance]], genders: dict[str, str]) -> list[Problem]:
    speakers = {utterance.speaker for part in sets.values() for utterance in part}
    unknown = sorted(speakers - set(genders)) if genders else []
    return [Problem("warning", "reader not in SPEAKERS.TXT", speaker) for speaker in unknown]


def _read(
    root: Path,
    name: str,
    audio: dict[str, str],
    text: tuple[str, str] | None,
    genders: dict[str, str],
    problems: list[Problem],
) -> Utterance | None:
    """Return one utterance, or None if an error leaves it out."""
    if not audio:
        if text is not None and text != ("", ""):
            problems.append(Problem("error", "text without audio", text[1], name))
        return None
    place = next(audio[ending] for ending in ENDINGS if ending in audio)
    if len(audio) > 1:
        detail = f"{place} is used"
        problems.append(Problem("note", "several copies of one recording", place, detail))
    frames = checks.usable_frames(root / place, place, RATE, problems)
    if text is None:
        problems.append(Problem("error", "audio without text", place))
        return None
    if text == ("", ""):
        return None
    plain, unknown = normalise(text[0])
    if unknown:
        detail = f"{name}: {unknown}"
        problems.append(Problem("error", "text beyond the 28 letters", text[1], detail))
        return None
    if not plain:
        problems.append(Problem("error", "text of an utterance empty", text[1], name))
        return None
    if not frames:
        return None
    speaker = name.split("-")[0]
    return Utterance(
        id=name,
        path=root / place,
        place=place,
        sample_rate=RATE,
        frames=frames,
        text=plain,
        speaker=speaker,
        gender=genders.get(speaker),
    )
