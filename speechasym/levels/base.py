"""What the functions of a block share: masking, checks, streaming, depthwise convolution.

Shapes: B batch, F frames, D width, E inner width, K kernel.
"""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from speechasym.config import check_count
from speechasym.errors import ConfigError

State = tuple[Tensor, ...]


def check_kernel(kernel: int, causal: bool) -> None:
    """Raise `ConfigError` for an even kernel, which has no centre, unless causal."""
    check_count("kernel", kernel)
    if not causal and kernel % 2 == 0:
        remedy = f"Use {kernel + 1}, or causal=True"
        raise ConfigError("kernel", f"{kernel} is even, so it has no centre", remedy)


def check_heads(width: int, heads: int, whole: str = "width") -> None:
    """Raise `ConfigError` unless the heads divide the width."""
    check_count("heads", heads)
    if width % heads:
        near = max(h for h in range(1, heads) if width % h == 0)
        raise ConfigError("heads", f"{heads} does not divide the {whole} {width}", f"Use {near}")


def hide(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return x (B, F, ...) with zeros where mask (B, F) is False, even where x is NaN."""
    if mask is None:
        return x
    return x.masked_fill(~mask.view(*mask.shape, *(1,) * (x.ndim - 2)), 0)


def frame_mask(features: Tensor, lengths: Tensor, columns: int) -> Tensor:
    """Return the mask (B, F) of real frames. Raises `ConfigError` unless the shapes fit."""
    if features.ndim != 3 or features.shape[2] != columns:
        problem = f"must have shape (batch, frames, {columns} columns), got {tuple(features.shape)}"
        raise ConfigError("features", problem, "Extract them with the model's configuration")
    # CUDA would have to be waited for
    longest = int(lengths.max()) if lengths.device.type == "cpu" else 0
    if lengths.shape != features.shape[:1] or longest > features.shape[1]:
        shapes = f"{tuple(lengths.shape)} up to {longest} do not fit {tuple(features.shape)}"
        raise ConfigError("lengths", shapes, "Give the number of frames of each row of features")
    return torch.arange(features.shape[1], device=features.device) < lengths[:, None]


class Function(nn.Module, ABC):
    """A map of x (B, F, D) to y (B, F, D) in which padding neither influences frames nor survives.

    A causal function can stream: any chunking of the input gives the same result as the whole.

    Args:
        width: D.
        causal: whether y at a frame depends on no later frame.
    """

    def __init__(self, width: int, causal: bool) -> None:
        super().__init__()
        check_count("width", width)
        self.width, self.causal = width, causal

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map x (B, F, D) to y (B, F, D), which is 0 where mask (B, F) is False.

        Raises `ConfigError` for other shapes.
        """
        self._check(x, mask)
        y, _ = self._run(hide(x, mask), mask, None)
        return hide(y, mask)

    def stream(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Map the next frames x (B, F, D) to y (B, F, D), and return the state for the call after.

        Raises `ConfigError` unless the function is causal.
        """
        if not self.causal:
            problem = "needs later frames, so it cannot stream"
            raise ConfigError(type(self).__name__, problem, "Use causal=True")
        self._check(x, None)
        return self._run(x, None, state) if x.shape[1] else (x, state or ())

    def _check(self, x: Tensor, mask: Tensor | None) -> None:
        if x.ndim != 3 or x.shape[2] != self.width:
            problem = f"must have shape (batch, frames, {self.width}), got {tuple(x.shape)}"
            raise ConfigError("x", problem, "Map the features to this width")
        if mask is not None and (mask.shape != x.shape[:2] or mask.dtype != torch.bool):
            problem = f"must be bool {tuple(x.shape[:2])}, got {mask.dtype} {tuple(mask.shape)}"
            raise ConfigError("mask", problem, "Pass True at real frames")

    @abstractmethod
    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        """Compute y; x is 0 where mask is False, and y may be anything finite there."""


class Depthwise(nn.Module):
    """Convolution over frames with a separate kernel for each channel, zero-padded.

    Args:
        width: channels E.
        kernel: K taps, odd unless causal.
        dilation: frames from tap to tap.
        causal: use this frame and earlier ones; otherwise the taps are centred.
    """

    def __init__(self, width: int, kernel: int, dilation: int = 1, causal: bool = False) -> None:
        super().__init__()
        check_kernel(kernel, causal)
        check_count("dilation", dilation)
        self.dilation, self.causal = dilation, causal
        self.reach = (kernel - 1) * dilation
        # in place, which the meta device can do without torch's compiler, see `functions.check`
        weight = torch.empty(kernel, width).uniform_(-1, 1).div_(math.sqrt(kernel))
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map x (B, F, E), after frames (B, reach, E), to y (B, F, E) and the last frames of x."""
        if self.causal:
            if before is None:
                before = x.new_zeros(len(x), self.reach, x.shape[2])
            x = torch.cat([before, x], 1)
        else:
            x = functional.pad(x, (0, 0, self.reach // 2, self.reach // 2))
        y = _Taps.apply(x, self.weight, self.bias, self.dilation)
        return y, x[:, x.shape[1] - self.reach :]


class _Taps(torch.autograd.Function):
    """x (B, F + reach, E), weight (K, E), bias (E,) -> y (B, F, E): K shifted products.

    Forward and backward take a quarter to a half of the time of `conv1d(groups=E)` on one core.
    """

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
        frames = x.shape[1] - (len(weight) - 1) * dilation
        y = torch.addcmul(bias, x[:, :frames], weight[0])
        for k in range(1, len(weight)):
            y.addcmul_(x[:, k * dilation : k * dilation + frames], weight[k])
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, ctx.dilation = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, weight = ctx.saved_tensors
        frames = grad.shape[1]
        to_x, to_weight = torch.zeros_like(x), torch.empty_like(weight)
        product = torch.empty_like(grad)
        for k in range(len(weight)):
            frame = slice(k * ctx.dilation, k * ctx.dilation + frames)
            to_x[:, frame].addcmul_(grad, weight[k])
            torch.mul(grad, x[:, frame], out=product)
            torch.sum(product, (0, 1), out=to_weight[k])
        return to_x, to_weight, grad.sum((0, 1)), None

    @staticmethod
    def vmap(
        info: Any, dims: tuple[Any, ...], x: Tensor, weight: Tensor, bias: Tensor, dilation: int
    ) -> tuple[Tensor, int]:
        """Run several networks at once, with their channels side by side."""
        networks = info.batch_size

        def beside(t: Tensor, dim: int | None) -> Tensor:
            t = t.expand(networks, *t.shape) if dim is None else t.movedim(dim, 0)
            return t.movedim(0, -2).flatten(-2)

        parts = (beside(t, dim) for t, dim in zip((x, weight, bias), dims[:3], strict=True))
        return _Taps.apply(*parts, dilation).unflatten(-1, (networks, -1)), 2
