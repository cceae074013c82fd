"""Laws of shares by rank, fitted by likelihood: the theory's two and their rivals.

Shapes: R ranks, the greatest share first. The law of R ranks sums to 1 over them.

| law | share of rank i = 0 ... R - 1, up to a factor | free |
| --- | --- | --- |
| geometric | exp(-i / beta) | beta |
| power | (i + 1)^(-1 / beta), Zipf's | beta |
| Mandelbrot | (i + q)^(-1 / beta) [1]; q = 1: power, q -> infinity: geometric | beta, q |
| broken stick | sum over k from i + 1 to R of 1 / k: uniform cuts, in the mean [2] | |
| log-normal | exp(s z), z the normal quantile of 1 - (i + 1/2) / R | s |

Each law also has R. BIC = free log n - 2 log L, with n the number of counts.

[1] B. Mandelbrot, "An informational theory of the statistical structure of language", 1953.
[2] R. H. MacArthur, "On the relative abundance of bird species", PNAS 43, 1957.
"""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.errors import ConfigError

LAWS = ("geometric", "power", "Mandelbrot", "broken stick", "log-normal")
LEAST_UNITS, LEAST_COUNTS = 8, 500
_OFFSETS = (1e-2, 1e6)  # of Mandelbrot's q


class Law(NamedTuple):
    """A law fitted to counts."""

    name: str
    share: NDArray[np.float64]  # (R,)
    free: int
    beta: float  # of geometric, power, Mandelbrot; else nan
    offset: float  # q of Mandelbrot; else nan
    divergence: float  # of the counts' shares from the law, nats
    bic: float


def ranked(counts: NDArray, name: str = "counts") -> NDArray[np.float64]:
    """Return the counts (R,) of units that occur, in falling order.

    Raises:
        ConfigError: fewer than 8 units or 500 counts, too few to tell laws apart.
    """
    x = np.sort(np.asarray(counts, np.float64))[::-1]
    x = x[x > 0]
    if len(x) < LEAST_UNITS or x.sum() < LEAST_COUNTS:
        problem = (
            f"{x.sum():g} counts of {len(x)} different units are too few to fit a law: "
            f"{LEAST_COUNTS} counts of {LEAST_UNITS} units are needed"
        )
        raise ConfigError(name, problem, "Give a larger corpus")
    return x


def flat(counts: NDArray) -> float:
    """Return the divergence from equal counts in nats, at least 1e-12."""
    p = counts[counts > 0] / counts.sum()
    return max(float(p @ np.log(p)) + math.log(len(counts)), 1e-12)


def fit_laws(counts: NDArray, names: tuple[str, ...] = LAWS) -> dict[str, Law]:
    """Return {name: law} of counts (R,) in falling order, each at its greatest likelihood.

    Counts need not be integers; multiplying them all changes BIC but not what is fitted.
    """
    total, size = float(counts.sum()), len(counts)
    p = counts / total
    entropy = -float(p @ np.log(p, where=p > 0, out=np.zeros(size)))
    out = {}
    for name in names:
        share, free, beta, offset = _fitted(name, p)
        log_share = np.log(np.maximum(share, 1e-300))
        divergence = -entropy - float(p @ log_share)
        bic = free * math.log(total) - 2 * total * float(p @ log_share)
        out[name] = Law(name, share, free, beta, offset, divergence, bic)
    return out


def _fitted(name: str, p: NDArray) -> tuple[NDArray, int, float, float]:
    """Return share, free parameters, beta and q."""
    i = np.arange(len(p), dtype=np.float64)
    if name == "broken stick":
        share = np.cumsum(1 / (i + 1)[::-1])[::-1]
        return share / share.sum(), 0, math.nan, math.nan
    if name == "Mandelbrot":
        low, high = (math.log(q) for q in _OFFSETS)
        offset = math.exp(_least(lambda q: -_likelihood(p, np.log(i + math.exp(q))), low, high))
        slope, share = _exponential(p, np.log(i + offset))
        return share, 2, 1 / slope if slope else math.inf, offset
    if name == "log-normal":
        normal = NormalDist()
        z = np.array([normal.inv_cdf((k + 0.5) / len(p)) for k in range(len(p))])
        return _exponential(p, z)[1], 1, math.nan, math.nan
    slope, share = _exponential(p, i if name == "geometric" else np.log1p(i))
    return share, 1, 1 / slope if slope else math.inf, math.nan


def _exponential(p: NDArray, cost: NDArray) -> tuple[float, NDArray]:
    """Return the likeliest slope >= 0 and shares exp(-slope cost): the mean cost is that of p."""
    cost = cost - cost[0]
    target, spread = float(p @ cost), float(cost[-1])
    low, high, slope = 0.0, math.inf, 1 / spread
    for _ in range(100):  # Newton's steps within a bracket
        weight = np.exp(-slope * cost)
        share = weight / weight.sum()
        mean = float(share @ cost)
        low, high = (slope, high) if mean > target else (low, slope)
        new = slope + (mean - target) / max(float(share @ (cost - mean) ** 2), 1e-300)
        if not low < new < high:
            new = 2 * slope if high == math.inf else (low + high) / 2
        if abs(new - slope) <= 1e-12 * slope or new < 1e-9 / spread:
            break
        slope = new
    return slope, share


def _likelihood(p: NDArray, cost: NDArray) -> float:
    return float(p @ np.log(np.maximum(_exponential(p, cost)[1], 1e-300)))


def _least(loss: Callable[[float], float], low: float, high: float) -> float:
    """Return the least of a function on a grid, refined by golden sections around it."""
    grid = np.linspace(low, high, 15)
    best = int(np.argmin([loss(x) for x in grid]))
    a, b = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(30):
        c, d = b - golden * (b - a), a + golden * (b - a)
        a, b = (a, d) if loss(c) < loss(d) else (c, b)
    return float(a + b) / 2
