"""The functions F of a block (C11), each looking for structure in frames.

All map x (B, F, D) to y (B, F, D), as `base.Function` says, and any may stand in any block.

Shapes: B batch, F frames, D width, E inner width.

[1] N. Shazeer, "GLU variants improve transformer", arXiv:2002.05202, 2020.
[2] A. Gulati et al., "Conformer: convolution-augmented transformer for speech recognition",
    Interspeech, 2020.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from speechasym.config import check_choice, check_count
from speechasym.levels.attention import Attention
from speechasym.levels.base import Depthwise, Function, State, check_kernel, hide
from speechasym.levels.state_space import StateSpace

GATES: dict[str, Callable[[Tensor], Tensor]] = {"sigmoid": torch.sigmoid, "linear": lambda x: x}


class Linear(Function):
    """y = W x + w at each frame."""

    def __init__(self, width: int) -> None:
        super().__init__(width, causal=True)
        self.out = nn.Linear(width, width)

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        return self.out(x), ()


class FeedForward(Function):
    """Two linear maps with SiLU between them, at each frame; `expansion` is E / D."""

    def __init__(self, width: int, expansion: int = 1) -> None:
        super().__init__(width, causal=True)
        check_count("expansion", expansion)
        self.inside = nn.Linear(width, width * expansion)
        self.out = nn.Linear(width * expansion, width)

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        return self.out(functional.silu(self.inside(x))), ()


class Convolution(Function):
    """Depthwise separable: pointwise, gated linear unit [1], depthwise, pointwise [2].

    Args:
        width: D.
        kernel, dilation: of the depthwise part, frames; the kernel is odd unless causal.
        expansion: E / D.
        causal: use this frame and earlier ones only.
    """

    def __init__(
        self,
        width: int,
        kernel: int = 5,
        dilation: int = 1,
        expansion: int = 1,
        causal: bool = False,
    ) -> None:
        super().__init__(width, causal)
        check_count("expansion", expansion)
        inner = width * expansion
        self.inside = nn.Linear(width, 2 * inner)
        self.taps = Depthwise(inner, kernel, dilation, causal)
        self.out = nn.Linear(inner, width)

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        x = hide(functional.glu(self.inside(x)), mask)  # 0 at padding, as beyond the ends
        y, before = self.taps(x, state[0] if state else None)
        return self.out(y), (before,)


class Gate(Function):
    """y = u(x) g(v(x)): a linear map times another one that sees neighbouring frames.

    What attention gains over a linear map is mostly a product of two functions of the input (C21);
    this is the product alone.

    Args:
        width: D.
        kernel: depthwise taps of the gate, frames, odd unless causal; 1 for none.
        gate: sigmoid or linear.
        causal: use this frame and earlier ones only.
    """

    def __init__(
        self, width: int, kernel: int = 5, gate: str = "sigmoid", causal: bool = False
    ) -> None:
        super().__init__(width, causal)
        check_kernel(kernel, causal)
        check_choice("gate", gate, GATES)
        self.inside = nn.Linear(width, 2 * width)
        self.taps = Depthwise(width, kernel, 1, causal) if kernel > 1 else None
        self.gate = gate

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        u, v = self.inside(x).chunk(2, 2)
        if self.taps is not None:
            v, before = self.taps(hide(v, mask), state[0] if state else None)
            state = (before,)
        return u * GATES[self.gate](v), state or ()


class Constant(Function):
    """y = c at every frame, whatever x is: a learned vector as bias or mask (C21)."""

    def __init__(self, width: int) -> None:
        super().__init__(width, causal=True)
        # not 0: followed by a gain of 0, neither would ever learn
        self.value = nn.Parameter(0.1 * torch.randn(width))

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        return self.value.expand_as(x), ()


# Each function by its name in a configuration, with the options that it takes.
FUNCTIONS: dict[str, tuple[type[Function], tuple[str, ...]]] = {
    "linear": (Linear, ()),
    "feedforward": (FeedForward, ("expansion",)),
    "convolution": (Convolution, ("kernel", "dilation", "expansion", "causal")),
    "statespace": (StateSpace, ("heads", "states", "kernel", "expansion", "causal")),
    "attention": (Attention, ("heads", "window", "weights", "law", "causal")),
    "gate": (Gate, ("kernel", "causal")),
    "constant": (Constant, ()),
}


def make(name: str, width: int, options: Mapping[str, Any]) -> Function:
    """Return the function of a name, with the options that it takes. Raises `ConfigError`."""
    function, names = FUNCTIONS[name]
    return function(width, **{option: options[option] for option in names})


def check(name: str, width: int, options: Mapping[str, Any]) -> None:
    """Raise the `ConfigError` that `make` would raise, without allocating anything."""
    with torch.device("meta"):
        make(name, width, options)
