"""Weights and activations of few bits, simulated exactly: round to nearest, symmetric.

A group of weights (a tensor, or an output channel of it) has one scale: its greatest magnitude is
the greatest of 2^(b-1) - 1 levels on either side of 0.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from speechasym.config import check_choice
from speechasym.errors import ConfigError

SCHEMES = ("tensor", "channel")
LEAST, MOST = 2, 8  # bits


def matrices(model: nn.Module) -> dict[str, int]:
    """Return {parameter: axis of its output channels} of all that multiplies an input.

    Raises `ConfigError` for a model without any, or with one that is not finite.
    """
    axes = {}
    for name, weight in model.named_parameters():
        if weight.ndim < 2:
            continue
        if not bool(weight.isfinite().all()):
            raise ConfigError(name, "is not finite, so it has no scale", "Train the run again")
        axes[name] = 1 if name.endswith("taps.weight") else 0
    if not axes:
        raise ConfigError("model", "has no matrices to quantise", "Give a run with linear maps")
    return axes


def groups(weight: Tensor, axis: int | None) -> Tensor:
    """Return the groups (G, N) of a weight that share a scale; axis None: one."""
    return weight.reshape(1, -1) if axis is None else weight.movedim(axis, 0).flatten(1)


def rounded(weight: Tensor, bits: int, axis: int | None = None) -> Tensor:
    """Round a weight to the nearest of the levels of its groups. Raises `ConfigError` for bits.

    Example:
        >>> rounded(torch.tensor([1.0, 0.4, -0.6]), 2)
        tensor([ 1.,  0., -1.])
    """
    if not LEAST <= bits <= MOST:
        raise ConfigError("bits", f"must be {LEAST} to {MOST}, got {bits}", "Use 8 or 4")
    levels = 2 ** (bits - 1) - 1
    axes = () if axis is None else tuple(n for n in range(weight.ndim) if n != axis)
    greatest = weight.abs().amax(axes, keepdim=True) if axes else weight.abs().max()
    scale = (greatest / levels).clamp(min=torch.finfo(weight.dtype).tiny)
    return (weight / scale).round().clamp(-levels, levels) * scale


@torch.no_grad()
def quantised(
    model: nn.Module, bits: int, scheme: str, only: Sequence[str] | None = None
) -> nn.Module:
    """Return a copy of a model with its matrices rounded. Raises `ConfigError`.

    Args:
        scheme: tensor or channel: what has a scale of its own.
        only: names of the matrices to round; default: all.
    """
    check_choice("scheme", scheme, SCHEMES)
    axes, model = matrices(model), copy.deepcopy(model)
    for name in axes if only is None else only:
        if name not in axes:
            raise ConfigError(name, "is not a matrix of the model", "Use a name of `matrices`")
        weight = model.get_parameter(name)
        weight.copy_(rounded(weight, bits, axes[name] if scheme == "channel" else None))
    return model


@contextmanager
def rounded_inputs(model: nn.Module, bits: int, scheme: str) -> Iterator[None]:
    """Round what enters each linear map and convolution: one scale a call, or one a step.

    scheme: tensor, or channel: here each step of each utterance.
    """
    check_choice("scheme", scheme, SCHEMES)

    def each(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x = inputs[0]
        if scheme == "tensor":
            return (rounded(x, bits), *inputs[1:])
        if x.ndim == 3 and isinstance(_, nn.Conv1d):  # (B, channels, steps)
            return (rounded(x.mT.flatten(0, 1), bits, 0).unflatten(0, x.mT.shape[:2]).mT,)
        return (rounded(x.flatten(0, -2), bits, 0).view_as(x), *inputs[1:])

    kinds = (nn.Linear, nn.Conv1d)
    hooks = [m.register_forward_pre_hook(each) for m in model.modules() if isinstance(m, kinds)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def outliers(weight: Tensor, bits: int, axis: int | None) -> dict[str, float]:
    """Describe a weight and its rounding; ratios are means over groups, weighted by their size.

    Returns {ratio: max / rms, kurtosis: of Pearson, 3 for a normal law, step: of the levels over
    rms, noise: rms of what rounding changes over rms}.
    """
    parts = groups(weight.double(), axis)
    square = parts.square()
    rms = square.mean(1).sqrt().clamp(min=1e-30)
    ratio = parts.abs().amax(1) / rms
    centred = parts - parts.mean(1, keepdim=True)
    variance = centred.square().mean(1).clamp(min=1e-60)
    noise = (rounded(weight.double(), bits, axis) - weight.double()).square().mean()
    return {
        "ratio": float(ratio.mean()),
        "kurtosis": float((centred**4).mean(1).div(variance**2).mean()),
        "step": float(ratio.mean()) / (2 ** (bits - 1) - 1),
        "noise": float((noise / square.mean().clamp(min=1e-60)).sqrt()),
    }
