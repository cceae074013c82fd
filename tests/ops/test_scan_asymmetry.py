"""The recurrences in torch: equal to their definitions, at sizes that divide nothing."""

import numpy as np
import pytest
import torch

from speechasym.ops import ref, scan_asymmetry

SIZES = [0, 1, 2, 7, 63, 500]


def by_row(function, *arrays):
    """`function` of each row of arrays (2, 3, ...), stacked."""
    rows = [[function(*(a[b, c] for a in arrays)) for c in range(3)] for b in range(2)]
    return np.array(rows)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("steady", [True, False])
def test_leaky_sum_equals_a_loop(size, steady):
    rng = np.random.default_rng(size)
    x = rng.normal(size=(2, 3, size))
    keep = np.array([0.9]) if steady else rng.uniform(0, 1, size)
    want, y = np.zeros_like(x), 0.0
    for t in range(size):
        y = (keep[0] if steady else keep[t]) * y + x[..., t]
        want[..., t] = y
    got = scan_asymmetry.leaky_sum(torch.from_numpy(x), torch.from_numpy(keep))
    np.testing.assert_allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("settle", [1, 10])
def test_noise_floor_equals_its_definition(size, settle):
    power = 10 ** np.random.default_rng(size).uniform(-9, 0, (2, 3, size))
    want = by_row(lambda row: ref.noise_floor(row, 0.2, 0.05, settle)[0], power) if size else power
    exact = scan_asymmetry.noise_floor(torch.from_numpy(power), 0.2, 0.05, settle)
    np.testing.assert_allclose(exact, want, atol=1e-10)
    rounded = scan_asymmetry.noise_floor(torch.from_numpy(power).float(), 0.2, 0.05, settle)
    np.testing.assert_allclose(rounded, want, atol=1e-4)


@pytest.mark.parametrize("frames", SIZES)
@pytest.mark.parametrize("hop", [1, 5])
def test_plays_equal_their_definition(frames, hop):
    step = np.random.default_rng(frames).normal(size=(2, 3, frames * hop))
    width, decay = np.array([0.3, 2.0, 7.0]), np.array([0.1, 0.9, 0.99])

    def defined(row):
        return ref.stop_pooled(row, np.ones_like(row), width, decay, hop)[1:3]

    want = by_row(defined, step)  # (2, 3, 2, K, F)
    constants = torch.from_numpy(width), torch.from_numpy(decay)
    got = scan_asymmetry.plays_pooled(torch.from_numpy(step), *constants, hop)
    np.testing.assert_allclose(torch.stack(got, 2), want, atol=1e-10)
    single = (part.float() for part in constants)
    got = scan_asymmetry.plays_pooled(torch.from_numpy(step).float(), *single, hop)
    np.testing.assert_allclose(torch.stack(got, 2), want, atol=2e-3)


@pytest.mark.parametrize("size", SIZES)
def test_running_norm_equals_its_definition(size):
    x = np.random.default_rng(size).normal(3, 2, (2, 3, size))
    want = by_row(lambda row: ref.running_norm(row[:, None], 0.02)[0][:, 0], x)
    got = scan_asymmetry.running_norm(torch.from_numpy(x), 0.02)
    np.testing.assert_allclose(got, want, atol=1e-9)
