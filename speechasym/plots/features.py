"""Plots of the feature matrices that `extract` writes: a panel for each group of columns.

Shapes: F frames, D columns, K columns of a group.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from speechasym.annotations.intervals import Interval
from speechasym.errors import ConfigError
from speechasym.feature_extraction.features_json import open_features
from speechasym.feature_extraction.sets import Columns, FeatureConfig
from speechasym.plots.axes import SIGNED, channel_image, colour_bar, row_image, set_title
from speechasym.plots.signal import LONGEST_S, level_limits, stretch_title
from speechasym.plots.tiers import arrange, mark_boundaries, tiers

DEVIATIONS = 3.0  # standard deviations at full colour
MOST_PANELS = 7  # below one another; more stand side by side, track by track
_DECIBEL: dict[str, str] = {
    "level": "dB re\nfull-scale sine", "amplitude": "dB re\nfull-scale sine",
    "logmel": "dB re power 1",
}  # fmt: skip


class ColumnGroup(NamedTuple):
    """Neighbouring columns of one kind: the channels of a track, or cepstral coefficients."""

    name: str  # of the columns, without their numbers
    first: int  # of D columns
    columns: Columns  # K, as in features.json

    @property
    def centre_hz(self) -> NDArray[np.float64] | None:
        """Centre frequencies of the columns in Hz (K,); None for cepstra."""
        centres = [column.get("centre_hz") for column in self.columns]
        return None if None in centres else np.array(centres, np.float64)

    @property
    def part(self) -> slice:
        """Which of the D columns these are."""
        return slice(self.first, self.first + len(self.columns))


class FeatureExcerpt(NamedTuple):
    """Part of a feature file."""

    title: str
    values: NDArray[np.float32]  # (F, D)
    config: FeatureConfig
    start: float  # s
    duration: float  # s


def column_groups(columns: Columns) -> list[ColumnGroup]:
    """Return the groups of a feature set's columns, in order."""
    groups: list[ColumnGroup] = []
    for number, column in enumerate(columns):
        name = re.sub(r"_\d+$", "", column["name"])
        if not groups or groups[-1].name != name:
            groups.append(ColumnGroup(name, number, []))
        groups[-1].columns.append(column)
    return groups


def read_features(path: Path, start: float, duration: float | None) -> FeatureExcerpt:
    """Read part of a feature file that `extract` wrote, of any of its formats.

    Raises `ConfigError` for anything else, and without a features.json beside or above it.
    """
    folder = open_features(path)
    if not folder.single:
        raise ConfigError(path, "is a folder of features", "Give one of its files")
    config, (values,) = folder.config, map(folder.read, folder.recordings)
    rate = config.rate
    length = LONGEST_S if duration is None else duration
    part = np.asarray(values[round(start * rate) : round((start + length) * rate)], np.float32)
    if not len(part):
        raise ConfigError(path, f"ends before {start:g} s", "Choose an earlier start")
    seconds = len(part) / rate
    title = f"{path.name}, {rate:g} frames/s" + stretch_title(start, seconds, len(values) / rate)
    return FeatureExcerpt(title, part, config, round(start * rate) / rate, seconds)


def select_groups(
    file: Path, names: Sequence[str] | None, config: FeatureConfig
) -> list[ColumnGroup]:
    """Return the groups of these names, or all; `amplitude_stop` means all whose names begin so.

    Raises `ConfigError` about `file` for a name that none has.
    """
    groups, selected = column_groups(config.columns()), []
    for name in [group.name for group in groups] if names is None else names:
        wanted = "level" if name == "gammatone" else name
        found = [g for g in groups if g.name == wanted]
        found = found or [g for g in groups if g.name.startswith(wanted)]
        if not found:
            known = ", ".join(group.name for group in groups)
            problem = f"has no columns {name}; it has {known}"
            raise ConfigError(file, problem, "Use some of these, or extract other features")
        selected += found
    return selected


def group_panel(
    axes: Axes, group: ColumnGroup, values: NDArray, rate: float, start: float, normalised: bool
) -> AxesImage:
    """Draw the columns (F, K) of a group over time: channels over Hz, or cepstra by their numbers.

    Levels have the top 60 dB; what is signed is red above 0 and blue below. Cepstra, whose sizes
    differ by their numbers, are each shown as deviations from their mean over the stretch.
    """
    column, centre_hz = group.columns[0], group.centre_hz
    unit = str({"1": "", "cycle": "cycles"}.get(column["unit"], column["unit"]))
    reach = float(np.quantile(np.abs(values), 0.99)) or 1.0
    cmap, low, high = SIGNED, -reach, reach
    if normalised or centre_hz is None:
        if not normalised:
            deviation = values.std(0)
            values = (values - values.mean(0)) / np.where(deviation > 0, deviation, 1)
        unit, low, high = "standard\ndeviations", -DEVIATIONS, DEVIATIONS
    elif column["unit"] == "dB" and "output" not in column:
        low, high = level_limits(values)
        cmap, unit = "magma", str(_DECIBEL.get(group.name, unit))
    elif column["unit"] in ("1", "ERB"):
        low, high = -1.0, 1.0
    elif group.name == "phase":
        cmap, low, high = "twilight", -0.5, 0.5
    elif values.min() >= 0:
        cmap, low = "magma", 0.0
    if centre_hz is None:
        image = row_image(axes, values, rate, (low, high), cmap, start)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_ylabel("coefficient", fontsize="small")
    else:
        options: dict[str, Any] = {"cmap": cmap, "vmin": low, "vmax": high}
        image = channel_image(axes, values.T, centre_hz, rate, start, **options)
        axes.set_ylabel("(Hz)", fontsize="small")
    about = [f"{column['time_ms']:g} ms"] if "time_ms" in column else []
    title = ", ".join([f"{group.name}: {len(group.columns)} columns", *about])
    axes.set_title(title, fontsize="small", loc="left", pad=3, parse_math=False)
    axes.tick_params(labelsize="small")
    colour_bar(axes, image, unit, extend="min" if cmap == "magma" and low else "neither")
    return image


def features_figure(
    data: FeatureExcerpt,
    groups: Sequence[ColumnGroup],
    annotation: Mapping[str, Sequence[Interval]],
) -> Figure:
    """Return a panel for each group, below one another; many stand side by side by track."""
    stacks: list[list[ColumnGroup]] = [list(groups)]
    if len(groups) > MOST_PANELS:
        by_track: dict[str, list[ColumnGroup]] = {}
        for group in groups:
            track = "lead" if group.name == "coherence" else re.split(r"_", group.name)[0]
            by_track.setdefault(track, []).append(group)
        stacks = list(by_track.values())
    width, height, axes_in = (8.0, 1.3, 5.8) if len(stacks) == 1 else (5.0, 1.15, 3.3)
    rows = arrange(annotation, data.start, data.duration, axes_in)
    heights = [sum(row.height for row in rows)] * bool(rows)
    heights += [height] * max(map(len, stacks))
    figure = Figure(figsize=(width * len(stacks), 1.0 + sum(heights)), layout="constrained")
    grid = figure.subplots(
        len(heights), len(stacks), sharex=True, squeeze=False, height_ratios=heights
    )
    normalised = data.config.normalise != "none"
    for column, stack in zip(grid.T, stacks, strict=True):
        panels = column[bool(rows) :]
        if rows:
            tiers(column[0], rows, data.start, data.duration)
        for axes, group in zip(panels, stack, strict=False):
            values = data.values[:, group.part]
            group_panel(axes, group, values, data.config.rate, data.start, normalised)
        for axes in panels[len(stack) :]:
            axes.set_visible(False)
        mark_boundaries(panels[: len(stack)], rows, axes_in)
        last = panels[len(stack) - 1]
        last.tick_params(labelbottom=True)
        last.set_xlabel("time (s)")
        last.set_xlim(data.start, data.start + data.duration)
    set_title(figure, data.title)
    figure.align_ylabels(grid)
    return figure
