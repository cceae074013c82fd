"""Training curves of a run: losses, error rates on the dev cuts, and the learning rate."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from speechasym.errors import ConfigError
from speechasym.plots.axes import open_grid, plain_log_ticks, set_title
from speechasym.training.config import HEADS, OWN
from speechasym.training.run_folder import METRICS

COLOURS = {"phones": "#1b6ca8", "letters": "#d1751d", "words": "#3a8f4d", OWN: "#1b6ca8"}
PARTS = ("levels", "attention")  # of a line of the monitor
SMOOTH = 0.02  # share of the steps that a training loss is averaged over


class Metrics(NamedTuple):
    """The lines of metrics.jsonl, each placed on a time axis in epochs."""

    steps: list[dict[str, Any]]
    step_epochs: NDArray[np.float64]  # of each step
    validations: list[dict[str, Any]]
    validation_epochs: NDArray[np.float64]  # of each validation
    measured: Sequence[dict[str, Any]] = ()  # stages, as `rules.meter` describes them
    watched: Sequence[dict[str, Any]] = ()  # ranks, as `training.monitor` describes them
    watched_epochs: Sequence[float] = ()  # of each
    growths: Sequence[dict[str, Any]] = ()  # of the model, as `growing` describes them
    growth_epochs: Sequence[float] = ()  # of each growth

    @property
    def heads(self) -> list[str]:
        """Heads that were trained; `OWN`, the levels' own error, in a run without heads."""
        return [h for h in HEADS if self.steps and f"loss_{h}" in self.steps[0]] or [OWN]


class Curve(NamedTuple):
    """A value over the epochs."""

    head: str  # "" for the learning rate
    epochs: NDArray[np.float64]
    values: NDArray[np.float64]  # NaN where there is none
    dev: bool = False  # whether it was measured on the dev cuts

    @property
    def lowest(self) -> tuple[float, float] | None:
        """Epoch and value of the lowest point; None for a curve without values."""
        if not np.isfinite(self.values).any():
            return None
        best = int(np.nanargmin(self.values))
        return float(self.epochs[best]), float(self.values[best])


def read_metrics(run: str | Path) -> Metrics:
    """Read a run's metrics. Raises `ConfigError` if there are none or they cannot be read."""
    path = Path(run) / METRICS
    try:
        *whole, rest = path.read_text("utf-8").split("\n")  # a run may be writing the last line
        lines = [json.loads(line) for line in (whole if whole or not rest else [rest])]
        if any(isinstance(v, str | dict) for line in lines for v in line.values()):
            raise ValueError("not all values are numbers")
        steps = [line for line in lines if "loss" in line]
        measured = [line for line in lines if "stages" in line]
        if any(not {"epoch", "memory"} <= line.keys() for line in measured):
            raise ValueError("measurements of stages are not complete")
        watched = [line for line in lines if "levels" in line]
        if not all(isinstance(line[key], list) for line in watched for key in PARTS):
            raise ValueError("ranks are not complete")
        validations = [line for line in lines if any(key.startswith("dev_") for key in line)]
        numbers = [line["step"] for line in steps]
        epochs, first, index, size = np.unique(
            np.array([line["epoch"] for line in steps], int),
            return_index=True, return_inverse=True, return_counts=True,
        )  # fmt: skip
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(path, f"cannot be read ({error})", "Give the folder of a run") from error
    if not steps:
        raise ConfigError(path, "holds no training step", "Train the run first")
    size[-1] = max(size)  # the last epoch may be unfinished
    at = epochs[index] + (np.arange(1, len(steps) + 1) - first[index]) / size[index]
    at_step = dict(zip(numbers, at, strict=True))
    at_validations = np.array([at_step.get(line["step"], 0.0) for line in validations])
    at_watched = [float(at_step.get(line["step"], 0.0)) for line in watched]
    growths = [line for line in lines if "grown" in line]
    at_growths = [float(at_step.get(line["step"], 0.0)) for line in growths]
    return Metrics(
        steps, at, validations, at_validations, measured, watched, at_watched, growths, at_growths
    )


def training_losses(metrics: Metrics) -> list[Curve]:
    """Return each head's training loss, step by step, in nats per label; NaN where it is 0."""
    curves = []
    for head in metrics.heads:
        loss = _column(metrics.steps, f"loss_{head}")
        loss[loss == 0] = math.nan  # a step in which no cut had enough steps for its labels
        curves.append(Curve(head, metrics.step_epochs, loss))
    return curves


def loss_curves(metrics: Metrics) -> list[Curve]:
    """Return each head's loss in nats per label: in training, smoothed, and on the dev cuts."""
    curves = []
    for raw in training_losses(metrics):
        width = max(1, round(SMOOTH * len(raw.values)))
        curves.append(raw._replace(values=running_mean(raw.values, width)))
        dev = _column(metrics.validations, f"dev_loss_{raw.head}")
        curves.append(Curve(raw.head, metrics.validation_epochs, dev, dev=True))
    return curves


def some_negative(curves: Sequence[Curve]) -> bool:
    """Return whether a loss is below 0, as beside rivals (`mmi`), so that it has no logarithm."""
    return any(bool((curve.values < 0).any()) for curve in curves)


def error_curves(metrics: Metrics) -> list[Curve]:
    """Return each head's error rate on the dev cuts, in %."""
    epochs, heads = metrics.validation_epochs, [h for h in metrics.heads if h != OWN]
    rates = [100 * _column(metrics.validations, f"dev_error_{head}") for head in heads]
    return [Curve(head, epochs, rate, dev=True) for head, rate in zip(heads, rates, strict=True)]


def rate_curve(metrics: Metrics) -> Curve:
    """Return the learning rate, in thousandths."""
    return Curve("", metrics.step_epochs, 1000 * _column(metrics.steps, "learning_rate"))


def _column(lines: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    """One key of all lines; NaN where a line lacks it or has null."""
    values = [line.get(name) for line in lines]
    return np.array([math.nan if v is None else v for v in values], float)


def running_mean(x: NDArray, width: int) -> NDArray[np.float64]:
    """Return means over the `width` values around each, fewer at the ends; NaN is left out."""
    sums = np.concatenate([[0.0], np.nan_to_num(x).cumsum()])
    counts = np.concatenate([[0], np.isfinite(x).cumsum()])
    low = np.maximum(0, np.arange(len(x)) - width // 2)
    high = np.minimum(len(x), low + width)
    count = counts[high] - counts[low]
    return np.where(count > 0, (sums[high] - sums[low]) / np.maximum(count, 1), math.nan)


def losses(axes: Axes, metrics: Metrics) -> list[Line2D]:
    """Draw CTC losses: training thin and smoothed, dev dashed; log scale unless some are < 0."""
    for raw in training_losses(metrics):
        axes.plot(raw.epochs, raw.values, color=COLOURS[raw.head], alpha=0.2, linewidth=0.5)
    lines, curves = [], loss_curves(metrics)
    for curve in curves:
        style: Any = {"linewidth": 1.4, "label": curve.head}
        if curve.dev:
            style = {"linewidth": 1.2, "label": f"{curve.head}, dev", "linestyle": (0, (4, 2))}
        lines += axes.plot(curve.epochs, curve.values, color=COLOURS[curve.head], **style)
    values = np.concatenate([curve.values for curve in curves])
    values = values[values > 0]
    if len(values) and not some_negative(curves):
        axes.set_yscale("log")
        axes.set_ylim(0.7 * float(values.min()), 1.5 * float(values.max()))
        plain_log_ticks(axes)
    own = metrics.heads == [OWN]
    axes.set_ylabel("loss of the levels" if own else "CTC loss\n(nats per label)")
    return lines


def errors(axes: Axes, metrics: Metrics) -> list[Line2D]:
    """Draw error rates on dev, %, log scale; a dot and a figure mark the lowest of each."""
    lines, lowest = [], []
    for curve in error_curves(metrics):
        colour = COLOURS[curve.head]
        style: Any = {"color": colour, "linewidth": 1.4, "label": curve.head}
        lines += axes.plot(curve.epochs, curve.values, **style)
        if curve.lowest is not None:
            lowest.append((*curve.lowest, colour))
            axes.plot(*curve.lowest, "o", color=colour, markersize=4)
    if lowest and min(value for _, value, _ in lowest) > 0:
        axes.set_yscale("log")
        plain_log_ticks(axes)
    above: Any = {"xytext": (0, 5), "textcoords": "offset points", "ha": "right", "va": "bottom"}
    for epoch, value, colour in lowest:
        axes.annotate(f"{value:.1f} %", (epoch, value), color=colour, fontsize="small", **above)
    axes.set_ylabel("dev error (%)")
    return lines


def rate(axes: Axes, metrics: Metrics) -> list[Line2D]:
    """Draw the learning rate, in thousandths."""
    curve = rate_curve(metrics)
    lines = axes.plot(curve.epochs, curve.values, color="0.35", linewidth=1.0)
    axes.set_ylim(0, 1.1 * float(np.nanmax(curve.values, initial=1e-6)))
    axes.set_ylabel("rate\n(10⁻³)")
    return lines


def mark_growths(axes: Axes, metrics: Metrics) -> None:
    """Write the sizes of the model's levels where it has grown."""
    for line, epoch in zip(metrics.growths, metrics.growth_epochs, strict=True):
        size = "+".join(map(str, line["sizes"]))
        axes.annotate(
            size, (epoch, 1), xycoords=("data", "axes fraction"), xytext=(2, -2),
            textcoords="offset points", va="top", color="0.4", fontsize="x-small",
        )  # fmt: skip


def curves_figure(metrics: Metrics, name: str) -> Figure:
    """Return losses, error rates (of heads, if there are any) and learning rate over the epochs."""
    own = metrics.heads == [OWN]
    figure = Figure(figsize=(8, 4.5 if own else 7), layout="constrained")
    grid = figure.subplots(
        3 - own, 1, sharex=True, height_ratios=[1, 0.25] if own else [1, 1, 0.25]
    )
    lines = losses(grid[0], metrics)
    if not own:
        errors(grid[1], metrics)
    rate(grid[-1], metrics)
    for axes in grid:
        open_grid(axes)
        for epoch in metrics.growth_epochs:
            axes.axvline(epoch, color="0.6", linewidth=0.8, linestyle=":", zorder=0)
    mark_growths(grid[0], metrics)
    columns = max(1, len(metrics.heads))
    grid[0].legend(handles=lines, ncols=columns, frameon=False, fontsize="small")
    grid[-1].set_xlabel("epoch")
    grid[-1].set_xlim(0, max(float(metrics.step_epochs[-1]), 1e-6))
    figure.align_ylabels(grid)
    set_title(figure, f"Training of {name}")
    return figure
