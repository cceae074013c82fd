"""A level: features drive units, units predict the input, the error goes on (C12).

What a level does with its input x:

    h = blocks(linear(x) + context)        what the level makes of its input, with its neighbours
    a = law(distances of h to prototypes)  units: lateral competition by rank (C4)
    x^ = W a, e = x - x^                   the units predict the input; what they miss is the error
    y = h + scale(V a + U e)               what goes on
    events: the winner among a holds until another beats it by a width; y is pooled over them (C15)

Without units (units = 0) a level is its blocks; without events all steps go on. So a transformer
or a state-space model is a stack of levels too (C11). Sensory levels hear short stretches
(convolution), associative ones long stretches of few events (state space, attention); context from
above enters both, if they have a place for it.

Shapes: B batch, F steps, E events, I input channels, D width, U units, K channels of a
prototype, S steps of a head, V classes (blank and symbols).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechasym.errors import ConfigError
from speechasym.levels import events
from speechasym.levels.block import BlockConfig, Stack, build
from speechasym.levels.functions import hide
from speechasym.ranks.activation import RankActivation, selectivity

KEY = 32  # channels of a prototype
# Distances of normed keys lie in 0 to 4; times this, beta = 1 gives each step a few strong units
SHARPNESS = 10.0
THRESHOLD = 16.0  # beta where it is a threshold (relu, gelu): most distances are larger
FOLLOW = 0.1  # share by which the mean of the keys follows that of a batch
GAIN = 0.1  # of units and error beside the blocks, to begin with


@dataclass(frozen=True, kw_only=True)
class LevelConfig:
    """One level."""

    width: int = 128  # D
    functions: tuple[str, ...] = ("convolution", "feedforward")  # blocks, in order
    repeat: int = 1  # how often
    dilations: tuple[int, ...] = (1,)  # of convolutions, from repeat to repeat
    block: BlockConfig = field(default_factory=BlockConfig)  # what all blocks share
    stride: int = 1  # input steps a step; neighbours are heard too where it is more than 1
    context: int = 0  # channels of context from above; 0: no place for it
    units: int = 64  # U; 0: none
    law: str = "geometric"  # of the units, see `zipf.RankActivation`
    resolution: float | None = None  # N of the units to begin with; null: all
    passes: Literal["both", "units", "error", "none"] = "both"  # what joins the blocks' output
    predict: float = 0.1  # weight of the local error: the units' prediction of the input
    events: Literal["hysteresis", "stride", "none"] = "none"
    keep: float = 0.5  # wanted events per step; of stride: its inverse, rounded

    def __post_init__(self) -> None:
        for name in ("width", "repeat", "stride"):
            if getattr(self, name) < 1:
                raise ConfigError(name, f"{getattr(self, name)} is less than 1", "Use 1 or more")
        for name in ("context", "units", "predict"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(name, f"{getattr(self, name)} is not from 0", "Use 0 or more")
        if not self.dilations or min(self.dilations) < 1:
            raise ConfigError("dilations", f"{self.dilations} are not all 1 or more", "Use 1, 2")
        if self.units == 1:
            raise ConfigError("units", "one unit has nobody to compete with", "Use 0, or 2 or more")
        if self.events == "hysteresis" and not self.units:
            raise ConfigError(
                "events", "hysteresis needs units", "Use units > 0, or events stride or none"
            )
        if not 0 < self.keep <= 1:
            raise ConfigError("keep", f"{self.keep} is not from 0 to 1", "Give events per step")
        if self.units and self.law == "log":
            raise ConfigError("law", "log grows with distance", "Use another law for units")
        if not self.functions:
            raise ConfigError("functions", "there are none", "Give at least one")
        self.blocks()

    def blocks(self) -> tuple[BlockConfig, ...]:
        """Configurations of the blocks, in order. Raises `ConfigError` as they do."""
        return tuple(
            replace(
                self.block,
                function=name,
                width=self.width,
                depth=self.repeat * len(self.functions),
                dilation=self.dilations[i % len(self.dilations)],
            )
            for i in range(self.repeat)
            for name in self.functions
        )


class LevelOutput(NamedTuple):
    """What a level holds, step by step, and what it hands on."""

    y: Tensor  # (B, F, D) steps of the level
    mask: Tensor  # (B, F)
    start: Tensor  # (B, F) first frame of the features under each step,
    end: Tensor  # and the frame after its last one
    passed: Tensor  # (B, E, D) what goes on: y and what heads tell, pooled over events
    passed_mask: Tensor  # (B, E)
    passed_start: Tensor  # (B, E)
    passed_end: Tensor
    activation: Tensor | None  # (B, F, U) of the units
    winner: Tensor | None  # (B, F) unit that holds
    error: Tensor | None  # (B, F) mean square of what the units miss, of a normed input
    segments: events.Segments | None  # steps -> events
    losses: dict[str, Tensor]  # weighted

    @property
    def selectivity(self) -> Tensor | None:
        """(B, F) 1 - H / log U of the units at each step (C6)."""
        return None if self.activation is None else selectivity(_shares(self.activation))


class Output(NamedTuple):
    """What a model says of a batch."""

    heads: dict[str, tuple[Tensor, Tensor]]  # log-probabilities (B, S, V) and steps (B,)
    losses: dict[str, Tensor]  # beside the heads', weighted
    spans: dict[str, tuple[Tensor, Tensor]]  # frames from ... to under each step of a head: (B, S)
    levels: list[LevelOutput]  # what each level holds


def real_frames(features: Tensor, lengths: Tensor, columns: int) -> Tensor:
    """Mask (B, F) of what is not padding. Raises `ConfigError` unless the shapes fit together."""
    if features.ndim != 3 or features.shape[2] != columns:
        raise ConfigError(
            "features",
            f"shape {tuple(features.shape)}, expected (batch, frames, {columns} columns)",
            "Extract them as the model's were",
        )
    longest = int(lengths.max())
    if lengths.shape != features.shape[:1] or longest > features.shape[1]:
        raise ConfigError(
            "lengths",
            f"{tuple(lengths.shape)} up to {longest}, of features {tuple(features.shape)}",
            "Give the frames of each row",
        )
    return torch.arange(features.shape[1], device=features.device) < lengths[:, None]


class Units(nn.Module):
    """Prototypes that compete by rank, and what follows from who is active.

    Distances are between directions: of a step's key, less the mean of all keys, and of the
    prototypes. Without the mean all keys turn the same way as training begins, one unit wins
    everything, and the level above hears one long event.
    """

    centre: Tensor

    def __init__(self, config: LevelConfig, inputs: int) -> None:
        super().__init__()
        threshold = config.law in ("relu", "gelu")
        self.key = nn.Linear(config.width, KEY, bias=False)
        self.register_buffer("centre", torch.zeros(KEY))
        self.prototypes = nn.Parameter(torch.randn(config.units, KEY))
        self.law = RankActivation(
            config.units,
            config.law,
            beta=THRESHOLD if threshold else 1.0,
            resolution=config.resolution,
            soft=1.0,
        )
        self.predict = nn.Linear(config.units, inputs)
        if config.passes in ("both", "units"):
            self.value = nn.Linear(config.units, config.width, bias=False)
        if config.passes in ("both", "error"):
            self.value_of_error = nn.Linear(inputs, config.width, bias=False)

    def forward(self, h: Tensor, mask: Tensor) -> Tensor:
        """h (B, F, D), mask (B, F) -> activations (B, F, U).

        In float32 under mixed precision too: rivals are closer than bfloat16 can tell.
        """
        with torch.autocast(h.device.type, enabled=False):
            key = self.key(h.float())
            if self.training and mask.any():
                self.centre.lerp_(key.detach()[mask].mean(0), FOLLOW)
            key = F.normalize(key - self.centre, dim=-1)
            likeness = key @ F.normalize(self.prototypes, dim=-1).T
            return self.law((2 * SHARPNESS) * (1 - likeness).clamp(min=0))


class Level(nn.Module):
    """features -> units -> prediction of the input -> error -> events (C12, C15).

    Args:
        config: of the level.
        inputs: I, channels of its input.
    """

    def __init__(self, config: LevelConfig, inputs: int) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        self.kernel = 2 * config.stride + 1 if config.stride > 1 else 1
        self.enter = nn.Conv1d(inputs, config.width, self.kernel, config.stride)
        self.blocks = Stack([build(block) for block in config.blocks()])
        if config.context:
            self.context = nn.Linear(config.context, config.width, bias=False)
            nn.init.zeros_(self.context.weight)  # what is above has to show first that it helps
        if config.units:
            self.units = Units(config, inputs)
            self.gain = nn.Parameter(torch.full((config.width,), GAIN))
        if config.events != "none":
            self.weigh = nn.Linear(config.width, 1)
            self.duration = nn.Parameter(torch.zeros(config.width))
        if config.events == "hysteresis":
            self.hold = events.Width(config.keep)

    def forward(
        self,
        x: Tensor,
        mask: Tensor,
        start: Tensor | None = None,
        end: Tensor | None = None,
        context: Tensor | None = None,
        tell: Callable[[Tensor], Tensor] | None = None,
    ) -> LevelOutput:
        """x (B, F', I), mask (B, F') with the real steps first; F = F' / stride, rounded up.

        start, end: (B, F') frames under each step; without them steps are frames.
        context: (B, F, context) from above, at the steps of this level.
        tell: from y (B, F, D) to what goes on beside it, of its shape.
        """
        config = self.config
        h, x, mask, start, end = self._hear(x, mask, start, end, context)
        activation = winner = error = None
        losses: dict[str, Tensor] = {}
        y = h
        if config.units:
            activation = self.units(h, mask)
            target = _normed(x)
            predicted = self.units.predict(activation)
            off = target - predicted
            error = off.square().mean(-1) * mask
            if config.predict:
                # the input is what has to be predicted, not what has to become predictable
                missed = (target.detach() - predicted).square().mean(-1)
                losses["predict"] = config.predict * (missed * mask).sum() / mask.sum().clamp(min=1)
            y = y + self._joined(activation, off)
        y = hide(y, mask)
        told = y if tell is None else hide(y + tell(y), mask)
        if config.events == "none":
            return LevelOutput(
                y, mask, start, end, told, mask, start, end, activation, None, error, None, losses
            )
        if config.events == "stride":
            segments = events.windows(mask, max(1, round(1 / config.keep)))
        else:
            assert activation is not None
            winner = events.hold(_shares(activation), mask, self.hold.width)
            segments = events.changes(winner, mask)
            if self.training:
                self.hold.follow(segments.events.sum(), mask.sum())
        weight = self.weigh(y).squeeze(-1).clamp(-8, 8).exp()
        passed = events.pool(told, weight, segments)
        longer = torch.log2(segments.size.clamp(min=1).to(y.dtype))
        passed = (passed + longer[..., None] * self.duration) * segments.mask[..., None]
        first, last = events.spans(start, end, segments)
        return LevelOutput(
            y, mask, start, end, passed, segments.mask, first, last,
            activation, winner, error, segments, losses,
        )  # fmt: skip

    def _hear(
        self,
        x: Tensor,
        mask: Tensor,
        start: Tensor | None,
        end: Tensor | None,
        context: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Up to the blocks' output; with it the input, mask and times at the level's steps."""
        if start is None or end is None:
            start = torch.arange(x.shape[1], device=x.device).expand(mask.shape)
            end = start + 1
        x = hide(x, mask)
        h = self._enter(x)
        x, mask, start, end = self._strided(x, mask, start, end)
        if context is not None:
            if not self.config.context:
                raise ConfigError("context", "the level has no place for it", "Set context > 0")
            h = h + self.context(context)
        return self.blocks(h, mask), x, mask, start, end

    @torch.no_grad()
    def fit(self, heard: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Before training: prototypes among what is heard, and a width that gives the wanted rate.

        Untrained keys of different sounds hardly differ, so that random prototypes would have one
        winner for all. Prototypes are keys of steps drawn at random (by torch's generator).

        Args:
            heard: batches of input (B, F', I) and mask (B, F').
        """
        if not self.config.units:
            return
        hidden = [self._hear(x, mask, None, None, None)[:3:2] for x, mask in heard]
        keys = torch.cat([self.units.key(h)[mask] for h, mask in hidden])
        if not len(keys):
            return
        self.units.centre.copy_(keys.mean(0))
        drawn = torch.randperm(max(len(keys), self.config.units))[: self.config.units]
        self.units.prototypes.copy_((keys - keys.mean(0))[drawn % len(keys)])
        if self.config.events == "hysteresis":
            shares = [(_shares(self.units(h, mask)), mask) for h, mask in hidden]
            self.hold.find(shares)

    def _enter(self, x: Tensor) -> Tensor:
        """The level's own channels: of each step and, with a stride, of the steps beside it."""
        stride = self.config.stride
        steps = -(-x.shape[1] // stride)
        around = self.kernel - stride
        before = around if self.config.block.causal else around // 2
        after = steps * stride - x.shape[1] + around - before
        x = F.pad(x.transpose(1, 2), (before, after))
        return self.enter(x).transpose(1, 2)

    def _strided(
        self, x: Tensor, mask: Tensor, start: Tensor, end: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Means of the input, the mask and the times at the level's own steps."""
        stride = self.config.stride
        if stride == 1:
            return x, mask, start, end
        segments = events.windows(mask, stride)
        first, last = events.spans(start, end, segments)
        pooled = events.pool(x, mask.to(x.dtype), segments)
        own = segments.mask
        short = -(-mask.shape[1] // stride) - own.shape[1]  # where all rows are padded
        if short:
            pooled, own = F.pad(pooled, (0, 0, 0, short)), F.pad(own, (0, short))
            first, last = F.pad(first, (0, short)), F.pad(last, (0, short))
        return pooled, own, first, last

    def _joined(self, activation: Tensor, off: Tensor) -> Tensor | float:
        """What units and error add to the blocks' output."""
        if self.config.passes == "none":
            return 0.0
        parts = []
        if self.config.passes in ("both", "units"):
            parts.append(self.units.value(activation))
        if self.config.passes in ("both", "error"):
            parts.append(self.units.value_of_error(off))
        return self.gain * _normed(torch.stack(parts).sum(0))


def _normed(x: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], eps=1e-6)


def _shares(activation: Tensor) -> Tensor:
    """Activations that sum to 1, as those of a law do already."""
    positive = activation.detach().clamp(min=0)
    return positive / positive.sum(-1, keepdim=True).clamp(min=1e-12)
