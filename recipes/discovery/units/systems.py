"""What is compared: clusters of frozen features, levels of runs, changes of the spectrum."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recipes.discovery.units.corpus import RATE, matrices
from speechasym.annotations.intervals import Interval
from speechasym.feature_extraction import normalise
from speechasym.levels.hierarchy import Hierarchy
from speechasym.levels.units import shares
from speechasym.recognition.discovery import checked_levels, discover_units
from speechasym.recognition.trained_model import open_run

FRAMES = 100.0  # a second
FROZEN: dict[str, dict[str, Any]] = {
    "MFCC 39": {"features": "mfcc"},
    "log-mel 80": {"features": "logmel"},
    "compact 33": {"features": "asymmetry", "compact": True},
}
PIECE_RATE = 200  # rows a second that are cut into pieces
LONGEST = 80  # rows of a piece
FITTED = 40000  # frames that clusters are fitted to
Sounds = Mapping[str, NDArray[np.float32]]
Units = dict[str, list[Interval]]


class Found(NamedTuple):
    """What a system has found in recordings."""

    units: Units  # {} for a system that has boundaries alone
    size: int  # units that there are
    boundaries: dict[str, list[float]]
    features: dict[str, NDArray]  # {name: (F, D)} for ABX; {} for none


def intervals(labels: NDArray) -> list[Interval]:
    """Return the runs of a unit for each frame (F,)."""
    first = np.flatnonzero(np.diff(labels, prepend=-1))
    ends = [*first[1:].tolist(), len(labels)]
    return [
        Interval(a / FRAMES, b / FRAMES, str(labels[a]))
        for a, b in zip(first.tolist(), ends, strict=True)
    ]


def pooled(features: NDArray, boundaries: list[float]) -> tuple[NDArray, NDArray]:
    """Return means of features (F, D) between boundaries in s: (S, D), and frames (S, 2)."""
    inner = sorted({round(time * FRAMES) for time in boundaries} - {0})
    edges = np.array([0, *(n for n in inner if n < len(features)), len(features)])
    sums = np.add.reduceat(features, edges[:-1], axis=0)
    return sums / np.diff(edges)[:, None], np.stack([edges[:-1], edges[1:]], 1)


def labelled(frames: NDArray, labels: NDArray) -> list[Interval]:
    """Return segments of frames (S, 2) with their units (S,)."""
    rows = zip((frames / FRAMES).tolist(), labels.tolist(), strict=True)
    return [Interval(start, end, str(unit)) for (start, end), unit in rows]


def starts(units: Units) -> dict[str, list[float]]:
    """Return the inner boundaries of segments, s."""
    return {name: [i.start for i in row[1:]] for name, row in units.items()}


def clusters(
    training: Sounds, sounds: Sounds, options: dict[str, Any], sizes: tuple[int, ...], seeds: int,
    boundaries: Mapping[str, list[float]] | None = None,
) -> dict[tuple[int, int], Found]:  # fmt: skip
    """Return {(units, seed): what k-means finds}; the features are the same for all.

    boundaries: of the segments that get a unit each, by the mean of their features; default: each
    frame gets one.
    """
    from sklearn.cluster import MiniBatchKMeans  # comes with librosa

    x = np.concatenate(list(matrices(dict(training), options).values()))
    test = matrices(dict(sounds), options)
    found = {}
    for size in sizes:
        for seed in range(seeds):
            drawn = np.random.default_rng(seed).permutation(len(x))[:FITTED]
            model = MiniBatchKMeans(size, random_state=seed, batch_size=4096, n_init=1, max_iter=20)
            model.fit(np.ascontiguousarray(x[drawn], np.float32))
            units: Units = {}
            for name, m in test.items():
                if boundaries is None:
                    units[name] = intervals(model.predict(np.ascontiguousarray(m, np.float32)))
                    continue
                means, frames = pooled(m, boundaries[name])
                labels = model.predict(np.ascontiguousarray(means, np.float32))
                units[name] = labelled(frames, labels)
            limits = starts(units) if boundaries is None else dict(boundaries)
            found[size, seed] = Found(units, size, limits, test if boundaries is None else {})
    return found


def levels(
    run: Path, sounds: Sounds, boundaries: Mapping[str, list[float]] | None = None
) -> dict[str, Found]:
    """Return {level N: what the level of a run finds}.

    boundaries: of segments that get the lowest level's unit with most activation in them, as
    "level 0 between pieces".
    """
    trained = open_run(run)
    numbers = checked_levels(trained)
    units: dict[int, Units] = {n: {} for n in numbers}
    features: dict[int, dict[str, NDArray]] = {n: {} for n in numbers}
    between: Units = {}
    for name, x in sounds.items():
        for row in discover_units(x, trained, RATE):
            units[row.level][name] = row.intervals
        for number, level in enumerate(trained.activations(trained.features(x))):
            if number not in units:
                continue
            frames = level.at_frames()
            rows = normalise.normalised([frames.y.numpy()], "utterance", FRAMES)
            features[number][name] = np.concatenate(list(rows))
            if number == 0 and boundaries is not None and frames.units is not None:
                means, spans = pooled(shares(frames.units).numpy(), boundaries[name])
                between[name] = labelled(spans, means.argmax(1))
    assert isinstance(trained.model, Hierarchy)  # `checked_levels` has seen to it
    sizes = {n: trained.model.config.levels[n].units for n in numbers}
    found = {
        f"level {n}": Found(units[n], sizes[n], starts(units[n]), features[n]) for n in numbers
    }
    if between:
        limits = {name: boundaries[name] for name in between} if boundaries else {}
        found["level 0 between pieces"] = Found(between, sizes[0], limits, {})
    return found


def changes(x: NDArray, reach: int) -> NDArray[np.float64]:
    """Return how much the direction of rows (F, D) changes before each: 1 - cosine of means.

    `reach`: frames on either side that are averaged.
    """
    sums = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, 0, dtype=np.float64)])
    at = np.arange(len(x))
    before, after = np.maximum(0, at - reach), np.minimum(len(x), at + reach)
    one, two = sums[at] - sums[before], sums[after] - sums[at]
    size = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    track = 1 - (one * two).sum(1) / np.maximum(size, 1e-9)
    track[0] = 0
    return track


def turns(x: NDArray, width: float) -> list[int]:
    """Return where a track (F,) turns from rising to falling, by hysteresis of this full width.

    A peak counts if the track has risen by the width since the lowest point after the last peak,
    and falls by it afterwards.
    """
    peaks: list[int] = []
    rising, low, high, at = False, np.inf, -np.inf, 0
    for n, value in enumerate(x):
        low = min(low, value) if not rising else low
        if not rising and value >= low + width:
            rising, high, at = True, value, n
        elif rising and value > high:
            high, at = value, n
        elif rising and value <= high - width:
            peaks.append(at)
            rising, low = False, value
    return peaks


def pieces(x: NDArray, cost: float) -> list[int]:
    """Return where rows (F, D) are cut into pieces so that what is left of them costs least.

    A piece costs the squares of its rows' distances from their mean, rows being of length 1, and
    `cost` on top; no piece is longer than `LONGEST` rows. The best cuts are found by dynamic
    programming.
    """
    rows = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
    sums = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(rows, 0, dtype=np.float64)])
    least, before = np.zeros(len(x) + 1), np.zeros(len(x) + 1, int)
    for end in range(1, len(x) + 1):
        start = np.arange(max(0, end - LONGEST), end)
        length = end - start
        left = length - np.square(sums[end] - sums[start]).sum(1) / length
        total = least[start] + left + cost
        best = int(total.argmin())
        least[end], before[end] = total[best], start[best]
    cuts, at = [], int(before[-1])
    while at > 0:
        cuts.append(at)
        at = int(before[at])
    return cuts[::-1]


def spectral_pieces(features: Mapping[str, NDArray], cost: float, late: float) -> Found:
    """Return boundaries between pieces in which features hardly turn.

    features: at `PIECE_RATE`. late: rows by which boundaries are later.
    """
    boundaries = {
        name: [(n + late) / PIECE_RATE for n in pieces(m, cost)] for name, m in features.items()
    }
    return Found({}, 0, boundaries, {})


def spectral_change(
    features: Mapping[str, NDArray], reach: int, width: float, late: float
) -> Found:
    """Return boundaries where the direction of features turns most, `late` frames later."""
    boundaries = {
        name: [(n + late) / FRAMES for n in turns(changes(m, reach), width)]
        for name, m in features.items()
    }
    return Found({}, 0, boundaries, {})
