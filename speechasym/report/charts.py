"""The report's charts as SVG, in the page's own colours.

They show the data of `plots.curves`, `plots.ranks` and `plots.confusion`, as the figures there do.

Shapes: U units.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.plots.confusion import ConfusionMatrix
from speechasym.plots.curves import Metrics, error_curves, loss_curves, rate_curve, some_negative
from speechasym.plots.learning import stage_curves
from speechasym.plots.ranks import RankShares
from speechasym.plots.watched import block_histories, level_histories
from speechasym.report.html import THIN, Html, joined, tag

MOST_POINTS = 240  # of a line
WIDTH, HEIGHT = 440, 250  # of a chart
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 14, 40  # its margins


class Line(NamedTuple):
    """A line of a chart, or its points only."""

    label: str
    kind: str  # its class in the style sheet
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    dashed: bool = False
    points: bool = False


class AxisScale:
    """Maps values from `first` to `last` to positions from `low` to `high`."""

    def __init__(self, first: float, last: float, low: float, high: float, log: bool) -> None:
        self.first, self.last, self.low, self.high, self.log = first, last, low, high, log

    def __call__(self, value: float) -> float:
        first, last = self.first, self.last
        if self.log:
            value, first, last = math.log(value), math.log(first), math.log(last)
        return self.low + (self.high - self.low) * (value - first) / ((last - first) or 1.0)

    def ticks(self, most: int = 6) -> list[float]:
        """Return 1, 2, 5, 10 ... on a long logarithmic scale, else multiples of a round step."""
        if self.log:
            low, high = math.floor(math.log10(self.first)), math.ceil(math.log10(self.last))
            for factors in ((1, 2, 5), (1, 3), (1,)):
                values = [m * 10.0**k for k in range(low, high + 1) for m in factors]
                values = [v for v in values if self.first * 0.999 <= v <= self.last * 1.001]
                if len(values) <= most + 1:
                    break
            if len(values) > 2:
                return values
        rough = (self.last - self.first) / most or 1.0
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(m * size for m in (1, 2, 5, 10) if m * size >= rough * 0.999)
        first = math.ceil(self.first / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.last / step + 1e-9) + 1)]


def chart(
    lines: Sequence[Line], title: str, x: str, y: str, *, log_x: bool = False, log_y: bool = True,
    labels: Sequence[tuple[str, str, float, float]] = (), least: float | None = None,
    limits: tuple[float, float] | None = None, marks: Sequence[float] = (),
) -> Html:  # fmt: skip
    """Draw lines over x, with a legend below; a logarithmic y axis starts at `least`, if given.

    limits: of the y axis, instead of what the lines need.
    marks: places on the x axis of vertical lines.

    Labels are (text, class, x, y): a text above a dot.
    """
    valid = [np.isfinite(ln.x) & np.isfinite(ln.y) & ((ln.y > 0) | (not log_y)) for ln in lines]
    drawn = [(line, good) for line, good in zip(lines, valid, strict=True) if good.any()]
    if not drawn:
        return tag("figure", tag("figcaption", f"{title}: nothing to draw"), class_="chart")
    xs = np.concatenate([line.x[good] for line, good in drawn])
    ys = np.concatenate([line.y[good] for line, good in drawn])
    first, last = (float(xs.min()) if log_x else 0.0), float(xs.max())
    low, high = float(ys.min()), float(ys.max())
    if log_y:
        low, high = max(low, least or low) / 1.25, high * 1.25
    else:
        low, high = min(0.0, low), max(0.0, high) * 1.05 or 1.0
    low, high = limits or (low, high)
    across = AxisScale(first, max(last, first + 1e-9), LEFT, WIDTH - RIGHT, log_x)
    up = AxisScale(low, high, HEIGHT - BOTTOM, TOP, log_y)
    parts = [*_axes(across, up, x)]
    for place in (f"{across(mark):.1f}" for mark in marks):
        parts.append(tag("line", x1=place, x2=place, y1=TOP, y2=HEIGHT - BOTTOM, class_="mark"))
    for line, good in drawn:
        parts += _line(line, good, across, up, low if log_y else -math.inf)
    parts += _point_labels(labels, across, up)
    drawing = tag(
        "svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img",
        aria_label=f"{title}. {y} against {x}.",
    )  # fmt: skip
    kinds = [(line.label, f"key {line.kind}{_style(line)}") for line, _ in drawn]
    keys = [tag("li", tag("i", class_=kind), label) for label, kind in kinds]
    caption = tag("figcaption", tag("b", title), f", {y}")
    return tag("figure", caption, drawing, tag("ul", *keys, class_="keys"), class_="chart")


def _style(line: Line) -> str:
    return (" dashed" if line.dashed else "") + (" points" if line.points else "")


def _axes(across: AxisScale, up: AxisScale, name: str) -> list[Html]:
    """Draw grid, ticks, x axis and its name."""
    parts, axis, right = [], HEIGHT - BOTTOM, WIDTH - RIGHT
    for value in up.ticks():
        y = f"{up(value):.1f}"
        parts.append(tag("line", x1=LEFT, x2=right, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", f"{value:g}", x=LEFT - 6, y=y, class_="tick end", dy="0.35em"))
    for value in across.ticks():
        x = f"{across(value):.1f}"
        parts.append(tag("text", f"{value:g}", x=x, y=axis + 17, class_="tick middle"))
    parts.append(tag("line", x1=LEFT, x2=right, y1=axis, y2=axis, class_="axis"))
    parts.append(tag("text", name, x=(LEFT + right) / 2, y=HEIGHT - 5, class_="name middle"))
    return parts


def _line(line: Line, good: NDArray, across: AxisScale, up: AxisScale, low: float) -> list[Html]:
    """Draw points not below `low`, or a line through some of them with gaps where not good."""
    places = np.flatnonzero(good)
    every = max(1, math.ceil(len(places) / MOST_POINTS))
    part = np.cumsum(np.diff(places, prepend=-1) > 1)  # of the line, between gaps
    points, path, before = [], "", -1
    for n, place in enumerate(places):
        x, y = float(line.x[place]), float(line.y[place])
        if y < low or (n % every and n < len(places) - 1):
            continue
        points.append((f"{across(x):.1f}", f"{up(y):.1f}"))
        path += ("L" if part[n] == before else "M") + " ".join(points[-1])
        before = part[n]
    if line.points:
        return [tag("circle", cx=cx, cy=cy, r=2.6) for cx, cy in points]
    return [tag("path", d=path, class_=f"line {line.kind}{_style(line)}")]


def _point_labels(
    labels: Sequence[tuple[str, str, float, float]], across: AxisScale, up: AxisScale
) -> list[Html]:
    """Draw dots with texts above them, or below where there is a text above already."""
    parts: list[Html] = []
    texts: list[tuple[float, float]] = []
    for text, kind, at, value in sorted(labels, key=lambda label: -label[3]):
        x, y = across(at), up(value)
        clash = any(abs(x - a) < 40 and abs(y - 7 - b) < 18 for a, b in texts)
        texts.append((x, y + 16 if clash else y - 7))
        parts.append(tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=3, class_=f"dot {kind}"))
        place = {"x": f"{min(x, WIDTH - 30):.1f}", "y": f"{texts[-1][1]:.1f}"}
        parts.append(tag("text", text, **place, class_=f"value middle {kind}"))
    return parts


def curves(metrics: Metrics) -> Html:
    """Draw losses and dev errors over the epochs, and the learning rate."""
    by_loss = loss_curves(metrics)
    losses = [
        Line(f"{c.head}, dev" if c.dev else c.head, c.head, c.epochs, c.values, dashed=c.dev)
        for c in by_loss
    ]
    signed = some_negative(by_loss)
    by_head = error_curves(metrics)
    errors = [Line(c.head, c.head, c.epochs, c.values) for c in by_head]
    lowest = [(c.head, *c.lowest) for c in by_head if c.lowest is not None]
    labels = [(f"{y:.1f}{THIN}%", head, x, y) for head, x, y in lowest if y > 0]
    log = bool(lowest) and min(y for _, _, y in lowest) > 0
    rate = rate_curve(metrics)
    rates = [Line("learning rate", "rate", rate.epochs, rate.values)]
    marks = metrics.growth_epochs
    return tag(
        "div",
        chart(losses, "CTC loss", "epoch", "nats per label", log_y=not signed, marks=marks),
        chart(
            errors,
            "Error rate on the dev cuts",
            "epoch",
            "%",
            log_y=log,
            labels=labels,
            marks=marks,
        ),
        chart(rates, "Learning rate", "epoch", "thousandths", log_y=False),
        class_="charts",
    )


def learning(metrics: Metrics) -> Html:
    """Draw the cosine of each stage over the epochs, and the norms of its gradients."""
    cosines, norms = [], []
    stages = stage_curves(metrics)
    values = [y for c in stages for y in (c.gradient, c.gradient_true)]
    sizes = np.concatenate(values)
    sizes = sizes[sizes > 0]
    limits = (float(sizes.min()) / 1.25, float(sizes.max()) * 1.25) if len(sizes) else None
    low = min(0.0, *(float(np.nanmin(c.cosine, initial=0.0)) for c in stages)) * 1.1
    for curves in stages:
        title = curves.title.capitalize()
        lines = [Line("rule", "phones", curves.epochs, curves.cosine)]
        cosines.append(chart(lines, title, "epoch", "cosine", log_y=False, limits=(low, 1.05)))
        lines = [Line("rule", "phones", curves.epochs, curves.gradient)]
        lines.append(Line("true", "rate", curves.epochs, curves.gradient_true, dashed=True))
        norms.append(chart(lines, title, "epoch", "norm", limits=limits))
    return joined(tag("div", *part, class_="charts small") for part in (cosines, norms))


def watched(metrics: Metrics) -> Html:
    """Draw the ranks of units and attention heads over training, a row of charts for each."""
    kinds = ("phones", "letters", "words", "geometric", "rate")

    def over_time(title: str, y: str, epochs: NDArray, curves: Mapping[str, NDArray]) -> Html:
        colours = [kinds[n % len(kinds)] for n in range(len(curves))]
        lines = [
            Line(name, colour, epochs, values)
            for colour, (name, values) in zip(colours, curves.items(), strict=True)
        ]
        limits = None if "span" in y else (0.0, 1.02)
        return chart(lines, title, "epoch", y, log_y=limits is None, limits=limits)

    rows = []
    for level in level_histories(metrics):
        title = level.title.capitalize()
        wins = [
            Line(name, kind, np.arange(1.0, len(share) + 1), 100 * share)
            for name, kind, share in (
                ("first validation", "rate", level.wins[0]), ("last", "phones", level.wins[-1]),
            )
        ]  # fmt: skip
        rows.append([
            chart(wins, title, "rank of the unit", "% of the wins", log_x=True),
            over_time(title, "share", level.epochs, level.use),
            over_time(title, "share explained", level.epochs, level.left),
        ])  # fmt: skip
    for block in block_histories(metrics):
        title, epochs = block.title.capitalize(), block.epochs
        by_head = [
            {f"head {n}": value for n, value in enumerate(values)}
            for values in (block.selectivity, block.span)
        ]
        rows.append([
            over_time(title, "selectivity", epochs, by_head[0]),
            over_time(title, "span, s", epochs, by_head[1]),
        ])  # fmt: skip
    return joined(tag("div", *parts, class_="charts three") for parts in rows)


def ranks(data: RankShares, title: str, y: str) -> Html:
    """Draw a level's units by how often each won, with both laws fitted."""
    shares = [data.share, *(law.share for law in data.laws)]
    numbers = [np.arange(1.0, len(share) + 1) for share in shares]
    points = f"{len(data.share)} of {data.units} units"
    lines = [Line(points, "units", numbers[0], 100 * data.share, points=True)]
    for law, x in zip(data.laws, numbers[1:], strict=True):
        dashed = law.law == "power"
        lines.append(Line(law.label, law.law, x, 100 * law.share, dashed=dashed))
    least = 100 * float(data.share.min())
    return chart(lines, title, "rank of the unit", y, log_x=True, least=least)


def confusion(matrix: ConfusionMatrix) -> Html:
    """Draw a confusion matrix, each row in shares of itself."""
    names, counts, groups = matrix
    totals = counts.sum(1)
    size, cell, left, top = len(counts), 16, 62, 62
    parts = []
    for row, column in np.argwhere(counts > 0):
        share = counts[row, column] / totals[row]
        said, recognised = ([*names, "(nothing)"][n] for n in (row, column))
        text = f"{said} → {recognised}: {counts[row, column]:,} of {totals[row]:,}, {share:.1%}"
        kind = "hit" if row == column else "miss"
        parts.append(
            tag("rect", tag("title", text), x=left + cell * column, y=top + cell * row,
                width=cell, height=cell, class_=kind, fill_opacity=f"{math.sqrt(share):.2f}")
        )  # fmt: skip
        if row != column and share >= 0.1:
            kind = "share middle deep" if share > 0.4 else "share middle"
            parts.append(
                tag("text", f"{100 * share:.0f}", x=left + cell * (column + 0.5),
                    y=top + cell * (row + 0.5), dy="0.35em", class_=kind)
            )  # fmt: skip
    end = cell * size
    for edge in [0, *(last for _, _, last in groups), size]:
        place = f"M{left} {top + cell * edge}h{end}M{left + cell * edge} {top}v{end}"
        parts.append(tag("path", d=place, class_="group"))
    for row, name in enumerate([*names, "inserted"]):
        y = top + cell * (row + 0.5)
        parts.append(tag("text", name, x=left - 5, y=y, dy="0.35em", class_="tick end"))
    for column, name in enumerate([*names, "deleted"]):
        x = left + cell * (column + 0.5)
        turned = f"translate({x} {top - 5}) rotate(-90)"
        parts.append(tag("text", name, transform=turned, dy="0.35em", class_="tick"))
    for name, first, last in groups:
        y = top + cell * (first + last) / 2
        parts.append(tag("text", name, x=left + end + 6, y=y, dy="0.35em", class_="tick"))
    parts.append(tag("text", "said", x=4, y=top - 6, class_="name"))
    parts.append(tag("text", "recognised", x=left, y=11, class_="name"))
    width = left + end + 84
    return tag(
        "svg", *parts, viewBox=f"0 0 {width} {top + end + 4}", role="img", class_="matrix",
        style=f"width:{width}px",
        aria_label=f"Confusion matrix of {len(names)} phones; the table below lists the most "
        "frequent errors as text.",
    )  # fmt: skip


def whisker(rate: float, low: float | None, high: float | None, most: float) -> Html:
    """Draw a dot with its confidence interval on a line from 0 to `most`."""
    if not most > 0 or math.isnan(rate):
        return Html("")
    x = 5 + 110 * rate / most
    parts = [tag("line", x1=5, x2=115, y1=6, y2=6, class_="grid")]
    if low is not None and high is not None:
        a, b = (5 + 110 * min(v, most) / most for v in (low, high))
        parts.append(tag("line", x1=f"{a:.1f}", x2=f"{b:.1f}", y1=6, y2=6, class_="reach"))
    parts.append(tag("circle", cx=f"{x:.1f}", cy=6, r=3.5, class_="dot phones"))
    return tag("svg", *parts, viewBox="0 0 120 12", class_="whisker", aria_hidden="true")
