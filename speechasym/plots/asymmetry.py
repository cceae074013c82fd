"""Pictures of the levels: spectra of asymmetry, hysteresis loops, and work over the channels.

As in `plots`, the `Axes` functions return what they drew, and neither show nor save; `draw` makes
the whole figures of `speechasym plot --what levels`, `hysteresis` and `summary`. Rise is red, fall
is blue, in all of them.

Shapes: F frames, N inner samples, C channels, L levels.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from speechasym.annotations.intervals import Interval
from speechasym.asymmetry import loops
from speechasym.asymmetry import tracks as extractors
from speechasym.asymmetry.tracks import TRACKS, AsymmetryConfig, Design, Level
from speechasym.auditory import erb, filterbank
from speechasym.errors import ConfigError
from speechasym.plots import signal
from speechasym.plots.tiers import tiers

MAP = "RdBu_r"  # told apart by colour-blind people; red: rise, blue: fall
RISE, FALL, STILL = "#b2182b", "#2166ac", "0.75"
TITLES = {
    "amplitude": "amplitude (level, dB)",
    "frequency": "frequency (off the centre, ERB)",
    "lead": "phase (lead over the channel below, cycles)",
}
INPUTS = {
    "amplitude": "level (dB re full-scale sine)",
    "frequency": "frequency, moves since a silence (ERB)",
    "lead": "lead, summed moves (cycles, mod 1)",
}
FRAME_RATE = 100.0  # about, as `extract` has it
RUN_IN_S = 10.0  # heard before what is shown: the noise estimate takes so long
RUN_OUT_S = 0.1  # and after it: more than alignment delays, lest the cut sound like an end
SIDE_BY_SIDE_S = 8.0  # longer recordings have the kinds under one another, each over all the width


class Heard(NamedTuple):
    """A stretch of a recording, and what was heard just before and after it."""

    title: str
    x: NDArray[np.float32]  # (T,) all of it
    run_in: int  # samples of x before the stretch, whole frames
    size: int  # samples of the stretch
    sample_rate: int
    start: float  # s, where the stretch begins

    @property
    def shown(self) -> NDArray[np.float32]:
        """The samples of the stretch."""
        return self.x[self.run_in : self.run_in + self.size]

    @property
    def duration(self) -> float:
        """s, of the stretch."""
        return self.size / self.sample_rate

    def frames(self, d: Design) -> slice:
        """Which of all frames are those of the stretch."""
        first = self.run_in // d.hop
        return slice(first, first + filterbank.frame_count(self.size, d.hop))


def asymmetry(
    axes: Axes, index: NDArray, centre_hz: NDArray, frame_rate: float, start: float = 0.0
) -> AxesImage:
    """Draw a level's signed asymmetry (C, F): time in s, ERB-spaced channels labelled in Hz.

    Red: the track rises (1: it does nothing else), blue: it falls (-1), white: neither.

    Args:
        index: `extractors.Frames.asymmetry` of one level, transposed.
        centre_hz: (C,) centre frequencies, equally spaced on the ERB scale.
    """
    return signal.channels(
        axes, index, centre_hz, frame_rate, start,
        cmap=MAP, vmin=-1, vmax=1, interpolation="auto",
    )  # fmt: skip


def loop(axes: Axes, y: NDArray, p: NDArray, origin: NDArray | None = None) -> LineCollection:
    """Draw a play's output p (N,) against its input y (N,), both in the track's unit.

    Red where the play is pushed up, blue where it is pushed down, grey where it stands still.

    Args:
        origin: (N,) taken off input and output alike, so that the loops of a track that drifts lie
            on one another; see `loops.origins`.
    """
    segments = np.stack([np.stack([y[:-1], p[:-1]], 1), np.stack([y[1:], p[1:]], 1)], 1)
    if origin is not None:
        segments = segments - origin[1:, None, None]
    move = np.diff(p)
    colours = np.where(move > 0, RISE, np.where(move < 0, FALL, STILL))
    order = np.argsort(move != 0, kind="stable")  # grey below the others
    lines = LineCollection(list(segments[order]), colors=list(colours[order]), linewidths=0.6)
    axes.add_collection(lines)
    drawn = segments if len(segments) else np.array([y[0], p[0]])
    low, high = float(drawn.min()), float(drawn.max())
    margin = 0.05 * (high - low) or 1.0
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(low - margin, high + margin)
    axes.set_aspect("equal")
    axes.locator_params(nbins=5)
    return lines


def work(
    axes: Axes, rise: NDArray, fall: NDArray, centre_hz: NDArray, labels: Sequence[str] = ()
) -> tuple[list[PolyCollection], list[PolyCollection]]:
    """Draw rise upward and fall downward, a band a level, over ERB-spaced channels in Hz.

    Args:
        rise, fall: (L, C) work a second, >= 0, in the track's unit; a level's plays are wider than
            those of the level below and do less work, so that later bands lie on earlier ones;
            where weights turn that round, the white line of the earlier shows on the later.
        labels: of the L levels, for a legend.
    """
    cam = erb.hz_to_cam(centre_hz)
    shades = np.linspace(0.35, 0.95, len(rise)) if len(rise) > 1 else np.array([0.75])
    bands: tuple[list[PolyCollection], list[PolyCollection]] = ([], [])
    for number, shade in enumerate(shades):
        label = labels[number] if labels else ""
        for found, sign, values, name in zip(
            bands, (1, -1), (rise, fall), ("Reds", "Blues"), strict=True
        ):
            band = axes.fill_between(
                cam, sign * values[number], color=colormaps[name](shade), linewidth=0,
                label=label if sign > 0 else "",
            )  # fmt: skip
            axes.plot(cam, sign * values[number], color="white", linewidth=0.4, zorder=2)
            found.append(band)
    axes.axhline(0, color="0.2", linewidth=0.6)
    top = 1.05 * max(float(rise.max()), float(fall.max())) or 1.0
    axes.set_ylim(-top, top)
    axes.set_xlim(cam[0], cam[-1] if cam[-1] > cam[0] else cam[0] + 1)
    shown = [hz for hz in signal.TICKS_HZ if centre_hz[0] * 0.98 <= hz <= centre_hz[-1] * 1.02]
    axes.set_xticks(erb.hz_to_cam(shown), [f"{hz:g}" for hz in shown])
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    return bands


def _hop(sample_rate: int) -> int:
    return max(1, round(sample_rate / FRAME_RATE))


def design(sample_rate: int) -> Design:
    """The extractors as `extract` has them, but aligned and at the recording's own rate."""
    rate = sample_rate / _hop(sample_rate)
    return extractors.design(
        AsymmetryConfig(
            bank=filterbank.FilterbankConfig(sample_rate=sample_rate, frame_rate=rate, align=True)
        )
    )


def run_in(sample_rate: int, first: int) -> int:
    """Samples to hear before sample `first`: whole frames of about `RUN_IN_S`, if there are."""
    hop = _hop(sample_rate)
    return min(first, round(RUN_IN_S * sample_rate)) // hop * hop


def draw(what: str, heard: Heard, spoken: Mapping[str, Sequence[Interval]], at: float) -> Figure:
    """The whole figure: levels, hysteresis (of the channel nearest to `at` Hz), or summary."""
    d = design(heard.sample_rate)
    if what == "levels":
        return _levels(heard, d, spoken)
    return _summary(heard, d) if what == "summary" else _hysteresis(heard, d, at)


def _centres(d: Design, track: str) -> NDArray[np.float64]:
    """(C,) Hz of the channels; (C - 1,) of lead: midway between the neighbours."""
    cam = erb.hz_to_cam(d.inner.frequency)
    return erb.cam_to_hz((cam[1:] + cam[:-1]) / 2) if track == "lead" else d.inner.frequency


def _unit(track: str) -> str:
    return {"cycle": "cycles"}.get(TRACKS[track], TRACKS[track])


def _named(levels: Sequence[Level], track: str) -> list[str]:
    """What the levels are called in a picture of a track."""
    return [
        f"level {number}:  {level.time_ms:g} ms,  ±{level.width(track):g} {_unit(track)}"
        for number, level in enumerate(levels, 1)
    ]


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(text, fontsize="medium", parse_math=False)  # $ may be in a file's name


def _levels(heard: Heard, d: Design, spoken: Mapping[str, Sequence[Interval]]) -> Figure:
    frames = loops.level_frames(heard.x, d)
    shown, rate = heard.frames(d), d.sample_rate / d.hop
    beside = heard.duration <= SIDE_BY_SIDE_S
    columns = [[track] for track in loops.SHOWN] if beside else [list(loops.SHOWN)]
    heights = [0.6] + [0.17 * len(spoken)] * bool(spoken)
    heights += [1.0] * (len(d.config.levels) * len(columns[0]))
    figure = Figure(figsize=(18, 1.2 + (1.7 if beside else 1.1) * sum(heights)), dpi=150)
    figure.set_layout_engine("constrained")
    grid = figure.subplots(
        len(heights), len(columns), sharex=True, squeeze=False, height_ratios=heights
    )
    image: Any = None
    for column, tracks in zip(grid.T, columns, strict=True):
        rows = iter(column)
        signal.waveform(next(rows), heard.shown, heard.sample_rate, heard.start)
        if spoken:
            tiers(next(rows), spoken, heard.start, heard.duration)
        for track in tracks:
            index = frames.asymmetry[track]
            for number, name in enumerate(_named(d.config.levels, track)):
                axes = next(rows)
                image = asymmetry(
                    axes, index[number, shown].T, _centres(d, track), rate, heard.start
                )
                if not beside:  # low panels
                    axes.set_yticks(axes.get_yticks()[1::2], axes.get_yticklabels()[1::2])
                    axes.set_ylabel("(Hz)")
                axes.set_title(name, fontsize="small", loc="left", pad=3)
                if number == 0:
                    (column[0] if beside else axes).set_title(TITLES[track], fontsize="medium")
        column[-1].set_xlabel("time (s)")
        column[-1].set_xlim(heard.start, heard.start + heard.duration)
    for column in grid.T[1:]:
        for axes in column:
            axes.set_ylabel("")
    bar = figure.colorbar(image, ax=grid, pad=0.01, aspect=50, fraction=0.02)
    bar.set_label("asymmetry (rise − fall) / (rise + fall + width)")  # noqa: RUF001
    bar.set_ticks([-1, -0.5, 0, 0.5, 1], labels=["−1\nfall", "−0.5", "0", "0.5", "rise\n1"])  # noqa: RUF001
    _title(figure, f"Level-wise asymmetry of {heard.title}")
    figure.align_ylabels(grid[:, 0])
    return figure


def _hysteresis(heard: Heard, d: Design, at: float) -> Figure:
    centres = d.inner.frequency
    if not centres[0] * 0.9 <= at <= centres[-1] * 1.1:
        raise ConfigError(
            "at",
            f"{at:g} Hz is outside the filterbank, {centres[0]:g} to {centres[-1]:g} Hz",
            "Choose a frequency within it",
        )
    channel = int(np.abs(erb.hz_to_cam(centres) - erb.hz_to_cam(at)).argmin())
    frames = heard.frames(d)
    shown = slice(frames.start * d.per_frame, frames.stop * d.per_frame)
    found, audible = loops.inner_tracks(heard.x, d, channel)
    levels = d.config.levels
    figure = Figure(figsize=(3.1 * len(levels) + 0.5, 10.2), dpi=150, layout="compressed")
    grid = figure.subplots(len(found), len(levels), squeeze=False, sharex="row", sharey="row")
    for row, (track, y) in zip(grid, found.items(), strict=True):
        unit = _unit(track)
        outputs = loops.play(y, d.width[track])[:, shown]
        origin = loops.origins(track, y, audible)[shown]
        y = y[shown]
        areas = loops.loop_area(y, outputs) / (len(y) * d.inner.hop / d.sample_rate)
        names = _named(levels, track)
        for axes, name, p, area in zip(row, names, outputs, areas, strict=True):
            loop(axes, y, p, origin)
            axes.set_title(f"{name}\narea {area:.3g} {unit}²/s", fontsize="small")
            axes.set_xlabel(INPUTS[track], fontsize="small")
        row[0].set_ylabel(f"play of {track} ({unit})")
    keys = [
        Line2D([], [], color=colour, label=f"output {does}")
        for colour, does in ((RISE, "rises"), (FALL, "falls"), (STILL, "stands still"))
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=3, frameon=False)
    _title(
        figure,
        f"Hysteresis in channel {channel}, {centres[channel]:.0f} Hz, of {heard.title}",
    )
    return figure


def _summary(heard: Heard, d: Design) -> Figure:
    frames = loops.level_frames(heard.x, d)
    figure = Figure(figsize=(15, 4.6), dpi=150, layout="constrained")
    for axes, track in zip(figure.subplots(1, len(loops.SHOWN)), loops.SHOWN, strict=True):
        rise, fall = loops.work_rates(frames, d, track, heard.frames(d))
        work(axes, rise, fall, _centres(d, track), _named(d.config.levels, track))
        unit = _unit(track)
        axes.set_title(TITLES[track], fontsize="medium")
        axes.set_xlabel("centre frequency (Hz)")
        axes.set_ylabel(f"work ({unit}/s): rise above, fall below")
        axes.set_ylim(1.35 * axes.get_ylim()[0], axes.get_ylim()[1])  # room for the legend
        axes.legend(fontsize="x-small", frameon=False, loc="lower center", ncols=2)
    _title(figure, f"Rise and fall work of {heard.title}")
    return figure
