"""The recurrent baseline: convolution and bidirectional GRU layers with CTC heads.

With `intermediate` the phones are read from the first layer, letters from the middle one and words
from the last (of two, letters and words from the second); otherwise all from the last.

Shapes: B batch, F frames, S steps, V classes.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from speechasym.levels.base import frame_mask, hide
from speechasym.levels.config import RecurrentConfig
from speechasym.levels.level import ModelOutput


class Recurrent(nn.Module):
    """features -> convolution -> GRUs -> CTC heads; the arguments are those of `Hierarchy`."""

    def __init__(self, config: RecurrentConfig, inputs: int, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.config, self.inputs = config, inputs
        kernel = 2 * config.stride + 1
        self.enter = nn.Conv1d(inputs, config.width, kernel, config.stride, config.stride)
        sizes_in = [2 * config.hidden if n else config.width for n in range(config.layers)]
        # two unidirectional GRUs take three quarters of the time of a packed bidirectional one
        self.forwards, self.backwards = (
            nn.ModuleList(nn.GRU(size, config.hidden, batch_first=True) for size in sizes_in)
            for _ in range(2)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(2 * config.hidden, size + 1) for name, size in sizes.items()}
        )

    @property
    def symbol_axes(self) -> dict[str, tuple[str, int]]:
        """Head, and axis of its classes, of each parameter that has values per symbol."""
        return {f"heads.{h}.{kind}": (h, 0) for h in self.heads for kind in ("weight", "bias")}

    def depth(self, head: str) -> int:
        """Return the layer that a head reads, from 0."""
        top = self.config.layers - 1
        share = {"phones": 0.0, "letters": 0.5, "words": 1.0}[head]
        return math.ceil(share * top) if self.config.intermediate else top

    def forward(self, features: Tensor, lengths: Tensor) -> ModelOutput:
        """Compute the heads' output for features (B, F, D) and lengths (B,) in frames."""
        stride = self.config.stride
        frames = features.shape[1]
        mask = frame_mask(features, lengths, self.inputs)
        x = hide(features, mask).transpose(1, 2)
        steps = (lengths + stride - 1) // stride
        x = self.enter(F.pad(x, (0, -frames % stride)))[:, :, : int(steps.max())]
        x = F.gelu(x).transpose(1, 2)
        step = torch.arange(x.shape[1], device=x.device)
        # the real steps in reverse order, before the padding, so that no layer starts on padding
        reverse = torch.where(step < steps[:, None], steps[:, None] - 1 - step, step)[..., None]
        layers = []
        for forwards, backwards in zip(self.forwards, self.backwards, strict=True):
            x = self.dropout(x)
            past, _ = forwards(x)
            future, _ = backwards(x.gather(1, reverse.expand_as(x)))
            x = torch.cat([past, future.gather(1, reverse.expand_as(future))], 2)
            layers.append(x)
        first = step.expand(len(x), -1) * stride
        last = torch.minimum(first + stride, lengths[:, None])
        heads, spans = {}, {}
        for name, head in self.heads.items():
            scores = head(self.dropout(layers[self.depth(name)]))
            heads[name] = (scores.float().log_softmax(-1), steps)
            spans[name] = (torch.minimum(first, last), last)
        return ModelOutput(heads, {}, spans, [])
