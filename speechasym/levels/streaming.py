"""Levels on a stream: what waits for its next part, and which configurations allow that.

A step waits until its stride is complete, an event until another one begins (or its window is
full). What waits is bounded: an event that goes on is kept as its mean, its weight and its length.

Shapes: one recording; F steps, E events, I input channels, D width.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from speechasym.errors import ConfigError
from speechasym.levels import events
from speechasym.levels.base import State
from speechasym.levels.config import LevelConfig, ModelConfig
from speechasym.levels.events import Steps
from speechasym.levels.expectation import Rise

CAUSAL = "Train with model.every.block.causal=true"


class OpenEvent(NamedTuple):
    """The event that has not closed, as one step; no step where there is none."""

    steps: Steps  # (1, 0 or 1, D) weighted mean so far
    weight: Tensor  # (1, 0 or 1) summed
    size: Tensor  # (1, 0 or 1) steps


class LevelState(NamedTuple):
    """What a level remembers of the steps so far."""

    waiting: Steps  # (1, fewer than the stride, I) of a step that is not complete
    before: Tensor  # (1, kernel - stride, I) input before those
    blocks: tuple[State, ...] | None = None
    deciding: tuple[State, ...] | None = None  # of the pass that decides what steers the gain
    # (1,) units that held last, -1 for none: what steers the gain and the units, and of the events
    gain: Tensor | None = None
    units: Tensor | None = None
    winner: Tensor | None = None
    rise: Rise | None = None
    event: OpenEvent | None = None


class StreamState(NamedTuple):
    """What a hierarchy remembers of the frames so far."""

    frames: int
    levels: tuple[LevelState, ...]


def check(config: ModelConfig) -> None:
    """Raise `ConfigError` for a model that cannot stream; it names the option to train with."""
    if config.kind == "recurrent":
        problem = "recurrent reads every recording backwards too, so it cannot stream"
        raise ConfigError("model.kind", problem, f"Train a hierarchy. {CAUSAL}")
    for number, level in enumerate(config.levels):
        check_level(level, f"model.levels.{number}.")
    if config.feedback.passes > 1:
        problem = "levels above correct those below once they have read everything"
        raise ConfigError("model.feedback.passes", problem, "Train with model.feedback.passes=1")


def check_level(config: LevelConfig, place: str = "") -> None:
    """Raise `ConfigError` for a level that cannot stream; `place` is before its options."""
    if not config.block.causal:
        problem = "the level needs later frames, so it cannot stream"
        raise ConfigError(f"{place}block.causal", problem, CAUSAL)
    if config.events == "change":
        problem = "events by change need later steps, so the level cannot stream"
        raise ConfigError(f"{place}events", problem, "Train with events: hysteresis")
    if config.fluctuation and config.draws:
        problem = "the noise of a step depends on its number, which a stream does not keep"
        raise ConfigError(f"{place}draws", problem, "Train with draws=0")


def join(a: Steps, b: Steps) -> Steps:
    """Return the steps of b after those of a."""
    return Steps(*(torch.cat([getattr(a, n), getattr(b, n)], 1) for n in vars(a)))


def part(steps: Steps, which: slice) -> Steps:
    """Return some of the steps."""
    return Steps(*(value[:, which] for value in vars(steps).values()))


def complete(
    below: Steps, state: LevelState | None, stride: int, context: int, last: bool
) -> tuple[Steps, Tensor, LevelState]:
    """Return the input of the steps that are complete, with `context` steps before it, and a state.

    last: nothing follows, so that the last step is complete, with zeros after its input.
    """
    if state is None:
        none = part(below, slice(0))
        state = LevelState(none, below.y.new_zeros(1, context, below.y.shape[2]))
    x = join(state.waiting, below)
    used = x.y.shape[1] if last else x.y.shape[1] // stride * stride
    padded = torch.cat([state.before, x.y], 1)
    around = padded[:, : context + used]
    around = torch.nn.functional.pad(around, (0, 0, 0, -used % stride))
    state = state._replace(
        waiting=part(x, slice(used, None)), before=padded[:, used : used + context]
    )
    return part(x, slice(used)), around, state


def close(
    steps: Steps, weight: Tensor, winner: Tensor | None, window: int, state: LevelState, last: bool
) -> tuple[Steps, Tensor, LevelState]:
    """Return the events that have closed, their sizes (1, E), and a state with the open one.

    Args:
        steps: (1, F, D).
        weight: (1, F) of the steps in the mean over their event.
        winner: (1, F) unit that holds, or number of the event; an event ends where it changes;
            None: events are windows.
        window: steps of each, then.
        state: of the level, with the event that was open before.
        last: nothing follows, so that all events close.
    """
    size = torch.ones_like(steps.start)
    event, before, label = state.event, state.winner, winner
    if label is None:
        begun = 0 if event is None else int(event.size.sum())
        label = torch.arange(begun, begun + size.shape[1], device=size.device)[None] // window
    elif label.numel():
        state = state._replace(winner=label[:, -1])
    if event is not None and event.size.numel():  # it goes on as a single step before the others
        held = label.new_zeros(1) if before is None else before
        label = torch.cat([held[None], label], 1)
        steps = join(event.steps, steps)
        weight, size = torch.cat([event.weight, weight], 1), torch.cat([event.size, size], 1)
    grouped = events.changes(label, steps.mask)
    count = grouped.size.shape[1]
    pooled = events.pool_steps(steps, weight, grouped)
    weight = weight.new_zeros(1, count).scatter_add(1, grouped.of_step, weight)
    size = size.new_zeros(1, count).scatter_add(1, grouped.of_step, size)
    full = winner is None and bool((size[:, -1:] == window).all())
    closed = count if last or full else max(0, count - 1)
    rest = slice(closed, None)
    event = OpenEvent(part(pooled, rest), weight[:, rest], size[:, rest])
    return part(pooled, slice(closed)), size[:, :closed], state._replace(event=event)
