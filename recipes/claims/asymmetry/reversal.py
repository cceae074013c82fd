"""B. Speech with every W ms reversed in place [1].

People understand it up to windows of about 50 ms; half is lost at 60 to 130 ms [1]. Measured here:
how well features distinguish the phones of one speaker, and how much of each scale's signed
asymmetry survives.

[1] K. Saberi, D. R. Perrott, "Cognitive restoration of reversed speech", Nature 398, 1999.

Shapes: T samples, F frames, W windows, S speakers, L levels.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.claims.asymmetry.common import (
    COLOURS,
    COMPACT,
    MEL,
    MFCC,
    POWER,
    RATE,
    SCALES,
    Corpus,
    axes,
    formatted,
    interval,
    leaky_moves,
    log,
    logmel,
    of_all,
    per_speaker,
    save,
    signed_asymmetry,
)
from recipes.provenance import table

WINDOWS = (10, 20, 30, 50, 70, 100, 130, 200)  # ms
NAMES = (COMPACT, POWER, MEL, MFCC)
PEOPLE = (60.0, 130.0)  # ms at which half is lost
CHANCE = 0.5
SEED = 0  # of the offsets of windows
CROSSED = 1  # the row of `per_speaker` in which only X is reversed


def reverse_locally(x: NDArray, window_ms: float, first: int = 0) -> NDArray:
    """Return (T,) with every whole window from sample `first` on reversed in place."""
    size = round(window_ms * RATE / 1000)
    whole = max(0, len(x) - first) // size * size
    out = x.copy()
    out[first : first + whole] = x[first : first + whole].reshape(-1, size)[:, ::-1].reshape(-1)
    return out


def all_reversed(corpus: Corpus, window_ms: float) -> dict[str, NDArray]:
    """Return every sentence reversed in windows with a random offset.

    Sentences begin with silences of similar length: with windows from the first sample on, many
    onsets would be at the same place in a window, and at a border for some W.
    """
    draw = np.random.default_rng(SEED)
    size = round(window_ms * RATE / 1000)
    return {
        file: reverse_locally(x, window_ms, int(draw.random() * size))
        for file, x in corpus.sounds.items()
    }


@lru_cache
def _bends(windows: tuple[float, ...]) -> tuple[NDArray, NDArray]:
    """Return places of the bend in ms (N,), and the residual projection of each (N, W, W)."""
    w = np.array(windows)
    where = np.log(np.maximum(w, w[w > 0].min() / 2))
    places = np.linspace(np.log(8), np.log(180), 200)
    left = []
    for bend in places:
        basis = np.stack([np.ones_like(where), np.maximum(where - bend, 0)], 1)
        left.append(np.eye(len(w)) - basis @ np.linalg.pinv(basis))
    return np.exp(places), np.array(left)


def knee(windows: NDArray, error: NDArray) -> float:
    """Return W in ms up to which the error is flat, by the best flat-then-straight line in log W.

    Args:
        windows: (W,) ms, 0 for unchanged speech.
        error: (W,).
    """
    places, left = _bends(tuple(windows))
    return float(places[((left @ error) ** 2).sum(1).argmin()])


def reaches(windows: NDArray, curve: NDArray, level: float) -> float:
    """Return the first W at which a curve crosses a value, by interpolation in log W, or infinity.

    Between 0 and the smallest window, W itself is interpolated.
    """
    side = np.sign(curve[0] - level)
    beyond = np.nonzero((curve - level) * side <= 0)[0]
    if not len(beyond):
        return np.inf
    i = int(beyond[0])
    if i == 0:
        return 0.0
    share = (curve[i - 1] - level) / (curve[i - 1] - curve[i])
    if windows[i - 1] == 0:
        return float(share * windows[i])
    return float(windows[i - 1] * (windows[i] / windows[i - 1]) ** share)


def signed_tracks(x: NDArray) -> dict[str, NDArray]:
    """Return what is compared with the original: signed asymmetry by scale, and changes of log-mel.

    The changes of log-mel are forgotten with each scale's time constant: power alone, no width.
    """
    mel = logmel(x)
    out = {f"asymmetry, level {n}": track for n, track in enumerate(signed_asymmetry(x), 1)}
    for level in SCALES:
        rise, fall = leaky_moves(mel, level.time_ms)
        out[f"log-mel change, {level.time_ms:g} ms"] = rise - fall
    return out | {"log-mel itself": mel}


def similarity(a: NDArray, b: NDArray) -> float:
    """Return the correlation over frames and columns, without the mean of each column."""
    a, b = a - a.mean(0), b - b.mean(0)
    return float((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum()))


def run(corpus: Corpus, windows: tuple[int, ...] = WINDOWS) -> dict[str, Any]:
    """Return errors {feature: (2, W, S)}, similarities {track: (W, S)}; the first window is 0."""
    originals = of_all(corpus.sounds, NAMES)
    tracks = {file: signed_tracks(x) for file, x in corpus.sounds.items()}
    speaker_of = {item.file: item.speaker for item in corpus.items}
    errors: dict[str, list] = {name: [per_speaker(corpus, originals[name])] for name in NAMES}
    alike: dict[str, list] = {}
    for window in windows:
        log(f"B: windows of {window} ms reversed")
        sounds = all_reversed(corpus, window)
        for name, changed in of_all(sounds, NAMES).items():
            errors[name].append(per_speaker(corpus, changed, originals[name]))
        each: dict[str, dict[str, list]] = {}
        for file, x in sounds.items():
            for name, track in signed_tracks(x).items():
                value = similarity(tracks[file][name], track)
                each.setdefault(name, {}).setdefault(speaker_of[file], []).append(value)
        for name, by in each.items():
            alike.setdefault(name, [np.ones(len(corpus.speakers))])
            alike[name].append(np.array([np.mean(by[s]) for s in corpus.speakers]))
    result = {
        "windows": np.array([0, *windows], float),
        "errors": {name: np.stack(values, 1) for name, values in errors.items()},
        "similarity": {name: np.stack(values) for name, values in alike.items()},
    }
    return result | {"summary": summarise(result)}


def summarise(result: dict[str, Any]) -> dict[str, Any]:
    """Return knees and half points with intervals over speakers."""
    w = result["windows"]
    bends, halves, floors, crossed = {}, {}, {}, {}
    for name, error in result["errors"].items():
        crossed[name] = error[CROSSED].T
        bends[name] = interval(crossed[name], lambda v: knee(w, v.mean(0)))
        halves[name] = interval(
            crossed[name],
            lambda v: reaches(w, v.mean(0), (v[:, 0].mean() + CHANCE) / 2),
        )
        floors[name] = interval(
            crossed[name], lambda v: reaches(w, v.mean(0), (v[:, 0].mean() + v[:, -1].mean()) / 2)
        )
    alike = {
        name: interval(curve.T, lambda v: reaches(w, v.mean(0), 0.5))
        for name, curve in result["similarity"].items()
    }
    return {"knee": bends, "half": halves, "half of loss": floors, "similarity half": alike}


def report(result: dict[str, Any]) -> str:
    """Return the report of this experiment in Markdown."""
    w, summary = result["windows"], result["summary"]
    keys = ("knee", "half of loss", "half")
    last = w[-1]
    head = ["features", *(f"{x:g}" if x else "unchanged" for x in w)]
    parts = []
    for row, title in ((1, "X reversed, A and B unchanged"), (0, "A, B and X reversed")):
        rows = [
            [name, *(formatted(interval(e), 1, 100) for e in error[row])]
            for name, error in result["errors"].items()
        ]
        parts += [f"ABX error in %, within speakers, any context; {title}; W in ms:", ""]
        parts += [table(head, rows)]
    rows = [
        [
            name,
            *(formatted(summary[k][name], 0, limit=last) for k in keys),
        ]
        for name in NAMES
    ]
    parts += ["W in ms, X reversed (people: knee about 50, half lost at 60 to 130):", ""]
    columns = [
        "knee, flat then straight", f"half of what {last:g} ms costs", "halfway to chance (50 %)"
    ]  # fmt: skip
    parts += [table(["features", *columns], rows)]
    others = [name for name in NAMES if name != NAMES[0]]
    rows = []
    for name in others:
        gap = result["errors"][NAMES[0]][CROSSED] - result["errors"][name][CROSSED]
        gap = gap - gap[0]  # what reversal adds
        rows.append([name, *(formatted(interval(g), 1, 100) for g in gap[1:])])
    parts += ["What reversal adds to the error of asymmetry compact minus what it adds to that of"]
    parts += ["the other, in points, X reversed:", "", table(["other", *head[2:]], rows)]
    rows = [
        [name, *(formatted(interval(v), 2) for v in curve[1:]),
         formatted(summary["similarity half"][name], 0, limit=last)]
        for name, curve in result["similarity"].items()
    ]  # fmt: skip
    parts += ["Correlation of the reversed speech's track with the original's, and the W in ms at"]
    parts += ["which it falls to a half:", "", table(["track", *head[2:], "half at"], rows)]
    return "\n".join(parts)


def figure(result: dict[str, Any], out: Path) -> None:
    """Plot errors and similarities against W."""
    fig, row = axes(2, 11, 4)
    w = result["windows"]
    for axis, title in zip(row, ("phones told apart", "levels preserved"), strict=True):
        axis.axvspan(*PEOPLE, color="0.88", label="people lose half")
        axis.axvline(50, color="0.5", lw=1, ls=":", label="people still understand")
        axis.set(xscale="log", xlabel="reversed window W (ms)", title=title)
        axis.set_xticks([10, 20, 50, 100, 200], ["10", "20", "50", "100", "200"])
        axis.minorticks_off()
    for (name, error), colour in zip(result["errors"].items(), COLOURS, strict=False):
        marks = [interval(100 * e) for e in error[CROSSED]]
        value, low, high = np.array(marks)[1:].T
        row[0].plot(w[1:], value, "-o", color=colour, ms=4, label=name)
        row[0].fill_between(w[1:], low, high, color=colour, alpha=0.15, lw=0)
        row[0].axhline(marks[0].value, color=colour, lw=0.8, ls="--")
    row[0].set_ylabel("ABX error, X reversed (%)")
    for n, (name, curve) in enumerate(result["similarity"].items()):
        if "level" in name:
            row[1].plot(w[1:], curve[1:].mean(1), "-o", color=COLOURS[n], ms=4, label=name)
        elif "change" in name:
            row[1].plot(w[1:], curve[1:].mean(1), ":", color=COLOURS[n - len(SCALES)], label=name)
    row[1].set_ylabel("correlation with the original")
    row[0].legend(frameon=False, fontsize=7)
    row[1].legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    save(fig, out / "reversal.png")
