"""What a report is made from: figures, which units win, and recordings, read and computed.

Shapes: B utterances, F steps of a level, U units.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from speechasym import files
from speechasym.corpora import manifests
from speechasym.errors import AudioError, ConfigError, LabelError
from speechasym.language import lexicon, phones
from speechasym.plots.curves import Metrics, read_metrics
from speechasym.plots.ranks import UnitCounter, UnitUse
from speechasym.plots.recognised import RecognisedRecording as Scene
from speechasym.plots.recognised import recognise
from speechasym.progress import progress
from speechasym.recognition import evaluation
from speechasym.recognition.evaluation import Evaluation
from speechasym.recognition.transcription import Trained, open_run
from speechasym.report.html import percent
from speechasym.training import labels

if TYPE_CHECKING:
    from lhotse import CutSet

QUARTILES = (0.25, 0.5, 0.75)  # of the cuts' error rates: the recordings that are shown
SHOWN_S = (1.0, 16.0)  # how long they may be, where there are such


@dataclass(frozen=True, kw_only=True)
class Given:
    """Figures that `evaluate --out` wrote."""

    path: Path
    content: Mapping[str, Any]

    @property
    def scores(self) -> Mapping[str, Any]:
        """By name, as in the file."""
        found: Mapping[str, Any] = self.content["scores"]
        known = [name for name in evaluation.MEASURES if name in found]  # JSON has them by letter
        return {name: found[name] for name in dict.fromkeys([*known, *found])}


class Shown(NamedTuple):
    """A recording to listen to; `scene` is None where it cannot be heard, `why` says why."""

    title: str
    about: str
    scene: Scene | None
    tokens: dict[str, list[str]]  # what was said, by head
    why: str


@dataclass(frozen=True, kw_only=True)
class Material:
    """All that the page is made of."""

    trained: Trained
    metrics: Metrics
    manifest: Path
    fingerprint: str
    cuts: "CutSet"
    found: Evaluation | None
    why: str  # nothing was found
    wins: list[UnitUse]
    given: Given | None
    beside: dict[str, Given]
    missing: dict[str, str]
    scores: Mapping[str, Any]
    flows: Sequence[Mapping[str, Any]]
    heard: list[Shown]
    command: str | None

    @property
    def name(self) -> str:
        """Of the run; with its parent's where it is called just that."""
        folder = self.trained.folder.resolve()
        return "/".join(folder.parts[-2:]) if folder.name == "run" else folder.name


# --- Reading --------------------------------------------------------------------------------------


def read_figures(path: str | Path) -> Given:
    """Figures of a run from the file that `evaluate --out` wrote.

    Raises `ConfigError` where it cannot be read, or is no such file.
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
            for own in score["speakers"].values():
                own["N"] + own["S"] + own["D"] + own["I"] + (own["rate"] or 0)
        if not content["scores"]:
            raise ValueError("no scores")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no figures of a run"
        raise ConfigError(
            path, f"cannot be read ({why})", "Give a file that `speechasym evaluate --out` wrote"
        ) from error
    return Given(path=path, content=content)


def _heads(trained: Trained, cuts: "CutSet") -> tuple[list[str], dict[str, str]]:
    """The heads whose labels the cuts have, and why the others are left out."""
    config = trained.config.data.labels
    words = None if config.lexicon is None else lexicon.read(config.lexicon)
    heads, missing = [], {}
    for head in trained.inventories:
        try:
            for cut in cuts:
                labels.tokens(cut, head, config, words)
            heads.append(head)
        except LabelError as error:
            missing[head] = f"{error.args[0]}: {error.args[1]}"
    return heads, missing


def _here(trained: Trained) -> Trained:
    """The run without its cache of features, where that is not here: none is made for a page."""
    data = trained.config.data
    if data.cache is None or Path(data.cache).is_dir():
        return trained
    return trained._replace(config=replace(trained.config, data=replace(data, cache=None)))


def _cuts(trained: Trained, cuts: str | Path | None, given: Given | None) -> Path:
    """The manifest: what is asked for, else that of the figures, else the run's own dev cuts."""
    if cuts is not None:
        return Path(cuts)
    if given is not None:
        named = given.content.get("cuts")
        if isinstance(named, str) and Path(named).is_file():
            return Path(named)
    dev = Path(trained.config.data.dev)
    if dev.is_file():
        return dev
    raise ConfigError(
        "cuts",
        f"the run's own dev cuts are not at {dev} any more",
        "Give --cuts, a manifest of cuts",
    )


def _chosen(found: Evaluation, seconds: Mapping[str, float]) -> list[tuple[str, str]]:
    """Cuts near the quartiles of the error rate, of different speakers: (id, what it is)."""
    name = next(iter(found.scores))
    result = found.scores[name]
    rates = {u: c.rate for u, c in result.utterances.items() if c.length}
    order = sorted(rates, key=lambda u: (rates[u], u))
    good = [u for u in order if SHOWN_S[0] <= seconds[u] <= SHOWN_S[1]] or order
    chosen: list[tuple[str, str]] = []
    for share in QUARTILES[: max(1, min(len(QUARTILES), len(good)))]:
        wanted = share * (len(order) - 1)
        used = {u for u, _ in chosen}
        voices = {found.speakers[u] for u in used}
        left = [u for u in good if u not in used]
        new = [u for u in left if found.speakers[u] not in voices] or left
        if new:
            best = min(new, key=lambda u: (abs(order.index(u) - wanted), u))
            told = f"{percent(rates[best], 0)} errors in {name}"
            place = {0.25: "one of the easier cuts", 0.5: "a middling cut",
                     0.75: "one of the harder cuts"}[share]  # fmt: skip
            chosen.append((best, f"{place}: {told}"))
    return chosen


def _said(trained: Trained, scene: Scene) -> dict[str, list[str]]:
    """Tokens of the tiers beside a recording, as far as there are such."""
    config = trained.config.data.labels
    tokens: dict[str, list[str]] = {}
    if "phones" in scene.reference:
        names = (i.label for i in scene.reference["phones"])
        tokens["phones"] = [p for n in names if (p := phone_of(n, config.fold)) is not None]
    if "words" in scene.reference:
        tokens["words"] = [i.label.upper() for i in scene.reference["words"] if i.label.strip()]
    return tokens


def phone_of(symbol: str, fold: str) -> str | None:
    """A phone as the run writes it; None for silence."""
    if not symbol or symbol in phones.SILENCES:
        return None
    if fold == "timit39":
        folded = phones.FOLD_ANY_TO_39.get(symbol.lower())
        return None if folded in (None, phones.SILENCE) else folded
    return symbol


# --- Computing ------------------------------------------------------------------------------------


@contextmanager
def count_units(trained: Trained) -> Iterator[UnitCounter]:
    """Count which units win in everything that the model computes within the block."""
    counter = UnitCounter()
    hook = trained.model.register_forward_hook(counter.hook)
    try:
        yield counter
    finally:
        hook.remove()


def _listened(
    trained: Trained,
    manifest: Path,
    cuts: "CutSet",
    found: Evaluation | None,
    recordings: Sequence[str | Path],
    shown: bool,
) -> list[Shown]:
    """The recordings of the page."""
    chosen: list[tuple[str, str, Path | None]] = []
    if recordings:
        chosen = [(Path(path).name, "", Path(path)) for path in recordings]
    elif found is not None:
        lengths = {cut.id: cut.duration for cut in cuts}
        chosen = [(cut, about, None) for cut, about in _chosen(found, lengths)]
    heard = []
    with progress(len(chosen), "recordings", shown) as step:
        for title, about, path in chosen:
            try:
                scene, _ = recognise(
                    trained, None if path else manifest, None if path else title, path, others=False
                )
            except AudioError as error:
                if path is not None:
                    raise
                heard.append(Shown(title, about, None, {}, str(error)))
                continue
            if path is not None or found is None:
                tokens = _said(trained, scene)
                about = about or ("" if tokens else "nobody has written down what was said")
            else:
                about = f"speaker {found.speakers[title]}, {about}"
                tokens = {head: rows[title] for head, rows in found.references.items()}
            heard.append(Shown(scene.title, about, scene, tokens, ""))
            step()
    return heard


def gather(
    run: str | Path | Trained,
    *,
    cuts: str | Path | None,
    figures: str | Path | None,
    baselines: Mapping[str, str | Path],
    recordings: Sequence[str | Path],
    command: str | None,
    shown: bool,
) -> Material:
    """All that the page is made of; args and errors as `report.write_report`."""
    given = None if figures is None else read_figures(figures)
    beside = {name: read_figures(path) for name, path in baselines.items()}
    trained = _here(open_run(run))
    if given is not None and given.content.get("checkpoint_sha256") != trained.fingerprint:
        raise ConfigError(
            given.path, f"its figures are of another model than {trained.folder}",
            "Evaluate this run, or leave it out",
        )  # fmt: skip
    metrics = read_metrics(trained.folder)
    manifest = _cuts(trained, cuts, given)
    known = manifests.read_cuts(manifest)
    fingerprint = files.sha256(manifest)
    if given is not None and given.content.get("cuts_sha256") != fingerprint:
        raise ConfigError(
            given.path, f"its figures are of other cuts than {manifest}",
            "Give --cuts that they are of, or evaluate anew",
        )  # fmt: skip
    heads, missing = _heads(trained, known)
    found, why, wins = None, "", []
    try:
        if not heads:
            raise ConfigError(manifest, "it has no labels that the run knows", "Give other cuts")
        with count_units(trained) as counter:
            found = evaluation.evaluate(trained, manifest, heads=heads, shown=shown)
        wins = counter.result(trained)
    except AudioError as error:
        if given is None:
            raise
        why = str(error)
    heard = _listened(trained, manifest, known, found, recordings, shown)
    made = found.as_json() if found is not None else None
    return Material(
        trained=trained, metrics=metrics, manifest=manifest, fingerprint=fingerprint, cuts=known,
        found=found, why=why, wins=wins, given=given, beside=beside, missing=missing,
        scores=given.scores if given is not None else made["scores"] if made else {},
        flows=made["levels"] if made else [],
        heard=heard, command=command,
    )  # fmt: skip
