"""Shared by the experiments: features, sentences, ABX by speaker, intervals, figures.

Shapes: T samples, F frames, D columns, S speakers.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import speechasym
from speechasym.asymmetry import cepstra, tracks
from speechasym.scoring import abx
from speechasym.scoring.abx_items import Item, timit_items

RATE = 16000  # samples a second
FRAMES = 100  # a second
ROUNDS = 2000  # of resampling, for 95 % intervals
SCALES = tracks.SCALES
# Okabe and Ito's palette, distinguishable with any colour vision
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


COMPACT, POWER, MEL, MFCC = (
    "asymmetry compact",
    "its power columns alone",  # the same filterbank and smoothing, no asymmetry
    "log-mel",
    "MFCC",
)
# with a scale's time constant and no hysteresis: rise minus fall of log-mel, and the ratio of both
# formed like ours, on the same filterbank
CHANGE = {n: f"log-mel change, {SCALES[n - 1].time_ms:g} ms" for n in (2, 3)}
RATIO = {n: f"gammatone signed ratio, {SCALES[n - 1].time_ms:g} ms" for n in (2, 3)}
CONTROLS = (*CHANGE.values(), *RATIO.values())
SIGNED = tuple(f"amplitude asymmetry, level {n}" for n in range(1, len(SCALES) + 1))
_POWER_COLUMNS = cepstra.STATIC + cepstra.SLOPES + cepstra.CURVES


def features(x: NDArray, names: tuple[str, ...]) -> dict[str, NDArray[np.float32]]:
    """Return {name: (F, D)}, columns with mean 0 and deviation 1 over the sentence."""
    out: dict[str, NDArray] = {}
    if {COMPACT, POWER} & set(names):
        out[COMPACT] = _computed(x, features="asymmetry", compact=True)
        out[POWER] = out[COMPACT][:, :_POWER_COLUMNS]
    if set(SIGNED) & set(names):
        out |= dict(zip(SIGNED, signed_asymmetry(x), strict=True))
    if {MEL, *CONTROLS} & set(names):
        out[MEL] = logmel(x)
    if set(CONTROLS) & set(names):
        level = np.maximum(_computed(x, features="gammatone"), tracks.QUIET_DB)
        for n in CHANGE:
            rise, fall = leaky_moves(out[MEL], SCALES[n - 1].time_ms)
            out[CHANGE[n]] = rise - fall
            rise, fall = leaky_moves(level, SCALES[n - 1].time_ms)
            out[RATIO[n]] = (rise - fall) / (rise + fall + SCALES[n - 1].decibel)
    if MFCC in names:
        out[MFCC] = _computed(x, features="mfcc")
    return {name: _normalised(out[name]) for name in names}


def _computed(x: NDArray, **options: Any) -> NDArray[np.float32]:
    return speechasym.features(x, RATE, rate=FRAMES, **options)


def _normalised(x: NDArray) -> NDArray[np.float32]:
    return ((x - x.mean(0)) / np.maximum(x.std(0), 1e-6)).astype(np.float32)


def signed_asymmetry(x: NDArray) -> list[NDArray[np.float32]]:
    """Return the signed asymmetry of the amplitude's work, (F, channels) for each scale."""
    rows = _computed(x, features="asymmetry", kinds=("amplitude",), outputs=("asymmetry",))
    return np.split(rows, len(SCALES), axis=1)


def logmel(x: NDArray) -> NDArray[np.float32]:
    """Return log-mel in dB, (F, 80)."""
    return _computed(x, features="logmel")


def leaky_moves(track: NDArray, time_ms: float, rate: float = FRAMES) -> tuple[NDArray, NDArray]:
    """Sum rises and falls of a track (F, D), forgotten with a time constant; no hysteresis.

    rate: frames a second.
    """
    keep = np.exp(-1000 / rate / time_ms)
    change = np.diff(track, axis=0, prepend=track[:1])
    out = np.stack([np.maximum(change, 0), np.maximum(-change, 0)])
    for f in range(1, len(track)):
        out[:, f] += keep * out[:, f - 1]
    return out[0], out[1]


class Corpus(NamedTuple):
    """Sentences and the phones in them."""

    sounds: dict[str, NDArray[np.float32]]  # by file
    items: list[Item]

    @property
    def speakers(self) -> list[str]:
        """The speakers, sorted."""
        return sorted({item.speaker for item in self.items})


def timit(root: str | Path, most_speakers: int | None = None) -> Corpus:
    """Return SI and SX sentences below a TIMIT folder, of all speakers or of the first few."""
    items = timit_items(root)
    if most_speakers is not None:
        known = sorted({item.speaker for item in items})[:most_speakers]
        items = [item for item in items if item.speaker in known]
    sounds = {}
    for stem in sorted({item.file for item in items}):
        folder = (Path(root) / stem).parent
        path = next(
            p for p in sorted(folder.glob(Path(stem).name + ".*")) if p.suffix.lower() == ".wav"
        )
        sounds[stem] = speechasym.load(path, RATE)[0]
    return Corpus(sounds, items)


def of_all(
    sounds: dict[str, NDArray], names: tuple[str, ...]
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Return {name: {file: (F, D)}} of all files."""
    by_file = {file: features(x, names) for file, x in sounds.items()}
    return {name: {file: each[name] for file, each in by_file.items()} for name in names}


def error_of(items: list[Item], distance: NDArray) -> float:
    """ABX error of one speaker's tokens, any context: that of `abx_scores` without its interval.

    Args:
        distance: (N, N) between X, the rows, and A or B, the columns.
    """
    phones = np.array([item.phone for item in items])
    places = {phone: np.flatnonzero(phones == phone) for phone in sorted(set(phones))}
    errors = []
    for a, same in places.items():
        if len(same) < 2:
            continue  # a token is never its own A
        rows = distance[same]
        near = rows[:, same][~np.eye(len(same), dtype=bool)].reshape(len(same), -1, 1)
        for b, other in places.items():
            if a != b:
                far = rows[:, None, other]
                errors.append((near > far).mean() + (near == far).mean() / 2)
    return float(np.mean(errors))


def per_speaker(
    corpus: Corpus, changed: dict[str, NDArray], original: dict[str, NDArray] | None = None
) -> NDArray[np.float64]:
    """Return ABX errors within each speaker, any context, all triples: (2, S).

    Row 0: A, B and X all changed. Row 1: X changed, A and B of the original sentences; a token
    is never its own A. Without `original`, row 1 equals row 0.

    Args:
        changed, original: (F, D) features of each file.
    """
    out = []
    for speaker in corpus.speakers:
        items = [item for item in corpus.items if item.speaker == speaker]
        if original is None:
            tokens = abx.select_tokens(items, changed, FRAMES)
            every = range(len(tokens.items))
            out.append([error_of(tokens.items, tokens.distances(every, every))] * 2)
            continue
        other = [item._replace(file="original/" + item.file) for item in items]
        both = {item.file: changed[item.file] for item in items}
        both |= {"original/" + item.file: original[item.file] for item in items}
        tokens = abx.select_tokens(items + other, both, FRAMES)
        n = len(tokens.items) // 2  # equally long: the same tokens are too short in both
        near, cross = (tokens.distances(range(n), range(k, k + n)) for k in (0, n))
        out.append([error_of(tokens.items[:n], d) for d in (near, cross)])
    return np.array(out).T


class Interval(NamedTuple):
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


def interval(
    values: NDArray, statistic: Callable[[NDArray], float] = np.mean, seed: int = 0
) -> Interval:
    """Return a statistic of (S, ...) and its interval, the S units drawn with replacement."""
    values = np.asarray(values, float)
    draw = np.random.default_rng(seed)
    picks = draw.integers(0, len(values), (ROUNDS, len(values)))
    if statistic is np.mean:  # faster
        drawn = values.reshape(len(values), -1).mean(1)[picks].mean(1)
    else:
        drawn = np.array([statistic(values[pick]) for pick in picks])
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return Interval(float(statistic(values)), np.nan, np.nan)
    # without interpolation, since values that are not reached are infinite
    low, high = np.quantile(drawn, [0.025, 0.975], method="inverted_cdf")
    return Interval(float(statistic(values)), float(low), float(high))


def formatted(i: Interval, digits: int = 1, scale: float = 1.0, limit: float = math.inf) -> str:
    """Return `12.3 (11.0-13.9)`; values at or beyond `limit` were not reached: `>limit`.

    With negative values `to` stands between the bounds, so that no dash looks like a minus.
    """

    def one(x: float) -> str:
        if math.isnan(x):
            return "none"
        return f">{limit:g}" if x >= limit else f"{x * scale:.{digits}f}"

    join = " to " if i.low < 0 else "-"
    return (
        one(i.value) if math.isnan(i.value) else f"{one(i.value)} ({one(i.low)}{join}{one(i.high)})"
    )


_START = time.monotonic()


def log(text: str) -> None:
    """Print a line of progress."""
    print(f"[{time.monotonic() - _START:6.1f} s] {text}", flush=True)


def save(figure: Any, path: Path) -> None:
    """Write a figure and close it."""
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
    log(f"wrote {path}")


def axes(columns: int, width: float, height: float, **options: Any) -> tuple[Any, Any]:
    """Return a figure in the recipe's style, and its row of axes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, row = plt.subplots(
        1, columns, figsize=(width, height), layout="constrained", squeeze=False, **options
    )
    for axis in row[0]:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    return figure, row[0]
