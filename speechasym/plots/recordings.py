"""`plot`: panels or a whole figure of one recording, written to a picture file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from speechasym.annotations.intervals import Interval
from speechasym.annotations.tiers import read_tiers, tiers_beside
from speechasym.audio import sources
from speechasym.audio.sources import Source
from speechasym.errors import ConfigError
from speechasym.feature_extraction.sets import GammatoneFeatures
from speechasym.plots import asymmetry, signal
from speechasym.plots.axes import picture_path, save
from speechasym.plots.features import FeatureExcerpt, features_figure, read_features, select_groups
from speechasym.plots.signal import PANELS

FIGURES = ("levels", "hysteresis", "summary")


def plot(
    file: Source,
    out: str | Path,
    what: str | Sequence[str] | None = None,
    start: float = 0.0,
    duration: float | None = None,
    channel: str | int = "mean",
    tiers: str | Path | None = None,
    at: float = 1000.0,
) -> None:
    """Draw a recording, or a feature file written by `extract`, into a picture file.

    Args:
        file: an audio file, or a .npy beside (or below) its features.json; or a recording in
            memory that knows its rate, see `speechasym.load`.
        out: the picture; its suffix gives the format: .png, .pdf or .svg.
        what: panels, from top to bottom: waveform, gammatone, frequency, phase; of features other
            than gammatone, names of columns without their numbers. None: all that `file` has. Or
            one whole figure of a recording: levels (asymmetry at each scale), hysteresis (loops of
            one channel), summary (rise and fall work over the channels).
        start, duration: the part to draw, in s; without a duration, at most 60 s.
        channel: of a multichannel recording: "mean", or a number from 0.
        tiers: a .TextGrid, .PHN or .WRD to draw below the waveform. None: the annotation of the
            same name beside the recording, if any; "none": nothing. Without a waveform, only a
            file given here is drawn, on top.
        at: Hz; hysteresis is drawn for the nearest channel.

    Raises:
        AnnotationError, AudioError, ConfigError, OutputError: bad input; nothing is written then.

    Example:
        >>> plot("speech.wav", "speech.png", ["waveform", "gammatone"])
    """
    file, out = Path(file) if isinstance(file, str) else file, picture_path(out)
    names = [what] if isinstance(what, str) else None if what is None else list(what)
    features = (
        isinstance(file, Path) and file.suffix == ".npy"
    )  # whose columns have names of their own
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
    if features:
        figure = _features(read_features(file, start, duration), file, names, tiers)
    elif whole is None:
        excerpt = signal.read_excerpt(file, start, duration, channel)
        figure = _panels(signal.from_audio(excerpt), file, names, tiers)
    else:
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
        if whole == "levels":
            figure = asymmetry.scales_figure(excerpt, annotation)
        elif whole == "hysteresis":
            figure = asymmetry.hysteresis_figure(excerpt, at)
        else:
            figure = asymmetry.summary_figure(excerpt)
    save(figure, out)


def _panels(
    data: signal.SignalTracks, file: Source, names: list[str] | None, tiers: str | Path | None
) -> Figure:
    available = [name for name, track in PANELS.items() if track in data.tracks]
    panels = available if names is None else names
    if missing := [name for name in panels if name not in available]:
        has = ", ".join(available) or "nothing"
        problem = f"has no data for {', '.join(missing)}; it has {has}"
        remedy = "Extract with --tracks level,frequency,phase, or plot the recording itself"
        raise ConfigError(sources.name_of(file), problem, remedy)
    return signal.signal_figure(data, panels, _annotation(file, tiers, "waveform" in panels))


def _features(
    data: FeatureExcerpt, file: Path, names: list[str] | None, tiers: str | Path | None
) -> Figure:
    if isinstance(data.config, GammatoneFeatures) and data.config.normalise == "none":
        tracks = signal.gammatone_tracks(
            data.title, data.values.T, data.config, data.start, data.duration
        )
        return _panels(tracks, file, names, tiers)
    groups = select_groups(file, names, data.config)
    return features_figure(data, groups, _annotation(file, tiers, False))


def _annotation(
    file: Source, tiers: str | Path | None, by_default: bool
) -> dict[str, list[Interval]]:
    """Read the tiers to draw; without a file, those beside the recording or, by default, none."""
    if str(tiers) == "none" or (tiers is None and not by_default):
        return {}
    if tiers is not None:
        return read_tiers(tiers)
    return tiers_beside(file) if isinstance(file, Path) else {}
