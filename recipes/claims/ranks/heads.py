"""Do attention heads under a rank law spread over scales more than under the softmax? (C25).

Trains the transformer preset on mini with each kind of weights, and compares the time spans of its
heads, as the run's monitor measured them at the last validation. Slopes of the linear biases begin
spread, as they are by default, or all equal: spans that differ then were learned. `--slopes flat`
is nearly without positions, so that all frames compete (claims/limits).

Shapes: S seeds, B blocks, H heads.
"""

import argparse
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray

from recipes.claims.asymmetry.common import log
from speechasym import read_config, train
from speechasym.levels.attention import Attention
from speechasym.levels.hierarchy import build_model

matplotlib.use("Agg")
WEIGHTS = {
    "softmax": "weights: softmax",
    "geometric": "weights: rank, law: geometric",
    "pareto": "weights: rank, law: pareto",
    "power": "weights: rank, law: power",
    "scaled": "weights: scaled",
}
# slope of all heads, per step; the usual ones are spread from 1/4 to 1/256
SLOPES = {"spread": None, "equal": 1 / 16, "flat": 1 / 4096}
COLOURS = ("0.3", "#0072B2", "#D55E00", "#009E73", "#CC79A7")


class Heads(NamedTuple):
    """The heads of a run."""

    span: NDArray[np.float64]  # (B, H) s, ascending in each block
    selectivity: NDArray[np.float64]  # (B, H)
    keys: NDArray[np.float64]  # (B, H) effective number of keys
    error: float  # of phones on dev, share

    @property
    def spread(self) -> float:
        """Standard deviation of log2 of the spans over the heads of a block, mean over blocks."""
        return float(np.log2(self.span).std(1, ddof=1).mean())

    @property
    def ratio(self) -> float:
        """Longest over shortest span of a block, geometric mean over blocks."""
        return float(np.exp(np.log(self.span[:, -1] / self.span[:, 0]).mean()))

    @property
    def overall(self) -> float:
        """Standard deviation of log2 of the spans of all heads."""
        return float(np.log2(self.span).std(ddof=1))


def read(run: Path) -> list[Heads]:
    """Return the heads at each validation of a run."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    errors = [line["dev_error_phones"] for line in lines if "dev_error_phones" in line]
    states = [line["attention"] for line in lines if line.get("attention")]
    return [_heads(rows, error) for rows, error in zip(states, errors, strict=True)]


def _heads(rows: list[dict[str, Any]], error: float) -> Heads:
    blocks: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in rows:
        blocks.setdefault((row["level"], row["block"]), []).append(row)
    table = [sorted(block, key=lambda row: row["span"]) for block in blocks.values()]
    span, selectivity, keys = (
        np.array([[row[key] for row in block] for block in table])
        for key in ("span", "selectivity", "keys")
    )
    return Heads(span, selectivity, keys, error)


def build(slope: float | None) -> Any:
    """Return what builds a model whose slopes all begin with this one, or as usual."""

    def built(config: Any, inputs: int, sizes: Any) -> torch.nn.Module:
        model = build_model(config, inputs, sizes)
        for module in model.modules():
            if slope is not None and isinstance(module, Attention):
                torch.nn.init.constant_(module.log_slope, math.log(slope))
        return model

    return built


def interval(values: NDArray[np.float64]) -> str:
    """Return the mean of (S,) differences and its 95 % interval by Student's t."""
    quantile = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776}.get(len(values), 1.96)
    if len(values) < 2:
        return f"{values.mean():+.2f}"
    reach = quantile * values.std(ddof=1) / math.sqrt(len(values))
    return f"{values.mean():+.2f} ({values.mean() - reach:+.2f} to {values.mean() + reach:+.2f})"


def report(runs: dict[tuple[str, str], list[list[Heads]]]) -> str:
    """Return the tables of {(slopes, weights): validations of each seed}."""
    lines = [
        "| slopes begin | weights | dev phone error, % | spans of the heads of a block, s | spread,"
        " octaves | at the first validation | minus softmax, paired | longest / shortest |"
        " spread of all heads | selectivity of the heads |",
        "| " + "--- | " * 10,
    ]
    for (slopes, weights), seeds in runs.items():
        last = [seed[-1] for seed in seeds]
        spread = np.array([heads.spread for heads in last])
        base = np.array([seed[-1].spread for seed in runs[slopes, next(iter(WEIGHTS))]])
        count = min(len(spread), len(base))
        spans = np.exp(np.mean([np.log(heads.span).mean(0) for heads in last], 0))
        chosen = np.array([heads.selectivity for heads in last])
        change = "" if weights == next(iter(WEIGHTS)) else interval(spread[:count] - base[:count])
        lines.append(
            f"| {slopes} | {weights} | {100 * np.mean([h.error for h in last]):.1f} |"
            f" {', '.join(f'{s:.2f}' for s in spans)} | {spread.mean():.2f}"
            f" ({spread.min():.2f} to {spread.max():.2f}) |"
            f" {np.mean([seed[0].spread for seed in seeds]):.2f} | {change} |"
            f" {np.exp(np.mean(np.log([h.ratio for h in last]))):.1f} |"
            f" {np.mean([h.overall for h in last]):.2f} |"
            f" {chosen.min():.2f} to {chosen.max():.2f} |"
        )
    return "\n".join(lines) + "\n"


def picture(runs: dict[tuple[str, str], list[list[Heads]]], out: Path) -> None:
    """Draw the spread over the epochs, for both beginnings."""
    from matplotlib.figure import Figure

    beginnings = list(dict.fromkeys(slopes for slopes, _ in runs))
    figure = Figure(figsize=(5 * len(beginnings), 3.6), dpi=150, layout="constrained")
    grid = figure.subplots(1, len(beginnings), squeeze=False, sharey=True)[0]
    for axes, beginning in zip(grid, beginnings, strict=True):
        for colour, weights in zip(COLOURS, WEIGHTS, strict=True):
            for number, seed in enumerate(runs.get((beginning, weights), [])):
                epochs = np.arange(1, len(seed) + 1)
                label = weights if number == 0 else None
                axes.plot(epochs, [h.spread for h in seed], ".-", color=colour, label=label)
        axes.set_title(f"slopes begin {beginning}", fontsize="medium")
        axes.set_xlabel("epoch")
        axes.legend(frameon=False, fontsize="small")
        axes.set_ylim(bottom=0)
    grid[0].set_ylabel("spread of the spans of a block's\nheads (octaves)")
    figure.savefig(out)


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/claims/ranks"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=list(WEIGHTS), choices=WEIGHTS)
    parser.add_argument("--slopes", nargs="+", default=["spread", "equal"], choices=SLOPES)
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    recipe = Path(__file__).parents[2] / "mini" / "train.yaml"
    basic = ["model={preset: transformer}", "epochs=12"]
    runs: dict[tuple[str, str], list[list[Heads]]] = {}
    for seed in range(options.seeds):
        for slopes in options.slopes:
            for weights in options.only:
                folder = options.out / "heads" / f"{weights}-{slopes}-seed{seed}"
                words = f"model.every.block={{{WEIGHTS[weights]}}}"
                config = read_config(recipe, [*basic, words, f"seed={seed}", *options.set])
                train(config, folder, resume=True, build=build(SLOPES[slopes]),
                      show_progress=False)  # fmt: skip
                runs.setdefault((slopes, weights), []).append(read(folder))
                log(f"{folder.name}: spread {runs[slopes, weights][-1][-1].spread:.2f} octaves")
    (options.out / "heads.md").write_text(report(runs), "utf-8")
    picture(runs, options.out / "heads.png")
    print(report(runs))


if __name__ == "__main__":
    main()
