"""What a report shows: results, training metrics, use of units, and recordings."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from speechasym import files
from speechasym.annotations.intervals import Interval
from speechasym.corpora import manifests
from speechasym.errors import AudioError, ConfigError, LabelError
from speechasym.plots.curves import Metrics, read_metrics
from speechasym.plots.ranks import UnitUse, add_unit_use
from speechasym.plots.recognised import RecognisedRecording, recognise
from speechasym.progress import progress
from speechasym.recognition import evaluation, pretrained
from speechasym.recognition.evaluation import Evaluation
from speechasym.recognition.recogniser import Recogniser
from speechasym.recognition.references import reference_phones
from speechasym.recognition.trained_model import TrainedModel, open_run
from speechasym.report.html import percent
from speechasym.training import labels
from speechasym.training.config import LabelConfig

if TYPE_CHECKING:
    from lhotse import CutSet

QUARTILES = {
    0.25: "one of the easier cuts",
    0.5: "a cut of medium difficulty",
    0.75: "one of the harder cuts",
}  # of the cuts' error rates: the recordings shown
USUAL_S = (1.0, 16.0)  # duration of the recordings shown, if there are such


class Results(NamedTuple):
    """Results of a run, as `evaluate --out` wrote them."""

    path: Path
    content: Mapping[str, Any]

    @property
    def scores(self) -> Mapping[str, Any]:
        """By name, in the usual order; JSON has them in alphabetical order."""
        scores: Mapping[str, Any] = self.content["scores"]
        usual = [name for name in evaluation.MEASURES if name in scores]
        return {name: scores[name] for name in dict.fromkeys([*usual, *scores])}


class ReportRecording(NamedTuple):
    """A recording to listen to."""

    title: str
    about: str
    recognised: RecognisedRecording | None  # None: it cannot be read
    tokens: dict[str, list[str]]  # reference by head
    problem: str = ""  # why it cannot be read


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything that the page shows."""

    trained: TrainedModel
    metrics: Metrics | None  # None: the pretrained model, which has none
    manifest: Path
    cuts_sha256: str
    cuts: "CutSet"
    evaluated: Evaluation | None
    problem: str  # why it could not be evaluated
    unit_use: dict[int, UnitUse]  # by level
    results: Results | None
    baselines: dict[str, Results]
    missing_heads: dict[str, str]  # {head without labels: why}
    scores: Mapping[str, Any]
    levels: Sequence[Mapping[str, Any]]
    recordings: list[ReportRecording]
    command: str | None


def read_results(path: str | Path) -> Results:
    """Read results that `evaluate --out` wrote.

    Raises `ConfigError` for a file that cannot be read or does not hold results.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text("utf-8"))
        for score in content["scores"].values():
            for key in ("N", "S", "D", "I"):
                score[key] + 0
            low, high = score["interval_95"]
            if not isinstance(score["measure"], str):
                raise TypeError("a measure is a word")
            for value in (low, high, score["rate"]):
                float(0 if value is None else value + 0)
            for counts in score["speakers"].values():
                counts["N"] + counts["S"] + counts["D"] + counts["I"] + (counts["rate"] or 0)
        if not content["scores"]:
            raise ValueError("no scores")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no results of a run"
        remedy = "Give a file written by `speechasym evaluate --out`"
        raise ConfigError(path, f"cannot be read ({why})", remedy) from error
    return Results(path, content)


def _labelled_heads(
    recogniser: Recogniser, cuts: "CutSet", heads: Sequence[str]
) -> tuple[list[str], dict[str, str]]:
    """Return the heads for which the cuts have labels, and why the others are left out."""
    labelled, missing = [], {}
    for head in heads:
        try:
            if head == "phones":
                entries = reference_phones(recogniser, cuts).entries
                for cut in cuts:
                    labels.tokens(cut, head, recogniser.trained.config.data.labels, entries)
            else:
                for cut in cuts:
                    labels.words_of(cut)
            labelled.append(head)
        except LabelError as error:
            missing[head] = f"{error.args[0]}: {error.args[1]}"
    return labelled, missing


def _without_missing_cache(trained: TrainedModel) -> TrainedModel:
    """Return the run without its feature cache if that is missing: a report creates none."""
    data = trained.config.data
    if data.cache is None or Path(data.cache).is_dir():
        return trained
    return trained._replace(config=replace(trained.config, data=replace(data, cache=None)))


def _manifest(trained: TrainedModel, cuts: str | Path | None, results: Results | None) -> Path:
    """Return the manifest asked for, else that of the results, else that of the run's dev cuts."""
    if cuts is not None:
        return Path(cuts)
    evaluated = None if results is None else results.content.get("cuts")
    if isinstance(evaluated, str) and Path(evaluated).is_file():
        return Path(evaluated)
    dev = Path(trained.config.data.dev)
    if dev.is_file():
        return dev
    problem = f"the run's dev cuts are no longer at {dev}"
    if trained.folder == pretrained.FOLDER:
        problem = "the pretrained model comes without cuts"
    raise ConfigError("cuts", problem, "Give --cuts, a manifest of cuts")


def _quartile_cuts(evaluated: Evaluation, seconds: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return cuts near the quartiles of the error rate, of different speakers: (id, about)."""
    name = next(iter(evaluated.scores))
    utterances = evaluated.scores[name].utterances
    rates = {u: c.rate for u, c in utterances.items() if c.length}
    order = sorted(rates, key=lambda u: (rates[u], u))
    usual = [u for u in order if USUAL_S[0] <= seconds[u] <= USUAL_S[1]] or order
    chosen: dict[str, str] = {}
    for share, about in list(QUARTILES.items())[: max(1, len(usual))]:
        speakers = {evaluated.speakers[u] for u in chosen}
        left = [u for u in usual if u not in chosen]
        left = [u for u in left if evaluated.speakers[u] not in speakers] or left
        if left:
            place = share * (len(order) - 1)
            best = min(left, key=lambda u: (abs(order.index(u) - place), u))
            chosen[best] = f"{about}: {percent(rates[best], 0)} errors in {name}"
    return list(chosen.items())


def _reference(
    trained: TrainedModel, recording: RecognisedRecording
) -> tuple[dict[str, list[str]], str]:
    """Return the tokens of the annotation beside a recording, by head, and what to say of it."""
    tokens: dict[str, list[str]] = {}
    about = ""
    try:
        phones = annotated(recording, "phones", trained.config.data.labels)
    except LabelError as error:
        phones, about = [], f"its phones are not compared: {error.args[1]}"
    if phones:
        tokens["phones"] = [i.label for i in phones]
    if words := annotated(recording, "words", trained.config.data.labels):
        tokens["words"] = [i.label.upper() for i in words]
    return tokens, about or ("" if tokens else "without a reference annotation")


def annotated(recording: RecognisedRecording, head: str, config: LabelConfig) -> list[Interval]:
    """Return the annotated intervals of a head as the run writes them. Raises `LabelError`."""
    intervals = [i for i in recording.reference.get(head, []) if i.label.strip()]
    return labels.configured(intervals, config, recording.title) if head == "phones" else intervals


@contextmanager
def count_units(trained: TrainedModel) -> Iterator[dict[int, UnitUse]]:
    """Add up {level: use of its units} over all that the model computes within the block."""
    uses: dict[int, UnitUse] = {}
    hook = trained.model.register_forward_hook(
        lambda module, inputs, output: add_unit_use(uses, trained, output)
    )
    try:
        yield uses
    finally:
        hook.remove()


def _recordings(
    trained: TrainedModel, manifest: Path, cuts: "CutSet", evaluated: Evaluation | None,
    paths: Sequence[str | Path], show_progress: bool,
) -> list[ReportRecording]:  # fmt: skip
    """Recognise the recordings asked for, else cuts of typical error rates."""
    chosen: list[tuple[str, str, Path | None]] = [(Path(p).name, "", Path(p)) for p in paths]
    if not paths and evaluated is not None:
        seconds = {cut.id: cut.duration for cut in cuts}
        chosen = [(cut, about, None) for cut, about in _quartile_cuts(evaluated, seconds)]
    recordings = []
    with progress(len(chosen), "recordings", show_progress) as step:
        for title, about, path in chosen:
            try:
                source, cut = (None, None) if path else (manifest, title)
                recognised, _ = recognise(trained, source, cut, path, others=False)
            except AudioError as error:
                if path is not None:
                    raise
                recordings.append(ReportRecording(title, about, None, {}, str(error)))
                continue
            if path is None and evaluated is not None:
                about = f"speaker {evaluated.speakers[title]}, {about}"
                tokens = {head: rows[title] for head, rows in evaluated.references.items()}
            else:
                tokens, about = _reference(trained, recognised)
            recordings.append(ReportRecording(recognised.title, about, recognised, tokens))
            step()
    return recordings


def collect(
    run: str | Path | TrainedModel | None, *, cuts: str | Path | None,
    evaluation_file: str | Path | None,
    baselines: Mapping[str, str | Path], recordings: Sequence[str | Path], command: str | None,
    show_progress: bool,
) -> ReportData:  # fmt: skip
    """Read and compute everything that the page shows; arguments as `write_report`."""
    results = None if evaluation_file is None else read_results(evaluation_file)
    others = {name: read_results(path) for name, path in baselines.items()}
    recogniser = Recogniser(_without_missing_cache(open_run(run)))
    trained = recogniser.trained
    if results is not None and results.content.get("checkpoint_sha256") != trained.fingerprint:
        problem = f"its results are of another model than {trained.folder}"
        raise ConfigError(results.path, problem, "Evaluate this run, or leave the file out")
    metrics = None if trained.folder == pretrained.FOLDER else read_metrics(trained.folder)
    manifest = _manifest(trained, cuts, results)
    cut_set = manifests.read_cuts(manifest)
    sha256 = files.sha256(manifest)
    if results is not None and results.content.get("cuts_sha256") != sha256:
        problem = f"its results are of other cuts than {manifest}"
        remedy = "Give the same cuts with --cuts, or evaluate again"
        raise ConfigError(results.path, problem, remedy)
    recogniser.choose([])  # raises for a run without heads, which has no errors to report
    # the search for words takes longest; results that are given have it or not
    wanted = recogniser.heads if results is None else list(trained.inventories)
    heads, missing = _labelled_heads(recogniser, cut_set, wanted)
    evaluated, problem = None, ""
    unit_use: dict[int, UnitUse] = {}
    try:
        if not heads:
            raise ConfigError(manifest, "has no labels for any head of the run", "Give other cuts")
        with count_units(trained) as unit_use:
            evaluated = evaluation.evaluate(
                recogniser, manifest, heads=heads, show_progress=show_progress
            )
    except AudioError as error:
        if results is None:
            raise
        problem = str(error)
    computed = {} if evaluated is None else evaluated.as_json()
    return ReportData(
        trained=trained, metrics=metrics, manifest=manifest, cuts_sha256=sha256, cuts=cut_set,
        evaluated=evaluated, problem=problem, unit_use=unit_use, results=results,
        baselines=others, missing_heads=missing,
        scores=computed.get("scores", {}) if results is None else results.scores,
        levels=computed.get("levels", []),
        recordings=_recordings(trained, manifest, cut_set, evaluated, recordings, show_progress),
        command=command,
    )  # fmt: skip
