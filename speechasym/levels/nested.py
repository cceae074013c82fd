"""Levels inside a block: a level whose function is itself a small hierarchy (C12).

Neuron, layer, area and zone are the same automaton: a block with the function `levels` runs its
input through levels of its own, and each step gets what the highest of them makes of the event
around it. Those levels may have blocks with levels again.

Shapes: B batch, F frames, D width.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from speechasym.levels import feedback
from speechasym.levels.base import Function, State
from speechasym.levels.events import Steps

if TYPE_CHECKING:
    from speechasym.levels.level import Level


class Nested(Function):
    """Levels as a function: y is a linear map of the highest level's output at each frame.

    Args:
        width: D of the block.
        levels: from the lowest, whose input is the block's.
    """

    def __init__(self, width: int, levels: Sequence["Level"]) -> None:
        super().__init__(width, causal=False)  # the means over an event need its end
        self.levels = nn.ModuleList(levels)
        self.out = nn.Linear(levels[-1].config.width, width)
        self._losses: list[Tensor] = []

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if mask is None else mask
        own = output = Steps.of_frames(x, real)
        below, self._losses = own, []
        for level in self.levels:
            output = level(below)
            below = output.passed
            self._losses += output.losses.values()
        return self.out(feedback.at(output, own)), ()

    def take_losses(self) -> list[Tensor]:
        """Return the losses of the last pass, once, so that no graph outlives its step."""
        losses, self._losses = self._losses, []
        return losses

    @torch.no_grad()
    def initialise(self, batches: Sequence[Steps]) -> None:
        """Set units and scales of the levels before training, from some of the block's input."""
        for level in self.levels:
            level.initialise(batches)  # type: ignore[operator]
            batches = [level(below).passed for below in batches]
