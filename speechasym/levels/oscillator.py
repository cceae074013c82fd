"""A bank of forced harmonic oscillators with learned frequencies (C26).

Shapes: B batch, F frames, D width, J oscillators.

[1] T. K. Rusch, D. Rus, "Oscillatory state-space models", ICLR, 2025.
[2] J. Boyer, T. K. Rusch, D. Rus, "Learning to dissipate energy in oscillatory state-space models",
    arXiv:2505.12171, 2025.
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechasym.config import check_count
from speechasym.errors import ConfigError
from speechasym.levels.base import Function, State
from speechasym.ops.oscillators import oscillate

if TYPE_CHECKING:
    from speechasym.levels.config import BlockConfig

PERIODS = (4.0, 256.0)  # frames, of the fastest and the slowest oscillator before training
FASTEST = 0.75 * math.pi  # radians per frame; near pi, position and velocity become dependent
CYCLES = 2.0  # periods in which a damped oscillator falls to 1 / e, before training


class Oscillator(Function):
    """Forced harmonic oscillators, whose motion keeps what was heard [1].

    Each oscillator is pushed by a linear map of the frame and moves by a symplectic Euler step
    (`ref_oscillators.oscillate`). Undamped it neither forgets nor grows without a push; with
    `damped` it loses energy at a learned rate [2]. What is read is a mixture of position, velocity
    and push, times a gate as that of the state space. Unless causal, half of the oscillators run
    backwards.

    Whatever the parameters, a frequency lies between 0 and 3/8 of a cycle per frame, where the step
    is stable.
    """

    undecayed = ("turn", "log_rate")

    def __init__(self, config: "BlockConfig") -> None:
        super().__init__(config.width, config.causal)
        check_count("expansion", config.expansion)
        inner = config.width * config.expansion
        if not self.causal and inner % 2:
            problem = f"must be even, as half of the oscillators run backwards, got {inner}"
            raise ConfigError("width", problem, f"Use {config.width + 1}, or causal=True")
        self.inside = nn.Linear(self.width, 2 * inner, bias=False)
        # each direction covers the whole range, spaced evenly in the logarithm; the CPU as in
        # `functions.check`
        count, copies = (inner, 1) if self.causal else (inner // 2, 2)
        shortest, longest = (math.log2(period) for period in PERIODS)
        period = torch.logspace(shortest, longest, count, base=2, device="cpu").repeat(copies)
        device = torch.get_default_device()
        turn = 2 * math.pi / FASTEST / period
        self.turn = nn.Parameter(turn.logit().to(device))
        self.log_rate: nn.Parameter | None = None
        if config.damped:
            self.log_rate = nn.Parameter((-(CYCLES * period).log()).to(device))
        self.read = nn.Parameter(torch.full((2, inner), math.sqrt(0.5)))  # position, velocity
        self.skip = nn.Parameter(torch.ones(inner))
        self.out = nn.Linear(inner, self.width)

    @property
    def angle(self) -> Tensor:
        """Radians that each oscillator turns per frame, (J,), between 0 and `FASTEST`."""
        return FASTEST * self.turn.sigmoid()

    @property
    def amplitude(self) -> Tensor:
        """Share of its amplitude that each oscillator keeps per frame, (J,); 1: undamped."""
        if self.log_rate is None:
            return torch.ones_like(self.turn)
        return (-self.log_rate.exp()).exp()

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        force, gate = self.inside(x).chunk(2, 2)
        angle, amplitude = self.angle, self.amplitude
        keep = amplitude.square()
        # the trace of a step is 2 amplitude cos(angle), its determinant keep; without a difference
        # of nearly equal numbers
        stiffness = ((1 - amplitude).square() + 4 * amplitude * (angle / 2).sin().square()) / keep
        # white noise of variance 1 then moves an oscillator by about 1 in a period
        pushed = force * (angle / math.pi).sqrt()
        if self.causal:
            path, now = oscillate(pushed, stiffness, keep, state[0] if state else None)
            state = (now,)
        else:
            path, _ = oscillate(_turned(pushed), stiffness, keep)
            path, state = _turned(path), ()
        # position and velocity have equal energy if the position is scaled so
        read = torch.stack([self.read[0] * stiffness.sqrt(), self.read[1]], 1)
        y = torch.addcmul((path * read).sum(3), force, self.skip)
        return self.out(y * functional.silu(gate)), state


def _turned(x: Tensor) -> Tensor:
    """Return x (B, F, J, ...) with the second half of the oscillators backwards in time."""
    half = x.shape[2] // 2
    return torch.cat([x[:, :, :half], x[:, :, half:].flip(1)], 2)
