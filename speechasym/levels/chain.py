"""A hierarchy as a chain of stages, each of which can be computed, and can learn, by itself (C18).

A stage is a level, or a group of consecutive residual blocks of one; the last stage of a level has
its units, events and heads too. All stages one after another compute what the hierarchy computes,
to the bit.

Shapes: B batch, F steps, D width.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from torch import Tensor

from speechasym.config import check_count
from speechasym.errors import ConfigError
from speechasym.levels.base import frame_mask
from speechasym.levels.config import HierarchyConfig
from speechasym.levels.events import Steps
from speechasym.levels.hierarchy import HeadOutput, Hierarchy
from speechasym.levels.level import Level, LevelOutput


class Stage(NamedTuple):
    """Residual blocks `first` to `last` - 1 of a level that has `blocks`."""

    number: int  # in the chain, from 0
    level: int
    first: int
    last: int
    blocks: int

    @property
    def enters(self) -> bool:
        """Whether it is the first of its level."""
        return self.first == 0

    @property
    def exits(self) -> bool:
        """Whether it is the last of its level, with the units, events and heads."""
        return self.last == self.blocks


@dataclass(frozen=True, eq=False)
class Carry:
    """What a stage receives from the one below."""

    x: Steps  # input of the level: at its own steps, once it has been entered
    h: Tensor | None = None  # (B, F, D) of the residual blocks so far; None between levels

    def tensors(self) -> list[Tensor]:
        """Return the tensors that carry gradients."""
        return [self.x.y] if self.h is None else [self.x.y, self.h]

    @property
    def steps(self) -> Steps:
        """The steps that the stage above works on (between levels, before its stride)."""
        return self.x if self.h is None else replace(self.x, y=self.h)

    def detached(self) -> "Carry":
        """Return the same without gradients."""
        x = replace(self.x, y=self.x.y.detach())
        return Carry(x, None if self.h is None else self.h.detach())

    def pack(self) -> dict[str, Tensor]:
        """Return all tensors by name, to send or to keep; `unpack` is the inverse."""
        return vars(self.x) | ({} if self.h is None else {"h": self.h})

    @classmethod
    def unpack(cls, tensors: Mapping[str, Tensor]) -> "Carry":
        """Return what `pack` has packed."""
        steps = {name: tensor for name, tensor in tensors.items() if name != "h"}
        return cls(Steps(**steps), tensors.get("h"))


@dataclass(frozen=True, eq=False)
class StageOutput:
    """What a stage has computed."""

    carry: Carry  # for the stage above
    input: Tensor  # (B, F, I) of the stage, at its own steps
    steps: Steps  # of the stage, with its representation y (B, F, D)
    level: LevelOutput | None  # of a stage that exits
    heads: dict[str, HeadOutput]
    spans: dict[str, HeadOutput]
    losses: dict[str, Tensor]  # of the level, weighted


def stages(config: HierarchyConfig, blocks: int | None = None) -> tuple[Stage, ...]:
    """Divide a hierarchy into stages, from the lowest up.

    Args:
        config: of the hierarchy.
        blocks: residual blocks of a stage; the last of a level may have fewer. Default: levels.

    Raises `ConfigError` for fewer than 1.
    """
    check_count("blocks", 1 if blocks is None else blocks)
    result: list[Stage] = []
    for number, level in enumerate(config.levels):
        count = level.repeat * len(level.functions)
        size = blocks or max(1, count)
        for first in range(0, max(1, count), size):  # a level without blocks is a stage too
            last = min(count, first + size)
            result.append(Stage(len(result), number, first, last, count))
    return tuple(result)


def first_carry(model: Hierarchy, features: Tensor, lengths: Tensor) -> Carry:
    """Return what the lowest stage receives: features (B, F, D) and their lengths (B,).

    Raises `ConfigError` as `Hierarchy` does.
    """
    return Carry(Steps.of_frames(features, frame_mask(features, lengths, model.inputs)))


def run(model: Hierarchy, stage: Stage, carry: Carry, probes: Collection[str] = ()) -> StageOutput:
    """Compute a stage from what the one below has handed on; `probes` as of `Hierarchy`."""
    level = model.levels[stage.level]
    assert isinstance(level, Level)
    h, x = (carry.h, carry.x) if carry.h is not None else level.start(carry.x)
    entered = x.y if stage.enters else h
    h = level.blocks(h, x.mask, slice(stage.first, stage.last))
    if not stage.exits:
        return StageOutput(Carry(x, h), entered, replace(x, y=h), None, {}, {}, {})
    output, heads, spans = model.read_heads(stage.level, partial(level.finish, h, x), probes)
    losses = {f"{name}{stage.level}": loss for name, loss in output.losses.items()}
    return StageOutput(Carry(output.passed), entered, output, output, heads, spans, losses)


def stage_of(name: str, chain: Sequence[Stage], config: HierarchyConfig) -> int:
    """Return the number of the stage that a parameter or buffer of a hierarchy belongs to.

    Example:
        >>> stage_of("levels.1.blocks.blocks.0.norm_in.weight", chain, model.config)
    """
    kind, place, *path = name.split(".")
    block: int | None = None  # in the last stage of its level
    if kind in ("heads", "tells"):
        level = int(getattr(config.heads, place).level)
    elif kind == "levels":
        level = int(place)
        if path[0] == "blocks":  # levels.0.blocks.blocks.3.gain
            block = int(path[2])
        elif path[0] in ("enter", "context"):
            block = 0
    else:
        raise ConfigError(name, "belongs to no level and no head", "Give a name of a hierarchy's")
    own = [stage for stage in chain if stage.level == level]
    if block is None or not own[-1].blocks:
        return own[-1].number
    return next(stage.number for stage in own if stage.first <= block < stage.last)
