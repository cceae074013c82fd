"""The tables of `recipes.language.phrases`."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.claims.learning.report import difference
from recipes.compare.intervals import interval
from recipes.provenance import table

BASE, TEXT = "word", "text: "  # what systems are compared with; names of those that learned texts


def counts(lines: Sequence[Mapping[str, Any]], of: str, what: str) -> NDArray[np.float64]:
    """Return sums (K, S, ...) of seeds and speakers."""
    return np.array([list(line["sets"][of][what].values()) for line in lines], float)


def _mean(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return sums[..., 0].sum(1) / sums[..., 1].sum(1)


def _against(ours: NDArray[np.float64], base: NDArray[np.float64], factor: float) -> str:
    middle, low, high = (factor * value for value in difference(ours, base))
    return f"{middle:+.{3 if factor < 1 else 1}f} [{low:+.3f}, {high:+.3f}]"


def words_table(lines: Sequence[Mapping[str, Any]], of: str) -> str:
    """Return the bits per word of a set, and how often a common word is guessed, in Markdown."""
    names = list(dict.fromkeys(line["system"] for line in lines))
    by = {name: [line for line in lines if line["system"] == name] for name in names}
    body = []
    for name in names:
        bits, right = (counts(by[name], of, what) for what in ("bits", "right"))
        seeds, (low, high) = _mean(bits), interval(bits)
        cell = (
            f"{fmean(seeds):.3f} ({seeds.min():.3f} to {seeds.max():.3f}) [{low:.3f}, {high:.3f}]"
        )
        base = TEXT + BASE if name.startswith(TEXT) else BASE
        less = ["-", "-"]
        if base in by and name != base:
            less = [
                _against(counts(by[name], of, what), counts(by[base], of, what), 0.01)
                for what in ("bits", "bits after pauses")
            ]
        body.append([name, str(len(bits)), cell, *less, f"{100 * fmean(_mean(right)):.1f}"])
    head = ("system", "seeds", "bits per word", f"against {BASE}", "after pauses",
            "common words guessed, %")  # fmt: skip
    return table(head, body)


def breaks_table(lines: Sequence[Mapping[str, Any]], of: str) -> str:
    """Return how events lie to pauses in a set, in Markdown."""
    body = []
    for name in dict.fromkeys(line["system"] for line in lines):
        sums = counts([line for line in lines if line["system"] == name], of, "breaks")
        hits, events, pauses, words = (sums[..., n] for n in range(4))
        if not events.sum():
            continue
        found, chance = np.stack([hits, events], -1), np.stack([pauses, words], -1)
        body.append([
            name, f"{words.sum() / events.sum():.1f}", f"{100 * hits.sum() / events.sum():.1f}",
            f"{100 * pauses.sum() / words.sum():.1f}", _against(found, chance, 1),
            f"{100 * hits.sum() / pauses.sum():.1f}",
        ])  # fmt: skip
    head = ("system", "words an event", "of events after a pause, %", "of words, %", "points more",
            "of pauses with an event, %")  # fmt: skip
    return table(head, body)


def report(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the report on lines of results, in Markdown."""
    commits = ", ".join(sorted({line["commit"] for line in lines}))
    text = [f"Commits {commits}; {lines[0]['machine']}.\n"]
    for of, sums in lines[0]["sets"].items():
        count = sum(n for _, n in sums["bits"].values())
        text += [
            f"### {of}: {count:.0f} words, {len(sums['bits'])} speakers\n",
            "Bits per word: mean (least to greatest) over seeds [95 % interval over speakers].\n",
            words_table(lines, of), "Where events begin:\n", breaks_table(lines, of),
        ]  # fmt: skip
    return "\n".join(text)
