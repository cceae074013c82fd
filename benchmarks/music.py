"""How much of music without singing does `segments` call speech? Music made from numbers.

    python benchmarks/music.py [--pieces 8] [--seconds 30]

Organ, strings with vibrato, a plucked bass, a whistled melody and drums, alone and as a band, by
other rules than the music that the detector was fitted with (`recognition/noises.py`). Synthetic:
it says little about recorded instruments, and nothing about songs.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

import speechasym
from speechasym.cli.options import print_table

RATE = 16000
CHORDS = ((0, 4, 7), (5, 9, 12), (7, 11, 14), (-3, 0, 4))  # I IV V vi, semitones
SCALE = (0, 2, 4, 5, 7, 9, 11, 12)


def note(hertz: float, seconds: float, kind: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a note: harmonics with the envelope and vibrato of an instrument."""
    t = np.arange(round(seconds * RATE)) / RATE
    vibrato = {"strings": 0.006, "whistle": 0.01}.get(kind, 0.0)
    phase = 2 * np.pi * hertz * (t + vibrato * np.sin(2 * np.pi * 5.5 * t) / (2 * np.pi * 5.5))
    count = {"organ": 6, "strings": 20, "bass": 10, "whistle": 2}[kind]
    x = np.zeros(len(t))
    for k in range(1, count + 1):
        if k * hertz < RATE / 2:
            x += np.sin(k * phase + rng.uniform(0, 2 * np.pi)) / k
    attack = {"organ": 0.02, "strings": 0.12, "bass": 0.005, "whistle": 0.05}[kind]
    envelope = np.minimum(1, t / attack) * np.minimum(1, (seconds - t) / 0.05)
    return x * envelope * (np.exp(-4 * t) if kind == "bass" else 1.0)


def drum(kind: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a kick, a snare or a hi-hat."""
    t = np.arange(round(0.3 * RATE)) / RATE
    if kind == "kick":
        return 3 * np.sin(2 * np.pi * (50 * t + 4 * (1 - np.exp(-30 * t)))) * np.exp(-12 * t)
    hiss = rng.standard_normal(len(t)) * np.exp(-(18 if kind == "snare" else 70) * t)
    return hiss if kind == "snare" else np.diff(hiss, prepend=0)


def piece(kind: str, seconds: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return music (T,) of an instrument, of drums, or of a band, with a peak of 0.3."""
    if kind == "band":
        parts = ("organ", "strings", "bass", "whistle", "drums")
        gains = rng.uniform(0.3, 1, len(parts))
        beat = rng.uniform(0.35, 0.7)
        x = sum(g * play(part, seconds, beat, rng) for g, part in zip(gains, parts, strict=True))
    else:
        x = play(kind, seconds, rng.uniform(0.35, 0.7), rng)
    return (0.3 * x / np.abs(x).max()).astype(np.float32)


def play(kind: str, seconds: float, beat: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return one voice (T,)."""
    x, key = np.zeros(round((seconds + 5) * RATE)), rng.integers(12)

    def add(at: float, y: NDArray[np.float64]) -> None:
        first = round(at * RATE)
        x[first : first + len(y)] += y

    for number in range(int(seconds / beat)):
        at, chord = number * beat, CHORDS[number // 4 % 4]
        if kind == "drums":
            add(at, drum("snare" if number % 2 else "kick", rng))
            add(at, drum("hat", rng))
            add(at + beat / 2, drum("hat", rng))
        elif kind == "bass":
            add(at, note(55 * 2 ** ((key + chord[0]) / 12), beat, kind, rng))
        elif kind == "whistle":
            step = key + 24 + SCALE[rng.integers(8)]
            add(at, note(220 * 2 ** (step / 12), beat * rng.choice([0.5, 1]), kind, rng))
        elif number % 4 == 0:
            for interval in chord:
                add(at, note(220 * 2 ** ((key + interval) / 12), 4 * beat, kind, rng))
    return x[: round(seconds * RATE)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the share of speech, noise and silence of each kind of music."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pieces", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args(arguments)
    rows = []
    for kind in ("organ", "strings", "bass", "whistle", "drums", "band"):
        spent = dict.fromkeys(("speech", "noise", "silence"), 0.0)
        most = 0.0
        for number in range(options.pieces):
            x = piece(kind, options.seconds, np.random.default_rng([number, len(kind)]))
            speech = 0.0
            for start, end, label in speechasym.segments(x, RATE):
                spent[label] += end - start
                speech += (end - start) * (label == "speech")
            most = max(most, speech / options.seconds)
        total = sum(spent.values())
        rows.append((kind, *(f"{value / total:.1%}" for value in spent.values()), f"{most:.0%}"))
    columns = ("music", "speech", "noise", "silence", "speech, worst piece")
    print_table(f"{options.pieces} pieces of {options.seconds:g} s each", rows, columns)


if __name__ == "__main__":
    main()
