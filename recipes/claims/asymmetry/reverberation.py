"""C. Speech in a room, and in the same room reversed in time [1].

In a reversed room the reverberation precedes the direct sound. Power, modulation and long-term
spectrum of the room are the same, yet people understand far less [1].

[1] L. Longworth-Reed, E. Brandewie, P. Zahorik, "Time-forward speech intelligibility in
    time-reversed rooms", Journal of the Acoustical Society of America 125 (1), 2009.

Shapes: T samples, R samples of the response, S speakers.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.claims.asymmetry.common import (
    CHANGE,
    COLOURS,
    COMPACT,
    CONTROLS,
    MEL,
    MFCC,
    POWER,
    RATE,
    RATIO,
    SIGNED,
    Corpus,
    axes,
    formatted,
    interval,
    log,
    of_all,
    per_speaker,
    save,
)
from recipes.provenance import table

NAMES = (COMPACT, POWER, *SIGNED, MEL, *CONTROLS, MFCC)
TIMES = (0.3, 0.6, 1.0)  # s, RT60
SEEDS = (0, 1, 2)  # of rooms
DIRECTIONS = ("forward", "reversed")
COMPARED = (  # what asymmetry is compared with, speaker by speaker
    (COMPACT, POWER), (COMPACT, MEL), (SIGNED[1], MEL), (SIGNED[1], CHANGE[2]),
    (SIGNED[1], RATIO[2]), (SIGNED[2], MEL), (SIGNED[2], CHANGE[3]), (SIGNED[2], RATIO[3]),
)  # fmt: skip
ROWS = ("A, B and X in the room", "X in the room, A and B dry")


def room(rt60: float, seed: int = 0) -> NDArray[np.float64]:
    """Return (R,) a direct path and noise that falls by 60 dB in `rt60` s, of energy 1 together.

    Each has half the energy: the direct path is 0 dB above the reverberation.
    """
    size = round(rt60 * RATE)
    tail = np.random.default_rng(seed).standard_normal(size) * 10 ** (-3 * np.arange(size) / size)
    tail[0] = 0
    out = tail / np.sqrt((tail**2).sum())
    out[0] = 1
    return out / np.sqrt(2)


def reverberate(x: NDArray, response: NDArray, reverse: bool) -> NDArray[np.float32]:
    """Return (T,) in the room; the direct sound keeps its place, so phone times stay valid."""
    h = response[::-1] if reverse else response
    size = len(x) + len(h) - 1
    y = np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(h, size), size)
    late = len(h) - 1 if reverse else 0
    return y[late : late + len(x)].astype(np.float32)


def run(
    corpus: Corpus, times: tuple[float, ...] = TIMES, seeds: tuple[int, ...] = SEEDS
) -> dict[str, Any]:
    """Return errors {feature: (2 rows, 2 directions, times, S)}, means over rooms; and dry ones."""
    originals = of_all(corpus.sounds, NAMES)
    dry = {name: per_speaker(corpus, originals[name])[0] for name in NAMES}
    shape = (2, len(DIRECTIONS), len(times), len(seeds), len(corpus.speakers))
    errors = {name: np.zeros(shape) for name in NAMES}
    for t, rt60 in enumerate(times):
        for s, seed in enumerate(seeds):
            log(f"C: RT60 {rt60:g} s, room {seed}")
            response = room(rt60, seed)
            for d in range(len(DIRECTIONS)):
                sounds = {
                    file: reverberate(x, response, bool(d)) for file, x in corpus.sounds.items()
                }
                for name, changed in of_all(sounds, NAMES).items():
                    errors[name][:, d, t, s] = per_speaker(corpus, changed, originals[name])
    return {
        "times": np.array(times),
        "dry": dry,
        "errors": {name: error.mean(3) for name, error in errors.items()},
    }


def differences(result: dict[str, Any], row: int) -> dict[str, NDArray]:
    """Return reversed - forward errors, {feature: (times + 1, S)}; the last is their mean."""
    out = {}
    for name, error in result["errors"].items():
        gap = error[row, 1] - error[row, 0]
        out[name] = np.concatenate([gap, gap.mean(0, keepdims=True)])
    return out


def report(result: dict[str, Any]) -> str:
    """Return the report of this experiment in Markdown."""
    gaps = [f"{t:g} s" for t in result["times"]] + ["mean"]
    columns = ["forward", "reversed", *(f"reversed - forward, {gap}" for gap in gaps)]
    parts = []
    for r, title in enumerate(ROWS):
        rows = []
        for name, error in result["errors"].items():
            values = result["dry"][name], *error[r].mean(1), *differences(result, r)[name]
            rows.append([name, *(formatted(interval(v), 1, 100) for v in values)])
        parts += [f"ABX error in %, within speakers, any context; {title}:", ""]
        parts += [table(["features", "dry", *columns], rows)]
    by_row = [differences(result, r) for r in range(len(ROWS))]
    rows = [
        [one, other, *(formatted(interval((g[one] - g[other])[-1]), 1, 100) for g in by_row)]
        for one, other in COMPARED
    ]
    parts += [
        "Reversed - forward, mean over RT60, of one minus that of another, in points:",
        "",
    ]
    parts += [table(["one", "another", *ROWS], rows)]
    return "\n".join(parts)


def figure(result: dict[str, Any], out: Path) -> None:
    """Plot reversed - forward with intervals for each feature, a mark for each RT60."""
    fig, row = axes(2, 10, 4.5, sharey=True)
    for r, (axis, title) in enumerate(zip(row, ROWS, strict=True)):
        gaps = differences(result, r)
        for n, rt60 in enumerate(result["times"]):
            marks = [interval(100 * gap[n]) for gap in gaps.values()]
            value, low, high = np.array(marks).T
            axis.errorbar(
                value, np.arange(len(gaps)) + 0.2 * (n - 1), xerr=[value - low, high - value],
                fmt="os^D"[n], color=COLOURS[n], ms=4, capsize=2, label=f"RT60 {rt60:g} s",
            )  # fmt: skip
        axis.axvline(0, color="0.4", lw=1)
        axis.set(title=title, xlabel="ABX error, reversed - forward (points)")
        axis.set_yticks(range(len(gaps)), list(gaps))
    row[0].invert_yaxis()  # shared by both
    row[0].legend(frameon=False, fontsize=8)
    save(fig, out / "reverberation.png")
