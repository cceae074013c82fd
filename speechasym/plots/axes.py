"""What all plots share: colours, picture files, and the helpers for axes, images and titles.

In this package, functions that take an `Axes` return the artists they drew and neither show nor
save; functions named `*_figure` return a whole figure, which `PictureStyle` completes. What they
draw comes from functions that return plain arrays, which the report uses as well.

Shapes: F frames, C channels, K rows.
"""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from speechasym import files
from speechasym.auditory import erb
from speechasym.errors import ConfigError

RISE, FALL, STILL = "#b2182b", "#2166ac", "0.75"
SIGNED = "RdBu_r"  # readable by colour-blind people; red: positive or rising
FORMATS = (".png", ".pdf", ".svg")
TICKS_HZ = (50, 200, 500, 1000, 2000, 5000, 10000, 20000)
DPI = 150


def font_scale() -> float:
    """Return the font size relative to matplotlib's 10 points: for sizes given in points."""
    return float(mpl.rcParams["font.size"]) / 10


def text_width(text: str, size: float) -> float:
    """Return the width of a line of text in points."""
    font = FontProperties(size=size)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0])


def picture_path(out: str | Path) -> Path:
    """Return `out` as a path. Raises `ConfigError` unless it ends in one of `FORMATS`."""
    out = Path(out)
    if out.suffix.lower() not in FORMATS:
        raise ConfigError(out, "not a supported picture format", "End it in .png, .pdf or .svg")
    return out


def save(figure: Figure, out: Path) -> None:
    """Write a figure in the format of the file's suffix, at its own dpi, all or nothing."""
    with files.atomic(out) as file:
        figure.savefig(file, format=out.suffix[1:].lower(), dpi=figure.dpi)


def set_title(figure: Figure, text: str) -> None:
    """Set a figure's title as plain text: a file name may hold a $."""
    figure.suptitle(text, fontsize="medium", parse_math=False)


def hz_ticks(centre_hz: NDArray) -> list[int]:
    """Return the tick frequencies, Hz, that lie within channels of these centres (C,)."""
    return [hz for hz in TICKS_HZ if centre_hz[0] * 0.98 <= hz <= centre_hz[-1] * 1.02]


def channel_rows(hz: Any, centre_hz: NDArray) -> NDArray[np.float64]:
    """Return where frequencies in Hz, of any shape, lie among channels of these centres (C,)."""
    cams = erb.hz_to_cam(centre_hz)
    rows = np.interp(erb.hz_to_cam(hz), cams, np.arange(len(cams)), np.nan, np.nan)
    return np.asarray(rows, np.float64)


def channel_image(
    axes: Axes, values: NDArray, centre_hz: NDArray, frame_rate: float, start: float = 0.0,
    **options: Any,
) -> AxesImage:  # fmt: skip
    """Draw values (C, F) as an image: time in s, channels labelled in Hz.

    Args:
        centre_hz: (C,) centre frequencies, ascending.
        options: passed to `Axes.imshow`: cmap, vmin, vmax, alpha, interpolation, ...
    """
    extent = (start, start + values.shape[1] / frame_rate, -0.5, len(values) - 0.5)
    options = {"interpolation": "nearest"} | options
    image = axes.imshow(values, origin="lower", aspect="auto", extent=extent, **options)
    ticks = hz_ticks(centre_hz)
    axes.set_yticks(channel_rows(ticks, centre_hz), [f"{hz:g}" for hz in ticks])
    axes.set_ylabel("centre\nfrequency (Hz)")
    return image


def row_image(
    axes: Axes, values: NDArray, frame_rate: float, limits: tuple[float, float], cmap: str,
    start: float = 0.0,
) -> AxesImage:  # fmt: skip
    """Draw values (F, K) against time in s, the first of K at the bottom; NaN stays grey."""
    axes.set_facecolor("0.85")
    extent = (start, start + len(values) / frame_rate, -0.5, values.shape[1] - 0.5)
    return axes.imshow(
        values.T, origin="lower", aspect="auto", extent=extent, interpolation="nearest",
        cmap=cmap, vmin=limits[0], vmax=limits[1],
    )  # fmt: skip


def colour_bar(axes: Axes, image: AxesImage, label: str = "", **options: Any) -> Colorbar:
    """Add a slim colour bar to the right of a panel; options as of `Figure.colorbar`."""
    bar = axes.figure.colorbar(image, ax=axes, pad=0.01, **{"aspect": 12} | options)
    bar.set_label(label, fontsize="small")
    bar.ax.tick_params(labelsize="x-small")
    return bar


def plain_log_ticks(axes: Axes) -> None:
    """Label a logarithmic y axis 1, 2, 5, 10 instead of in powers of ten."""
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def open_grid(axes: Axes) -> None:
    """Draw a pale grid behind the data, and leave out the frame's top and right."""
    axes.grid(True, color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
