"""Events that end where a level no longer knows what comes next (C15).

A level learns to expect which of its units will answer at the next step, from its output at this
one. Inside a word or a phrase it knows better and better what follows; at the end it does not. So
an event ends where the entropy of what is expected has risen by a scale since it last fell by one:
where a play operator on the entropy turns upwards [1]. For letters and words the idea that ends
are where the next item is hard to foresee is that of [2] and [3].

Shapes: B batch, F steps, D width, U units.

[1] M. Brokate, J. Sprekels, "Hysteresis and Phase Transitions", Springer, 1996.
[2] Z. S. Harris, "From phoneme to morpheme", Language 31, 1955.
[3] J. L. Elman, "Finding structure in time", Cognitive Science 14, 1990.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechasym.levels.units import shares
from speechasym.ops import scan


class Rise(NamedTuple):
    """The state of `rises` after a step, and the event of the next one."""

    play: Tensor  # (B, 1)
    up: Tensor  # (B, 1) last direction of the play: 1, or -1
    event: Tensor  # (B, 1) of the next step


class Expectation(nn.Module):
    """From the output of a level, which unit is expected to answer at the next step."""

    def __init__(self, width: int, units: int) -> None:
        super().__init__()
        self.next = nn.Linear(width, units)

    def forward(self, y: Tensor) -> Tensor:
        """Return log-probabilities (B, F, U) for the step after each of y (B, F, D)."""
        return self.next(F.rms_norm(y, y.shape[-1:], eps=1e-6)).float().log_softmax(-1)

    def loss(self, y: Tensor, activation: Tensor, mask: Tensor) -> Tensor:
        """Return the mean cross-entropy of activations (B, F, U) with what was expected of them.

        Nothing is to become predictable by this, so that activations get no gradient.
        """
        follows = mask[:, 1:]
        missed = -(shares(activation[:, 1:]) * self(y[:, :-1])).sum(-1) * follows
        return missed.sum() / follows.sum().clamp(min=1)

    @torch.no_grad()
    def entropy(self, y: Tensor) -> Tensor:
        """Return the entropy (B, F) of what is expected after each step, 0 to 1."""
        log_probs = self(y)
        return -(log_probs.exp() * log_probs).sum(-1) / math.log(log_probs.shape[-1])

    @torch.no_grad()
    def events(
        self, y: Tensor, scale: Tensor | float, state: Rise | None = None
    ) -> tuple[Tensor, Tensor, Rise | None]:
        """Return the event (B, F) of each step, that of the step after it, and the state.

        After a rise of the entropy the next event begins. Numbers begin at 0, or continue those of
        the state.
        """
        if not y.shape[1]:
            none = y.new_zeros(y.shape[:2], dtype=torch.long)
            return none, none, state
        ends, play, up = rises(self.entropy(y), scale, state)
        first = ends.new_zeros(len(ends), 1, dtype=torch.long) if state is None else state.event
        after = first + ends.long().cumsum(1)
        event = torch.cat([first, after[:, :-1]], 1)
        return event, after, Rise(play[:, -1:], up[:, -1:], after[:, -1:])


def rises(
    x: Tensor, scale: Tensor | float, state: Rise | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `ref.rises` of a batch: x (B, F) -> whether it rises, play and direction (B, F)."""
    half = torch.as_tensor(scale, dtype=x.dtype, device=x.device).view(1) / 2
    play = scan.play(x, half, None if state is None else state.play)[0][:, 0]
    before = x[:, :1] if state is None else state.play
    step = torch.diff(play, dim=1, prepend=before.to(play)).sign()
    old = -torch.ones_like(before) if state is None else state.up
    signs = torch.cat([old.to(step), step], 1)
    place = torch.arange(signs.shape[1], device=x.device).expand(signs.shape)
    last = torch.where(signs != 0, place, 0).cummax(1).values  # the last move until each step
    up = signs.gather(1, last)
    return (up[:, 1:] > 0) & (up[:, :-1] < 0), play, up[:, 1:]
