"""The report of `depth`: tables over seeds, and variance through the stacks.

Shapes: R rates, S seeds.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.claims.block.task import CONFIGS, TARGET
from recipes.provenance import table

ROUNDS = 2000  # of resampling, for 95 % intervals
# Okabe and Ito's palette, distinguishable with any colour vision
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")


def interval(values: NDArray) -> tuple[float, float, float]:
    """Return the median of (S,) seeds and its bootstrap 95 % interval; infinite: not reached."""
    picks = np.random.default_rng(0).integers(0, len(values), (ROUNDS, len(values)))
    with np.errstate(invalid="ignore"):
        drawn = np.median(values[picks], axis=1)
    low, high = np.quantile(drawn[~np.isnan(drawn)], [0.025, 0.975], method="inverted_cdf")
    return float(np.median(values)), float(low), float(high)


def formatted(values: NDArray, form: Callable[[float], str]) -> str:
    """Return `median (low to high)`, or `-` without values."""
    values = values[~np.isnan(values)]
    if not len(values):
        return "-"
    middle, low, high = (form(v) for v in interval(values))
    return middle if low == high == middle else f"{middle} ({low} to {high})"


def plain(x: float) -> str:
    """Return two digits; powers of ten outside 0.01 to 1000; 'never' for infinity."""
    if math.isinf(x):
        return "never"
    return f"{x:.2g}" if x == 0 or 0.01 <= abs(x) < 1000 else f"{x:.0e}"


class Results:
    """The runs of one configuration and depth, arrays (R, S)."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        self.steps = lines[-1]["steps"]  # shorter runs may be in the same file
        self.at = {(line["rate"], line["seed"]): line for line in lines}
        self.seeds = sorted({seed for _, seed in self.at})
        rates = sorted({rate for rate, _ in self.at})
        self.rates = [r for r in rates if all((r, s) in self.at for s in self.seeds)]

    def table(self, key: str) -> NDArray:
        """Return (R, S) of a number; NaN for null."""
        pick = [[self.at[r, s][key] for s in self.seeds] for r in self.rates]
        return np.array(pick, dtype=float)

    @property
    def highest(self) -> NDArray:
        """(S,) highest stable learning rate; 0 for none."""
        return (self.table("stable") * np.array(self.rates)[:, None]).max(0)

    @property
    def reached(self) -> NDArray:
        """(R, S) steps to the target, infinite for never."""
        return np.nan_to_num(self.table("reached"), nan=math.inf)

    @property
    def best(self) -> NDArray:
        """(S,) index of the best rate for the *other* seeds; ties are broken by the final loss."""
        reached, end = self.reached, np.nan_to_num(self.table("end"), nan=math.inf)
        out = []
        for s in range(len(self.seeds)):
            others = [i for i in range(len(self.seeds)) if i != s] or [s]
            # medians are compared first, losses decide ties, such as never reached
            keys = list(
                zip(np.median(reached[:, others], 1), np.median(end[:, others], 1), strict=True)
            )
            out.append(min(range(len(keys)), key=keys.__getitem__))
        return np.array(out)

    def chosen(self, table: NDArray) -> NDArray:
        """Return (S,) of (R, S) at each seed's best rate."""
        return table[self.best, np.arange(len(self.seeds))]

    def growth(self, key: str) -> NDArray:
        """Return (S,) variance after the last block over that before the first, at best rates."""
        out = []
        for s, r in zip(self.seeds, self.best, strict=True):
            first, *_, last = self.at[self.rates[r], s][key]
            out.append(math.inf if first is None or last is None else last / first)
        return np.array(out)

    def track(self, key: str) -> tuple[NDArray, NDArray]:
        """Return relative depth, and the median variance over seeds at the best rate."""
        lines = [self.at[self.rates[r], s] for s, r in zip(self.seeds, self.best, strict=True)]
        values = np.array([line[key] for line in lines], dtype=float)
        known = values[~np.isnan(values).any(1)]
        places = np.array(lines[0]["places"]) / lines[0]["depth"]
        return places, np.median(known, 0) if len(known) else np.full(len(places), np.nan)


def verdict(results: dict[str, Results]) -> str:
    """Return steps of the theory's block minus those of each rival, seed by seed."""
    if "theory" not in results:
        return ""
    ours, words = results["theory"].chosen(results["theory"].reached), []
    for name, other in results.items():
        if name == "theory" or other.seeds != results["theory"].seeds:
            continue
        rival = other.chosen(other.reached)
        if np.isinf(ours).all() and np.isinf(rival).all():
            words.append(f"{name}: neither reached it")
            continue
        # never counts as twice the number of steps: only the sign of the difference matters then
        cap = 2 * results["theory"].steps
        middle, low, high = interval(np.minimum(ours, cap) - np.minimum(rival, cap))
        if len(ours) < 5:
            outcome = "too few seeds"
        else:
            outcome = "fewer" if high < 0 else "more" if low > 0 else "not told apart"
        words.append(f"{name}: {outcome} ({middle:+.0f}, {low:+.0f} to {high:+.0f})")
    return "Steps of the theory's block minus those of " + "; ".join(words) + "."


def report(lines: list[dict[str, Any]], folder: Path) -> str:
    """Return the report in Markdown, and write variance.png to the folder."""
    grouped: dict[int, dict[str, list[dict[str, Any]]]] = {}
    for line in lines:
        grouped.setdefault(line["depth"], {}).setdefault(line["config"], []).append(line)
    depths = {
        depth: {name: Results(kinds[name]) for name in CONFIGS if name in kinds}
        for depth, kinds in sorted(grouped.items())
    }
    depths = {
        depth: {name: r for name, r in results.items() if r.rates}
        for depth, results in depths.items()
        if any(r.rates for r in results.values())
    }
    parts = [
        "# Depth of residual stacks (C10)",
        f"Median over seeds and its bootstrap 95 % interval. Target: a loss of {TARGET}"
        " nats; the rate is the one that was best for the other seeds.",
    ]
    head = [
        "block", "highest stable rate", "steps to target", "loss at the end",
        "variance, last / first: at start", "after training",
        "gradient, first / last: at start", "after training",
    ]  # fmt: skip
    for depth, results in depths.items():
        some = next(iter(results.values()))
        parts.append(
            f"## {depth} blocks, {some.steps} steps, {len(some.seeds)} seeds, "
            f"rates {', '.join(f'{r:g}' for r in some.rates)}"
        )
        rows = []
        for name, r in results.items():
            rows.append(
                [
                    name,
                    formatted(r.highest, lambda v: f"{v:g}" if v else "none"),
                    formatted(
                        r.chosen(r.reached), lambda v: "never" if math.isinf(v) else f"{v:.0f}"
                    ),
                    formatted(r.chosen(r.table("end")), plain),
                    formatted(r.growth("variance_start"), plain),
                    formatted(r.growth("variance_end"), plain),
                    formatted(r.chosen(r.table("gradient_start")), plain),
                    formatted(r.chosen(r.table("gradient_end")), plain),
                ]
            )
        parts.append(table(head, rows).rstrip())
        if text := verdict(results):
            parts.append(text)
    _figure(depths, folder / "variance.png")
    parts.append("![variance through depth](variance.png)")
    return "\n\n".join(parts) + "\n"


def _figure(depths: dict[int, dict[str, Results]], path: Path) -> None:
    """Plot variance through depth, at the start (thin) and after training (thick)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, row = plt.subplots(
        1, len(depths), figsize=(3.6 * len(depths) + 1.6, 3.6), layout="constrained",
        squeeze=False, sharey=True,
    )  # fmt: skip
    for axis, (depth, results) in zip(row[0], depths.items(), strict=True):
        for name, r in results.items():
            colour = COLOURS[list(CONFIGS).index(name)]
            axis.plot(*r.track("variance_start"), color=colour, lw=0.8, ls="--")
            axis.plot(*r.track("variance_end"), color=colour, lw=1.8, label=name)
        axis.set(title=f"{depth} blocks", xlabel="relative depth", yscale="log")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    row[0][0].set_ylabel("mean square of the stream\n(dashed: at the start)")
    row[0][-1].legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
