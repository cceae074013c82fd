"""The embedded corpus: short sentences spoken on this machine by espeak-ng, with exact times.

Nineteen voices of two accents, sentences of a small grammar, mild rooms and noise, 16 kHz FLAC and
lhotse manifests. `train` and `dev` share sixteen voices, `test` has three of its own; no sentence
occurs twice. Everything is drawn from a seed: the same seed, length and versions give the same
bytes. What the times mean, and how they were checked: docs/mini.md.
"""

import hashlib
import io
import json
import shutil
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym import files
from speechasym.annotations.intervals import SampleInterval
from speechasym.audio.reading import add_noise
from speechasym.corpora import espeak, manifests
from speechasym.corpora.espeak import Phone, Spoken, Voice
from speechasym.corpora.manifests import Corpus, Utterance
from speechasym.corpora.report import Problem, Report
from speechasym.errors import ConfigError, OutputError, SynthesisError
from speechasym.files import locked_folder
from speechasym.language.phones import SILENCE
from speechasym.progress import progress
from speechasym.workers import run_tasks

SAMPLE_RATE = 16000  # Hz
SETS = {"train": 0.72, "dev": 0.12, "test": 0.16}  # share of the sentences
INDEX, UTTERANCES = "mini.json", "utterances.jsonl"
LONGEST_MINUTES = 240.0
MEAN_SECONDS = 2.46  # of a sentence with its silences, measured; only the plan's size rests on it
PACKAGES = ("espeakng-loader", "numpy", "soundfile", "soxr")


class Speaker(NamedTuple):
    """One voice, and where it is heard."""

    held_out: bool
    accent: str  # "us" or "gb"
    gender: str
    variant: str  # of espeak-ng; only such without echo, whose pauses are digital silence
    pitch: int  # middle of espeak's 0..100
    rate: int  # words a minute


SPEAKERS = {
    "us-m1": Speaker(False, "us", "male", "m1", 45, 160),
    "us-m2": Speaker(False, "us", "male", "m7", 60, 185),
    "us-f1": Speaker(False, "us", "female", "f1", 50, 170),
    "us-f2": Speaker(False, "us", "female", "belinda", 40, 195),
    "gb-m1": Speaker(False, "gb", "male", "m3", 55, 175),
    "gb-m2": Speaker(False, "gb", "male", "m4", 35, 190),
    "gb-f1": Speaker(False, "gb", "female", "Annie", 55, 165),
    "us-m3": Speaker(False, "us", "male", "Denis", 50, 165),
    "us-m4": Speaker(False, "us", "male", "quincy", 50, 180),
    "us-m5": Speaker(False, "us", "male", "Nguyen", 45, 175),
    "us-f4": Speaker(False, "us", "female", "Andrea", 45, 180),
    "us-f5": Speaker(False, "us", "female", "steph", 50, 160),
    "gb-m4": Speaker(False, "gb", "male", "paul", 50, 170),
    "gb-m5": Speaker(False, "gb", "male", "ed", 40, 180),
    "gb-f3": Speaker(False, "gb", "female", "anika", 50, 190),
    "gb-f4": Speaker(False, "gb", "female", "grandma", 45, 160),
    "us-f3": Speaker(True, "us", "female", "shelby", 50, 175),
    "gb-m3": Speaker(True, "gb", "male", "m8", 60, 165),
    "gb-f2": Speaker(True, "gb", "female", "aunty", 45, 185),
}
LANGUAGE = {"us": "en-us", "gb": "gmw/en"}  # espeak's names of the accents; en-gb takes no variant

# espeak's mnemonic -> one of the 39 phones of Lee & Hon (phones.FOLD_39). Phones that espeak makes
# of two (the r-coloured vowels of "chair", "near", "car") are not here, nor are such words below.
_SHARED = """
p p|b b|t t|d d|k k|g g|tS ch|dZ jh|f f|v v|T th|D dh|s s|z z|S sh|Z sh|h hh|m m|n n|N ng|l l|r r
r- r|w w|j y|@L l|I ih|I2 ih|I# ih|i iy|i: iy|E eh|a ae|V ah|a# ah|@ ah|@2 ah|0 aa|O: aa|U uh
u: uw|3: er|eI ey|aI ay|OI oy|oU ow|aU aw|aa ae
"""
_BOTH = dict(entry.split() for entry in _SHARED.strip().replace("\n", "|").split("|"))
PHONE_MAP = {
    "us": _BOTH | {"3": "er", "O2": "aa", "t#": "dx"},
    "gb": _BOTH | {"3": "ah"},  # no r in "water"
}
LINK = ";"  # a glide between two vowels, as in "the egg": stays with the first of them
STOPS = frozenset(
    {"p", "b", "t", "d", "k", "g", "ch", "jh"}
)  # whose closure comes before espeak's event
CLOSURE_SECONDS = 0.005, 0.05  # shorter zeros are none; longer ones after a pause are the pause's

# No word has an l that a consonant or pause follows ("milk", "girl"): espeak-ng sounds such an l as
# the end of its vowel, and its event comes when it is over.
BEINGS = "boy lady man woman baby sister teacher king dog cat bird cow chicken"
THINGS = "lamp box book toy cake egg apple jug ship bridge thing"
FOODS = "bread soup juice coffee cheese"
PLACES = {
    "in": "kitchen house village river shop box",
    "on": "table beach mountain bridge path ship",
    "under": "table bridge window apple",
    "behind": "house shop box window",
}
QUALITIES = "little big good nice happy hungry young new clean thin"
COLOURS = "red blue green yellow white black brown"
SEEN = "sees likes finds watches follows loves catches saw found took"
DONE = "sees wants finds buys takes pushes carries washes measures saw found took made"
EATEN = "likes wants buys makes made"
TIMES = "today now again slowly quickly"


def sentence(rng: np.random.Generator) -> str:
    """A sentence of the grammar: lower case, words apart by one space, no full stop."""
    form = rng.integers(4)
    subject = _pick(rng, "he she") if rng.random() < 0.3 else _noun(rng, BEINGS, QUALITIES)
    if form == 0:
        parts = [subject, _pick(rng, SEEN), _noun(rng, BEINGS, QUALITIES)]
    elif form == 1:
        parts = [subject, _pick(rng, DONE), _noun(rng, THINGS, f"{QUALITIES} {COLOURS}")]
    elif form == 2:
        food = f"{_pick(rng, 'the my his this')} {_pick(rng, FOODS)}"
        parts = [subject, _pick(rng, EATEN), food, "with", _noun(rng, BEINGS, QUALITIES)]
    else:
        was = _pick(rng, "was is")
        parts = [subject, was, _pick(rng, "very not"), _pick(rng, QUALITIES)]
    if form == 3 or rng.random() < 0.4:
        where = _pick(rng, " ".join(PLACES))
        parts += [where, "the", _pick(rng, PLACES[where])]
    if rng.random() < 0.25:
        parts.append(_pick(rng, TIMES))
    return " ".join(parts)


def _noun(rng: np.random.Generator, nouns: str, qualities: str) -> str:
    words = [_pick(rng, nouns)]
    if rng.random() < 0.6:
        words.insert(0, _pick(rng, qualities))
    first = _pick(rng, "the the a my his her this that")
    if first == "a" and words[0][0] in "aeiou":
        first = "an"
    return " ".join([first, *words])


def _pick(rng: np.random.Generator, words: str) -> str:
    choices = words.split()
    return choices[rng.integers(len(choices))]


class Line(NamedTuple):
    """A sentence to be spoken."""

    number: int  # of the whole corpus
    name: str
    set: str
    speaker: str
    text: str


def plan(seed: int, minutes: float) -> list[Line]:
    """Who says what: about so many minutes, every sentence once, `test` by held-out voices.

    Raises:
        ConfigError: seed or minutes out of range.
    """
    if seed < 0:
        raise ConfigError("seed", f"{seed} is negative", "Use 0 or more")
    if not 0 < minutes <= LONGEST_MINUTES:
        raise ConfigError(
            "minutes", f"{minutes} is not in 0..{LONGEST_MINUTES:g}", "About 25 make a small corpus"
        )
    rng = np.random.default_rng([seed, 0])
    planned: list[Line] = []
    texts: set[str] = set()
    for name, share in SETS.items():
        voices = [key for key, who in SPEAKERS.items() if who.held_out == (name == "test")]
        for i in range(max(1, round(share * minutes * 60 / MEAN_SECONDS))):
            while (text := sentence(rng)) in texts:
                pass
            texts.add(text)
            speaker = voices[i % len(voices)]
            utterance = f"mini-{name}-{speaker}-{i:05d}"
            planned.append(Line(len(planned), utterance, name, speaker, text))
    return planned


def labels(
    spoken: Spoken, accent: str, lead: int, length: int
) -> tuple[list[SampleInterval], list[SampleInterval]]:
    """The words, and the phones that tile the whole sound, pauses as `sil`.

    A phone begins at its event and ends at the next one's. A stop's event is its burst, so that
    its closure, digital silence before it, is added to it.

    Args:
        spoken: what espeak-ng said. accent: a key of `PHONE_MAP`.
        lead: samples at 16 kHz put before it. length: samples at 16 kHz of the whole.

    Raises:
        SynthesisError: a phone that the map does not have.
    """
    scale = SAMPLE_RATE / spoken.sample_rate
    begun: list[tuple[str, int, int]] = [(SILENCE, 0, -1)]  # symbol, start, word
    for number, phone in enumerate(spoken.phones):
        if phone.mnemonic == LINK:
            continue
        symbol = _symbol(phone, accent)
        at = phone.sample
        if symbol in STOPS:
            at -= _closure(spoken, number)
        if symbol != SILENCE or begun[-1][0] != SILENCE:
            begun.append((symbol, lead + round(at * scale), phone.word))
    if begun[1][1] == 0:  # no silence comes before the first phone
        del begun[0]
    ends = [start for _, start, _ in begun[1:]] + [length]
    phones = [
        SampleInterval(at, end, symbol) for (symbol, at, _), end in zip(begun, ends, strict=True)
    ]
    words = []
    for number, text in enumerate(spoken.words):
        own = [p for p, (_, _, word) in zip(phones, begun, strict=True) if word == number]
        words.append(SampleInterval(own[0].start, own[-1].end, text))
    return words, phones


def _symbol(phone: Phone, accent: str) -> str:
    if phone.mnemonic in espeak.PAUSES:
        return SILENCE
    try:
        return PHONE_MAP[accent][phone.mnemonic]
    except KeyError:
        raise SynthesisError(
            f"espeak-ng's phone {phone.mnemonic!r}",
            f"is not in the map of the accent {accent}",
            "Add it to PHONE_MAP in corpora/mini.py, or leave the word out",
        ) from None


def _closure(spoken: Spoken, number: int) -> int:
    """Samples of digital silence between the phone before and this one's event."""
    end = spoken.phones[number].sample
    before = spoken.phones[number - 1] if number else None
    shortest, longest = (round(seconds * spoken.sample_rate) for seconds in CLOSURE_SECONDS)
    start = before.sample if before else 0
    if before is None or before.word < 0:
        start = max(start, end - longest)
    loud = np.flatnonzero(spoken.samples[start:end])
    silent = end - start - (int(loud[-1]) + 1 if loud.size else 0)
    return silent if silent >= shortest else 0


def _say(line: Line, seed: int) -> tuple[NDArray[np.int16], dict[str, Any]]:
    """One utterance: its samples (T,) at 16 kHz and what is known about it."""
    import soxr

    rng = np.random.default_rng([seed, 1, line.number])
    who = SPEAKERS[line.speaker]
    voice = Voice(
        espeak=f"{LANGUAGE[who.accent]}+{who.variant}",
        pitch=who.pitch + int(rng.integers(-8, 9)),
        words_per_minute=who.rate + int(rng.integers(-12, 13)),
    )
    spoken = espeak.say(f"{line.text}.", voice)
    if spoken.words != line.text.split():
        raise SynthesisError(repr(line.text), f"was said as {spoken.words}", "Use other words")
    dry = spoken.samples.astype(np.float32) / 32768
    dry = soxr.resample(dry, spoken.sample_rate, SAMPLE_RATE, "HQ")  # no delay: tested
    lead, trail = (round(rng.uniform(0.1, 0.3) * SAMPLE_RATE) for _ in range(2))
    dry = np.pad(dry, (lead, trail))
    room = {"reverberation_s": rng.uniform(0.1, 0.3), "direct_db": rng.uniform(10, 20)}
    level, snr, tilt = rng.uniform(-30, -22), rng.uniform(20, 40), rng.uniform(0, 1)
    x = _in_room(dry, **room, rng=rng)
    x *= 10 ** (level / 20) / np.sqrt(np.mean(x**2))
    x = add_noise(x, _noise(len(x), tilt, rng), snr).astype(np.float64)
    x /= max(1.0, float(np.abs(x).max()) / 0.99)
    words, phones = labels(spoken, who.accent, lead, len(x))
    known = {
        **line._asdict(), "samples": len(x), "words": words, "phones": phones,
        "conditions": {
            "espeak": voice.espeak, "pitch": voice.pitch, "rate": voice.words_per_minute,
            "snr_db": round(snr, 2), **{key: round(value, 3) for key, value in room.items()},
        },
    }  # fmt: skip
    return np.round(x * 32767).astype(np.int16), known


def _in_room(
    x: NDArray, reverberation_s: float, direct_db: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """x with a decaying tail of noise from 3 ms on; the direct sound keeps its time and size.

    Args:
        reverberation_s: time to fall by 60 dB. direct_db: energy of direct over reverberant.
    """
    time = np.arange(round(reverberation_s * SAMPLE_RATE)) / SAMPLE_RATE
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / reverberation_s) * (time >= 0.003)
    tail *= 10 ** (-direct_db / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1
    size = 1 << (len(x) + len(tail)).bit_length()
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(tail, size), size)[: len(x)]


def _noise(length: int, tilt: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Noise (length,) whose power falls as frequency**-tilt: white 0, pink 1."""
    size = 1 << length.bit_length()
    hertz = np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 50)
    return np.fft.irfft(np.fft.rfft(rng.standard_normal(size)) * hertz ** (-tilt / 2))[:length]


def _make(task: tuple[Line, int, Path]) -> dict[str, Any]:
    """Speak one utterance into its file; returns what is known about it."""
    import soundfile

    line, seed, folder = task
    x, known = _say(line, seed)
    flac = io.BytesIO()
    soundfile.write(flac, x, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    path = f"audio/{line.set}/{line.speaker}/{line.name}.flac"
    with files.atomic(folder / path) as file:
        file.write(flac.getvalue())
    return known | {"path": path, "sha256": hashlib.sha256(flac.getvalue()).hexdigest()}


def prepare(
    root: str | Path,
    *,
    seed: int = 0,
    minutes: float = 25.0,
    workers: int = 2,
    overwrite: bool = False,
    show_progress: bool = False,
) -> Corpus:
    """Make the corpus in a folder, all of it or nothing; its lhotse manifests and their report.

    The folder gets `audio/SET/SPEAKER/NAME.flac`, `utterances.jsonl` with the times in samples, and
    `mini.json` with the sha256 of each. Where it holds the same corpus already, nothing is made
    again. `corpora.prepare("mini", root, root)` writes the manifests beside them.

    Args:
        root: a new or empty folder.
        seed: of sentences, voices' variation, rooms and noise.
        minutes: about how long, all sets together.
        workers: processes.
        overwrite: replace another mini corpus there.
        show_progress: a bar, or lines, on stderr.

    Raises:
        ConfigError: an option out of range.
        OutputError: the folder holds something else, or cannot be written.
        SynthesisError: espeak-ng cannot be loaded.

    Example:
        >>> cuts = mini.prepare("corpora/mini").sets["train"].cuts
    """
    # a link's target is replaced, not the link
    root = manifests.check_writable(Path(root).resolve())
    planned = plan(seed, minutes)
    if workers < 1:
        raise ConfigError("workers", f"{workers} is less than 1", "Use 1 or more")
    versions = {name: _version(name) for name in PACKAGES}
    head = {
        "format": 1, "seed": seed, "minutes": float(minutes), "sample_rate": SAMPLE_RATE,
        "versions": {"espeak-ng": espeak.version()} | versions,
    }  # fmt: skip
    if not _holds(root, head, overwrite):
        _build(root, head, planned, workers, show_progress)
    return read(root)


def _holds(root: Path, head: dict[str, Any], overwrite: bool) -> bool:
    """Is this very corpus there, whole? Raises `OutputError` where something else must not go."""
    if not root.exists() or not any(root.iterdir()):
        return False
    try:
        index = json.loads((root / INDEX).read_text("utf-8"))
        same = all(index[key] == head[key] for key in head)
        whole = all(files.sha256(root / name) == digest for name, digest in index["sha256"].items())
    except (OSError, ConfigError, ValueError, LookupError, TypeError, AttributeError):
        same = whole = False
        if not (root / INDEX).exists():
            raise OutputError(
                root, "holds no mini corpus, but other files", "Choose a new or empty folder"
            ) from None
    if not (same and whole) and not overwrite:
        problem = "has another seed, length or version" if whole else "was changed or damaged"
        raise OutputError(
            root, f"holds a mini corpus that {problem}", "Choose another folder, or overwrite it"
        )
    if not (same and whole):
        own = {"audio", INDEX, UTTERANCES, "report.txt", "report.json"}
        own |= {f"{name}_{part}.jsonl.gz" for name in SETS for part in manifests.PARTS}
        if other := sorted({path.name for path in root.iterdir()} - own):
            raise OutputError(
                root / other[0], "would be lost, if the corpus beside it is overwritten", "Move it"
            )
    return same and whole


def _build(
    root: Path, head: dict[str, Any], planned: list[Line], workers: int, show_progress: bool
) -> None:
    """Everything into a folder beside `root`, which then takes its place."""
    part = root.with_name(f".{root.name}{files.SUFFIX}")
    with locked_folder(part):
        try:
            for old in part.iterdir():  # of a run that was killed
                if old.is_dir():
                    shutil.rmtree(old)
                else:
                    old.unlink()
            made = []
            tasks = [(line, head["seed"], part) for line in planned]
            # in their own processes even if only one: each forks for every utterance, and must
            # hold no locks of this one
            preload = [__name__, "soxr", "soundfile"]
            with progress(len(planned), "mini", show_progress) as step:
                for known in run_tasks(_make, tasks, workers, preload=preload):
                    made.append(known)
                    step()
            made.sort(key=lambda known: known["number"])
            with files.atomic(part / UTTERANCES) as file:
                file.writelines(f"{json.dumps(known)}\n".encode() for known in made)
            digests = {known["path"]: known["sha256"] for known in made}
            digests[UTTERANCES] = files.sha256(part / UTTERANCES)
            files.write_json(part / INDEX, head | {"sha256": digests})
            _replace(part, root)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


def _replace(part: Path, root: Path) -> None:
    """The finished folder to its place; an old one leaves it first."""
    old = root.with_name(f".{root.name}.old")
    try:
        if root.exists():
            shutil.rmtree(old, ignore_errors=True)
            root.rename(old)
        part.rename(root)
    except OSError as error:
        raise OutputError(
            root, f"cannot be written ({error.strerror})", "Choose a folder that you may write to"
        ) from error
    shutil.rmtree(old, ignore_errors=True)


def read(root: str | Path) -> Corpus:
    """The corpus of a folder that `prepare` has made.

    Raises:
        ConfigError: there is none.
    """
    root = Path(root).absolute()
    try:
        index = json.loads((root / INDEX).read_text("utf-8"))
        rows = [json.loads(row) for row in (root / UTTERANCES).read_text("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise ConfigError(root, "no mini corpus is there", "Make it with `prepare mini`") from error
    sets = {name: [_utterance(root, row) for row in rows if row["set"] == name] for name in SETS}
    return Corpus(
        sets={name: manifests.manifests_of(own) for name, own in sets.items()},
        report=Report(
            corpus="mini",
            split=f"seed {index['seed']}; test has speakers of its own, each set its own sentences",
            counts={name: manifests.count_of(own) for name, own in sets.items()},
            published={},
            problems=_notes(index, sets),
        ),
    )


def _utterance(root: Path, row: dict[str, Any]) -> Utterance:
    who = SPEAKERS[row["speaker"]]
    return Utterance(
        id=row["name"],
        path=root / row["path"],
        place=row["path"],
        sample_rate=SAMPLE_RATE,
        frames=row["samples"],
        text=row["text"],
        speaker=row["speaker"],
        gender=who.gender,
        words=tuple(SampleInterval(*label) for label in row["words"]),
        phones=tuple(SampleInterval(*label) for label in row["phones"]),
        more={"accent": who.accent} | {key: str(v) for key, v in row["conditions"].items()},
    )


def _notes(index: dict[str, Any], sets: dict[str, list[Utterance]]) -> list[Problem]:
    """What else the report tells: different words and phones, silence, versions, one checksum."""
    notes = []
    for name, own in sets.items():
        words = {word.label for u in own for word in u.words}
        phones = [label for u in own for label in u.phones]
        silent = sum(p.end - p.start for p in phones if p.label == SILENCE) / SAMPLE_RATE
        detail = (
            f"{len(words)} different words, {len({p.label for p in phones})} different phones, "
            f"{silent / 60:.2f} minutes of silence"
        )
        notes.append(Problem("note", "contents", name, detail))
    made_by = ", ".join(f"{name} {version}" for name, version in index["versions"].items())
    notes.append(Problem("note", "made by", INDEX, made_by))
    notes.append(Problem("note", "sha256 of all sounds and times", INDEX, checksum(index)))
    return notes


def checksum(index: dict[str, Any]) -> str:
    """One sha256 of the files that an index (the content of mini.json) names."""
    rows = "".join(f"{digest}  {name}\n" for name, digest in sorted(index["sha256"].items()))
    return hashlib.sha256(rows.encode()).hexdigest()


def _version(name: str) -> str:
    try:
        return installed(name)
    except PackageNotFoundError:
        return "unknown"
