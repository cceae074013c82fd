"""Losses and errors of a model on a set of cuts; a check that a model fits its data."""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import torch
from rapidfuzz.distance import Levenshtein
from torch import nn

from speechasym.errors import ConfigError, TrainingError
from speechasym.levels import ctc
from speechasym.training.dataset import Batch, Dataset
from speechasym.training.losses import autocast


class Evaluation(NamedTuple):
    """The result of a model on a set of cuts."""

    losses: dict[str, float]  # {head: CTC loss, nats per label}
    errors: dict[str, float]  # {head: error rate of greedy decoding}
    hypotheses: dict[str, dict[str, list[str]]]  # {head: {cut: symbols}}


@torch.no_grad()
def evaluate(
    model: nn.Module,
    data: Dataset,
    *,
    batch_seconds: float = 120.0,
    device: torch.device | str = "cpu",
    precision: str = "float32",
) -> Evaluation:
    """Return losses, errors and greedy hypotheses of all heads; the model's mode is restored.

    Unknown words stay in the reference, so that <unk> is always an error.
    """
    device = torch.device(device)
    training = model.training
    model.eval()
    sums: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    hypotheses: dict[str, dict[str, list[str]]] = {head: {} for head in data.inventories}
    try:
        for batch in data.in_order(batch_seconds):
            batch = batch.to(device)
            with autocast(device, precision):
                output = model(batch.features, batch.lengths)
            for head, inventory in data.inventories.items():
                log_probs, lengths = output.heads[head]
                loss, fits = ctc.loss(log_probs, lengths, *batch.targets[head])
                sums[head] += float(loss)
                counts[head] += int(batch.targets[head][1].cpu()[fits].sum())
                for name, row in zip(batch.ids, ctc.greedy(log_probs, lengths), strict=True):
                    hypotheses[head][name] = ctc.symbols(row, inventory)
    finally:
        model.train(training)
    return Evaluation(
        {head: sums[head] / max(1, counts[head]) for head in hypotheses},
        {head: _error_rate(data, head, rows) for head, rows in hypotheses.items()},
        hypotheses,
    )


def _error_rate(data: Dataset, head: str, hypotheses: Mapping[str, list[str]]) -> float:
    errors = total = 0
    for name, reference in zip(data.ids, data.references[head], strict=True):
        errors += Levenshtein.distance(reference, hypotheses[name])
        total += len(reference)
    return errors / max(1, total)


@torch.no_grad()
def check_model(model: nn.Module, batch: Batch, sizes: Mapping[str, int]) -> None:
    """Check on one batch that a model's output fits the {head: symbols}.

    Raises:
        ConfigError: a head is missing, or is not (B, F', V) log-probabilities of its inventory.
        TrainingError: most cuts have more labels than the head has steps.
    """
    training = model.training
    model.eval()
    output = model(batch.features, batch.lengths)
    model.train(training)
    for head, count in sizes.items():
        if head not in output.heads:
            known = ", ".join(output.heads) or "none"
            raise ConfigError("model", f"has no head {head} (heads: {known})", "Add it there")
        log_probs, lengths = output.heads[head]
        shape = tuple(log_probs.shape)
        if len(shape) != 3 or shape[::2] != (len(batch.ids), count + 1):
            expected = f"({len(batch.ids)}, steps, {count + 1})"
            problem = f"head {head} must have shape {expected}, got {shape}"
            raise ConfigError("model", problem, "Fix the head")
        if int(lengths.max()) > shape[1]:
            problem = f"head {head} has {shape[1]} steps, but reports {int(lengths.max())}"
            raise ConfigError("model", problem, "Fix its lengths")
        _, fits = ctc.loss(log_probs, lengths, *batch.targets[head])
        if 2 * int((~fits).sum()) > len(fits):
            first = int(fits.long().argmin())
            problem = (
                f"{int((~fits).sum())} of {len(fits)} cuts have more labels than steps, such as "
                f"{batch.ids[first]}: {int(batch.targets[head][1][first])} labels, "
                f"{int(lengths[first])} steps"
            )
            remedy = "Let the model keep more steps (stride, events), or raise data.features.rate"
            raise TrainingError(head, problem, remedy)
