"""The baseline: convolution and two bidirectional GRU layers with CTC heads, of equal size.

With `intermediate` the phones are read after the first layer, letters after the middle one and
words after the last (of two, letters and words after the second); without it all from the top.

Shapes: B batch, F frames, S steps, V classes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechasym.errors import ConfigError
from speechasym.levels.functions import hide
from speechasym.levels.level import Output, real_frames


@dataclass(frozen=True, kw_only=True)
class RecurrentConfig:
    """Sizes of the baseline."""

    width: int = 64  # channels of the convolution
    hidden: int = 96  # of each direction of each layer
    layers: int = 2
    stride: int = 3  # frames a step
    dropout: float = 0.2
    intermediate: bool = False  # heads at their depths, or all on top

    def __post_init__(self) -> None:
        for name in ("width", "hidden", "layers", "stride"):
            if getattr(self, name) < 1:
                raise ConfigError(name, f"{getattr(self, name)} is less than 1", "Use 1 or more")
        if not 0 <= self.dropout < 1:
            raise ConfigError("dropout", f"{self.dropout} is not from 0 to below 1", "Use 0.2")


class Recurrent(nn.Module):
    """log-mel -> convolution -> GRUs -> CTC; the arguments are those of `Hierarchy`."""

    def __init__(self, config: RecurrentConfig, inputs: int, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        kernel = 2 * config.stride + 1
        self.enter = nn.Conv1d(inputs, config.width, kernel, config.stride, config.stride)
        sizes_in = [2 * config.hidden if n else config.width for n in range(config.layers)]
        # two GRUs of one direction take three quarters of the time of one of both, packed
        self.forwards = nn.ModuleList(_layer(size, config.hidden) for size in sizes_in)
        self.backwards = nn.ModuleList(_layer(size, config.hidden) for size in sizes_in)
        self.dropout = nn.Dropout(config.dropout)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(2 * config.hidden, size + 1) for name, size in sizes.items()}
        )

    def depth(self, head: str) -> int:
        """The layer that a head reads, from 0."""
        top = self.config.layers - 1
        share = {"phones": 0.0, "letters": 0.5, "words": 1.0}[head]
        return math.ceil(share * top) if self.config.intermediate else top

    def forward(self, features: Tensor, lengths: Tensor) -> Output:
        """features (B, F, D), lengths (B,) -> `level.Output` without levels."""
        stride = self.config.stride
        frames = features.shape[1]
        mask = real_frames(features, lengths, self.inputs)
        x = hide(features, mask).transpose(1, 2)
        steps = (lengths + stride - 1) // stride
        x = self.enter(F.pad(x, (0, -frames % stride)))[:, :, : int(steps.max())]
        x = F.gelu(x).transpose(1, 2)
        depths = []
        step = torch.arange(x.shape[1], device=x.device)
        # the real steps in reverse order, padding where it was: so no layer hears padding first
        turned = torch.where(step < steps[:, None], steps[:, None] - 1 - step, step)[..., None]
        for forwards, backwards in zip(self.forwards, self.backwards, strict=True):
            x = self.dropout(x)
            ahead, _ = forwards(x)
            back, _ = backwards(x.gather(1, turned.expand_as(x)))
            x = torch.cat([ahead, back.gather(1, turned.expand_as(back))], 2)
            depths.append(x)
        first = torch.arange(x.shape[1], device=x.device).expand(len(x), -1) * stride
        last = torch.minimum(first + stride, lengths[:, None])
        heads, spans = {}, {}
        for name, head in self.heads.items():
            scores = head(self.dropout(depths[self.depth(name)]))
            heads[name] = (scores.float().log_softmax(-1), steps)
            spans[name] = (torch.minimum(first, last), last)
        return Output(heads, {}, spans, [])


def _layer(inputs: int, hidden: int) -> nn.GRU:
    return nn.GRU(inputs, hidden, batch_first=True)
