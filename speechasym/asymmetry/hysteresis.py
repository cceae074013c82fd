"""Hysteresis operators (C2), which keep what is larger than their width and forget the rest.

All take a track x (..., T) and return `y, state`; passed to the next call, the state continues the
track. They work on any track in any unit, in torch, with gradients to the track, the widths and
the weights; relays are piecewise constant, so that only weights can learn through them. Half
precision is computed in float32, also under autocast.

Shapes: T samples of the track, K operators, M thresholds.

Example:
    >>> play = speechasym.hysteresis.Play([0.5, 2.0])  # two widths
    >>> y, state = play(torch.tensor([0.0, 1.0, 3.0, 2.5, 0.0]))
    >>> y
    tensor([[0.0000, 0.5000, 2.5000, 2.5000, 0.5000],
            [0.0000, 0.0000, 1.0000, 1.0000, 1.0000]])

[1] M. Brokate, J. Sprekels, "Hysteresis and Phase Transitions", Springer, 1996.
[2] I. D. Mayergoyz, "Mathematical Models of Hysteresis and Their Applications", Elsevier, 2003.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from speechasym.config import check_rising
from speechasym.errors import ConfigError
from speechasym.ops import scan


def _track(x: Tensor) -> Tensor:
    """Check a track, and return it in float32 or float64."""
    if not x.is_floating_point() or x.ndim == 0:
        problem = f"must be a floating-point track (..., T), got {x.dtype}"
        raise ConfigError("x", problem, "Use x.float()")
    if not bool(x.isfinite().all()):
        first = int((~x.isfinite()).flatten().nonzero()[0])
        raise ConfigError("x", f"element {first} is not finite", "Use a track without NaN")
    return x if x.dtype == torch.float64 else x.float()


class Play(nn.Module):
    """p(t) = clamp(p(t-1), x(t) - r, x(t) + r): ignores every fluctuation smaller than r [1].

    Args:
        widths: (K,) half-widths r, positive and rising, in the track's unit.
        learnable: make the logarithms of the widths trainable parameters.

    Without a state, p starts at x(0); after chunks without samples the state is still None.
    """

    def __init__(self, widths: Sequence[float], learnable: bool = False) -> None:
        super().__init__()
        check_rising("widths", widths)
        log_width = torch.tensor(widths, dtype=torch.float32).log()
        if learnable:
            self.log_width: Tensor = nn.Parameter(log_width)
        else:
            self.register_buffer("log_width", log_width)

    @property
    def widths(self) -> Tensor:
        """(K,) half-widths."""
        return self.log_width.exp()

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """x (..., T) -> p (..., K, T), state (..., K). Raises `ConfigError` on NaN."""
        x = _track(x)
        return scan.play(x, self.widths.to(x.dtype), state)


class Stop(Play):
    """s = x - p, between -r and r: s / r is +1 on a rising branch and -1 on a falling one [1].

    Args:
        widths, learnable: as `Play`.
        signed: return s / r, the signed asymmetry.
    """

    def __init__(self, widths: Sequence[float], learnable: bool = False, signed: bool = False):
        super().__init__(widths, learnable)
        self.signed = signed

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """x (..., T) -> s or s / r (..., K, T), state (..., K) of the plays."""
        p, state = super().forward(x, state)
        s = x[..., None, :].to(p.dtype) - p
        return (s / self.widths.to(p.dtype)[:, None] if self.signed else s), state


class Relay(nn.Module):
    """+1 from x >= up until x <= down, else -1: Schmitt triggers with two thresholds each [2].

    Args:
        up, down: (K,) thresholds in the track's unit, each down below its up.

    Without a state, relays whose input is between their thresholds start at -1.
    """

    up: Tensor
    down: Tensor

    def __init__(self, up: Sequence[float], down: Sequence[float]) -> None:
        super().__init__()
        if len(up) != len(down) or any(not d < u for u, d in zip(up, down, strict=True)):
            problem = f"each down must be below its up, got {list(up)} and {list(down)}"
            raise ConfigError("up, down", problem, "Swap them")
        self.register_buffer("up", torch.tensor(up, dtype=torch.float32))
        self.register_buffer("down", torch.tensor(down, dtype=torch.float32))

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (..., T) -> +1 or -1 (..., K, T), state (..., K)."""
        x = _track(x)
        return scan.relay(x, self.up.to(x.dtype), self.down.to(x.dtype), state)


class PrandtlIshlinskii(Play):
    """Weighted plays, w_0 x + sum_k w_k p_k: a hysteresis loop of learnable shape [1].

    Args:
        widths, learnable: as `Play`.

    The weights (K + 1,) are parameters, initially all 1 / (K + 1).
    """

    def __init__(self, widths: Sequence[float], learnable: bool = False) -> None:
        super().__init__(widths, learnable)
        self.weight = nn.Parameter(torch.full((len(widths) + 1,), 1 / (len(widths) + 1)))

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """x (..., T) -> y (..., T), state (..., K)."""
        p, state = super().forward(x, state)
        weight = self.weight.to(p.dtype)
        with scan.full_precision(p):
            return weight[0] * x.to(p.dtype) + torch.einsum("k,...kt->...t", weight[1:], p), state


class Preisach(Relay):
    """Weighted relays on a triangular mesh: y = sum over up > down of mu(up, down) relay [2].

    Args:
        thresholds: (M,) rising, in the track's unit; every pair makes a relay, M (M - 1) / 2 in
            all, ordered by up and then by down.

    The weights mu are parameters, initially equal with sum 1. Without a state, all relays start at
    -1: negative saturation.
    """

    def __init__(self, thresholds: Sequence[float]) -> None:
        check_rising("thresholds", thresholds, positive=False)
        mesh = torch.tensor(thresholds, dtype=torch.float32).tolist()
        pairs = [(u, d) for i, u in enumerate(mesh) for d in mesh[:i]]
        if not pairs:
            problem = f"must be two or more, got {list(thresholds)}"
            raise ConfigError("thresholds", problem, "Use for example 0, 1")
        super().__init__([u for u, _ in pairs], [d for _, d in pairs])
        self.weight = nn.Parameter(torch.full((len(pairs),), 1 / len(pairs)))

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x (..., T) -> y (..., T), state (..., M (M - 1) / 2)."""
        relays, state = super().forward(x, state)
        with scan.full_precision(relays):
            return torch.einsum("k,...kt->...t", self.weight.to(relays.dtype), relays), state
