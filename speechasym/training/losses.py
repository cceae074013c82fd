"""The loss of a batch: CTC of each head, framewise cross-entropy, and the levels' own losses.

Shapes: B utterances, F frames, F' steps of a head's output, V classes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as nnf
from numpy.typing import NDArray
from torch import Tensor, nn

from speechasym.levels import ctc
from speechasym.training.config import TrainConfig
from speechasym.training.distillation import Teacher, teacher_loss
from speechasym.training.on_device import Batch

Follow = Mapping[str, NDArray[np.float64]]  # {head: (V, V) as `symbols.follow` returns it}
NOTHING_FOLLOWS: Follow = {}
SMOOTHING = 0.1  # of the framewise loss; without it the loss learns the training speakers by heart


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Compute in bfloat16 if asked to; `auto` does on CUDA."""
    enabled = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def framewise(
    log_probs: Tensor, spans: tuple[Tensor, Tensor], lengths: Tensor, frame_labels: Tensor
) -> Tensor:
    """Return the mean of -log p of the phone in the middle of each step; 0 if none is known.

    The blank is left to CTC: among the symbols, each step has one right answer. A share of the
    target is spread over all symbols (`SMOOTHING`), because phones are uncertain near their edges.

    Args:
        log_probs: (B, F', V); spans: first frame of each step, and the one after its last, (B, F')
            each; lengths: (B,) steps; frame_labels: (B, F), 0 where unknown.
    """
    middle = (spans[0] + spans[1]) // 2
    target = frame_labels.gather(1, middle.clamp(0, frame_labels.shape[1] - 1))
    step = torch.arange(target.shape[1], device=target.device)
    target = target * (step < lengths[:, None])
    known = target > 0
    if not bool(known.any()):
        return log_probs.sum() * 0
    scores = log_probs[..., 1:][known].float()
    return nnf.cross_entropy(scores, target[known] - 1, label_smoothing=SMOOTHING)


def head_losses(
    heads: Mapping[str, tuple[Tensor, Tensor]],
    spans: Mapping[str, tuple[Tensor, Tensor]],
    batch: Batch,
    config: TrainConfig,
    totals: Mapping[str, int],
    share: float,
    follow: Follow = NOTHING_FOLLOWS,
) -> tuple[Tensor, dict[str, Tensor], dict[str, list[str]]]:
    """Compute the weighted losses of heads (log-probabilities and lengths), as `batch_loss`."""
    loss = torch.zeros((), device=batch.features.device)
    parts: dict[str, Tensor] = {}
    left_out: dict[str, list[str]] = {}
    weights = {head: weight for head, weight in config.heads.used.items() if head in heads}
    if not weights:
        return loss, parts, left_out
    # at once, because CUDA has to be waited for
    steps = torch.stack([heads[head][1] for head in weights]).cpu()
    for (head, weight), lengths in zip(weights.items(), steps, strict=True):
        value, fits = ctc.loss(heads[head][0], lengths, *batch.targets[head])
        if head in follow:
            steps_ = torch.where(fits, lengths, 0)
            value = value + config.mmi * ctc.rivals(heads[head][0], steps_, follow[head])
        value = value / totals[head]
        loss = loss + weight * value
        parts[head] = value.detach()
        left_out[head] = [name for name, fit in zip(batch.ids, fits, strict=True) if not fit]
    if config.framewise and "phones" in weights:
        assert batch.frame_labels is not None  # loaded for this loss
        log_probs, lengths = heads["phones"]
        value = framewise(log_probs, spans["phones"], lengths, batch.frame_labels)
        loss = loss + share * config.framewise * value
        parts["frames"] = share * value.detach()
    return loss, parts, left_out


def batch_loss(
    model: nn.Module,
    batch: Batch | None,
    config: TrainConfig,
    totals: Mapping[str, int],
    share: float,
    device: torch.device,
    follow: Follow = NOTHING_FOLLOWS,
    teacher: Teacher | None = None,
    **options: Any,
) -> tuple[Tensor, dict[str, Tensor], dict[str, list[str]]]:
    """Compute the loss of this process's share of a batch, if any.

    Args:
        totals: {head: labels} of the whole batch.
        share: of the whole batch's seconds.
        follow: {head: which symbols follow which} in the training set, if the loss needs it.
        teacher: to learn from beside the labels, if any, on the device.
        options: for the model.

    Returns:
        The loss; its parts, unweighted: {head: nats per label}, "local", "frames", "teacher"; and
        {head: cuts left out because they have more labels than steps}.
    """
    parts = {name: torch.zeros((), device=device) for name in config.loss_parts}
    loss = torch.zeros((), device=device)
    if batch is None:
        return loss, parts, {}
    with autocast(device, config.precision):
        output = model(batch.features, batch.lengths, **options)
    spans = output.spans if config.framewise else {}  # other models need not have any
    value, found, left_out = head_losses(output.heads, spans, batch, config, totals, share, follow)
    loss, parts = loss + value, parts | found
    for value in output.losses.values():
        loss = loss + share * value
        parts["local"] = parts["local"] + share * value.detach()
    if teacher is not None:
        with autocast(device, config.precision):
            value, parts["teacher"] = teacher_loss(output, teacher, batch, config, totals)
        loss = loss + value
    return loss, parts, left_out
