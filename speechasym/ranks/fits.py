"""Rank laws fitted to how often each unit was active (C4, C7, C9).

Maximum-likelihood estimates of the shape beta and the support N of a truncated geometric law and a
truncated power law (Zipf's [1]), their intervals, and the BIC that decides between them. For how
far they can be trusted, see docs/theory.md.

[1] G. K. Zipf, "Human Behavior and the Principle of Least Effort", Addison-Wesley, 1949.
"""

import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechasym.config import check_range
from speechasym.errors import ConfigError

_REACH = 16  # the end of the support is searched up to so many times the ranks seen


@dataclass(frozen=True, kw_only=True)
class LawFit:
    """A truncated law fitted to counts, with 95 % intervals.

    beta_high is infinite if equal ranks are not excluded. resolution_high is infinite if the law
    dies out before its support ends, or the end lies beyond sixteen times the ranks seen: the data
    do not determine N then.
    """

    law: str
    beta: float
    beta_low: float
    beta_high: float
    resolution: float
    resolution_low: float
    resolution_high: float
    log_likelihood: float
    bic: float


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The fits of both laws."""

    geometric: LawFit
    power: LawFit

    @property
    def best(self) -> LawFit:
        """The fit with the smaller BIC."""
        return min(self.geometric, self.power, key=lambda f: f.bic)

    @property
    def delta_bic(self) -> float:
        """BIC of geometric minus power: values > 0 favour power, > 10 strongly."""
        return self.geometric.bic - self.power.bic


def fit(values: ArrayLike, *, ranked: bool = False, sample_size: float | None = None) -> Fit:
    """Fit truncated rank laws by maximum likelihood: beta, N, and which law the data follow.

    p(i) is proportional to exp(-i / beta) or (i + 1)^(-1 / beta), i = 0 ... N - 1. The interval of
    beta comes from the likelihood ratio and covers sampling noise only: where ranks come from
    sorting the counts themselves, beta is also biased if units win only a few times each
    (docs/theory.md has figures).

    Args:
        values: (U,) how often each unit won, or its mean activation; zero if it never did.
        ranked: values[i] belongs to rank i + 1, known from elsewhere; otherwise counts are sorted.
        sample_size: values are activations, of so many independent observations (not frames, as
            neighbouring frames repeat one another): they are scaled to it, and those below half an
            observation are dropped.

    Raises:
        ConfigError: values that are empty, negative or not finite, fewer than two units with a
            positive value, or activations with known ranks.
    """
    counts = np.asarray(values, np.float64)
    if counts.ndim != 1 or not counts.size:
        problem = f"must hold one number per unit, got shape {counts.shape}"
        raise ConfigError("values", problem, "Flatten them")
    if not np.isfinite(counts).all() or (counts < 0).any():
        first = int(np.flatnonzero(~(counts >= 0) | np.isinf(counts))[0])
        problem = f"must be finite and >= 0, got {counts[first]}"
        raise ConfigError(f"values[{first}]", problem, "Use counts")
    if sample_size is not None and ranked:
        raise ConfigError("ranked", "activations are sorted", "Leave out ranked or sample_size")
    if counts.any() and sample_size is not None:
        check_range("sample_size", sample_size, "the number of observations", 1, above=True)
        counts = counts / counts.max()
        counts *= sample_size / counts.sum()
        counts[counts < 0.5] = 0
    if np.count_nonzero(counts) < 2:
        problem = f"a law needs two units with a count, got {np.count_nonzero(counts)}"
        raise ConfigError("values", problem, "Give more data, or a larger sample_size")
    if not ranked:
        counts = np.sort(counts)[::-1]
    counts = counts[: np.flatnonzero(counts)[-1] + 1]
    known_ranks = ranked or sample_size is not None
    geometric, power = (_fit_law(law, counts, known_ranks) for law in ("geometric", "power"))
    return Fit(geometric=geometric, power=power)


def _fit_law(law: str, counts: NDArray, known_ranks: bool) -> LawFit:
    """Fit a law to counts (M,) by rank, of which the last is positive."""
    seen, total = len(counts), float(counts.sum())
    t = _cost(law, seen)
    slope = _slope(counts, t)
    low, high = _slope_interval(counts, t, slope)
    log_likelihood = _log_likelihood(counts, t, slope)
    support = _support_of_ranks(law, slope, seen, total) if known_ranks else None
    n, n_low, n_high = support or _support_sorted(law, counts)
    return LawFit(
        law=law,
        beta=_inverse(slope),
        beta_low=_inverse(high),
        beta_high=_inverse(low),
        resolution=n if math.isfinite(n) else float(seen),
        resolution_low=n_low if math.isfinite(n_low) else float(seen),
        resolution_high=n_high,
        log_likelihood=log_likelihood,
        bic=2 * math.log(total) - 2 * log_likelihood,
    )


def _inverse(slope: float) -> float:
    return 1 / slope if slope > 0 else math.inf


def _cost(law: str, count: int) -> NDArray:
    """Return t(i), i = 0 ... count - 1, of the law p(i) proportional to exp(-t(i) / beta)."""
    i = np.arange(count, dtype=np.float64)
    return i if law == "geometric" else np.log1p(i)


def _log_likelihood(counts: NDArray, t: NDArray, slope: float) -> float:
    """Return log p of counts under exp(-slope t) on the support of t."""
    return float(-slope * (counts @ t) - counts.sum() * np.log(np.exp(-slope * t).sum()))


def _bisect(rising: Callable[[float], float], low: float, high: float) -> float:
    """Find where a rising function crosses 0, or else the nearer end."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2


def _slope(counts: NDArray, t: NDArray) -> float:
    """Return the likeliest 1 / beta >= 0: there the mean of t is that of the counts."""
    target = counts @ t[: len(counts)] / counts.sum()

    def excess(slope: float) -> float:
        weight = np.exp(-slope * t)
        return float(target - weight @ t / weight.sum())

    if excess(0.0) >= 0:
        return 0.0
    top = 1.0
    while excess(top) < 0:
        top *= 2
    return _bisect(excess, 0.0, top)


def _slope_interval(counts: NDArray, t: NDArray, best: float) -> tuple[float, float]:
    """Return where the log-likelihood is 1.92 below its maximum (chi square, 95 %)."""
    least = _log_likelihood(counts, t, best) - 3.841 / 2

    def loss(slope: float) -> float:
        return least - _log_likelihood(counts, t, slope)

    top = 2 * best + 1
    while loss(top) < 0:
        top *= 2
    low = _bisect(lambda slope: -loss(slope), 0.0, best) if loss(0.0) > 0 else 0.0
    return low, _bisect(loss, best, top)


def _first(enough: Callable[[int], bool], low: int) -> float:
    """Find the smallest number of ranks from `low` to 16 `low` that is enough, or infinity."""
    supports = range(low, _REACH * low + 1)
    first = bisect_left(supports, True, key=enough)
    return float(supports[first]) if first < len(supports) else math.inf


def _support_of_ranks(law: str, slope: float, seen: int, total: float) -> tuple[float, ...]:
    """Return N and its interval from the greatest of known ranks.

    That rank is the maximum-likelihood estimate, and never too large; N is the largest support
    under which it is not exceeded with probability >= 1/2, N_high with probability >= 0.05.
    """
    mass = np.exp(-slope * _cost(law, _REACH * seen)).cumsum()

    def rarer(chance: float, n: int) -> bool:
        return float((mass[seen - 1] / mass[n - 1]) ** total) < chance

    n, n_high = (_first(partial(rarer, chance), seen) - 1 for chance in (0.5, 0.05))
    return n, float(seen), n_high


def _support_sorted(law: str, counts: NDArray) -> tuple[float, ...]:
    """Return N and its interval: the supports under which as many units are expected to win."""
    t = _cost(law, _REACH * len(counts))
    total = counts.sum()

    def enough(deviations: float, n: int) -> bool:
        weight = np.exp(-_slope(counts, t[:n]) * t[:n])
        met = -np.expm1(-total * weight / weight.sum())
        deviation = math.sqrt(met @ (1 - met))
        return bool(met.sum() + deviations * deviation >= len(counts) - 0.5)

    return tuple(_first(partial(enough, d), len(counts)) for d in (0, 1.96, -1.96))
