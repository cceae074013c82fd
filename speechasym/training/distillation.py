"""A finished run as teacher: a student learns its posteriors beside the labels [1].

Steps of teacher and student need not agree: strides differ, and events end where each has heard
them. A moment has the student's step and the teacher's that it falls into; each step of the student
learns from the teacher's steps within it by the share of its time that they take.

Shapes: B utterances, F frames, S steps of a head, K slots of a step, V classes, P pairs of steps.

[1] G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network",
    arXiv:1503.02531, 2015.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from speechasym.config import leaves, to_dict
from speechasym.errors import ConfigError
from speechasym.levels.level import ModelOutput
from speechasym.training import checkpoints, models
from speechasym.training.config import TrainConfig
from speechasym.training.labels import Inventory
from speechasym.training.on_device import Batch


class Teacher(NamedTuple):
    """A finished run that another learns from."""

    model: nn.Module  # in evaluation mode
    config: TrainConfig  # of the teacher
    inventories: Inventory
    fingerprint: str  # sha256 of its tensors


def open_teacher(config: TrainConfig) -> Teacher | None:
    """Open the teacher of a configuration; None without one.

    Raises:
        CheckpointError: the run is missing, incomplete or of another version.
        ConfigError: it hears other features, lacks a head, or has other slots in a step.
    """
    if (run := config.teacher.run) is None:
        return None
    model, its, inventories = models.open_model(run)
    before, now = (dict(leaves(to_dict(c.data.features))) for c in (its, config))
    for key in before | now:
        if before.get(key) != now.get(key):
            problem = f"{run} has {before.get(key)}, and this run {now.get(key)}"
            remedy = "Use the features of the teacher: the same set, frame rate and columns"
            raise ConfigError(f"data.features.{key}", problem, remedy)
    for head in config.teacher.heads_of(config):
        if head not in inventories:
            problem = f"{run} has no head {head}; it has {', '.join(inventories)}"
            raise ConfigError("teacher.run", problem, "Choose others by teacher.heads")
        theirs, mine = (slots_of(c, head) for c in (its, config))
        if theirs != mine:
            problem = f"{run} has {theirs} in a step, and this run {mine}"
            remedy = "Use the same, or choose other heads by teacher.heads"
            raise ConfigError(f"model.heads.{head}.slots", problem, remedy)
    if bool(its.mmi) != bool(config.mmi):
        problem = f"{run} was trained with mmi={its.mmi:g}, and this run has mmi={config.mmi:g}"
        raise ConfigError("teacher.run", problem, f"Use mmi={its.mmi:g}")
    _, meta = checkpoints.load_model(run)
    return Teacher(model.requires_grad_(False), its, inventories, meta["sha256"])


def ready(
    teacher: Teacher | None, config: TrainConfig, inventories: Inventory, device: torch.device
) -> Teacher | None:
    """Return a teacher on the device. Raises `ConfigError` if its symbols are not the student's."""
    if teacher is None:
        return None
    for head in config.teacher.heads_of(config):
        mine, theirs = inventories[head], teacher.inventories[head]
        if mine == theirs:
            continue
        missing = [s for s in theirs if s not in mine] or [s for s in mine if s not in theirs]
        what = f"such as {missing[0]!r} in one of them only" if missing else "in another order"
        problem = f"{config.teacher.run} has {len(theirs)} {head}, and the cuts {len(mine)}, {what}"
        remedy = "Train on the teacher's cuts with its labels, or choose heads by teacher.heads"
        raise ConfigError("teacher.run", problem, remedy)
    return teacher._replace(model=teacher.model.to(device))


def slots_of(config: TrainConfig, head: str) -> int:
    """Return how many symbols one step of a head may stand for."""
    heads: Any = getattr(config.model, "heads", None)
    return 1 if heads is None else int(getattr(heads, head).slots)


def teacher_loss(
    output: ModelOutput, teacher: Teacher, batch: Batch, config: TrainConfig,
    totals: Mapping[str, int],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Return the weighted loss of a batch by its teacher, and the same without weights.

    Args:
        output: of the student.
        totals: {head: labels} of the whole batch, as for the loss of the labels.

    Returns:
        Scalars: the sum over heads of the divergence of the student's posteriors from the
        teacher's, KL(teacher || student) T^2 in nats per label, T the temperature.
    """
    heard = batch.features if batch.clean is None else batch.clean
    with torch.no_grad():
        answer = teacher.model(heard, batch.lengths)
    loss = plain = torch.zeros((), device=batch.features.device)
    for head in config.teacher.heads_of(config):
        slots = slots_of(config, head)
        value = divergence(
            _steps(output, head, slots), _steps(answer, head, slots), batch.lengths,
            config.teacher.temperature,
        ) / totals[head]  # fmt: skip
        loss = loss + config.teacher.weight * config.heads.used[head] * value
        plain = plain + value.detach()
    return loss, plain


class Steps(NamedTuple):
    """The steps of a head."""

    log_probs: Tensor  # (B, S, K, V)
    start: Tensor  # (B, S) first frame; beyond all frames where padded


def _steps(output: ModelOutput, head: str, slots: int) -> Steps:
    log_probs, lengths = output.heads[head]
    log_probs = log_probs.unflatten(1, (-1, slots))
    start = output.spans[head][0][:, ::slots]
    step = torch.arange(start.shape[1], device=start.device)
    padded = step >= torch.div(lengths, slots, rounding_mode="floor")[:, None]
    return Steps(log_probs, start.masked_fill(padded, torch.iinfo(start.dtype).max))


def divergence(mine: Steps, theirs: Steps, lengths: Tensor, temperature: float = 1.0) -> Tensor:
    """Sum KL(theirs || mine) T^2 over the student's steps, in nats.

    lengths: (B,) frames of each utterance.
    """
    row, my_step, their_step, weight = pairs(mine.start, theirs.start, lengths)
    if not len(row):
        return mine.log_probs.sum() * 0
    scores = mine.log_probs[row, my_step].float()  # (P, K, V)
    target = theirs.log_probs[row, their_step].float()
    if temperature != 1:
        scores, target = ((x / temperature).log_softmax(-1) for x in (scores, target))
    each = nn.functional.kl_div(scores, target, reduction="none", log_target=True).sum((1, 2))
    return temperature**2 * (weight * each).sum()


def pairs(mine: Tensor, theirs: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
    """Return which steps of two nets are at the same time.

    Args:
        mine: (B, S) first frame of each of the student's steps, ascending, huge where padded.
        theirs: (B, S') likewise of the teacher's.
        lengths: (B,) frames.

    Returns:
        Utterance, student's step, teacher's step (P,) int64, and which share of the student's step
        each of these takes (P,): they sum to 1 for each step.
    """
    frames = int(lengths.max()) if len(lengths) else 0
    frame = torch.arange(frames, device=mine.device).expand(len(mine), frames).contiguous()
    at = [
        (torch.searchsorted(start.contiguous(), frame, right=True) - 1).clamp(min=0)
        for start in (mine, theirs)
    ]
    known = frame < lengths[:, None]
    row = known.nonzero()[:, 0]
    places = torch.stack([row, at[0][known], at[1][known]])
    places, count = places.unique_consecutive(dim=1, return_counts=True)
    row, my_step, their_step = places
    step = row * mine.shape[1] + my_step
    total = torch.zeros(mine.numel(), device=mine.device).index_add_(0, step, count.float())
    return row, my_step, their_step, count / total[step]
