"""The feedback of a hierarchy as a map from what levels hear to what they hear in the next pass.

What a level hears is constant over the event above it, and events begin and end with steps of the
lowest level; so what is heard at these steps, of all levels side by side, is the whole state.

Shapes: B utterances, F steps of the lowest level, C channels that all levels hear together,
N = F C.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from speechasym.errors import ConfigError
from speechasym.levels import feedback
from speechasym.levels.base import hide
from speechasym.levels.events import Steps
from speechasym.levels.hierarchy import Hierarchy
from speechasym.levels.level import LevelOutput
from speechasym.levels.units import shares


def scaled(model: Hierarchy, gain: float) -> Hierarchy:
    """Return a copy of a model whose levels hear everything from above `gain` times as loud."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for level in model.levels:
            if isinstance(context := getattr(level, "context", None), nn.Linear):
                context.weight.mul_(gain)
    return model


def listening(model: Hierarchy, seed: int) -> Hierarchy:
    """Return a copy of an untrained model whose levels hear, by random maps of variance 1 / C."""
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for level in model.levels:
            if isinstance(context := getattr(level, "context", None), nn.Linear):
                drawn = torch.randn(context.weight.shape, generator=generator)
                context.weight.copy_(drawn / context.in_features**0.5)
    return model


class ClosedLoop:
    """Passes of a hierarchy with feedback over the same utterances.

    Args:
        model: in evaluation, with `feedback.passes` above 1.
        features: (B, frames, columns).
        lengths: (B,) frames.

    Raises `ConfigError` for a model without feedback.
    """

    def __init__(self, model: Any, features: Tensor, lengths: Tensor) -> None:
        if not isinstance(model, Hierarchy) or model.config.feedback.passes == 1:
            problem = "the model has no feedback, so it has no loop"
            raise ConfigError("feedback.passes", problem, "Use a run with 2 or more passes")
        self.model, self._features, self._lengths = model, features, lengths
        first = self._levels(None)
        self.grid: Steps = first[0]
        # what each level hears
        self.channels = [2 * level.units + 2 for level in model.config.levels[:-1]]
        self.start = self._heard(first)

    @torch.no_grad()
    def __call__(self, state: Tensor) -> Tensor:
        """Return the states (k B, N) one pass after others, of k times the utterances."""
        return self._heard(self.outputs(state))

    @torch.no_grad()
    def outputs(self, state: Tensor | None) -> Sequence[LevelOutput]:
        """Return the levels of a pass in which they hear a state (k B, N); None: nothing."""
        return self._levels(state)

    def at_grid(self, output: LevelOutput) -> Tensor:
        """Return the shares (k B, F, U) of a level's units at the steps of the lowest level."""
        assert output.activation is not None
        times = len(output.mask) // len(self.grid.mask)
        return feedback.at(replace(output, y=shares(output.activation)), self._grid(times))

    def part(self, state: Tensor, level: int) -> Tensor:
        """Return what one level hears (k B, F, its channels) in a state."""
        heard = state.view(len(state), self.grid.mask.shape[1], -1)
        return heard.split(self.channels, -1)[level]

    @torch.no_grad()
    def _levels(self, state: Tensor | None) -> Sequence[LevelOutput]:
        times = 1 if state is None else len(state) // len(self._lengths)
        frames = self.model._frames(self._features.repeat(times, 1, 1), self._lengths.repeat(times))
        messages: list[Steps | None] = [None] * len(self.model.levels)
        if state is not None:
            grid = self._grid(times)
            for level in range(len(self.channels)):
                messages[level] = replace(grid, y=self.part(state, level).contiguous())
        return self.model._pass(frames, messages, ()).levels

    def _grid(self, times: int) -> Steps:
        rows = (getattr(self.grid, name) for name in ("y", "mask", "start", "end"))
        y, mask, start, end = (x.repeat(times, *(1,) * (x.ndim - 1)) for x in rows)
        return Steps(y, mask, start, end)

    @torch.no_grad()
    def _heard(self, levels: Sequence[LevelOutput]) -> Tensor:
        model = self.model
        sent = feedback.listen(list(model.expectations), model._levels, levels)
        grid = self._grid(len(levels[0].mask) // len(self.grid.mask))
        heard = torch.cat([feedback.at(one.message, grid) for one in sent], -1)
        return hide(heard, grid.mask).flatten(1)


def spread(loop: ClosedLoop, state: Tensor, level: int, passes: int) -> dict[str, Tensor]:
    """Return how far one changed event spreads, pass by pass.

    The event in the middle of each utterance, as a level hears it, becomes the one that is
    heard first in the utterance.

    Args:
        state: (B, N) in which it is changed.
        level: that hears it.
        passes: after the change.

    Returns:
        moved (passes, L): half the sum of the differences of a level's shares, in steps, mean over
        utterances; reach (passes, L): mean distance in frames from the changed event, weighted by
        these differences; nan where nothing moves.
    """
    middle = loop.grid.mask.sum(1) // 2
    rows = torch.arange(len(state))
    heard = state.view(len(state), loop.grid.mask.shape[1], -1).clone()
    first = sum(loop.channels[:level])
    own = heard[..., first : first + loop.channels[level]]  # a view: what the level hears
    same = (own == own[rows, middle][:, None]).all(-1)
    # of equal ones only those without a step between that differs
    apart = (~same).cumsum(1)
    event = same & (apart == apart[rows, middle][:, None])
    own[event] = own[:, :1].expand_as(own)[event]
    centre = (loop.grid.start + loop.grid.end)[rows, middle] / 2
    away = ((loop.grid.start + loop.grid.end) / 2 - centre[:, None]).abs()
    states = torch.cat([state, heard.flatten(1)])
    moved, reach = [], []
    for _ in range(passes):
        outputs = loop.outputs(states)
        changes = []
        for output in outputs:
            a, b = loop.at_grid(output).chunk(2)
            changes.append(0.5 * (a - b).abs().sum(-1) * loop.grid.mask)
        change = torch.stack(changes)  # (L, B, F)
        moved.append(change.sum(2).mean(1))
        reach.append((change * away).sum((1, 2)) / change.sum((1, 2)))
        states = loop._heard(outputs)
    return {"moved": torch.stack(moved), "reach": torch.stack(reach)}
