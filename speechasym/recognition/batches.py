"""What a recogniser makes of batches of cuts, in this process or on a cluster."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from speechasym.cluster import run_on_cluster
from speechasym.errors import ConfigError
from speechasym.levels import ctc
from speechasym.levels.level import LevelOutput, ModelOutput
from speechasym.recognition.confidence import aligned_heads, symbol_evidence, word_evidence
from speechasym.recognition.decoder import BY_LEXICON, Decoder
from speechasym.recognition.recogniser import Recogniser
from speechasym.recognition.trained_model import TrainedModel
from speechasym.training import dataset, environment
from speechasym.training.batches import group_by_length
from speechasym.training.dataset import Dataset
from speechasym.training.streaming import steps

Rows = dict[str, list[str]]  # {utterance: tokens}
Evidence = dict[str, NDArray[np.float64]]  # {utterance: (N, K) of its tokens}
log = logging.getLogger(__name__)


class RecognisedBatch(NamedTuple):
    """What was recognised in a batch."""

    ids: list[str]
    rows: dict[str, Rows]  # by head
    sums: NDArray[np.float64]  # steps, events and summed selectivity of each level
    seconds: NDArray[np.float64]  # spent on features, model, words by lexicon
    loops: list[tuple[int, bool]]  # passes of each utterance, and whether it settled (`settle`)
    evidence: dict[str, Evidence]  # by head


class _Request(NamedTuple):
    """What all tasks of an evaluation share; opened once in each worker."""

    run: tuple[str, ...] | None  # folders of one run or several
    cuts: str
    heads: tuple[str, ...]
    options: tuple[tuple[str, Any], ...]  # of `Recogniser`
    device: str


def recognise_cuts(
    recogniser: Recogniser, data: Dataset, heads: Sequence[str], max_seconds: float,
    place: torch.device,
) -> Iterator[RecognisedBatch]:  # fmt: skip
    """Yield what is recognised in batches of all cuts, those of similar length together.

    Args:
        heads: of the recogniser; with `BY_LEXICON` also words by lexicon.
        max_seconds: audio per batch, padding included.
        place: where the model runs, which is then back where it was.

    Raises:
        AudioError: a cut that cannot be read; with `unreadable: skip` a warning.
        ConfigError: a batch needs more memory than the device has.
    """
    model = recogniser.trained.model
    home = next(model.parameters()).device
    model.to(place)
    try:
        for numbers in group_by_length(data.seconds.tolist(), max_seconds):
            yield from _recognise(recogniser, data, heads, numbers, place)
    finally:
        model.to(home)


def recognise_cuts_on_cluster(
    run: Any, options: Mapping[str, Any], cuts: str, data: Dataset, heads: Sequence[str],
    max_seconds: float, device: str, scheduler: str,
) -> Iterator[RecognisedBatch]:  # fmt: skip
    """Yield the same from the workers of a cluster, as they are done.

    Args:
        run: folder of a run, or several, which workers open; None: the pretrained model.
        options: of `Recogniser`.

    Raises `ConfigError` for an open run, and what `recognise_cuts` and `run_on_cluster` raise.
    """
    folders = [run] if isinstance(run, str | Path | Recogniser) else run
    if folders is not None and not all(isinstance(folder, str | Path) for folder in folders):
        raise ConfigError("scheduler", "the run is open already", "Give the folder of the run")
    names = None if folders is None else tuple(map(str, folders))
    request = _Request(names, cuts, tuple(heads), tuple(options.items()), device)
    groups = group_by_length(data.seconds.tolist(), max_seconds)
    tasks = [(request, numbers) for numbers in groups]
    for batches in run_on_cluster(_recognise_on_worker, tasks, scheduler):
        yield from batches


def _recognise_on_worker(task: tuple[_Request, list[int]]) -> list[RecognisedBatch]:
    request, numbers = task
    recogniser, data, place = _open(request)
    return list(_recognise(recogniser, data, request.heads, numbers, place))


@lru_cache(maxsize=1)
def _open(request: _Request) -> tuple[Recogniser, Dataset, torch.device]:
    torch.set_num_threads(1)
    recogniser = Recogniser(request.run, **dict(request.options))
    place = environment.select_device(request.device)
    recogniser.trained.model.to(place)
    config = recogniser.trained.config.data
    config = replace(config, workers=0, labels=replace(config.labels, lexicon=None, context=False))
    data = dataset.load(config, request.cuts, (), inventories={}, show_progress=False)
    return recogniser, data, place


def _recognise(
    recogniser: Recogniser, data: Dataset, heads: Sequence[str], numbers: Sequence[int],
    place: torch.device,
) -> Iterator[RecognisedBatch]:  # fmt: skip
    """Yield what is recognised in some cuts: one batch, or none if no cut can be read."""
    of_run, decoder = recogniser.choose(heads)
    start = time.monotonic()
    for step in steps(data, [numbers]):
        for why in step.skipped.values():
            log.warning("%s; it is left out", why)
        if step.batch is None:
            continue
        batch, ready = step.batch, time.monotonic()
        problem = (
            f"{float(data.seconds[list(numbers)].sum()):g} s need more memory than {place} has"
        )
        too_much = ConfigError("batch_seconds", problem, "Lower it")
        with torch.no_grad(), environment.memory_errors_as(too_much):
            output = recogniser.trained.model(batch.features.to(place), batch.lengths.to(place))
        trained = recogniser.trained
        rows: dict[str, Rows] = {head: {} for head in of_run}
        evidence: dict[str, Evidence] = {head: {} for head in of_run}
        for head in of_run:
            for name, log_probs in _posteriors(batch.ids, output, head, trained).items():
                runs = ctc.runs(torch.from_numpy(log_probs.argmax(-1)))
                symbols = ctc.symbols((k for _, _, k in runs), trained.inventories[head])
                rows[head][name], evidence[head][name] = symbols, symbol_evidence(log_probs, runs)
        sums, modelled = _level_sums(output.levels), time.monotonic()
        if decoder is not None:
            rows[BY_LEXICON], evidence[BY_LEXICON] = _words(decoder, batch.ids, output, trained)
        spent = np.diff([start, ready, modelled, time.monotonic()])
        yield RecognisedBatch(batch.ids, rows, sums, spent, _loops(output), evidence)


def _posteriors(
    ids: Sequence[str], output: ModelOutput, head: str, trained: TrainedModel | None = None
) -> dict[str, NDArray[np.float32]]:
    """{utterance: log p (S, V)} of a batch, as a run is read, or without one as it writes them."""
    log_probs, counts = output.heads[head]
    steps = {name: log_probs[n, : int(counts[n])].float().cpu() for n, name in enumerate(ids)}
    if trained is not None:
        steps = {name: trained.read(head, rows) for name, rows in steps.items()}
    return {name: rows.numpy() for name, rows in steps.items()}


def _words(
    decoder: Decoder, ids: Sequence[str], output: ModelOutput, trained: TrainedModel
) -> tuple[Rows, Evidence]:
    """{utterance: words by lexicon}, and {utterance: their evidence}, of a batch."""
    searched = {head: _posteriors(ids, output, head) for head in decoder.config.heads}
    aligned = {head: _posteriors(ids, output, head, trained) for head in aligned_heads(decoder)}
    rows, evidence = {}, {}
    for name in ids:
        posteriors = {head: by_name[name] for head, by_name in searched.items()}
        found = decoder.decode(posteriors)
        _, spans = decoder.spans(posteriors, found[0].words)
        witnesses = {head: by_name[name] for head, by_name in aligned.items()}
        rows[name] = list(found[0].words)
        evidence[name] = word_evidence(witnesses, decoder, found, spans)
    return rows, evidence


def _loops(output: ModelOutput) -> list[tuple[int, bool]]:
    if output.passes is None or output.settled is None:
        return []
    return list(zip(output.passes.tolist(), output.settled.tolist(), strict=True))


def _level_sums(levels: Sequence[LevelOutput]) -> NDArray[np.float64]:
    """Steps, events and summed selectivity of each level in a batch, without padding."""
    rows = []
    for level in levels:
        selective = level.selectivity
        total = 0.0 if selective is None else float((selective * level.mask).sum())
        rows.append([float(level.mask.sum()), float(level.passed.mask.sum()), total])
    return np.array(rows).reshape(-1, 3)
