"""The block (C10): y = x + ScaleOut(F(ScaleIn(x))), with any F of `functions`, and its rivals.

One class covers all; residual networks differ in where a norm stands and in the initial gain of
the branch (`config.NORMS`). LayerNorm without bias is used throughout: on one CPU core it takes a
third of the time of RMSNorm, and it leaves zeros zero.

Shapes: B batch, F frames, D width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechasym.levels.base import Function, State, hide
from speechasym.levels.config import NORMS, BlockConfig
from speechasym.levels.functions import FUNCTIONS
from speechasym.ranks import laws

RESOLUTION = 2.0  # initial N of the compression: |x| = 1, the deviation of a norm, stays 1


class Block(nn.Module):
    """y = x + ScaleOut(F(ScaleIn(x))), followed by another norm if `norm` is post.

    `function` is F; default: the one that the configuration names.
    """

    def __init__(self, config: BlockConfig, function: Function | None = None) -> None:
        super().__init__()
        placement, width, gain = NORMS[config.norm], config.width, config.initial_gain
        self.dropout = config.dropout
        self.function = function or FUNCTIONS[config.function](config)
        self.norm_in = nn.LayerNorm(width, bias=False) if placement.before else None
        self.compress = Compress() if config.compress else None
        self.norm_out = nn.LayerNorm(width, bias=False) if placement.branch else None
        self.norm_sum = nn.LayerNorm(width, bias=False) if placement.sum else None
        self.gain: nn.Parameter | None = None
        if self.norm_out is not None:
            nn.init.constant_(self.norm_out.weight, gain)
        elif placement.gain:
            size = width if placement.gain == "channel" else 1
            self.gain = nn.Parameter(torch.full((size,), gain))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map x (B, F, D) to y (B, F, D), which is 0 where mask (B, F) is False."""
        x = hide(x, mask)
        return self._sum(x, self.function(self.scale_in(x), mask))

    def stream(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Map the next frames x (B, F, D) to y (B, F, D). Raises `ConfigError` unless causal."""
        branch, state = self.function.stream(self.scale_in(x), state)
        return self._sum(x, branch), state

    def scale_in(self, x: Tensor) -> Tensor:
        """Normalise and compress x (B, F, D), as far as the block does."""
        if self.norm_in is not None:
            x = self.norm_in(x)
        return x if self.compress is None else self.compress(x)

    def _sum(self, x: Tensor, branch: Tensor) -> Tensor:
        """Compute x + ScaleOut(branch); zeros, as at hidden frames, stay zeros."""
        if self.norm_out is not None:
            branch = self.norm_out(branch)
        if self.dropout:
            branch = functional.dropout(branch, self.dropout, self.training)
        y = x + branch if self.gain is None else torch.addcmul(x, branch, self.gain)
        return y if self.norm_sum is None else self.norm_sum(y)


class Stack(nn.Module):
    """A sequence of blocks of the same width."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, mask: Tensor | None = None, part: slice = slice(None)) -> Tensor:
        """Map x (B, F, D) to y (B, F, D), which is 0 where mask (B, F) is False.

        part: the blocks to compute; default: all.
        """
        for block in list(self.blocks)[part]:
            x = block(x, mask)
        return x

    def stream(
        self, x: Tensor, state: tuple[State, ...] | None = None
    ) -> tuple[Tensor, tuple[State, ...]]:
        """Map the next frames x (B, F, D) to y (B, F, D). Raises `ConfigError` unless causal."""
        states = []
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            x, block_state = block.stream(x, None if state is None else state[i])
            states.append(block_state)
        return x, tuple(states)


class Compress(nn.Module):
    """sign(x) log(1 + |x|) / log(N) with one learned N > 1 (C5)."""

    def __init__(self, resolution: float = RESOLUTION) -> None:
        super().__init__()
        self.log_excess = nn.Parameter(torch.tensor(resolution - 1.01).log())

    @property
    def resolution(self) -> Tensor:
        """N, at least 1.01, so that 1 / log(N) stays below 100."""
        return 1.01 + self.log_excess.exp()

    def forward(self, x: Tensor) -> Tensor:
        """Compress x of any shape."""
        return laws.compress(x, self.resolution)
