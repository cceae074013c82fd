"""Phone and word tiers as a picture: boundaries as thin lines, labels where they fit.

A file of its own because it needs matplotlib as soon as it is read.
"""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.text import Text

from speechasym.annotations.intervals import Interval

POINTS = 6.5  # size of the labels


class Fitting(Text):
    """A label that shows only where it is no wider than its interval, at any zoom and size.

    Args:
        start, end: of its interval as far as it is shown, in s.
        row: its tier's height on the y axis.
    """

    def __init__(self, start: float, end: float, row: float, label: str) -> None:
        super().__init__(
            (start + end) / 2, row, label, ha="center", va="center", fontsize=POINTS,
            parse_math=False, clip_on=True,
        )  # fmt: skip
        self.start, self.end = start, end
        self.set_in_layout(False)  # or labels that do not fit would make room for themselves

    def fits(self) -> bool:
        """Whether the figure, as it is laid out now, has room for it."""
        assert self.axes is not None
        edges = self.axes.transData.transform([(self.start, 0), (self.end, 0)])
        return bool(self.get_window_extent().width <= edges[1, 0] - edges[0, 0])

    def draw(self, renderer) -> None:  # type: ignore[no-untyped-def]
        if self.fits():
            super().draw(renderer)


def tiers(
    axes: Axes,
    intervals: Mapping[str, Sequence[Interval]],
    start: float = 0.0,
    duration: float | None = None,
) -> tuple[list[LineCollection], list[Fitting]]:
    """Draw tiers against time in s, one row each, the first on top.

    Args:
        intervals: {name of the tier: its intervals in s}, as `alignments.read_tiers` gives them.
        start, duration: the stretch to show, in s; None: to the last interval's end.

    Returns:
        the boundaries of each tier, and the labels of all.
    """
    if duration is None:
        duration = max((i.end for rows in intervals.values() for i in rows), default=1.0) - start
    stop = start + duration
    boundaries, labels = [], []
    for row, (_, all_of_it) in enumerate(intervals.items()):
        shown = [i for i in all_of_it if i.end >= start and i.start <= stop]
        times = sorted({time for i in shown for time in i[:2] if start <= time <= stop})
        lines = LineCollection(
            [[(time, row - 0.5), (time, row + 0.5)] for time in times],
            linewidths=0.5, colors="0.45",
        )  # fmt: skip
        boundaries.append(lines)
        axes.add_collection(lines, autolim=False)
        for i in shown:
            if i.label:
                text = Fitting(max(start, i.start), min(stop, i.end), row, i.label)
                labels.append(text)
                axes.add_artist(text)
    axes.set_yticks(range(len(intervals)), list(intervals), fontsize="small")
    axes.tick_params(axis="y", length=0)
    for tick in axes.get_yticklabels():
        tick.set_parse_math(False)
    axes.set_ylim(len(intervals) - 0.5, -0.5)
    axes.set_xlim(start, stop)
    for row in range(1, len(intervals)):
        axes.axhline(row - 0.5, linewidth=0.5, color="0.45")
    return boundaries, labels
