"""Rank laws fitted to how often each of many units was active (C4, C7, C9).

Maximum likelihood for the shape beta and the support N of a truncated geometric law and of a
truncated power law (Zipf's [1]), BIC between them, and intervals. How far they can be trusted,
measured: docs/theory.md.

[1] G. K. Zipf, "Human Behavior and the Principle of Least Effort", Addison-Wesley, 1949.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechasym.errors import ConfigError

_REACH = 16  # times the ranks seen: how far a fit looks for the end of the support


@dataclass(frozen=True, kw_only=True)
class LawFit:
    """One truncated law fitted to counts; intervals are at 95 %.

    beta_high is infinite where equal ranks are not excluded, resolution_high where the law would
    end by itself (or further than sixteen times what was seen): then N is not told by these data.
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
    """The fits of one or both laws; `None` for a law that was not asked for."""

    geometric: LawFit | None
    power: LawFit | None

    @property
    def best(self) -> LawFit:
        """The fit with the smaller BIC."""
        return min((f for f in (self.geometric, self.power) if f), key=lambda f: f.bic)

    @property
    def delta_bic(self) -> float:
        """BIC of geometric less power: above 0 speaks for power, beyond 10 strongly."""
        if self.geometric is None or self.power is None:
            return math.nan
        return self.geometric.bic - self.power.bic


def _statistic(law: str, count: int) -> NDArray:
    """t(i), i = 0 ... count - 1: the law is p(i) proportional to exp(-t(i) / beta)."""
    i = np.arange(count, dtype=np.float64)
    return i if law == "geometric" else np.log1p(i)


def _log_likelihood(counts: NDArray, t: NDArray, slope: float) -> float:
    """Of counts under exp(-slope t) on the support of t."""
    return float(-slope * (counts @ t) - counts.sum() * np.log(np.exp(-slope * t).sum()))


def _bisect(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function passes 0; the nearer end if it does not."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2


def _slope(counts: NDArray, t: NDArray) -> float:
    """1 / beta of greatest likelihood, >= 0: the one whose mean of t is that of the counts."""
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
    """Where the log-likelihood is 1.92 below its greatest value (chi square, 95 %)."""
    least = _log_likelihood(counts, t, best) - 3.841 / 2

    def loss(slope: float) -> float:
        return least - _log_likelihood(counts, t, slope)

    top = 2 * best + 1
    while loss(top) < 0:
        top *= 2
    low = _bisect(lambda slope: -loss(slope), 0.0, best) if loss(0.0) > 0 else 0.0
    return low, _bisect(loss, best, top)


def _first(enough: Callable[[int], bool], low: int) -> float:
    """The least number of ranks from `low` to 16 `low` that is enough, or infinity."""
    high = _REACH * low
    if not enough(high):
        return math.inf
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return float(low)


def _support_labelled(law: str, slope: float, seen: int, total: float) -> tuple[float, ...]:
    """N and its interval, from the greatest rank seen among counts whose ranks are known.

    That rank is the estimate of greatest likelihood and never too large; N is the largest support
    with which it is not passed at least half of the time, N_high at least 5 % of the time.
    """
    mass = np.exp(-slope * _statistic(law, _REACH * seen)).cumsum()

    def chance(n: int) -> float:
        return float((mass[seen - 1] / mass[n - 1]) ** total)

    return (
        _first(lambda n: chance(n) < 0.5, seen) - 1,
        float(seen),
        _first(lambda n: chance(n) < 0.05, seen) - 1,
    )


def _support_sorted(law: str, counts: NDArray) -> tuple[float, ...]:
    """N and its interval, from how many units were met at all: that many are expected to be."""
    t = _statistic(law, _REACH * len(counts))
    total = counts.sum()

    def expected(deviations: float, n: int) -> bool:
        weight = np.exp(-_slope(counts, t[:n]) * t[:n])
        met = -np.expm1(-total * weight / weight.sum())
        deviation = math.sqrt(met @ (1 - met))
        return bool(met.sum() + deviations * deviation >= len(counts) - 0.5)

    return tuple(_first(partial(expected, d), len(counts)) for d in (0, 1.96, -1.96))


def _fit_law(law: str, counts: NDArray, labelled: bool) -> LawFit:
    """counts (M,) by rank, the last one above 0."""
    seen, total = len(counts), float(counts.sum())
    t = _statistic(law, seen)
    slope = _slope(counts, t)
    low, high = _slope_interval(counts, t, slope)
    likelihood = _log_likelihood(counts, t, slope)
    if labelled:
        n, n_low, n_high = _support_labelled(law, slope, seen, total)
    else:
        n, n_low, n_high = _support_sorted(law, counts)
    return LawFit(
        law=law,
        beta=_inverse(slope),
        beta_low=_inverse(high),
        beta_high=_inverse(low),
        resolution=n if math.isfinite(n) else float(seen),
        resolution_low=n_low if math.isfinite(n_low) else float(seen),
        resolution_high=n_high,
        log_likelihood=likelihood,
        bic=2 * math.log(total) - 2 * likelihood,
    )


def _inverse(slope: float) -> float:
    return 1 / slope if slope > 0 else math.inf


def fit(
    values: ArrayLike,
    law: Literal["both", "geometric", "power"] = "both",
    kind: Literal["counts", "activations"] = "counts",
    *,
    ranked: bool = False,
    sample_size: float | None = None,
) -> Fit:
    """Truncated rank laws of greatest likelihood: beta, N, and which law the data follow.

    p(i) is proportional to exp(-i / beta) or (i + 1)^(-1 / beta), i = 0 ... N - 1. The interval
    of beta is from the likelihood ratio and knows only sampling: where ranks come from sorting
    the counts themselves, beta is biased besides when units are met only a few times each
    (docs/theory.md has figures).

    Args:
        values: (U,) how often each unit won, or its mean activation; zero where it never did.
        law: which to fit.
        kind: counts are taken as they are; activations, divided by their sum, are taken as
            `sample_size` independent observations, and below half an observation as none.
        ranked: counts only: values[i] belongs to rank i + 1, known from elsewhere; else sorted.
        sample_size: activations only, and needed there: independent observations (not frames:
            neighbouring frames repeat one another).

    Raises:
        ConfigError: values that are empty, negative or not finite, fewer than two units with
            any, or options that do not belong together.
    """
    counts = np.asarray(values, np.float64)
    if counts.ndim != 1 or not counts.size:
        raise ConfigError("values", f"one number a unit expected, got {counts.shape}", "Flatten it")
    if not np.isfinite(counts).all() or (counts < 0).any():
        first = int(np.flatnonzero(~(counts >= 0) | np.isinf(counts))[0])
        raise ConfigError(f"values[{first}]", f"{counts[first]} is not a count", "Give 0 or more")
    if law not in ("both", "geometric", "power") or kind not in ("counts", "activations"):
        raise ConfigError("law, kind", f"{law!r}, {kind!r} unknown", "Use 'both', 'counts'")
    if (kind == "activations") != (sample_size is not None) or (kind == "activations" and ranked):
        raise ConfigError(
            "sample_size, ranked",
            f"{sample_size}, {ranked}: activations need a sample size and are sorted, counts not",
            "Give sample_size with activations only, ranked with counts only",
        )
    if counts.any() and sample_size is not None:
        if not 1 < sample_size < math.inf:
            raise ConfigError("sample_size", f"{sample_size} is not above 1", "Give the number")
        counts = counts / counts.max()
        counts *= sample_size / counts.sum()
        counts[counts < 0.5] = 0
    if np.count_nonzero(counts) < 2:
        raise ConfigError(
            "values",
            f"{np.count_nonzero(counts)} units with any count: a law needs two",
            "Give more data, or a larger sample_size",
        )
    if not ranked:
        counts = np.sort(counts)[::-1]
    counts = counts[: np.flatnonzero(counts)[-1] + 1]
    labelled = ranked or kind == "activations"
    geometric, power = (
        _fit_law(name, counts, labelled) if law in ("both", name) else None
        for name in ("geometric", "power")
    )
    return Fit(geometric=geometric, power=power)
