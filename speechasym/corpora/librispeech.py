"""LibriSpeech: SUBSET/READER/CHAPTER/*.flac or *.opus, and READER-CHAPTER.trans.txt [1].

[1] V. Panayotov, G. Chen, D. Povey, S. Khudanpur, "Librispeech: an ASR corpus based on public
    domain audio books", ICASSP 2015.
"""

import re
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from speechasym.corpora import checks
from speechasym.corpora.manifests import Corpus, Utterance, corpus_of
from speechasym.corpora.report import Problems
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
ENDINGS = ("flac", "wav", "sph", "opus", "ogg")  # in order of preference
LOSSY = {"opus", "ogg"}

_AUDIO = re.compile(rf"([0-9]+)-([0-9]+)-([0-9]+)\.({'|'.join(ENDINGS)})", re.IGNORECASE)
_TEXT = re.compile(r"[0-9]+-[0-9]+\.trans\.txt", re.IGNORECASE)
_Texts = dict[tuple[str, str], tuple[str, str]]  # {(subset, id): (text, place)}


def prepare(
    root: str | Path, *, subsets: Collection[str] | None = None, keep_duplicates: bool = False,
    show_progress: bool = False,
) -> Corpus:  # fmt: skip
    """Return LibriSpeech as lhotse manifests: a set for each subset found below `root`.

    Only the headers of recordings are read. Texts are reduced to 28 letters (`language.letters`).

    Args:
        root: the folder of the subsets, one above it, or one subset.
        subsets: names of the subsets to prepare; None: all.
        keep_duplicates: keep utterances with the same samples as earlier ones.
        show_progress: show progress on stderr.

    Raises:
        CorpusError: the folder contains no LibriSpeech.
        ConfigError: a subset is missing.
    """
    root, places = checks.files_below(root)
    problems = Problems()
    audio: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)  # (subset, id): {form: place}
    texts: _Texts = {}
    tables = []
    for place in places:
        path = PurePosixPath(place)
        if match := _AUDIO.fullmatch(path.name):
            key = _subset(root, path), path.name[: match.end(3)]
            if audio[key].setdefault(match[4].lower(), place) != place:
                problems.add("error", "duplicate id", place, key[1])
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
        problem = f"{missing[0]!r} is not below {root}"
        raise ConfigError("subsets", problem, f"Use {', '.join(available)}")
    genders = _speakers(root, tables, problems)
    selected = sorted(key for key in {*audio, *texts} if key[0] in names)
    sets: dict[str, list[Utterance]] = {name: [] for name in names}
    with progress(len(selected), "LibriSpeech", show_progress) as step:
        for key in selected:
            utterance = _read(root, key[1], audio.get(key, {}), texts.get(key), genders, problems)
            if utterance is not None:
                sets[key[0]].append(utterance)
            step()
    speakers = {utterance.speaker for part in sets.values() for utterance in part}
    for speaker in sorted(speakers - set(genders)) if genders else ():
        problems.add("warning", "reader not in SPEAKERS.TXT", speaker)
    local = [name for name in names if name not in PUBLISHED]
    split = "the corpus's own subsets"
    if local:
        split = f"local split, no official subsets: {', '.join(local)}; say so beside every figure"
    published = {name: PUBLISHED[name] for name in names if name in PUBLISHED}
    sets = checks.check_sets(sets, problems, keep_duplicates)
    return corpus_of("librispeech", split, sets, problems, published)


def _subset(root: Path, path: PurePosixPath) -> str:
    """Return the name of the folder above reader and chapter, which may be the root."""
    return path.parts[-4] if len(path.parts) >= 4 else root.name


def _transcripts(root: Path, place: str, subset: str, texts: _Texts, problems: Problems) -> None:
    """Read a file of lines `ID TEXT` into `texts`, each line decoded by itself.

    Id and text are separated by spaces or tabs.
    """
    raw = checks.read_bytes(root / place, place, "transcript", problems)
    for number, line in enumerate(map(bytes.strip, raw.splitlines()), 1):
        if not line:
            continue
        where = f"{place}:{number}"
        name = line.split(None, 1)[0].decode("utf-8", "replace")
        if (subset, name) in texts:
            problems.add("error", "two texts for one id", where, name)
            continue
        try:
            texts[subset, name] = line.decode()[len(name) :].strip(), where
        except UnicodeDecodeError as error:
            detail = f"byte {error.start} of the line is {line[error.start]:#04x}"
            problems.add("error", "transcript not UTF-8", where, detail)
            texts[subset, name] = "", ""  # so that its audio is not reported as being without text


def _speakers(root: Path, tables: list[str], problems: Problems) -> dict[str, str]:
    """Return {reader: gender} of the files SPEAKERS.TXT."""
    genders = {}
    if not tables:
        problems.add("warning", "no SPEAKERS.TXT, genders unknown", "all")
    for place in tables:
        raw = checks.read_bytes(root / place, place, "SPEAKERS.TXT", problems, "warning")
        for line in raw.decode("utf-8", "replace").splitlines():
            fields = [field.strip() for field in line.split("|")]
            if not line.startswith(";") and len(fields) >= 2 and fields[1].upper() in ("F", "M"):
                genders[fields[0]] = "female" if fields[1].upper() == "F" else "male"
    return genders


def _read(
    root: Path,
    name: str,
    audio: dict[str, str],
    text: tuple[str, str] | None,
    genders: dict[str, str],
    problems: Problems,
) -> Utterance | None:
    """Return one utterance, or None if an error leaves it out."""
    if not audio:
        if text is not None and text != ("", ""):
            problems.add("error", "text without audio", text[1], name)
        return None
    place = next(audio[ending] for ending in ENDINGS if ending in audio)
    if len(audio) > 1 and LOSSY & audio.keys():
        others = ", ".join(path for path in audio.values() if path != place)
        problems.add("error", "copies of one recording with different samples", place, others)
        return None
    if len(audio) > 1:
        problems.add("note", "several copies of one recording", place, f"{place} is used")
    frames = checks.usable_frames(root / place, place, RATE, problems)
    if text is None:
        problems.add("error", "audio without text", place)
        return None
    if text == ("", ""):
        return None
    plain, unknown = normalise(text[0])
    if unknown:
        problems.add("error", "text beyond the 28 letters", text[1], f"{name}: {unknown}")
        return None
    if not plain:
        problems.add("error", "text of an utterance empty", text[1], name)
        return None
    if not frames:
        return None
    speaker = name.split("-")[0]
    return Utterance(
        id=name, path=root / place, place=place, sample_rate=RATE, frames=frames, text=plain,
        speaker=speaker, gender=genders.get(speaker),
    )  # fmt: skip
