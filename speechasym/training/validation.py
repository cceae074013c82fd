"""Losses and errors of a model on a set of cuts; a check that a model fits its data."""

from collections.abc import Mapping
from contextlib import ExitStack

import torch
from rapidfuzz.distance import Levenshtein
from torch import nn

from speechasym.errors import ConfigError, TrainingError
from speechasym.levels import ctc
from speechasym.training.dataset import Dataset
from speechasym.training.labels import read_as
from speechasym.training.losses import NOTHING_FOLLOWS, Follow, autocast
from speechasym.training.monitor import Monitor
from speechasym.training.on_device import ON_CPU, Batch, DeviceBatches
from speechasym.training.rules.errors import Task
from speechasym.training.rules.learner import Learner
from speechasym.training.streaming import in_order


@torch.no_grad()
def evaluate(
    model: nn.Module,
    data: Dataset,
    batch_seconds: float = 120.0,
    device: DeviceBatches = ON_CPU,
    precision: str = "float32",
    monitor: Monitor | None = None,
    follow: Follow = NOTHING_FOLLOWS,
) -> tuple[dict[str, float], dict[str, float]]:
    """Return {head: CTC loss, nats per label}, {head: error rate of greedy decoding}.

    The monitor, if any, watches. `follow`: of the heads that are read in sequence.

    Unknown words stay in the reference, so that <unk> is always an error. The model's mode is
    restored.
    """
    training = model.training
    model.eval()
    losses, labels, errors, lengths = (dict.fromkeys(data.inventories, 0.0) for _ in range(4))
    numbers = {name: number for number, name in enumerate(data.ids)}
    read, merged = read_as(data.inventories, data.config.labels)
    with ExitStack() as stack:
        stack.callback(model.train, training)
        if monitor is not None:
            stack.enter_context(monitor.watching())
        for batch in in_order(data, batch_seconds, data.workers, device):
            with autocast(device.device, precision):
                output = model(batch.features, batch.lengths)
            if monitor is not None:
                monitor.add(batch, output)
            for head, inventory in read.items():
                log_probs, steps = output.heads[head]
                loss, fits = ctc.loss(log_probs, steps, *batch.targets[head])
                losses[head] += float(loss)
                labels[head] += int(batch.targets[head][1][fits].sum())
                rows = ctc.greedy(log_probs, steps, follow.get(head), merged.get(head))
                for name, row in zip(batch.ids, rows, strict=True):
                    symbols, known = (
                        ctc.symbols(row, inventory),
                        data.reference(head, numbers[name]),
                    )
                    errors[head] += Levenshtein.distance(known, symbols)
                    lengths[head] += len(known)
    for head in data.inventories:
        losses[head] /= max(1, labels[head])
        errors[head] /= max(1, lengths[head])
    return losses, errors


@torch.no_grad()
def own_loss(
    learner: Learner, data: Dataset, batch_seconds: float = 120.0, device: DeviceBatches = ON_CPU,
    monitor: Monitor | None = None,
) -> float:  # fmt: skip
    """Return the mean loss a frame of a model without heads: the errors of its levels.

    The monitor, if any, watches. The model's mode is restored.
    """
    model = learner.model
    training = model.training
    model.eval()
    total = frames = 0.0
    with ExitStack() as stack:
        stack.callback(model.train, training)
        if monitor is not None:
            stack.enter_context(monitor.watching())
        batches = in_order(data, batch_seconds, data.workers, device, 0 if data.views else None)
        for number, batch in enumerate(batches):
            if monitor is not None and monitor.ids & set(batch.ids):
                monitor.add(batch, model(batch.features, batch.lengths))
            loss, _, _ = learner.loss(Task(batch, {}, 1.0, number))
            count = float(batch.lengths.sum())
            total, frames = total + count * float(loss), frames + count
    return total / max(1.0, frames)


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
        left_out = [n for n, fit in enumerate(fits) if not fit]
        if 2 * len(left_out) > len(fits):
            n = left_out[0]
            example = f"{int(batch.targets[head][1][n])} labels, {int(lengths[n])} steps"
            short = f"{len(left_out)} of {len(fits)} cuts have more labels than steps"
            problem = f"{short}, such as {batch.ids[n]}: {example}"
            remedy = "Let the model keep more steps (stride, events), or raise data.features.rate"
            raise TrainingError(head, problem, remedy)
