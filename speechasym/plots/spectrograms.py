"""Panels of other spectrograms and of pitch, and tracks of Praat over spectrograms.

Shapes: F frames, C channels, K tracks.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from speechasym.audio import reading
from speechasym.errors import AudioError
from speechasym.feature_extraction import praat
from speechasym.feature_extraction.pitch import PITCH_HZ, Pitch
from speechasym.feature_extraction.praat import PraatTrack
from speechasym.feature_extraction.spectrograms import Spectrogram
from speechasym.plots.axes import channel_image, channel_rows

MOST_HZ = 10_000.0  # shown of an FFT spectrogram: speech has little above
COLOURS = {"formants": "#ff3b30", "intensity": "#f5c400", "pitch": "#32d7ff"}  # on magma
QUIET_DB = 30.0  # formants are drawn where Praat's intensity is at most so far below its maximum


def spectrogram_panel(
    axes: Axes, data: Spectrogram, limits: tuple[float, float], start: float
) -> AxesImage:
    """Draw a spectrogram over time in s: an FFT over linear Hz, others by channel."""
    options: dict[str, Any] = {"cmap": "magma", "vmin": limits[0], "vmax": limits[1]}
    if data.kind != "fft":
        return channel_image(
            axes, data.level_db, data.frequencies, data.frame_rate, start, **options
        )
    shown = data.frequencies <= MOST_HZ
    step, rate = float(data.frequencies[1]), data.frame_rate
    top = float(data.frequencies[shown][-1])
    end = start + len(data.times) / rate
    extent = (start - 0.5 / rate, end - 0.5 / rate, -step / 2, top + step / 2)
    image = axes.imshow(
        data.level_db[shown], origin="lower", aspect="auto", extent=extent, **options
    )
    axes.set_facecolor("black")  # half a frame at the end
    axes.set_ylim(0, top)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda hz, _: f"{hz:g}"))
    axes.set_ylabel("frequency (Hz)")
    return image


def pitch_panel(axes: Axes, data: Pitch, start: float) -> Line2D:
    """Draw pitch in Hz over time in s, with gaps where unvoiced."""
    times = start + data.times
    (line,) = axes.plot(times, data.hz, color="0.2", linewidth=1.1, marker=".", markersize=2.5)
    voiced = data.hz[np.isfinite(data.hz)]
    low, high = PITCH_HZ
    if len(voiced):
        low, high = max(0.0, 0.8 * float(voiced.min())), 1.15 * float(voiced.max())
    else:
        axes.text(
            0.5, 0.5, "no voiced frame", ha="center", va="center", color="0.4",
            transform=axes.transAxes,
        )  # fmt: skip
    axes.set_ylim(low, high)
    axes.grid(True, axis="y", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_ylabel("pitch (Hz)")
    return line


def overlay(
    axes: Axes, tracks: Mapping[str, PraatTrack], centre_hz: NDArray | None, start: float,
    legend: bool = True,
) -> list[Any]:  # fmt: skip
    """Draw tracks of Praat over a spectrogram panel; return what was drawn.

    Args:
        legend: whether to write above the panel which colour is which.
        tracks: any of formants, intensity and pitch. Intensity has a scale of its own on the right.
        centre_hz: (C,) of the panel's channels; None: its axis is linear in Hz.
    """
    drawn: list[Any] = []
    keys = []
    for name, track in tracks.items():
        times, colour = start + track.times, COLOURS[name]
        if name == "intensity":
            right: Any = axes.twinx()
            top = float(np.ceil(track.values.max(initial=0.0) / 10) * 10)
            right.set_ylim(top - 60, top + 10)
            drawn += right.plot(times, track.values[:, 0], color=colour, linewidth=1.2)
            right.set_ylabel("intensity (dB)", fontsize="small")
            right.tick_params(labelsize="small")
            keys.append(Line2D([], [], color=colour, label="intensity by Praat"))
            continue
        rows = track.values if centre_hz is None else channel_rows(track.values, centre_hz)
        limits = axes.get_ylim()
        style: dict[str, Any] = {"linestyle": "none", "marker": ".", "color": colour}
        size = 3.0 if name == "formants" else 3.5
        drawn += axes.plot(np.repeat(times, rows.shape[1]), rows.ravel(), markersize=size, **style)
        axes.set_ylim(limits)
        keys.append(Line2D([], [], markersize=7, label=f"{name} by Praat", **style))
    if legend:
        axes.legend(
            handles=keys, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1,
            fontsize="x-small", ncols=3, frameon=False, handletextpad=0.4, columnspacing=1.2,
        )  # fmt: skip
    return drawn


def praat_tracks(
    x: NDArray[np.float32], rate: int, names: Sequence[str], title: str
) -> dict[str, PraatTrack]:
    """Return tracks of Praat for samples x (T,); formants are NaN where it is quiet.

    A track for which x is too short is left out, with a warning. Raises `ConfigError` without
    parselmouth.
    """
    tracks = {}
    for name in names:
        try:
            tracks[name] = praat.track(name, x, rate, title)
        except AudioError as error:
            reading.log.warning("%s: %s; it is not drawn", *error.args[:2])
    if "formants" in tracks:
        formants = tracks["formants"]
        with suppress(AudioError):  # too short to have an intensity
            level = praat.track("intensity", x, rate, title)
            level_db = np.interp(formants.times, level.times, level.values[:, 0])
            loud = level_db >= level.values.max() - QUIET_DB
            values = np.where(loud[:, None], formants.values, np.nan)
            tracks["formants"] = PraatTrack(formants.times, values)
    return tracks
