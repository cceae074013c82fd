"""Tasks in which direction in time matters: sounds, and the moments in them to classify.

Shapes: T samples.
"""

import zlib
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import speechasym
from recipes.claims.asymmetry import ramped, reverberation
from recipes.claims.asymmetry.common import RATE
from speechasym.annotations.intervals import SampleInterval
from speechasym.annotations.textgrid import read_textgrid
from speechasym.annotations.timit import read_samples
from speechasym.corpora.manifests import stream_cuts
from speechasym.errors import ItemError
from speechasym.language import phones

STOPS = {"b": "labial", "p": "labial", "d": "alveolar", "t": "alveolar", "g": "velar", "k": "velar"}
VOICED = "bdg"
SYLLABIC = {"em", "en", "eng", "el"}  # nuclei, though not vowels
GLIDES = {"L", "R", "W", "Y"}
PAUSES = {"h#", "pau"}
QUIET = 1e-7  # added to the power of 5 ms, so that silence does not rise
RT60 = 0.6  # s
CARRIERS: tuple[int | None, ...] = (
    400,
    700,
    1100,
    1600,
    2300,
    3200,
    4300,
    5600,
    None,
    None,
    None,
    None,
)
SNRS = (10.0, 20.0)  # dB, of ramped and damped sounds in noise
FAR = 0.04  # s, from a nucleus to a moment that is not near it


class Token(NamedTuple):
    """A moment of a sound, and its class."""

    file: str
    at: float  # s
    label: str
    speaker: str


class Task(NamedTuple):
    """Tokens of a question; their windows are frames at these distances from the token."""

    name: str
    question: str
    tokens: list[Token]
    offsets: range  # frames
    rate: int = 100  # frames a second


class Sentence(NamedTuple):
    """A recording of TIMIT with its times, in samples."""

    file: str
    speaker: str
    sound: NDArray[np.float32]
    phones: list
    words: list


def sentences(root: Path) -> list[Sentence]:
    """Read SI and SX sentences below a TIMIT folder, with hand-made times.

    Raises `ItemError` if there are none, or only one speaker.
    """
    out = []
    for path in sorted(p for p in root.rglob("*") if p.suffix.lower() == ".phn"):
        if path.stem.upper() in ("SA1", "SA2"):
            continue
        beside = {p.suffix.lower(): p for p in path.parent.glob(f"{path.stem}.*")}
        for suffix in (".wav", ".wrd"):
            if suffix not in beside:
                raise ItemError(path, f"has no {suffix} beside it", "Give the whole TIMIT folder")
        name = path.relative_to(root).with_suffix("").as_posix()
        sound = speechasym.load(beside[".wav"], RATE)[0]
        rows = read_samples(path), read_samples(beside[".wrd"])
        out.append(Sentence(name, path.parent.name, sound, *rows))
    if len({s.speaker for s in out}) < 2:
        problem = f"contains sentences of {len({s.speaker for s in out})} speakers"
        raise ItemError(root, problem, "Give a TIMIT folder with .PHN files of several speakers")
    return out


def aligned(cuts: Path, folder: Path) -> list[Sentence]:
    """Read recordings and the TextGrids that `speechasym align` wrote for them into a folder.

    Gaps between words are pauses, which stand before the phones. The last word of a recording is
    left out: that it is last is known from where the recording was cut.

    Raises `ItemError` if no cut has a TextGrid with words.
    """
    out = []
    for _, cut in stream_cuts(cuts):
        path = folder / f"{cut.id}.TextGrid"
        if not path.exists():
            continue
        tiers = read_textgrid(path)
        words = [row for row in tiers.get("words", []) if row.label]
        edges = [0.0, *(t for row in words for t in (row.start, row.end))]
        gaps = zip(edges[::2], edges[1::2], strict=False)
        pauses = [_in_samples(a, b, "pau") for a, b in gaps if b - a >= 0.1]
        sound = speechasym.load(cut, RATE)[0]
        rows = [_in_samples(row.start, row.end, row.label) for row in words[:-1]]
        said = [row for row in tiers.get("phones", []) if row.label]
        pauses += [_in_samples(row.start, row.end, row.label) for row in said]
        out.append(Sentence(cut.id, str(cut.supervisions[0].speaker), sound, pauses, rows))
    if not out:
        raise ItemError(
            folder, f"has no TextGrid of a cut in {cuts}", "Run `speechasym align` first"
        )
    return out


def _in_samples(start: float, end: float, label: str) -> SampleInterval:
    return SampleInterval(round(start * RATE), round(end * RATE), label)


def of_phones(data: Iterable[Sentence]) -> list[Task]:
    """Return tasks on stops and vowels, by the hand-made times."""
    voicing, place, nuclei, sides = [], [], [], []
    for s in data:
        rng = np.random.default_rng(zlib.crc32(s.file.encode()))
        for row in s.phones:
            if row.label in STOPS:
                at = row.start / RATE  # of the release
                voice = "voiced" if row.label in VOICED else "voiceless"
                voicing.append(Token(s.file, at, voice, s.speaker))
                place.append(Token(s.file, at, STOPS[row.label], s.speaker))
        vowels = [r for r in s.phones if phones.FOLD_39.get(r.label, "").upper() in phones.VOWELS
                  or r.label in SYLLABIC]  # fmt: skip
        centres = np.array([(r.start + r.end) / 2 / RATE for r in vowels])
        begin, end = (
            s.phones[i].end / RATE if i == 0 else s.phones[i].start / RATE for i in (0, -1)
        )
        for row, centre in zip(vowels, centres, strict=True):
            nuclei.append(Token(s.file, float(centre), "nucleus", s.speaker))
            size = row.end - row.start
            if size >= 0.06 * RATE:
                for share, label in ((0.2, "begin"), (0.8, "end")):
                    sides.append(Token(s.file, (row.start + share * size) / RATE, label, s.speaker))
        moments = rng.uniform(begin, end, 20 * len(vowels))
        far = [t for t in moments if len(centres) and abs(centres - t).min() >= FAR]
        nuclei += [Token(s.file, float(t), "elsewhere", s.speaker) for t in far[: len(vowels)]]
    return [
        Task("stop voicing", "b d g or p t k, from 60 ms before the release to 120 after",
             voicing, range(-6, 13, 2)),
        Task("stop place", "labial, alveolar or velar; the same windows", place, range(-6, 13, 2)),
        Task("syllable nuclei", "within a vowel's centre or at least 40 ms from any",
             nuclei, range(-8, 9, 2)),
        Task("side of a vowel", "a fifth after its begin or before its end, 40 ms around",
             sides, range(-4, 5, 1)),
    ]  # fmt: skip


def of_read_stops(data: Iterable[Sentence]) -> list[Task]:
    """Return tasks on stops that begin a word of an aligned recording, before a vowel or glide.

    The release is where the sound of the stop, as it was aligned, rises most within 5 ms.
    """
    voicing, place = [], []
    for s in data:
        starts = {row.start for row in s.words}
        said = [row for row in s.phones if row.label not in PAUSES]
        for row, following in pairwise(said):
            label, then = row.label.lower(), following.label.rstrip("012").upper()
            if label not in STOPS or row.start not in starts or following.start > row.end:
                continue
            if then in phones.VOWELS or then in GLIDES:
                at = release(s.sound, row.start, row.end) / RATE
                voice = "voiced" if label in VOICED else "voiceless"
                voicing.append(Token(s.file, at, voice, s.speaker))
                place.append(Token(s.file, at, STOPS[label], s.speaker))
    where = "at the begin of words, from 60 ms before the release to 120 after"
    return [
        Task("stop voicing, read books", f"b d g or p t k {where}", voicing, range(-6, 13, 2)),
        Task("stop place, read books", "labial, alveolar or velar; the same windows", place,
             range(-6, 13, 2)),
    ]  # fmt: skip


def release(x: NDArray[np.float32], start: int, end: int) -> int:
    """Return the sample between two where 5 ms are loudest against the 5 ms before, in dB."""
    size = RATE // 200
    power = np.diff(x, prepend=x[:1]).astype(np.float64) ** 2
    sums = np.concatenate([[0.0], np.cumsum(power)])
    at = np.arange(max(start, size), max(start, size, min(end, len(x) - size)) + 1)
    at = np.minimum(at, len(x) - size)
    before, after = sums[at] - sums[at - size], sums[at + size] - sums[at]
    return int(at[np.argmax(np.log(after + QUIET) - np.log(before + QUIET))])


def finer(task: Task) -> Task:
    """Return a task on stops with every second frame of 2 ms, from 20 ms before to 80 after."""
    question = f"{task.question.split(', from')[0]}, from 20 ms before the release to 80 after"
    return task._replace(
        name=f"{task.name}, 500 Hz", question=question, offsets=range(-10, 41, 2), rate=500
    )


def of_phrases(data: Iterable[Sentence]) -> list[Task]:
    """Return words before a pause against others, by what precedes their end by 80 ms.

    In the second task the others are the two words before each last one, so that about as much time
    has passed since the pause before.
    """
    every, near = [], []
    for s in data:
        pauses = {r.start for r in s.phones if r.label in PAUSES and r.end - r.start >= 0.1 * RATE}
        last = [i for i, row in enumerate(s.words)
                if any(abs(row.end - start) <= 0.02 * RATE for start in pauses)]  # fmt: skip
        for i, row in enumerate(s.words):
            token = Token(s.file, row.end / RATE, "last" if i in last else "other", s.speaker)
            every.append(token)
            if i in last or any(0 < k - i <= 2 for k in last):
                near.append(token)
    question = "last word before a pause or another, from 440 to 80 ms before its end"
    return [
        Task("phrase ends", question, every, range(-44, -7, 4)),
        Task("phrase ends, near", f"{question}; the two words before", near, range(-44, -7, 4)),
    ]


def joined(data: Iterable[Sentence], seed: int = 0) -> list[Sentence]:
    """Return one recording of each speaker's sentences, in an order that is drawn.

    What a feature keeps of the begin of a recording does then not tell where a sentence ends.
    """
    by: dict[str, list[Sentence]] = {}
    for s in data:
        by.setdefault(s.speaker, []).append(s)
    out = []
    for speaker, own in sorted(by.items()):
        rows: tuple[list, list] = ([], [])
        order, at = np.random.default_rng(seed).permutation(len(own)), 0
        for i in order:
            for kept, new in zip(rows, (own[i].phones, own[i].words), strict=True):
                kept += [r._replace(start=r.start + at, end=r.end + at) for r in new]
            at += len(own[i].sound)
        sound = np.concatenate([own[i].sound for i in order])
        out.append(Sentence(speaker, speaker, sound, *rows))
    return out


def of_rooms(data: Iterable[Sentence]) -> tuple[Task, dict[str, NDArray[np.float32]]]:
    """Return sentences in rooms, forward or reversed in time, and moments every 0.3 s in them."""
    tokens, sounds = [], {}
    for s in data:
        response = reverberation.room(RT60, zlib.crc32(s.file.encode()))
        begin, end = s.phones[0].end / RATE, s.phones[-1].start / RATE
        for reverse, label in enumerate(reverberation.DIRECTIONS):
            name = f"{s.file} {label}"
            sounds[name] = reverberation.reverberate(s.sound, response, bool(reverse))
            moments = np.arange(begin + 0.2, end - 0.2, 0.3)
            tokens += [Token(name, float(t), label, s.speaker) for t in moments]
    question = f"room forward or reversed (RT60 {RT60:g} s), from 0.2 s before to 0.2 s after"
    return Task("direction of a room", question, tokens, range(-20, 21, 4)), sounds


def of_envelopes(seeds: int = 6) -> tuple[Task, dict[str, NDArray[np.float32]]]:
    """Return ramped and damped sounds in white noise; their carriers stand for speakers."""
    tokens, sounds = [], {}
    for c, carrier in enumerate(CARRIERS):
        for seed in range(seeds):
            for half_life in (8, 16, 32):
                for make, label in ((ramped.ramped, "ramped"), (ramped.damped, "damped")):
                    rng = np.random.default_rng([c, seed, half_life])
                    snr = rng.uniform(SNRS[0], SNRS[-1])
                    x = make(carrier, 50, half_life, seed + 100 * c)
                    x = np.roll(x, int(rng.integers(800)))
                    level = np.sqrt(np.mean(x**2)) * 10 ** (-snr / 20)
                    name = f"carrier{c:02d}-{seed}-{half_life}-{label}"
                    noise = np.random.default_rng([c, seed, half_life, label == "ramped"])
                    y = np.concatenate([np.zeros(1600), x, np.zeros(1600)])
                    sounds[name] = (y + level * noise.standard_normal(len(y))).astype(np.float32)
                    tokens.append(Token(name, 0.3, label, f"carrier{c:02d}"))
    question = "ramped or damped, 8 cycles of 50 ms at 10 to 20 dB of noise, 0.2 s"
    return Task("ramped or damped", question, tokens, range(-10, 11, 2)), sounds
