"""The hierarchy: levels on top of one another, with CTC heads where the theory puts them (C7, C16).

Phones are read from a low level, letters from a middle one, words from a high one, each by CTC
(`ctc`) over the steps of its level. A level sees what the one below passes on, so each works on
fewer, longer steps.

Shapes: B batch, F frames of features, S steps of a head, V classes (blank and symbols).
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechasym.errors import ConfigError
from speechasym.levels import feedback, presets, streaming
from speechasym.levels.base import frame_mask
from speechasym.levels.config import HeadConfig, HierarchyConfig, ModelConfig, RecurrentConfig
from speechasym.levels.events import HysteresisScale, Steps
from speechasym.levels.level import Level, LevelOutput, ModelOutput
from speechasym.levels.recurrent import Recurrent
from speechasym.levels.streaming import LevelState, StreamState

HeadOutput = tuple[Tensor, Tensor]  # (B, S, ...) and lengths (B,), or start and end (B, S)


class Hierarchy(nn.Module):
    """A stack of levels with CTC heads.

    Args:
        config: levels and heads.
        inputs: columns of the features.
        sizes: symbols of each head to build, without the blank, such as {"phones": 39}.

    Raises:
        ConfigError: a head on a level that does not exist.

    Example:
        >>> config = speechasym.read_config("run.yaml").model
        >>> model = speechasym.Hierarchy(config, 16, {"phones": 39, "letters": 27, "words": 9})
        >>> output = model(torch.randn(2, 200, 16), torch.tensor([200, 150]))
        >>> log_probs, steps = output.heads["phones"]
        >>> log_probs.shape  # (B, S, symbols and the blank)
        torch.Size([2, 67, 40])
    """

    def __init__(self, config: HierarchyConfig, inputs: int, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        self.levels = nn.ModuleList()
        for number, level in enumerate(config.levels):
            self.levels.append(Level(feedback.hearing(config, number), inputs))
            inputs = level.width
        self.heads, self.tells = nn.ModuleDict(), nn.ModuleDict()
        for name, symbols in sizes.items():
            head = self._head(name)
            if head.level >= len(config.levels):
                problem = f"level {head.level} does not exist: the model has {len(config.levels)}"
                raise ConfigError(f"heads.{name}.level", problem, "Count levels from 0")
            width = config.levels[head.level].width
            self.heads[name] = nn.Linear(width, (symbols + 1) * head.slots)
            if head.tells:
                self.tells[name] = nn.Linear((symbols + 1) * head.slots, width, bias=False)
        self.expectations = nn.ModuleList()
        if config.feedback.passes > 1:
            for below, level in pairwise(config.levels):
                options = config.feedback.dropout, config.feedback.gain
                sent = feedback.Expectation(level.width, below.units, *options)
                self.expectations.append(sent)

    @property
    def scales(self) -> Tensor:
        """Scale of the hysteresis of each level that has one, on the device."""
        scales = [m.scale for m in self.modules() if isinstance(m, HysteresisScale)]
        return torch.stack(scales) if scales else torch.zeros(0)

    @property
    def symbol_axes(self) -> dict[str, tuple[str, int]]:
        """Head, and axis of its classes, of each parameter that has values per symbol."""
        axes = {f"heads.{h}.{kind}": (h, 0) for h in self.heads for kind in ("weight", "bias")}
        return axes | {f"tells.{head}.weight": (head, 1) for head in self.tells}

    def initialise(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Set units and scales before training, from features (B, F, D) and lengths (B,)."""
        training = self.training
        self.eval()
        steps = [self._frames(features, lengths) for features, lengths in batches]
        with torch.no_grad():
            for level in self.levels:
                assert isinstance(level, Level)
                level.initialise(steps)
                steps = [level(below).passed for below in steps]
        self.train(training)

    def forward(
        self, features: Tensor, lengths: Tensor, probes: Collection[str] = ()
    ) -> ModelOutput:
        """Compute the output of all heads and levels.

        Args:
            features: (B, F, D).
            lengths: (B,) in frames.
            probes: heads that only read: their gradient does not enter the levels.

        Raises `ConfigError` for features with other columns, or lengths beyond their frames.
        """
        frames = self._frames(features, lengths)
        output = self._pass(frames, [None] * len(self.levels), probes)
        most = self.config.feedback.passes
        if self.training and self.config.feedback.vary:
            most = int(torch.randint(1, most + 1, ()))
        if most == 1:
            return output
        losses: list[Tensor] = []
        heard: list[Steps | None] = []
        settled = torch.zeros(len(lengths), dtype=torch.bool, device=features.device)
        passes = torch.ones_like(lengths)
        for _ in range(1, most):
            sent = feedback.listen(list(self.expectations), self._levels, output.levels)
            losses += [one.loss for one in sent]
            messages = [one.message for one in sent]
            if heard:
                messages = [
                    feedback.kept(old, new, settled)
                    for old, new in zip(heard, messages, strict=False)
                    if old is not None
                ]
            heard, before = [*messages, None], output
            output = self._pass(frames, heard, probes)
            passes = passes + ~settled
            if self.config.feedback.settle and not self.training:
                moved = feedback.change(before.levels, output.levels)
                settled = settled | (moved < self.config.feedback.settle)
                if settled.all():
                    break
        expected = self.config.feedback.predict * torch.stack(losses).mean()
        ended = settled if self.config.feedback.settle else None
        losses_ = output.losses | {"expect": expected}
        return output._replace(losses=losses_, passes=passes, settled=ended)

    def stream(
        self, x: Tensor, state: StreamState | None = None, last: bool = False
    ) -> tuple[ModelOutput, StreamState]:
        """Compute what the next frames complete: steps of heads and levels, events that close.

        Any division into parts gives the steps of the whole. There are no losses, and the levels'
        `events` are None.

        Args:
            x: (1, F, D) next features of one recording; F may be 0.
            state: after the frames before; None: these are the first.
            last: whether the recording ends here, so that what waits is completed.

        Raises `ConfigError` for features with other columns, or unless the model is causal, with
        the option to train with.

        Example:
            >>> output, state = model.stream(first)
            >>> output, state = model.stream(second, state, last=True)
        """
        if state is None:
            streaming.check(self.config)
        frames = self._frames(x, torch.tensor([x.shape[1]], device=x.device))
        done = 0 if state is None else state.frames
        steps = replace(frames, start=frames.start + done, end=frames.end + done)
        states: list[LevelState] = []

        def compute(stream: Any, feed_up: Any = None) -> LevelOutput:
            result, after = stream(feed_up=feed_up, last=last)
            states.append(after)
            return result

        output = ModelOutput({}, {}, {}, [])
        for number, level in enumerate(self._levels):
            stream = partial(level.stream, steps, None if state is None else state.levels[number])
            result, heads, spans = self.read_heads(number, partial(compute, stream))
            output.heads.update(heads)
            output.spans.update(spans)
            output.levels.append(result)
            steps = result.passed
        return output, StreamState(done + x.shape[1], tuple(states))

    @property
    def _levels(self) -> list[Level]:
        return cast("list[Level]", list(self.levels))

    def _pass(self, steps: Steps, heard: feedback.Messages, probes: Collection[str]) -> ModelOutput:
        """Compute all levels once, from the lowest up, given what each hears from above."""
        levels: list[LevelOutput] = []
        losses: dict[str, Tensor] = {}
        heads: dict[str, HeadOutput] = {}
        spans: dict[str, HeadOutput] = {}
        for number, (level, message) in enumerate(zip(self._levels, heard, strict=True)):
            context = None
            if message is not None and level.config.context:
                context = feedback.at(message, level.at_own_steps(steps))
            compute = partial(level, steps, context)
            output, read, spans_ = self.read_heads(number, compute, probes)
            levels.append(output)
            steps = output.passed
            losses |= {f"{name}{number}": loss for name, loss in output.losses.items()}
            heads |= read
            spans |= spans_
        return ModelOutput(heads, losses, spans, levels)

    def read_heads(
        self, number: int, compute: Callable[..., LevelOutput], probes: Collection[str] = ()
    ) -> tuple[LevelOutput, dict[str, HeadOutput], dict[str, HeadOutput]]:
        """Return a level's output, and log-probabilities and spans of its heads.

        Args:
            number: of the level.
            compute: returns its output, given `feed_up` (see `Level.forward`).
            probes: heads that only read.
        """
        names = [name for name in self.heads if self._head(name).level == number]
        feeding = [name for name in names if name in self.tells]
        log_probs: dict[str, Tensor] = {}
        feed_up = partial(self._feed_up, feeding, log_probs, probes) if feeding else None
        output = compute(feed_up=feed_up)
        heads: dict[str, HeadOutput] = {}
        spans: dict[str, HeadOutput] = {}
        for name in names:
            slots = self._head(name).slots
            if name not in log_probs:
                y = output.y.detach() if name in probes else output.y
                log_probs[name] = self._log_probs(name, y)
            heads[name] = (log_probs[name].flatten(1, 2), output.mask.sum(1) * slots)
            start, end = (t.repeat_interleave(slots, 1) for t in (output.start, output.end))
            spans[name] = (start, end)
        return output, heads, spans

    def _head(self, name: str) -> HeadConfig:
        return getattr(self.config.heads, name)

    def _frames(self, features: Tensor, lengths: Tensor) -> Steps:
        return Steps.of_frames(features, frame_mask(features, lengths, self.inputs))

    def _log_probs(self, name: str, y: Tensor) -> Tensor:
        """Return a head's (B, F, slots, V) at the steps y (B, F, D) of its level."""
        scores = self.heads[name](F.rms_norm(y, y.shape[-1:], eps=1e-6))
        return scores.unflatten(-1, (self._head(name).slots, -1)).float().log_softmax(-1)

    def _feed_up(
        self, names: Iterable[str], log_probs: dict[str, Tensor], probes: Collection[str], y: Tensor
    ) -> Tensor:
        """Return what heads add to the steps y passed on, and keep their log-probabilities."""
        added = torch.zeros_like(y)
        for name in names:
            log_probs[name] = self._log_probs(name, y.detach() if name in probes else y)
            added = added + self.tells[name](log_probs[name].exp().flatten(2).to(y.dtype))
        return added


def build_model(
    config: ModelConfig | Mapping[str, Any], inputs: int, sizes: Mapping[str, int]
) -> Hierarchy | Recurrent:
    """Build the model that a configuration describes.

    Args:
        config: a configuration, or the mapping from which `presets.model_config` reads one, such
            as {"preset": "tiny", "every": {"units": 48}}.
        inputs: columns of the features.
        sizes: symbols of each head, without the blank.

    Raises:
        ConfigError: an unknown preset or key, a value out of range, or shapes that do not fit.
    """
    if isinstance(config, Mapping):
        config = presets.model_config(config)
    if isinstance(config, RecurrentConfig):
        return Recurrent(config, inputs, sizes)
    return Hierarchy(config, inputs, sizes)


def count_parameters(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
