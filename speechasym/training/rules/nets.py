"""The small nets beside a stage: its own heads, the net that imitates the stages above, feedback.

They exist in training only, as `model.learning`; a trained model is exported without them.

Shapes: B batch, F steps, D width of a stage, I input channels, S steps of a head, V classes.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar, cast

import torch.nn.functional as nnf
from torch import Tensor, nn

from speechasym.levels.block import Block, Stack
from speechasym.levels.chain import Stage
from speechasym.levels.config import BlockConfig
from speechasym.levels.events import Steps
from speechasym.levels.hierarchy import HeadOutput, Hierarchy
from speechasym.training.config import LearningConfig

T = TypeVar("T", bound=Tensor)
KEY = 64  # channels that contrastive learning compares
NAME = "learning"  # of the nets in the model


class Heads(nn.Module):
    """CTC heads beside the model's own: the same symbols and slots, read at another stage.

    They have `layers` convolution blocks of their own, because what linear heads need at once is
    not what the stages above can use (docs/learning.md).
    """

    def __init__(self, model: Hierarchy, names: Sequence[str], width: int, layers: int) -> None:
        super().__init__()
        block = BlockConfig(function="convolution", width=width, depth=max(1, layers))
        self.blocks = Stack([Block(block) for _ in range(layers)])
        self.slots = {name: getattr(model.config.heads, name).slots for name in names}
        self.maps = nn.ModuleDict({n: nn.Linear(width, scores_of(model, n)) for n in names})

    def forward(self, steps: Steps) -> tuple[dict[str, HeadOutput], dict[str, HeadOutput]]:
        """Return log-probabilities (B, S, V) with lengths, and spans, of steps y (B, F, D)."""
        heads, spans = {}, {}
        y = self.blocks(steps.y, steps.mask)
        y = nnf.rms_norm(y, y.shape[-1:], eps=1e-6)
        for name, linear in self.maps.items():
            slots = self.slots[name]
            log_probs = linear(y).unflatten(-1, (slots, -1)).float().log_softmax(-1)
            heads[name] = (log_probs.flatten(1, 2), steps.mask.sum(1) * slots)
            start, end = (t.repeat_interleave(slots, 1) for t in (steps.start, steps.end))
            spans[name] = (start, end)
        return heads, spans


class StageNets(nn.Module):
    """What a stage below the top learns with; parts that the rule does not need are missing."""

    heads: Heads
    predict: nn.Linear
    next: nn.Linear

    def __init__(self, model: Hierarchy, stage: Stage, config: LearningConfig) -> None:
        super().__init__()
        width = model.config.levels[stage.level].width
        level_input = (
            model.inputs if stage.level == 0 else model.config.levels[stage.level - 1].width
        )
        inputs = level_input if stage.enters else width
        own = nearest_heads(model, stage.level)
        if {"ctc", "framewise"} & set(config.local) and not owns_heads(model, stage):
            self.heads = Heads(model, own, width, config.head_layers)
        for name in ("predict", "next"):
            if name in config.local:
                self.add_module(name, nn.Linear(width, inputs))
        if "contrastive" in config.local:
            self.query, self.key = nn.Linear(width, KEY), nn.Linear(width, KEY, bias=False)
        if config.rule != "local+global":
            return
        if config.feedback == "imitation":
            above = heads_above(model, stage.level) or own
            self.imitation = Heads(model, above, width, config.layers)
            if config.keep_input:
                self.decode = nn.Linear(width, inputs)
        elif config.feedback == "broadcast":
            learned = config.feedback_weights == "learned"
            top = nearest_heads(model, len(model.config.levels) - 1)
            self.feedback = nn.ModuleDict({
                name: nn.Linear(width, scores_of(model, name), bias=learned) for name in top
            })  # fmt: skip
            self.feedback.requires_grad_(learned)


def owns_heads(model: Hierarchy, stage: Stage) -> bool:
    """Whether heads of the model read this stage."""
    return stage.exits and any(level_of(model, name) == stage.level for name in model.heads)


def level_of(model: Hierarchy, head: str) -> int:
    """Return the level at which a head reads."""
    return int(getattr(model.config.heads, head).level)


def scores_of(model: Hierarchy, head: str) -> int:
    """Return the number of scores of a head at a step: its classes, for each slot."""
    return cast("nn.Linear", model.heads[head]).out_features


def nearest_heads(model: Hierarchy, level: int) -> list[str]:
    """Return the heads whose units a level is to learn: its own, or those next above, or below."""
    levels = {name: level_of(model, name) for name in model.heads}
    if not levels:
        return []
    above = [at for at in levels.values() if at >= level]
    nearest = min(above) if above else max(levels.values())
    return [name for name, at in levels.items() if at == nearest]


def heads_above(model: Hierarchy, level: int) -> list[str]:
    """Return the heads that read next above a level, if any do."""
    above = any(level_of(model, name) > level for name in model.heads)
    return nearest_heads(model, level + 1) if above else []


def add_nets(model: Hierarchy, stages: Sequence[Stage], config: LearningConfig) -> None:
    """Give a model the nets of all stages, drawn by torch's generator.

    The top needs none, unless the model has no heads.
    """
    top = nn.Module() if model.heads else StageNets(model, stages[-1], config)
    nets = [StageNets(model, stage, config) for stage in stages[:-1]]
    model.add_module(NAME, nn.ModuleList([*nets, top]))


def without_nets(tensors: Mapping[str, T]) -> dict[str, T]:
    """Return a model's tensors without those of the nets."""
    return {name: t for name, t in tensors.items() if not name.startswith(f"{NAME}.")}


def remove_nets(model: nn.Module) -> None:
    """Take away what `add_nets` has added."""
    if hasattr(model, NAME):
        delattr(model, NAME)
