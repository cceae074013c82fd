"""The confusion matrix of phones, ordered by articulation.

Shapes: K symbols.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from speechasym.language import phones
from speechasym.plots.axes import set_title
from speechasym.scoring import tables
from speechasym.scoring.error_rates import ErrorRate

MOST_NUMBERED = 64  # rows of a matrix whose cells show their percentages
_HEIGHTS, _BACKNESS = ("high", "mid", "low"), ("front", "central", "back")
_MANNERS = {
    "stop": "stops", "affricate": "affricates", "fricative": "fricatives", "nasal": "nasals",
    "approximant": "approximants", "lateral": "approximants",
}  # fmt: skip
_GROUPS = ("vowels", "diphthongs", *dict.fromkeys(_MANNERS.values()), "silence", "others")
_PLACES = "bilabial labiodental dental alveolar postalveolar palatal labial-velar velar glottal"


class ConfusionMatrix(NamedTuple):
    """Counts of phones by what they were recognised as, ordered by articulation."""

    tokens: list[str]  # K phones
    counts: NDArray[np.int64]  # (K + 1, K + 1): the last row holds insertions, column deletions
    groups: list[tuple[str, int, int]]  # name, first row, one after the last


def articulation(symbol: str) -> tuple[str, tuple[Any, ...]]:
    """Return the group of an ARPAbet or TIMIT phone, and its sort key within the group.

    Vowels by height, then from front to back, followed by diphthongs; consonants by manner, then
    from the lips to the glottis, voiceless before voiced. Unknown symbols are "others".
    """
    if symbol in phones.SILENCES or symbol in ("cl", "vcl"):
        return "silence", (symbol,)
    plain = phones.strip_stress(symbol.upper())
    known = phones.TIMIT_TO_ARPABET.get(symbol.lower(), ())
    if plain not in phones.ARTICULATION and len(known):
        plain = known[-1]
    if plain not in phones.ARTICULATION:
        return "others", (symbol,)
    f = phones.ARTICULATION[plain]
    if f.vowel:
        diphthong = f.glide and plain in ("AW", "AY", "OY", "EY", "OW")
        place = (_HEIGHTS.index(f.height), _BACKNESS.index(f.backness), not f.tense, symbol)
        return "diphthongs" if diphthong else "vowels", place
    return _MANNERS[f.manner], (f.manner, _PLACES.split().index(f.place), f.voiced, symbol)


def order_by_articulation(tokens: Sequence[str]) -> tuple[list[int], list[tuple[str, int, int]]]:
    """Return the order of tokens by articulation, and its groups: (name, first, last + 1)."""
    keys = [articulation(token) for token in tokens]
    order = sorted(range(len(tokens)), key=lambda n: (_GROUPS.index(keys[n][0]), keys[n][1]))
    groups = []
    for name in _GROUPS:
        rows = [row for row, n in enumerate(order) if keys[n][0] == name]
        if rows:
            groups.append((name, rows[0], rows[-1] + 1))
    return order, groups


def confusion_matrix(result: ErrorRate) -> ConfusionMatrix:
    """Count what each phone was recognised as."""
    tokens, counts = tables.confusion_matrix(result)
    order, groups = order_by_articulation(tokens)
    rows = [*order, len(tokens)]
    return ConfusionMatrix([tokens[n] for n in order], counts[np.ix_(rows, rows)], groups)


def confusion(axes: Axes, matrix: ConfusionMatrix) -> AxesImage:
    """Draw a confusion matrix: what was said by what was recognised, each row in % of itself."""
    tokens, counts, groups = matrix
    totals = counts.sum(1, keepdims=True)
    share = np.divide(100.0 * counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    size = len(counts)
    # a square root, so that a few per cent are visible beside the diagonal
    image = axes.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=10, aspect="equal")
    if size <= MOST_NUMBERED:
        style: Any = {"ha": "center", "va": "center", "fontsize": min(7.0, 240 / size)}
        for row, column in np.argwhere(share >= 2.5):
            value = share[row, column]
            colour = "white" if value > 45 else "0.1"
            axes.text(column, row, f"{value:.0f}", color=colour, **style)
    axes.set_xticks(range(size), [*tokens, "deleted"], rotation=90, fontsize=7)
    names = [f"{name}  {n:>4}" for name, n in zip([*tokens, "inserted"], totals[:, 0], strict=True)]
    axes.set_yticks(range(size), names, fontsize=7, family="monospace")
    axes.tick_params(length=0)
    for name, first, end in groups:
        axes.axhline(end - 0.5, color="0.35", linewidth=0.6)
        axes.axvline(end - 0.5, color="0.35", linewidth=0.6)
        middle = (first + end - 1) / 2
        axes.text(size - 0.3, middle, name, va="center", ha="left", fontsize=7, color="0.35")
    axes.set_xlabel("recognised")
    axes.set_ylabel("said, and how often")
    return image


def confusion_figure(result: ErrorRate, name: str) -> Figure:
    """Return the confusion matrix of phones with its colour scale."""
    matrix = confusion_matrix(result)
    side = max(5.0, 1.8 + 0.2 * len(matrix.tokens))
    figure = Figure(figsize=(side + 1.3, side - 0.5), layout="compressed")
    axes = figure.subplots()
    image = confusion(axes, matrix)
    bar = figure.colorbar(image, ax=axes, fraction=0.025, pad=0.1, aspect=40)
    ticks = (0, 1, 5, 10, 25, 50, 75, 100)
    bar.set_ticks([math.sqrt(value) for value in ticks], labels=[str(value) for value in ticks])
    bar.set_label("% of the row")
    c = result.counts
    counts = f"{c.substitutions:,} were substituted, {c.deletions:,} deleted; {c.insertions:,}"
    title = f"{name}: {result.rate:.1%} errors. Of {c.length:,} phones, {counts} were inserted"
    set_title(figure, title)
    return figure
