"""Growth in a run: where it starts, when it grows, and by what (C9).

A run with `grow` begins with a part of the configured model, and grows at validations, without
changing what the model computes (`levels.growth`), until it has the configured size. The rules:

    periodic:K  every K epochs, the level that has the smallest share of its configured size
    asymmetry   when the dev loss falls by less than `slope` of the largest power of the FLOPs since
                the model last grew; the level whose error tells most of labels and next input.
                With evidence=structure: a level whose error tells as much of them as at the
                validation before (by `persists`); again the one that tells most
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from speechasym.errors import ConfigError
from speechasym.levels import growth
from speechasym.levels.config import HierarchyConfig, LevelConfig
from speechasym.levels.growth import Growth
from speechasym.levels.hierarchy import Hierarchy, count_parameters
from speechasym.training import checkpoints, environment, optimiser
from speechasym.training.config import TrainConfig, config_from_dict
from speechasym.training.distributed import ProcessGroup
from speechasym.training.grow_config import GrowConfig
from speechasym.training.on_device import Batch
from speechasym.training.rules import meter
from speechasym.training.rules.learner import Learner
from speechasym.training.run_folder import Run, RunState, WriteMetrics

TARGETS = ("labels", "following")  # of the residual structure
LEAST_UNITS = 2  # at the start
COUNTED = 10  # steps, of which one is counted


@contextmanager
def counted_flops(config: TrainConfig, state: RunState, batch: Batch | None) -> Iterator[None]:
    """Add the FLOPs of the block, a step, to a run's state, if the run counts them.

    Counting takes a quarter of a step's time. So the first step of a model and every
    `COUNTED`-th are counted, and the others taken to have as many for each frame of the batch.
    """
    if not config.counts_flops or batch is None:
        yield
        return
    frames = batch.features.shape[0] * batch.features.shape[1]
    if state.flops_rate and state.step % COUNTED:
        yield
    else:
        with meter.Flops() as flops:
            yield
        state.flops_rate = flops.of.total() / frames
    state.flops += round(state.flops_rate * frames)


def check_processes(config: TrainConfig, group: ProcessGroup) -> None:
    """Raise `ConfigError` if several processes are to count FLOPs, or to grow."""
    if config.counts_flops and not group.alone:
        name, rule = ("grow.rule", config.grow.rule) if config.grow.grows else ("flops", "a budget")
        problem = f"{rule} cannot be combined with {group.size * group.parts} processes (torchrun)"
        raise ConfigError(name, problem, "Train in one process, or leave it out")


def current(config: TrainConfig, out: Path, resumes: bool) -> TrainConfig:
    """Return the configuration with the model as it is at the start, or in the last checkpoint.

    Raises `ConfigError` if nothing would grow, or cannot without changing the model's output.
    """
    if not config.grow.grows:
        return config
    if resumes:
        return replace(config, model=config_from_dict(checkpoints.load(out)[1]["config"]).model)
    small = started(cast("HierarchyConfig", config.model), config.grow)
    symbols = {head: 1 for head in config.heads.used}
    problem, remedy = (
        "the model that it grows up to needs more memory than there is",
        "Make it smaller",
    )
    # all growths that will come, before the first step
    with (
        environment.memory_errors_as(ConfigError("model", problem, remedy)),
        torch.random.fork_rng(devices=()),
    ):
        model = Hierarchy(small, 1, symbols)
        while levels := growable(model.config, config):
            model = grow(model, config, levels[0]).model
    return replace(config, model=small)


def started(bound: HierarchyConfig, config: GrowConfig) -> HierarchyConfig:
    """Return the model that a run begins with. Raises `ConfigError` if it is the whole one."""
    small, whole = bound, sizes(bound, config.what)
    if not any(whole):
        problem = f"the model has no {config.what} that could grow"
        raise ConfigError("grow.what", problem, "Use blocks, or another model")
    if config.what == "levels":
        small = _with_levels(bound, max(1, int(config.start * whole[0])))
    else:
        least = LEAST_UNITS if config.what == "units" else 1
        begun = [min(size, max(least, int(config.start * size))) for size in whole]
        levels = map(_with_size, bound.levels, begun, [config.what] * len(whole))
        small = replace(bound, levels=tuple(levels))
    if sizes(small, config.what) == whole:
        problem = f"{config.what} cannot grow: the run would start with all of {whole}"
        remedy = "Use a larger model, a smaller grow.start, or grow=none"
        raise ConfigError("grow.what", problem, remedy)
    return small


def sizes(model: HierarchyConfig, what: str) -> list[int]:
    """Return how many a model has of what grows: in each level, or levels."""
    if what == "levels":
        return [len(model.levels)]
    if what == "heads":
        return [level.block.heads * ("attention" in level.functions) for level in model.levels]
    return [level.units if what == "units" else level.repeat for level in model.levels]


def growable(now: HierarchyConfig, config: TrainConfig) -> list[int]:
    """Return the levels that can grow, the one with the smallest share of its size first.

    For levels, it is the number of the next one.
    """
    bound, what = cast("HierarchyConfig", config.model), config.grow.what
    pairs = list(zip(sizes(now, what), sizes(bound, what), strict=True))
    if what == "levels":
        return [size for size, most in pairs if size < most]
    shares = {number: size / most for number, (size, most) in enumerate(pairs) if size < most}
    return sorted(shares, key=lambda number: (shares[number], number))


def grow(model: Hierarchy, config: TrainConfig, level: int) -> Growth:
    """Return a model that has grown by one step. Raises `ConfigError` as `levels.growth` does.

    Args:
        model: before.
        config: with the model that it grows up to.
        level: one of `growable`.
    """
    bound, what = cast("HierarchyConfig", config.model), config.grow.what
    if what == "levels":
        heads = _with_levels(bound, level + 1).heads
        moved = {name: getattr(heads, name).level for name in vars(heads)}
        return growth.add_level(model, bound.levels[level], moved)
    if what == "heads":
        return growth.split_heads(model, level)
    if what == "units":
        units = model.config.levels[level].units
        return growth.split_units(model, level, min(units, bound.levels[level].units - units))
    return growth.add_blocks(model, level, 0 if config.grow.where == "bottom" else None)


def slowed(falls: Sequence[tuple[float, float]], share: float, window: int) -> bool:
    """Return whether a loss falls by a smaller power of the FLOPs than it did before.

    L = C^-a has the exponent a = -d log L / d log C, taken over `window` validations. While there
    is capacity left it does not fall, whatever it is.

    Args:
        falls: (FLOPs, loss), both above 0, at validations since the model last grew.
        share: of the largest exponent so far, below which the fall has slowed.
        window: validations between the ends of a fall.

    Example:
        >>> slowed([(1, 4.0), (2, 2.0), (4, 1.0), (8, 0.9)], 0.5, 1)
        True
    """
    pairs = zip(falls, falls[window:], strict=False)
    powers = [math.log(a / b) / math.log(y / x) for (x, a), (y, b) in pairs if y > x]
    return len(powers) > 1 and powers[-1] < share * max(powers)


def structure(watched: Mapping[str, Any], level: int) -> float:
    """Return how much the error of a level's units still tells of labels and of the next input.

    The sum of both shares R^2, 0 to 2, as `monitor` has watched them; 0 where it could not.
    """
    for row in watched.get("levels", ()):
        if row["level"] == level:
            return sum((row.get(target) or {}).get("error", 0.0) for target in TARGETS)
    return 0.0


def due(run: Run, state: RunState, watched: Mapping[str, Any]) -> int | None:
    """Return the level that a validation shows must grow; None: none. Updates the state."""
    config = replace(run.config, model=run.bound)
    weights = config.heads.used
    loss = sum(weight * state.last[f"dev_loss_{head}"] for head, weight in weights.items())
    state.falls = (*state.falls, (float(state.flops), loss))
    levels = growable(cast("HierarchyConfig", run.config.model), config)
    if not levels:
        return None
    if (period := config.grow.period) is not None:
        return levels[0] if state.grown < state.epoch // period else None
    watched_levels = range(len(cast("HierarchyConfig", run.config.model).levels))
    told = [structure(watched, level) for level in watched_levels]
    before, state.structure = state.structure, tuple(told)
    if config.grow.evidence == "loss":
        if not slowed(state.falls, config.grow.slope, config.grow.window):
            return None
    else:
        share, top = config.grow.persists, len(told) - 1
        levels = [
            level for level in levels
            if (at := min(level, top)) < len(before) and told[at] >= share * before[at] > 0
        ]  # fmt: skip
    return max(levels, key=lambda level: told[min(level, len(told) - 1)], default=None)


def after_validation(
    run: Run, state: RunState, watched: Mapping[str, Any], write: WriteMetrics
) -> tuple[Run, str]:
    """Let a run grow, if it is due; return it, and what has grown in words, "" for nothing.

    watched: what `monitor` has seen in this validation.

    Raises `ConfigError` if there is too little memory.
    """
    if not run.config.grow.grows or (level := due(run, state, watched)) is None:
        return run, ""
    config = replace(run.config, model=run.bound)
    problem = f"growth at level {level} needs more memory than {run.device} has"
    remedy = f"Configure a smaller model, in a new run; the checkpoint in {run.out} is intact"
    with (
        environment.memory_errors_as(ConfigError("grow.rule", problem, remedy)),
        torch.random.fork_rng(devices=()),
    ):
        torch.manual_seed(config.seed * 1_000_003 + state.step)
        grown = grow(cast("Hierarchy", run.model), config, level)
        run = _carried(run, grown)
    state.grown, state.falls, state.flops_rate = state.grown + 1, state.falls[-1:], 0.0
    state.parameters = count_parameters(run.model)
    size = sizes(grown.model.config, config.grow.what)
    state.metrics = write({
        "step": state.step, "epoch": state.epoch, "grown": state.grown, "grown_level": level,
        "sizes": size, "parameters": state.parameters,
        "flops": state.flops,
    })  # fmt: skip
    text = f"{config.grow.what} grow at level {level}: {'+'.join(map(str, size))}"
    text += f", {state.parameters:,} parameters"
    return run, f"step {state.step}, epoch {state.epoch}: {text}"


def _carried(run: Run, grown: Growth) -> Run:
    """Return the run with a grown model, and its optimiser's moments and averages."""
    model, config = grown.model, replace(run.config, model=grown.model.config)
    average = optimiser.Average(model, config.averaging)
    average.values |= grown.carried(run.average.values)
    adam = optimiser.adamw(
        model, config.learning_rate, config.weight_decay, run.optimiser.defaults["fused"]
    )
    kept = optimiser.moments(run.model, run.optimiser)
    optimiser.set_moments(model, adam, grown.moments(kept))
    learner = Learner(model, config, run.device, run.group, run.learner.links)
    return run._replace(
        config=config, model=model, optimiser=adam, average=average, learner=learner
    )


def _with_size(level: LevelConfig, size: int, what: str) -> LevelConfig:
    """Return a level with so many of what grows."""
    if what == "units":
        return replace(level, units=size)
    if what == "blocks":
        return replace(level, repeat=size)
    if not size:  # no attention
        return level
    width = level.block.head_width or level.width // level.block.heads
    return replace(level, block=replace(level.block, heads=size, head_width=width))


def _with_levels(bound: HierarchyConfig, count: int) -> HierarchyConfig:
    """Return the lowest levels of a model; heads above them read the top."""
    heads = bound.heads
    for name, head in vars(bound.heads).items():
        heads = replace(heads, **{name: replace(head, level=min(head.level, count - 1))})
    return replace(bound, levels=bound.levels[:count], heads=heads)
