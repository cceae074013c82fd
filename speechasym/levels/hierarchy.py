"""The hierarchy: levels on one another, with heads where the theory puts them (C7, C16).

Phones are read from a low level, letters from a middle one, words from a high one, each by CTC [1]
over the steps of its level. A level sees what the one below passes on, so each works on fewer,
longer steps.

Shapes: B batch, F frames of features, S steps of a head, V classes (blank and symbols).

[1] A. Graves et al., "Connectionist temporal classification", ICML, 2006.
[2] J. Nozaki, T. Komatsu, "Relaxing the conditional independence assumption of CTC-based ASR by
    conditioning on intermediate predictions", Interspeech, 2021.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechasym import config as settings
from speechasym.errors import ConfigError
from speechasym.levels import events, presets
from speechasym.levels.level import Level, LevelConfig, LevelOutput, Output, real_frames
from speechasym.levels.recurrent import Recurrent, RecurrentConfig


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """Where a head reads."""

    level: int = 0  # counted from 0, the lowest
    slots: int = 1  # symbols that one step may stand for: letters are more than events of phones
    tells: bool = False  # the level above hears how likely each symbol is [2]

    def __post_init__(self) -> None:
        if self.level < 0 or self.slots < 1:
            raise ConfigError(
                "level, slots", f"{self.level}, {self.slots}", "Use a level from 0, 1 or more slots"
            )


@dataclass(frozen=True, kw_only=True)
class HeadsConfig:
    """Where the heads read; those without labels in the training data are not built."""

    phones: HeadConfig = HeadConfig()
    letters: HeadConfig = HeadConfig()
    words: HeadConfig = HeadConfig()


@dataclass(frozen=True, kw_only=True)
class HierarchyConfig:
    """Levels from the lowest to the highest, and heads."""

    levels: tuple[LevelConfig, ...]
    heads: HeadsConfig = HeadsConfig()

    def __post_init__(self) -> None:
        if not self.levels:
            raise ConfigError("levels", "there are none", "Give at least one")


class Hierarchy(nn.Module):
    """A stack of levels with CTC heads.

    Args:
        config: levels and heads.
        inputs: columns of the features.
        sizes: symbols of each head to build, without the blank, such as {"phones": 39}.

    Raises:
        ConfigError: a head on a level that does not exist.
    """

    def __init__(self, config: HierarchyConfig, inputs: int, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        self.levels = nn.ModuleList()
        for level in config.levels:
            self.levels.append(Level(level, inputs))
            inputs = level.width
        self.heads, self.tells = nn.ModuleDict(), nn.ModuleDict()
        for name, symbols in sizes.items():
            head: HeadConfig = getattr(config.heads, name)
            if head.level >= len(config.levels):
                raise ConfigError(
                    f"heads.{name}.level",
                    f"{head.level} where there are {len(config.levels)} levels, counted from 0",
                    "Use a lower one",
                )
            width = config.levels[head.level].width
            self.heads[name] = nn.Linear(width, (symbols + 1) * head.slots)
            if head.tells:
                self.tells[name] = nn.Linear((symbols + 1) * head.slots, width, bias=False)

    @property
    def widths(self) -> list[float]:
        """Of the hysteresis of each level that has one."""
        return [m.width for m in self.modules() if isinstance(m, events.Width)]

    def fitted(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Set units and widths before training, from features (B, F, D) and lengths (B,)."""
        was = self.training
        self.eval()
        heard: list[tuple[Tensor, ...]] = [
            (features, real_frames(features, lengths, self.inputs)) for features, lengths in batches
        ]
        with torch.no_grad():
            for level in self.levels:
                assert isinstance(level, Level)
                level.fit([(x, mask) for x, mask, *_ in heard])
                outputs = [level(*one) for one in heard]
                heard = [(o.passed, o.passed_mask, o.passed_start, o.passed_end) for o in outputs]
        self.train(was)

    def forward(self, features: Tensor, lengths: Tensor) -> Output:
        """features (B, F, D), lengths (B,) in frames -> what every head and level says.

        Raises `ConfigError` for features of other columns, or lengths beyond their frames.
        """
        mask = real_frames(features, lengths, self.inputs)
        x, start, end = features, None, None
        levels: list[LevelOutput] = []
        losses: dict[str, Tensor] = {}
        heads: dict[str, tuple[Tensor, Tensor]] = {}
        spans: dict[str, tuple[Tensor, Tensor]] = {}
        for number, level in enumerate(self.levels):
            said: dict[str, Tensor] = {}
            tell = partial(self._tell, number, said) if self._tellers(number) else None
            out: LevelOutput = level(x, mask, start, end, tell=tell)
            levels.append(out)
            x, mask, start, end = out.passed, out.passed_mask, out.passed_start, out.passed_end
            losses |= {f"{name}{number}": loss for name, loss in out.losses.items()}
            for name in self._readers(number):
                slots = getattr(self.config.heads, name).slots
                log_probs = said[name] if name in said else self._log_probs(name, out.y)
                heads[name] = (log_probs.flatten(1, 2), out.mask.sum(1) * slots)
                spans[name] = (
                    out.start.repeat_interleave(slots, 1),
                    out.end.repeat_interleave(slots, 1),
                )
        return Output(heads, losses, spans, levels)

    def _readers(self, number: int) -> list[str]:
        """Heads on a level."""
        return [name for name in self.heads if getattr(self.config.heads, name).level == number]

    def _tellers(self, number: int) -> list[str]:
        return [name for name in self._readers(number) if name in self.tells]

    def _log_probs(self, name: str, y: Tensor) -> Tensor:
        """A head's (B, F, slots, V) on the steps y (B, F, D) of its level."""
        scores = self.heads[name](F.rms_norm(y, y.shape[-1:], eps=1e-6))
        slots = getattr(self.config.heads, name).slots
        return scores.unflatten(-1, (slots, -1)).float().log_softmax(-1)

    def _tell(self, number: int, said: dict[str, Tensor], y: Tensor) -> Tensor:
        """What the heads on a level tell the one above; their log-probabilities go into `said`."""
        told = torch.zeros_like(y)
        for name in self._tellers(number):
            said[name] = self._log_probs(name, y)
            told = told + self.tells[name](said[name].exp().flatten(2).to(y.dtype))
        return told


def build_model(mapping: Mapping[str, Any], inputs: int, sizes: Mapping[str, int]) -> nn.Module:
    """The model that a configuration describes.

    Args:
        mapping: `preset` (default tiny; `presets.PRESETS` lists them) and keys that override its
            own: `levels` by number, `every` for all levels, `heads`.
        inputs: columns of the features.
        sizes: symbols of each head, without the blank.

    Raises:
        ConfigError: an unknown preset or key, a value out of range, or shapes that do not fit.
    """
    full = presets.merged(mapping)
    kind = full.pop("kind", "levels")
    if kind not in ("levels", "recurrent"):
        raise ConfigError("model.kind", f"{kind!r} is unknown", "Use levels or recurrent")
    if kind == "recurrent":
        config = settings.build(RecurrentConfig, full, _place)
        return Recurrent(config, inputs, sizes)
    return Hierarchy(settings.build(HierarchyConfig, full, _place), inputs, sizes)


def _place(key: str) -> str:
    return f"model.{key}"


def parameters(model: nn.Module) -> int:
    """Number of trained parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
