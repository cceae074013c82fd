"""Rank laws as functions (C4-C7): how units share activity by their distance from the input.

Distances x >= 0 come in; small ones are strong. A geometric law follows from a bound on the mean
rank, a power law (Zipf's) from one on the mean logarithm of the rank: see docs/theory.md. Finite
input never gives NaN; padding behind a mask may hold anything.

Shapes: U units, `...` any leading dimensions.

[1] G. K. Zipf, "Human Behavior and the Principle of Least Effort", Addison-Wesley, 1949.
[2] A. F. T. Martins, R. F. Astudillo, "From softmax to sparsemax", ICML 2016.
[3] B. Peters, V. Niculae, A. F. T. Martins, "Sparse sequence-to-sequence models", ACL 2019.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from speechasym.config import check_range
from speechasym.errors import ConfigError

_CUT = 87.0  # exp(-87) is about the smallest normal float32: a unit further off has no weight
_EDGE = 0.25  # ranks over which the support ends: unit N keeps 0.88 of its weight, N + 1 0.12


def _decayed_sums(weight: Tensor, decay: Tensor) -> Tensor:
    """Compute s_i = decay_i (s_(i-1) + weight_(i-1)), s_0 = 0, of (..., U) by doubling."""
    decay = F.pad(decay[..., 1:], (1, 0))  # nothing precedes the first
    total = decay * weight.roll(1, -1)
    step = 1
    while step < weight.shape[-1]:
        total[..., step:] += decay[..., step:] * total[..., :-step]
        decay[..., step:] = decay[..., step:] * decay[..., :-step]
        step *= 2
    return total


def _neighbours(weight: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
    """Sum weight_j exp(-|x_i - x_j| / tau) over the units below each, and over those above."""
    below = _decayed_sums(weight, gap)
    above = _decayed_sums(weight.flip(-1), F.pad(gap[..., 1:].flip(-1), (1, 0)))
    return below, above.flip(-1)


class _SoftRanks(torch.autograd.Function):
    """Pairwise soft ranks in O(U log U): an exponential kernel needs only sums over sorted x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tau: float) -> Tensor:
        sorted_x, order = x.sort(-1)
        gap = torch.exp(F.pad(-sorted_x.diff(dim=-1) / tau, (1, 0)))
        below, above = _neighbours(torch.ones_like(x), gap)
        rank = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
        ctx.save_for_backward(gap, order, below + above)
        ctx.tau = tau
        return torch.empty_like(x).scatter_(-1, order, rank + (above - below) / 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        gap, order, near = ctx.saved_tensors
        grad = grad.gather(-1, order)
        below, above = _neighbours(grad, gap)
        slope = (near * grad - below - above) / (2 * ctx.tau)
        return torch.empty_like(grad).scatter_(-1, order, slope), None


def ranks(x: Tensor, soft: float | None = None, mask: Tensor | None = None) -> Tensor:
    """Return the ranks of distances, from 1 for the smallest; ties share their mean.

    Args:
        x: distances (..., U).
        soft: None for exact ranks, through which no gradient passes; or the just noticeable
            difference of distances tau: rank_i = 1 + sum over j != i of k((x_i - x_j) / tau),
            with k(u) = exp(u) / 2 for u < 0 and 1 - exp(-u) / 2 otherwise. For tau -> 0 these are
            the exact ranks, ties included.
        mask: True where a unit takes part; the others come last.

    Raises:
        ConfigError: soft is not positive.
    """
    check_range("soft", soft, "0.3, or None for exact ranks", above=True)
    if mask is not None:
        x = x.masked_fill(~mask, torch.finfo(x.dtype).max)
    if soft is not None:
        return _SoftRanks.apply(x, soft)
    sorted_x, order = x.detach().sort(-1)
    rank = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    rises = sorted_x.diff(dim=-1) > 0
    first = F.pad(torch.where(rises, rank[1:], 1), (1, 0), value=1).cummax(-1).values
    last = F.pad(torch.where(rises, rank[:-1], rank[-1:]), (0, 1), value=x.shape[-1])
    last = last.flip(-1).cummin(-1).values.flip(-1)
    return torch.empty_like(sorted_x).scatter_(-1, order, (first + last) / 2)


def logits(x: Tensor, beta: float | Tensor, mask: Tensor | None) -> Tensor:
    """Return -x / beta up to a constant: 0 for the strongest unit, at least -87."""
    if not isinstance(beta, Tensor):
        if not beta > 0:
            raise ConfigError("beta", f"must be > 0, got {beta}", "Use for example 1")
        beta = x.new_tensor(beta)
    if mask is not None:
        x = x.masked_fill(~mask, torch.finfo(x.dtype).max)
    # Clipped before the division, so that no quotient overflows, forwards or backwards.
    excess = x - x.detach().amin(-1, keepdim=True)
    return -torch.minimum(excess, _CUT * beta.detach()) / beta


def masked(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Return scores that leave units out of a law where the mask is False."""
    return scores if mask is None else scores.masked_fill(~mask, torch.finfo(scores.dtype).min / 2)


def _shares(x: Tensor, beta: Any, mask: Tensor | None, rank: Any, resolution: Any) -> Tensor:
    """Return softmax(-x / beta), with a support that ends softly after N ranks."""
    scores = logits(x, beta, mask)
    if resolution is not None:
        scores = scores + F.logsigmoid((resolution + 0.5 - rank) / _EDGE)
    p = torch.softmax(masked(scores, mask), -1)
    return p if mask is None else p * mask


def geometric(
    x: Tensor,
    beta: float | Tensor,
    *,
    mask: Tensor | None = None,
    resolution: float | Tensor | None = None,
    soft: float | None = None,
) -> Tensor:
    """Return p = softmax(-x / beta), the law of a bounded mean distance (C4).

    Args:
        x: distances (..., U); the smallest is the strongest.
        beta: > 0, in the unit of x; a tensor broadcasts and is the same for all units.
        mask: True where a unit takes part. A row without any gives zeros.
        resolution: N, the number of units that take part; None for all.
        soft: of the ranks that decide which units are among the N, as in `ranks`.

    Returns:
        Shares (..., U) that sum to 1.

    Raises:
        ConfigError: a plain beta is not positive.
    """
    rank = None if resolution is None else ranks(x, soft, mask)
    return _shares(x, beta, mask, rank, resolution)


def power(
    x: Tensor,
    beta: float | Tensor,
    *,
    mask: Tensor | None = None,
    resolution: float | Tensor | None = None,
    soft: float | None = None,
) -> Tensor:
    """Return p = softmax(-log(rank of x) / beta), Zipf's law: of a bounded mean log rank (C4) [1].

    Arguments and errors are those of `geometric`; beta has no unit here: the exponent is 1 / beta.
    With exact ranks (soft=None) x gets no gradient; with soft ones it gets that of `ranks`.
    """
    rank = ranks(x, soft, mask)
    return _shares(rank.log(), beta, mask, rank, resolution)


def compress(x: Tensor, resolution: Tensor) -> Tensor:
    """Return sign(x) log(1 + |x|) / log(N): Weber-Fechner, |x| = N - 1 gives 1 (C5).

    Args:
        x: any shape.
        resolution: N > 1, the number of intensities that can be distinguished; broadcasts with x.
            The slope at 0 is 1 / log(N).
    """
    return _Log.apply(x) / resolution.log()


class _Log(torch.autograd.Function):
    """sign(x) log(1 + |x|), slope 1 / (1 + |x|), in half the passes of the separate operations."""

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
        """Run unchanged, as each value is mapped separately."""
        return _Log.apply(x), dims[0]


def selectivity(p: Tensor) -> Tensor:
    """Return 1 - H(p) / log(U): 0 for equal shares, 1 if one unit has everything (C6).

    Args:
        p: weights >= 0 that sum to 1 over the units, (..., U).

    Returns:
        (...) from 0 to 1; 0 for a single unit, or shares that are all 0.
    """
    count = p.new_full((), p.shape[-1])
    equal = 1 / count.clamp(min=2)
    # The divergence from the uniform law is exactly 0 there; the floor bounds the slope.
    gain = (p * (p.clamp(min=torch.finfo(p.dtype).tiny) / equal).log()).sum(-1, keepdim=True)
    return torch.where(count > 1, (gain / -equal.log()).clamp(0, 1), 0).squeeze(-1)


class _Sparse(torch.autograd.Function):
    """Entmax with exponent 1 (sparsemax) or 2 (alpha = 1.5) over the last dimension, by sorting."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, exponent: int) -> Tensor:
        # A unit a whole step below the greatest is never in the support.
        z = ((scores - scores.amax(-1, keepdim=True)) / exponent).clamp(min=-2)
        falling = z.sort(-1, descending=True).values
        size = torch.arange(1, z.shape[-1] + 1, dtype=z.dtype, device=z.device)
        mean = falling.cumsum(-1) / size
        if exponent == 1:
            threshold = mean - 1 / size
        else:
            spread = falling.square().cumsum(-1) / size - mean.square()
            threshold = mean - (1 / size - spread).clamp(min=0).sqrt()
        support = (falling > threshold).sum(-1, keepdim=True)
        root = (z - threshold.gather(-1, support - 1)).clamp(min=0)
        slope = (root > 0).to(z.dtype) if exponent == 1 else root
        ctx.save_for_backward(slope)
        return root if exponent == 1 else root.square()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        mean = (grad * slope).sum(-1, keepdim=True) / slope.sum(-1, keepdim=True)
        return slope * (grad - mean), None


def sparsemax(scores: Tensor) -> Tensor:
    """Return the point of the simplex nearest to scores (..., U), larger = stronger [2]."""
    return _Sparse.apply(scores, 1)


def entmax15(scores: Tensor) -> Tensor:
    """Return the 1.5-entmax of scores (..., U), larger = stronger [3]."""
    return _Sparse.apply(scores, 2)
