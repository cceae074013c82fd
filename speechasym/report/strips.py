"""Pictures on the time axis of a recording: PNG images without margins, and an SVG waveform.

The images have a transparent background and few colours, readable on light and dark paper.

Shapes: T samples, F frames, C channels.
"""

import base64
import io
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from speechasym.plots.units import UnitActivity
from speechasym.report.html import Html, tag

RISE, FALL = (178, 24, 43), (33, 102, 172)
UNIT, WINNER, EVENT = (30, 110, 180), (230, 130, 20), (128, 128, 128)
SHADES = 12  # of a colour: fewer make smaller files
RANGE_DB = 55.0  # shown below the loudest point of a spectrogram


def png(indices: NDArray, palette: Sequence[tuple[int, int, int, int]]) -> str:
    """Draw palette indices (rows, columns), top row first; colours are RGBA -> data URI."""
    image = Image.fromarray(np.ascontiguousarray(indices, np.uint8))
    image.putpalette([value for colour in palette for value in colour[:3]])
    alpha = bytes(colour[3] for colour in palette)
    file = io.BytesIO()
    bits = 4 if len(palette) <= 16 else 8
    image.save(file, "png", transparency=alpha, optimize=True, bits=bits)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _shades(colour: tuple[int, int, int], count: int) -> list[tuple[int, int, int, int]]:
    """Return a colour from transparent to opaque."""
    return [(*colour, round(255 * n / count)) for n in range(count + 1)]


def spectrogram(power: NDArray) -> str:
    """Draw power (F, C) in black on transparent, by dB below the loudest point."""
    level_db = 10 * np.log10(np.maximum(power, 1e-12))
    top = max(float(np.quantile(level_db, 0.999)), RANGE_DB - 120)  # silence is not drawn loud
    share = np.clip((level_db - top + RANGE_DB) / RANGE_DB, 0, 1)
    return png(np.rint(15 * share).T[::-1], _shades((0, 0, 0), 15))


def asymmetry(values: NDArray) -> str:
    """Draw signed asymmetry (F, C), -1 to 1: red where it rises, blue where it falls."""
    steps = 7
    palette = [*_shades(FALL, steps)[::-1], *_shades(RISE, steps)[1:]]
    return png(np.rint(steps * np.clip(values, -1, 1)).T[::-1] + steps, palette)


def units(data: UnitActivity) -> str:
    """Draw units over frames, the last at the top.

    Each unit has three rows of pixels, the middle one orange where the unit wins an event; above
    them are four rows with ticks where events begin.
    """
    share = np.clip(np.nan_to_num(data.activation) / data.top, 0, 1)
    indices = np.rint(SHADES * share).astype(np.uint8).T[::-1].repeat(3, 0)
    for first, last, row in data.wins:
        indices[3 * (len(data.units) - 1 - row) + 1, first:last] = SHADES + 1
    ticks = np.zeros((4, indices.shape[1]), np.uint8)
    ticks[:3, data.onsets] = SHADES + 2
    palette = [*_shades(UNIT, SHADES), (*WINNER, 255), (*EVENT, 255)]
    return png(np.concatenate([ticks, indices]), palette)


def waveform(samples: NDArray, columns: int) -> Html:
    """Draw samples (T,) as an outline that stretches with its box."""
    columns = max(1, min(columns, len(samples)))
    edges = np.linspace(0, len(samples), columns + 1).astype(int)
    parts = [samples[a : max(b, a + 1)] for a, b in pairwise(edges)]
    top = max(1e-9, float(np.abs(samples).max(initial=0.0)))
    upper = [f"{n} {20 - 19 * float(part.max()) / top:.1f}" for n, part in enumerate(parts)]
    lower = [f"{n} {20 - 19 * float(part.min()) / top:.1f}" for n, part in enumerate(parts)]
    return tag(
        "svg", tag("path", d="M" + "L".join([*upper, *lower[::-1]]) + "Z"), class_="wave",
        viewBox=f"0 0 {columns} 40", preserveAspectRatio="none", aria_hidden="true",
    )  # fmt: skip
