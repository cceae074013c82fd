"""Rank laws (C4-C7): who is heard when few can be told apart; as functions and as activation.

Distances x >= 0 come in, small ones are strong. A geometric law follows from a bound on the mean
rank, a power law (Zipf's) from one on the mean logarithm of the rank: see docs/theory.md. Nothing
here gives NaN for finite input; padding behind a mask may hold anything. Fits: `rank_fits`.

Shapes: U units, G groups (1 a level, H heads or C channels), `...` any leading dimensions.

[1] G. K. Zipf, "Human Behavior and the Principle of Least Effort", Addison-Wesley, 1949.
[2] A. F. T. Martins, R. F. Astudillo, "From softmax to sparsemax", ICML 2016.
[3] B. Peters, V. Niculae, A. F. T. Martins, "Sparse sequence-to-sequence models", ACL 2019.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from speechasym.errors import ConfigError

_CUT = 87.0  # exp(-87) is the smallest normal float32: a unit further off has no weight at all
_EDGE = 0.25  # ranks over which the support ends: unit N keeps 0.88 of its weight, N + 1 0.12
_LEAST = 1.1  # lower bound of N: with one level there is nothing to tell apart, and log N = 0


# Ranks


def _decayed_sums(weight: Tensor, decay: Tensor) -> Tensor:
    """s_i = decay_i (s_(i-1) + weight_(i-1)), s_0 = 0; both (..., U), by doubling."""
    decay = F.pad(decay[..., 1:], (1, 0))  # nothing comes before the first
    total = decay * weight.roll(1, -1)
    step = 1
    while step < weight.shape[-1]:
        total[..., step:] += decay[..., step:] * total[..., :-step]
        decay[..., step:] = decay[..., step:] * decay[..., :-step]
        step *= 2
    return total


def _neighbours(weight: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over all units below, and over all above, of weight_j exp(-|x_i - x_j| / tau)."""
    below = _decayed_sums(weight, gap)
    above = _decayed_sums(weight.flip(-1), F.pad(gap[..., 1:].flip(-1), (1, 0)))
    return below, above.flip(-1)


class _SoftRanks(torch.autograd.Function):
    """Pairwise soft ranks in O(U log U): a two-sided exponential kernel needs only sorted sums."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, tau: float) -> Tensor:
        sorted_x, order = x.sort(-1)
        gap = torch.exp(F.pad(-sorted_x.diff(dim=-1) / tau, (1, 0)))
        below, above = _neighbours(torch.ones_like(x), gap)
        place = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
        ctx.save_for_backward(gap, order, below + above)
        ctx.tau = tau
        return torch.empty_like(x).scatter_(-1, order, place + (above - below) / 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        gap, order, near = ctx.saved_tensors
        grad = grad.gather(-1, order)
        below, above = _neighbours(grad, gap)
        slope = (near * grad - below - above) / (2 * ctx.tau)
        return torch.empty_like(grad).scatter_(-1, order, slope), None


def ranks(
    x: Tensor, dim: int = -1, soft: float | None = None, mask: Tensor | None = None
) -> Tensor:
    """Rank of each distance along `dim`, 1 the smallest; ties share their mean rank.

    Args:
        x: distances, any shape.
        dim: the dimension of the units.
        soft: None for exact ranks, through which no gradient passes; or the difference of
            distances tau that is just told apart: rank_i = 1 + sum over j != i of
            k((x_i - x_j) / tau), with k(u) = exp(u) / 2 for u < 0 and 1 - exp(-u) / 2 else.
            For tau -> 0 they are the exact ranks, ties included.
        mask: True where a unit takes part; the others come last.

    Returns:
        As x. Raises `ConfigError` if soft is not positive.
    """
    if soft is not None and not (soft > 0 and math.isfinite(soft)):
        raise ConfigError("soft", f"{soft} is not a positive difference", "Use 0.3, or None")
    if mask is not None:
        x = x.masked_fill(~mask, torch.finfo(x.dtype).max)
    x = x.movedim(dim, -1)
    if soft is not None:
        return _SoftRanks.apply(x, soft).movedim(-1, dim)
    sorted_x, order = x.detach().sort(-1)
    place = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
    rises = sorted_x.diff(dim=-1) > 0
    first = F.pad(torch.where(rises, place[1:], 1), (1, 0), value=1).cummax(-1).values
    last = F.pad(torch.where(rises, place[:-1], place[-1:]), (0, 1), value=x.shape[-1])
    last = last.flip(-1).cummin(-1).values.flip(-1)
    return torch.empty_like(sorted_x).scatter_(-1, order, (first + last) / 2).movedim(-1, dim)


# Laws


def _logits(x: Tensor, beta: float | Tensor, dim: int, mask: Tensor | None) -> Tensor:
    """-x / beta up to a constant: 0 for the strongest, no less than -87."""
    if not isinstance(beta, Tensor):
        if not beta > 0:
            raise ConfigError("beta", f"{beta} is not positive", "Use for example 1")
        beta = x.new_tensor(beta)
    if mask is not None:
        x = x.masked_fill(~mask, torch.finfo(x.dtype).max)
    # Cut before the division: no quotient overflows, forwards or backwards.
    above = x - x.detach().amin(dim, keepdim=True)
    return -torch.minimum(above, _CUT * beta.detach()) / beta


def _masked(logits: Tensor, mask: Tensor | None) -> Tensor:
    return logits if mask is None else logits.masked_fill(~mask, torch.finfo(logits.dtype).min / 2)


def _support(rank: Tensor, resolution: float | Tensor) -> Tensor:
    """Log weight of a support that ends softly after N = `resolution` ranks."""
    return F.logsigmoid((resolution + 0.5 - rank) / _EDGE)


def _softmax(
    logits: Tensor, dim: int, mask: Tensor | None, rank: Tensor | None, resolution: Any
) -> Tensor:
    if rank is not None and resolution is not None:
        logits = logits + _support(rank, resolution)
    p = torch.softmax(_masked(logits, mask), dim)
    return p if mask is None else p * mask


def geometric(
    x: Tensor,
    beta: float | Tensor,
    dim: int = -1,
    *,
    mask: Tensor | None = None,
    resolution: float | Tensor | None = None,
    soft: float | None = None,
) -> Tensor:
    """p = softmax(-x / beta): the law of a bounded mean distance (C4).

    Args:
        x: distances, any shape; the smallest wins.
        beta: positive, in the unit of x; a tensor broadcasts and is constant along `dim`.
        dim: the dimension of the units.
        mask: True where a unit takes part. A row without any is all zeros.
        resolution: N, the number of units that are heard; None for all.
        soft: the ranks that decide who is among the N, as in `ranks`.

    Returns:
        As x, summing to 1 along `dim`. Raises `ConfigError` if a plain beta is not positive.
    """
    rank = None if resolution is None else ranks(x, dim, soft, mask)
    return _softmax(_logits(x, beta, dim, mask), dim, mask, rank, resolution)


def power(
    x: Tensor,
    beta: float | Tensor,
    dim: int = -1,
    *,
    mask: Tensor | None = None,
    resolution: float | Tensor | None = None,
    soft: float | None = None,
) -> Tensor:
    """p = softmax(-log(rank of x) / beta): Zipf's law, of a bounded mean log rank (C4) [1].

    Args and raises as `geometric`; beta has no unit here: the exponent is 1 / beta. With exact
    ranks (soft=None) x gets no gradient; with soft ones it gets that of `ranks`.
    """
    rank = ranks(x, dim, soft, mask)
    return _softmax(_logits(rank.log(), beta, dim, mask), dim, mask, rank, resolution)


def compress(x: Tensor, levels: float | Tensor) -> Tensor:
    """sign(x) log(1 + |x|) / log(N): Weber-Fechner, |x| = N - 1 gives 1 (C5).

    `levels` is N > 1, the greatest number of intensities that are told apart. Any shapes that
    broadcast. The slope at 0 is 1 / log(N). Raises `ConfigError` for a plain N <= 1.
    """
    if not isinstance(levels, Tensor):
        if not levels > 1:
            raise ConfigError("levels", f"{levels} is not above 1", "Two can be told apart: use 2")
        levels = x.new_tensor(levels)
    # At x = 0 relu has slope 0 and clamp slope 1: together the right one, unlike sign times abs.
    return (torch.log1p(x.clamp(min=0)) - torch.log1p(torch.relu(-x))) / levels.log()


def selectivity(p: Tensor, dim: int = -1, mask: Tensor | None = None) -> Tensor:
    """1 - H(p) / log(N) over N units: 0 when all are equal, 1 when one has everything (C6).

    Args:
        p: weights >= 0 that sum to 1 along `dim`.
        dim: the dimension of the units.
        mask: True where a unit takes part: only these count as N.

    Returns:
        p without `dim`, from 0 to 1. One unit alone, or none, selects nothing: 0.
    """
    if mask is None:
        count = p.new_full((), p.shape[dim])
    else:
        mask = mask.expand_as(p)
        p, count = p.masked_fill(~mask, 0), mask.sum(dim, keepdim=True).to(p.dtype)
    equal = 1 / count.clamp(min=2)
    # As a divergence from the uniform law, which is exactly 0 there; the floor bounds the slope.
    gain = (p * (p.clamp(min=torch.finfo(p.dtype).tiny) / equal).log()).sum(dim, keepdim=True)
    return torch.where(count > 1, (gain / -equal.log()).clamp(0, 1), 0).squeeze(dim)


class _Sparse(torch.autograd.Function):
    """Entmax with exponent 1 (sparsemax) or 2 (alpha = 1.5), exact by sorting, units last."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, exponent: int) -> Tensor:
        # No unit a whole step below the greatest is in the support.
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


def sparsemax(scores: Tensor, dim: int = -1) -> Tensor:
    """The point of the simplex nearest to the scores (larger = stronger), any shape [2]."""
    return _Sparse.apply(scores.movedim(dim, -1), 1).movedim(-1, dim)


def entmax15(scores: Tensor, dim: int = -1) -> Tensor:
    """1.5-entmax of the scores (larger = stronger), any shape, softer than sparsemax [3]."""
    return _Sparse.apply(scores.movedim(dim, -1), 2).movedim(-1, dim)


# Activation


def _bounded(raw: Tensor, low: float, high: float) -> Tensor:
    """Any real numbers -> low ... high, evenly in the logarithm around the middle."""
    return low * torch.exp(math.log(high / low) * torch.sigmoid(raw))


def _raw(name: str, value: float, low: float, high: float, count: int) -> Tensor:
    """The inverse of `_bounded`, kept off the flat ends so that it still learns."""
    if not low <= value <= high:
        raise ConfigError(name, f"{value} is outside {low} ... {high}", "Move it or the bounds")
    place = math.log(value / low) / math.log(high / low)
    return torch.full((count,), place).logit(eps=0.01)


class RankActivation(nn.Module):
    """A law over U units, with beta and the resolution N learned between safe bounds (C4-C7).

    | law | y from distances x >= 0 | beta | N |
    | --- | --- | --- | --- |
    | geometric | softmax(-x / beta), the N strongest | learned | learned if given |
    | power | softmax(-log(rank) / beta), the N strongest | learned | learned if given |
    | pareto | softmax(-log(1 + x) / beta): a power law of the distances | learned | - |
    | softmax | softmax(-x) | 1 | - |
    | sparsemax, entmax | of -x / beta | learned | - |
    | relu, gelu | of beta - x: beta is a threshold, nothing is normalised | learned | - |
    | log | sign(x) log(1 + abs(x)) / log(N): grows with x, takes signed x | - | learned |

    N is the size of the support and beta its shape; as the base of a logarithm inside a softmax
    N would not be a second parameter, since only beta log(N) would count (docs/theory.md).

    Args:
        units: U, size of the last dimension.
        law: one of the above.
        groups: how many beta and N there are: 1 for a level, or the size of `group_dim`.
        group_dim: the dimension (negative) of heads or channels: -2 for (..., G, U), -3 for
            (..., G, F, U). -1, one for each unit, only for relu, gelu and log.
        beta: at the start, in the unit of x (power: no unit).
        resolution: N at the start, 1.1 to `resolution_max`; None for all units (log: U).
        learn: make beta and N parameters.
        soft: width of the ranks in the unit of x, see `ranks`; None for exact ranks.
        beta_bounds: beta stays between these.
        resolution_max: N stays below; None for U (log: 10 000).

    Raises `ConfigError` for options outside their range and x of another shape.
    """

    LAWS = (
        *("geometric", "power", "pareto", "softmax", "sparsemax", "entmax"),
        *("relu", "gelu", "log"),
    )

    raw_beta: Tensor | None
    raw_resolution: Tensor | None

    def __init__(
        self,
        units: int,
        law: str = "geometric",
        *,
        groups: int = 1,
        group_dim: int = -2,
        beta: float = 1.0,
        resolution: float | None = None,
        learn: bool = True,
        soft: float | None = 0.3,
        beta_bounds: tuple[float, float] = (0.01, 100.0),
        resolution_max: float | None = None,
    ) -> None:
        super().__init__()
        if law not in self.LAWS:
            raise ConfigError("law", f"{law!r} is unknown", f"Use one of {', '.join(self.LAWS)}")
        if units < 1 or groups < 1:
            raise ConfigError("units, groups", f"{units}, {groups}: 1 or more", "Give both")
        if group_dim >= (0 if law in ("relu", "gelu", "log") else -1):
            raise ConfigError("group_dim", f"{group_dim} cannot be used with {law}", "Use -2")
        if resolution is not None and law not in ("geometric", "power", "log"):
            raise ConfigError("resolution", f"{law} has none", "Leave it out")
        if soft is not None and not (soft > 0 and math.isfinite(soft)):
            raise ConfigError("soft", f"{soft} is not a positive difference", "Use 0.3, or None")
        if not 0 < beta_bounds[0] < beta_bounds[1] < math.inf:
            raise ConfigError("beta_bounds", f"{beta_bounds}: 0 < low < high", "Use 0.01, 100")
        self.units, self.law, self.soft = units, law, soft
        self.groups, self.group_dim = groups, group_dim
        self.beta_bounds = beta_bounds
        if resolution_max is None:
            resolution_max = max(units, 10_000) if law == "log" else units
        self.resolution_max = resolution_max
        if law == "log" and resolution is None:
            resolution = min(max(units, 2), resolution_max)
        has_beta = law not in ("softmax", "log")
        raw_beta = _raw("beta", beta, *beta_bounds, groups) if has_beta else None
        self._keep("raw_beta", raw_beta, learn)
        raw = None
        if resolution is not None:
            if not _LEAST < resolution_max < math.inf:
                raise ConfigError("resolution_max", f"{resolution_max}: 2 or more", "Use 2")
            raw = _raw("resolution", resolution, _LEAST, resolution_max, groups)
        self._keep("raw_resolution", raw, learn)

    def _keep(self, name: str, value: Tensor | None, learn: bool) -> None:
        if learn and value is not None:
            self.register_parameter(name, nn.Parameter(value))
        else:
            self.register_buffer(name, value)

    @property
    def beta(self) -> Tensor:
        """(G,) beta; ones for laws without."""
        if self.raw_beta is None:
            return torch.ones(self.groups)
        return _bounded(self.raw_beta, *self.beta_bounds)

    @property
    def resolution(self) -> Tensor | None:
        """(G,) N, or None where all units are heard."""
        if self.raw_resolution is None:
            return None
        return _bounded(self.raw_resolution, _LEAST, self.resolution_max)

    def extra_repr(self) -> str:
        return f"{self.units}, {self.law!r}, groups={self.groups}"

    def _spread(self, value: Tensor, x: Tensor) -> Tensor:
        """(G,) -> (G, 1 ...), to stand at `group_dim` of x; one group stands anywhere."""
        value = value.to(x)
        return value[0] if self.groups == 1 else value.view(-1, *(1,) * (-1 - self.group_dim))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (..., U), mask of True where a unit takes part -> y (..., U), 0 where masked."""
        if x.shape[-1] != self.units:
            raise ConfigError("x", f"{x.shape[-1]} units, expected {self.units}", "Check its shape")
        if self.groups > 1 and (x.ndim < -self.group_dim or x.shape[self.group_dim] != self.groups):
            raise ConfigError(
                "x",
                f"{tuple(x.shape)}: dimension {self.group_dim} must be {self.groups} groups",
                "Check group_dim",
            )
        if mask is not None:
            x = x.masked_fill(~mask, 0)  # whatever it held, no gradient goes there
        beta = self._spread(self.beta, x)
        resolution = self.resolution
        if resolution is not None:
            resolution = self._spread(resolution, x)
        if self.law in ("geometric", "softmax"):
            return geometric(x, beta, mask=mask, resolution=resolution, soft=self.soft)
        if self.law == "power":
            return power(x, beta, mask=mask, resolution=resolution, soft=self.soft)
        if self.law == "pareto":
            return geometric(torch.log1p(x), beta, mask=mask)
        if self.law in ("sparsemax", "entmax"):
            scores = _masked(_logits(x, beta, -1, mask), mask)
            y = sparsemax(scores) if self.law == "sparsemax" else entmax15(scores)
        elif self.law == "log":
            assert resolution is not None
            y = compress(x, resolution)
        else:
            y = F.relu(beta - x) if self.law == "relu" else F.gelu(beta - x)
        return y if mask is None else y * mask
