"""`plot`: panels or a whole figure of one recording, written to a picture file."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from speechasym.annotations.intervals import Interval
from speechasym.annotations.tiers import read_tiers, tiers_beside
from speechasym.audio import sources
from speechasym.audio.sources import Source
from speechasym.config import check_choices, check_range
from speechasym.errors import ConfigError
from speechasym.feature_extraction import praat, tables
from speechasym.feature_extraction.sets import GammatoneFeatures
from speechasym.plots import asymmetry, captions, signal
from speechasym.plots.axes import DPI, picture_path, save
from speechasym.plots.features import FeatureExcerpt, features_figure, read_features, select_groups
from speechasym.plots.signal import PANELS, SPECTROGRAMS, USUAL
from speechasym.plots.style import PictureStyle

FIGURES = ("levels", "hysteresis", "summary")


def plot(
    file: Source,
    out: str | Path | None = None,
    what: str | Sequence[str] | None = None,
    start: float = 0.0,
    duration: float | None = None,
    channel: str | int = "mean",
    tiers: str | Path | None = None,
    at: float = 1000.0,
    *,
    end: float | None = None,
    overlay: Sequence[str] = (),
    window_ms: float = 10.0,
    size: tuple[float, float] | None = None,
    dpi: float = DPI,
    font_size: float | None = None,
    caption: bool = True,
) -> Figure:
    """Draw a recording, or a feature file written by `extract`: a figure, and a picture file.

    Args:
        file: an audio file, or a feature file of any format beside (or below) its features.json;
            or a recording in memory that knows its rate, see `speechasym.load`.
        out: the picture; its suffix gives the format: .png, .pdf or .svg. None: none is written.
        what: panels, from top to bottom: waveform, gammatone, frequency, phase, spectrogram
            (short-time Fourier transform), constant-q, pitch; of features other than gammatone,
            names of columns without their numbers. None: the first four, or all that a feature
            file has. Or one whole figure of a recording: levels (asymmetry at each scale),
            hysteresis (loops of one channel), summary (rise and fall work over the channels).
        start, duration: the part to draw, in s; without a duration or an end, at most 60 s.
        channel: of a multichannel recording: "mean", or a number from 0.
        tiers: a .TextGrid, .PHN or .WRD to draw below the waveform. None: the annotation of the
            same name beside the recording, if any; "none": nothing. Without a waveform, only a
            file given here is drawn, on top.
        at: Hz; hysteresis is drawn for the nearest channel.
        end: the end of the part to draw, in s, instead of a duration.
        overlay: tracks of Praat over the spectrograms: formants, intensity, pitch.
        window_ms: window of the spectrogram in ms: 10 shows formants, 40 harmonics.
        size: width and height of the figure in inches; None: as its panels need.
        dpi: pixels per inch.
        font_size: of plain text in points; None: 10.
        caption: whether a text below says how to read the figure.

    Returns:
        the figure; it is not shown, and pyplot does not know it.

    Raises:
        AnnotationError, AudioError, ConfigError, OutputError: bad input; nothing is written then.
            `ConfigError` also if an overlay is asked for and parselmouth is not installed. An
            overlay for which the recording is too short is left out; the caption says so.

    Example:
        >>> figure = speechasym.plot("speech.wav", "speech.png", ["waveform", "gammatone"])
    """
    path = None if out is None else picture_path(out)
    style = PictureStyle(size=size, dpi=dpi, font_size=font_size, caption=caption)
    draw = _drawing(
        Path(file) if isinstance(file, str) else file,
        [what] if isinstance(what, str) else None if what is None else list(what),
        start, _duration(start, duration, end), channel, tiers, at, list(overlay), window_ms,
    )  # fmt: skip
    figure = draw(style)
    if path is not None:
        save(figure, path)
    return figure


def _duration(start: float, duration: float | None, end: float | None) -> float | None:
    if end is None:
        return duration
    if duration is not None:
        raise ConfigError("end", "cannot be combined with a duration", "Give one of the two")
    if not end > start:
        problem = f"must be after the start at {start:g} s, got {end:g} s"
        raise ConfigError("end", problem, "Give times in s from the beginning of the recording")
    return end - start


def _drawing(
    file: Source, names: list[str] | None, start: float, duration: float | None, channel: str | int,
    tiers: str | Path | None, at: float, overlays: list[str], window_ms: float,
) -> Callable[[PictureStyle], Figure]:  # fmt: skip
    """Read and compute what is drawn, and return the function that draws it in a style."""
    # feature files, whose columns have names of their own
    features = isinstance(file, Path) and file.suffix in tables.SUFFIXES
    known = {*PANELS, *FIGURES, *(names or () if features else ())}
    if names is not None and (not names or set(names) - known):
        remedy = f"Use any of {','.join(PANELS)}, or one of {', '.join(FIGURES)}"
        raise ConfigError("what", f"{','.join(names)!r} is not known", remedy)
    if not 0 <= start < np.inf or (duration is not None and not 0 < duration < np.inf):
        problem = f"start must be >= 0 and duration > 0, got {start} s and {duration} s"
        remedy = "Give times in s from the beginning of the recording"
        raise ConfigError("start, duration", problem, remedy)
    whole = next((name for name in names or () if name in FIGURES), None)
    if whole and len(names or ()) > 1:
        problem = f"{whole} is a whole figure and cannot be combined, got {','.join(names or ())}"
        raise ConfigError("what", problem, "Draw it alone, and the others into another picture")
    if whole and features:
        problem = f"{whole} is drawn from samples, and this is a feature file"
        raise ConfigError(file, problem, "Give the recording")
    if overlays:
        check_choices("overlay", overlays, praat.TRACKS)
        if features or whole or not set(names or USUAL) & set(SPECTROGRAMS):
            problem = "is drawn over a spectrogram of a recording"
            raise ConfigError("overlay", problem, f"Draw {' or '.join(SPECTROGRAMS)} with it")
    check_range("window_ms", window_ms, "10", 1, 1000)
    if features:
        return _features(read_features(file, start, duration), file, names, tiers)
    if whole is None:
        excerpt = signal.read_excerpt(file, start, duration, channel)
        tracks = signal.from_audio(excerpt, names or USUAL, overlays, window_ms)
        too_short = [name for name in overlays if name not in tracks.praat]
        return _panels(tracks, file, list(USUAL) if names is None else names, tiers, too_short)
    try:
        excerpt = signal.read_excerpt(file, start, duration, channel)
    except ConfigError as error:
        subject, problem, remedy = error.args
        if whole == "hysteresis" and subject.startswith("channel "):
            remedy += "; a filterbank channel is chosen by --at, in Hz"
        raise ConfigError(subject, problem, remedy) from error
    if whole != "levels" and tiers is not None and str(tiers) != "none":
        problem = f"are drawn over time, which is not an axis of {whole}"
        raise ConfigError("tiers", problem, "Draw levels or panels, or leave them out")
    annotation = _annotation(file, tiers, whole == "levels")
    drawings: dict[str, Callable[[], Figure]] = {
        "levels": lambda: asymmetry.scales_figure(excerpt, annotation),
        "hysteresis": lambda: asymmetry.hysteresis_figure(excerpt, at),
        "summary": lambda: asymmetry.summary_figure(excerpt),
    }
    return lambda style: style.figure(drawings[whole], captions.FIGURES[whole])


def _panels(
    data: signal.SignalTracks,
    file: Source,
    names: list[str] | None,
    tiers: str | Path | None,
    too_short: Sequence[str] = (),
) -> Callable[[PictureStyle], Figure]:
    available = [name for name, track in PANELS.items() if track in data.tracks]
    panels = available if names is None else names
    if missing := [name for name in panels if name not in available]:
        has = ", ".join(available) or "nothing"
        problem = f"has no data for {', '.join(missing)}; it has {has}"
        remedy = "Extract with --tracks level,frequency,phase, or plot the recording itself"
        raise ConfigError(sources.name_of(file), problem, remedy)
    annotation = _annotation(file, tiers, "waveform" in panels)
    drawn = [*panels, *(["tiers"] if annotation else [])]
    caption = captions.of_panels(drawn, list(data.praat), too_short)
    return lambda style: style.figure(
        lambda: signal.signal_figure(data, panels, annotation, style.size), caption
    )


def _features(
    data: FeatureExcerpt, file: Path, names: list[str] | None, tiers: str | Path | None
) -> Callable[[PictureStyle], Figure]:
    if isinstance(data.config, GammatoneFeatures) and data.config.normalise == "none":
        tracks = signal.gammatone_tracks(
            data.title, data.values.T, data.config, data.start, data.duration
        )
        return _panels(tracks, file, names, tiers)
    groups = select_groups(file, names, data.config)
    annotation = _annotation(file, tiers, False)
    return lambda style: style.figure(
        lambda: features_figure(data, groups, annotation), captions.FIGURES["features"]
    )


def _annotation(
    file: Source, tiers: str | Path | None, by_default: bool
) -> dict[str, list[Interval]]:
    """Read the tiers to draw; without a file, those beside the recording or, by default, none."""
    if str(tiers) == "none" or (tiers is None and not by_default):
        return {}
    if tiers is not None:
        return read_tiers(tiers)
    return tiers_beside(file) if isinstance(file, Path) else {}
