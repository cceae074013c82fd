"""A language model of levels: what is read so far -> the next symbol (C15, C16).

Upwards it is a hierarchy: the lowest level reads symbols one by one, and each level above one
event after another of the level below, whose ends no label marks. Downwards each level hears what
the level above made of all events that are complete, and the lowest one says what comes next:

    y[l] = level l(events of y[l - 1])
    z[l] = blocks(y[l] + linear(z[l + 1] of the last complete event)),  z[top] = y[top]
    p(next symbol) = softmax(linear(z[0]) + trust(z[0]) log p of a simpler model, if any)

A simpler model, such as n-grams, knows what is frequent; levels then learn what it misses, and how
far to trust it where.

With one level, without units and events, of attention and feed-forward blocks, this is a plain
transformer (C11).

Shapes: B batch, F symbols, S steps of a level, D width, V symbols.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechasym.config import check_count
from speechasym.errors import ConfigError
from speechasym.levels.base import frame_mask
from speechasym.levels.block import Block, Stack
from speechasym.levels.config import HierarchyConfig, LevelConfig
from speechasym.levels.events import Events, Steps
from speechasym.levels.hierarchy import Hierarchy
from speechasym.levels.level import LevelOutput, ModelOutput


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """A language model: its levels, and what is added downwards.

    Raises `ConfigError` for levels that use later symbols, or have a stride.
    """

    levels: tuple[LevelConfig, ...]  # from symbols to the longest events
    inputs: int = 64  # channels of a symbol
    down: int = 1  # repeats of a level's blocks after it has heard the level above
    dropout: float = 0.0  # share of the symbols' channels set to 0 in training
    corrects: bool = False  # whether levels correct the predictions of a simpler model
    # whether a level learns from its own errors and the answer's only, not from those of levels
    # that read it, so that no gradient passes through events
    local: bool = False

    def __post_init__(self) -> None:
        if not self.levels:
            raise ConfigError("levels", "is empty", "Give at least one")
        check_count("inputs", self.inputs)
        check_count("down", self.down)
        for number, level in enumerate(self.levels):
            at = f"levels.{number}"
            if not level.block.causal:
                problem = "false lets a symbol be predicted from itself"
                raise ConfigError(f"{at}.block.causal", problem, "Use true")
            if level.stride != 1:
                problem = f"must be 1, got {level.stride}, as each symbol is predicted"
                raise ConfigError(f"{at}.stride", problem, "Use events instead")
            if number + 1 < len(self.levels) and level.events == "none":
                problem = "the level above would read as many steps"
                raise ConfigError(f"{at}.events", problem, "Use hysteresis or stride")


class TextOutput(NamedTuple):
    """What a language model says of a batch of texts."""

    log_probs: Tensor  # (B, F, V) of the symbol after each, natural logarithms
    levels: list[LevelOutput]
    losses: dict[str, Tensor]  # other than the prediction's, weighted


class TextModel(nn.Module):
    """A language model of levels, see the module.

    Args:
        config: its levels.
        symbols: V.
    """

    def __init__(self, config: TextConfig, symbols: int) -> None:
        super().__init__()
        check_count("symbols", symbols)
        self.config = config
        self.embed = nn.Embedding(symbols, config.inputs)
        self.hierarchy = Hierarchy(HierarchyConfig(levels=config.levels), config.inputs, {})
        self.hear, self.down = nn.ModuleList(), nn.ModuleList()
        for level, above in pairwise(config.levels):
            self.hear.append(nn.Linear(above.width, level.width, bias=False))
            blocks = replace(level, repeat=config.down).blocks()
            self.down.append(Stack([Block(block) for block in blocks]))
        self.head = nn.Linear(config.levels[0].width, symbols)
        # the simpler model: from symbols (B, F) to log-probabilities (B, F, V); not saved with it
        self.prior: Callable[[Tensor], Tensor] | None = None
        if config.corrects:  # before training, the net says what the simpler model says
            self.trust = nn.Linear(config.levels[0].width, 1)
            for map_ in (self.head, self.trust):
                nn.init.zeros_(map_.weight)
                nn.init.zeros_(map_.bias)

    def initialise(self, symbols: Tensor) -> None:
        """Set units and scales before training, from texts (B, F) of symbols."""
        lengths = torch.full((len(symbols),), symbols.shape[1])
        with torch.no_grad():
            self.hierarchy.initialise([(self.embed(symbols), lengths)])

    def forward(self, symbols: Tensor, lengths: Tensor | None = None) -> TextOutput:
        """Predict the symbol after each of (B, F) symbols from it and those before it.

        lengths: (B,) of the texts; default: F.

        Raises `ConfigError` for levels that correct a model that is not there.
        """
        if self.config.corrects != (self.prior is not None):
            problem = "a model that is there is not corrected"
            if self.config.corrects:
                problem = "the simpler model that levels correct is missing"
            raise ConfigError("prior", problem, "Set `prior` of the model if it corrects one")
        if lengths is None:
            lengths = torch.full((len(symbols),), symbols.shape[1], device=symbols.device)
        x = F.dropout(self.embed(symbols), self.config.dropout, self.training)
        output = self._read(x, lengths)
        z = output.levels[-1].y
        for level, hear, down in reversed(
            list(zip(output.levels[:-1], self.hear, self.down, strict=True))
        ):
            heard = last_complete(hear(z), cast("Events", level.events))
            z = down(level.y + heard, level.mask)
        z = F.rms_norm(z, z.shape[-1:], eps=1e-6)
        scores = self.head(z).float()
        if self.prior is not None:
            scores = scores + self.trust(z).float().exp() * self.prior(symbols)
        return TextOutput(scores.log_softmax(-1), output.levels, output.losses)

    def _read(self, x: Tensor, lengths: Tensor) -> ModelOutput:
        if not self.config.local:
            return cast("ModelOutput", self.hierarchy(x, lengths))
        steps, levels = Steps.of_frames(x, frame_mask(x, lengths, self.config.inputs)), []
        for level in self.hierarchy.levels:
            levels.append(level(steps))
            steps = replace(levels[-1].passed, y=levels[-1].passed.y.detach())
        losses = {f"{k}{n}": v for n, level in enumerate(levels) for k, v in level.losses.items()}
        return ModelOutput({}, losses, {}, levels)


def last_complete(y: Tensor, events: Events) -> Tensor:
    """Return y (B, E, D) of the last event that has ended once each step is read: (B, S, D).

    Before the first event has ended there is none: zeros.
    """
    event = events.ended - 1
    index = event.clamp(0, y.shape[1] - 1)[..., None].expand(-1, -1, y.shape[2])
    return y.gather(1, index).masked_fill((event < 0)[..., None], 0)
