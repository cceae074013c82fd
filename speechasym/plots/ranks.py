"""How a run's units share the work, by rank, with a geometric and a power law fitted.

Shapes: B utterances, S steps of a level, U units.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from speechasym.errors import ConfigError
from speechasym.levels.level import ModelOutput
from speechasym.plots.axes import FALL, RISE, open_grid, set_title
from speechasym.ranks import fits
from speechasym.recognition import evaluation
from speechasym.recognition.trained_model import TrainedModel

LAWS = {"geometric": RISE, "power": FALL}


@dataclass
class UnitUse:
    """How much a level's units were used, over some recordings."""

    level: int
    law: str
    beta: float | None  # as learned
    resolution: float | None  # N, as learned; None: all
    total: NDArray[np.float64]  # (U,) activation, summed over steps
    wins: NDArray[np.float64]  # (U,) events (steps, in a level without events) that each won
    events: bool  # whether wins are counted by event
    steps: int = 0

    @property
    def mean(self) -> NDArray[np.float64]:
        """(U,) mean activation."""
        return self.total / self.steps


def add_unit_use(uses: dict[int, UnitUse], trained: TrainedModel, output: ModelOutput) -> None:
    """Add what a batch used of the units to {level: use}."""
    for number, level in enumerate(output.levels):
        if level.activation is None:
            continue
        activations = level.activation.cpu().numpy()
        units = activations.shape[-1]
        if number not in uses:
            _, beta, resolution = evaluation.law_of(trained, number)
            config: Any = trained.model.get_submodule(f"levels.{number}")
            law, events = str(config.config.law), level.winner is not None
            zeros = np.zeros((2, units))
            uses[number] = UnitUse(number, law, beta, resolution, zeros[0], zeros[1], events)
        use = uses[number]
        for row, mask in enumerate(level.mask.cpu().numpy()):
            use.total += activations[row][mask].sum(0)
            use.steps += int(mask.sum())
            winner = activations[row][mask].argmax(1)
            if level.winner is not None:  # once per event
                held = level.winner[row].cpu().numpy()[mask]
                winner = held[np.flatnonzero(np.diff(held, prepend=-1))]
            use.wins += np.bincount(winner, minlength=units)


def unit_use(trained: TrainedModel, outputs: Iterable[ModelOutput]) -> list[UnitUse]:
    """Return the use of each level's units. Raises `ConfigError` if no level has units."""
    uses: dict[int, UnitUse] = {}
    for output in outputs:
        add_unit_use(uses, trained, output)
    if not uses:
        remedy = "Draw curves or confusion of it instead"
        raise ConfigError(trained.folder, "its model has no units", remedy)
    return list(uses.values())


class LawCurve(NamedTuple):
    """A rank law fitted to units."""

    law: str
    label: str  # with its parameters, for a legend
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
        fit = fits.fit(values, sample_size=sample_size)
    except ConfigError:  # fewer than two units: no law
        return RankShares(len(values), share, [], "")
    laws = []
    for law in (fit.geometric, fit.power):
        i = np.arange(round(law.resolution))
        weight = np.exp(-i / law.beta) if law.law == "geometric" else (i + 1.0) ** (-1 / law.beta)
        n = "N unbounded" if math.isinf(law.resolution_high) else f"N = {law.resolution:.0f}"
        label = f"{law.law}: β = {law.beta:.3g}, {n}"
        laws.append(LawCurve(law.law, label, weight / weight.sum()))
    weak = "" if abs(fit.delta_bic) >= 10 else ", weakly"
    verdict = f"{fit.best.law}{weak} (BIC by {abs(fit.delta_bic):.0f})"
    return RankShares(len(values), share, laws, verdict)


def ranks(axes: Axes, data: RankShares) -> list[Line2D]:
    """Draw shares by rank, log-log: the points, then the laws (a power law is straight)."""
    share = data.share
    rank, label = np.arange(1, len(share) + 1), f"{len(share)} of {data.units} units"
    lines = axes.plot(rank, share, "o", color="0.25", markersize=3, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = 0.5 * float(share[-1]), 2 * float(share[0])
    axes.set_ylim(max(low, 1e-4 * high), high)
    axes.set_xlim(0.9, 1.15 * data.units)
    for law in data.laws:
        rank, colour = np.arange(1, len(law.share) + 1), LAWS[law.law]
        lines += axes.plot(rank, law.share, color=colour, linewidth=1.2, label=law.label)
    if data.laws:
        axes.plot([], [], " ", label=data.verdict)
    return lines


def ranks_figure(uses: Sequence[UnitUse], name: str) -> Figure:
    """Return, by level, mean activations above and wins below."""
    figure = Figure(figsize=(1 + 3.5 * len(uses), 7), layout="constrained")
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
