"""The units of a run's levels over one recording.

Shapes: F frames, S steps of a level, U units, K units drawn.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from speechasym.errors import ConfigError
from speechasym.plots.axes import colour_bar, row_image
from speechasym.plots.recognised import RecognisedRecording, stacked_panels
from speechasym.recognition.trained_model import TrainedModel
from speechasym.training.unit_names import Favourites, head_of_level, held

MOST_UNITS = 32  # drawn of a level
WINNER = "#ff9d2e"


class UnitActivity(NamedTuple):
    """A level's most active units over time, in the order of their greatest activation."""

    activation: NDArray[np.float64]  # (F, K), NaN between steps
    units: NDArray[np.int64]  # (K,) their numbers
    total: int  # units of the level
    names: list[str]  # K, see `named_units`; "" without any
    wins: list[tuple[int, int, int]]  # first frame, one after the last, and row of the winner
    onsets: NDArray[np.int64]  # first frames of events; empty for a level without events
    top: float  # near the greatest activation: full colour


def unit_activity(
    recording: RecognisedRecording, number: int, names: Sequence[str], most: int = MOST_UNITS
) -> UnitActivity:
    """Return the activity of at most `most` units of a level, whose units have these names (U,)."""
    level = recording.output.levels[number]
    start, end = recording.step_frames(number)
    values = recording.step_values(number)
    frames = held(values, start, end, len(recording.features))
    units = most_active(frames, most)
    winner = values.argmax(1)
    if level.winner is not None:
        winner = level.winner[0][level.mask[0]].numpy()
    first = np.flatnonzero(np.diff(winner, prepend=-1))
    last = [*first[1:], len(winner)]
    row = {int(unit): n for n, unit in enumerate(units)}
    spans = [(int(a), int(b)) for a, b in zip(first, last, strict=True) if winner[a] in row]
    wins = [(int(start[a]), int(end[b - 1]), row[winner[a]]) for a, b in spans]
    drawn = frames[:, units]
    onsets = start[first] if level.events is not None else start[:0]
    top = float(np.nanquantile(drawn, 0.995)) or 1.0
    named = [names[unit] for unit in units]
    return UnitActivity(drawn, units, values.shape[1], named, wins, onsets, top)


def most_active(activation: NDArray, most: int = MOST_UNITS) -> NDArray[np.int64]:
    """Return the most active units of (F, U), in the order of their activation's maxima."""
    total = np.nansum(activation, 0)
    chosen = np.argsort(-total, kind="stable")[:most]
    peak = np.nan_to_num(activation[:, chosen]).argmax(0)
    units: NDArray[np.int64] = chosen[np.lexsort((-total[chosen], peak))]
    return units


def named_units(
    trained: TrainedModel, recording: RecognisedRecording, number: int
) -> tuple[list[str], str]:
    """Return the names of a level's units, and the symbol and data they are from, in words.

    A run has names from its training cuts. Those of version 0.1 have none: their units are named
    after what excites them most in this recording, as annotated or else as recognised.
    """
    if stored := trained.unit_names.get(number):
        return stored.names, f"{stored.head.removesuffix('s')} favoured in training"
    known = recording.recognised | recording.reference
    head = head_of_level(number, len(recording.output.levels), known)
    activation = held(
        recording.step_values(number), *recording.step_frames(number), len(recording.features)
    )
    if head is None:
        return [""] * activation.shape[1], ""
    favourites = Favourites()
    favourites.add(activation, known[head], recording.frame_rate)
    return favourites.names(), f"{head.removesuffix('s')} favoured in this recording"


def activations(
    axes: Axes, data: UnitActivity, frame_rate: float
) -> tuple[AxesImage, LineCollection, LineCollection]:
    """Draw units over time: their activation, the winner of each event, and where events begin.

    Returns:
        the image, the winners (orange lines) and the onsets of events (ticks at the top).
    """
    image = row_image(axes, data.activation, frame_rate, (0, data.top), "Blues")
    lines = [[(a / frame_rate, row), (b / frame_rate, row)] for a, b, row in data.wins]
    winners = LineCollection(lines, colors=WINNER, linewidths=1.2)
    axes.add_collection(winners, autolim=False)
    ticks = LineCollection(
        [[(onset / frame_rate, 1.0), (onset / frame_rate, 1.03)] for onset in data.onsets],
        colors="0.3", linewidths=0.6, transform=axes.get_xaxis_transform(), clip_on=False,
    )  # fmt: skip
    axes.add_collection(ticks, autolim=False)
    pairs = zip(data.names, data.units, strict=True)
    names = [f"{label} {unit:>3}" if label else f"{unit}" for label, unit in pairs]
    axes.set_yticks(range(len(names)), names, fontsize=4.8)
    axes.tick_params(axis="y", length=0, pad=1)
    return image, winners, ticks


def units_figure(trained: TrainedModel, recording: RecognisedRecording) -> Figure:
    """Return every level's units over one recording, the highest level on top.

    Raises `ConfigError` for a model without units.
    """
    levels = [n for n, out in enumerate(recording.output.levels) if out.activation is not None]
    if not levels:
        raise ConfigError(trained.folder, "its model has no units", "Draw curves or levels of it")
    panels = []
    for number in levels[::-1]:
        names, how = named_units(trained, recording, number)
        name = ", ".join(filter(None, [how, "unit"]))
        panels.append((number, name, unit_activity(recording, number, names)))
    name = trained.folder.resolve().name
    heights = [0.4 + 0.065 * len(data.units) for _, _, data in panels]
    figure, rest = stacked_panels(recording, heights, f"Units of {name}: {recording.title}")
    for axes, (number, name, data) in zip(rest, panels, strict=True):
        image, _, _ = activations(axes, data, recording.frame_rate)
        count = f"{len(data.units)} most active of " if len(data.units) < data.total else ""
        title = f"level {number}: {count}{data.total} units, {recording.rates(number)}"
        axes.set_title(title, fontsize="small", loc="left", pad=8)
        axes.set_ylabel(name, fontsize="small")
        colour_bar(axes, image, "activation", aspect=18)
    keys = [
        Line2D([], [], color=WINNER, label="wins the event"),
        Line2D([], [], color="0.3", linestyle="", marker="|", label="an event begins"),
    ]
    figure.legend(handles=keys, loc="outside lower right", ncols=2, frameon=False)
    return figure
