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

from speechasym.annotations.intervals import Interval
from speechasym.errors import ConfigError
from speechasym.plots.axes import colour_bar, row_image
from speechasym.plots.recognised import RecognisedRecording, held, stacked_panels
from speechasym.recognition.trained_model import TrainedModel

MOST_UNITS = 32  # drawn of a level
WINNER = "#ff9d2e"


class UnitActivity(NamedTuple):
    """A level's most active units over time, in the order of their greatest activation."""

    activation: NDArray[np.float64]  # (F, K), NaN where there is no step
    units: NDArray[np.int64]  # (K,) their numbers
    total: int  # units of the level
    favourites: list[str]  # K labels during which each is most active; "" without any
    wins: list[tuple[int, int, int]]  # first frame, one after the last, and row of the winner
    onsets: NDArray[np.int64]  # first frames of events; empty for a level without events
    top: float  # near the greatest activation: full colour


def unit_activity(
    recording: RecognisedRecording, number: int, labels: Sequence[Interval] = (),
    most: int = MOST_UNITS,
) -> UnitActivity:  # fmt: skip
    """Return the activity of at most `most` units of a level, with the labels they favour."""
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
    names = favourites(drawn, labels, recording.frame_rate)
    onsets = start[first] if level.events is not None else start[:0]
    top = float(np.nanquantile(drawn, 0.995)) or 1.0
    return UnitActivity(drawn, units, values.shape[1], names, wins, onsets, top)


def most_active(activation: NDArray, most: int = MOST_UNITS) -> NDArray[np.int64]:
    """Return the most active units of (F, U), in the order of their activation's maxima."""
    total = np.nansum(activation, 0)
    chosen = np.argsort(-total, kind="stable")[:most]
    peak = np.nan_to_num(activation[:, chosen]).argmax(0)
    units: NDArray[np.int64] = chosen[np.lexsort((-total[chosen], peak))]
    return units


def favourites(activation: NDArray, intervals: Sequence[Interval], frame_rate: float) -> list[str]:
    """Return for each unit of (F, U) the label during which its mean activation is greatest.

    The label is "" for a unit without activation, and for all units without intervals.
    """
    labels = list(dict.fromkeys(i.label for i in intervals if i.label))
    if not labels:
        return [""] * activation.shape[1]
    means = np.zeros((len(labels), activation.shape[1]))
    frames = np.zeros(len(labels))
    filled = np.nan_to_num(activation)
    for i in intervals:
        if i.label:
            part = filled[round(i.start * frame_rate) : round(i.end * frame_rate)]
            means[labels.index(i.label)] += part.sum(0)
            frames[labels.index(i.label)] += len(part)
    means /= np.maximum(frames, 1)[:, None]
    return [labels[n] if means[n, u] > 0 else "" for u, n in enumerate(means.argmax(0))]


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
    pairs = zip(data.favourites, data.units, strict=True)
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
        words = number == levels[-1] and number > 0 and "words" in recording.reference
        kind = "word" if words else "phone"
        labels = recording.reference.get(f"{kind}s", [])
        name = f"favoured {kind}, unit" if labels else "unit"
        panels.append((number, name, unit_activity(recording, number, labels)))
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
