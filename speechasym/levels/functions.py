"""The functions F of a block (C11), each looking for structure in frames.

All map x (B, F, D) to y (B, F, D), as `base.Function` says, and any may stand in any block.

Shapes: B batch, F frames, D width, E inner width.

[1] N. Shazeer, "GLU variants improve transformer", arXiv:2002.05202, 2020.
[2] A. Gulati et al., "Conformer: convolution-augmented transformer for speech recognition",
    Interspeech, 2020.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechasym.config import check_count
from speechasym.levels.attention import Attention
from speechasym.levels.base import Depthwise, Function, State, check_kernel, hide
from speechasym.levels.oscillator import Oscillator
from speechasym.levels.state_space import StateSpace

if TYPE_CHECKING:
    from speechasym.levels.config import BlockConfig


class Linear(Function):
    """y = W x + w at each frame."""

    def __init__(self, config: "BlockConfig") -> None:
        super().__init__(config.width, causal=True)
        self.out = nn.Linear(config.width, config.width)

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        return self.out(x), ()


class FeedForward(Function):
    """Two linear maps with SiLU between them, at each frame."""

    def __init__(self, config: "BlockConfig") -> None:
        super().__init__(config.width, causal=True)
        check_count("expansion", config.expansion)
        inner = config.width * config.expansion
        self.inside = nn.Linear(config.width, inner)
        self.out = nn.Linear(inner, config.width)

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        return self.out(functional.silu(self.inside(x))), ()


class Convolution(Function):
    """Depthwise separable: pointwise, gated linear unit [1], depthwise, pointwise [2]."""

    def __init__(self, config: "BlockConfig") -> None:
        super().__init__(config.width, config.causal)
        check_count("expansion", config.expansion)
        inner = config.width * config.expansion
        self.inside = nn.Linear(config.width, 2 * inner)
        self.taps = Depthwise(inner, config.kernel, config.dilation, config.causal)
        self.out = nn.Linear(inner, config.width)

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        x = hide(functional.glu(self.inside(x)), mask)  # 0 at padding, as beyond the ends
        y, before = self.taps(x, state[0] if state else None)
        return self.out(y), (before,)


class Gate(Function):
    """y = u(x) sigmoid(v(x)): a linear map times a gate that, for kernel > 1, sees neighbours.

    What attention gains over a linear map is mostly a product of two functions of the input (C21);
    this is the product alone.
    """

    def __init__(self, config: "BlockConfig") -> None:
        super().__init__(config.width, config.causal)
        width, kernel = config.width, config.kernel
        check_kernel(kernel, self.causal)
        self.inside = nn.Linear(width, 2 * width)
        self.taps = Depthwise(width, kernel, 1, self.causal) if kernel > 1 else None

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        u, v = self.inside(x).chunk(2, 2)
        if self.taps is not None:
            v, before = self.taps(hide(v, mask), state[0] if state else None)
            state = (before,)
        return u * torch.sigmoid(v), state or ()


class Constant(Function):
    """y = c at every frame, whatever x is: a learned vector as bias or mask (C21)."""

    def __init__(self, config: "BlockConfig") -> None:
        super().__init__(config.width, causal=True)
        # not 0: followed by a gain of 0, neither would ever learn
        value = 0.1 * torch.randn(config.width, device="cpu")  # see `check`
        self.value = nn.Parameter(value.to(torch.get_default_device()))

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        return self.value.expand_as(x), ()


FUNCTIONS: "dict[str, Callable[[BlockConfig], Function]]" = {
    "linear": Linear, "feedforward": FeedForward, "convolution": Convolution,
    "statespace": StateSpace, "oscillator": Oscillator, "attention": Attention, "gate": Gate,
    "constant": Constant,
}  # fmt: skip


def check(config: "BlockConfig") -> None:
    """Raise the `ConfigError` of a configuration's function, without allocating anything.

    Most arithmetic on the meta device imports torch's compiler, which takes 1 s and 120 MB, so
    initial values that need any are computed on the CPU.
    """
    with torch.device("meta"):
        FUNCTIONS[config.function](config)
