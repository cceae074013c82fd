"""Plots of a recording's signal: waveform, spectrograms, frequency, phase and pitch.

Shapes: T samples, F frames, C channels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from speechasym.annotations.intervals import Interval
from speechasym.audio import reading, sources
from speechasym.audio.sources import Source
from speechasym.auditory import filterbank
from speechasym.errors import AudioError
from speechasym.feature_extraction.pitch import pitch
from speechasym.feature_extraction.praat import PraatTrack
from speechasym.feature_extraction.sets import GammatoneFeatures
from speechasym.feature_extraction.spectrograms import Kind, spectrogram
from speechasym.plots.axes import SIGNED, channel_image, colour_bar, font_scale, set_title
from speechasym.plots.spectrograms import overlay, pitch_panel, praat_tracks, spectrogram_panel
from speechasym.plots.tiers import arrange, mark_boundaries, tiers

LONGEST_S = 60.0  # drawn by default: more in 1200 pixels shows nothing
FRAME_RATE = 100.0  # approximate frames a second, as in feature extraction
RUN_IN_S = 600.0  # read before an excerpt: the noise estimate forgets in 5 s, hysteresis later
MOST_POINTS = 4000  # drawn of a waveform; longer ones are drawn as minima and maxima
RANGE_DB = 60.0  # drawn below the loudest point
PANEL_IN, LOWEST_IN = 1.75, 0.3  # inches: height of a panel, and the least where it may shrink
WIDTH_IN, MARGIN_IN = 8.0, 2.2  # inches: width of the figure, and what of it is not axes, at most
# panel -> its track; the last three are computed where they are asked for
PANELS = {
    "waveform": "waveform", "gammatone": "level", "frequency": "frequency", "phase": "phase",
    "spectrogram": "fft", "constant-q": "constant-q", "pitch": "pitch",
}  # fmt: skip
USUAL = tuple(PANELS)[:4]  # panels that are drawn by default
SPECTROGRAMS = ("gammatone", "spectrogram", "constant-q")  # panels that take tracks of Praat
MOST_FRAMES = 5000  # of an FFT spectrogram: a picture has fewer pixels
_EXTEND = {"frequency": "both", "phase": "neither"}  # beyond the colours' ends; others: min
_LABELS = {
    **dict.fromkeys(SPECTROGRAMS, "level\n(dB re full-scale sine)"),
    "frequency": "frequency re\ncentre (ERB)",
    "phase": "phase lead over\nlower channel (cycles)",
}


class Excerpt(NamedTuple):
    """Part of a recording, with samples before and after it that its tracks depend on."""

    title: str
    x: NDArray[np.float32]  # (T,) all samples read
    run_in: int  # samples of x before the excerpt, whole frames
    size: int  # samples of the excerpt
    sample_rate: int
    start: float  # s from the beginning of the recording

    @property
    def samples(self) -> NDArray[np.float32]:
        """The samples of the excerpt itself."""
        return self.x[self.run_in : self.run_in + self.size]

    @property
    def duration(self) -> float:
        """Length of the excerpt in s."""
        return self.size / self.sample_rate

    def frames(self, hop: int) -> slice:
        """Return which frames of `hop` samples, counted from the start of x, the excerpt has."""
        first, end = self.run_in // hop, self.run_in + self.size
        stop = min(-(-end // hop), filterbank.frame_count(len(self.x), hop))
        return slice(first, max(first + 1, stop))


def frame_hop(sample_rate: int) -> int:
    """Return the samples per frame: about `FRAME_RATE` frames per second."""
    return max(1, round(sample_rate / FRAME_RATE))


def read_excerpt(
    source: Source, start: float, duration: float | None, channel: str | int
) -> Excerpt:
    """Read part of a recording from the frame that holds `start`, and up to 600 s before it.

    Raises `AudioError` for a recording that cannot be read or ends before `start`.
    """
    path = Path(sources.name_of(source))
    if isinstance(source, Path):
        header = reading.info(path)
        if header.warning:
            reading.log.warning("%s: %s", path, header.warning)
        rate, blocks = header.sample_rate, reading.blocks(path, None, channel)
    else:
        x, rate = sources.load(source, None, channel)
        blocks = iter([x])
    length = LONGEST_S if duration is None else duration
    hop = frame_hop(rate)
    begin, end = round(start * rate) // hop * hop, round((start + length) * rate)
    first, last = max(0, begin - round(RUN_IN_S * rate) // hop * hop), -(-end // hop) * hop
    parts, count = [], 0
    for block in blocks:
        parts.append(block[max(0, first - count) : max(0, last - count)])
        count += len(block)
    if min(end, count) <= begin:
        problem = f"ends after {count / rate:.3f} s, before {start:g} s"
        raise AudioError(path, problem, "Choose an earlier start")
    size = min(end, count) - begin
    title = f"{path.name}, {rate} Hz" + stretch_title(start, size / rate, count / rate)
    return Excerpt(title, np.concatenate(parts), begin - first, size, rate, begin / rate)


def stretch_title(start: float, duration: float, total: float) -> str:
    """Return what a title adds when only part of a recording is drawn."""
    if duration >= total - 0.01:
        return ""
    return f", {start:g} to {start + duration:g} s of {total:.1f} s"


class SignalTracks(NamedTuple):
    """What `signal_figure` draws, from samples or from a feature file."""

    title: str
    # waveform (T,); level, frequency, phase: (C, F); a Spectrogram or Pitch
    tracks: dict[str, Any]
    centre_hz: NDArray[np.float64]  # (C,)
    sample_rate: int
    frame_rate: float
    start: float  # s
    duration: float  # s
    praat: Mapping[str, PraatTrack] = {}  # tracks to draw over spectrograms


def from_audio(
    excerpt: Excerpt,
    names: Sequence[str] = (),
    overlays: Sequence[str] = (),
    window_ms: float = 10.0,
) -> SignalTracks:
    """Compute the tracks of an excerpt as `extract` does, but at the recording's sample rate.

    Args:
        names: panels to draw; those beyond `USUAL` are computed only if they are among them.
        overlays: tracks of Praat.
        window_ms: window of an FFT spectrogram.

    Raises `ConfigError` for overlays without parselmouth.
    """
    rate, hop = excerpt.sample_rate, frame_hop(excerpt.sample_rate)
    config = GammatoneFeatures(
        sample_rate=rate, rate=rate / hop, tracks=("level", "frequency", "phase")
    )
    part, count, parts = excerpt.frames(hop), 0, []
    for frames in config.frames(np.split(excerpt.x, range(rate, len(excerpt.x), rate))):
        parts.append(frames[max(0, part.start - count) : max(0, part.stop - count)])
        count += len(frames)
    values = np.concatenate(parts).T
    data = gammatone_tracks(excerpt.title, values, config, excerpt.start, excerpt.duration)
    x = excerpt.samples
    more = praat_tracks(x, rate, overlays, excerpt.title)
    tracks: dict[str, Any] = {"waveform": x} | data.tracks
    kinds: dict[str, Kind] = {"spectrogram": "fft", "constant-q": "constant-q"}
    for name, kind in kinds.items():
        if name in names:
            fast = min(500.0, MOST_FRAMES / excerpt.duration) if kind == "fft" else None
            tracks[kind] = spectrogram(x, rate, kind=kind, frame_rate=fast, window_ms=window_ms)
    if "pitch" in names:
        tracks["pitch"] = pitch(x, rate)
    return data._replace(tracks=tracks, praat=more)


def gammatone_tracks(
    title: str, values: NDArray, config: GammatoneFeatures, start: float, duration: float
) -> SignalTracks:
    """Split gammatone features (D, F) into their tracks."""
    tracks = values.reshape(len(config.tracks), config.channels, -1)
    centre_hz = filterbank.design(config.bank()).frequency
    return SignalTracks(
        title, dict(zip(config.tracks, tracks, strict=True)), centre_hz,
        config.sample_rate, config.rate, start, duration,
    )  # fmt: skip


def waveform(axes: Axes, x: NDArray, sample_rate: int, start: float = 0.0) -> Line2D:
    """Draw samples x (T,) against time in s; a long waveform as its outline."""
    if len(x) > 2 * MOST_POINTS:
        step = len(x) // MOST_POINTS
        blocks = x[: len(x) // step * step].reshape(-1, step)
        x = np.stack([blocks.min(1), blocks.max(1)], 1).ravel()
        time = start + np.repeat(np.arange(len(blocks)) * step / sample_rate, 2)
    else:
        time = start + np.arange(len(x)) / sample_rate
    (line,) = axes.plot(time, x, linewidth=0.5, color="0.25")
    peak = float(np.abs(x).max()) or 1.0
    axes.set_ylim(-1.05 * peak, 1.05 * peak)
    axes.set_ylabel("amplitude\n(full scale 1)")
    return line


def level_limits(values: NDArray) -> tuple[float, float]:
    """Return the levels in dB at the ends of the colours: the top 60 dB, up to a multiple of 5."""
    high = max(float(np.ceil(values.max() / 5) * 5), filterbank.FLOOR_DB + RANGE_DB)
    return high - RANGE_DB, high


def channel_panel(axes: Axes, data: SignalTracks, name: str) -> AxesImage:
    """Draw gammatone (levels in dB, the top 60 dB of them), frequency or phase.

    Frequency: red where the energy lies above the channel's centre frequency, blue below, in ERB.
    Phase: each channel's lead over its lower neighbour in cycles, in cyclic colours. (The carrier's
    own phase looks random at 100 frames per second; the difference between neighbours does not:
    channels that follow the same component keep step.) Both fade into the background from 20 to
    50 dB below the loudest level, if levels are known: they mean nothing there.
    """
    options: dict[str, Any]
    level_db = data.tracks.get("level")
    if name == "gammatone":
        values = data.tracks["level"]
        low, high = level_limits(values)
        options = {"cmap": "magma", "vmin": low, "vmax": high}
    elif name == "frequency":
        values, options = data.tracks["frequency"], {"cmap": SIGNED, "vmin": -1, "vmax": 1}
    else:
        step = np.diff(data.tracks["phase"], axis=0)
        values = np.pad(step - np.round(step), ((1, 0), (0, 0)), constant_values=np.nan)
        options = {"cmap": "twilight", "vmin": -0.5, "vmax": 0.5}
    if name != "gammatone":
        axes.set_facecolor("0.85")  # seen where the panel fades
        if level_db is not None:
            audible = level_db > filterbank.FLOOR_DB
            options["alpha"] = np.clip((level_db - level_db.max() + 50) / 30, 0, 1) * audible
    return channel_image(axes, values, data.centre_hz, data.frame_rate, data.start, **options)


def signal_figure(
    data: SignalTracks, panels: Sequence[str], annotation: Mapping[str, Sequence[Interval]],
    size: tuple[float, float] | None = None,
) -> Figure:  # fmt: skip
    """Return the `PANELS` asked for, and tiers below the waveform, or on top without one.

    Args:
        size: inches that the whole will have; the tiers keep their height, the panels share the
            rest. None: all have the height they need.
    """
    names = list(panels)
    width = size[0] if size else WIDTH_IN
    axes_in = max(1.0, width - MARGIN_IN * font_scale())
    rows = arrange(annotation, data.start, data.duration, axes_in)
    if rows:
        names.insert(names.index("waveform") + 1 if "waveform" in names else 0, "tiers")
    shares = {"waveform": 0.6, "tiers": 0.0, "pitch": 0.7}
    share = sum(shares.get(name, 1.0) for name in names)
    tiers_in = sum(row.height for row in rows)
    panel_in = max(LOWEST_IN, (size[1] - 1.0 - tiers_in) / share) if size and share else PANEL_IN
    heights = [tiers_in if n == "tiers" else shares.get(n, 1.0) * panel_in for n in names]
    figure = Figure(figsize=(width, 1.0 + sum(heights)), layout="constrained")
    grid = figure.subplots(len(names), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, name in zip(grid, names, strict=True):
        if name == "waveform":
            waveform(axes, data.tracks["waveform"], data.sample_rate, data.start)
        elif name == "tiers":
            tiers(axes, rows, data.start, data.duration)
        elif name == "pitch":
            pitch_panel(axes, data.tracks["pitch"], data.start)
        else:
            first = next((n for n in names if n in SPECTROGRAMS), name)
            _colour_panel(axes, data, name, legend=name == first)
    drawn = [axes for axes, name in zip(grid, names, strict=True) if name != "tiers"]
    mark_boundaries(drawn, rows, axes_in)
    grid[-1].set_xlabel("time (s)")
    grid[-1].set_xlim(data.start, data.start + data.duration)
    set_title(figure, data.title)
    figure.align_ylabels(grid)
    return figure


def _colour_panel(axes: Axes, data: SignalTracks, name: str, legend: bool) -> None:
    """Draw a panel whose colours have a scale, with tracks of Praat, if any, and their legend."""
    centre_hz: NDArray | None = data.centre_hz
    if name in ("spectrogram", "constant-q"):
        track = data.tracks[PANELS[name]]
        centre_hz = None if name == "spectrogram" else track.frequencies
        image = spectrogram_panel(axes, track, level_limits(track.level_db), data.start)
    else:
        image = channel_panel(axes, data, name)
    if data.praat and name in SPECTROGRAMS:
        overlay(axes, data.praat, centre_hz, data.start, legend)
    bar = colour_bar(axes, image, _LABELS[name], extend=_EXTEND.get(name, "min"))
    bar.ax.tick_params(labelsize="small")
    if bar.solids is not None:
        bar.solids.set_alpha(1)  # the panel may fade; its scale must not
