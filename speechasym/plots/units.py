"""Pictures of what the levels of a trained run hold of one recording.

As in `plots`, the `Axes` functions return what they drew, and neither show nor save; `run_plots`
saves them.

Shapes: T samples, F frames, S steps of a level, U units, D columns of the features, N steps of
several recordings, K channels of a level.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from speechasym.annotations.intervals import Interval
from speechasym.annotations.tiers import tiers_beside
from speechasym.audio import reading
from speechasym.corpora import manifests
from speechasym.errors import ConfigError
from speechasym.levels.level import LevelOutput, Output
from speechasym.plots import signal
from speechasym.plots.tiers import tiers
from speechasym.recognition import transcription
from speechasym.recognition.transcription import Trained
from speechasym.training import feature_cache

if TYPE_CHECKING:
    from lhotse.cut import Cut

LONGEST_S = 20.0  # drawn of a recording
MOST_UNITS = 32  # drawn of a level
MOST_S = 300.0  # of cuts heard beside the one that is drawn
RIDGE = 1e-2  # of the read-out, as a share of the mean variance of what it reads
WINNER = "#ff9d2e"
NAMES = {"phones": "phones", "words": "words", "phone": "phones", "word": "words"}


class Scene(NamedTuple):
    """A recording, and what the model makes of it."""

    title: str
    samples: NDArray[np.float32]  # (T,)
    sample_rate: int
    features: NDArray[np.float32]  # (F, D)
    rate: float  # frames a second
    output: Output  # of a batch of one
    said: dict[str, list[Interval]]  # reference tiers, words first
    recognised: dict[str, list[Interval]]  # by head

    @property
    def seconds(self) -> float:
        """s, of the recording."""
        return len(self.samples) / self.sample_rate

    def spans(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First frames (S,) under the steps of a level, and the frames after the last ones."""
        level = self.output.levels[number]
        own = level.mask[0]
        return level.start[0][own].numpy(), level.end[0][own].numpy()


def scenes(
    trained: Trained,
    cuts: str | Path | None,
    cut: str | None,
    recording: str | Path | None,
    *,
    alone: bool,
) -> tuple[Scene, list[Scene]]:
    """The recording, or the cut, to show, and other cuts up to `MOST_S`, none if `alone`.

    Raises `ConfigError` for an unknown cut, `AudioError` for what cannot be heard.
    """
    if recording is not None:
        if cut is not None:
            raise ConfigError("cut", "with a recording, that is shown", "Give one of the two")
        shown = _of_recording(trained, Path(recording))
    elif cuts is None:
        raise ConfigError("cuts", "there is nothing to hear", "Give cuts or a recording")
    if cuts is None:
        return shown, []
    known = list(manifests.read_cuts(Path(cuts)))
    if recording is None:
        at = next((n for n, c in enumerate(known) if cut in (None, c.id)), None)
        if at is None:
            raise ConfigError(
                "cut", f"{cut!r} is none of the {len(known)} in {cuts}", f"Such as {known[0].id}"
            )
        shown = _of_cut(trained, known.pop(at))
    others, seconds = [], 0.0
    for one in () if alone else known:
        if seconds + one.duration > MOST_S:
            break
        others.append(_of_cut(trained, one))
        seconds += one.duration
    return shown, others


def _of_recording(trained: Trained, path: Path) -> Scene:
    config = trained.config.data.features
    x, rate = reading.load(path, config.sample_rate, config.channel)
    shorter = x[: round(LONGEST_S * rate)]
    title = path.name + (f", its first {LONGEST_S:g} s" if len(shorter) < len(x) else "")
    said = tiers_beside(path)
    rows = transcription.features_of(trained, shorter)
    return _scene(trained, title, shorter, rate, rows, said)


def _of_cut(trained: Trained, cut: "Cut") -> Scene:
    task = feature_cache.Task(
        cut, feature_cache.Variant(), None, trained.config.data.features, None
    )
    rows = feature_cache.of(task)
    loaded: Any = cut.load_audio()
    said: dict[str, list[Interval]] = {}
    for kind in ("word", "phone"):
        items = [i for s in cut.supervisions for i in (s.alignment or {}).get(kind, ())]
        if items:
            said[NAMES[kind]] = [
                Interval(i.start, i.start + i.duration, i.symbol)
                for i in sorted(items, key=lambda i: i.start)
            ]
    return _scene(trained, cut.id, loaded.mean(0), int(cut.sampling_rate), rows, said)


def _scene(
    trained: Trained,
    title: str,
    x: NDArray[np.float32],
    rate: int,
    rows: NDArray[np.float32],
    said: dict[str, list[Interval]],
) -> Scene:
    output = transcription.heard(trained, rows)
    heads = [head for head in ("words", "letters", "phones") if head in trained.inventories]
    recognised = transcription.symbols(trained, output, len(x) / rate, heads)
    frames = trained.config.data.features.rate
    return Scene(title, x, rate, rows, frames, output, said, recognised)


# --- Panels ---------------------------------------------------------------------------------------


def held(values: NDArray, start: NDArray, end: NDArray, frames: int) -> NDArray[np.float64]:
    """Values (S, K) of steps, each held over its frames -> (frames, K); nan where no step is."""
    out = np.full((frames, values.shape[1]), math.nan)
    for value, first, last in zip(values, start, end, strict=True):
        out[first:last] = value
    return out


def image(
    axes: Axes, values: NDArray, rate: float, scale: tuple[float, float], colours: str
) -> AxesImage:
    """Draw values (F, K) against time in s, the first of K at the bottom; nan stays grey."""
    axes.set_facecolor("0.85")
    extent = (0.0, len(values) / rate, -0.5, values.shape[1] - 0.5)
    return axes.imshow(
        values.T, origin="lower", aspect="auto", extent=extent, interpolation="nearest",
        cmap=colours, vmin=scale[0], vmax=scale[1],
    )  # fmt: skip


def order(activation: NDArray, most: int = MOST_UNITS) -> NDArray[np.int64]:
    """The most active units, in the order of the times of their greatest activation.

    activation: (F, U) held over frames.
    """
    total = np.nansum(activation, 0)
    chosen = np.argsort(-total, kind="stable")[:most]
    peak = np.nan_to_num(activation[:, chosen]).argmax(0)
    found: NDArray[np.int64] = chosen[np.lexsort((-total[chosen], peak))]
    return found


def favourites(activation: NDArray, intervals: Sequence[Interval], rate: float) -> list[str]:
    """For each unit the label during which it is most active on the average; "" without any.

    activation: (F, U) held over frames.
    """
    names = list(dict.fromkeys(i.label for i in intervals if i.label))
    if not names:
        return [""] * activation.shape[1]
    means = np.zeros((len(names), activation.shape[1]))
    times = np.zeros(len(names))
    filled = np.nan_to_num(activation)
    for i in intervals:
        if i.label:
            part = filled[round(i.start * rate) : round(i.end * rate)]
            means[names.index(i.label)] += part.sum(0)
            times[names.index(i.label)] += len(part)
    means /= np.maximum(times, 1)[:, None]
    return [names[n] if means[n, u] > 0 else "" for u, n in enumerate(means.argmax(0))]


def activations(
    axes: Axes,
    level: LevelOutput,
    rate: float,
    frames: int,
    labels: Sequence[Interval] = (),
    most: int = MOST_UNITS,
) -> tuple[AxesImage, LineCollection, LineCollection]:
    """Draw a level's units over time: activation, who holds in each event, and events' edges.

    Rows are the `most` active units, in the order of their greatest activation; beside each stands
    the label that it favours.

    Returns:
        the image, the winners (orange lines) and the boundaries of events (ticks at the top).
    """
    own = level.mask[0].numpy()
    assert level.activation is not None
    activation = level.activation[0].numpy()[own]
    start, end = level.start[0].numpy()[own], level.end[0].numpy()[own]
    wide = held(activation, start, end, frames)
    chosen = order(wide, most)
    top = float(np.nanquantile(wide[:, chosen], 0.995)) or 1.0
    drawn = image(axes, wide[:, chosen], rate, (0, top), "Blues")
    winner = activation.argmax(1) if level.winner is None else level.winner[0].numpy()[own]
    row = {int(unit): place for place, unit in enumerate(chosen)}
    edges = np.flatnonzero(np.diff(winner, prepend=-1))
    last = [*edges[1:], len(winner)]
    lines = [
        [(start[a] / rate, row[int(winner[a])]), (end[b - 1] / rate, row[int(winner[a])])]
        for a, b in zip(edges, last, strict=True)
        if int(winner[a]) in row
    ]
    winners = LineCollection(lines, colors=WINNER, linewidths=1.2)
    axes.add_collection(winners, autolim=False)
    times = start[edges] / rate if level.segments is not None else np.zeros(0)
    ticks = LineCollection(
        [[(time, 1.0), (time, 1.03)] for time in times], colors="0.3", linewidths=0.6,
        transform=axes.get_xaxis_transform(), clip_on=False,
    )  # fmt: skip
    axes.add_collection(ticks, autolim=False)
    named = favourites(wide, labels, rate)
    axes.set_yticks(
        range(len(chosen)), [f"{named[u]} {u:>3}" if named[u] else f"{u}" for u in chosen],
        fontsize=4.8,
    )  # fmt: skip
    axes.tick_params(axis="y", length=0, pad=1)
    return drawn, winners, ticks


class _Rows(NamedTuple):
    """A figure's panels, from above."""

    figure: Figure
    rest: list[Axes]  # below waveform and tiers


def _begin(scene: Scene, heights: Sequence[float], title: str) -> _Rows:
    """Waveform, tiers of what is said and recognised, and room for more panels."""
    shown = {"said": scene.said, "recognised": scene.recognised}
    shown = {name: rows for name, rows in shown.items() if rows}
    sizes = [0.45, *(0.17 * len(rows) for rows in shown.values()), *heights]
    wide = min(22.0, max(9.0, 3.2 * scene.seconds))
    figure = Figure(figsize=(wide, 0.9 + 1.25 * sum(sizes)), dpi=150, layout="constrained")
    grid: Any = figure.subplots(len(sizes), 1, sharex=True, height_ratios=sizes, squeeze=False)
    rows = list(grid[:, 0])
    signal.waveform(rows[0], scene.samples, scene.sample_rate)
    rows[0].set_ylabel("")
    rows[0].set_yticks([])
    for axes, (name, own) in zip(rows[1:], shown.items(), strict=False):
        tiers(axes, own, 0.0, scene.seconds)
        axes.set_ylabel(name, fontsize="small")
    rows[-1].set_xlabel("time (s)")
    rows[-1].set_xlim(0, scene.seconds)
    figure.suptitle(title, fontsize="medium", parse_math=False)  # $ may be in a file's name
    return _Rows(figure, rows[1 + len(shown) :])


def _pace(scene: Scene, number: int) -> str:
    """How many steps and events a level has."""
    level = scene.output.levels[number]
    steps = int(level.mask.sum()) / scene.seconds
    if level.segments is None:
        return f"{steps:.0f} steps/s"
    events = int(level.passed_mask.sum()) / scene.seconds
    return f"{steps:.0f} steps/s, {events:.0f} events/s"


def units_figure(trained: Trained, scene: Scene) -> Figure:
    """Every level's units over one recording, the highest level on top.

    Raises `ConfigError` for a model without units.
    """
    levels = [n for n, out in enumerate(scene.output.levels) if out.activation is not None]
    if not levels:
        raise ConfigError(trained.folder, "its model has no units", "Draw curves or levels of it")
    counts = {n: _units(scene.output.levels[n]) for n in levels}
    heights = [0.4 + 0.065 * min(MOST_UNITS, counts[n]) for n in levels]
    name = trained.folder.resolve().name
    rows = _begin(scene, heights[::-1], f"Units of {name}: {scene.title}")
    for axes, number in zip(rows.rest, levels[::-1], strict=True):
        words = number == levels[-1] and number > 0 and "words" in scene.said
        labels = scene.said.get("words" if words else "phones", [])
        drawn, _, _ = activations(
            axes, scene.output.levels[number], scene.rate, len(scene.features), labels
        )
        of = counts[number]
        shown = f"{min(of, MOST_UNITS)} most active of {of} units" if of > MOST_UNITS else f"{of}"
        axes.set_title(
            f"level {number}: {shown}, {_pace(scene, number)}", fontsize="small", loc="left", pad=8
        )
        favoured = f"{'word' if words else 'phone'} it favours, unit"
        axes.set_ylabel(favoured if labels else "unit", fontsize="small")
        bar = rows.figure.colorbar(drawn, ax=axes, pad=0.01, aspect=18)
        bar.ax.tick_params(labelsize="x-small")
        bar.set_label("activation", fontsize="small")
    keys = [
        Line2D([], [], color=WINNER, label="holds its event"),
        Line2D([], [], color="0.3", linestyle="", marker="|", label="an event begins"),
    ]
    rows.figure.legend(handles=keys, loc="outside lower right", ncols=2, frameon=False)
    return rows.figure


def _units(level: LevelOutput) -> int:
    assert level.activation is not None
    return level.activation.shape[-1]


# --- What the levels hold -------------------------------------------------------------------------


class ReadOut(NamedTuple):
    """A linear map from what a level holds to the features, by least squares."""

    weight: NDArray[np.float64]  # (K, D)
    mean: NDArray[np.float64]  # (K,)
    offset: NDArray[np.float64]  # (D,)

    def __call__(self, x: NDArray) -> NDArray[np.float64]:
        """x (N, K) -> features (N, D)."""
        return (x - self.mean) @ self.weight + self.offset


def read_out(x: NDArray, y: NDArray, weight: NDArray, ridge: float = RIDGE) -> ReadOut:
    """Fit y (N, D) from x (N, K), each row with a weight (N,), by ridge regression."""
    share = (weight / weight.sum())[:, None]
    mean, offset = (share * x).sum(0), (share * y).sum(0)
    x, y = x - mean, y - offset
    moments = x.T @ (share * x)
    scale = float(np.trace(moments)) / len(moments) or 1.0
    moments[np.diag_indices_from(moments)] += ridge * scale
    return ReadOut(np.linalg.solve(moments, x.T @ (share * y)), mean, offset)


def content(scene: Scene, number: int) -> NDArray[np.float64]:
    """What a level holds (S, K): its units' activation; without units, what it passes on."""
    level = scene.output.levels[number]
    values = level.y if level.activation is None else level.activation
    return values[0][level.mask[0]].numpy().astype(np.float64)


def pooled(features: NDArray, start: NDArray, end: NDArray) -> NDArray[np.float64]:
    """Features (F, D) -> their means over the frames of each step (S, D)."""
    sums = np.concatenate([np.zeros((1, features.shape[1])), features.cumsum(0, dtype=np.float64)])
    return (sums[end] - sums[start]) / np.maximum(end - start, 1)[:, None]


def predicted(trained: Trained, scene: Scene) -> NDArray[np.float64]:
    """The features (S, D) that the units of level 0 predict, in the features' own scale.

    A level predicts its input scaled to a mean square of 1 at each step; this takes it back.
    """
    level: Any = trained.model.get_submodule("levels.0")
    own = pooled(scene.features, *scene.spans(0))
    with torch.no_grad():
        x = level.units.predict(torch.from_numpy(content(scene, 0)).float())
    return x.numpy() * np.sqrt(np.mean(own**2, axis=1, keepdims=True))


def explained(y: NDArray, found: NDArray) -> float:
    """Share of the variance of y (F, D) about its columns' means; frames with nan are left out."""
    good = np.isfinite(found).all(1)
    rest = np.square(y[good] - found[good]).sum()
    return 1 - float(rest / max(1e-12, np.square(y[good] - y[good].mean(0)).sum()))


def _percent(share: float) -> str:
    return f"{round(100 * share)} %"  # an integer has no -0


def levels_figure(trained: Trained, scene: Scene, others: Sequence[Scene]) -> Figure:
    """What each level still holds of the features, level by level, beside the features.

    For level 0 it is what its units predict, and what they miss; for the levels above a linear
    read-out of the features from their units, fitted to other recordings (or, without any, to this
    one), held over each step's own time.
    """
    fitted = others or [scene]
    levels = range(len(scene.output.levels))
    first = scene.output.levels[0].activation is not None
    name = trained.folder.resolve().name
    rows = _begin(scene, [1.0] * (1 + first + len(levels)), f"Levels of {name}: {scene.title}")
    panels = iter(rows.rest)
    y, frames = scene.features, len(scene.features)
    low, high = (float(v) for v in np.quantile(y, [0.01, 0.99]))

    def panel(values: NDArray, title: str, scale: tuple[float, float], colours: str) -> None:
        axes = next(panels)
        drawn = image(axes, values, scene.rate, scale, colours)
        axes.set_title(title, fontsize="small", loc="left", pad=3)
        axes.set_ylabel("column", fontsize="small")
        bar = rows.figure.colorbar(drawn, ax=axes, pad=0.01, aspect=12)
        bar.ax.tick_params(labelsize="x-small")

    kind = trained.config.data.features.features
    panel(y, f"features: {kind}, {y.shape[1]} columns", (low, high), "magma")
    fit = f"fitted to {len(others)} other cuts" if others else "fitted to this recording itself"
    for number in levels:
        start, end = scene.spans(number)
        if number == 0 and first:
            found = held(predicted(trained, scene), start, end, frames)
            share = _percent(explained(y, found))
            told = f"level 0 predicts, {_pace(scene, 0)}: {share} of the variance"
        else:
            parts = [(content(s, number), *s.spans(number), s.features) for s in fitted]
            read = read_out(
                np.concatenate([x for x, _, _, _ in parts]),
                np.concatenate([pooled(f, a, b) for _, a, b, f in parts]),
                np.concatenate([np.maximum(b - a, 0.0) for _, a, b, _ in parts]),
            )
            found = held(read(content(scene, number)), start, end, frames)
            told = (
                f"level {number}, {_pace(scene, number)}, read out linearly ({fit}): "
                f"{_percent(explained(y, found))} of the variance"
            )
        panel(found, told, (low, high), "magma")
        if number == 0 and first:
            reach = float(np.nanquantile(np.abs(y - found), 0.99)) or 1.0
            panel(
                y - found,
                "what level 0 misses, features less prediction",
                (-reach, reach),
                "RdBu_r",
            )
    return rows.figure
