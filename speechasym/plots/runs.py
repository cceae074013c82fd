"""Pictures of a trained run: how it learned, what it confuses, and how its units share the work.

As in `plots`, the `Axes` functions return what they drew, and neither show nor save; `plot_run`
writes the figures of `speechasym plot RUN`. Those of single recordings are in `unit_plots`.

Shapes: K symbols, U units.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from speechasym import files
from speechasym.errors import ConfigError
from speechasym.language import phones
from speechasym.plots.units import Scene, levels_figure, scenes, units_figure
from speechasym.ranks import fits
from speechasym.recognition import evaluation
from speechasym.recognition.transcription import Trained, open_run
from speechasym.scoring import error_rates
from speechasym.training.config import HEADS
from speechasym.training.run_folder import METRICS

COLOURS = {"phones": "#1b6ca8", "letters": "#d1751d", "words": "#3a8f4d"}
LAWS = {"geometric": "#b2182b", "power": "#2166ac"}
SMOOTH = 0.02  # share of the steps that a training loss is averaged over

# --- Curves of training ---------------------------------------------------------------------------


class Course(NamedTuple):
    """metrics.jsonl, with the place of each line in epochs."""

    steps: list[dict[str, Any]]
    at: NDArray[np.float64]  # epochs, of each step
    checks: list[dict[str, Any]]  # validations
    checked: NDArray[np.float64]  # epochs, of each

    @property
    def heads(self) -> list[str]:
        """Heads that were trained."""
        return [h for h in HEADS if self.steps and f"loss_{h}" in self.steps[0]]


def read_course(run: str | Path) -> Course:
    """A run's metrics. Raises `ConfigError` where there are none, or they cannot be read."""
    path = Path(run) / METRICS
    try:
        *whole, rest = path.read_text("utf-8").split("\n")  # a run may be writing the last line
        lines = [json.loads(line) for line in (whole if whole or not rest else [rest])]
        if any(isinstance(v, str | dict) for line in lines for v in line.values()):
            raise ValueError("not all its values are numbers")
        steps = [line for line in lines if "loss" in line]
        checks = [line for line in lines if any(key.startswith("dev_") for key in line)]
        sizes: dict[int, int] = {}
        for line in steps:
            sizes[line["epoch"]] = sizes.get(line["epoch"], 0) + 1
        numbers = {line["step"]: 0.0 for line in steps}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(path, f"cannot be read ({error})", "Give the folder of a run") from error
    if not steps:
        raise ConfigError(path, "holds no step of training", "Train the run first")
    if len(sizes) > 1:  # the last epoch may have been cut
        last = max(sizes)
        sizes[last] = max(sizes[last], max(size for e, size in sizes.items() if e != last))
    done: dict[int, int] = {}
    for line in steps:
        epoch = line["epoch"]
        done[epoch] = done.get(epoch, 0) + 1
        numbers[line["step"]] = epoch + done[epoch] / sizes[epoch]
    at = np.array([numbers[line["step"]] for line in steps])
    return Course(steps, at, checks, np.array([numbers.get(c["step"], 0.0) for c in checks]))


def losses(axes: Axes, course: Course) -> list[Line2D]:
    """Draw CTC losses, nats a label: training thin and averaged, dev dashed; log scale."""
    drawn = []
    for head in course.heads:
        colour = COLOURS[head]
        loss = _column(course.steps, f"loss_{head}")
        loss[loss <= 0] = math.nan  # a step in which no cut had steps enough for its labels
        axes.plot(course.at, loss, color=colour, alpha=0.2, linewidth=0.5)
        width = max(1, round(SMOOTH * len(loss)))
        mean = _running(loss, width)
        drawn += axes.plot(course.at, mean, color=colour, linewidth=1.4, label=head)
        drawn += axes.plot(
            course.checked, _column(course.checks, f"dev_loss_{head}"), color=colour,
            linestyle=(0, (4, 2)), linewidth=1.2, label=f"{head}, dev",
        )  # fmt: skip
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in drawn])
    values = values[values > 0]
    if len(values):
        axes.set_yscale("log")
        axes.set_ylim(0.7 * float(values.min()), 1.5 * float(values.max()))
        _plain_ticks(axes)
    axes.set_ylabel("CTC loss\n(nats a label)")
    return drawn


def errors(axes: Axes, course: Course) -> list[Line2D]:
    """Draw error rates on dev, %, the best of each as a dot with its figure; log scale."""
    drawn, ends = [], []
    for head in course.heads:
        error = 100 * _column(course.checks, f"dev_error_{head}")
        drawn += axes.plot(course.checked, error, color=COLOURS[head], linewidth=1.4, label=head)
        if np.isfinite(error).any():
            best = int(np.nanargmin(error))
            axes.plot(course.checked[best], error[best], "o", color=COLOURS[head], markersize=4)
            ends.append((float(course.checked[best]), float(error[best]), COLOURS[head]))
    if ends and min(value for _, value, _ in ends) > 0:
        axes.set_yscale("log")
        _plain_ticks(axes)
    for x, value, colour in ends:
        axes.annotate(
            f"{value:.1f} %", (x, value), (0, 5), textcoords="offset points", color=colour,
            ha="right", va="bottom", fontsize="small",
        )  # fmt: skip
    axes.set_ylabel("error on dev (%)")
    return drawn


def rate(axes: Axes, course: Course) -> list[Line2D]:
    """Draw the learning rate, in thousandths."""
    values = 1000 * _column(course.steps, "learning_rate")
    drawn = axes.plot(course.at, values, color="0.35", linewidth=1.0)
    axes.set_ylim(0, 1.1 * float(np.nanmax(values, initial=1e-6)))
    axes.set_ylabel("rate\n(10⁻³)")
    return drawn


def _column(lines: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    """A key of all lines; nan where a line has it not, or null."""
    values = [line.get(name) for line in lines]
    return np.array([math.nan if v is None else v for v in values], float)


def _running(x: NDArray, width: int) -> NDArray[np.float64]:
    """Means over `width` values about each, fewer at the ends; nan are left out."""
    sums = np.concatenate([[0.0], np.nan_to_num(x).cumsum()])
    counts = np.concatenate([[0], np.isfinite(x).cumsum()])
    low = np.maximum(0, np.arange(len(x)) - width // 2)
    high = np.minimum(len(x), low + width)
    there = counts[high] - counts[low]
    return np.where(there > 0, (sums[high] - sums[low]) / np.maximum(there, 1), math.nan)


def _plain_ticks(axes: Axes) -> None:
    """1, 2, 5 in place of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def curves_figure(course: Course, title: str) -> Figure:
    """Losses, errors and learning rate over the epochs."""
    figure = Figure(figsize=(8, 7), dpi=150, layout="constrained")
    grid = figure.subplots(3, 1, sharex=True, height_ratios=[1, 1, 0.25])
    lines = losses(grid[0], course)
    errors(grid[1], course)
    rate(grid[2], course)
    for axes in grid:
        axes.grid(True, color="0.9", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    grid[0].legend(handles=lines, ncols=max(1, len(course.heads)), frameon=False, fontsize="small")
    grid[2].set_xlabel("epoch")
    grid[2].set_xlim(0, max(float(course.at[-1]), 1e-6))
    figure.align_ylabels(grid)
    _title(figure, f"Training of {title}")
    return figure


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(text, fontsize="medium", parse_math=False)  # $ may be in a folder's name


# --- Confusion of phones --------------------------------------------------------------------------

_HEIGHTS, _BACKNESS = ("high", "mid", "low"), ("front", "central", "back")
_MANNERS = {
    "stop": "stops", "affricate": "affricates", "fricative": "fricatives", "nasal": "nasals",
    "approximant": "approximants", "lateral": "approximants",
}  # fmt: skip
_GROUPS = ("vowels", "diphthongs", *dict.fromkeys(_MANNERS.values()), "silence", "others")
_PLACES = (
    *("bilabial", "labiodental", "dental", "alveolar", "postalveolar", "palatal"),
    *("labial-velar", "velar", "glottal"),
)


def articulation(symbol: str) -> tuple[str, tuple[Any, ...]]:
    """The group of a phone of ARPAbet or TIMIT, and its place in it.

    Vowels by height, then from front to back, diphthongs after them; consonants by manner, then
    from the lips to the glottis, voiceless before voiced. Unknown symbols are "others".
    """
    if symbol in ("sil", "cl", "vcl", "h#", "pau", "epi", "SIL", "SP", "sp"):
        return "silence", (symbol,)
    plain = phones.strip_stress(symbol.upper())
    known = phones.TIMIT_TO_ARPABET.get(symbol.lower(), ())
    if plain not in phones.FEATURES and len(known):
        plain = known[-1]
    if plain not in phones.FEATURES:
        return "others", (symbol,)
    f = phones.FEATURES[plain]
    if f.vowel:
        place = (_HEIGHTS.index(f.height), _BACKNESS.index(f.backness), not f.tense, symbol)
        return (
            "diphthongs" if f.glide and plain in ("AW", "AY", "OY", "EY", "OW") else "vowels"
        ), place
    return _MANNERS[f.manner], (f.manner, _PLACES.index(f.place), f.voiced, symbol)


def ordered(tokens: Sequence[str]) -> tuple[list[int], list[tuple[str, int, int]]]:
    """The order by articulation, and its groups: (name, first, one after the last)."""
    keys = [articulation(token) for token in tokens]
    order = sorted(range(len(tokens)), key=lambda n: (_GROUPS.index(keys[n][0]), keys[n][1]))
    groups = []
    for name in _GROUPS:
        own = [place for place, n in enumerate(order) if keys[n][0] == name]
        if own:
            groups.append((name, own[0], own[-1] + 1))
    return order, groups


def confusion(axes: Axes, tokens: Sequence[str], counts: NDArray) -> AxesImage:
    """Draw a confusion matrix, each row in % of itself: what was said, by what was recognised.

    Args:
        tokens: K phones; counts: (K + 1, K + 1) as of `scoring.confusion_matrix`: the last row
            holds insertions, the last column deletions.
    """
    order, groups = ordered(tokens)
    index = [*order, len(tokens)]
    counts = counts[np.ix_(index, index)]
    totals = counts.sum(1, keepdims=True)
    share = np.divide(100.0 * counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    size = len(index)
    # a square root, so that a few per cent are seen beside the diagonal
    image = axes.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=10, aspect="equal")
    if size <= 64:
        points = min(7.0, 240 / size)
        for row, column in np.argwhere(share >= 2.5):
            value = share[row, column]
            axes.text(
                column, row, f"{value:.0f}", ha="center", va="center", fontsize=points,
                color="white" if value > 45 else "0.1",
            )  # fmt: skip
    names = [tokens[n] for n in order]
    axes.set_xticks(range(size), [*names, "deleted"], rotation=90, fontsize=7)
    many = [f"{name}  {n:>4}" for name, n in zip([*names, "inserted"], totals[:, 0], strict=True)]
    axes.set_yticks(range(size), many, fontsize=7, family="monospace")
    axes.tick_params(length=0)
    for _, _, end in groups:
        axes.axhline(end - 0.5, color="0.35", linewidth=0.6)
        axes.axvline(end - 0.5, color="0.35", linewidth=0.6)
    for name, first, end in groups:
        axes.text(
            size - 0.3, (first + end - 1) / 2, name, va="center", ha="left", fontsize=7,
            color="0.35", clip_on=False,
        )  # fmt: skip
    axes.set_xlabel("recognised")
    axes.set_ylabel("said, and how often")
    return image


def confusion_figure(result: error_rates.Result, title: str) -> Figure:
    """The confusion matrix of phones with its scale."""
    tokens, counts = error_rates.confusion_matrix(result)
    side = max(5.0, 1.8 + 0.2 * len(tokens))
    figure = Figure(figsize=(side + 1.3, side - 0.5), dpi=150, layout="compressed")
    axes = figure.subplots()
    image = confusion(axes, tokens, counts)
    bar = figure.colorbar(image, ax=axes, fraction=0.025, pad=0.1, aspect=40)
    shown = (0, 1, 5, 10, 25, 50, 75, 100)
    bar.set_ticks([math.sqrt(value) for value in shown], labels=[str(value) for value in shown])
    bar.set_label("% of the row")
    c = result.counts
    _title(
        figure,
        f"{title}: {result.rate:.1%} errors. Of {c.length:,} phones, {c.substitutions:,} "
        f"substituted, {c.deletions:,} deleted; {c.insertions:,} inserted",
    )
    return figure


# --- Ranks of units -------------------------------------------------------------------------------


class Shares(NamedTuple):
    """How a level's units share the work, over some recordings."""

    level: int
    mean: NDArray[np.float64]  # (U,) mean activation
    wins: NDArray[np.float64]  # (U,) events (or steps, without events) that each won
    law: str
    beta: float | None  # as learned
    resolution: float | None


def shares(trained: Trained, heard: Sequence[Scene]) -> list[Shares]:
    """Of every level that has units. Raises `ConfigError` where none has."""
    found = []
    for number in range(len(heard[0].output.levels)):
        units, beta, resolution = evaluation.law_of(trained, number)
        if not units:
            continue
        sums, wins, steps = np.zeros(units), np.zeros(units), 0
        for scene in heard:
            level = scene.output.levels[number]
            assert level.activation is not None
            own = level.mask[0].numpy()
            activation = level.activation[0].numpy()[own]
            winner = activation.argmax(1)
            if level.winner is not None:
                held = level.winner[0].numpy()[own]
                winner = held[np.flatnonzero(np.diff(held, prepend=-1))]  # once an event
            sums += activation.sum(0)
            wins += np.bincount(winner, minlength=units)
            steps += len(activation)
        config: Any = trained.model.get_submodule(f"levels.{number}")
        found.append(Shares(number, sums / steps, wins, config.config.law, beta, resolution))
    if not found:
        raise ConfigError(
            trained.folder, "its model has no units", "Draw curves or confusion of it instead"
        )
    return found


def ranks(axes: Axes, values: NDArray, sample_size: float | None = None) -> list[Line2D]:
    """Draw shares (U,) by rank on double logarithmic axes, with both laws fitted.

    A power law is straight there, a geometric law bends down.

    Args:
        sample_size: independent observations that mean activations stand for; None: values are
            counts.
    """
    share = np.sort(values)[::-1] / values.sum()
    share = share[share > 0]
    rank = np.arange(1, len(share) + 1)
    label = f"{len(share)} of {len(values)} units"
    drawn = axes.plot(rank, share, "o", color="0.25", markersize=3, label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = 0.5 * float(share[-1]), 2 * float(share[0])
    axes.set_ylim(max(low, 1e-4 * high), high)
    axes.set_xlim(0.9, 1.15 * len(values))
    try:
        kind: Any = "counts" if sample_size is None else "activations"
        fit = fits.fit(values, kind=kind, sample_size=sample_size)
    except ConfigError:  # fewer than two units: no law
        return drawn
    for law in (fit.geometric, fit.power):
        assert law is not None
        i = np.arange(round(law.resolution))
        weight = np.exp(-i / law.beta) if law.law == "geometric" else (i + 1.0) ** (-1 / law.beta)
        n = "N open" if math.isinf(law.resolution_high) else f"N = {law.resolution:.0f}"
        drawn += axes.plot(
            i + 1, weight / weight.sum(), color=LAWS[law.law], linewidth=1.2,
            label=f"{law.law}: β = {law.beta:.3g}, {n}",
        )  # fmt: skip
    axes.plot([], [], " ", label=_verdict(fit.delta_bic))
    return drawn


def _verdict(delta: float) -> str:
    law = "power" if delta > 0 else "geometric"
    return f"BIC: {law}{'' if abs(delta) >= 10 else ', hardly'} (by {abs(delta):.0f})"


def ranks_figure(found: Sequence[Shares], title: str) -> Figure:
    """By level: mean activations above, winners below."""
    figure = Figure(figsize=(1 + 3.5 * len(found), 7), dpi=150, layout="constrained")
    grid = figure.subplots(2, len(found), squeeze=False, sharex="col")
    for column, own in zip(grid.T, found, strict=True):
        ranks(column[0], own.mean, max(2.0, float(own.wins.sum())))
        ranks(column[1], own.wins)
        learned = "" if own.beta is None else f", learned β = {own.beta:.3g}"
        n = "all" if own.resolution is None else f"{own.resolution:.3g}"
        column[0].set_title(f"level {own.level}: {own.law} law{learned}, N = {n}", fontsize="small")
        column[1].set_xlabel("rank of the unit")
        for axes in column:
            axes.legend(frameon=False, fontsize="x-small", loc="lower left")
            axes.grid(True, which="major", color="0.9", linewidth=0.6)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    grid[0, 0].set_ylabel("share of the activation")
    grid[1, 0].set_ylabel("share of the events won")
    _title(figure, f"Ranks of units: {title}")
    return figure


# --- The command ----------------------------------------------------------------------------------


def plot_run(
    run: str | Path | Trained,
    out: str | Path,
    what: str,
    *,
    cuts: str | Path | None = None,
    cut: str | None = None,
    recording: str | Path | None = None,
) -> None:
    """Draw a figure of a run into a picture file.

    Args:
        run: its folder; for curves it need not be finished.
        out: the picture; its ending says the format: .png, .pdf or .svg.
        what: curves (losses and errors of training), confusion (of phones, on cuts), units
            (activation of every level's units), ranks (of the units, with both laws fitted),
            levels (what each level holds of the features).
        cuts: manifest to recognise. For levels, the others of them fit the read-out.
        cut: its cut that units and levels show; None: the first.
        recording: for units, ranks and levels, in place of cuts (for levels, with them).

    Raises:
        CheckpointError, ConfigError, AudioError, LabelError, OutputError: bad input; nothing is
            written then.
    """
    out = Path(out)
    if out.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise ConfigError(out, "not a picture format known here", "End it in .png, .pdf or .svg")
    if what == "curves":
        folder = run.folder if isinstance(run, Trained) else Path(run)
        figure = curves_figure(read_course(folder), folder.resolve().name)
    else:
        figure = _figure(open_run(run), what, cuts, cut, recording)
    with files.atomic(out) as file:
        figure.savefig(file, format=out.suffix[1:].lower(), dpi=150)


def _figure(
    trained: Trained,
    what: str,
    cuts: str | Path | None,
    cut: str | None,
    recording: str | Path | None,
) -> Figure:
    name = trained.folder.resolve().name
    if what == "confusion":
        if cuts is None:
            raise ConfigError("cuts", "confusion needs cuts", "Give --cuts, a manifest")
        trained.check_heads(["phones"], "what")
        found = evaluation.evaluate(trained, cuts, heads=["phones"])
        return confusion_figure(found.scores["phones"], f"{Path(cuts).name} by {name}")
    if what not in ("units", "ranks", "levels"):
        raise ConfigError("what", f"{what!r} is not known", "Use curves, confusion, units, ...")
    if cuts is None and recording is None:
        raise ConfigError(
            what, "needs something to hear", "Give --cuts, a manifest, or --recording, a file"
        )
    shown, others = scenes(trained, cuts, cut, recording, alone=what == "units")
    if not shown.output.levels:
        raise ConfigError(
            trained.folder, "its model has no levels", "Draw curves or confusion of it instead"
        )
    if what == "units":
        return units_figure(trained, shown)
    if what == "levels":
        return levels_figure(trained, shown, others)
    heard = [shown, *others]
    seconds = sum(scene.seconds for scene in heard)
    return ranks_figure(shares(trained, heard), f"{name}, {seconds:.0f} s of speech")
