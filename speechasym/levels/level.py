"""A level: features drive units, units predict the input, and the error is passed on (C12).

What a level does with its input x:

    h = blocks(linear(x) + context)        h represents the input in its surroundings
    a = law(distances of h to prototypes)  units: lateral competition by rank (C4)
    x^ = W a, e = x - x^                   the units predict the input; the rest is the error
    y = h + scale(V a + U e)               the output
    events: the winner among a holds until another unit beats it by a scale; y is pooled over them

Without units (units = 0) a level is its blocks; without events it passes on all its steps. So a
transformer or a state-space model is a stack of levels too (C11).

Shapes: B batch, F steps (or frames of features), E events, I input channels, D width, U units,
S steps of a head, V classes (blank and symbols).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechasym.errors import ConfigError
from speechasym.levels import changed, events, streaming
from speechasym.levels.base import hide
from speechasym.levels.block import Block, Stack
from speechasym.levels.config import NESTED, BlockConfig, LevelConfig
from speechasym.levels.events import Events, Steps
from speechasym.levels.expectation import Expectation
from speechasym.levels.nested import Nested
from speechasym.levels.streaming import LevelState
from speechasym.levels.units import Units, of_state, shares
from speechasym.ranks.laws import selectivity

GAIN = 0.1  # initial gain of units and error, added to the blocks


@dataclass(frozen=True, eq=False)
class LevelOutput(Steps):
    """The steps of a level, and what it passes on."""

    passed: Steps  # y and what heads feed up, pooled over events: (B, E, D)
    activation: Tensor | None  # (B, F, U) of the units
    winner: Tensor | None  # (B, F) unit that holds
    error: Tensor | None  # (B, F) mean square of the normalised input that the units miss
    events: Events | None  # of the steps
    losses: dict[str, Tensor]  # weighted

    @property
    def selectivity(self) -> Tensor | None:
        """(B, F) 1 - H / log U of the units at each step (C6)."""
        return None if self.activation is None else selectivity(shares(self.activation))


class ModelOutput(NamedTuple):
    """The output of a model for a batch."""

    heads: dict[str, tuple[Tensor, Tensor]]  # log-probabilities (B, S, V) and lengths (B,)
    losses: dict[str, Tensor]  # other than the heads', weighted
    spans: dict[str, tuple[Tensor, Tensor]]  # start and end (B, S) of each head's steps, frames
    levels: list[LevelOutput]
    passes: Tensor | None = None  # (B,) that were needed, if levels above correct those below
    settled: Tensor | None = None  # (B,) whether units came to rest, if that ends the passes


class Level(nn.Module):
    """features -> units -> prediction of the input -> error -> events (C12, C15).

    `inputs` is I, the channels of its input.
    """

    def __init__(self, config: LevelConfig, inputs: int) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        self.kernel = 2 * config.stride + 1 if config.stride > 1 else 1
        self.enter = nn.Conv1d(inputs, config.width, self.kernel, config.stride)
        self.blocks = Stack([Block(block, _nested(block)) for block in config.blocks()])
        if config.context:
            self.context = nn.Linear(config.context, config.width, bias=False)
            nn.init.zeros_(self.context.weight)  # context has no effect until it is learned
        if config.units:
            self.units = Units(config, inputs)
            self.gain = nn.Parameter(torch.full((config.width,), GAIN))
        if config.steers in ("both", "gain"):
            self.gain_of_state = nn.Parameter(torch.zeros(config.units, config.width))
        if config.events != "none":
            self.weigh = nn.Linear(config.width, 1)
            self.duration = nn.Parameter(torch.zeros(config.width))
        if config.events in ("hysteresis", "entropy", "change"):
            self.hold = events.HysteresisScale(config.keep)
        if config.events == "entropy":
            self.expectation = Expectation(config.width, config.units)

    def forward(
        self,
        below: Steps,
        context: Tensor | None = None,
        feed_up: Callable[[Tensor], Tensor] | None = None,
    ) -> LevelOutput:
        """Compute the level's steps from those below, F = F' / stride of them, rounded up.

        Args:
            below: input steps (B, F', I).
            context: (B, F, context) from the level above, at the steps of this one.
            feed_up: from y (B, F, D), what is passed on in addition, of the same shape.

        Raises `ConfigError` for steps or context of other channels.
        """
        return self.finish(*self._represent(below, context), feed_up)

    @property
    def nested(self) -> list[Nested]:
        """Functions of the blocks that have levels of their own."""
        functions = [block.function for block in cast("list[Block]", list(self.blocks.blocks))]
        return [function for function in functions if isinstance(function, Nested)]

    def start(
        self, below: Steps, context: Tensor | None = None, gain: Tensor | None = None
    ) -> tuple[Tensor, Steps]:
        """Return what enters the residual blocks (B, F, D), and the input at the level's steps.

        gain: (B, F, D) of what enters, before the context is added.
        """
        if below.y.shape[2] != self.inputs:
            problem = f"must have {self.inputs} channels, got {below.y.shape[2]}"
            raise ConfigError("input of the level", problem, "Check the width of the level below")
        x = replace(below, y=hide(below.y, below.mask))
        h = self._entered(x.y)
        if gain is not None:
            h = h * gain
        if context is not None:
            if not self.config.context:
                raise ConfigError("context", "the level takes no context", "Set context > 0")
            if (shape := (*h.shape[:2], self.config.context)) != context.shape:
                problem = f"must have shape {shape}, got {tuple(context.shape)}"
                raise ConfigError("context", problem, "Give a row for each step of the level")
            h = h + self.context(context)
        return h, self.at_own_steps(x)

    def finish(
        self, y: Tensor, x: Steps, feed_up: Callable[[Tensor], Tensor] | None = None
    ) -> LevelOutput:
        """Compute units, error and events from the residual blocks' output y (B, F, D).

        x: the input at the level's steps, as `start` returns it.
        """
        state = None
        if self.config.steers in ("both", "units"):
            state = self._state(y, x.mask)[0]
        y, activation, error, losses = self._respond(y, x, state)
        if inside := [loss for function in self.nested for loss in function.take_losses()]:
            losses["inside"] = torch.stack(inside).sum()
        steps, passed = self._fed(y, x, feed_up)
        winner, grouped = self._events(activation, steps, losses, x)
        if grouped is not None:
            pooled = events.pool_steps(passed, self._weight(steps.y), grouped)
            passed = self._timed(pooled, grouped.size)
        return LevelOutput(**vars(steps), passed=passed, activation=activation, winner=winner,
                           error=error, events=grouped, losses=losses)  # fmt: skip

    def stream(
        self,
        below: Steps,
        state: LevelState | None = None,
        feed_up: Callable[[Tensor], Tensor] | None = None,
        last: bool = False,
    ) -> tuple[LevelOutput, LevelState]:
        """Compute the steps that are complete after the next ones below, and those passed on.

        Events are passed on when they close; `events` is None. There are no losses.

        Args:
            below: input steps (1, F', I) of one recording.
            state: after the steps before; None: these are the first.
            feed_up: as in `forward`.
            last: whether the recording ends here, so that what waits is completed.

        Raises `ConfigError` for steps of other channels, several recordings, or unless the level
        is causal.
        """
        streaming.check_level(self.config)
        if below.y.shape[::2] != (1, self.inputs):
            problem = f"must have shape (1, steps, {self.inputs}), got {tuple(below.y.shape)}"
            raise ConfigError("input of the level", problem, "Stream one recording at a time")
        stride = self.config.stride
        x, around, state = streaming.complete(below, state, stride, self.kernel - stride, last)
        x = self.at_own_steps(x)
        h = below.y.new_zeros(1, 0, self.config.width)
        if x.y.shape[1]:
            h = self.enter(around.transpose(1, 2)).transpose(1, 2)
        if self.config.steers in ("both", "gain"):
            with torch.no_grad():
                y, deciding = self.blocks.stream(h, state.deciding)
                held, now = self._state(y, x.mask, state.gain)
            h = h * (2 * torch.sigmoid(of_state(self.gain_of_state, held)))
            state = state._replace(deciding=deciding, gain=now)
        y, blocks = self.blocks.stream(h, state.blocks)
        state, steered = state._replace(blocks=blocks), None
        if self.config.steers in ("both", "units"):
            steered, now = self._state(y, x.mask, state.units)
            state = state._replace(units=now)
        y, activation, error, _ = self._respond(y, x, steered)
        steps, passed = self._fed(y, x, feed_up)
        winner = label = None
        if self.config.events == "hysteresis":
            assert activation is not None
            winner = label = self._winner(activation, x.mask, state.winner)
        if self.config.events == "entropy":
            label, _, rise = self.expectation.events(steps.y, self.hold.scale, state.rise)
            state = state._replace(rise=rise)
        if self.config.events != "none":
            window, weight = self._window, self._weight(steps.y)
            passed, size, state = streaming.close(passed, weight, label, window, state, last)
            passed = self._timed(passed, size)
        return LevelOutput(**vars(steps), passed=passed, activation=activation, winner=winner,
                           error=error, events=None, losses={}), state  # fmt: skip

    @property
    def _window(self) -> int:
        """Steps of an event by stride."""
        return max(1, round(1 / self.config.keep))

    def _respond(
        self, y: Tensor, x: Steps, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None, dict[str, Tensor]]:
        """Return what units make of the blocks' output y (B, F, D): y, activation, error, losses.

        state: (B, F) unit that steers them.
        """
        if not self.config.units:
            return y, None, None, {}
        losses = {}
        activation = self.units(y, x.mask, state)
        target, predicted, missed = self._missed(x, activation)
        error = missed.square().mean(-1) * x.mask
        if self.config.predict:
            # no gradient to the input: it is to be predicted, not to become predictable
            loss = (target.detach() - predicted).square().mean(-1) * x.mask
            losses["predict"] = self.config.predict * loss.sum() / x.mask.sum().clamp(min=1)
        return y + self._joined(activation, missed), activation, error, losses

    def _fed(
        self, y: Tensor, x: Steps, feed_up: Callable[[Tensor], Tensor] | None
    ) -> tuple[Steps, Steps]:
        """Return the steps y (B, F, D), and what they pass on before it is pooled over events."""
        steps = passed = replace(x, y=hide(y, x.mask))
        if feed_up is not None:
            passed = replace(x, y=hide(steps.y + feed_up(steps.y), x.mask))
        return steps, passed

    def _weight(self, y: Tensor) -> Tensor:
        """Return the weights (B, F) of steps y (B, F, D) in the mean over their event."""
        return self.weigh(y).squeeze(-1).clamp(-8, 8).exp()

    def _timed(self, passed: Steps, size: Tensor) -> Steps:
        """Add to events (B, E, D) how many steps (B, E) they had."""
        duration = torch.log2(size.clamp(min=1).to(passed.y.dtype))[..., None]
        timed = passed.y + duration * self.duration
        return replace(passed, y=timed * passed.mask[..., None])

    def _events(
        self, activation: Tensor | None, steps: Steps, losses: dict[str, Tensor], x: Steps
    ) -> tuple[Tensor | None, Events | None]:
        """Return winners and events of steps with input x, as far as there are; add to losses."""
        mask, winner, after = steps.mask, None, None
        if self.config.events == "stride":
            return None, events.windows(mask, self._window)
        if self.config.events == "none" or activation is None:
            return None, None
        if self.config.events == "entropy":
            loss = self.expectation.loss(steps.y, activation, mask)
            losses["expect"] = self.config.predict * loss
            label, after, _ = self.expectation.events(steps.y, self.hold.scale)
        elif self.config.events == "change":
            label = changed.between_peaks(changed.turning(x.y, mask), mask, self.hold.scale)
        else:
            winner = label = self._winner(activation, mask)
        grouped = events.changes(label, mask, after)
        if self.training:
            self.hold.track(grouped.number.sum(), mask.sum())
        return winner, grouped

    def _winner(self, activation: Tensor, mask: Tensor, before: Tensor | None = None) -> Tensor:
        """Return the unit (B, F) that holds, or is the strongest if nothing has to be held.

        before: (B,) that held before, -1 for none.
        """
        if self.config.events != "hysteresis":
            return activation.argmax(-1)
        return events.hold(shares(activation), mask, self.hold.scale, before)

    @torch.no_grad()
    def _state(
        self, h: Tensor, mask: Tensor, before: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the unit (B, F) that held at the step before, and the one (B,) that holds last.

        The decision is made from the blocks' output h (B, F, D), without any steering, so that it
        needs no recurrence. `before`: as of `_winner`.
        """
        with torch.autocast(h.device.type, enabled=False):
            activation = self.units.law(self.units.distances(self.units.key(h.float())))
        if before is None:
            before = mask.new_full((len(h),), -1, dtype=torch.long)
        held = torch.cat([before[:, None], self._winner(activation, mask, before)], 1)
        return held[:, :-1], held[:, -1]

    def prediction_error(self, below: Steps, activation: Tensor) -> tuple[Tensor, Tensor]:
        """Return the input (B, F, I) that units predict, and what activations (B, F, U) miss of it.

        below: input steps (B, F', I), as in `forward`.
        """
        x = self.at_own_steps(replace(below, y=hide(below.y, below.mask)))
        target, _, missed = self._missed(x, activation)
        return target, missed

    def _missed(self, x: Steps, activation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the normalised input, what units predict of it, and the difference."""
        target, predicted = _normalised(x.y), self.units.predict(activation)
        return target, predicted, target - predicted

    def _represent(self, below: Steps, context: Tensor | None = None) -> tuple[Tensor, Steps]:
        """Return the blocks' output h, and the input at the level's own steps."""
        h, x = self.start(below, context)
        if self.config.steers in ("both", "gain"):
            with torch.no_grad():
                state = self._state(self.blocks(h, x.mask), x.mask)[0]
            gain = 2 * torch.sigmoid(of_state(self.gain_of_state, state))
            h, x = self.start(below, context, gain)
        return self.blocks(h, x.mask), x

    @torch.no_grad()
    def initialise(self, batches: Sequence[Steps]) -> None:
        """Set prototypes and scale of hysteresis before training, from some of the input."""
        if not self.config.units and not self.nested:
            return
        represented = [self.start(below) for below in batches]
        for block in cast("list[Block]", list(self.blocks.blocks)):
            if isinstance(block.function, Nested):
                entered = [(block.scale_in(h), x.mask) for h, x in represented]
                block.function.initialise([Steps.of_frames(*pair) for pair in entered])
            represented = [(block(h, x.mask), x) for h, x in represented]
        if self.config.units and any(x.mask.any() for _, x in represented):
            self.units.initialise(torch.cat([self.units.key(h)[x.mask] for h, x in represented]))
            self.find_scale([(h, x.mask) for h, x in represented])

    def find_scale(self, represented: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Set the scale of hysteresis, if any, by the blocks' output (B, F, D) and its mask."""
        if self.config.events == "hysteresis":
            self.hold.initialise([(shares(self.units(h, mask)), mask) for h, mask in represented])

    def _entered(self, x: Tensor) -> Tensor:
        """Map x to the level's width: each step and, with a stride, the steps beside it."""
        return self.enter(self._padded(x)).transpose(1, 2)

    def around(self, x: Tensor) -> Tensor:
        """Return what `enter` sees at each of the level's steps: x (B, F', I) -> (B, F, I K)."""
        windows = self._padded(x).unfold(2, self.kernel, self.config.stride)
        return windows.transpose(1, 2).flatten(2)

    def _padded(self, x: Tensor) -> Tensor:
        stride = self.config.stride
        steps = -(-x.shape[1] // stride)
        around = self.kernel - stride
        before = around if self.config.block.causal else around // 2
        after = steps * stride - x.shape[1] + around - before
        return F.pad(x.transpose(1, 2), (before, after))

    def at_own_steps(self, x: Steps) -> Steps:
        """Return means of what is at the steps of the input, at the level's own."""
        stride = self.config.stride
        if stride == 1:
            return x
        return events.pool_steps(x, x.mask.to(x.y.dtype), events.windows(x.mask, stride))

    def _joined(self, activation: Tensor, missed: Tensor) -> Tensor | float:
        """Return what units and error add to the blocks' output."""
        if self.config.passes == "none":
            return 0.0
        parts = [self.units.value(activation)] if self.config.passes != "error" else []
        if self.config.passes != "units":
            parts.append(self.units.value_of_error(missed))
        return self.gain * _normalised(torch.stack(parts).sum(0))


def _nested(block: BlockConfig) -> Nested | None:
    """Return the levels inside a block, if its function is levels."""
    if block.function != NESTED:
        return None
    inputs = (block.width, *(level.width for level in block.levels))
    return Nested(block.width, [Level(*pair) for pair in zip(block.levels, inputs, strict=False)])


def _normalised(x: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], eps=1e-6)
