"""Growth of a hierarchy that does not change what it computes: blocks, levels, heads, units (C9).

    new block     y = x + ScaleOut(F(ScaleIn(x))) with a ScaleOut of 0: y = x
    new level     y = x on top, as its first map is the identity, its blocks and units add nothing
    a split head  sum_i W_i o = W o, if both heads compute o and W_1 + W_2 = W
    a split unit  both have half of its share a: the handicap beta log 2 in the softmax; with
                  V_1 + V_2 = 2 V, a / 2 V_1 + a / 2 V_2 = a V

A split is a bifurcation: what leads into the two is equal, what leads out differs antisymmetrically
so that the sum stays equal; their gradients then differ, and they part. Splitting is that of
Net2Net [1], new blocks start as in [2].

The optimiser's moments are carried over: those of old parameters as they are, halved (squares:
quartered) where a gradient halves because a unit or head was split; new parameters have none.

[1] T. Chen, I. Goodfellow, J. Shlens, "Net2Net: accelerating learning via knowledge transfer",
    ICLR, 2016.
[2] H. Zhang, Y. N. Dauphin, T. Ma, "Fixup initialization: residual learning without normalization",
    ICLR, 2019.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from speechasym.errors import ConfigError
from speechasym.levels.block import Block
from speechasym.levels.config import HierarchyConfig, LevelConfig
from speechasym.levels.hierarchy import Hierarchy
from speechasym.levels.level import Level

APART = 0.1  # standard deviation of how far outgoing weights of a split are apart, relative to them


class Split(NamedTuple):
    """How a tensor follows from the one before, where units or heads were split."""

    axis: int
    parents: Tensor  # (n,) entry along the axis before, of each entry
    values: Tensor | None = None  # factors of the values, of the tensor's shape
    gradient: Tensor | None = None  # (n,) factors of the gradient, of the entries
    added: Tensor | None = None  # to the values


@dataclass(frozen=True, eq=False)
class Growth:
    """A grown model, and where its tensors come from."""

    model: Hierarchy
    sources: Mapping[str, str]  # {tensor: that of the model before}; new ones are missing
    splits: Mapping[str, Split] = field(default_factory=dict)  # by tensor

    def carried(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the grown model's tensors from those before, such as averages; not the new."""
        result = {}
        for name, source in self.sources.items():
            if source not in tensors:
                continue
            value, split = tensors[source], self.splits.get(name)
            if split is not None:
                value = value.index_select(split.axis, split.parents.to(value.device))
                value = value if split.values is None else value * split.values.to(value)
                value = value if split.added is None else value + split.added.to(value)
            result[name] = value
        return result

    def moments(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the moments of Adam, {NAME.exp_avg, NAME.exp_avg_sq, NAME.step: tensor}.

        tensors: the same before. New parameters have none: they begin with their first step.
        """
        result = {}
        for name, source in self.sources.items():
            for key, power in (("exp_avg", 1), ("exp_avg_sq", 2), ("step", 0)):
                if (value := tensors.get(f"{source}.{key}")) is None:
                    continue
                split = self.splits.get(name)
                if power and split is not None:
                    value = value.index_select(split.axis, split.parents.to(value.device))
                    if split.gradient is not None:
                        shape = [1] * value.ndim
                        shape[split.axis] = -1
                        value = value * split.gradient.to(value).view(shape) ** power
                result[f"{name}.{key}"] = value
        return result


def add_blocks(model: Hierarchy, level: int, at: int | None = None) -> Growth:
    """Insert one more repetition of a level's blocks, which adds nothing yet.

    Args:
        model: before.
        level: its number.
        at: repetitions below the new one; default: all, so that it is on top.

    Raises `ConfigError` for a block whose norm would change the sum (post).

    Example:
        >>> grown = add_blocks(model, 0)
        >>> grown.model.config.levels[0].repeat
        2
    """
    old = model.config.levels[level]
    at = old.repeat if at is None else at
    count = len(old.functions)
    dilations = [old.dilations[i % len(old.dilations)] for i in range(old.repeat)]
    if at < old.repeat:  # on top, the configured ones follow
        dilations.insert(at, old.dilations[old.repeat % len(old.dilations)])
        new = replace(old, repeat=old.repeat + 1, dilations=tuple(dilations))
    else:
        new = replace(old, repeat=old.repeat + 1)
    added = range(at * count, (at + 1) * count)

    def source(name: str) -> str | None:
        kind, *rest = name.split(".")
        if kind != "levels" or int(rest[0]) != level or rest[1] != "blocks":
            return name
        number = int(rest[3])
        if number in added:
            return None
        rest[3] = str(number if number < added.start else number - count)
        return ".".join([kind, *rest])

    def prepare(grown: Hierarchy) -> None:
        for number in added:
            silence(_block(grown, level, number))

    return _grown(model, _with_level(model.config, level, new), source, prepare)


def add_level(model: Hierarchy, level: LevelConfig, heads: Mapping[str, int]) -> Growth:
    """Put a level on top that passes on what it receives.

    Args:
        model: before.
        level: its configuration.
        heads: {head: level that it reads}, of all heads; the others stay where they are.

    Raises `ConfigError` unless the level works at the steps and width of the one below, and that
    one passes on all its steps; where blocks cannot be silent; for a head that moves elsewhere.
    """
    top = len(model.config.levels)
    below = model.config.levels[-1]
    if level.width != below.width or level.stride != 1:
        sizes = f"width {level.width} and stride {level.stride} above width {below.width}"
        problem = f"cannot begin as the identity with {sizes}"
        raise ConfigError(f"levels.{top}", problem, "Use equal widths, and stride 1")
    if below.events != "none":
        problem = f"{below.events} shortens what a new level above would read"
        raise ConfigError(f"levels.{top - 1}.events", problem, "Use none")
    if model.config.feedback.passes > 1:
        problem = "a level on top would correct the one below at once"
        raise ConfigError("feedback.passes", problem, "Use 1, or grow blocks")
    config = model.config.heads
    for name, at in heads.items():
        old = getattr(config, name)
        if at not in (old.level, top) or (at == top and old.level != top - 1):
            problem = f"cannot move from level {old.level} to {at} at once"
            raise ConfigError(f"heads.{name}.level", problem, f"Use {old.level}")
        config = replace(config, **{name: replace(old, level=at)})

    def source(name: str) -> str | None:
        return None if name.startswith(f"levels.{top}.") else name

    def prepare(grown: Hierarchy) -> None:
        new = cast("Level", grown.levels[top])
        nn.init.dirac_(new.enter.weight)
        nn.init.zeros_(cast("Tensor", new.enter.bias))
        for number in range(len(new.blocks.blocks)):
            silence(_block(grown, top, number))
        if level.units:
            nn.init.zeros_(new.gain)
        for name, linear in grown.tells.items():  # nobody has listened to the top so far
            if getattr(config, name).level == top - 1:
                nn.init.zeros_(cast("nn.Linear", linear).weight)

    grown = replace(model.config, levels=(*model.config.levels, level), heads=config)
    told = {f"tells.{n}.weight" for n in model.tells if getattr(config, n).level == top - 1}
    return _grown(model, grown, lambda n: None if n in told else source(n), prepare)


def silence(block: Block) -> None:
    """Let a block add nothing, but learn. Raises `ConfigError` for one that normalises the sum."""
    if block.norm_sum is not None:
        problem = "post normalises the sum, so that a new block would change it"
        raise ConfigError("norm", problem, "Use another norm, such as theory or pre")
    if block.norm_out is not None:
        nn.init.zeros_(block.norm_out.weight)
    elif block.gain is not None:
        nn.init.zeros_(block.gain)
    else:
        function = block.function
        last = getattr(function, "out", None) or getattr(function, "inside", None)
        tensors = [function.value] if last is None else last.parameters()
        with torch.no_grad():
            for tensor in cast("list[Tensor]", tensors):  # of a gate: its linear half
                tensor[: block.function.width].zero_()


def _with_level(config: HierarchyConfig, number: int, level: LevelConfig) -> HierarchyConfig:
    levels = (*config.levels[:number], level, *config.levels[number + 1 :])
    return replace(config, levels=levels)


def _block(model: Hierarchy, level: int, number: int) -> Block:
    return cast("Block", cast("Level", model.levels[level]).blocks.blocks[number])


def _grown(
    model: Hierarchy, config: HierarchyConfig, source: Callable[[str], str | None],
    prepare: Callable[[Hierarchy], None] = lambda model: None,
    splits: Mapping[str, Split] | None = None,
) -> Growth:  # fmt: skip
    """Build the grown model; what is new is drawn by torch's generator, and then prepared."""
    sizes = {}
    for name, linear in model.heads.items():
        scores = cast("nn.Linear", linear).out_features
        sizes[name] = scores // getattr(model.config.heads, name).slots - 1
    grown = Hierarchy(config, model.inputs, sizes)
    prepare(grown)
    sources = {new: old for new in grown.state_dict() if (old := source(new)) is not None}
    growth = Growth(grown, sources, splits or {})
    grown.load_state_dict(growth.carried(model.state_dict()), strict=False)
    grown.to(next(model.parameters()).device).train(model.training)
    return growth
