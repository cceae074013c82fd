"""Tiers of an annotation against time, with every label readable, and their boundaries in panels.

A label that collides with its neighbour moves to another line of its tier, so that a tier is as
many lines high as its labels need.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.text import Text

from speechasym.annotations.intervals import Interval
from speechasym.plots.axes import font_scale, text_width

FONT_SIZE = 6.5  # points, of the labels
GAP = 2.5  # points between labels of a line
LINE_IN, PADDING_IN = 0.135, 0.075  # height of a line, and what a tier adds to its lines, inches
LONGEST_NAME = 24  # letters of a tier's name
LEAST_SPACING = 5.0  # points: tiers with denser boundaries are not drawn through panels


class PlacedLabel(NamedTuple):
    """A label and its place; long ones have several lines."""

    time: float  # of its centre, s
    line: int  # of its tier, counted from the top, that its first line takes
    text: str
    fits: bool  # whether it is at most as wide as its interval


class TierRow(NamedTuple):
    """A tier as it is drawn."""

    name: str
    times: list[float]  # of its boundaries within the stretch, s
    labels: list[PlacedLabel]
    lines: int

    @property
    def height(self) -> float:
        """Height in inches."""
        return (self.lines * LINE_IN + PADDING_IN) * font_scale()


def arrange(
    annotation: Mapping[str, Sequence[Interval]], start: float, duration: float, inches: float
) -> list[TierRow]:
    """Place the labels of tiers so that none overlaps another.

    Args:
        annotation: {tier name: its intervals in s}, as `read_tiers` returns them.
        start, duration: the part to draw, in s.
        inches: width of the axes, or less; names of tiers longer than a tick label reduce it.

    Example:
        >>> rows = arrange({"phones": [Interval(0, 0.1, "sil"), Interval(0.1, 0.2, "s")]}, 0, 1, 6)
    """
    names = [n if len(n) <= LONGEST_NAME else n[: LONGEST_NAME - 1] + "…" for n in annotation]
    room = 72 * inches - max([0.0, *(text_width(name, 8.5 * font_scale()) - 30 for name in names)])
    rows = []
    for name, tier in zip(names, annotation.values(), strict=True):
        seen = [i for i in tier if i.end >= start and i.start <= start + duration]
        times = {time for i in seen for time in i[:2] if start <= time <= start + duration}
        labels = _place(seen, start, duration, max(room, 36.0))
        lines = max([1, *(label.line + label.text.count("\n") + 1 for label in labels)])
        rows.append(TierRow(name, sorted(times), labels, lines))
    return rows


def _place(
    tier: Iterable[Interval], start: float, duration: float, room: float
) -> list[PlacedLabel]:
    """Give each label the first lines that are free at its place, `room` points being the width."""
    scale, size = room / duration, FONT_SIZE * font_scale()  # points per second, points
    wanted = []
    for i in tier:
        text = " ".join(i.label.split())
        if not text:
            continue
        width = text_width(text, size)
        if width > room:
            text = textwrap.fill(text, max(1, int(0.9 * len(text) * room / width)))
            width = max(text_width(line, size) for line in text.split("\n"))
        first, last = max(start, i.start) - start, min(start + duration, i.end) - start
        left = min(max(0.0, (first + last) * scale / 2 - width / 2), max(0.0, room - width))
        wanted.append((left, width, text, width <= (last - first) * scale))
    placed, ends = [], [0.0]  # points, of the last label of each line
    for left, width, text, fits in sorted(wanted):
        count, line = text.count("\n") + 1, 0
        while any(end > left for end in ends[line : line + count]):
            line += 1
        ends += [0.0] * (line + count - len(ends))
        ends[line : line + count] = [left + width + GAP] * count
        placed.append(PlacedLabel(start + (left + width / 2) / scale, line, text, fits))
    return placed


def tiers(
    axes: Axes, rows: Sequence[TierRow], start: float, duration: float
) -> tuple[list[LineCollection], list[Text]]:
    """Draw tiers that `arrange` placed against time in s, the first at the top.

    Returns:
        the boundaries of each tier, and the labels of all.
    """
    boundaries, labels, ticks, top, scale = [], [], [], 0.0, font_scale()
    for row in rows:
        lines = LineCollection(
            [[(time, top), (time, top + row.height)] for time in row.times],
            linewidths=0.5, colors="0.45",
        )  # fmt: skip
        boundaries.append(lines)
        axes.add_collection(lines, autolim=False)
        for label in row.labels:
            middle = label.line + (label.text.count("\n") + 1) / 2
            text = axes.text(
                label.time, top + (PADDING_IN / 2 + LINE_IN * middle) * scale, label.text,
                ha="center", va="center_baseline", fontsize=FONT_SIZE * scale, parse_math=False,
                clip_on=True,
            )  # fmt: skip
            if not label.fits:  # readable across the boundaries of its neighbours
                text.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 0.3, "alpha": 0.8})
            text.set_in_layout(False)  # or labels at the edges would claim space
            labels.append(text)
        ticks.append(top + row.height / 2)
        if top:
            axes.axhline(top, linewidth=0.5, color="0.45")
        top += row.height
    axes.set_yticks(ticks, [row.name for row in rows], fontsize="small")
    axes.tick_params(axis="y", length=0)
    for tick in axes.get_yticklabels():
        tick.set_parse_math(False)
    axes.set_ylim(top, 0)
    axes.set_xlim(start, start + duration)
    return boundaries, labels


def mark_boundaries(panels: Iterable[Axes], rows: Sequence[TierRow], inches: float) -> None:
    """Draw the boundaries of the finest tier through panels, if they are this wide.

    A tier whose boundaries are less than `LEAST_SPACING` points apart, on average, is left out.
    """
    most = 72 * inches / LEAST_SPACING
    times = max((row.times for row in rows if len(row.times) <= most), key=len, default=[])
    for axes in panels:
        axes.vlines(
            times, 0, 1, transform=axes.get_xaxis_transform(), colors="0.5", linewidths=0.4,
            alpha=0.8, zorder=2.5,
        )  # fmt: skip
