"""The block (C10): y = x + ScaleOut(F(ScaleIn(x))), with any F of `functions`, and its rivals.

One class; what differs from residual network to residual network is where a norm stands, and which
gain the branch has at the start. LayerNorm without bias is used throughout: on one CPU core it
takes a third of the time of RMSNorm, and it leaves zeros zero.

Shapes: B batch, F frames, D width.

[1] R. Xiong et al., "On layer normalization in the transformer architecture", ICML, 2020.
[2] J. Kim et al., "Peri-LN: revisiting normalization layer in the transformer architecture",
    ICML, 2025.
[3] T. Bachlechner et al., "ReZero is all you need: fast convergence at large depth", UAI, 2021.
[4] H. Touvron et al., "Going deeper with image transformers", ICCV, 2021.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from speechasym.errors import ConfigError
from speechasym.levels import functions
from speechasym.levels.functions import Function, State, check_choice, check_count, hide

# The one place where names become classes; with each, the options that it takes.
FUNCTIONS: dict[str, tuple[type[Function], tuple[str, ...]]] = {
    "linear": (functions.Linear, ()),
    "feedforward": (functions.FeedForward, ("expansion",)),
    "convolution": (functions.Convolution, ("kernel", "dilation", "expansion", "causal")),
    "statespace": (functions.StateSpace, ("heads", "states", "kernel", "expansion", "causal")),
    "attention": (functions.Attention, ("heads", "window", "weights", "law", "causal")),
    "gate": (functions.Gate, ("kernel", "causal")),
    "constant": (functions.Constant, ()),
}
ACTIVATIONS = ("compress", "none")
LEVELS = 2.0  # N of the compression at the start: |x| = 1, the norm's deviation, stays 1


class _Norm(NamedTuple):
    """Where norms stand, and the learned gain of a branch that has none: "", scalar or channel."""

    before: bool = False
    branch: bool = False
    sum: bool = False
    gain: str = ""


NORMS = {
    "theory": _Norm(before=True, branch=True),
    "pre": _Norm(before=True),  # [1]
    "post": _Norm(sum=True),  # [1]
    "sandwich": _Norm(before=True, branch=True),  # [2]
    "rezero": _Norm(gain="scalar"),  # [3]
    "layerscale": _Norm(before=True, gain="channel"),  # [4]
    "none": _Norm(),
}


@dataclass(frozen=True, kw_only=True)
class BlockConfig:
    """What a block is made of; `build` makes it. Options that the function lacks are ignored.

    Args:
        function: linear, feedforward, convolution, statespace, attention, gate or constant.
        width: D.
        norm: theory, pre, post, sandwich, rezero, layerscale or none.
        activation: of ScaleIn: compress, sign(x) log(1 + |x|) / log(N) with learned N (C5), or
            none; None: compress for theory, none for the others.
        depth: blocks in the stack; theory and layerscale choose their gain by it.
        gain: of the branch at the start. None: theory 1 / sqrt(depth), so that all blocks
            together add as much variance as came in; layerscale 0.1 up to 18 blocks, 1e-5 up to
            24, 1e-6 beyond [4]; rezero 0; sandwich 1.
        dropout: share of the branch's values set to 0 in training.
        causal: no frame looks at later ones.
        kernel: frames, odd unless causal (convolution, statespace, gate).
        dilation: frames (convolution).
        expansion: inner width by width (feedforward, convolution, statespace).
        heads: a divisor of the width (attention) or the inner width (statespace).
        states: of each channel (statespace).
        window: frames seen to either side, None for all (attention).
        weights, law: softmax, or rank with geometric, pareto or power (attention).

    Raises `ConfigError` for values out of range or that contradict each other.
    """

    function: str = "convolution"
    width: int = 128
    norm: str = "theory"
    activation: str | None = None
    depth: int = 1
    gain: float | None = None
    dropout: float = 0.0
    causal: bool = False
    kernel: int = 5
    dilation: int = 1
    expansion: int = 1
    heads: int = 4
    states: int = 16
    window: int | None = None
    weights: str = "softmax"
    law: str = "geometric"

    def __post_init__(self) -> None:
        check_choice("function", self.function, FUNCTIONS)
        check_choice("norm", self.norm, NORMS)
        if self.activation is not None:
            check_choice("activation", self.activation, ACTIVATIONS)
        check_count("depth", self.depth)
        if self.gain is not None:
            if not math.isfinite(self.gain):
                raise ConfigError("gain", f"{self.gain} is not finite", "Use 1")
            if not (NORMS[self.norm].branch or NORMS[self.norm].gain):
                raise ConfigError("gain", f"norm {self.norm!r} has none", "Leave it out")
        if not 0 <= self.dropout < 1:
            raise ConfigError("dropout", f"{self.dropout} is outside 0 ... 1", "Use 0.1")
        with torch.device("meta"):  # the function's own checks; nothing is allocated
            self.make_function()

    def make_function(self) -> Function:
        """The function alone, without norms."""
        kind, names = FUNCTIONS[self.function]
        options: dict[str, Any] = {name: getattr(self, name) for name in names}
        return kind(self.width, **options)

    @property
    def first_gain(self) -> float:
        """Gain of the branch at the start."""
        if self.gain is not None:
            return self.gain
        if self.norm == "theory":
            return 1 / math.sqrt(self.depth)
        if self.norm == "layerscale":
            return 0.1 if self.depth <= 18 else 1e-5 if self.depth <= 24 else 1e-6
        return 0.0 if self.norm == "rezero" else 1.0


def build(config: BlockConfig) -> "Block":
    """The block that a config describes."""
    return Block(
        config.make_function(),
        norm=config.norm,
        compress=(config.activation or ("compress" if config.norm == "theory" else "none"))
        == "compress",
        gain=config.first_gain,
        dropout=config.dropout,
    )


class Block(nn.Module):
    """y = x + ScaleOut(F(ScaleIn(x))); after the sum once more a norm where `norm` is post.

    Args:
        function: F; the block takes its width and causality.
        norm: one of NORMS.
        compress: ScaleIn ends with `Compress`.
        gain: of the branch at the start; not for pre, post, none.
        dropout: share of the branch's values set to 0 in training.
    """

    def __init__(
        self,
        function: Function,
        norm: str = "theory",
        compress: bool = False,
        gain: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        check_choice("norm", norm, NORMS)
        kind, width = NORMS[norm], function.width
        self.function, self.dropout = function, dropout
        self.norm_in = nn.LayerNorm(width, bias=False) if kind.before else None
        self.compress = Compress() if compress else None
        self.norm_out = nn.LayerNorm(width, bias=False) if kind.branch else None
        self.norm_sum = nn.LayerNorm(width, bias=False) if kind.sum else None
        self.gain: nn.Parameter | None = None
        if self.norm_out is not None:
            nn.init.constant_(self.norm_out.weight, gain)
        elif kind.gain:
            self.gain = nn.Parameter(torch.full((width if kind.gain == "channel" else 1,), gain))

    @property
    def width(self) -> int:
        """D."""
        return self.function.width

    @property
    def causal(self) -> bool:
        """Whether it can stream."""
        return self.function.causal

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, F, D), mask (B, F) True at real frames -> y (B, F, D), 0 at the others."""
        x = hide(x, mask)
        return self._sum(x, self.function(self._scale_in(x), mask))

    def stream(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The next frames x (B, F, D) -> y (B, F, D), state. Raises `ConfigError` unless causal."""
        branch, state = self.function.stream(self._scale_in(x), state)
        return self._sum(x, branch), state

    def _scale_in(self, x: Tensor) -> Tensor:
        if self.norm_in is not None:
            x = self.norm_in(x)
        return x if self.compress is None else self.compress(x)

    def _sum(self, x: Tensor, branch: Tensor) -> Tensor:
        """x + ScaleOut(branch); zeros, as at hidden frames, stay zeros."""
        if self.norm_out is not None:
            branch = self.norm_out(branch)
        if self.dropout:
            branch = functional.dropout(branch, self.dropout, self.training)
        y = x + branch if self.gain is None else torch.addcmul(x, branch, self.gain)
        return y if self.norm_sum is None else self.norm_sum(y)


class Stack(nn.Module):
    """Blocks one after the other, of one width.

    Args:
        blocks: one or more `Block`s.

    Raises `ConfigError` for none, or for different widths.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        super().__init__()
        if not blocks:
            raise ConfigError("blocks", "the list is empty", "Give one or more")
        widths = [block.width for block in blocks]
        if len(set(widths)) > 1:
            raise ConfigError("blocks", f"the widths are {widths}", "Use one width in a stack")
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, F, D), mask (B, F) True at real frames -> y (B, F, D), 0 at the others."""
        for block in self.blocks:
            x = block(x, mask)
        return x

    def stream(
        self, x: Tensor, state: tuple[State, ...] | None = None
    ) -> tuple[Tensor, tuple[State, ...]]:
        """The next frames x (B, F, D) -> y (B, F, D), state. Raises `ConfigError` unless causal."""
        after = []
        for i, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            x, own = block.stream(x, None if state is None else state[i])
            after.append(own)
        return x, tuple(after)


class Compress(nn.Module):
    """sign(x) log(1 + |x|) / log(N) with one learned N > 1 (C5): `zipf.compress`, at less cost."""

    def __init__(self, levels: float = LEVELS) -> None:
        super().__init__()
        self.log_excess = nn.Parameter(torch.tensor(levels - 1.01).log())

    @property
    def levels(self) -> Tensor:
        """N, from 1.01 on, so that 1 / log(N) stays below 100."""
        return 1.01 + self.log_excess.exp()

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return _Log.apply(x) / self.levels.log()


class _Log(torch.autograd.Function):
    """sign(x) log(1 + |x|), slope 1 / (1 + |x|): half the passes of the recorded operations."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.abs().log1p_().copysign_(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad / x.abs().add_(1)

    @staticmethod
    def vmap(info: Any, dims: tuple[int], x: Tensor) -> tuple[Tensor, int]:
        """Each value on its own: nothing to do."""
        return _Log.apply(x), dims[0]
