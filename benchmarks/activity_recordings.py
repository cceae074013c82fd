"""Recordings with known speech, for measurements of speech activity: LibriSpeech and TIMIT, noise.

Where LibriSpeech has speech: within the words of a forced alignment by the shipped model, gaps
below `GAP_S` included, edges trimmed to where the clean recording is less than `TRIM_DB` below its
speech. Where it has none: outside of the words, and more than `QUIET_DB` below. The rest (breath,
clicks, misaligned ends) is not scored. TIMIT: h#, pau, epi of the hand-made labels have none.

Shapes: T samples, F frames of 10 ms.
"""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RATE, FRAME = 16000, 160
GAP_S, TRIM_DB, QUIET_DB = 0.1, 35.0, 25.0
SHORTEST_S, LONGEST_S = 5.0, 17.0  # of an utterance
UTTERANCES = 6  # of each reader
NOISES = ("city", "coffee-shop", "rain", "train", "waves", "wind")
# noise with the speech at a ratio in dB; "beside": none with the speech, 10 dB lower before, after
CONDITIONS = ("20", "10", "5", "0", "beside")
SILENT = ("pau", "epi", "h#")
ROOM_DB = -75.0  # of full scale: noise of the room; one recording in four has none
SOFTER_DB = 20.0  # recordings are softer by up to so much
AUDIO = (".flac", ".opus")


class Utterance(NamedTuple):
    """A recording of one reader, and where its words are."""

    reader: str
    path: str
    text: str
    words: list[list[float]]  # start and end in s


class Mixture(NamedTuple):
    """Samples, and what each frame is."""

    reader: str
    noise: str  # "none" for clean
    condition: str
    x: NDArray[np.float32]  # (T,)
    speech: NDArray[np.int8]  # (F,) 1 speech, 0 none, -1 not scored
    silence: NDArray[np.bool_]  # (F,) of the stretches without noise and speech


def utterances(folder: Path, cache: Path) -> dict[str, list[Utterance]]:
    """{reader: its first utterances of a middling length}, aligned once, then read from `cache`."""
    import soundfile

    from speechasym import Recogniser, SpeechAsymError

    if cache.exists():
        rows = [Utterance(*row) for row in json.loads(cache.read_text())]
        readers = dict.fromkeys(row.reader for row in rows)
        return {reader: [row for row in rows if row.reader == reader] for reader in readers}
    recogniser, found = Recogniser(), {}
    for reader in sorted(path for path in folder.iterdir() if path.is_dir()):
        row: list[Utterance] = []
        for path in sorted(p for p in reader.rglob("*") if p.suffix in AUDIO):
            about = soundfile.info(path)
            if len(row) == UTTERANCES or not (
                SHORTEST_S <= about.frames / about.samplerate <= LONGEST_S
            ):
                continue
            lines = next(path.parent.glob("*.trans.txt")).read_text().splitlines()
            text = dict(line.split(" ", 1) for line in lines)[path.stem]
            try:
                words = recogniser.align(path, text).tiers["words"]
            except SpeechAsymError as error:
                print(error)
                continue
            row.append(Utterance(reader.name, str(path), text, [[w.start, w.end] for w in words]))
        found[reader.name] = row
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text(json.dumps([row for rows in found.values() for row in rows]))
    return found


def frame_db(x: NDArray) -> NDArray[np.float64]:
    """Mean power of each frame in dB."""
    frames = x[: len(x) // FRAME * FRAME].astype(np.float64).reshape(-1, FRAME)
    return 10 * np.log10(np.square(frames).mean(1) + 1e-12)


def labels(x: NDArray, words: list[list[float]]) -> NDArray[np.int8]:
    """Samples (T,) and words -> (F,) 1 speech, 0 none, -1 not scored."""
    level = np.convolve(frame_db(x), np.ones(3) / 3, "same")
    inside = np.zeros(len(level), bool)
    phrases: list[list[float]] = []
    for start, end in words:
        if phrases and start - phrases[-1][1] < GAP_S:
            phrases[-1][1] = end
        else:
            phrases.append([start, end])
    loud = [level[round(100 * a) : round(100 * b)] for a, b in phrases]
    spoken = float(np.percentile(np.concatenate(loud), 75))
    for start, end in phrases:
        a, b = round(100 * start), min(round(100 * end), len(level))
        heard = np.flatnonzero(level[a:b] > spoken - TRIM_DB)
        if len(heard):
            inside[a + heard[0] : a + heard[-1] + 1] = True
    return np.where(inside, 1, np.where(level < spoken - QUIET_DB, 0, -1)).astype(np.int8)


def noise(folder: Path, name: str) -> NDArray[np.float32]:
    """A noise, as loud as full scale's root mean square of 1, its ends joined."""
    from speechasym import load

    x, _ = load(folder / f"{name}.flac", RATE)
    fade = np.linspace(0, 1, RATE // 2, dtype=np.float32)
    x[: len(fade)] = x[: len(fade)] * fade + x[-len(fade) :] * (1 - fade)
    x = x[: -len(fade)]
    return (x / np.sqrt(np.mean(np.square(x, dtype=np.float64)))).astype(np.float32)


def mix(
    reader: str, x: NDArray, speech: NDArray, name: str, condition: str,
    sound: NDArray | None,
) -> Mixture:  # fmt: skip
    """Silence in half of them, noise alone, the utterance with noise, noise alone.

    Lengths and loudness are drawn. The ratio is that of the mean powers of the noise and of the
    frames with speech.
    """
    rng = np.random.default_rng(zlib.crc32(f"{reader} {name} {condition}".encode()))
    size = len(speech) * FRAME
    before, after = (round(100 * rng.uniform(*s)) for s in ((1, 5), (2, 4)))
    silent = round(100 * rng.uniform(1, 2)) if rng.random() < 0.5 else 0
    room = 10 ** (ROOM_DB / 20) if rng.random() < 0.75 else 0.0
    total = silent + before + len(speech) + after
    spoken = x[:size].reshape(-1, FRAME)[speech == 1].astype(np.float64)
    power = float(np.square(spoken).mean())
    y = room * rng.standard_normal(total * FRAME)
    first = (silent + before) * FRAME
    y[first : first + size] = x[:size]
    quiet = np.zeros(total, bool)
    quiet[:silent] = True
    if sound is None:
        quiet[silent : silent + before] = quiet[-after:] = True
    else:
        begin = rng.integers(len(sound))
        ratio = 10.0 if condition == "beside" else float(condition)
        n = np.take(sound, np.arange(begin, begin + len(y)), mode="wrap").astype(np.float64)
        n *= np.sqrt(power * 10 ** (-ratio / 10))
        n[: silent * FRAME] = 0
        if condition == "beside":
            n[first : first + size] = 0
        y += n
    y *= 10 ** (-rng.uniform(0, SOFTER_DB) / 20) / max(1.0, np.abs(y).max())
    parts = [np.zeros(silent + before, np.int8), speech, np.zeros(after, np.int8)]
    return Mixture(reader, name, condition, y.astype(np.float32), np.concatenate(parts), quiet)


Spoken = tuple[NDArray[np.float32], NDArray[np.int8]]


def mixtures(
    readers: dict[str, list[Spoken]], folder: Path, conditions: tuple[str, ...] = CONDITIONS,
    every: int = 1,
) -> Iterator[Mixture]:  # fmt: skip
    """Clean, and each noise in each condition, of each reader; utterances take turns.

    Args:
        readers: samples and labels of the utterances of each.
        every: a reader has one noise in as many, and the next reader the next ones.
    """
    sounds = {name: noise(folder, name) for name in NOISES}
    for number, (reader, rows) in enumerate(readers.items()):
        chosen = NOISES[number % every :: every]
        kinds = [("none", "clean")] + [(n, c) for n in chosen for c in conditions]
        for count, (name, condition) in enumerate(kinds):
            x, speech = rows[count % len(rows)]
            yield mix(reader, x, speech, name, condition, sounds.get(name))


def librispeech(folder: Path, cache: Path) -> dict[str, list[Spoken]]:
    """{reader: samples and labels of clean utterances}."""
    from speechasym import load

    found = utterances(folder, cache)
    spoken: dict[str, list[Spoken]] = {reader: [] for reader in found}
    for reader, rows in found.items():
        for row in rows:
            x, _ = load(row.path, RATE)
            spoken[reader].append((x, labels(x, row.words)))
    return spoken


def timit(root: Path) -> dict[str, list[Spoken]]:
    """{speaker: samples and labels of the sentences} without SA1 and SA2."""
    from speechasym import load

    spoken: dict[str, list[Spoken]] = {}
    for path in sorted(root.rglob("*.WAV")):
        if path.stem.startswith("SA"):
            continue
        x, _ = load(path, RATE)
        speech = np.ones(len(x) // FRAME, np.int8)
        for line in path.with_suffix(".PHN").read_text().splitlines():
            start, end, phone = line.split()
            if phone in SILENT and (phone == "h#" or int(end) - int(start) >= GAP_S * RATE):
                speech[round(int(start) / FRAME) : round(int(end) / FRAME)] = 0
        spoken.setdefault(path.parent.name, []).append((x, speech))
    return spoken
