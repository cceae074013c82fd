"""Directions of steps: the most asymmetric in time, principal ones, and centres of clusters (C17).

What a level sees moves from step to step. A move d = x(t + lag) - x(t) along a direction w rises
(w d > 0) or falls. With C the second moments of the moves, and

    R(w) = E[w d  d d'; w d > 0],   L(w) = E[-w d  d d'; w d < 0],

the second moments of rising and falling moves, weighted by their size, the asymmetry of a direction
is the work of rising less that of falling, a(w) = w' (R(w) - L(w)) w = E[(w d)^3], at w' C w = 1:
the skewness of its moves. It is 0 for any w if time may be reversed, as in every Gaussian process:
second moments do not see it, so that principal directions do not either. At its extremes

    (R(w) - L(w)) w = a C w,

a generalised eigenproblem whose matrices depend on w. `asymmetry` first solves it with w fixed at
w0, the direction of E[d d' C^-1 d]; if independent sources are mixed, that finds all of them at
once. Its eigenvectors are then put back in for w, all together and kept orthogonal [1].

Shapes: B batch, F steps, N rows, D channels, K directions.

[1] A. Hyvarinen, "Fast and robust fixed-point algorithms for independent component analysis",
    IEEE Trans. Neural Networks 10(3), 1999 (with the skewness, of moves, as contrast).
[2] D. Arthur, S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA, 2007.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from speechasym.errors import ConfigError

Parts = Sequence[tuple[Tensor, Tensor]]  # steps (B, F, D) of batches, and their masks (B, F)
LAGS = (1, 2, 4, 8)  # steps of a move
LEAST = 8  # rows from which anything is estimated
ROWS = 10_000  # as many are used, evenly spaced
SWEEPS = 10  # of the eigenproblem, and of k-means
SMALLEST = 1e-4  # share of the largest variance below which a direction counts as empty


def rows(parts: Parts) -> Tensor:
    """Return real steps (N, D), at most 10 000. Raises `ConfigError` for fewer than 8."""
    return _enough(torch.cat([x[mask] for x, mask in parts]))


def moves(parts: Parts, lag: int) -> tuple[Tensor, Tensor]:
    """Return moves over a lag (N, D), and the steps (N, D) at which they arrive.

    Raises `ConfigError` for fewer than 8.
    """
    pairs = []
    for x, mask in parts:
        real = mask[:, lag:] & mask[:, :-lag]
        pairs.append(torch.cat([x[:, lag:] - x[:, :-lag], x[:, lag:]], 2)[real])
    moved, arrived = _enough(torch.cat(pairs)).chunk(2, 1)
    return moved, arrived


def _enough(x: Tensor) -> Tensor:
    if len(x) < LEAST:
        problem = f"needs at least {LEAST} steps at every level, got {len(x)}"
        raise ConfigError("initialise", problem, "Give more training data, or use drawn")
    if len(x) <= ROWS:
        return x
    return x[torch.linspace(0, len(x) - 1, ROWS, dtype=torch.float64).long()]


def skewness(moved: Tensor) -> Tensor:
    """Return E[d^3] / E[d^2]^1.5 (D,) of moves (N, D), 0 for channels that do not move."""
    square = moved.square().mean(0)
    return moved.pow(3).mean(0) / square.clamp(min=1e-12).pow(1.5)


def strongest_lag(parts: Parts) -> int:
    """Return the lag at which the squared skewness of the channels' moves is largest."""
    longest = max(int(mask.sum(1).max()) for _, mask in parts if mask.numel())
    lags = [lag for lag in LAGS if lag == 1 or lag < longest / 2]
    return max(lags, key=lambda lag: float(skewness(moves(parts, lag)[0]).square().mean()))


def whitening(second: Tensor, most: int) -> Tensor:
    """Return W (D, K) with W' C W = 1 for second moments C (D, D): principal directions first."""
    value, vector = torch.linalg.eigh(second.double())
    value, vector = value.flip(0), vector.flip(1)
    kept = min(most, max(1, int((value > SMALLEST * value[0]).sum())))
    vector = vector[:, :kept]
    peak = vector.gather(0, vector.abs().argmax(0, keepdim=True))
    white = vector * peak.sign() / value[:kept].clamp(min=1e-12).sqrt()
    return white.to(second)


def principal(x: Tensor, most: int) -> Tensor:
    """Return up to `most` whitened principal directions (K, D) of rows (N, D)."""
    x = x - x.mean(0)
    return whitening(x.T @ x / len(x), most).T


def asymmetry(moved: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Return up to `most` asymmetric directions (K, D) of moves (N, D), and their skewness (K,).

    Strongest first; along each, rises are larger than falls. They are uncorrelated over the moves,
    which have variance 1 along each. Sought among the `most` principal directions of the moves.
    """
    white = whitening(moved.T @ moved / len(moved), most)
    z = moved @ white
    along = z @ (z * z.square().sum(1, keepdim=True)).mean(0)
    _, vector = torch.linalg.eigh((z.T @ (z * along[:, None])).double())
    basis = vector.T.to(z)
    best, found = skewness(z @ basis.T), basis
    for _ in range(SWEEPS):
        u, _, v = torch.linalg.svd((z @ basis.T).square().T @ z)
        basis = u @ v  # the nearest orthogonal one
        skew = skewness(z @ basis.T)
        if skew.square().sum() > best.square().sum():
            best, found = skew, basis
    order = best.abs().argsort(descending=True)
    sign = torch.where(best < 0, -1.0, 1.0)
    return ((sign[:, None] * found) @ white.T)[order], best.abs()[order]


def spread(x: Tensor, weight: Tensor, count: int) -> Tensor:
    """Return up to `count` different rows (K,) of x (N, D), drawn as k-means++ does [2].

    The chance of a row is its weight (N,), times its squared distance from those drawn before.
    """
    chosen: list[Tensor] = []
    nearest = torch.ones_like(weight)
    while len(chosen) < count:
        chance = weight * nearest
        if not float(chance.sum()) > 0:
            break
        chosen.append(torch.multinomial(chance, 1)[0])
        far = (x - x[chosen[-1]]).square().sum(1)
        far = torch.where(far < 1e-8 * (1 + x.square().sum(1)), 0, far)
        nearest = far if len(chosen) == 1 else torch.minimum(nearest, far)
    return torch.stack(chosen) if chosen else torch.zeros(0, dtype=torch.long)


def centres(x: Tensor, count: int) -> Tensor:
    """Return up to `count` centres (K, D) of clusters of rows (N, D), by k-means++ [2]."""
    centre = x[spread(x, x.new_ones(len(x)), count)]
    for _ in range(SWEEPS):
        nearest = (centre.square().sum(1) - 2 * x @ centre.T).argmin(1)
        size = torch.bincount(nearest, minlength=len(centre))[:, None]
        total = torch.zeros_like(centre).index_add_(0, nearest, x)
        centre = torch.where(size > 0, total / size.clamp(min=1), centre)
    return centre
