"""Feedback: the levels above correct those below, for several passes (C13).

A pass is the whole hierarchy from the lowest level to the highest. In each pass after the first, a
level also hears what the one above expected of it in the pass before. For each event of level l,
level l + 1 predicts

    q = softmax(A y), d = a y       shares of l's units in the event, log2 of its steps

and sends q, q - p, d and d - log2 n, where p and n are what the event really was: the prediction,
and how far the level is from it. A step of l hears what was sent for the event, of the pass before,
that covers it; events may differ from pass to pass. What is sent is bounded, and one pass maps it
to levels whose outputs are normalised, so the loop cannot diverge; it can go round in circles.

The predictions learn from the local loss, cross-entropy and squared error, and from the heads,
whose gradients flow through all passes. Units are dropped on the way in training: without that a
level need not listen.

Shapes: B batch, F steps, E events, D width of the level above, U units of the level below.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechasym.levels import events
from speechasym.levels.base import hide
from speechasym.levels.config import HierarchyConfig, LevelConfig
from speechasym.levels.events import Steps
from speechasym.levels.units import shares

if TYPE_CHECKING:
    from speechasym.levels.level import Level, LevelOutput

LONGEST = 16.0  # log2 of the steps of the longest event that a level can be told of
Messages = Sequence[Steps | None]  # of each level, what it hears; None: nothing


class Sent(NamedTuple):
    """What a level was told, and how well it was predicted."""

    message: Steps  # (B, E, 2 U + 2), at the steps of the level above
    loss: Tensor  # of the prediction


def hearing(config: HierarchyConfig, number: int) -> LevelConfig:
    """Return the configuration of a level, with room for what it hears from the one above."""
    level = config.levels[number]
    if config.feedback.passes == 1 or number == len(config.levels) - 1 or not level.hears:
        return level
    return replace(level, context=2 * level.units + 2)


class Expectation(nn.Module):
    """What a level expects of the units and events below it.

    Args:
        width: D of the level.
        units: U of the level below.
        dropout: share of the channels of a message that an utterance does not get in training.
        gain: factor of the shares that are sent.
    """

    def __init__(self, width: int, units: int, dropout: float = 0.0, gain: float = 1.0) -> None:
        super().__init__()
        self.dropout, self.gain = dropout, gain
        self.predict = nn.Linear(width, units + 1)

    def forward(self, above: Steps, actual: Steps) -> Sent:
        """Return what is sent.

        Args:
            above: steps of the level, y (B, E, D).
            actual: shares of the units below, and log2 of the steps (B, E, U + 1), at its steps.
        """
        y = self.predict(F.rms_norm(above.y, above.y.shape[-1:], eps=1e-6)).float()
        units, size = y[..., :-1].log_softmax(-1), y[..., -1:].clamp(0, LONGEST)
        p, n = actual.y[..., :-1], actual.y[..., -1:]
        missed = -(p * units).sum(-1) + (y[..., -1] - n[..., 0]).square()
        loss = (missed * above.mask).sum() / above.mask.sum().clamp(min=1)
        q = units.exp()
        message = torch.cat([self.gain * q, self.gain * (q - p), size, size - n], -1)
        kept = F.dropout(message.new_ones(len(message), 1, message.shape[2]), self.dropout,
                         self.training)  # fmt: skip
        message = hide((message * kept).to(above.y.dtype), above.mask)
        return Sent(replace(above, y=message), loss)


def listen(
    expectations: Sequence[nn.Module], levels: Sequence["Level"], outputs: Sequence["LevelOutput"]
) -> list[Sent]:
    """Return what each level but the highest hears after a pass.

    Args:
        expectations: of each level but the lowest.
        levels: of the hierarchy, from the lowest.
        outputs: theirs.
    """
    return [
        expectation(above, level.at_own_steps(happened(below)))
        for expectation, level, below, above in zip(
            expectations, levels[1:], outputs, outputs[1:], strict=False
        )
    ]


def happened(level: "LevelOutput") -> Steps:
    """Return the shares of a level's units, and log2 of the steps, of each of its events."""
    assert level.activation is not None
    p = shares(level.activation.float())
    if level.events is None:
        return replace(level.passed, y=F.pad(p, (0, 1)))
    p = events.pool(p, level.mask.to(p.dtype), level.events)
    n = level.events.size.clamp(min=1).to(p.dtype).log2()
    return replace(level.passed, y=torch.cat([p, n[..., None]], -1))


def at(message: Steps, steps: Steps) -> Tensor:
    """Return what was sent (B, E, C) for the event in the middle of each step: (B, F, C)."""
    beyond = torch.iinfo(message.end.dtype).max
    end = message.end.masked_fill(~message.mask, beyond)
    middle = (steps.start + steps.end) // 2
    event = torch.searchsorted(end.contiguous(), middle.contiguous(), right=True)
    event = torch.minimum(event, (message.mask.sum(1, keepdim=True) - 1).clamp(min=0))
    index = event[..., None].expand(*event.shape, message.y.shape[2])
    return hide(message.y.gather(1, index), steps.mask)


def change(before: Sequence["LevelOutput"], after: Sequence["LevelOutput"]) -> Tensor:
    """Return (B,) how far the units have moved from one pass to the next, 0 to 1.

    Half the sum of the differences of their shares, as a mean over the steps of the lowest level;
    of the level that has moved most.
    """
    own = after[0]
    moved = torch.zeros(len(own.mask), device=own.mask.device)
    for old, new in zip(before, after, strict=True):
        if new.activation is None or old.activation is None:
            continue
        ends = (at(replace(x, y=shares(x.activation)), own) for x in (old, new))  # type: ignore[arg-type]
        first, second = ends
        distance = 0.5 * (first - second).abs().sum(-1)
        moved = torch.maximum(moved, distance.sum(1) / own.mask.sum(1).clamp(min=1))
    return moved


def kept(old: Steps, new: Steps, settled: Tensor) -> Steps:
    """Return the old message for the utterances (B,) that have settled, the new one for others."""
    most = max(old.y.shape[1], new.y.shape[1])

    def chosen(a: Tensor, b: Tensor) -> Tensor:
        a, b = (F.pad(t, (0, 0) * (t.ndim - 2) + (0, most - t.shape[1])) for t in (a, b))
        return torch.where(settled.view(-1, *(1,) * (a.ndim - 1)), a, b)

    return Steps(*(chosen(getattr(old, n), getattr(new, n)) for n in ("y", "mask", "start", "end")))
