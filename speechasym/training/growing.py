"""Growth in a run: where it starts, when it grows, and by what (C9).

A run with `grow` begins with a part of the configured model, and grows at validations, without
changing what the model computes (`levels.growth`), until it has the configured size. The rules:

    periodic:K  every K epochs, the level that has the smallest share of its configured size
    asymmetry   when the dev loss falls, per FLOP, by less than `slope` of its steepest fall since
                the model last grew; the level whose units miss most of their input
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import torch

from speechasym.errors import ConfigError
from speechasym.levels import growth
from speechasym.levels.config import HierarchyConfig
from speechasym.levels.growth import Growth
from speechasym.levels.hierarchy import Hierarchy, count_parameters
from speechasym.training import checkpoints, environment, optimiser
from speechasym.training.config import TrainConfig, config_from_dict
from speechasym.training.distributed import ProcessGroup
from speechasym.training.grow_config import GrowConfig
from speechasym.training.rules.learner import Learner
from speechasym.training.run_folder import Run, RunState, WriteMetrics

TARGETS = ("labels", "following")  # of the residual structure


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
    sizes = {head: 1 for head in config.heads.used}
    with torch.device("meta"):  # all growths that will come, before the first step
        model = Hierarchy(small, 1, sizes)
        while levels := growable(model.config, config):
            model = grow(model, config, levels[0]).model
    return replace(config, model=small)


def started(bound: HierarchyConfig, config: GrowConfig) -> HierarchyConfig:
    """Return the model that a run begins with. Raises `ConfigError` if it is the whole one."""
    if config.what == "levels":
        small = _with_levels(bound, max(1, int(config.start * len(bound.levels))))
    else:
        levels = tuple(
            replace(level, repeat=max(1, int(config.start * level.repeat)))
            for level in bound.levels
        )
        small = replace(bound, levels=levels)
    if small == bound:
        sizes = [level.repeat for level in bound.levels]
        found = f"{len(sizes)} levels" if config.what == "levels" else f"repeat {sizes}"
        problem = f"{config.what} cannot grow: the run would start with all of {found}"
        remedy = "Use a larger model, a smaller grow.start, or grow=none"
        raise ConfigError("grow.what", problem, remedy)
    return small


def growable(now: HierarchyConfig, config: TrainConfig) -> list[int]:
    """Return the levels that can grow, the one with the smallest share of its size first.

    For levels, it is the number of the next one.
    """
    bound = cast("HierarchyConfig", config.model)
    if config.grow.what == "levels":
        return [len(now.levels)][: len(bound.levels) - len(now.levels)]
    shares = {
        number: level.repeat / most.repeat
        for number, (level, most) in enumerate(zip(now.levels, bound.levels, strict=True))
        if level.repeat < most.repeat
    }
    return sorted(shares, key=lambda number: (shares[number], number))


def grow(model: Hierarchy, config: TrainConfig, level: int) -> Growth:
    """Return a model that has grown by one step. Raises `ConfigError` as `levels.growth` does.

    Args:
        model: before.
        config: with the model that it grows up to.
        level: one of `growable`.
    """
    if config.grow.what == "levels":
        bound = cast("HierarchyConfig", config.model)
        heads = _with_levels(bound, level + 1).heads
        moved = {name: getattr(heads, name).level for name in vars(heads)}
        return growth.add_level(model, bound.levels[level], moved)
    return growth.add_blocks(model, level, 0 if config.grow.where == "bottom" else None)


def slowed(falls: Sequence[tuple[float, float]], share: float) -> bool:
    """Return whether a loss has lately fallen by less than a share of its steepest fall.

    Args:
        falls: (FLOPs, loss) at validations since the model last grew.
        share: the least of the steepest fall per FLOP.

    Example:
        >>> slowed([(0, 4.0), (1, 2.0), (2, 1.5)], 0.5)
        True
    """
    rates = [(a - b) / max(y - x, 1.0) for (x, a), (y, b) in pairwise(falls)]
    return len(rates) > 1 and rates[-1] < share * max(rates)


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
    if not slowed(state.falls, config.grow.slope):
        return None
    if config.grow.what == "levels":
        return levels[0]
    return max(levels, key=lambda level: structure(watched, level))


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
    state.grown, state.falls = state.grown + 1, state.falls[-1:]
    state.parameters = count_parameters(run.model)
    levels = grown.model.config.levels
    state.metrics = write({
        "step": state.step, "epoch": state.epoch, "grown": state.grown, "grown_level": level,
        "repeats": [each.repeat for each in levels], "parameters": state.parameters,
        "flops": state.flops,
    })  # fmt: skip
    sizes = "+".join(str(each.repeat) for each in levels)
    text = f"{config.grow.what} of level {level} grow: {sizes}, {state.parameters:,} parameters"
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


def _with_levels(bound: HierarchyConfig, count: int) -> HierarchyConfig:
    """Return the lowest levels of a model; heads above them read the top."""
    heads = bound.heads
    for name, head in vars(bound.heads).items():
        heads = replace(heads, **{name: replace(head, level=min(head.level, count - 1))})
    return replace(bound, levels=bound.levels[:count], heads=heads)
