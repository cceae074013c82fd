"""Ranks over training: units and attention heads, as the monitor watched them at validations.

Shapes: V validations.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from speechasym.errors import ConfigError
from speechasym.plots.axes import open_grid, plain_log_ticks, set_title
from speechasym.plots.curves import Metrics
from speechasym.plots.ranks import LAWS
from speechasym.training.run_folder import METRICS

MOST_ROWS = 12  # levels and blocks that are drawn
MOST_TIMES = 6  # validations whose ranks are drawn
EARLY, LATE = 0.25, 1.0  # part of the colour map, from the first validation to the last
HEADS = "tab10"  # colours of a block's heads
# key of a share in a monitored level -> name and colour
USE = {"dead": "dead units", "selectivity": "selectivity", "entropy": "entropy of wins"}
LEFT = {
    "explained": "input explained by units",
    "labels.error": "labels, by the error",
    "labels.added": "labels, beyond the units",
    "following.error": "next step, by the error",
    "following.added": "next step, beyond the units",
}
COLOURS = ("#1b6ca8", "#d1751d", "#3a8f4d", "#b04a8b", "0.4")


class LevelHistory(NamedTuple):
    """A level's units over the validations."""

    title: str
    epochs: NDArray[np.float64]  # (V,)
    wins: list[NDArray[np.float64]]  # V times the shares of units that win, descending
    use: dict[str, NDArray[np.float64]]  # name -> (V,) shares
    left: dict[str, NDArray[np.float64]]  # name -> (V,) shares
    beta: dict[str, NDArray[np.float64]]  # learned, and those of the laws that the wins follow
    law: str  # which law the wins follow at last, and by how much


class BlockHistory(NamedTuple):
    """The heads of an attention over the validations."""

    title: str
    epochs: NDArray[np.float64]  # (V,)
    weights: list[NDArray[np.float64]]  # of each head: by rank, at the last validation
    selectivity: list[NDArray[np.float64]]  # of each head (V,)
    beta: list[NDArray[np.float64]]  # of each head (V,); NaN for the softmax
    keys: list[NDArray[np.float64]]  # of each head (V,): among how many its attention is divided
    span: list[NDArray[np.float64]]  # of each head (V,) s


def check_watched(metrics: Metrics, run: str | Path) -> None:
    """Raise `ConfigError` if the ranks of a run were not watched."""
    if not metrics.watched:
        problem = "does not hold ranks of units or heads over training"
        remedy = "Give --cuts or --recording to draw those of the trained model, or train a model"
        remedy += " with units or attention and monitor=true"
        raise ConfigError(Path(run) / METRICS, problem, remedy)


def level_histories(metrics: Metrics) -> list[LevelHistory]:
    """Return the history of each level with units."""
    histories = []
    for rows, epochs in _histories(metrics, "levels", ("level",)):
        fitted = {law: _column(rows, f"laws.{law}.beta") for law in LAWS}
        bic = {law: _column(rows, f"laws.{law}.bic")[-1] for law in LAWS}
        head = str(rows[-1]["head"])
        title = f"level {rows[-1]['level']}: {rows[-1].get('units', 0)} units, {rows[-1]['law']}"
        histories.append(
            LevelHistory(
                title, epochs, [np.array(row.get("wins", []), float) for row in rows],
                {name: _column(rows, key) for key, name in USE.items()},
                {name.replace("labels", head): _column(rows, k) for k, name in LEFT.items()},
                {"learned": _column(rows, "beta")} | {f"{k} fit": v for k, v in fitted.items()},
                _verdict(bic),
            )
        )  # fmt: skip
    return histories


def block_histories(metrics: Metrics) -> list[BlockHistory]:
    """Return the history of each attention."""
    blocks: dict[tuple[int, int], list[Any]] = {}
    for rows, epochs in _histories(metrics, "attention", ("level", "block", "head")):
        blocks.setdefault((rows[0]["level"], rows[0]["block"]), []).append((rows, epochs))
    histories = []
    for (level, block), heads in blocks.items():
        kind = heads[0][0][-1]["weights_by"]
        keys = ("selectivity", "beta", "keys", "span")
        values = [[_column(rows, key) for rows, _ in heads] for key in keys]
        weights = [np.array(rows[-1]["weights"], float) for rows, _ in heads]
        title = f"level {level}, block {block}: {len(heads)} heads, {kind}"
        histories.append(BlockHistory(title, heads[0][1], weights, *values))
    return histories


def _histories(
    metrics: Metrics, part: str, keys: tuple[str, ...]
) -> list[tuple[list[Mapping[str, Any]], NDArray[np.float64]]]:
    """Return rows and epochs of what is named by the same keys, over the validations."""
    found: dict[tuple[Any, ...], tuple[list[Mapping[str, Any]], list[float]]] = {}
    for line, epoch in zip(metrics.watched, metrics.watched_epochs, strict=True):
        for row in line.get(part, []):
            rows, epochs = found.setdefault(tuple(row[key] for key in keys), ([], []))
            rows.append(row)
            epochs.append(epoch)
    return [(rows, np.array(epochs)) for _, (rows, epochs) in sorted(found.items())]


def _column(rows: Sequence[Mapping[str, Any]], key: str) -> NDArray[np.float64]:
    """Return the values of a dotted key; NaN where it is missing."""
    values = []
    for row in rows:
        value: Any = row
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        values.append(math.nan if value is None else value)
    return np.array(values, float)


def _verdict(bic: Mapping[str, float]) -> str:
    gap = bic["geometric"] - bic["power"]
    if not math.isfinite(gap):
        return "too few units for a law"
    weak = "" if abs(gap) >= 10 else ", weakly"
    return f"{'power' if gap > 0 else 'geometric'}{weak} (BIC by {abs(gap):.0f})"


def some_times(count: int) -> list[int]:
    """Return the validations whose ranks are drawn: the first, the last, some between."""
    return sorted({round(n) for n in np.linspace(0, count - 1, min(count, MOST_TIMES))})


def _by_rank(axes: Axes, shares: Sequence[NDArray], names: Sequence[str], colours: Any) -> None:
    """Draw shares by rank, log-log."""
    for share, name, colour in zip(shares, names, colours, strict=True):
        axes.plot(np.arange(1, len(share) + 1), share, color=colour, linewidth=1.1, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    high = max((float(share[0]) for share in shares if len(share)), default=1.0)
    axes.set_ylim(1e-4 * high, 2 * high)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _over_time(
    axes: Axes, epochs: NDArray, curves: Mapping[str, NDArray], colours: Sequence[Any], *,
    log: bool = False,
) -> None:  # fmt: skip
    for (name, values), colour in zip(curves.items(), colours, strict=False):
        if np.isfinite(values).any():
            label = None if name.startswith("_") else name
            axes.plot(epochs, values, ".-", color=colour, linewidth=1.1, markersize=3, label=label)
    if log and axes.lines:
        axes.set_yscale("log")
        plain_log_ticks(axes)


def _level_row(row: Sequence[Axes], data: LevelHistory) -> None:
    times = some_times(len(data.wins))
    shades = colormaps["viridis_r"](np.linspace(EARLY, LATE, len(times)))
    names = [f"epoch {data.epochs[n]:.3g}" for n in times]
    _by_rank(row[0], [data.wins[n] for n in times], names, shades)
    row[0].set_title(f"{data.title}\nwins: {data.law}", fontsize="small", loc="left")
    _over_time(row[1], data.epochs, data.use, COLOURS)
    _over_time(row[2], data.epochs, data.beta, ("0.2", *LAWS.values()), log=True)
    _over_time(row[3], data.epochs, data.left, COLOURS)
    for axes, name in zip(row, ("share of the wins", "share", "β", "share explained"), strict=True):
        axes.set_ylabel(name, fontsize="small")
        if axes.lines:
            axes.legend(framealpha=0.7, edgecolor="none", fontsize="xx-small")
    for axes in (row[1], row[3]):
        axes.set_ylim(-0.02, 1.02)


def _block_row(row: Sequence[Axes], data: BlockHistory) -> None:
    count = len(data.weights)
    colours = [colormaps[HEADS](n % 10) for n in range(count)]
    _by_rank(row[0], data.weights, [f"head {n}" for n in range(count)], colours)
    row[0].set_title(data.title, fontsize="small", loc="left")
    row[0].legend(frameon=False, fontsize="xx-small")
    learned = np.isfinite(data.beta).any()  # not by the softmax
    for axes, values, name in (
        (row[1], data.selectivity, "selectivity"),
        (row[2], data.beta if learned else data.keys, "β" if learned else "keys in use"),
        (row[3], data.span, "span (s)"),
    ):
        curves = {f"_{n}": value for n, value in enumerate(values)}
        _over_time(axes, data.epochs, curves, colours, log=name != "selectivity")
        axes.set_ylabel(name, fontsize="small")
    row[0].set_ylabel("mean weight", fontsize="small")
    row[1].set_ylim(-0.02, 1.02)


def watched_figure(metrics: Metrics, name: str) -> Figure:
    """Return a row of panels for each level with units and each attention."""
    rows: list[Any] = [*level_histories(metrics), *block_histories(metrics)]
    rows = rows[:MOST_ROWS]
    size = (13, 2.5 * len(rows) + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    grid: Any = figure.subplots(len(rows), 4, squeeze=False)
    for row, data in zip(grid, rows, strict=True):
        draw: Any = _level_row if isinstance(data, LevelHistory) else _block_row
        draw(row, data)
        for axes in row:
            open_grid(axes)
            axes.tick_params(which="both", labelsize="x-small")
    for axes in grid[:, 0]:
        axes.set_xlabel("rank", fontsize="small")
    for axes in grid[-1, 1:]:
        axes.set_xlabel("epoch", fontsize="small")
    set_title(figure, f"Ranks of {name} over training")
    return figure
