"""How a run's units share the work, by rank, with a geometric and a power law fitted.

Shapes: B utterances, S steps of a level, U units.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from speechasym.errors import ConfigError
from speechasym.levels.level import LevelOutput
from speechasym.levels.output import ModelOutput
from speechasym.plots.axes import DPI, FALL, RISE, open_grid, set_title
from speechasym.ranks import fits
from speechasym.recognition import evaluation
from speechasym.recognition.trained_model import TrainedModel

LAWS = {"geometric": RISE, "power": FALL}

# --- Data -----------------------------------------------------------------------------------------


class UnitUse(NamedTuple):
    """How much a level's units were used, over some recordings."""

    level: int
    mean: NDArray[np.float64]  # (U,) mean activation
    wins: NDArray[np.float64]  # (U,) events (steps, in a level without events) that each won
    events: bool  # whether wins are counted by event
    law: str
    beta: float | None  # as learned
    resolution: float | None


class UnitCounter:
    """Accumulates the use of units, output by output; `hook` is a forward hook for the model."""

    def __init__(self) -> None:
        self.sums: dict[int, NDArray[np.float64]] = {}
        self.wins: dict[int, NDArray[np.float64]] = {}
        self.steps: dict[int, int] = {}
        self.events: dict[int, bool] = {}

    def hook(self, module: Any, inputs: Any, output: ModelOutput) -> None:
        """Add the output of a batch."""
        for number, level in enumerate(output.levels):
            if level.activation is None:
                continue
            activations = level.activation.cpu().numpy()
            zeros = np.zeros(activations.shape[-1])
            for name in (self.sums, self.wins):
                name.setdefault(number, zeros.copy())
            self.events[number] = level.winner is not None
            for row, mask in enumerate(level.mask.cpu().numpy()):
                self.sums[number] += activations[row][mask].sum(0)
                self.wins[number] += np.bincount(winners(level, row), minlength=len(zeros))
                self.steps[number] = self.steps.get(number, 0) + int(mask.sum())

    def result(self, trained: TrainedModel) -> list[UnitUse]:
        """Return the use of units in each level that has any, from the lowest."""
        uses = []
        for number in sorted(self.wins):
            _, beta, resolution = evaluation.law_of(trained, number)
            level: Any = trained.model.get_submodule(f"levels.{number}")
            uses.append(
                UnitUse(
                    number, self.sums[number] / self.steps[number], self.wins[number],
                    self.events[number], str(level.config.law), beta, resolution,
                )
            )  # fmt: skip
        return uses


def winners(level: LevelOutput, row: int = 0) -> NDArray[np.int64]:
    """Return the unit that won each event (step, without events) of one utterance of a batch."""
    mask = level.mask[row].cpu().numpy()
    if level.winner is None:
        assert level.activation is not None
        return level.activation[row].cpu().numpy()[mask].argmax(1)
    unit: NDArray[np.int64] = level.winner[row].cpu().numpy()[mask]
    return unit[np.flatnonzero(np.diff(unit, prepend=-1))]


def unit_use(trained: TrainedModel, outputs: Iterable[ModelOutput]) -> list[UnitUse]:
    """Return the use of units over outputs. Raises `ConfigError` if no level has units."""
    counter = UnitCounter()
    for output in outputs:
        counter.hook(None, None, output)
    if not counter.wins:
        raise ConfigError(
            trained.folder, "its model has no units", "Draw curves or confusion of it instead"
        )
    return counter.result(trained)


class LawCurve(NamedTuple):
    """A rank law fitted to units."""

    law: str
    beta: float
    resolution: float
    bounded: bool  # whether the data tell N
    share: NDArray[np.float64]  # of ranks 1 to N


class RankShares(NamedTuple):
    """Units by rank, and the laws fitted to them."""

    units: int
    share: NDArray[np.float64]  # descending, of the units used
    laws: list[LawCurve]  # geometric, power; none for fewer than two units
    verdict: str  # which law BIC favours, and by how much; "" without laws


def rank_shares(values: NDArray, sample_size: float | None = None) -> RankShares:
    """Sort units (U,) by how much they were used, and fit both laws.

    Args:
        sample_size: independent observations that mean activations stand for; None: values are
            counts.
    """
    share = np.sort(values)[::-1] / values.sum()
    share = share[share > 0]
    try:
        kind: Any = "counts" if sample_size is None else "activations"
        fit = fits.fit(values, kind=kind, sample_size=sample_size)
    except ConfigError:  # fewer than two units: no law
        return RankShares(len(values), share, [], "")
    laws = []
    for law in (fit.geometric, fit.power):
        assert law is not None
        i = np.arange(round(law.resolution))
        weight = np.exp(-i / law.beta) if law.law == "geometric" else (i + 1.0) ** (-1 / law.beta)
        bounded = not math.isinf(law.resolution_high)
        laws.append(LawCurve(law.law, law.beta, law.resolution, bounded, weight / weight.sum()))
    weak = "" if abs(fit.delta_bic) >= 10 else ", weakly"
    verdict = f"{fit.best.law}{weak} (BIC by {abs(fit.delta_bic):.0f})"
    return RankShares(len(values), share, laws, verdict)


# --- Panels ---------------------------------------------------------------------------------------


def ranks(axes: Axes, data: RankShares) -> list[Line2D]:
    """Draw shares by rank on double logarithmic axes: a power law is straight, a geometric bends.

    The points come first, then the lines of the laws; the legend has the verdict too.
    """
    share = data.share
    label = f"{len(share)} of {data.units} units"
    lines = axes.plot(
        np.arange(1, len(share) + 1), share, "o", color="0.25", markersize=3, label=label
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = 0.5 * float(share[-1]), 2 * float(share[0])
    axes.set_ylim(max(low, 1e-4 * high), high)
    axes.set_xlim(0.9, 1.15 * data.units)
    for law in data.laws:
        lines += axes.plot(
            np.arange(1, len(law.share) + 1), law.share, color=LAWS[law.law], linewidth=1.2,
            label=law_label(law),
        )  # fmt: skip
    if data.laws:
        axes.plot([], [], " ", label=data.verdict)
    return lines


def law_label(law: LawCurve) -> str:
    """Return a law with its parameters, for a legend."""
    n = f"N = {law.resolution:.0f}" if law.bounded else "N unbounded"
    return f"{law.law}: β = {law.beta:.3g}, {n}"


def ranks_figure(uses: Sequence[UnitUse], name: str) -> Figure:
    """Return, by level, mean activations above and wins below."""
    figure = Figure(figsize=(1 + 3.5 * len(uses), 7), dpi=DPI, layout="constrained")
    grid = figure.subplots(2, len(uses), squeeze=False, sharex="col")
    for column, use in zip(grid.T, uses, strict=True):
        ranks(column[0], rank_shares(use.mean, max(2.0, float(use.wins.sum()))))
        ranks(column[1], rank_shares(use.wins))
        learned = "" if use.beta is None else f", learned β = {use.beta:.3g}"
        n = "all" if use.resolution is None else f"{use.resolution:.3g}"
        column[0].set_title(f"level {use.level}: {use.law} law{learned}, N = {n}", fontsize="small")
        column[1].set_xlabel("rank of the unit")
        for axes in column:
            axes.legend(frameon=False, fontsize="x-small", loc="lower left")
            open_grid(axes)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    grid[0, 0].set_ylabel("share of the activation")
    grid[1, 0].set_ylabel("share of the events won")
    set_title(figure, f"Ranks of units: {name}")
    return figure
