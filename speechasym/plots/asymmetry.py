"""Plots of hysteresis: asymmetry at each scale, loops of one channel, and work over the channels.

Rise is red, fall is blue, in all of them.

Shapes: F frames, N inner samples, C channels, S scales.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from speechasym.annotations.intervals import Interval
from speechasym.asymmetry import loops, tracks
from speechasym.asymmetry.tracks import TRACKS, AsymmetryConfig, Design, Scale
from speechasym.auditory import erb
from speechasym.auditory.filterbank import FilterbankConfig
from speechasym.errors import ConfigError
from speechasym.plots.axes import FALL, RISE, SIGNED, STILL, channel_image, hz_ticks, set_title
from speechasym.plots.signal import Excerpt, frame_hop, waveform
from speechasym.plots.tiers import arrange, mark_boundaries, tiers

TITLES = {
    "amplitude": "amplitude (level, dB)",
    "frequency": "frequency (re centre, ERB)",
    "lead": "phase (lead over the channel below, cycles)",
}
_INPUTS = {
    "amplitude": "level (dB re full-scale sine)",
    "frequency": "frequency change since silence (ERB)",
    "lead": "accumulated lead (cycles, mod 1)",
}
SIDE_BY_SIDE_S = 8.0  # longer recordings have the kinds below one another, each at full width


def design(sample_rate: int) -> Design:
    """Design the tracks of feature extraction, but at the recording's own sample rate."""
    rate = sample_rate / frame_hop(sample_rate)
    return tracks.design(
        AsymmetryConfig(bank=FilterbankConfig(sample_rate=sample_rate, frame_rate=rate))
    )


def unit(track: str) -> str:
    """Return the unit of a track: dB, ERB or cycles."""
    return {"cycle": "cycles"}.get(TRACKS[track], TRACKS[track])


def scale_names(scales: Sequence[Scale], track: str) -> list[str]:
    """Return a title for each scale: its time constant and half-width for a track."""
    return [
        f"scale {number}:  {scale.time_ms:g} ms,  ±{scale.width(track):g} {unit(track)}"
        for number, scale in enumerate(scales, 1)
    ]


def _centres(d: Design, track: str) -> NDArray[np.float64]:
    """Centre frequencies in Hz: (C,); of lead (C - 1,), midway between neighbours."""
    cam = erb.hz_to_cam(d.inner.frequency)
    return erb.cam_to_hz((cam[1:] + cam[:-1]) / 2) if track == "lead" else d.inner.frequency


def loop(axes: Axes, y: NDArray, p: NDArray, origin: NDArray | None = None) -> LineCollection:
    """Draw a play's output p (N,) against its input y (N,), both in the track's unit.

    Red where the play is pushed up, blue where it is pushed down, grey where it stays constant.

    Args:
        origin: (N,) subtracted from input and output, so that the loops of a drifting track
            coincide; see `loops.origins`.
    """
    points = np.stack([y, p], 1)
    segments = np.stack([points[:-1], points[1:]], 1)
    if origin is not None:
        segments = segments - origin[1:, None, None]
    move = np.diff(p)
    colours = np.where(move > 0, RISE, np.where(move < 0, FALL, STILL))
    order = np.argsort(move != 0, kind="stable")  # grey below the others
    lines = LineCollection(list(segments[order]), colors=list(colours[order]), linewidths=0.6)
    axes.add_collection(lines)
    shown = segments if len(segments) else points
    low, high = float(shown.min()), float(shown.max())
    margin = 0.05 * (high - low) or 1.0
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(low - margin, high + margin)
    axes.set_aspect("equal")
    axes.locator_params(nbins=5)
    return lines


def work(
    axes: Axes, rise: NDArray, fall: NDArray, centre_hz: NDArray, labels: Sequence[str]
) -> tuple[list[PolyCollection], list[PolyCollection]]:
    """Draw rise upward and fall downward, a band per scale, over ERB-spaced channels in Hz.

    Args:
        rise, fall: (S, C) work per second, >= 0, in the track's unit. A scale's plays are wider
            than those of the scale before and do less work, so later bands lie on earlier ones;
            where weights reverse that, the white outline of the earlier one shows on the later.
        labels: names of the S scales, for a legend.
    """
    cam = erb.hz_to_cam(centre_hz)
    shades = np.linspace(0.35, 0.95, len(rise)) if len(rise) > 1 else np.array([0.75])
    bands: tuple[list[PolyCollection], list[PolyCollection]] = ([], [])
    for number, shade in enumerate(shades):
        colours = colormaps["Reds"](shade), colormaps["Blues"](shade)
        values = rise[number], -fall[number]
        for drawn, y, colour, label in zip(
            bands, values, colours, (labels[number], ""), strict=True
        ):
            drawn.append(axes.fill_between(cam, y, color=colour, linewidth=0, label=label))
            axes.plot(cam, y, color="white", linewidth=0.4, zorder=2)
    axes.axhline(0, color="0.2", linewidth=0.6)
    top = 1.05 * max(float(rise.max()), float(fall.max())) or 1.0
    axes.set_ylim(-top, top)
    axes.set_xlim(cam[0], cam[-1] if cam[-1] > cam[0] else cam[0] + 1)
    ticks = hz_ticks(centre_hz)
    axes.set_xticks(erb.hz_to_cam(ticks), [f"{hz:g}" for hz in ticks])
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    return bands


def scales_figure(excerpt: Excerpt, annotation: Mapping[str, Sequence[Interval]]) -> Figure:
    """Return the asymmetry of each kind of track, scale by scale, below the waveform.

    Red: a track rises (1: does nothing else), blue: it falls (-1), white: neither.
    """
    d = design(excerpt.sample_rate)
    frames = loops.all_frames(excerpt.x, d, excerpt.frames(d.hop))
    rate, start = d.sample_rate / d.hop, excerpt.start
    beside = excerpt.duration <= SIDE_BY_SIDE_S
    columns = [[track] for track in loops.DRAWN_TRACKS] if beside else [list(loops.DRAWN_TRACKS)]
    panel_in, axes_in = (1.7, 4.6) if beside else (1.1, 15.5)
    rows = arrange(annotation, start, excerpt.duration, axes_in)
    heights = [0.6 * panel_in] + [sum(row.height for row in rows)] * bool(rows)
    heights += [panel_in] * (len(d.config.scales) * len(columns[0]))
    size = (18, 1.2 + sum(heights))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(
        len(heights), len(columns), sharex=True, squeeze=False, height_ratios=heights
    )
    image: Any = None
    for column, drawn in zip(grid.T, columns, strict=True):
        panels = iter(column)
        mark_boundaries([column[0], *column[1 + bool(rows) :]], rows, axes_in)
        waveform(next(panels), excerpt.samples, excerpt.sample_rate, start)
        if rows:
            tiers(next(panels), rows, start, excerpt.duration)
        for track in drawn:
            for number, name in enumerate(scale_names(d.config.scales, track)):
                axes = next(panels)
                values = frames.asymmetry[track][number].T
                image = channel_image(
                    axes, values, _centres(d, track), rate, start,
                    cmap=SIGNED, vmin=-1, vmax=1, interpolation="auto",
                )  # fmt: skip
                if not beside:  # low panels
                    axes.set_yticks(axes.get_yticks()[1::2], axes.get_yticklabels()[1::2])
                    axes.set_ylabel("(Hz)")
                axes.set_title(name, fontsize="small", loc="left", pad=3)
                if number == 0:
                    (column[0] if beside else axes).set_title(TITLES[track], fontsize="medium")
        column[-1].set_xlabel("time (s)")
        column[-1].set_xlim(start, start + excerpt.duration)
    for axes in grid[:, 1:].flat:
        axes.set_ylabel("")
    bar = figure.colorbar(image, ax=grid, pad=0.01, aspect=50, fraction=0.02)
    bar.set_label("asymmetry (rise − fall) / (rise + fall + width)")  # noqa: RUF001
    bar.set_ticks([-1, -0.5, 0, 0.5, 1], labels=["−1\nfall", "−0.5", "0", "0.5", "rise\n1"])  # noqa: RUF001
    set_title(figure, f"Asymmetry by scale: {excerpt.title}")
    figure.align_ylabels(grid[:, 0])
    return figure


def hysteresis_figure(excerpt: Excerpt, at: float) -> Figure:
    """Return the hysteresis loops, by scale, of the channel nearest to `at` Hz.

    Raises `ConfigError` for a frequency outside the filterbank.
    """
    d = design(excerpt.sample_rate)
    centres = d.inner.frequency
    if not centres[0] * 0.9 <= at <= centres[-1] * 1.1:
        problem = f"{at:g} Hz is outside the filterbank, {centres[0]:g} to {centres[-1]:g} Hz"
        raise ConfigError("at", problem, "Choose a frequency within it")
    channel = int(np.abs(erb.hz_to_cam(centres) - erb.hz_to_cam(at)).argmin())
    frames = excerpt.frames(d.hop)
    part = slice(frames.start * d.per_frame, frames.stop * d.per_frame)
    inputs, audible = loops.inner_tracks(excerpt.x, d, channel)
    scales = d.config.scales
    figure = Figure(figsize=(3.1 * len(scales) + 0.5, 10.2), layout="compressed")
    grid = figure.subplots(len(inputs), len(scales), squeeze=False, sharex="row", sharey="row")
    for row, (track, y) in zip(grid, inputs.items(), strict=True):
        outputs = loops.play(y, d.width[track], track == "amplitude")[:, part]
        origin = loops.origins(track, y, audible)[part]
        y = y[part]
        areas = loops.loop_area(y, outputs) / (len(y) * d.inner.hop / d.sample_rate)
        names = scale_names(scales, track)
        for axes, name, p, area in zip(row, names, outputs, areas, strict=True):
            loop(axes, y, p, origin)
            axes.set_title(f"{name}\narea {area:.3g} {unit(track)}²/s", fontsize="small")
            axes.set_xlabel(_INPUTS[track], fontsize="small")
        row[0].set_ylabel(f"play of {track} ({unit(track)})")
    moves = {"rises": RISE, "falls": FALL, "is constant": STILL}
    keys = [Line2D([], [], color=c, label=f"output {move}") for move, c in moves.items()]
    figure.legend(handles=keys, loc="outside lower center", ncols=3, frameon=False)
    name = f"channel {channel}, {centres[channel]:.0f} Hz"
    set_title(figure, f"Hysteresis in {name}: {excerpt.title}")
    return figure


def summary_figure(excerpt: Excerpt) -> Figure:
    """Return the rise and fall work of each kind of track, by scale, over the channels."""
    d = design(excerpt.sample_rate)
    part = excerpt.frames(d.hop)
    before = min(1, part.start)  # a frame whose work the first one still remembers
    frames = loops.all_frames(excerpt.x, d, slice(part.start - before, part.stop))
    figure = Figure(figsize=(15, 4.6), layout="constrained")
    panels = figure.subplots(1, len(loops.DRAWN_TRACKS))
    for axes, track in zip(panels, loops.DRAWN_TRACKS, strict=True):
        rise, fall = loops.work_rates(frames, d, track, slice(before, None))
        work(axes, rise, fall, _centres(d, track), scale_names(d.config.scales, track))
        axes.set_title(TITLES[track], fontsize="medium")
        axes.set_xlabel("centre frequency (Hz)")
        axes.set_ylabel(f"work ({unit(track)}/s): rise above, fall below")
        axes.set_ylim(1.35 * axes.get_ylim()[0], axes.get_ylim()[1])  # room for the legend
        axes.legend(fontsize="x-small", frameon=False, loc="lower center", ncols=2)
    set_title(figure, f"Rise and fall work: {excerpt.title}")
    return figure
