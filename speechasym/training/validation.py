"""Losses and errors of a recogniser on a set of cuts.

Shapes: B utterances, F' frames of a head's output, V classes.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as nnf
from rapidfuzz.distance import Levenshtein
from torch import Tensor, nn

from speechasym.errors import ConfigError, TrainingError
from speechasym.levels import ctc
from speechasym.training.dataset import Batch, Dataset

log = logging.getLogger(__name__)
SMOOTHING = 0.1  # of the framewise loss; without it the loss learns the training speakers by heart


class Evaluation(NamedTuple):
    """What a set of cuts gave."""

    losses: dict[str, float]  # {head: CTC loss, nats for each label}
    errors: dict[str, float]  # {head: error rate of greedy decoding}
    hypotheses: dict[str, dict[str, list[str]]]  # {head: {cut: tokens}}
    left_out: dict[str, list[str]]  # {head: cuts with more labels than frames}


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """bfloat16 where it is asked for; `auto`: on CUDA."""
    if precision == "bfloat16" or (precision == "auto" and device.type == "cuda"):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def framewise(
    log_probs: Tensor, spans: tuple[Tensor, Tensor], lengths: Tensor, frames: Tensor
) -> Tensor:
    """Mean of -log p of the phone at the middle of each step, blank left aside; 0 if none is known.

    The blank is CTC's own; among the symbols each step can be told which one it hears. A share of
    the target is spread over all symbols (`SMOOTHING`): near its edges a phone is less than sure.

    Args:
        log_probs: (B, F', V); spans: frames from ... to under each step, (B, F') each;
        lengths: (B,) steps; frames: (B, F) classes, 0 where none is known.
    """
    middle = (spans[0] + spans[1]) // 2
    target = frames.gather(1, middle.clamp(0, frames.shape[1] - 1))
    step = torch.arange(target.shape[1], device=target.device)
    target = target * (step < lengths[:, None])
    chosen = target > 0
    if not bool(chosen.any()):
        return log_probs.sum() * 0
    scores = log_probs[..., 1:][chosen].float()
    return nnf.cross_entropy(scores, target[chosen] - 1, label_smoothing=SMOOTHING)


@torch.no_grad()
def evaluate(
    model: nn.Module,
    data: Dataset,
    *,
    batch_seconds: float = 120.0,
    device: torch.device | str = "cpu",
    precision: str = "float32",
) -> Evaluation:
    """Losses, errors and greedy hypotheses of all heads; the model is set back to training after.

    The reference has the words as they are, so that <unk> is always an error.
    """
    device = torch.device(device)
    training = model.training
    model.eval()
    sums: dict[str, float] = defaultdict(float)
    labels: dict[str, int] = defaultdict(int)
    hypotheses: dict[str, dict[str, list[str]]] = {head: {} for head in data.inventories}
    left_out: dict[str, list[str]] = {head: [] for head in data.inventories}
    try:
        for batch in data.in_order(batch_seconds):
            batch = batch.to(device)
            with autocast(device, precision):
                output = model(batch.features, batch.lengths)
            for head, inventory in data.inventories.items():
                log_probs, lengths = output.heads[head]
                lost, fits = ctc.loss(log_probs, lengths, *batch.targets[head])
                sums[head] += float(lost)
                labels[head] += int(batch.targets[head][1].cpu()[fits].sum())
                left_out[head] += [n for n, fit in zip(batch.ids, fits, strict=True) if not fit]
                for name, row in zip(batch.ids, ctc.greedy(log_probs, lengths), strict=True):
                    hypotheses[head][name] = ctc.symbols(row, inventory)
    finally:
        model.train(training)
    return Evaluation(
        {head: sums[head] / max(1, labels[head]) for head in hypotheses},
        {head: _error(data, head, found) for head, found in hypotheses.items()},
        hypotheses,
        left_out,
    )


def _error(data: Dataset, head: str, found: Mapping[str, list[str]]) -> float:
    wrong = total = 0
    for name, reference in zip(data.ids, data.references[head], strict=True):
        wrong += Levenshtein.distance(reference, found[name])
        total += len(reference)
    return wrong / max(1, total)


@torch.no_grad()
def probe(model: nn.Module, batch: Batch, classes: Mapping[str, int]) -> None:
    """Check on one batch that a model gives what training needs.

    Raises:
        ConfigError: a head is missing, or is not (B, F', V) log-probabilities of its inventory.
        TrainingError: most cuts have more labels than the head has frames.
    """
    training = model.training
    model.eval()
    output = model(batch.features, batch.lengths)
    model.train(training)
    for head, count in classes.items():
        if head not in output.heads:
            known = ", ".join(output.heads) or "none"
            raise ConfigError("model", f"it has no head {head}; it has {known}", "Add it there")
        log_probs, lengths = output.heads[head]
        right = log_probs.ndim == 3 and len(log_probs) == len(batch.ids)
        if not right or log_probs.shape[2] != count + 1:
            expected = f"({len(batch.ids)}, frames, {count + 1})"
            raise ConfigError(
                "model", f"its head {head} is {tuple(log_probs.shape)}, not {expected}", "Mend it"
            )
        if int(lengths.max()) > log_probs.shape[1]:
            raise ConfigError(
                "model",
                f"its head {head} has {log_probs.shape[1]} frames, and says {int(lengths.max())}",
                "Mend its lengths",
            )
        _, fits = ctc.loss(log_probs, lengths, *batch.targets[head])
        if 2 * int((~fits).sum()) > len(fits):
            first = int(fits.long().argmin())
            raise TrainingError(
                head,
                f"{int((~fits).sum())} of {len(fits)} cuts have more labels than frames, such as "
                f"{batch.ids[first]}: {int(batch.targets[head][1][first])} labels, "
                f"{int(lengths[first])} frames",
                "Let the model keep more steps (stride, events), or raise data.features.rate",
            )
