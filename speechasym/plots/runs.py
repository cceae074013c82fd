"""`plot_run`: a figure of a trained run, written to a picture file."""

from pathlib import Path

from speechasym.errors import ConfigError
from speechasym.plots.axes import picture_path, save
from speechasym.plots.confusion import confusion_figure
from speechasym.plots.curves import curves_figure, read_metrics
from speechasym.plots.learning import check_measured, learning_figure
from speechasym.plots.levels import levels_figure
from speechasym.plots.ranks import ranks_figure, unit_use
from speechasym.plots.recognised import recognise
from speechasym.plots.units import units_figure
from speechasym.plots.watched import check_watched, watched_figure
from speechasym.recognition import evaluation
from speechasym.recognition.trained_model import TrainedModel, open_run

DURING = {"curves": curves_figure, "learning": learning_figure}  # of metrics.jsonl alone
FIGURES = ("curves", "learning", "confusion", "units", "ranks", "levels")


def plot_run(
    run: str | Path | TrainedModel | None,
    out: str | Path,
    what: str,
    *,
    cuts: str | Path | None = None,
    cut: str | None = None,
    recording: str | Path | None = None,
) -> None:
    """Draw a figure of a run into a picture file.

    Args:
        run: its folder; for curves, learning and ranks over training the run may be unfinished;
            None: the pretrained model.
        out: the picture; its suffix gives the format: .png, .pdf or .svg.
        what: curves (losses and errors of training), learning (gradients and memory of stages, if
            `learning.meter` measured them), confusion (of phones, on cuts), units (activation of
            every level's units), ranks (of units and attention heads over training, as the monitor
            watched them; of units with both laws fitted, if there are cuts or a recording), levels
            (what each level holds of the features).
        cuts: manifest to recognise. For levels, its other cuts fit the read-out.
        cut: the cut that units and levels show; None: the first.
        recording: for units, ranks and levels, instead of cuts (for levels, together with them).

    Raises:
        AnnotationError, AudioError, CheckpointError, ConfigError, LabelError, OutputError: bad
            input; nothing is written then.

    Example:
        >>> plot_run("out/mini/run", "units.png", "units", recording="speech.wav")
    """
    out = picture_path(out)
    if what not in FIGURES:
        raise ConfigError("what", f"{what!r} is not known", f"Use one of {', '.join(FIGURES)}")
    if what in DURING or (what == "ranks" and run is not None and cuts is recording is cut is None):
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
        save(draw(metrics, folder.resolve().name), out)
        return
    trained = open_run(run)
    name = trained.name
    if what == "confusion":
        if cuts is None:
            raise ConfigError("cuts", "confusion needs cuts", "Give --cuts, a manifest")
        trained.check_heads(["phones"], "what")
        result = evaluation.evaluate(trained, cuts, heads=["phones"])
        save(confusion_figure(result.scores["phones"], f"{Path(cuts).name} by {name}"), out)
        return
    drawn, others = recognise(trained, cuts, cut, recording, others=what != "units")
    if not drawn.output.levels:
        remedy = "Draw curves or confusion of it instead"
        raise ConfigError(trained.folder, "its model has no levels", remedy)
    if what == "units":
        figure = units_figure(trained, drawn)
    elif what == "levels":
        figure = levels_figure(trained, drawn, others)
    else:
        recordings = [drawn, *others]
        uses = unit_use(trained, [r.output for r in recordings])
        seconds = sum(r.seconds for r in recordings)
        figure = ranks_figure(uses, f"{name}, {seconds:.0f} s of speech")
    save(figure, out)
