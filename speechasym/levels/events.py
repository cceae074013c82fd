"""Events: the few steps that a level hands on in place of its many (C15).

A level's winner holds until another unit beats it by a width (`ops.ref.hold`): the steps between
two changes are one event. Events, or windows of a fixed length, are pooled with learned weights, so
that gradients reach every step of an event; where the boundaries lie has no gradient. The width
follows a wanted rate of events instead (`Width`).

Shapes: B batch, F steps of a level, E events of the batch's longest, D channels, U units.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from speechasym.errors import ConfigError
from speechasym.ops import scan

NARROWEST, WIDEST = 1e-4, 0.999  # of activations, whose differences lie in 0 to 1
HALVINGS = 12  # of the range of widths, in which the first one is found
STICKY = 0.1  # share of the error in the rate (logarithm) by which a width moves, a batch


class Segments(NamedTuple):
    """Which steps belong to which event."""

    event: Tensor  # (B, F) event of each step, from 0; steps past the end: E
    events: Tensor  # (B,) how many
    size: Tensor  # (B, E) steps of each event; 0 past the end

    @property
    def mask(self) -> Tensor:
        """(B, E) which events exist."""
        return self.size > 0


def hold(activation: Tensor, mask: Tensor, width: float) -> Tensor:
    """Winners (B, F) of activations (B, F, U), held against rivals by `width`. No gradient."""
    lengths = mask.sum(1)
    if activation.device.type == "cpu":
        from speechasym.ops import cpu_hysteresis as cpu  # numba takes 0.3 s to import

        values = activation.detach().float().numpy()
        return torch.from_numpy(cpu.hold(values, width, lengths.numpy())[0])
    return scan.hold(activation.detach(), width, lengths)[0]


def changes(winner: Tensor, mask: Tensor) -> Segments:
    """An event for every run of one winner (B, F); mask (B, F) has the real steps first."""
    new = torch.ones_like(winner)
    new[:, 1:] = (winner[:, 1:] != winner[:, :-1]).long()
    return _segments(new.cumsum(1) - 1, mask)


def windows(mask: Tensor, stride: int) -> Segments:
    """An event for every `stride` steps, the last one shorter: the baseline."""
    step = torch.arange(mask.shape[1], device=mask.device)
    return _segments((step // stride).expand(mask.shape), mask)


def _segments(index: Tensor, mask: Tensor) -> Segments:
    count = torch.where(mask, index, -1).amax(1) + 1 if mask.shape[1] else mask.sum(1)
    events = int(count.max()) if len(count) else 0
    index = torch.where(mask, index, events)
    size = index.new_zeros(len(index), events + 1).scatter_add_(1, index, mask.long())
    return Segments(index, count, size[:, :events])


def pool(x: Tensor, weight: Tensor, segments: Segments) -> Tensor:
    """Weighted means over events: x (B, F, D), weights (B, F) > 0 -> (B, E, D); 0 where none is."""
    batch, events = segments.size.shape
    index = segments.event[..., None]
    total = x.new_zeros(batch, events + 1, 1).scatter_add(1, index, weight[..., None].to(x.dtype))
    share = weight[..., None] / total.gather(1, index).clamp(min=1e-20)
    pooled = x.new_zeros(batch, events + 1, x.shape[2])
    return pooled.scatter_add(1, index.expand(x.shape), x * share)[:, :events]


def spans(start: Tensor, end: Tensor, segments: Segments) -> tuple[Tensor, Tensor]:
    """Times of events from times of steps: start and end (B, F) -> (B, E); 0 where none is."""
    batch, events = segments.size.shape
    first = start.new_full((batch, events + 1), torch.iinfo(start.dtype).max)
    first = first.scatter_reduce(1, segments.event, start, "amin")[:, :events]
    last = end.new_zeros(batch, events + 1)
    last = last.scatter_reduce(1, segments.event, end, "amax")[:, :events]
    return torch.where(segments.mask, first, 0), torch.where(segments.mask, last, 0)


class Width(nn.Module):
    """The width of a level's hysteresis: it follows a wanted rate of events while training.

    `find` sets it before training; then more events than wanted widen it and fewer narrow it, by a
    few per cent a batch. So the rate is what a person chooses, as the level's resource, and the
    width is what the level finds.

    Args:
        rate: wanted events per step, between 0 and 1.
        width: to begin with, of activations between 0 and 1.
    """

    log_width: Tensor

    def __init__(self, rate: float, width: float = 0.05) -> None:
        super().__init__()
        if not 0 < rate <= 1:
            raise ConfigError("rate", f"{rate} is not from 0 to 1", "Give events per step")
        if not NARROWEST <= width <= WIDEST:
            raise ConfigError(
                "width", f"{width} is not from {NARROWEST} to {WIDEST}", "0.05 is usual"
            )
        self.rate = rate
        self.register_buffer("log_width", torch.tensor(width).log())

    @property
    def width(self) -> float:
        """As it is now."""
        return float(self.log_width.exp())

    @torch.no_grad()
    def find(self, heard: Sequence[tuple[Tensor, Tensor]]) -> None:
        """The width that gives activations (B, F, U) under masks (B, F) the wanted rate."""
        steps = sum(int(mask.sum()) for _, mask in heard)
        low, high = math.log(NARROWEST), math.log(WIDEST)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            width = math.exp(middle)
            events = sum(int(changes(hold(a, mask, width), mask).events.sum()) for a, mask in heard)
            low, high = (middle, high) if events > self.rate * steps else (low, middle)
        self.log_width.fill_((low + high) / 2)

    @torch.no_grad()
    def follow(self, events: Tensor, steps: Tensor) -> None:
        """After a batch with so many events in so many steps."""
        error = (events / steps.clamp(min=1) / self.rate).clamp(0.25, 4).log()
        self.log_width.add_(STICKY * error.to(self.log_width))
        self.log_width.clamp_(math.log(NARROWEST), math.log(WIDEST))
