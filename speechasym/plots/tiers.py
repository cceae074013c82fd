"""Tiers of an annotation against time: boundaries as thin lines, labels where they fit."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.text import Text

from speechasym.annotations.intervals import Interval

FONT_SIZE = 6.5  # of the labels


class FittingLabel(Text):
    """A label that shows only if it is no wider than its interval, at any zoom and size.

    Args:
        start, end: the visible part of its interval, in s.
        row: position of its tier on the y axis.
    """

    def __init__(self, start: float, end: float, row: float, label: str) -> None:
        super().__init__(
            (start + end) / 2, row, label, ha="center", va="center", fontsize=FONT_SIZE,
            parse_math=False, clip_on=True,
        )  # fmt: skip
        self.start, self.end = start, end
        self.set_in_layout(False)  # or labels that do not fit would claim space

    def fits(self) -> bool:
        """Return whether the figure, in its current layout, has room for the label."""
        assert self.axes is not None
        edges = self.axes.transData.transform([(self.start, 0), (self.end, 0)])
        return bool(self.get_window_extent().width <= edges[1, 0] - edges[0, 0])

    def draw(self, renderer) -> None:  # type: ignore[no-untyped-def]
        if self.fits():
            super().draw(renderer)


def tiers(
    axes: Axes, annotation: Mapping[str, Sequence[Interval]], start: float, duration: float
) -> tuple[list[LineCollection], list[FittingLabel]]:
    """Draw tiers against time in s, one row each, the first at the top.

    Args:
        annotation: {tier name: its intervals in s}, as `read_tiers` returns them.
        start, duration: the part to draw, in s.

    Returns:
        the boundaries of each tier, and the labels of all.
    """
    stop = start + duration
    boundaries, labels = [], []
    for row, tier in enumerate(annotation.values()):
        visible = [i for i in tier if i.end >= start and i.start <= stop]
        times = sorted({time for i in visible for time in i[:2] if start <= time <= stop})
        lines = LineCollection(
            [[(time, row - 0.5), (time, row + 0.5)] for time in times],
            linewidths=0.5, colors="0.45",
        )  # fmt: skip
        boundaries.append(lines)
        axes.add_collection(lines, autolim=False)
        for i in visible:
            if i.label:
                text = FittingLabel(max(start, i.start), min(stop, i.end), row, i.label)
                labels.append(text)
                axes.add_artist(text)
    axes.set_yticks(range(len(annotation)), list(annotation), fontsize="small")
    axes.tick_params(axis="y", length=0)
    for tick in axes.get_yticklabels():
        tick.set_parse_math(False)
    axes.set_ylim(len(annotation) - 0.5, -0.5)
    axes.set_xlim(start, stop)
    for row in range(1, len(annotation)):
        axes.axhline(row - 0.5, linewidth=0.5, color="0.45")
    return boundaries, labels
