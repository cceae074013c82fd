"""Intervals of error rates and of their differences, over speakers and seeds.

Shapes: K seeds, S speakers, R drawings; the last axis holds errors and tokens of the references.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechasym.scoring.error_rates import error_rate

ROUNDS = 1000  # drawings of the bootstrap, as in `scoring`


def drawn(size: int, *seed: int) -> NDArray[np.int64]:
    """Return (R, size) how often each is drawn with replacement.

    Seed 0 gives the drawings of speakers of `scoring`.
    """
    rng = np.random.default_rng(seed if len(seed) > 1 else seed[0])
    return rng.multinomial(size, np.full(size, 1 / size), ROUNDS)


def rates(
    counts: NDArray[np.float64], seeds: NDArray[Any], speakers: NDArray[Any]
) -> NDArray[np.float64]:
    """Return (R,) error rates of (K, S, 2) counts for drawings of seeds (R, K), speakers (R, S)."""
    errors, tokens = np.einsum("rk,rs,kse->er", seeds, speakers, counts, optimize=True)
    return np.divide(errors, tokens, out=np.full(len(errors), math.nan), where=tokens > 0)


def interval(counts: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of an error rate over speakers, errors summed over seeds.

    NaN for one speaker.
    """
    speakers = drawn(counts.shape[1], 0)
    return _quantiles(rates(counts, np.ones((ROUNDS, len(counts))), speakers), counts.shape[1])


def difference(ours: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the relative difference of another's errors from ours, with its 95 % interval.

    Both, (K, S, 2), have the same speakers in each drawing; their seeds are drawn separately.
    """
    speakers = drawn(ours.shape[1], 0)
    # a seed gives each system a different network, so seeds are not paired
    drawings = [rates(counts, drawn(len(counts), 1, number), speakers)
                for number, counts in enumerate((ours, other))]  # fmt: skip
    whole = [counts[..., 0].sum() / counts[..., 1].sum() for counts in (ours, other)]
    if not whole[0]:
        return math.nan, math.nan, math.nan
    ratios = np.full(ROUNDS, math.nan)
    np.divide(drawings[1], drawings[0], out=ratios, where=drawings[0] > 0)
    return whole[1] / whole[0] - 1, *_quantiles(ratios - 1, ours.shape[1])


def speaker_counts(
    said: Mapping[str, Sequence[str]],
    answers: Mapping[str, Sequence[str]],
    speakers: Mapping[str, str],
) -> NDArray[np.float64]:
    """Return errors and tokens (S, 2) of the speakers, by name.

    Args:
        said, answers: {utterance: symbols}.
        speakers: {utterance: speaker}.
    """
    scores = error_rate(said, answers, speakers=speakers).utterances
    sums = {who: [0, 0] for who in sorted(set(speakers.values()))}
    for utterance, counts in scores.items():
        sums[speakers[utterance]][0] += counts.errors
        sums[speakers[utterance]][1] += counts.length
    return np.array(list(sums.values()), float)


def _quantiles(values: NDArray[np.float64], speakers: int) -> tuple[float, float]:
    if speakers < 2 or np.isnan(values).all():
        return math.nan, math.nan
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def verdict(ours: NDArray[np.float64], other: NDArray[np.float64]) -> str:
    """Return how many more errors another makes than ours, in %, and what that means."""
    if not len(ours) or not len(other):
        return "-"
    middle, low, high = (100 * value for value in difference(ours, other))
    if math.isnan(middle):
        return "-"
    if math.isnan(low):
        return f"{middle:+.1f}, no interval"
    if min(len(ours), len(other)) < 2:  # the interval would not cover seed noise
        return f"{middle:+.1f} [{low:+.1f}, {high:+.1f}] one seed"
    word = "worse" if low > 0 else "better" if high < 0 else "not distinguishable"
    return f"{middle:+.1f} [{low:+.1f}, {high:+.1f}] {word}"
