"""Growth of a hierarchy that does not change what it computes: blocks, levels, heads, units (C9).

    new block     y = x + ScaleOut(F(ScaleIn(x))) with a ScaleOut of 0: y = x
    new level     y = x on top, as its first map is the identity, its blocks and units add nothing
    a split head  sum_i W_i o = W o, if both heads compute o and W_1 + W_2 = W
    a split unit  both have half of its share a, by the handicap log 2 in the softmax; with
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

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from speechasym.errors import ConfigError
from speechasym.levels.attention import Attention
from speechasym.levels.block import Block
from speechasym.levels.config import HierarchyConfig, LevelConfig
from speechasym.levels.hierarchy import Hierarchy
from speechasym.levels.level import Level

APART = 0.1  # deviation of the outgoing weights of a split from their mean, relative to it
SHARED = ("geometric", "softmax")  # laws whose activations sum to 1
SEPARATE = ("relu", "gelu")  # laws in which each unit is by itself


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


def split_heads(model: Hierarchy, level: int) -> Growth:
    """Split the strongest head of each attention of a level, by its outgoing weights.

    Raises `ConfigError` for a level without attention.

    Example:
        >>> split_heads(model, 0).model.config.levels[0].block.heads
        5
    """
    old = model.config.levels[level]
    if "attention" not in old.functions:
        problem = f"has no attention whose heads could split, only {', '.join(old.functions)}"
        raise ConfigError(f"levels.{level}.functions", problem, "Grow its blocks")
    heads = old.block.heads
    size = old.block.head_width or old.width // heads
    block = replace(old.block, heads=heads + 1, head_width=size)
    splits: dict[str, Split] = {}
    for number, each in enumerate(cast("Level", model.levels[level]).blocks.blocks):
        function = cast("Block", each).function
        if not isinstance(function, Attention):
            continue
        out = function.out.weight.detach().unflatten(1, (heads, size))
        chosen = int(out.square().sum((0, 2)).argmax())
        parents = torch.tensor([*range(heads), chosen])
        halves = torch.ones(heads + 1)
        halves[[chosen, heads]] = 0.5
        columns = (parents[:, None] * size + torch.arange(size)).flatten()
        rows = torch.cat([columns + part * heads * size for part in range(3)])
        wide = halves.repeat_interleave(size)
        prefix = f"levels.{level}.blocks.blocks.{number}.function"
        for name in ("weight", "bias"):
            splits[f"{prefix}.inside.{name}"] = Split(0, rows, None, wide.repeat(3))
        moved = out.flatten(1).index_select(1, columns.to(out.device))
        values = _apart(
            moved, wide, *(torch.arange(size) + first * size for first in (chosen, heads))
        )
        splits[f"{prefix}.out.weight"] = Split(1, columns, values)
        splits[f"{prefix}.log_slope"] = Split(1, parents, None, halves)
        for name in ("raw_beta", "raw_growth"):
            splits[f"{prefix}.rank.{name}"] = Split(0, parents, None, halves)
    config = _with_level(model.config, level, replace(old, block=block))
    return _grown(model, config, lambda name: name, splits=splits)


def split_units(model: Hierarchy, level: int, count: int) -> Growth:
    """Split the units of a level that have the largest outgoing weights.

    Args:
        model: before.
        level: its number.
        count: units that split, at most as many as there are.

    Raises `ConfigError` for a level without so many units, or where a half would not do what a
    whole unit does: where events depend on which unit is strongest, or the law on ranks.
    """
    old = model.config.levels[level]
    where = f"levels.{level}"
    if not 1 <= count <= old.units:
        problem = f"{count} of {old.units} units cannot split"
        raise ConfigError(f"{where}.units", problem, "Split 1 or more, at most all")
    if model.config.feedback.passes > 1:
        problem = "the level above expects the units that there are"
        raise ConfigError("feedback.passes", problem, "Use 1, or grow blocks")
    if old.steers != "none":
        problem = f"{old.steers} depends on which unit holds, so that two halves would change it"
        raise ConfigError(f"{where}.steers", problem, "Use none, or grow blocks")
    if old.events in ("hysteresis", "entropy"):
        problem = "depend on which unit is strongest, so that two halves would change them"
        raise ConfigError(f"{where}.events", problem, "Use none or stride, or grow blocks")
    if old.law not in SHARED + SEPARATE or old.resolution is not None:
        problem = f"halves of a unit do not sum to it by law {old.law}"
        problem += f" and resolution {old.resolution}"
        remedy = f"Use one of {', '.join(SHARED + SEPARATE)} without resolution, or grow blocks"
        raise ConfigError(f"{where}.law", problem, remedy)
    shared = old.law in SHARED
    units = cast("Level", model.levels[level]).units
    chosen = units.predict.weight.detach().square().sum(0).topk(count).indices.cpu()
    parents = torch.cat([torch.arange(old.units), chosen])
    pairs = torch.cat([chosen, torch.arange(old.units, old.units + count)])
    halves = torch.ones(len(parents))
    halves[pairs] = 0.5
    prefix = f"{where}.units"
    splits = {
        f"{prefix}.prototypes": Split(0, parents, None, halves),
        f"{prefix}.wins": Split(0, parents, halves),
        f"{prefix}.lead": Split(0, parents),
    }
    for name in ("predict", "value"):
        if (linear := getattr(units, name, None)) is not None:
            weight = linear.weight.detach().index_select(1, parents.to(linear.weight.device))
            # halves of a share keep their weights, halves of a weight keep their activation
            values = _apart(weight, torch.ones(len(parents)) if shared else halves, *_pairs(pairs))
            splits[f"{prefix}.{name}.weight"] = Split(
                1, parents, values, halves if shared else None
            )
    if shared:
        added = torch.zeros(len(parents))
        added[pairs] = math.log(2)
        splits[f"{prefix}.handicap"] = Split(0, parents, None, halves, added)
    new = replace(old, units=len(parents), handicaps=old.handicaps or shared)
    fresh = f"{prefix}.handicap" if shared and not old.handicaps else ""

    def prepare(grown: Hierarchy) -> None:
        if fresh:
            handicap = cast("Level", grown.levels[level]).units.handicap
            with torch.no_grad():
                handicap.copy_(cast("Tensor", splits[fresh].added))

    config = _with_level(model.config, level, new)
    return _grown(model, config, lambda name: None if name == fresh else name, prepare, splits)


def _pairs(pairs: Tensor) -> tuple[Tensor, Tensor]:
    one, other = pairs.chunk(2)
    return one, other


def _apart(weight: Tensor, factors: Tensor, one: Tensor, other: Tensor) -> Tensor:
    """Return factors of the columns of a weight (N, n), of which pairs differ antisymmetrically."""
    values = factors.to(weight).expand_as(weight).clone()
    moved = APART * factors[one].to(weight) * torch.randn(len(weight), len(one)).to(weight)
    values[:, one] += moved
    values[:, other] -= moved
    return values


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
