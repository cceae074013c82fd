"""Rank laws against dumb loops and optimality conditions; gradients; fits of known laws."""

import math

import numpy as np
import pytest
import torch

from speechasym.errors import ConfigError
from speechasym.ranks import activation as zipf
from speechasym.ranks.fits import fit

NORMALISED = ("geometric", "power", "pareto", "softmax", "sparsemax", "entmax")
HUGE = torch.finfo(torch.float32).max


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
    torch.testing.assert_close(zipf.ranks(x, soft=tau), want)
    torch.testing.assert_close(zipf.ranks(x.T.clone(), 0, soft=tau), want.T)


def test_exact_ranks_share_ties_and_are_the_limit_of_soft_ones():
    x = torch.tensor([[3.0, 1.0, 1.0, 9.0, 0.0], [2.0, 2.0, 2.0, 2.0, 2.0]])
    want = torch.tensor([[4, 2.5, 2.5, 5, 1], [3.0] * 5])
    assert torch.equal(zipf.ranks(x), want)
    assert torch.equal(zipf.ranks(x.T, 0), want.T)
    torch.testing.assert_close(zipf.ranks(x, soft=1e-3), want)
    mask = torch.tensor([True, False, True, True, True])
    assert zipf.ranks(x, mask=mask)[0, [0, 2, 3, 4]].tolist() == [3, 2, 4, 1]


def test_laws_by_hand():
    x = distances(9).tolist()
    t = torch.tensor(x, dtype=torch.float64)
    weight = [math.exp(-a / 0.7) for a in x]
    want = torch.tensor([w / sum(weight) for w in weight], dtype=torch.float64)
    torch.testing.assert_close(zipf.geometric(t, 0.7), want)
    place = {a: k for k, a in enumerate(sorted(x), 1)}
    weight = [place[a] ** (-1 / 0.7) for a in x]
    want = torch.tensor([w / sum(weight) for w in weight], dtype=torch.float64)
    torch.testing.assert_close(zipf.power(t, 0.7), want)
    weight = [(1 + a) ** (-1 / 0.7) for a in x]
    want = torch.tensor([w / sum(weight) for w in weight], dtype=torch.float64)
    got = zipf.RankActivation(9, "pareto", beta=0.7)(t)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=0)  # beta is a float32


@pytest.mark.parametrize("law", ["geometric", "power"])
def test_each_law_has_the_greatest_entropy_under_its_bound(law):
    # C4: no other distribution with the same mean (log) rank has more entropy
    rng = np.random.default_rng(0)
    i = torch.arange(12, dtype=torch.float64)
    p = (zipf.geometric if law == "geometric" else zipf.power)(i, 2.5)
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
    for law in (zipf.geometric, zipf.power):
        chosen = [float(zipf.selectivity(law(x, b)).mean()) for b in (1e-4, 0.1, 1.0, 10.0, 1e6)]
        assert chosen == sorted(chosen, reverse=True)
        assert chosen[0] > 0.999 and chosen[-1] < 1e-6
        assert torch.equal(law(x, 1e-4).argmax(-1), x.argmin(-1))


def test_selectivity_ends():
    for units in (2, 3, 49, 256):
        for dtype in (torch.float32, torch.float64):
            assert zipf.selectivity(torch.full((units,), 1.0, dtype=dtype).softmax(0)) == 0
            assert zipf.selectivity(torch.eye(units, dtype=dtype)).eq(1).all()
    assert zipf.selectivity(torch.ones(5, 1)).tolist() == [0.0] * 5
    half = torch.tensor([0.5, 0.5, 0.0, 0.0], requires_grad=True)
    value = zipf.selectivity(half)
    assert value.item() == pytest.approx(0.5)
    value.backward()
    assert half.grad.isfinite().all()
    mask = torch.tensor([[True, True, False, False], [True, False, False, False], [False] * 4])
    p = torch.tensor([[0.5, 0.5, math.nan, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    assert zipf.selectivity(p, mask=mask).tolist() == [0, 0, 0]
    assert zipf.selectivity(p.T, 0, mask.T).tolist() == [0, 0, 0]


def test_compress():
    x = torch.tensor([-99.0, -9.0, 0.0, 9.0, 99.0], dtype=torch.float64, requires_grad=True)
    y = zipf.compress(x, 100)
    torch.testing.assert_close(y, torch.tensor([-1, -0.5, 0, 0.5, 1], dtype=torch.float64))
    (slope,) = torch.autograd.grad(y.sum(), x)
    want = 1 / ((1 + x.detach().abs()) * math.log(100))
    torch.testing.assert_close(slope, want)


@pytest.mark.parametrize("exponent", [1, 2])
def test_sparse_laws_meet_their_condition(exponent):
    # p_i = max(z_i / exponent - threshold, 0)^exponent with one threshold, and sums to 1
    law = zipf.sparsemax if exponent == 1 else zipf.entmax15
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
    torch.testing.assert_close(law(z.T, 0), p.T)


def activation(law, **options):
    if law in ("geometric", "power"):
        options.setdefault("resolution", 4.3)
    return zipf.RankActivation(7, law, groups=2, **options).double()


@pytest.mark.parametrize("law", zipf.RankActivation.LAWS)
def test_gradients(law):
    layer = activation(law, soft=0.3, beta=0.8)
    x = distances(3, 2, 7).requires_grad_()
    names, values = zip(*layer.named_parameters(), strict=True) if law != "softmax" else ((), ())
    assert set(names) == {
        "softmax": set(),
        "log": {"raw_resolution"},
        "geometric": {"raw_beta", "raw_resolution"},
        "power": {"raw_beta", "raw_resolution"},
    }.get(law, {"raw_beta"})

    def run(x, *parameters):
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(layer, given, (x,))

    assert torch.autograd.gradcheck(run, (x, *values))
    (run(x, *values) * distances(3, 2, 7, seed=1)).sum().backward()
    for parameter in values:
        assert (parameter.grad != 0).all()


def test_exact_ranks_pass_gradients_to_beta_and_resolution_only():
    layer = activation("power", soft=None)
    x = distances(3, 2, 7).requires_grad_()
    layer(x).square().sum().backward()
    assert x.grad is None or not x.grad.any()
    assert layer.raw_beta.grad.all() and layer.raw_resolution.grad.all()


@pytest.mark.parametrize("law", zipf.RankActivation.LAWS)
@pytest.mark.parametrize("raw", [-1e38, -30.0, 0.0, 30.0, 1e38])
def test_never_nan(law, raw):
    layer = activation(law).float()
    for parameter in layer.parameters():
        parameter.data.fill_(raw)
    x = distances(9, 2, 7).float()
    x[0], x[1], x[2], x[3, :, :3], x[4, :, 2:] = 0, HUGE, 5, HUGE, 0
    x[5], x[6, :, :4] = 1e-45, 1e30
    mask = torch.ones(9, 2, 7, dtype=torch.bool)
    mask[7], mask[8, :, 3:] = False, False
    x[8, :, 3:], x[7, 0] = math.nan, math.inf  # padding may hold anything
    x.requires_grad_()
    y = layer(x, mask)
    assert y.isfinite().all()
    assert (y[~mask] == 0).all()
    if law in NORMALISED:
        torch.testing.assert_close(y.sum(-1)[:7], torch.ones(7, 2))
        torch.testing.assert_close(y.sum(-1)[8], torch.ones(2))
    y.square().sum().backward()
    assert x.grad.isfinite().all() and not x.grad[~mask].any()
    for parameter in layer.parameters():
        assert parameter.grad.isfinite().all()
    low, high = layer.beta_bounds
    assert ((layer.beta >= low * 0.999) & (layer.beta <= high * 1.001)).all()
    if layer.resolution is not None:
        assert (layer.resolution > 1).all()
        assert (layer.resolution <= layer.resolution_max * 1.001).all()


@pytest.mark.parametrize("law", zipf.RankActivation.LAWS)
def test_masked_units_do_not_count(law):
    options = {} if law != "log" else {"resolution": 50.0}
    if law in ("geometric", "power"):
        options = {"resolution": 3.0}
    layer = zipf.RankActivation(9, law, **options)
    part = zipf.RankActivation(5, law, **options)
    with torch.no_grad():  # resolution_max differs
        if layer.raw_resolution is not None and law != "log":
            part.raw_resolution.copy_(zipf._raw("resolution", float(layer.resolution), 1.1, 5.0, 1))
    x = distances(4, 9).float()
    mask = torch.tensor([True, False, True, True, False, False, True, False, True])
    torch.testing.assert_close(layer(x, mask)[:, mask], part(x[:, mask]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("law", ["geometric", "power"])
def test_resolution_is_a_support(law):
    x = torch.arange(30.0)[torch.randperm(30, generator=torch.Generator().manual_seed(0))]
    layer = zipf.RankActivation(30, law, beta=20.0, resolution=6.0, soft=None)
    y = layer(x).sort(descending=True).values
    full = zipf.RankActivation(30, law, beta=20.0)(x).sort(descending=True).values
    torch.testing.assert_close(y[1:5] / y[0], full[1:5] / full[0], rtol=0.05, atol=0)
    assert y[6:].sum() < 0.05 and y[7:].sum() < 0.005
    # N learns: towards a target of twelve equals it must grow
    (-(y[:12].clamp(min=1e-9).log()).sum()).backward()
    assert layer.raw_resolution.grad < 0


def test_groups_stand_where_told():
    beta = torch.tensor([0.2, 1.0, 5.0])
    x = distances(2, 3, 4, 6).float()
    for dim, moved in ((-3, x), (-2, x.transpose(1, 2))):
        layer = zipf.RankActivation(6, groups=3, group_dim=dim)
        with torch.no_grad():
            layer.raw_beta.copy_((beta / 0.01).log().div(math.log(1e4)).logit())
        torch.testing.assert_close(layer.beta, beta)
        y = layer(moved)
        for g, b in enumerate(beta.tolist()):
            want = torch.softmax(-moved.select(dim, g) / b, -1)
            torch.testing.assert_close(y.select(dim, g), want, rtol=1e-4, atol=1e-6)
    each = zipf.RankActivation(6, "relu", groups=6, group_dim=-1)
    torch.testing.assert_close(each(x), torch.relu(1 - x))


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
    assert fit(counts, law, ranked=ranked).best == result.best


def test_fit_is_the_greatest_likelihood():
    counts = sample("power", 1, 30, 2000)
    result = fit(counts, "power", ranked=True).best

    def likelihood(beta):
        z = sum((i + 1) ** (-1 / beta) for i in range(30))
        return sum(c * math.log((i + 1) ** (-1 / beta) / z) for i, c in enumerate(counts))

    assert likelihood(result.beta) == pytest.approx(result.log_likelihood)
    assert all(likelihood(result.beta * f) < result.log_likelihood for f in (0.999, 1.001))
    for end in (result.beta_low, result.beta_high):
        assert result.log_likelihood - likelihood(end) == pytest.approx(3.841 / 2, abs=1e-3)
    assert result.bic == pytest.approx(2 * math.log(2000) - 2 * result.log_likelihood)


def test_intervals_hold_the_truth():
    fits = [fit(sample("power", 1, 50, 1000, s), "power", ranked=True) for s in range(100)]
    held = sum(f.power.beta_low <= 1 <= f.power.beta_high for f in fits)
    assert 88 <= held <= 100
    assert sum(f.power.resolution_low <= 50 <= f.power.resolution_high for f in fits) >= 88


def test_bias_of_sorted_counts():
    # 30 samples a unit: sorting its own noise makes a flat law look steeper; known ranks do not
    def bias(ranked):
        counts = [sample("geometric", 40, 100, 3000, seed) for seed in range(20)]
        return np.mean([fit(c, "geometric", ranked=ranked).best.beta for c in counts]) / 40 - 1

    assert abs(bias(True)) < 0.015
    assert -0.06 < bias(False) < -0.015


def test_unseen_units_are_counted_when_ranks_are_sorted():
    counts = sample("power", 0.7, 100, 2000)
    result = fit(counts, "power").best
    assert np.count_nonzero(counts) < 95
    assert result.resolution == pytest.approx(100, rel=0.1)
    assert result.resolution_low < 100 < result.resolution_high


def test_a_law_that_ends_by_itself_has_no_resolution():
    result = fit(sample("geometric", 3, 1000, 3000), "geometric", ranked=True).best
    assert result.resolution_high == math.inf and result.resolution < 50


def test_activations_of_a_law():
    p = np.where(np.arange(64) < 24, np.exp(-np.arange(64) / 8), 1e-9)
    result = fit(np.random.default_rng(0).permutation(p), kind="activations", sample_size=5000)
    assert result.best.law == "geometric"
    assert result.best.beta == pytest.approx(8, rel=0.02)
    assert result.best.resolution == pytest.approx(24, rel=0.05)
    twice = fit(2 * p, kind="activations", sample_size=5000)
    assert twice.best.beta == pytest.approx(result.best.beta)


def test_equal_counts_have_no_finite_beta():
    result = fit([10, 10, 10])
    assert result.best.beta == result.best.beta_high == math.inf
    assert math.isfinite(result.best.beta_low)
    assert math.isnan(fit([3, 2], "power").delta_bic)


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
        ([3, 2], {"law": "normal"}, "law"),
        ([3, 2], {"kind": "weights"}, "kind"),
        ([3, 2], {"kind": "activations"}, "sample_size"),
        ([3, 2], {"sample_size": 10}, "sample_size"),
        ([3, 2], {"kind": "activations", "sample_size": 0}, "sample_size"),
        ([3, 2], {"kind": "activations", "sample_size": 9, "ranked": True}, "ranked"),
        ([9, 1e-9], {"kind": "activations", "sample_size": 9}, "values"),
        ([0, 0], {"kind": "activations", "sample_size": 9}, "values"),
    ],
)
def test_fit_errors(values, options, names):
    with pytest.raises(ConfigError, match=names):
        fit(values, **options)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"law": "zipf"}, "law"),
        ({"units": 0}, "units"),
        ({"groups": 0}, "groups"),
        ({"group_dim": -1}, "group_dim"),
        ({"group_dim": 0}, "group_dim"),
        ({"beta": 0.0}, "beta"),
        ({"beta": 1e3}, "beta"),
        ({"beta": math.nan}, "beta"),
        ({"beta_bounds": (0, 1)}, "beta_bounds"),
        ({"resolution": 1.0}, "resolution"),
        ({"resolution": 9.0}, "resolution"),
        ({"resolution": 2.0, "law": "entmax"}, "resolution"),
        ({"resolution": 1.0, "units": 1}, "resolution_max"),
        ({"resolution": 2.0, "resolution_max": math.inf}, "resolution_max"),
        ({"law": "log", "resolution_max": 0}, "resolution_max"),
        ({"soft": 0.0}, "soft"),
    ],
)
def test_activation_errors(options, names):
    with pytest.raises(ConfigError, match=names):
        zipf.RankActivation(**{"units": 8, **options})


def test_wrong_shapes_and_values():
    with pytest.raises(ConfigError, match="8 units, expected 7"):
        zipf.RankActivation(7)(torch.rand(2, 8))
    for x in (torch.rand(7), torch.rand(5, 7)):
        with pytest.raises(ConfigError, match="2 groups"):
            zipf.RankActivation(7, groups=2)(x)
    for law in (zipf.geometric, zipf.power):
        with pytest.raises(ConfigError, match="beta"):
            law(torch.rand(3), 0.0)
    with pytest.raises(ConfigError, match="levels"):
        zipf.compress(torch.rand(3), 1)
    with pytest.raises(ConfigError, match="soft"):
        zipf.ranks(torch.rand(3), soft=-1.0)


@pytest.mark.parametrize("law", zipf.RankActivation.LAWS)
def test_any_leading_dimensions(law):
    layer = zipf.RankActivation(5, law)
    x = distances(2, 3, 4, 5).float()
    y = layer(x)
    assert y.shape == x.shape
    torch.testing.assert_close(layer(x[1, 2, 3]), y[1, 2, 3])
    assert layer(x[:0]).shape == (0, 3, 4, 5)


def test_one_unit():
    for law in NORMALISED:
        assert zipf.RankActivation(1, law)(torch.rand(4, 1)).eq(1).all()
