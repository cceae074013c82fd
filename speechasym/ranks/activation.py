"""A rank law as an activation, with learned beta and resolution N (C4-C7).

Shapes: U units, G groups (1 a level, H heads or C channels), `...` any leading dimensions.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechasym.config import check_choice, check_count, check_range
from speechasym.errors import ConfigError
from speechasym.ranks import laws

_LEAST = 1.1  # lower bound of N: a single unit competes with none, and log N = 0
BETA = (0.01, 100.0)  # bounds of beta


def bounded(raw: Tensor, low: float, high: float) -> Tensor:
    """Map real numbers to low ... high, evenly in the logarithm around the middle."""
    return low * torch.exp(math.log(high / low) * torch.sigmoid(raw))


def unbounded(name: str, value: float, low: float, high: float, count: int) -> nn.Parameter:
    """Invert `bounded`, kept off the flat ends so that the value still learns."""
    check_range(name, value, "a value within the bounds", low, high)
    share = math.log(value / low) / math.log(high / low)
    # on the CPU: on the meta device this imports torch's compiler, which takes 1 s
    raw = torch.full((count,), share, device="cpu").logit(eps=0.01)
    return nn.Parameter(raw.to(torch.get_default_device()))


class RankActivation(nn.Module):
    """A law over U units, with beta and the resolution N learned within safe bounds (C4-C7).

    | law | y from distances x >= 0 | beta | N |
    | --- | --- | --- | --- |
    | geometric | softmax(-x / beta), the N strongest | learned | learned if given |
    | power | softmax(-log(rank) / beta), the N strongest | learned | learned if given |
    | pareto | softmax(-log(1 + x) / beta): a power law of the distances | learned | - |
    | softmax | softmax(-x) | 1 | - |
    | sparsemax, entmax | of -x / beta | learned | - |
    | relu, gelu | of beta - x: beta is a threshold, without normalisation | learned | - |
    | log | sign(x) log(1 + abs(x)) / log(N): grows with x, which may be negative | - | learned |

    N is the size of the support and beta the shape of the law. As the base of a logarithm inside
    a softmax, N would not be a second parameter: only beta log(N) would count (docs/theory.md).

    Args:
        units: U, size of the last dimension.
        law: one of the above.
        groups: number of separate beta and N: 1 for a level, or the size of `group_dim`.
        group_dim: the dimension (negative) of heads or channels: -2 for (..., G, U), -3 for
            (..., G, F, U). -1, one for each unit, only for relu, gelu and log.
        beta: initial value, 0.01 to 100, in the unit of x (power: no unit).
        resolution: initial N, 1.1 to U (log: 10 000); None for all units (log: U).
        soft: width of the ranks in the unit of x, see `ranks`; None for exact ranks.

    Raises:
        ConfigError: options out of range, or x of another shape.

    Example:
        >>> law = speechasym.RankActivation(4, "geometric", beta=0.5)
        >>> [round(share, 3) for share in law(torch.tensor([0.0, 1.0, 2.0, 3.0])).tolist()]
        [0.865, 0.117, 0.016, 0.002]
    """

    LAWS = ("geometric", "power", "pareto", "softmax", "sparsemax", "entmax", "relu", "gelu", "log")

    def __init__(
        self,
        units: int,
        law: str = "geometric",
        *,
        groups: int = 1,
        group_dim: int = -2,
        beta: float = 1.0,
        resolution: float | None = None,
        soft: float | None = 0.3,
    ) -> None:
        super().__init__()
        check_choice("law", law, self.LAWS)
        check_count("units", units)
        check_count("groups", groups)
        if group_dim >= (0 if law in ("relu", "gelu", "log") else -1):
            raise ConfigError("group_dim", f"{group_dim} cannot be used with {law}", "Use -2")
        if resolution is not None and law not in ("geometric", "power", "log"):
            raise ConfigError("resolution", f"{law} has no resolution", "Leave it out")
        check_range("soft", soft, "0.3, or None for exact ranks", above=True)
        self.units, self.law, self.soft = units, law, soft
        self.groups, self.group_dim = groups, group_dim
        self.resolution_max = max(units, 10_000) if law == "log" else units
        if law == "log" and resolution is None:
            resolution = max(units, 2)
        has_beta = law not in ("softmax", "log")
        self.raw_beta = unbounded("beta", beta, *BETA, groups) if has_beta else None
        self.raw_resolution = None
        if resolution is not None:
            most = self.resolution_max
            self.raw_resolution = unbounded("resolution", resolution, _LEAST, most, groups)

    @property
    def beta(self) -> Tensor:
        """(G,) beta; ones for laws without it."""
        if self.raw_beta is None:
            return torch.ones(self.groups)
        return bounded(self.raw_beta, *BETA)

    @property
    def resolution(self) -> Tensor | None:
        """(G,) N, or None if all units take part."""
        if self.raw_resolution is None:
            return None
        return bounded(self.raw_resolution, _LEAST, self.resolution_max)

    @torch.no_grad()
    def reset(self, beta: float | None = None, resolution: float | None = None) -> None:
        """Set beta and N, as far as the law has them, to the nearest values within the bounds."""
        for name, value, raw, low, high in (
            ("beta", beta, self.raw_beta, *BETA),
            ("resolution", resolution, self.raw_resolution, _LEAST, self.resolution_max),
        ):
            if value is not None and raw is not None:
                value = min(max(value, low), high)
                raw.copy_(unbounded(name, value, low, high, self.groups))

    def extra_repr(self) -> str:
        return f"{self.units}, {self.law!r}, groups={self.groups}"

    def _spread(self, value: Tensor, x: Tensor) -> Tensor:
        """Reshape (G,) so that it broadcasts along `group_dim` of x."""
        value = value.to(x)
        return value[0] if self.groups == 1 else value.view(-1, *(1,) * (-1 - self.group_dim))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map distances x (..., U) to y (..., U), which is 0 where the mask is False."""
        if x.shape[-1] != self.units:
            problem = f"must have {self.units} units, got {x.shape[-1]}"
            raise ConfigError("x", problem, "Check its shape")
        if self.groups > 1 and (x.ndim < -self.group_dim or x.shape[self.group_dim] != self.groups):
            problem = f"dimension {self.group_dim} must be {self.groups} groups: {tuple(x.shape)}"
            raise ConfigError("x", problem, "Check group_dim")
        if mask is not None:
            x = x.masked_fill(~mask, 0)  # whatever it holds, it gets no gradient
        beta = self._spread(self.beta, x)
        resolution = self.resolution
        if resolution is not None:
            resolution = self._spread(resolution, x)
        if self.law in ("geometric", "softmax"):
            return laws.geometric(x, beta, mask=mask, resolution=resolution, soft=self.soft)
        if self.law == "power":
            return laws.power(x, beta, mask=mask, resolution=resolution, soft=self.soft)
        if self.law == "pareto":
            return laws.geometric(torch.log1p(x), beta, mask=mask)
        if self.law in ("sparsemax", "entmax"):
            scores = laws.masked(laws.logits(x, beta, mask), mask)
            y = laws.sparsemax(scores) if self.law == "sparsemax" else laws.entmax15(scores)
        elif self.law == "log":
            assert resolution is not None
            y = laws.compress(x, resolution)
        else:
            y = F.relu(beta - x) if self.law == "relu" else F.gelu(beta - x)
        return y if mask is None else y * mask
