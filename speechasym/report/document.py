"""What a run has learned, as one page: figures, confusions, ranks, and recordings to listen to.

The page holds all it needs, pictures and sound too, and asks for nothing else. The same run, cuts
and files give the same page: nothing that is measured while it is made, such as time, is in it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from speechasym import files
from speechasym.corpora import manifests
from speechasym.errors import ConfigError
from speechasym.recognition.transcription import Trained
from speechasym.report import charts as report_plots
from speechasym.report import html
from speechasym.report.errors import confusions, errors, tiles
from speechasym.report.html import (
    DASH,
    Html,
    definitions,
    duration,
    folded,
    joined,
    listed,
    number,
    paragraph,
    percent,
    plural,
    section,
    symbol,
    table,
    tag,
)
from speechasym.report.material import Material, gather
from speechasym.report.scenes import listen
from speechasym.training import checkpoints, environment


def write_report(
    run: str | Path | Trained,
    out: str | Path,
    *,
    cuts: str | Path | None = None,
    figures: str | Path | None = None,
    baselines: Mapping[str, str | Path] | None = None,
    recordings: Sequence[str | Path] = (),
    command: str | None = None,
    shown: bool = True,
) -> Path:
    """Write a page that shows what a run has learned, and return its path.

    Args:
        run: a finished run's folder, or what `open_run` gave.
        out: the page, .html.
        cuts: manifest to be judged on; None: that of the figures, else the run's dev cuts.
        figures: the run's figures, a file of `evaluate --out`; None: they are computed.
        baselines: {name: file of `evaluate --out`} of other runs, to set beside.
        recordings: to listen to; none: three cuts near the quartiles of the error rate.
        command: to be told on the page; shown: tell how far it is, on stderr.

    Raises:
        CheckpointError, ConfigError, AudioError, LabelError, OutputError: bad input; nothing is
            written then. With `figures`, recordings that cannot be read are told on the page.
    """
    out = Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(out, "not a page", "End it in .html")
    material = gather(
        run, cuts=cuts, figures=figures, baselines=baselines or {}, recordings=recordings,
        command=command, shown=shown,
    )  # fmt: skip
    page = _page(material)
    with files.atomic(out) as file:
        file.write(page.encode("utf-8", "replace"))
    return out


def _page(m: Material) -> str:
    parts = [
        ("training", "Training", _training(m)),
        ("errors", "Errors", errors(m)),
        ("confusions", "Confusions", confusions(m)),
        ("ranks", "Ranks of units", _ranks(m)),
        ("listen", "Level by level", listen(m)),
        ("configuration", "Configuration", _configuration(m)),
    ]
    sections = [(i, name, section(i, name, content)) for i, name, content in parts]
    return html.page(
        f"{m.name}: what the run has learned", _head(m), sections,
        "Made by speechasym. This page holds its pictures and recordings in itself and "
        "loads nothing.",
    )  # fmt: skip


def _training_cuts(m: Material) -> tuple[str, set[str]]:
    """What the run was trained on in words, and its speakers, as far as that is still known."""
    path = Path(m.trained.config.data.train)
    name = "/".join(path.parts[-2:])
    try:
        meta = json.loads((m.trained.folder / checkpoints.MODEL_META).read_text("utf-8"))
        if files.sha256(path) != meta["manifests"]["train"]:
            return f"{name} (changed since)", set()
        cuts = list(manifests.read_cuts(path))
    except (ConfigError, OSError, ValueError, LookupError, TypeError):
        return name, set()
    voices = {s.speaker for cut in cuts for s in cut.supervisions if s.speaker}
    told = f"{plural(len(cuts), 'cut')}, {duration(sum(c.duration for c in cuts))}"
    of = f" of {plural(len(voices), 'speaker')}" if voices else ""
    return f"{told}{of} ({name})", voices


def _head(m: Material) -> Html:
    trained = m.trained
    told, voices = _training_cuts(m)
    last = m.metrics.steps[-1]
    spent = f" in {duration(last['seconds'])}" if "seconds" in last else ""
    epochs = plural(int(last["epoch"]) + 1, "epoch")
    own = {s.speaker for cut in m.cuts for s in cut.supervisions if s.speaker}
    strange = ""
    if voices and own:
        both = len(own & voices)
        strange = (
            ", heard in training" if both == len(own)
            else f", {both} of them heard in training" if both
            else ", not heard in training"
        )  # fmt: skip
    speakers = f" of {plural(len(own), 'speaker')}{strange}" if own else ""
    seconds = sum(cut.duration for cut in m.cuts)
    sentence = (
        f"A recogniser of {listed(list(trained.inventories))} with {trained.parameters:,} "
        f"parameters, trained for {epochs} ({plural(int(last['step']), 'step')}){spent} on {told}. "
        f"Here it is judged on {plural(len(m.cuts), 'cut')}, {duration(seconds)}{speakers} "
        f"({'/'.join(m.manifest.parts[-2:])})."
    )
    return joined(
        [
            tag("p", "What the run has learned", class_="kicker"),
            tag("h1", m.name),
            tag("p", sentence, class_="lead"),
            tiles(m),
            paragraph(
                "An error rate counts what was substituted, deleted and inserted, over what was "
                "said. Under it, its 95 % interval over speakers.",
                note=True,
            ),
        ]
    )


def _training(m: Material) -> Html:
    best = ""
    meta = json.loads((m.trained.folder / checkpoints.MODEL_META).read_text("utf-8"))
    if meta.get("error") is not None:
        best = (
            f" The parameters of step {meta['step']:,} were kept: there the {meta['target']} of "
            f"the dev cuts had the fewest errors, {percent(meta['error'])}."
        )
    return joined(
        [
            paragraph(
                "Losses are averaged over 2 % of the steps; dashed, those of the dev cuts. A dot "
                f"marks each head's least error.{best}"
            ),
            report_plots.curves(m.metrics),
        ]
    )


def _ranks(m: Material) -> Html:
    if m.found is None:
        return paragraph(f"Nothing was recognised for this page. {m.why}")
    if not m.flows:
        return paragraph("This model has no levels.")
    counts = {w.level: w for w in m.wins}
    charts, rows = [], []
    for flow in m.flows:
        level = int(flow["level"])
        won = counts.get(level)
        used = verdict = DASH
        if won is not None:
            used = number(int((won.wins > 0).sum()))
            what = "% of the events won" if won.events else "% of the steps won"
            drawn, verdict = report_plots.ranks(won.wins, f"Level {level}", what)
            charts.append(drawn)
        n = number(flow["resolution"])
        if flow["units"] and flow["resolution"] is None:
            n = "all"
        rows.append(
            [
                f"level {level}",
                won.law if won else DASH,
                verdict,
                f"{flow['steps']:.1f}", f"{flow['events']:.1f}",
                number(flow["units"]) if flow["units"] else DASH, used,
                number(flow["beta"]), n,
                number(flow["selectivity"], 2),
            ]
        )  # fmt: skip
    columns = [
        "level", "law it is given", "law its wins follow", "steps/s", "events/s", "units",
        "units that win", "β learned", "N learned", "selectivity",
    ]  # fmt: skip
    told = (
        "Each level has units that compete under a rank law; β and N of the law are learned. "
        "Here they are ordered by how often each has won. A power law is straight on these axes, "
        "a geometric law bends down. Events are the changes of the winner: only they go on to the "
        "level above."
    )
    if not counts:
        told = "The levels of this model have no units, and so no ranks."
    return joined(
        [
            paragraph(told),
            tag("div", *charts, class_="charts three") if charts else None,
            table(columns, rows, "What goes through the levels", 3),
        ]
    )


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(v, Mapping) for v in value):
        for number_, inner in enumerate(value):
            yield from _leaves(inner, f"{key}.{number_}")
    else:
        yield key, value


def _configuration(m: Material) -> Html:
    meta = json.loads((m.trained.folder / checkpoints.MODEL_META).read_text("utf-8"))
    shas = meta.get("manifests", {})
    told: dict[str, object] = {"run": m.trained.folder}
    content = m.given.content if m.given is not None else {}
    for name, value in (("evaluated by", content.get("command")), ("page made by", m.command)):
        if value:
            told[name] = tag("code", value)
    told["model, sha256 of its tensors"] = tag("code", m.trained.fingerprint)
    for name, path in (("train", m.trained.config.data.train), ("dev", m.trained.config.data.dev)):
        told[f"{name} cuts"] = joined([path, ", sha256 ", tag("code", shas.get(name, "unknown"))])
    told["judged on"] = joined([m.manifest, ", sha256 ", tag("code", m.fingerprint)])
    if isinstance(content.get("decoding"), Mapping):
        way = ((key, html.plain(value)) for key, value in _leaves(content["decoding"]))
        told["words by lexicon"] = "; ".join(f"{key} {value}" for key, value in way)
    told["commit"] = str(content.get("commit") or meta.get("commit") or "not recorded")
    told["trained with"] = ", ".join(f"{k} {v}" for k, v in meta.get("versions", {}).items())
    told["page made with"] = ", ".join(f"{k} {v}" for k, v in environment.versions().items())
    if content.get("device"):
        threads = content.get("threads")
        told["evaluated on"] = f"{content['device']}" + (f", {threads} threads" if threads else "")
        factors = content.get("real_time_factor")
        factor = factors.get("model") if isinstance(factors, Mapping) else None
        if isinstance(factor, float):
            told["real-time factor of the model"] = number(factor)
    config = meta.get("config", {})
    rows = [[key, html.plain(value)] for key, value in sorted(_leaves(config))]
    whole = table(["key", "value"], rows, "The configuration as it was used", 2)
    return joined(
        [
            definitions(told),
            folded(f"All {len(rows)} values of the configuration", whole),
            folded(
                "What the heads can write",
                definitions(
                    {
                        f"{head} ({len(symbols):,})": " ".join(map(symbol, symbols[:400]))
                        + (" ..." if len(symbols) > 400 else "")
                        for head, symbols in m.trained.inventories.items()
                    }
                ),
            ),
        ]
    )
