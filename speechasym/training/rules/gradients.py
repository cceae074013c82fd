"""Gradients of stages: backpropagation through one, cosines, and putting them aside."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from speechasym.levels.chain import Carry


def backward(
    below: Carry, above: Carry, loss: Tensor, gradients: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """Backpropagate through a stage and return the gradients of what it has received.

    Args:
        below: what it has received.
        above: what it hands on.
        loss: of its own.
        gradients: of what it hands on; none at the top.
    """
    roots = [(loss, torch.ones_like(loss))] if loss.requires_grad else []
    if gradients:
        pairs = zip(above.tensors(), gradients, strict=True)
        roots += [(t, g) for t, g in pairs if g is not None and t.requires_grad]
    if roots:
        torch.autograd.backward(*map(list, zip(*roots, strict=True)))  # type: ignore[arg-type]
    return [tensor.grad for tensor in below.tensors()]


def cosine(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """Return the cosine between two gradients; what one of them lacks is 0. 0 if one is all 0."""
    product = sum(float((a[name] * b[name]).sum()) for name in a if name in b)
    norms = [sum(float(t.square().sum()) for t in side.values()) ** 0.5 for side in (a, b)]
    return product / (norms[0] * norms[1]) if all(norms) else 0.0


@contextmanager
def gradients_aside(model: nn.Module) -> Iterator[None]:
    """Within the block, parameters have no gradients; afterwards those of before."""
    kept = {p: p.grad for p in model.parameters()}
    for parameter in kept:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in kept.items():
            parameter.grad = gradient
