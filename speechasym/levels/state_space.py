"""Selective state space.

Shapes: B batch, F frames, D width, E inner width, H heads, P channels per head, S states.

[1] T. Dao, A. Gu, "Transformers are SSMs: generalized models and efficient algorithms through
    structured state space duality", ICML, 2024.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechasym.config import check_count
from speechasym.errors import ConfigError
from speechasym.levels.base import Depthwise, Function, State, check_heads, hide
from speechasym.ops.selective import selective_scan

if TYPE_CHECKING:
    from speechasym.levels.config import BlockConfig


class StateSpace(Function):
    """Selective state space: each frame decides what is kept, written and read [1].

    h(t) = exp(A dt(t)) h(t-1) + dt(t) outer(b(t), x(t)), y(t) = c(t) h(t) + skip x(t), with one
    decay per head. x, b, c pass through a short convolution first, and y is multiplied by a gate.
    Unless causal, the convolution is centred and half of the heads run backwards, so past and
    future have separate heads at no extra cost.
    """

    def __init__(self, config: "BlockConfig") -> None:
        super().__init__(config.width, config.causal)
        check_count("expansion", config.expansion)
        inner, heads, states = config.width * config.expansion, config.heads, config.states
        check_heads(inner, heads, "inner width")
        check_count("states", states)
        if not self.causal and heads % 2:
            problem = f"must be even, as half run backwards, got {heads}"
            raise ConfigError("heads", problem, f"Use {heads + 1}")
        self.heads = heads
        self.sizes = (inner, inner + 2 * states, heads)
        self.inside = nn.Linear(self.width, sum(self.sizes), bias=False)
        self.taps = Depthwise(inner + 2 * states, config.kernel, 1, self.causal)
        self.split = (inner, states, states)
        # initial time constants: 1 to 100 frames, spaced evenly in the logarithm
        step = torch.logspace(-1, -2, heads, device="cpu")
        rate = torch.logspace(1, 0, heads, device="cpu")
        if not self.causal:  # each direction covers the whole range
            step, rate = step.view(-1, 2).T.flatten(), rate.view(-1, 2).T.flatten()
        device = torch.get_default_device()
        self.step_bias = nn.Parameter(step.expm1().log().to(device))  # the inverse of softplus
        self.log_rate = nn.Parameter(rate.log().to(device))
        self.skip = nn.Parameter(torch.ones(heads))
        self.out = nn.Linear(inner, self.width)

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        gate, mixed, step = self.inside(x).split(self.sizes, 2)
        convolved, before = self.taps(mixed, state[0] if state else None)
        x, b, c = functional.silu(convolved).split(self.split, 2)
        # 0: nothing is written or forgotten
        step = hide(functional.softplus(step + self.step_bias), mask)
        log_decay = -step * self.log_rate.exp()
        x = x.unflatten(2, (self.heads, -1))
        driven = x * step[..., None]
        if self.causal:
            y, now = selective_scan(driven, log_decay, b, c, state[1] if state else None)
            state = (before, now)
        else:
            y, state = _both_ways(driven, log_decay, b, c), ()
        y = torch.addcmul(y, x, self.skip[:, None]).flatten(2)
        return self.out(y * functional.silu(gate)), state


def _both_ways(x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Run `selective_scan` with the second half of the heads backwards, as one batch."""
    half = x.shape[2] // 2

    def reversed_half(t: Tensor) -> Tensor:
        return torch.cat([t[:, :, :half], t[:, :, half:].flip(1)])

    b, c = torch.cat([b, b.flip(1)]), torch.cat([c, c.flip(1)])
    y, _ = selective_scan(reversed_half(x), reversed_half(log_decay), b, c)
    forwards, backwards = y.chunk(2)
    return torch.cat([forwards, backwards.flip(1)], 2)
