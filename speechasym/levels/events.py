"""Events: the few steps that a level passes on in place of its many (C15).

A level's winner holds until another unit beats it by a scale (`ops.ref.hold`); the steps between
two changes are one event; `expectation` and `changed` have other events. Events, or windows of a
fixed length, are pooled with learned weights, so that gradients reach every step of an event; the
boundaries have no gradient. Instead, the scale tracks a target rate of events (`HysteresisScale`).

Shapes: B batch, F steps of a level, E events of the longest row, D channels, U units.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speechasym.ops import scan

SMALLEST, LARGEST = 1e-4, 0.999  # scales of activations, whose differences lie in 0 to 1
HALVINGS = 12  # of the range of scales in the initial search
TRACKING = 0.1  # share of the error of the log rate by which a batch moves the scale


@dataclass(frozen=True, eq=False)
class Steps:
    """Steps of a level, and the frames of the features under each."""

    y: Tensor  # (B, F, D)
    mask: Tensor  # (B, F) the real steps, which come first
    start: Tensor  # (B, F) first frame,
    end: Tensor  # and the frame after the last

    @classmethod
    def of_frames(cls, features: Tensor, mask: Tensor) -> "Steps":
        """Return the frames (B, F, D) of features, with their mask (B, F), as steps."""
        start = torch.arange(features.shape[1], device=features.device).expand(mask.shape)
        return cls(features, mask, start, start + 1)


class Events(NamedTuple):
    """Which steps belong to which event."""

    of_step: Tensor  # (B, F) event of each step, from 0; E for padding
    size: Tensor  # (B, E) steps of each event; 0 for padding
    ended: Tensor  # (B, F) events that are known to have ended, once a step has been read

    @property
    def mask(self) -> Tensor:
        """(B, E) the real events."""
        return self.size > 0

    @property
    def number(self) -> Tensor:
        """(B,) of events."""
        return self.mask.sum(1)


def hold(
    activation: Tensor, mask: Tensor, scale: float | Tensor, before: Tensor | None = None
) -> Tensor:
    """Return winners (B, F) of activations (B, F, U), held against rivals; without gradient.

    The scale may be a tensor on the device, which need not be read then. `before`: (B,) that held
    before, -1 for none.
    """
    lengths = mask.sum(1)
    if activation.device.type == "cpu":
        from speechasym.ops import cpu_hysteresis  # numba takes 0.3 s to import

        values = activation.detach().float().numpy()
        held = None if before is None else before.numpy()
        return torch.from_numpy(cpu_hysteresis.hold(values, float(scale), lengths.numpy(), held)[0])
    return scan.hold(activation.detach(), scale, lengths, before)[0]


def changes(label: Tensor, mask: Tensor, ended: Tensor | None = None) -> Events:
    """Return an event for every run of one label (B, F), such as the unit that holds.

    ended: (B, F), as of `Events`; default: those whose next one has begun.
    """
    new = torch.ones_like(label)
    new[:, 1:] = (label[:, 1:] != label[:, :-1]).long()
    run = new.cumsum(1)
    most = int((run * mask).max()) if mask.numel() else 0
    return _events(run - 1, mask, most, run - 1 if ended is None else ended)


def windows(mask: Tensor, stride: int) -> Events:
    """Return an event for every `stride` steps, the last one shorter: the baseline."""
    step = torch.arange(mask.shape[1], device=mask.device)
    of_step, ended = ((s // stride).expand(mask.shape) for s in (step, step + 1))
    return _events(of_step, mask, -(-mask.shape[1] // stride), ended)


def _events(of_step: Tensor, mask: Tensor, most: int, ended: Tensor) -> Events:
    of_step = torch.where(mask, of_step, most)
    size = of_step.new_zeros(len(of_step), most + 1).scatter_add_(1, of_step, mask.long())
    return Events(of_step, size[:, :most], ended)


def pool(x: Tensor, weight: Tensor, events: Events) -> Tensor:
    """Return weighted means over events: x (B, F, D), weight (B, F) > 0 -> (B, E, D), 0 padded."""
    batch, most = events.size.shape
    index = events.of_step[..., None]
    total = x.new_zeros(batch, most + 1, 1).scatter_add(1, index, weight[..., None].to(x.dtype))
    share = weight[..., None] / total.gather(1, index).clamp(min=1e-20)
    pooled = x.new_zeros(batch, most + 1, x.shape[2])
    return pooled.scatter_add(1, index.expand(x.shape), x * share)[:, :most]


def spans(start: Tensor, end: Tensor, events: Events) -> tuple[Tensor, Tensor]:
    """Return start and end (B, E) of events from those of steps (B, F), 0 padded."""
    batch, most = events.size.shape
    first = start.new_full((batch, most + 1), torch.iinfo(start.dtype).max)
    first = first.scatter_reduce(1, events.of_step, start, "amin")[:, :most]
    last = end.new_zeros(batch, most + 1)
    last = last.scatter_reduce(1, events.of_step, end, "amax")[:, :most]
    return torch.where(events.mask, first, 0), torch.where(events.mask, last, 0)


def pool_steps(steps: Steps, weight: Tensor, events: Events) -> Steps:
    """Return events as steps: weighted means of y, and the frames that they span."""
    y = pool(steps.y, weight, events)
    return Steps(y, events.mask, *spans(steps.start, steps.end, events))


def shared_frames(first: NDArray, end: NDArray) -> NDArray[np.float64]:
    """Start and end (S, 2) of steps in frames; steps with the same frames share them equally."""
    if not len(first):
        return np.zeros((0, 2))
    new = np.concatenate([[True], (first[1:] != first[:-1]) | (end[1:] != end[:-1])])
    group = np.cumsum(new) - 1
    rank = np.arange(len(first)) - np.flatnonzero(new)[group]
    part = (end - first) / np.bincount(group)[group]
    return np.stack([first + rank * part, first + (rank + 1) * part], 1)


class HysteresisScale(nn.Module):
    """The scale of a level's hysteresis, which tracks a target rate of events during training.

    `initialise` sets it before training; afterwards too many events widen it and too few narrow
    it, by a few per cent per batch. So a person chooses the rate, which is the level's resource,
    and the level finds the scale.

    `rate` is the target in events per step, in (0, 1].
    """

    log_width: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("log_width", torch.tensor(0.05).log())

    @property
    def scale(self) -> Tensor:
        """() the current scale, on the device."""
        return self.log_width.exp()

    @torch.no_grad()
    def initialise(self, batches: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Find the scale that gives activations (B, F, U) under masks (B, F) the target rate."""
        steps = sum(int(mask.sum()) for _, mask in batches)
        low, high = math.log(SMALLEST), math.log(LARGEST)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            scale = math.exp(middle)
            count = sum(int(changes(hold(a, m, scale), m).number.sum()) for a, m in batches)
            low, high = (middle, high) if count > self.rate * steps else (low, middle)
        self.log_width.fill_((low + high) / 2)

    @torch.no_grad()
    def track(self, events: Tensor, steps: Tensor) -> None:
        """Move the scale after a batch with so many events in so many steps."""
        error = (events / steps.clamp(min=1) / self.rate).clamp(0.25, 4).log()
        self.log_width.add_(TRACKING * error.to(self.log_width))
        self.log_width.clamp_(math.log(SMALLEST), math.log(LARGEST))
