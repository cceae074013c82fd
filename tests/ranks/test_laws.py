"""Rank laws against dumb loops and optimality conditions."""

import math

import numpy as np
import pytest
import torch

from speechasym.errors import ConfigError
from speechasym.ranks import laws


def distances(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).exponential(1.0, shape))


def soft_ranks(x, tau):
    def kernel(u):
        return math.exp(u) / 2 if u < 0 else 1 - math.exp(-u) / 2

    return [
        1 + sum(kernel((a - b) / tau) for j, b in enumerate(x) if j != i) for i, a in enumerate(x)
    ]


@pytest.mark.parametrize("units", [1, 2, 7, 63])
@pytest.mark.parametrize("tau", [0.01, 0.3, 5.0])
def test_soft_ranks_are_the_pairwise_ones(units, tau):
    x = distances(3, units)
    x[1, : units // 2] = x[1, 0]  # ties
    want = torch.tensor([soft_ranks(row, tau) for row in x.tolist()], dtype=torch.float64)
    torch.testing.assert_close(laws.ranks(x, soft=tau), want)


def test_exact_ranks_share_ties_and_are_the_limit_of_soft_ones():
    x = torch.tensor([[3.0, 1.0, 1.0, 9.0, 0.0], [2.0, 2.0, 2.0, 2.0, 2.0]])
    want = torch.tensor([[4, 2.5, 2.5, 5, 1], [3.0] * 5])
    assert torch.equal(laws.ranks(x), want)
    torch.testing.assert_close(laws.ranks(x, soft=1e-3), want)
    mask = torch.tensor([True, False, True, True, True])
    assert laws.ranks(x, mask=mask)[0, [0, 2, 3, 4]].tolist() == [3, 2, 4, 1]


def test_laws_by_hand():
    x = distances(9).tolist()
    t = torch.tensor(x, dtype=torch.float64)
    weight = [math.exp(-a / 0.7) for a in x]
    want = torch.tensor([w / sum(weight) for w in weight], dtype=torch.float64)
    torch.testing.assert_close(laws.geometric(t, 0.7), want)
    place = {a: k for k, a in enumerate(sorted(x), 1)}
    weight = [place[a] ** (-1 / 0.7) for a in x]
    want = torch.tensor([w / sum(weight) for w in weight], dtype=torch.float64)
    torch.testing.assert_close(laws.power(t, 0.7), want)


@pytest.mark.parametrize("law", ["geometric", "power"])
def test_each_law_has_the_greatest_entropy_under_its_bound(law):
    # C4: no other distribution with the same mean (log) rank has more entropy
    rng = np.random.default_rng(0)
    i = torch.arange(12, dtype=torch.float64)
    p = (laws.geometric if law == "geometric" else laws.power)(i, 2.5)
    cost = i if law == "geometric" else (i + 1).log()
    fixed = torch.linalg.qr(torch.stack([torch.ones(12, dtype=torch.float64), cost], 1)).Q
    entropy = -(p * p.log()).sum()
    for _ in range(50):
        step = torch.from_numpy(rng.standard_normal(12))
        step = step - fixed @ (fixed.T @ step)
        other = p + 0.5 * p.min() * step / step.abs().max()
        assert abs((other - p) @ cost) < 1e-12
        assert -(other * other.log()).sum() < entropy


def test_limits_of_beta():
    x = distances(4, 50).float()
    for law in (laws.geometric, laws.power):
        chosen = [float(laws.selectivity(law(x, b)).mean()) for b in (1e-4, 0.1, 1.0, 10.0, 1e6)]
        assert chosen == sorted(chosen, reverse=True)
        assert chosen[0] > 0.999 and chosen[-1] < 1e-6
        assert torch.equal(law(x, 1e-4).argmax(-1), x.argmin(-1))


def test_selectivity_ends():
    for units in (2, 3, 49, 256):
        for dtype in (torch.float32, torch.float64):
            assert laws.selectivity(torch.full((units,), 1.0, dtype=dtype).softmax(0)) == 0
            assert laws.selectivity(torch.eye(units, dtype=dtype)).eq(1).all()
    assert laws.selectivity(torch.ones(5, 1)).tolist() == [0.0] * 5
    half = torch.tensor([0.5, 0.5, 0.0, 0.0], requires_grad=True)
    value = laws.selectivity(half)
    assert value.item() == pytest.approx(0.5)
    value.backward()
    assert half.grad.isfinite().all()
    assert laws.selectivity(torch.zeros(2, 4)).isfinite().all()


def test_compress():
    x = torch.tensor([-99.0, -9.0, 0.0, 9.0, 99.0], dtype=torch.float64, requires_grad=True)
    y = laws.compress(x, torch.tensor(100.0))
    torch.testing.assert_close(y, torch.tensor([-1, -0.5, 0, 0.5, 1], dtype=torch.float64))
    (slope,) = torch.autograd.grad(y.sum(), x)
    want = 1 / ((1 + x.detach().abs()) * math.log(100))
    torch.testing.assert_close(slope, want)


@pytest.mark.parametrize("exponent", [1, 2])
def test_sparse_laws_meet_their_condition(exponent):
    # p_i = max(z_i / exponent - threshold, 0)^exponent with one threshold, and sums to 1
    law = laws.sparsemax if exponent == 1 else laws.entmax15
    z = 3 * torch.from_numpy(np.random.default_rng(1).standard_normal((40, 17)))
    z[0], z[1, :9] = 0.0, 2.0
    p = law(z)
    torch.testing.assert_close(p.sum(-1), torch.ones(40, dtype=torch.float64))
    threshold = z / exponent - p ** (1 / exponent)
    inside = p > 0
    level = threshold.masked_fill(~inside, -math.inf).amax(-1, keepdim=True)
    assert ((threshold - level).abs()[inside] < 1e-12).all()
    assert ((z / exponent <= level + 1e-12) | inside).all()
    assert 0 < inside.float().mean() < 0.7


def test_wrong_values_are_named():
    for law in (laws.geometric, laws.power):
        with pytest.raises(ConfigError, match="beta"):
            law(torch.rand(3), 0.0)
    with pytest.raises(ConfigError, match="soft"):
        laws.ranks(torch.rand(3), soft=-1.0)
