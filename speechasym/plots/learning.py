"""What each stage learned from, and the memory it took, as the meter of learning rules measured."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from speechasym.errors import ConfigError
from speechasym.plots.axes import open_grid, set_title
from speechasym.plots.curves import Metrics
from speechasym.training.run_folder import METRICS

RULE, TRUE = "#1b6ca8", "0.55"
MOST_STAGES = 12  # that have panels of their own
ACROSS = 6  # panels side by side
MIB = 2**20


class StageCurves(NamedTuple):
    """What the meter measured at a stage, over the epochs; NaN where something is missing."""

    title: str
    epochs: NDArray[np.float64]
    cosine: NDArray[np.float64]  # between the gradient of the rule and the true one
    gradient: NDArray[np.float64]  # their norms
    gradient_true: NDArray[np.float64]


class StageMemory(NamedTuple):
    """Activation memory for the largest batch measured, MiB; NaN where it is not known."""

    names: list[str]  # numbers of the stages, and the whole step
    rule: NDArray[np.float64]
    backprop: NDArray[np.float64]


def check_measured(metrics: Metrics, run: str | Path) -> None:
    """Raise `ConfigError` if a run was not measured."""
    if not metrics.measured:
        problem = "holds no measurements of the stages"
        raise ConfigError(Path(run) / METRICS, problem, "Train a run with learning.meter=true")


def stage_curves(metrics: Metrics, most: int = MOST_STAGES) -> list[StageCurves]:
    """Return the curves of all stages, or of `most` of them from the lowest to the top."""
    lines = metrics.measured
    if not lines:
        return []
    count = len(lines[0]["stages"])
    epochs = np.array([line["epoch"] for line in lines], float)
    curves = []
    for number in sorted({round(n) for n in np.linspace(0, count - 1, min(count, most))}):
        rows = [line["stages"][number] for line in lines]
        values = [_column(rows, key) for key in ("cosine", "gradient", "gradient_true")]
        curves.append(StageCurves(stage_title(rows[0]), epochs, *values))
    return curves


def stage_title(row: Mapping[str, Any]) -> str:
    """Return a stage's number, level and blocks in words."""
    first, last = row["blocks"]
    blocks = f"blocks {first} to {last - 1}" if last - first > 1 else f"block {first}"
    return f"stage {row['stage']}: level {row['level']}, {blocks}"


def largest(metrics: Metrics) -> Mapping[str, Any]:
    """Return the measurement of the batch that took the most memory."""
    return max(metrics.measured, key=lambda line: line["memory"])


def stage_memory(metrics: Metrics) -> StageMemory:
    """Return the activation memory of each stage, and of the whole step."""
    line = largest(metrics)
    rows = [*line["stages"], line]
    names = [*(str(row["stage"]) for row in line["stages"]), "step"]
    return StageMemory(names, *(_column(rows, k) / MIB for k in ("memory", "memory_backprop")))


def _column(rows: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.float64]:
    return np.array([math.nan if (v := row.get(key)) is None else v for row in rows], float)


def cosine(axes: Axes, curves: StageCurves) -> list[Line2D]:
    """Draw the cosine of a stage over the epochs."""
    axes.axhline(0, color="0.6", linewidth=0.8)
    lines = axes.plot(curves.epochs, curves.cosine, ".-", color=RULE, linewidth=1.2)
    axes.set_title(curves.title.replace(": ", "\n"), fontsize="small")
    return lines


def norms(axes: Axes, curves: StageCurves) -> list[Line2D]:
    """Draw the norms of both gradients of a stage over the epochs."""
    style: Any = {"linewidth": 1.2, "markersize": 4}
    lines = axes.plot(
        curves.epochs, curves.gradient_true, ".--", color=TRUE, label="true gradient", **style
    )
    lines += axes.plot(
        curves.epochs, curves.gradient, ".-", color=RULE, label="gradient of the rule", **style
    )
    return lines


def memory(axes: Axes, data: StageMemory) -> list[BarContainer]:
    """Draw bars of the memory of each stage, and of the whole step, beside backpropagation's."""
    at = np.arange(len(data.names), dtype=float)
    at[-1] += 0.5  # a gap before the whole step
    bars = [
        axes.bar(at - 0.2, np.nan_to_num(data.rule), 0.4, color=RULE, label="the rule"),
        axes.bar(at + 0.2, np.nan_to_num(data.backprop), 0.4, color=TRUE, label="backpropagation"),
    ]
    every = max(1, math.ceil((len(at) - 1) / 24))
    shown = [n for n in range(len(at) - 1) if n % every == 0] + [len(at) - 1]
    axes.set_xticks(at[shown], [data.names[n] for n in shown])
    axes.set_xlabel("stage, and the whole step")
    axes.set_ylabel("activations (MiB)")
    axes.legend(frameon=False, fontsize="small", loc="upper left")
    return bars


def learning_figure(metrics: Metrics, name: str) -> Figure:
    """Return cosine and norms of the gradients of each stage, and the memory of all."""
    curves = stage_curves(metrics)
    columns = min(ACROSS, len(curves))
    rows = math.ceil(len(curves) / columns)
    size = (max(6.0, 1.9 * columns + 1), 3.4 * rows + 2.8)
    figure = Figure(figsize=size, layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[3.4 * rows, 2.4])
    upper, lower = parts
    grid: Any = upper.subplots(2 * rows, columns, sharex=True, squeeze=False, sharey="row")
    lines: list[Line2D] = []
    for place in range(rows * columns):
        row, column = 2 * (place // columns), place % columns
        pair = grid[row][column], grid[row + 1][column]
        if place >= len(curves):
            for axes in pair:
                axes.set_visible(False)
            continue
        cosine(pair[0], curves[place])
        lines = norms(pair[1], curves[place])
        pair[1].set_yscale("log")
        low = min(0.0, *(float(np.nanmin(c.cosine, initial=0)) for c in curves))
        pair[0].set_ylim(1.1 * low - 0.05, 1.05)
        for axes in pair:
            open_grid(axes)
        pair[1].tick_params(labelbottom=True)
        pair[1].set_xlabel("epoch", fontsize="small")
        if column == 0:
            pair[0].set_ylabel("cosine to the\ntrue gradient")
            pair[1].set_ylabel("norm")
    grid[1][0].legend(handles=lines, frameon=False, fontsize="x-small")
    axes = lower.subplots()
    memory(axes, stage_memory(metrics))
    open_grid(axes)
    axes.grid(False, axis="x")
    set_title(figure, f"What the stages of {name} learned from")
    return figure
