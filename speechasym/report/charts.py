"""The report's pictures: charts as SVG in the page's own colours, and strips of images over time.

Charts show the data of `plots.curves`, `ranks` and `confusion`, as the figures there do. Strips are
PNG with a transparent ground and few colours, readable on light and dark paper.

Shapes: F frames, C channels, U units, K symbols.
"""

import base64
import io
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from speechasym.plots.confusion import ConfusionMatrix
from speechasym.plots.curves import Curve, Metrics, error_curves, loss_curves, rate_curve
from speechasym.plots.ranks import law_label, rank_shares
from speechasym.plots.units import UnitActivity
from speechasym.report.html import THIN, Html, tag

RISE, FALL = (178, 24, 43), (33, 102, 172)
UNIT, WINNER, EVENT = (30, 110, 180), (230, 130, 20), (128, 128, 128)
SHADES = 12  # of a colour in a strip: fewer make smaller pictures
DEEP_DB = 55.0  # below the loudest that a spectrogram shows
POINTS = 240  # of a line, at most


# --- Charts ---------------------------------------------------------------------------------------


class Line(NamedTuple):
    """A line or points of a chart."""

    label: str
    kind: str  # its class in the style sheet
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    dashed: bool = False
    points: bool = False
    part: NDArray[np.int64] = np.zeros(0, np.int64)  # gaps are between parts


class Note(NamedTuple):
    """A dot with a figure."""

    text: str
    kind: str
    x: float
    y: float


class _Scale:
    """Numbers to places from `low` to `high`, and the ticks among them."""

    def __init__(self, first: float, last: float, low: float, high: float, log: bool) -> None:
        self.first, self.last, self.low, self.high, self.log = first, last, low, high, log

    def __call__(self, value: float) -> float:
        first, last = self.first, self.last
        if self.log:
            value, first, last = math.log(value), math.log(first), math.log(last)
        return self.low + (self.high - self.low) * (value - first) / ((last - first) or 1.0)

    def ticks(self, most: int = 6) -> list[float]:
        """1, 2, 5, 10 ... where the scale is logarithmic and long, else a round step."""
        if self.log:
            low, high = math.floor(math.log10(self.first)), math.ceil(math.log10(self.last))
            for steps in ((1, 2, 5), (1, 3), (1,)):
                found = [m * 10.0**k for k in range(low, high + 1) for m in steps]
                found = [v for v in found if self.first * 0.999 <= v <= self.last * 1.001]
                if len(found) <= most + 1:
                    break
            if len(found) > 2:
                return found
        rough = (self.last - self.first) / most or 1.0
        size = 10.0 ** math.floor(math.log10(rough))
        step = next(m * size for m in (1, 2, 5, 10) if m * size >= rough * 0.999)
        first = math.ceil(self.first / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.last / step + 1e-9) + 1)]


def chart(
    lines: Sequence[Line],
    title: str,
    x: str,
    y: str,
    *,
    log: tuple[bool, bool] = (False, True),
    notes: Sequence[Note] = (),
    least: float | None = None,
) -> Html:
    """Lines over x, with a legend below. log is of (x, y); least: a log y ends there, if lower."""
    wide, high, left, right, top, bottom = 440, 250, 46, 10, 14, 40
    good = [(np.isfinite(ln.x) & np.isfinite(ln.y) & ((ln.y > 0) | (not log[1]))) for ln in lines]
    parted = [np.cumsum(np.diff(np.flatnonzero(g), prepend=-1) > 1, dtype=np.int64) for g in good]
    lines = [
        ln._replace(x=ln.x[g], y=ln.y[g], part=part)
        for ln, g, part in zip(lines, good, parted, strict=True)
    ]
    shown = [line for line in lines if len(line.x)]
    if not shown:
        return tag("figure", tag("figcaption", f"{title}: nothing to draw"), class_="chart")
    xs, ys = (np.concatenate([line[n] for line in shown]) for n in (2, 3))
    first, last = (float(xs.min()), float(xs.max())) if log[0] else (0.0, float(xs.max()))
    foot, head = float(ys.min()), float(ys.max())
    if log[1]:
        foot, head = max(foot, least or foot) / 1.25, head * 1.25
    else:
        foot, head = min(0.0, foot), head * 1.05 or 1.0
    across = _Scale(first, max(last, first + 1e-9), left, wide - right, log[0])
    up = _Scale(foot, head, high - bottom, top, log[1])
    parts: list[Html] = []
    for value in up.ticks():
        place = f"{up(value):.1f}"
        parts.append(tag("line", x1=left, x2=wide - right, y1=place, y2=place, class_="grid"))
        parts.append(tag("text", f"{value:g}", x=left - 6, y=place, class_="tick end", dy="0.35em"))
    for value in across.ticks():
        place = f"{across(value):.1f}"
        parts.append(tag("text", f"{value:g}", x=place, y=high - bottom + 17, class_="tick middle"))
    axis = high - bottom
    parts.append(tag("line", x1=left, x2=wide - right, y1=axis, y2=axis, class_="axis"))
    parts.append(tag("text", x, x=(left + wide - right) / 2, y=high - 5, class_="name middle"))
    for line in shown:
        every = max(1, math.ceil(len(line.x) / POINTS))
        path, before = [], -1
        for n, (a, b, part) in enumerate(zip(line.x, line.y, line.part, strict=True)):
            if (log[1] and b < foot) or (n % every and n < len(line.x) - 1):
                continue
            place = f"{across(float(a)):.1f} {up(float(b)):.1f}"
            if line.points:
                cx, cy = place.split()
                parts.append(tag("circle", cx=cx, cy=cy, r=2.6))
            path.append(("L" if part == before else "M") + place)
            before = int(part)
        if not line.points:
            kind = f"line {line.kind}{' dashed' if line.dashed else ''}"
            parts.append(tag("path", d="".join(path), class_=kind))
    labels: list[tuple[float, float]] = []
    for note in sorted(notes, key=lambda n: -n.y):
        a, b = across(note.x), up(note.y)
        clash = any(abs(a - x) < 40 and abs(b - 7 - y) < 18 for x, y in labels)
        labels.append((a, b + 16 if clash else b - 7))  # below its dot where one is above it
        parts.append(tag("circle", cx=f"{a:.1f}", cy=f"{b:.1f}", r=3, class_=f"dot {note.kind}"))
        parts.append(
            tag("text", note.text, x=f"{min(a, wide - 30):.1f}", y=f"{labels[-1][1]:.1f}",
                class_=f"value middle {note.kind}")
        )  # fmt: skip
    drawing = tag(
        "svg", *parts, viewBox=f"0 0 {wide} {high}", role="img",
        aria_label=f"{title}. {y} against {x}.",
    )  # fmt: skip
    keys = (
        tag(
            "li",
            tag("i", class_=f"key {ln.kind}{' dashed' if ln.dashed else ''}"
                            f"{' points' if ln.points else ''}"),
            ln.label,
        )
        for ln in shown
    )  # fmt: skip
    caption = tag("figcaption", tag("b", title), f", {y}")
    return tag("figure", caption, drawing, tag("ul", *keys, class_="keys"), class_="chart")


def curves(metrics: Metrics) -> Html:
    """Draw losses and dev errors over the epochs, and the learning rate."""
    losses = [
        Line(f"{c.head}, dev" if c.dev else c.head, c.head, c.epochs, c.values, dashed=c.dev)
        for c in loss_curves(metrics)
    ]
    errors, notes = [], []
    for curve in error_curves(metrics):
        errors.append(Line(curve.head, curve.head, curve.epochs, curve.values))
        if curve.lowest is not None and curve.lowest[1] > 0:
            notes.append(Note(f"{curve.lowest[1]:.1f}{THIN}%", curve.head, *curve.lowest))
    rate: Curve = rate_curve(metrics)
    rates = [Line("learning rate", "rate", rate.epochs, rate.values)]
    zero = bool(errors) and min(float(np.nanmin(e.y, initial=1)) for e in errors) <= 0
    return tag(
        "div",
        chart(losses, "CTC loss", "epoch", "nats per label"),
        chart(errors, "Error on the dev cuts", "epoch", "%", log=(False, not zero), notes=notes),
        chart(rates, "Learning rate", "epoch", "thousandths", log=(False, False)),
        class_="charts",
    )


def ranks(wins: NDArray, title: str, what: str) -> tuple[Html, str]:
    """Draw a level's units by how often each won, both laws fitted; and which law they follow."""
    data = rank_shares(wins)
    number = np.arange(1.0, len(data.share) + 1)
    points = f"{len(data.share)} of {data.units} units"
    lines = [Line(points, "units", number, 100 * data.share, points=True)]
    for law in data.laws:
        number = np.arange(1.0, len(law.share) + 1)
        dashed = law.law == "power"
        lines.append(Line(law_label(law), law.law, number, 100 * law.share, dashed=dashed))
    lowest = float(lines[0].y.min())
    drawing = chart(lines, title, "rank of the unit", what, log=(True, True), least=lowest)
    return drawing, data.verdict or "too few units for a law"


def confusion(matrix: ConfusionMatrix) -> Html:
    """Draw a confusion matrix, each row in shares of itself."""
    names, counts, groups = matrix
    totals = counts.sum(1)
    size, cell, left, top = len(counts), 16, 62, 62
    parts = []
    for row, column in np.argwhere(counts > 0):
        share = counts[row, column] / totals[row]
        said = names[row] if row < size - 1 else "(nothing)"
        heard = names[column] if column < size - 1 else "(nothing)"
        text = f"{said} → {heard}: {counts[row, column]:,} of {totals[row]:,}, {share:.1%}"
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
    for edge in [0, *(b for _, _, b in groups), size]:
        place = cell * edge
        parts.append(
            tag("path", d=f"M{left} {top + place}h{end}M{left + place} {top}v{end}", class_="group")
        )
    for place, name in enumerate([*names, "inserted"]):
        y = top + cell * (place + 0.5)
        parts.append(tag("text", name, x=left - 5, y=y, dy="0.35em", class_="tick end"))
    for place, name in enumerate([*names, "deleted"]):
        x = left + cell * (place + 0.5)
        parts.append(
            tag("text", name, transform=f"translate({x} {top - 5}) rotate(-90)", dy="0.35em",
                class_="tick")
        )  # fmt: skip
    for name, a, b in groups:
        y = top + cell * (a + b) / 2
        parts.append(tag("text", name, x=left + end + 6, y=y, dy="0.35em", class_="tick"))
    parts.append(tag("text", "said", x=4, y=top - 6, class_="name"))
    parts.append(tag("text", "recognised", x=left, y=11, class_="name"))
    wide, high = left + end + 84, top + end + 4
    return tag(
        "svg", *parts, viewBox=f"0 0 {wide} {high}", role="img", class_="matrix",
        style=f"width:{wide}px",
        aria_label=f"Confusion matrix of {len(names)} phones: the list beside it has the most "
        "frequent confusions as text.",
    )  # fmt: skip


def whisker(rate: float, low: float | None, high: float | None, most: float) -> Html:
    """A dot with its interval on a line from 0 to `most`."""
    if not most > 0 or math.isnan(rate):
        return Html("")
    at = 5 + 110 * rate / most
    parts = [tag("line", x1=5, x2=115, y1=6, y2=6, class_="grid")]
    if low is not None and high is not None:
        a, b = (5 + 110 * min(v, most) / most for v in (low, high))
        parts.append(tag("line", x1=f"{a:.1f}", x2=f"{b:.1f}", y1=6, y2=6, class_="reach"))
    parts.append(tag("circle", cx=f"{at:.1f}", cy=6, r=3.5, class_="dot phones"))
    return tag("svg", *parts, viewBox="0 0 120 12", class_="whisker", aria_hidden="true")


# --- Strips over time -----------------------------------------------------------------------------


def png(indices: NDArray, palette: Sequence[tuple[int, int, int, int]]) -> str:
    """Indices (rows, columns), the first row on top, into colours (R, G, B, A) -> a data URI."""
    drawn = Image.fromarray(np.ascontiguousarray(indices, np.uint8))
    drawn.putpalette([value for colour in palette for value in colour[:3]])
    alpha = bytes(colour[3] for colour in palette)
    file = io.BytesIO()
    bits = 4 if len(palette) <= 16 else 8
    drawn.save(file, "png", transparency=alpha, optimize=True, bits=bits)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _shades(colour: tuple[int, int, int], count: int) -> list[tuple[int, int, int, int]]:
    """From clear to full."""
    return [(*colour, round(255 * n / count)) for n in range(count + 1)]


def spectrogram(power: NDArray) -> str:
    """Power (F, C) -> black on clear, by dB below the loudest."""
    level = 10 * np.log10(np.maximum(power, 1e-12))
    top = float(np.quantile(level, 0.999))
    share = np.clip((level - top + DEEP_DB) / DEEP_DB, 0, 1)
    return png(np.rint(15 * share).T[::-1], _shades((0, 0, 0), 15))


def asymmetry(index: NDArray) -> str:
    """Signed asymmetry (F, C), -1 to 1 -> red where it rises, blue where it falls."""
    steps = 7
    palette = [*_shades(FALL, steps)[::-1], *_shades(RISE, steps)[1:]]
    return png(np.rint(steps * np.clip(index, -1, 1)).T[::-1] + steps, palette)


def units(data: UnitActivity, frames: int) -> str:
    """Draw units over frames, the last of them on top.

    Three rows of pixels a unit, orange in the middle one where it wins its event; above all a row
    of ticks where events begin.
    """
    shown = np.nan_to_num(data.activation)
    top = float(np.quantile(shown, 0.995)) or 1.0
    indices = np.rint(SHADES * np.clip(shown / top, 0, 1)).astype(np.uint8).T[::-1].repeat(3, 0)
    for first, last, row in data.wins:
        indices[3 * (len(data.units) - 1 - row) + 1, first:last] = SHADES + 1
    ticks = np.zeros((4, frames), np.uint8)
    ticks[:3, data.onsets] = SHADES + 2
    palette = [*_shades(UNIT, SHADES), (*WINNER, 255), (*EVENT, 255)]
    return png(np.concatenate([ticks, indices]), palette)


def waveform(samples: NDArray, columns: int) -> Html:
    """Samples (T,) as an outline that stretches with its box."""
    columns = max(1, min(columns, len(samples)))
    edges = np.linspace(0, len(samples), columns + 1).astype(int)
    parts = [samples[a : max(b, a + 1)] for a, b in pairwise(edges)]
    top = max(1e-9, float(np.abs(samples).max(initial=0.0)))
    upper = [20 - 19 * float(part.max()) / top for part in parts]
    lower = [20 - 19 * float(part.min()) / top for part in parts]
    there = [f"{n} {y:.1f}" for n, y in enumerate(upper)]
    back = [f"{n} {y:.1f}" for n, y in reversed(list(enumerate(lower)))]
    return tag(
        "svg", tag("path", d="M" + "L".join([*there, *back]) + "Z"), class_="wave",
        viewBox=f"0 0 {columns} 40", preserveAspectRatio="none", aria_hidden="true",
    )  # fmt: skip
