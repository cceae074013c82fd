"""Does the loss of asymmetry predict the rise in error, or do outliers? Tables and a figure.

    python -m recipes.claims.quantisation.report OUT NAME=LINES ...

LINES: files of `measure`, each of one run. Correlations are over layers and ways to round them;
intervals by drawing layers, each with all its conditions.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.claims.topology.lines import rate
from recipes.compare.jobs import guarded, publish, read_lines
from recipes.provenance import commit, machine, table
from speechasym.errors import ConfigError

Line = dict[str, Any]
DRAWS = 1000
OURS, RIVAL = "loss of selectivity", "max / rms"
# what is known of a condition -> its name in tables
PREDICTORS: dict[str, Callable[[Line, Line], float]] = {
    OURS: lambda n, whole: _mean([a - b for a, b in _levels("selectivity", whole, n)]),
    "change of selectivity": lambda n, whole: _mean(
        [abs(a - b) for a, b in _levels("selectivity", whole, n)]
    ),
    "activation moved": lambda n, whole: _mean(
        [b for _, b in _levels("moved", whole, n) if b is not None]
    ),
    RIVAL: lambda n, _: n["ratio"],
    "kurtosis": lambda n, _: n["kurtosis"],
    "level / rms": lambda n, _: n["step"],
    "noise / rms": lambda n, _: n["noise"],
}
PAIRS = (
    (OURS, RIVAL), ("change of selectivity", RIVAL), ("change of selectivity", "level / rms"),
    ("change of selectivity", "noise / rms"), ("change of selectivity", "activation moved"),
)  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _levels(key: str, whole: Line, now: Line) -> list[tuple[Any, Any]]:
    """Return what is known of the levels up to that of the phones, before and after rounding."""
    last = whole["level"] + 1
    return list(zip(whole[key][:last], now[key][:last], strict=True))


def matters(layer: str, level: int) -> bool:
    """Return whether phones that are read from a level depend on a layer."""
    kind, name, *_ = layer.split(".")
    return int(name) <= level if kind == "levels" else (kind, name) == ("heads", "phones")


def ranked(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks along the last axis, equal values sharing the mean of theirs."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(x, axis=-1))


def spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the rank correlation; 0 where one of them is constant."""
    a, b = (ranked(v) - (len(v) + 1) / 2 for v in (x, y))
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale else 0.0


def partial(x: NDArray[np.float64], y: NDArray[np.float64], given: NDArray[np.float64]) -> float:
    """Return the rank correlation of x and y that a third does not explain."""
    xy, xz, yz = spearman(x, y), spearman(x, given), spearman(y, given)
    scale = np.sqrt(max(0.0, 1 - xz**2) * max(0.0, 1 - yz**2))
    return (xy - xz * yz) / scale if scale > 1e-9 else 0.0


class Grid:
    """Rises in loss, and predictors, of layers rounded one at a time.

    Args:
        runs: {name: lines}; each run has its line without rounding.
        head: whose loss rises.

    Raises:
        ConfigError: no layers were measured.
    """

    def __init__(self, runs: Mapping[str, Sequence[Line]], head: str = "phones") -> None:
        self.rows: list[tuple[str, str, int, str]] = []
        rises, errors = [], []
        known: dict[str, list[float]] = {name: [] for name in PREDICTORS}
        for run, lines in runs.items():
            whole = whole_of(lines)
            for n in lines:
                if not n["layer"] or not matters(n["layer"], whole["level"]):
                    continue
                self.rows.append((run, n["layer"], n["bits"], n["scheme"]))
                rises.append(n["loss"][head] - whole["loss"][head])
                errors.append(_rate(n, head) - _rate(whole, head))
                for name, value in PREDICTORS.items():
                    known[name].append(value(n, whole))
        if not self.rows:
            raise ConfigError("layers", "were not measured one by one", "Use measure --layers")
        self.rise, self.errors = np.array(rises), np.array(errors)
        self.known = {name: np.array(values) for name, values in known.items()}
        self.bits = np.array([row[2] for row in self.rows])
        layers = [row[:2] for row in self.rows]
        self.layers = [np.array([n for n, x in enumerate(layers) if x == layer])
                       for layer in dict.fromkeys(layers)]  # fmt: skip

    def strata(self, within: bool) -> list[NDArray[np.bool_]]:
        """Return which rows are compared with each other: all, or those of the same bits."""
        everything = np.ones(len(self.rows), bool)
        return [self.bits == b for b in np.unique(self.bits)] if within else [everything]

    def interval(self, value: Callable[[NDArray[np.int64]], float]) -> tuple[float, float, float]:
        """Return a value of rows, and its 95 % interval over layers drawn with replacement."""
        rng = np.random.default_rng(0)
        drawn = []
        for _ in range(DRAWS):
            chosen = rng.integers(len(self.layers), size=len(self.layers))
            drawn.append(value(np.concatenate([self.layers[n] for n in chosen])))
        low, high = np.quantile(drawn, [0.025, 0.975])
        return value(np.arange(len(self.rows))), float(low), float(high)

    def over(
        self, within: bool, value: Callable[[NDArray[np.int64]], float]
    ) -> tuple[float, float, float]:
        """Return the mean over strata of a value of rows, and its interval."""
        strata = self.strata(within)

        def mean(rows: NDArray[np.int64]) -> float:
            return float(np.mean([value(rows[stratum[rows]]) for stratum in strata]))

        return self.interval(mean)

    def correlation(self, name: str, within: bool) -> tuple[float, float, float]:
        """Return Spearman's correlation of a predictor with the rise in loss."""
        x = self.known[name]
        return self.over(within, lambda rows: spearman(x[rows], self.rise[rows]))

    def contrast(self, ours: str, other: str, within: bool) -> tuple[float, float, float]:
        """Return by how much the correlation of one predictor is above that of another."""
        x, z, y = self.known[ours], self.known[other], self.rise
        return self.over(
            within, lambda rows: spearman(x[rows], y[rows]) - spearman(z[rows], y[rows])
        )

    def remainder(self, ours: str, given: str, within: bool) -> tuple[float, float, float]:
        """Return the partial correlation of one predictor, given another."""
        x, z, y = self.known[ours], self.known[given], self.rise
        return self.over(within, lambda rows: partial(x[rows], y[rows], z[rows]))


def whole_of(lines: Sequence[Line]) -> Line:
    """Return the line without rounding. Raises `ConfigError` if it is missing."""
    for n in lines:
        if n["bits"] == 32:
            return n
    raise ConfigError("lines", "lack that without rounding", "Run measure again")


def _rate(line: Line, head: str) -> float:
    return 100 * rate([{"counts": line["errors"][head]}])


def _cell(value: tuple[float, float, float]) -> str:
    return "{:+.2f} [{:+.2f}, {:+.2f}]".format(*value)


def grid_report(grid: Grid) -> str:
    """Return the correlations in Markdown."""
    body = [
        [name, _cell(grid.correlation(name, False)), _cell(grid.correlation(name, True))]
        for name in PREDICTORS
    ]
    parts = [
        f"{len(grid.rows)} conditions, {len(grid.layers)} layers. Spearman's correlation with the "
        "rise in the loss of phones [95 % interval over layers]:\n",
        table(["predictor", "all conditions", "at equal bits (mean)"], body),
    ]
    body = []
    for ours, other in PAIRS:
        cells = [f"{ours} - {other}"]
        for within in (False, True):
            cells.append(_cell(grid.contrast(ours, other, within)))
        cells += [
            _cell(grid.remainder(ours, other, True)), _cell(grid.remainder(other, ours, True)),
        ]  # fmt: skip
        body.append(cells)
    head = [
        "pair",
        "difference, all",
        "at equal bits",
        "first, given second",
        "second, given first",
    ]
    return "\n".join([*parts, table(head, body)])


def whole_report(name: str, lines: Sequence[Line]) -> str:
    """Return what all layers together cost, by bits and scheme."""
    whole = whole_of(lines)
    heads = [head for head in ("phones", "letters", "words") if head in whole["errors"]]
    body = []
    for n in lines:
        if n["layer"]:
            continue
        levels = ", ".join(f"{x:.3f}" for x in n["selectivity"])
        what = "none" if n["bits"] == 32 else f"{n['bits']}"
        body.append([
            what, n["scheme"], str(n["inputs"] or "-"),
            *(f"{_rate(n, head):.1f}" for head in heads), f"{n['loss']['phones']:.3f}", levels,
        ])  # fmt: skip
    head = ["bits", "scale for each", "bits of inputs", *(f"{h}, %" for h in heads),
            "loss of phones", "selectivity of levels"]  # fmt: skip
    return f"{name}:\n\n{table(head, body)}"


def draw(runs: Mapping[str, Sequence[Line]], grid: Grid | None, path: Path) -> None:
    """Draw errors against bits, and the rise of each layer against both predictors."""
    from matplotlib.figure import Figure

    figure = Figure((11, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    name, lines = next(iter(runs.items()))
    for scheme, mark in (("tensor", "o--"), ("channel", "o-")):
        mine = [n for n in lines if not n["layer"] and not n["inputs"] and n["scheme"] == scheme]
        mine = sorted((n for n in mine if n["bits"] <= 8), key=lambda n: n["bits"])
        for head, colour in (("phones", "C0"), ("letters", "C1")):
            y = [_rate(n, head) for n in mine]
            label = f"{head}, a scale for each {scheme}"
            axes[0].plot([n["bits"] for n in mine], y, mark, color=colour, label=label, ms=4)
    axes[0].set(xlabel="bits of the weights", ylabel="errors, %", ylim=(0, None), title=name)
    axes[0].legend(frameon=False, fontsize=8)
    if grid is not None:
        for axis, predictor in ((axes[1], "change of selectivity"), (axes[2], RIVAL)):
            for b in np.unique(grid.bits):
                at = grid.bits == b
                y = np.clip(grid.rise[at], 1e-4, None)
                axis.plot(grid.known[predictor][at], y, ".", ms=4, label=f"{b} bits")
            rho = grid.correlation(predictor, True)
            axis.set(
                xlabel=f"{predictor}, one layer rounded", yscale="log",
                title=f"at equal bits: {_cell(rho)}",
            )  # fmt: skip
            axis.title.set_fontsize(9)
        axes[1].set(ylabel="rise in loss of phones, nats (at least 1e-4)", xscale="log")
        axes[1].legend(frameon=False, fontsize=8)
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=130)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("out", type=Path, help="folder")
    add("runs", nargs="+", metavar="NAME=LINES")
    options = parser.parse_args(arguments)

    def act() -> int:
        runs = {}
        for word in options.runs:
            name, equals, path = word.partition("=")
            if not equals or not (lines := read_lines(Path(path))):
                raise ConfigError(word, "is not NAME=LINES with lines", "Run measure first")
            runs[name] = lines
        options.out.mkdir(parents=True, exist_ok=True)
        by_layer = {name: lines for name, lines in runs.items() if any(n["layer"] for n in lines)}
        grids = {name: Grid({name: lines}) for name, lines in by_layer.items()}
        together = Grid(by_layer) if by_layer else None
        parts = [whole_report(name, lines) for name, lines in runs.items()]
        parts += [f"{name}, layer by layer:\n\n{grid_report(g)}" for name, g in grids.items()]
        if together is not None and len(grids) > 1:
            parts.append(f"All of these runs:\n\n{grid_report(together)}")
        parts.append(f"Commit {commit()}, {machine()}.\n")
        publish("\n".join(parts), options.out / "quantisation.md")
        draw(runs, together, options.out / "quantisation.png")
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
