"""Pictures: functions that draw into an `Axes`, and `plot`, which puts panels under one another.

Time in s, frequency on the ERB scale labelled in Hz. The `Axes` functions return what they drew,
and neither show nor save.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym import files
from speechasym.annotations.intervals import Interval
from speechasym.annotations.tiers import read_tiers, tiers_beside
from speechasym.audio import reading
from speechasym.auditory import erb, filterbank
from speechasym.errors import AudioError, ConfigError, OutputError
from speechasym.feature_extraction.features_json import INDEX
from speechasym.feature_extraction.sets import FeatureConfig, columns, frames

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D

LONGEST_SECONDS = 60.0  # more than this in 1200 pixels shows nothing
TICKS_HZ = (50, 200, 500, 1000, 2000, 5000, 10000, 20000)
RANGE_DB = 60.0  # shown below the loudest point
MAPS = {"level": "magma", "frequency": "RdBu_r", "phase": "twilight"}
EXTEND = {"gammatone": "min", "frequency": "both", "phase": "neither"}  # beyond the colours' ends
PANELS = {
    "waveform": "waveform",
    "gammatone": "level",
    "frequency": "frequency",
    "phase": "phase",
}  # what a person asks for -> the track it shows
WHOLE = ("levels", "hysteresis", "summary")  # whole figures, see `level_plots`


def waveform(axes: "Axes", x: NDArray, sample_rate: int, start: float = 0.0) -> "Line2D":
    """Draw samples x (T,) against time in s, as the outline of many samples a pixel if need be."""
    most = 4000  # points a line; beyond that the least and greatest of each stretch
    if len(x) > 2 * most:
        step = len(x) // most
        cut = x[: len(x) // step * step].reshape(-1, step)
        x = np.stack([cut.min(1), cut.max(1)], 1).ravel()
        time = start + np.repeat(np.arange(len(cut)) * step / sample_rate, 2)
    else:
        time = start + np.arange(len(x)) / sample_rate
    (line,) = axes.plot(time, x, linewidth=0.5, color="0.25")
    peak = float(np.abs(x).max()) or 1.0
    axes.set_ylim(-1.05 * peak, 1.05 * peak)
    axes.set_ylabel("amplitude\n(full scale 1)")
    return line


def channels(
    axes: "Axes",
    track: NDArray,
    centre_hz: NDArray,
    frame_rate: float,
    start: float = 0.0,
    **image: Any,
) -> "AxesImage":
    """Draw a track (C, F) as an image: time in s, ERB-spaced channels labelled in Hz.

    Args:
        centre_hz: (C,) centre frequencies, equally spaced on the ERB scale.
        image: passed to `Axes.imshow`: cmap, vmin, vmax, alpha, interpolation, ...
    """
    cam = erb.hz_to_cam(centre_hz)
    half = (cam[-1] - cam[0]) / max(1, len(cam) - 1) / 2 or 0.5
    extent = (start, start + track.shape[1] / frame_rate, cam[0] - half, cam[-1] + half)
    image = {"interpolation": "nearest"} | image
    drawn = axes.imshow(track, origin="lower", aspect="auto", extent=extent, **image)
    shown = [hz for hz in TICKS_HZ if centre_hz[0] * 0.98 <= hz <= centre_hz[-1] * 1.02]
    axes.set_yticks(erb.hz_to_cam(shown), [f"{hz:g}" for hz in shown])
    axes.set_ylabel("centre\nfrequency (Hz)")
    return drawn


def level(
    axes: "Axes", decibel: NDArray, centre_hz: NDArray, frame_rate: float, start: float = 0.0
) -> "AxesImage":
    """Draw channel levels (C, F) in dB, the loudest 60 dB of them."""
    top = max(float(np.ceil(decibel.max() / 5) * 5), filterbank.FLOOR_DB + RANGE_DB)
    return channels(
        axes, decibel, centre_hz, frame_rate, start,
        cmap=MAPS["level"], vmin=top - RANGE_DB, vmax=top,
    )  # fmt: skip


def frequency(
    axes: "Axes", deviation: NDArray, centre_hz: NDArray, frame_rate: float,
    start: float = 0.0, decibel: NDArray | None = None,
) -> "AxesImage":  # fmt: skip
    """Draw instantaneous frequency less the centre frequency (C, F) in ERB.

    Red: the energy lies above the channel's centre, blue: below. With levels (C, F) in `decibel`,
    quiet places fade into the background, from 20 to 50 dB below the loudest, because frequency
    means nothing there.
    """
    return channels(
        axes, deviation, centre_hz, frame_rate, start,
        cmap=MAPS["frequency"], vmin=-1, vmax=1, alpha=_strength(decibel),
    )  # fmt: skip


def phase(
    axes: "Axes", cycles: NDArray, centre_hz: NDArray, frame_rate: float,
    start: float = 0.0, decibel: NDArray | None = None,
) -> "AxesImage":  # fmt: skip
    """Draw each channel's phase lead over its lower neighbour (C, F), in cycles, cyclic colours.

    The carrier's own phase at a frame's end looks random at 100 frames a second; the difference of
    neighbours does not: channels that follow the same component keep step. `cycles` (C, F) are the
    channels' phases; the lowest channel is left blank. `decibel` as in `frequency`.
    """
    lead = np.full_like(cycles, np.nan)
    step = np.diff(cycles, axis=0)
    lead[1:] = step - np.round(step)
    return channels(
        axes, lead, centre_hz, frame_rate, start,
        cmap=MAPS["phase"], vmin=-0.5, vmax=0.5, alpha=_strength(decibel),
    )  # fmt: skip


def _strength(decibel: NDArray | None) -> NDArray | None:
    """Levels (C, F) -> opacity: 1 within 20 dB of the loudest, 0 from 50 dB below it."""
    if decibel is None:
        return None
    audible = decibel > filterbank.FLOOR_DB
    return np.clip((decibel - decibel.max() + 50) / 30, 0, 1) * audible


class _Material(NamedTuple):
    """What there is to draw."""

    title: str
    whole: float  # s, of the recording
    tracks: dict[str, NDArray]  # waveform (T,); level, frequency, phase: (C, F)
    centre_hz: NDArray
    sample_rate: int
    frame_rate: float
    start: float  # s
    duration: float  # s


class _Samples(NamedTuple):
    """The stretch of a recording that is drawn."""

    x: NDArray[np.float32]  # (T,)
    run_in: int  # samples of x before the stretch
    size: int  # samples of the stretch
    sample_rate: int
    whole: float  # s, of the recording
    title: str


def plot(
    source: str | Path,
    out: str | Path,
    what: tuple[str, ...] | None = None,
    start: float = 0.0,
    duration: float | None = None,
    channel: str | int = "mean",
    tiers: str | Path | None = None,
    at: float = 1000.0,
) -> None:
    """Draw panels of a recording, or of a feature file made by `extract`, into a picture file.

    Args:
        source: an audio file, or a .npy beside (or below) its features.json.
        out: the picture; its ending says the format: .png, .pdf or .svg.
        what: panels, top to bottom: waveform, gammatone, frequency, phase. None: what there is.
            Or one whole figure of a recording: levels (asymmetry by level), hysteresis (loops of
            one channel of the filterbank), summary (rise and fall work over the channels).
        start, duration: the stretch to show, in s; 60 s at most if no duration is given.
        channel: of a recording with several: "mean", or a number from 0.
        tiers: a .TextGrid, .PHN or .WRD to show below the waveform. None: what lies beside the
            recording under its name; "none": nothing.
        at: Hz; hysteresis is drawn of the filterbank's channel nearest to it.

    Raises:
        AnnotationError, AudioError, ConfigError, OutputError: bad input; nothing is written then.
    """
    source, out = Path(source), Path(out)
    if out.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise ConfigError(out, "not a picture format known here", "End it in .png, .pdf or .svg")
    if not 0 <= start < np.inf or (duration is not None and not 0 < duration < np.inf):
        raise ConfigError(
            "start, duration",
            f"{start} s, {duration} s: a start from 0 and a duration above 0 are expected",
            "Give s from the beginning",
        )
    if what is not None and set(what) & set(WHOLE):
        figure = _whole_figure(source, what, start, duration, channel, tiers, at)
    else:
        figure = _panels(source, what, start, duration, channel, tiers)
    with files.atomic(out) as file:
        figure.savefig(file, format=out.suffix[1:].lower(), dpi=150)


def _spoken(source: Path, tiers: str | Path | None, drawn: bool) -> dict[str, list[Interval]]:
    """The tiers to draw; nothing is read where there is no waveform to draw them below."""
    if not drawn:
        if tiers is None or str(tiers) == "none":
            return {}
        raise ConfigError(
            "tiers", "are drawn below a waveform, and there is none",
            "Draw levels, or waveform and what else you like, of the recording itself",
        )  # fmt: skip
    if tiers is None:
        return tiers_beside(source)
    return {} if str(tiers) == "none" else read_tiers(tiers)


def _panels(
    source: Path,
    what: tuple[str, ...] | None,
    start: float,
    duration: float | None,
    channel: str | int,
    tiers: str | Path | None,
) -> "Figure":
    if source.suffix == ".npy":
        material = _from_features(source, start, duration)
    else:
        material = _from_audio(source, start, duration, channel)
    there = [name for name, track in PANELS.items() if track in material.tracks]
    panels = there if what is None else list(what)
    if missing := [name for name in panels if name not in there]:
        raise ConfigError(
            source,
            f"has nothing to draw for {', '.join(missing)}; it has {', '.join(there) or 'nothing'}",
            "Extract with --tracks level,frequency,phase, or plot the recording itself",
        )
    return _draw(material, panels, _spoken(source, tiers, "waveform" in panels))


def _whole_figure(
    source: Path,
    what: tuple[str, ...],
    start: float,
    duration: float | None,
    channel: str | int,
    tiers: str | Path | None,
    at: float,
) -> "Figure":
    from speechasym.plots import asymmetry  # matplotlib, and this file, come first

    whole = next(name for name in what if name in WHOLE)
    if len(what) > 1:
        raise ConfigError(
            "what", f"{whole} is a whole figure, asked for as one of {','.join(what)}",
            f"Draw {whole} alone, and the others into another picture",
        )  # fmt: skip
    if source.suffix == ".npy":
        raise ConfigError(
            source,
            f"{whole} is drawn from samples, and features are here",
            "Give the recording itself",
        )
    try:
        found = _samples(source, start, duration, channel, asymmetry.run_in, asymmetry.RUN_OUT_S)
    except ConfigError as error:
        subject, problem, remedy = error.args
        if whole == "hysteresis" and subject.startswith("channel "):
            remedy += "; a channel of the filterbank is chosen by --at, in Hz"
        raise ConfigError(subject, problem, remedy) from error
    title = found.title + _stretch(start, found.size / found.sample_rate, found.whole)
    heard = asymmetry.Heard(title, found.x, found.run_in, found.size, found.sample_rate, start)
    return asymmetry.draw(whole, heard, _spoken(source, tiers, whole == "levels"), at)


def _draw(m: _Material, panels: list[str], spoken: dict[str, list[Interval]]) -> "Figure":
    from matplotlib.figure import Figure

    from speechasym.plots.tiers import tiers

    if spoken:
        panels.insert(panels.index("waveform") + 1, "tiers")
    sizes = {"waveform": 0.6, "tiers": 0.12 * len(spoken)}
    heights = [sizes.get(name, 1.0) for name in panels]
    figure = Figure(figsize=(8, 1.0 + 1.75 * sum(heights)), layout="constrained")
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)
    decibel = m.tracks.get("level")
    place = (m.centre_hz, m.frame_rate, m.start)
    for axes, name in zip(grid[:, 0], panels, strict=True):
        if name == "waveform":
            waveform(axes, m.tracks["waveform"], m.sample_rate, m.start)
            continue
        if name == "tiers":
            tiers(axes, spoken, m.start, m.duration)
            continue
        if name == "gammatone":
            image, label = level(axes, m.tracks["level"], *place), "level\n(dB re full-scale sine)"
        elif name == "frequency":
            image = frequency(axes, m.tracks["frequency"], *place, decibel)
            label = "frequency off\ncentre (ERB)"
        else:
            image = phase(axes, m.tracks["phase"], *place, decibel)
            label = "phase lead over\nlower channel (cycles)"
        if name != "gammatone":
            axes.set_facecolor(
                "0.85"
            )  # where a panel fades: too quiet to have a frequency or phase
        bar = figure.colorbar(image, ax=axes, pad=0.01, aspect=12, extend=EXTEND[name])
        bar.set_label(label, fontsize="small")
        bar.ax.tick_params(labelsize="small")
        if bar.solids is not None:
            bar.solids.set_alpha(1)  # the panel may fade; its scale must not
    grid[-1, 0].set_xlabel("time (s)")
    grid[-1, 0].set_xlim(m.start, m.start + m.duration)
    title = m.title + _stretch(m.start, m.duration, m.whole)
    figure.suptitle(title, fontsize="medium", parse_math=False)  # $ may be in a file's name
    figure.align_ylabels(grid[:, 0])
    return figure


def _stretch(start: float, duration: float, whole: float) -> str:
    """What a title says where less than the whole is drawn."""
    if duration >= whole - 0.01:
        return ""
    return f", {start:g} to {start + duration:g} s of {whole:.1f} s"


def _samples(
    source: Path,
    start: float,
    duration: float | None,
    channel: str | int,
    run_in: Callable[[int, int], int] = lambda sample_rate, first: 0,
    run_out: float = 0.0,
) -> _Samples:
    """The stretch, with samples before it as `run_in` says, and up to `run_out` s after it.

    `run_in` gets the sample rate and the number of the stretch's first sample.
    """
    header = reading.info(source)
    if header.warning:
        reading.log.warning("%s: %s", source, header.warning)
    rate = header.sample_rate
    wanted = LONGEST_SECONDS if duration is None else duration
    begin, last = round(start * rate), round((start + wanted) * rate)
    first = begin - run_in(rate, begin)
    beyond = last + round(run_out * rate)
    kept, heard = [], 0
    for block in reading.blocks(source, None, channel):
        kept.append(block[max(0, first - heard) : max(0, beyond - heard)])
        heard += len(block)
    if min(last, heard) <= begin:
        raise AudioError(
            source,
            f"ends after {heard / rate:.3f} s, before {start:g} s",
            "Choose an earlier start",
        )
    return _Samples(
        np.concatenate(kept),
        begin - first,
        min(last, heard) - begin,
        rate,
        heard / rate,
        f"{source.name}, {rate} Hz",
    )


def _from_audio(
    source: Path, start: float, duration: float | None, channel: str | int
) -> _Material:
    x, _, _, rate, whole, title = _samples(source, start, duration, channel)
    # at the recording's own rate, so that nothing above 8 kHz is hidden; 5 ms frames look smooth
    frame_rate = rate / max(1, round(rate / 200))
    config = FeatureConfig(
        sample_rate=rate, rate=frame_rate, tracks=("level", "frequency", "phase"), align=True
    )
    made = np.concatenate(list(frames(iter([x]), config))).T.reshape(3, config.channels, -1)
    tracks = dict(zip(("level", "frequency", "phase"), made, strict=True))
    return _Material(
        title,
        whole,
        {"waveform": x} | tracks,
        filterbank.design(config.bank()).frequency,
        rate,
        frame_rate,
        start,
        len(x) / rate,
    )


def _from_features(source: Path, start: float, duration: float | None) -> _Material:
    if not source.exists():
        raise OutputError(source, "no such file", "Check the path")
    index = next((p / INDEX for p in source.resolve().parents if (p / INDEX).exists()), None)
    if index is None:
        raise ConfigError(
            source, f"no {INDEX} beside or above it says what it holds", "Extract it again"
        )
    try:
        head = json.loads(index.read_text())
        config = FeatureConfig(**head["config"] | {"tracks": tuple(head["config"]["tracks"])})
        values = np.load(source, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise ConfigError(source, f"cannot be read ({error})", "Extract it again") from error
    if config.features != "gammatone":
        raise ConfigError(
            source, f"holds {config.features}; only gammatone can be drawn", "Plot the recording"
        )
    if values.ndim != 2 or values.shape[1] != len(columns(config)):
        raise ConfigError(source, f"shape {values.shape} does not fit {index}", "Extract it again")
    wanted = LONGEST_SECONDS if duration is None else duration
    first, last = round(start * config.rate), round((start + wanted) * config.rate)
    part = np.asarray(values[first:last], np.float32).T
    if not part.shape[1]:
        raise ConfigError(source, f"ends before {start:g} s", "Choose an earlier start")
    tracks = part.reshape(len(config.tracks), config.channels, -1)
    return _Material(
        f"{source.name}, {config.rate:g} frames/s",
        len(values) / config.rate,
        dict(zip(config.tracks, tracks, strict=True)),
        filterbank.design(config.bank()).frequency,
        config.sample_rate,
        config.rate,
        start,
        part.shape[1] / config.rate,
    )
