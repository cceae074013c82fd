"""Dividing a circle again and again: which law do the sizes of its parts follow? (C24).

A circle of circumference 1 is cut at a point, then parts are cut in two until there are enough.
README.md defines each rule of cutting. Shapes: P parts, C cells of the circle.
"""

import argparse
import heapq
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recipes.claims.asymmetry.common import COLOURS, axes, formatted, interval, log, save
from recipes.claims.ranks.laws import LAWS, Law, fit_laws, flat
from recipes.provenance import table
from speechasym.config import check_count

GOLDEN = (math.sqrt(5) - 1) / 2
CELLS = 1 << 16  # of the circle, for signals
POINTS = 100  # on the circle for each part: what BIC counts
SIZES = (64, 256)  # parts
SEEDS = 40
RIVAL = "uniform cuts"


def uniform_cuts(parts: int, draw: np.random.Generator) -> NDArray[np.float64]:
    """Return the sizes between points drawn uniformly: no asymmetry at all."""
    cuts = np.sort(draw.random(parts))
    return np.diff(cuts, append=cuts[0] + 1)


def divided(
    parts: int,
    draw: np.random.Generator,
    which: str,  # largest, any, drawn by size, rest
    where: Callable[[], float],  # share of the piece that is cut off
) -> NDArray[np.float64]:
    """Return the sizes of parts, each cut at a share of its size that ignores any signal."""
    sizes = [1.0]
    while len(sizes) < parts:
        if which == "largest":
            chosen = int(np.argmax(sizes))
        elif which == "drawn by size":
            chosen = int(draw.choice(len(sizes), p=np.array(sizes) / sum(sizes)))
        elif which == "any":
            chosen = int(draw.integers(len(sizes)))
        else:
            chosen = len(sizes) - 1
        share, whole = where(), sizes.pop(chosen)
        sizes += [whole * share, whole * (1 - share)]
    return np.array(sizes)


def noise(exponent: float, draw: np.random.Generator, cells: int = CELLS) -> NDArray[np.float64]:
    """Return a periodic signal (C,) with power f^-exponent: 0 white, 1 pink, 2 brown."""
    f = np.arange(cells // 2 + 1, dtype=float)
    spectrum = draw.normal(size=len(f)) + 1j * draw.normal(size=len(f))
    spectrum[1:] *= f[1:] ** (-exponent / 2)
    spectrum[0] = 0
    return np.fft.irfft(spectrum, cells)


def most_asymmetric(total: NDArray, first: int, end: int) -> tuple[float, int]:
    """Return the asymmetry of a piece and the cell before which it is greatest.

    The asymmetry of a cut is what it explains of the signal's variance: with l and r cells on its
    sides, l r / (l + r) times the squared difference of the sides' means.

    Args:
        total: (C + 1,) sums of the signal up to each cell.
        first, end: the piece's cells, two or more.
    """
    left = np.arange(1, end - first)
    right = end - first - left
    sums = total[first + 1 : end] - total[first]
    gap = sums / left - (total[end] - total[first] - sums) / right
    gain = left * right / (end - first) * gap**2
    best = int(gain.argmax())
    return float(gain[best]), first + 1 + best


def by_asymmetry(parts: int, signal: NDArray, which: str) -> NDArray[np.float64]:
    """Return the sizes of parts that are cut where the signal is most asymmetric.

    Args:
        signal: (C,) around the circle, which is first cut before cell 0.
        which: piece is next: greatest (asymmetry), largest, or every (all in turn).
    """
    total = np.concatenate([[0], np.cumsum(signal)])
    sizes: list[int] = []
    turn = 0

    def entry(first: int, end: int, generation: int) -> tuple[Any, ...]:
        gain, cut = most_asymmetric(total, first, end)
        order = {"greatest": -gain, "largest": first - end, "every": generation}[which]
        return order, turn, first, cut, end, generation

    heap = [entry(0, len(signal), 0)]
    while len(sizes) + len(heap) < parts:
        *_, first, cut, end, generation = heapq.heappop(heap)
        for a, b in ((first, cut), (cut, end)):
            turn += 1
            if b - a > 1:
                heapq.heappush(heap, entry(a, b, generation + 1))
            else:
                sizes.append(1)  # a cell cannot be cut
    sizes += [piece[4] - piece[2] for piece in heap]
    return np.array(sizes) / len(signal)


def _drawn(which: str, where: str) -> Callable[[int, np.random.Generator], NDArray[np.float64]]:
    def sizes(parts: int, draw: np.random.Generator) -> NDArray[np.float64]:
        share: dict[str, Callable[[], float]] = {
            "uniform": lambda: float(draw.random()),
            "golden": lambda: 1 - GOLDEN,
        }
        return divided(parts, draw, which, share[where])

    return sizes


def _signal(which: str, exponent: float) -> Callable[[int, np.random.Generator], NDArray]:
    return lambda parts, draw: by_asymmetry(parts, noise(exponent, draw), which)


RULES: dict[str, Callable[[int, np.random.Generator], NDArray[np.float64]]] = {
    RIVAL: uniform_cuts,
    "drawn by size, golden": _drawn("drawn by size", "golden"),
    "largest, uniform": _drawn("largest", "uniform"),
    "largest, golden": _drawn("largest", "golden"),
    "any part, uniform": _drawn("any", "uniform"),
    "any part, golden": _drawn("any", "golden"),
    "rest, uniform": _drawn("rest", "uniform"),
    "rest, golden": _drawn("rest", "golden"),
    "asymmetry, greatest, white": _signal("greatest", 0),
    "asymmetry, greatest": _signal("greatest", 1),
    "asymmetry, greatest, brown": _signal("greatest", 2),
    "asymmetry, largest": _signal("largest", 1),
    "asymmetry, every part": _signal("every", 1),
}


class Outcome(NamedTuple):
    """The sizes that a rule gave with several seeds, and the laws fitted to each."""

    sizes: NDArray[np.float64]  # (seeds, P), falling
    fits: list[dict[str, Law]]

    def explained(self, law: str) -> NDArray[np.float64]:
        """(seeds,) 1 minus the divergence from the law over that from equal sizes."""
        return np.array([1 - f[law].divergence / flat(s) for s, f in zip(*self, strict=True)])

    def best(self) -> Counter[str]:
        """In how many seeds each law has the least BIC."""
        return Counter(min(f.values(), key=lambda law: law.bic).name for f in self.fits)


def run(rule: str, parts: int, seeds: int) -> Outcome:
    """Divide the circle with several seeds. Raises `ConfigError` for fewer than 8 parts."""
    check_count("parts", parts, 8)
    rows = []
    for seed in range(seeds):
        sizes = RULES[rule](parts, np.random.default_rng([seed, parts]))
        rows.append(np.sort(sizes)[::-1])
    return Outcome(np.array(rows), [fit_laws(row * parts * POINTS) for row in rows])


def report(results: dict[int, dict[str, Outcome]]) -> str:
    """Return the tables in Markdown."""
    out = []
    for parts, by_rule in results.items():
        seeds = len(next(iter(by_rule.values())).fits)
        out += [f"### {parts} parts, {seeds} seeds", ""]
        body = []
        for rule, outcome in by_rule.items():
            shown = [formatted(interval(outcome.explained(law)), 2) for law in LAWS]
            difference = interval(
                np.array([f["geometric"].bic - f["power"].bic for f in outcome.fits]) / POINTS
            )
            best = ", ".join(f"{law} {n}" for law, n in outcome.best().most_common(2))
            body.append([rule, *shown, formatted(difference, 1), best])
        head = ["rule", *LAWS, "BIC, geometric - power, / 100", "least BIC in seeds"]
        out += [table(head, body)]
        body = []
        for rule, outcome in by_rule.items():
            top = outcome.sizes[:, 0] * parts
            small = outcome.sizes[:, -1] * parts
            beta = np.array([f["geometric"].beta / parts for f in outcome.fits])
            power = np.array([1 / f["power"].beta for f in outcome.fits])
            body.append(
                [
                    rule, formatted(interval(top), 2), f"{small.mean():.2g}",
                    formatted(interval(beta), 3), formatted(interval(power), 2),
                ]
            )  # fmt: skip
        head = ["rule", "largest part x P", "smallest x P", "geometric: beta / P",
                "power: exponent 1 / beta"]  # fmt: skip
        out += [table(head, body)]
    return "\n".join(out)


def picture(by_rule: dict[str, Outcome], path: Path) -> None:
    """Plot mean sizes by rank: straight for a geometric law on the left, a power law right."""
    shown = ("uniform cuts", "largest, golden", "any part, uniform", "rest, golden",
             "asymmetry, greatest", "asymmetry, every part")  # fmt: skip
    figure, row = axes(2, 11, 4.2, sharey=True)
    for rule, colour in zip(shown, COLOURS, strict=False):
        sizes = by_rule[rule].sizes
        mean = np.exp(np.log(np.maximum(sizes, 1e-30)).mean(0)) * sizes.shape[1]
        for axis in row:
            rank = np.arange(1, len(mean) + 1)
            axis.plot(rank, mean, "o-", ms=2.5, lw=1, color=colour, label=rule)
    row[0].set(ylabel="size of P parts, times P (geometric mean)", title="straight: geometric law")
    row[1].set(xscale="log", title="straight: power law")
    for axis in row:
        axis.set(yscale="log", ylim=(2e-3, 40), xlabel="rank of the part")
    row[0].legend(frameon=False, fontsize=8)
    save(figure, path)


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/claims/ranks"))
    parser.add_argument("--parts", type=int, nargs="+", default=SIZES)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    options = parser.parse_args(arguments)
    check_count("seeds", options.seeds, 2)
    results: dict[int, dict[str, Outcome]] = {}
    for parts in options.parts:
        results[parts] = {rule: run(rule, parts, options.seeds) for rule in RULES}
        log(f"{parts} parts divided")
    picture(next(iter(results.values())), options.out / "circle.png")
    (options.out / "circle.md").write_text(report(results), "utf-8")
    print(report(results))


if __name__ == "__main__":
    main()
