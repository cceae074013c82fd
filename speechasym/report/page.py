"""`write_report`: what a run has learned, as one HTML page with figures and recordings.

The page contains all it needs, pictures and sound too, and loads nothing else. The same run, cuts
and files give the same page: nothing measured while it is written, such as time, is on it.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from speechasym import files
from speechasym.config import plural
from speechasym.corpora import manifests
from speechasym.errors import ConfigError
from speechasym.plots.learning import largest, stage_title
from speechasym.plots.ranks import rank_shares
from speechasym.recognition.trained_model import TrainedModel
from speechasym.report import charts, html
from speechasym.report.configuration import configuration, model_json
from speechasym.report.data import ReportData, collect
from speechasym.report.error_tables import confusions, errors, tiles
from speechasym.report.html import DASH, Html, joined, number, paragraph, table, tag
from speechasym.report.listening import recordings as listening


def write_report(
    run: str | Path | TrainedModel | None,
    out: str | Path,
    *,
    cuts: str | Path | None = None,
    evaluation: str | Path | None = None,
    baselines: Mapping[str, str | Path] | None = None,
    recordings: Sequence[str | Path] = (),
    command: str | None = None,
    show_progress: bool = True,
) -> Path:
    """Write a page that shows what a run has learned, and return its path.

    Args:
        run: a finished run's folder, or the result of `open_run`; None: the pretrained model.
        out: the page, .html.
        cuts: manifest to evaluate on; None: that of `evaluation`, else the run's dev cuts.
        evaluation: the run's results, a file of `evaluate --out`; None: they are computed.
        baselines: {name: file of `evaluate --out`} of other runs to compare with.
        recordings: files to listen to; none: three cuts near the quartiles of the error rate.
        command: the command to record on the page.
        show_progress: report progress on stderr.

    Raises:
        CheckpointError, ConfigError, AudioError, LabelError, OutputError: bad input; nothing is
            written then. With `evaluation`, the page says which audio of the cuts cannot be read.

    Example:
        >>> speechasym.write_report("run", "report.html", cuts="corpus/test_cuts.jsonl.gz")
        PosixPath('report.html')
    """
    out = Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(out, "is not an HTML file name", "End it in .html")
    data = collect(
        run, cuts=cuts, evaluation_file=evaluation, baselines=baselines or {},
        recordings=recordings, command=command, show_progress=show_progress,
    )  # fmt: skip
    parts = [
        ("training", "Training", _training(data)),
        *(_learning(data)),
        *(_watched(data)),
        ("errors", "Errors", errors(data)),
        ("confusions", "Confusions", confusions(data)),
        ("ranks", "Ranks of units", _ranks(data)),
        ("listen", "Level by level", listening(data)),
        ("configuration", "Configuration", configuration(data)),
    ]
    page = html.page(
        f"{data.trained.name}: what the run has learned",
        _head(data),
        [(identity, name, html.section(identity, name, part)) for identity, name, part in parts],
        "Written by speechasym. This page contains its pictures and recordings and loads nothing.",
    )
    with files.atomic(out) as file:
        file.write(page.encode("utf-8", "replace"))
    return out


def _training_cuts(data: ReportData) -> tuple[str, set[str]]:
    """Return what the run was trained on in words, and its speakers, if the manifest is there."""
    path = Path(data.trained.config.data.train)
    name = "/".join(path.parts[-2:])
    try:
        if files.sha256(path) != model_json(data)["manifests"]["train"]:
            return f"{name} (changed since)", set()
        text, speakers = _extent(cut for _, cut in manifests.stream_cuts(path))
    except (ConfigError, OSError, ValueError, LookupError, TypeError):
        return name, set()
    return f"{text} ({name})", speakers


def _extent(cuts: Iterable[Any]) -> tuple[str, set[str]]:
    """Return the number of cuts, their duration and speakers in words, and the speakers."""
    lengths: list[float] = []
    speakers: set[str] = set()
    for cut in cuts:
        lengths.append(cut.duration)
        speakers |= {s.speaker for s in cut.supervisions if s.speaker}
    of = f" of {plural(len(speakers), 'speaker')}" if speakers else ""
    return f"{plural(len(lengths), 'cut')}, {html.duration(sum(lengths))}{of}", speakers


def _head(data: ReportData) -> Html:
    trained = data.trained
    training, seen = _training_cuts(data)
    trained_for = "trained"
    if start := trained.config.start:
        trained_for = f"started from {Path(start).name} and trained"
    if data.metrics is not None:
        last = data.metrics.steps[-1]
        spent = f" in {html.duration(last['seconds'])}" if "seconds" in last else ""
        epochs = plural(int(last["epoch"]) + 1, "epoch")
        trained_for += f" for {epochs} ({plural(int(last['step']), 'step')}){spent}"
    extent, speakers = _extent(data.cuts)
    if seen and speakers:
        both = len(seen & speakers)
        extent += ", all" if both == len(speakers) else f", {both} of them" if both else ", not"
        extent += " heard in training"
    sentence = (
        f"A recogniser of {html.enumerated(list(trained.inventories))} with {trained.parameters:,} "
        f"parameters, {trained_for} on {training}. It is evaluated here on {extent} "
        f"({'/'.join(data.manifest.parts[-2:])})."
    )
    note = (
        "An error rate counts the symbols that were substituted, deleted and inserted, relative "
        "to those that were said. Below it is its 95 % confidence interval over speakers."
    )
    kicker = tag("p", "What the run has learned", class_="kicker")
    lead = tag("p", sentence, class_="lead")
    heading = tag("h1", trained.name)
    return joined([kicker, heading, lead, tiles(data), paragraph(note, note=True)])


def _training(data: ReportData) -> Html:
    if data.metrics is None:
        return paragraph("The pretrained model comes without the record of its training.")
    text = (
        "Training losses are averaged over 2 % of the steps; dashed lines are losses on the dev "
        "cuts. A dot marks the lowest error rate of each head."
    )
    if data.metrics.growths:
        *_, last = data.metrics.growths
        text += (
            f" Vertical lines mark where the model grew: {last['grown']} times, to "
            f"{last['parameters']:,} parameters (sizes of the levels: "
            f"{'+'.join(map(str, last['sizes']))})."
        )
    model = model_json(data)
    if model.get("error") is not None:
        text += (
            f" The parameters of step {model['step']:,} were kept: there the error rate of "
            f"{model['target']} on the dev cuts was lowest, {html.percent(model['error'])}."
        )
    return joined([paragraph(text), charts.curves(data.metrics)])


def _learning(data: ReportData) -> list[tuple[str, str, Html]]:
    """Return the section on what the stages learned from, if the run was measured."""
    if data.metrics is None or not data.metrics.measured:
        return []
    line = largest(data.metrics)
    whole = max(line["memory"], line["memory_backprop"] or 0)
    rows = []
    for row in [*line["stages"], line]:
        stage = "stage" in row
        name = stage_title(row) if stage else "whole step"
        memory, backprop = row["memory"], row["memory_backprop"]
        flops = row["flops"] if stage else _total(line, "flops")
        sent = row["sent"] if stage else _total(line, "sent")
        rows.append([
            name, html.bar([("all", memory or 0)], whole), _scaled(memory, 2**20),
            html.bar([("rest", backprop or 0)], whole), _scaled(backprop, 2**20),
            _scaled(flops, 1e9),
            _scaled(sent, 2**20),
        ])  # fmt: skip
    columns = [
        "stage", "", "rule, MiB", "", "backpropagation, MiB", "GFLOP",
        "sent up, MiB",
    ]  # fmt: skip
    rule = data.trained.config.learning.rule
    text = (
        f"The run learned by {rule}. At the first step of each epoch, the gradient of this rule "
        "was compared with the true gradient of the whole stack: a cosine of 1 is the same "
        "direction, 0 a right angle. The charts show the cosine of each stage, then the "
        "norms of both gradients. The table shows the activations that are held at the same time "
        "in the largest of these steps, and what its forward and backward passes take."
    )
    memory = table(columns, rows, "Memory and work of the stages")
    part = joined([paragraph(text), charts.learning(data.metrics), memory])
    return [("learning", "Stages", part)]


def _watched(data: ReportData) -> list[tuple[str, str, Html]]:
    """Return the section on ranks over training, if they were watched."""
    if data.metrics is None or not data.metrics.watched:
        return []
    text = (
        "At each validation the same minute of the dev cuts was watched. Of a level with units: "
        "how often each unit won a step, by rank; the share of units that never did; selectivity, "
        "1 where one unit takes everything, 0 where all are alike at a step; the entropy of the "
        "wins, 1 where all units win alike often. Then what a linear map explains on utterances "
        "that it was not fitted to: of the labels and of the next step by the error of the level, "
        "and how much of it the units alone do not explain. What the error still explains is left "
        "for more units, or for another level. Of an attention head: its selectivity, and the mean "
        "distance in time of what it attends to."
    )
    part = joined([paragraph(text), charts.watched(data.metrics)])
    return [("watched", "Ranks over training", part)]


def _total(line: Mapping[str, Any], key: str) -> float | None:
    values = [row[key] for row in line["stages"] if row[key] is not None]
    return sum(values) if values else None


def _scaled(value: float | None, unit: float) -> str:
    return number(None if value is None else value / unit)


def _ranks(data: ReportData) -> Html:
    if data.evaluated is None:
        return paragraph(f"Nothing could be recognised for this page. {data.problem}")
    if not data.levels:
        return paragraph("This model has no levels.")
    drawings, rows = [], []
    for level in data.levels:
        law = verdict = winning = DASH
        title = f"level {level['level']}"
        if (use := data.unit_use.get(int(level["level"]))) is not None:
            shares = rank_shares(use.wins)
            y = "% of the events won" if use.events else "% of the steps won"
            drawings.append(charts.ranks(shares, title.capitalize(), y))
            law, verdict = use.law, shares.verdict or "too few units for a law"
            winning = number(len(shares.share))
        resolution = "all" if use and level["resolution"] is None else number(level["resolution"])
        rows.append(
            [
                title, law, verdict, f"{level['steps']:.1f}", f"{level['events']:.1f}",
                number(level["units"]) if level["units"] else DASH, winning,
                number(level["beta"]), resolution, number(level["selectivity"], 2),
            ]
        )  # fmt: skip
    columns = [
        "level", "law prescribed", "law its wins follow", "steps/s", "events/s", "units",
        "units that win", "β learned", "N learned", "selectivity",
    ]  # fmt: skip
    text = (
        "Each level has units that compete under a rank law; β and N of the law are learned. "
        "Here the units are ordered by how often each has won. A power law is straight on these "
        "axes, a geometric law bends down. Events are the changes of the winner: only they are "
        "passed on to the level above."
    )
    if not data.unit_use:
        text = "The levels of this model have no units, and so no ranks."
    charted = tag("div", *drawings, class_="charts three") if drawings else None
    return joined([paragraph(text), charted, table(columns, rows, "Activity of the levels", 3)])
