"""What every picture takes, whatever it shows: size, resolution, size of letters, a caption."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.text import Text

from speechasym.config import check_range
from speechasym.errors import ConfigError
from speechasym.plots.axes import DPI, font_scale, text_width

CAPTION_SIZE = 8.0  # points
LEAST = 0.6  # of the usual size of text, in figures smaller than their panels need


@dataclass(frozen=True, kw_only=True)
class PictureStyle:
    """How a picture looks, whatever it shows.

    Raises `ConfigError` for values out of range.
    """

    size: tuple[float, float] | None = None  # width and height in inches; None: as the panels need
    dpi: float = DPI  # pixels per inch
    # of plain text in points; None: 10, less where `size` is less than the panels need
    font_size: float | None = None
    caption: bool = True  # whether a text below says how to read the figure

    def __post_init__(self) -> None:
        if self.size is not None:
            object.__setattr__(self, "size", tuple(self.size))
            if len(self.size) != 2:
                problem = f"must be a width and a height, got {self.size}"
                raise ConfigError("size", problem, "Give inches, such as 8,6")
            for side in self.size:
                check_range("size", side, "8,6 (inches)", 1, 100)
        check_range("dpi", self.dpi, "150", 10, 2400)
        if self.font_size is not None:
            check_range("font_size", self.font_size, "10", 2, 72)

    def figure(self, draw: Callable[[], Figure], caption: str) -> Figure:
        """Return the figure that `draw` draws, with this size and font size, and its caption."""
        settings: Any = {"figure.dpi": self.dpi}
        if self.font_size is not None:
            settings["font.size"] = self.font_size
        with mpl.rc_context(settings), warnings.catch_warnings():
            warnings.filterwarnings("error", "constrained_layout not applied")
            figure = draw()
            natural = figure.get_size_inches()
            width, height = map(float, self.size or natural)
            small = CAPTION_SIZE * font_scale()
            if self.font_size is None:
                small *= _shrink_text(figure, min(width / natural[0], height / natural[1], 1))
            lines = _wrapped(caption, width, small) if self.caption and caption else []
            room = 0.17 * small / CAPTION_SIZE * len(lines) + 0.16 if lines else 0.0  # inches
            if self.size is not None:
                height = max(0.5, height - room)
                figure.set_size_inches(width, height)
            if max(width, height + room) * self.dpi >= 2**16:
                problem = f"{self.dpi:g} makes the picture more than 65,535 pixels wide or high"
                raise ConfigError("dpi", problem, "Use less, or a smaller size")
            title = getattr(figure, "_suptitle", None)
            if title is not None:  # matplotlib's own wrapping reads a $ as mathematics
                text = _wrapped(title.get_text(), width, title.get_fontsize())
                title.set_text("\n".join(text))
            try:
                figure.draw_without_rendering()  # text takes its size, and the layout is made
            except UserWarning as warning:
                problem = "is too small for the panels and their labels"
                remedy = "Use a larger size, a smaller font size, or fewer panels"
                raise ConfigError("size", problem, remedy) from warning
            if lines:
                _add_below(figure, lines, room, small)
        return figure


def _shrink_text(figure: Figure, share: float) -> float:
    """Make all text smaller, as the figure is, but not below `LEAST`; return the share used."""
    share = max(share, LEAST)
    if share < 1:
        axes = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
        sizes = [float(axis.get_major_ticks(1)[0].label1.get_fontsize()) for axis in axes]
        for text in figure.findobj(Text):
            if isinstance(text, Text):
                text.set_fontsize(share * float(text.get_fontsize()))
        for axis, size in zip(axes, sizes, strict=True):  # of ticks that are yet to come
            axis.set_tick_params(labelsize=share * size)
    return share


def _wrapped(text: str, width: float, size: float) -> list[str]:
    """Return the lines of a text of this font size in a figure of this width in inches."""
    most = 72 * 0.94 * (width - 0.3)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size) > most:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _add_below(figure: Figure, lines: Sequence[str], room: float, size: float) -> None:
    """Add paper of `room` inches below a figure that is laid out, with a text on it."""
    width, height = map(float, figure.get_size_inches())
    figure.set_layout_engine("none")
    places = [(axes, axes.get_position(original=True)) for axes in figure.axes]
    figure.set_size_inches(width, height + room)
    share = height / (height + room)

    def moved(y: float) -> float:
        return 1 - share * (1 - y)

    for axes, box in places:  # first all are asked, as twins move each other
        axes.set_position((box.x0, moved(box.y0), box.width, box.height * share))
    for legend in figure.legends:
        legend.set_bbox_to_anchor((0, 1 - share, 1, share), transform=figure.transFigure)
    if (title := getattr(figure, "_suptitle", None)) is not None:
        title.set_y(moved(title.get_position()[1]))
    figure.text(
        0.15 / width, 0.08 / (height + room), "\n".join(lines), color="0.3", va="bottom",
        fontsize=size, parse_math=False,
    )  # fmt: skip
