"""Fits of known laws."""

import math

import numpy as np
import pytest

from speechasym.errors import ConfigError
from speechasym.ranks.fits import fit


def sample(law, beta, count, size, seed=0):
    """Counts of `size` draws from a truncated law, by rank."""
    weight = [
        math.exp(-i / beta) if law == "geometric" else (i + 1) ** (-1 / beta) for i in range(count)
    ]
    rng = np.random.default_rng(seed)
    return rng.multinomial(size, np.array(weight) / sum(weight))


LAWS = [
    *[("geometric", 5, 20), ("geometric", 20, 50), ("geometric", 40, 100)],
    *[("power", 0.7, 100), ("power", 1, 50), ("power", 1, 200), ("power", 2, 100)],
]


@pytest.mark.parametrize(("law", "beta", "count"), LAWS)
@pytest.mark.parametrize("ranked", [True, False])
def test_fits_recover_the_law(law, beta, count, ranked):
    # 100 000 samples: every unit is met many times
    counts = sample(law, beta, count, 100_000)
    if not ranked:
        counts = np.random.default_rng(1).permutation(counts)
    result = fit(counts, ranked=ranked)
    assert result.best.law == law and (result.delta_bic > 10) == (law == "power")
    assert result.best.beta == pytest.approx(beta, rel=0.02)
    assert result.best.resolution == count  # every unit is met, and one more would have been
    assert result.best.beta_low < result.best.beta < result.best.beta_high


def test_fit_is_the_greatest_likelihood():
    counts = sample("power", 1, 30, 2000)
    result = fit(counts, ranked=True).power

    def likelihood(beta):
        z = sum((i + 1) ** (-1 / beta) for i in range(30))
        return sum(c * math.log((i + 1) ** (-1 / beta) / z) for i, c in enumerate(counts))

    assert likelihood(result.beta) == pytest.approx(result.log_likelihood)
    assert all(likelihood(result.beta * f) < result.log_likelihood for f in (0.999, 1.001))
    for end in (result.beta_low, result.beta_high):
        assert result.log_likelihood - likelihood(end) == pytest.approx(3.841 / 2, abs=1e-3)
    assert result.bic == pytest.approx(2 * math.log(2000) - 2 * result.log_likelihood)


def test_intervals_hold_the_truth():
    fits = [fit(sample("power", 1, 50, 1000, s), ranked=True) for s in range(100)]
    held = sum(f.power.beta_low <= 1 <= f.power.beta_high for f in fits)
    assert 88 <= held <= 100
    assert sum(f.power.resolution_low <= 50 <= f.power.resolution_high for f in fits) >= 88


def test_bias_of_sorted_counts():
    # 30 samples a unit: sorting its own noise makes a flat law look steeper; known ranks do not
    def bias(ranked):
        counts = [sample("geometric", 40, 100, 3000, seed) for seed in range(20)]
        return np.mean([fit(c, ranked=ranked).geometric.beta for c in counts]) / 40 - 1

    assert abs(bias(True)) < 0.015
    assert -0.06 < bias(False) < -0.015


def test_unseen_units_are_counted_when_ranks_are_sorted():
    counts = sample("power", 0.7, 100, 2000)
    result = fit(counts).power
    assert np.count_nonzero(counts) < 95
    assert result.resolution == pytest.approx(100, rel=0.1)
    assert result.resolution_low < 100 < result.resolution_high


def test_a_law_that_ends_by_itself_has_no_resolution():
    result = fit(sample("geometric", 3, 1000, 3000), ranked=True).geometric
    assert result.resolution_high == math.inf and result.resolution < 50


def test_activations_of_a_law():
    p = np.where(np.arange(64) < 24, np.exp(-np.arange(64) / 8), 1e-9)
    result = fit(np.random.default_rng(0).permutation(p), sample_size=5000)
    assert result.best.law == "geometric"
    assert result.best.beta == pytest.approx(8, rel=0.02)
    assert result.best.resolution == pytest.approx(24, rel=0.05)
    twice = fit(2 * p, sample_size=5000)
    assert twice.best.beta == pytest.approx(result.best.beta)


def test_equal_counts_have_no_finite_beta():
    result = fit([10, 10, 10])
    assert result.best.beta == result.best.beta_high == math.inf
    assert math.isfinite(result.best.beta_low)


@pytest.mark.parametrize(
    ("values", "options", "names"),
    [
        ([], {}, "values"),
        ([[1, 2]], {}, "values"),
        ([3, -1], {}, r"values\[1\]"),
        ([3, math.nan], {}, r"values\[1\]"),
        ([math.inf, 2], {}, r"values\[0\]"),
        ([0, 0], {}, "values"),
        ([5], {}, "values"),
        ([0, 5, 0], {}, "values"),
        ([3, 2], {"sample_size": 0}, "sample_size"),
        ([3, 2], {"sample_size": 9, "ranked": True}, "ranked"),
        ([9, 1e-9], {"sample_size": 9}, "values"),
        ([0, 0], {"sample_size": 9}, "values"),
    ],
)
def test_fit_errors(values, options, names):
    with pytest.raises(ConfigError, match=names):
        fit(values, **options)
