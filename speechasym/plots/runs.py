"""`plot_run`: a figure of a trained run, written to a picture file."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from speechasym.errors import ConfigError
from speechasym.plots import captions
from speechasym.plots.axes import DPI, picture_path, save
from speechasym.plots.confusion import confusion_figure
from speechasym.plots.curves import curves_figure, read_metrics
from speechasym.plots.learning import check_measured, learning_figure
from speechasym.plots.levels import levels_figure
from speechasym.plots.ranks import ranks_figure, unit_use
from speechasym.plots.recognised import recognise
from speechasym.plots.style import PictureStyle
from speechasym.plots.units import units_figure
from speechasym.plots.watched import check_watched, watched_figure
from speechasym.recognition import evaluation
from speechasym.recognition.trained_model import TrainedModel, open_run

DURING = {"curves": curves_figure, "learning": learning_figure}  # of metrics.jsonl alone
FIGURES = ("curves", "learning", "confusion", "units", "ranks", "levels")


def plot_run(
    run: str | Path | TrainedModel | None,
    out: str | Path | None,
    what: str,
    *,
    cuts: str | Path | None = None,
    cut: str | None = None,
    recording: str | Path | None = None,
    size: tuple[float, float] | None = None,
    dpi: float = DPI,
    font_size: float | None = None,
    caption: bool = True,
) -> Figure:
    """Draw a figure of a run, and write it into a picture file.

    Args:
        run: its folder; for curves, learning and ranks over training the run may be unfinished;
            None: the pretrained model.
        out: the picture; its suffix gives the format: .png, .pdf or .svg. None: none is written.
        what: curves (losses and errors of training), learning (gradients and memory of stages, if
            `learning.meter` measured them), confusion (of phones, on cuts), units (activation of
            every level's units), ranks (of units and attention heads over training, as the monitor
            watched them; of units with both laws fitted, if there are cuts or a recording), levels
            (what each level holds of the features).
        cuts: manifest to recognise. For levels, its other cuts fit the read-out.
        cut: the cut that units and levels show; None: the first.
        recording: for units, ranks and levels, instead of cuts (for levels, together with them).
        size, dpi, font_size, caption: see `plot`.

    Returns:
        the figure; it is not shown, and pyplot does not know it.

    Raises:
        AnnotationError, AudioError, CheckpointError, ConfigError, LabelError, OutputError: bad
            input; nothing is written then.

    Example:
        >>> figure = speechasym.plot_run("run", "curves.png", "curves")
    """
    path = None if out is None else picture_path(out)
    style = PictureStyle(size=size, dpi=dpi, font_size=font_size, caption=caption)
    if what not in FIGURES:
        raise ConfigError("what", f"{what!r} is not known", f"Use one of {', '.join(FIGURES)}")
    if what in DURING or (what == "ranks" and run is not None and cuts is recording is cut is None):
        draw, text = _over_training(run, what)
    else:
        draw, text = _of_model(open_run(run), what, cuts, cut, recording)
    figure = style.figure(draw, captions.FIGURES[text])
    if path is not None:
        save(figure, path)
    return figure


def _over_training(
    run: str | Path | TrainedModel | None, what: str
) -> tuple[Callable[[], Figure], str]:
    """Return the drawing of what a run recorded of its training, and the name of its caption."""
    if run is None:
        problem = "the pretrained model comes without the record of its training"
        raise ConfigError(what, problem, "Give the folder of a run (RUN)")
    folder = run.folder if isinstance(run, TrainedModel) else Path(run)
    metrics = read_metrics(folder)
    if what == "learning":
        check_measured(metrics, folder)
    if what == "ranks":
        check_watched(metrics, folder)
    draw = DURING.get(what, watched_figure)
    text = what if what in DURING else "watched"
    return lambda: draw(metrics, folder.resolve().name), text


def _of_model(
    trained: TrainedModel, what: str, cuts: str | Path | None, cut: str | None,
    recording: str | Path | None,
) -> tuple[Callable[[], Figure], str]:  # fmt: skip
    """Return the drawing of what a model computes, and the name of its caption."""
    name = trained.name
    if what == "confusion":
        if cuts is None:
            raise ConfigError("cuts", "confusion needs cuts", "Give --cuts, a manifest")
        trained.check_heads(["phones"], "what")
        result = evaluation.evaluate(trained, cuts, heads=["phones"])
        title = f"{Path(cuts).name} by {name}"
        return lambda: confusion_figure(result.scores["phones"], title), what
    drawn, others = recognise(trained, cuts, cut, recording, others=what != "units")
    if not drawn.output.levels:
        remedy = "Draw curves or confusion of it instead"
        raise ConfigError(trained.folder, "its model has no levels", remedy)
    if what == "units":
        return lambda: units_figure(trained, drawn), what
    if what == "levels":
        return lambda: levels_figure(trained, drawn, others), "run levels"
    recordings = [drawn, *others]
    uses = unit_use(trained, [r.output for r in recordings])
    seconds = sum(r.seconds for r in recordings)
    return lambda: ranks_figure(uses, f"{name}, {seconds:.0f} s of speech"), what
