"""Rank laws as an activation: gradients, bounds, masks, groups."""

import math

import numpy as np
import pytest
import torch

from speechasym.errors import ConfigError
from speechasym.ranks import activation
from speechasym.ranks.activation import RankActivation

NORMALISED = ("geometric", "power", "pareto", "softmax", "sparsemax", "entmax")
HUGE = torch.finfo(torch.float32).max


def distances(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).exponential(1.0, shape))


def test_pareto_by_hand():
    x = distances(9)
    want = (1 + x) ** (-1 / 0.7)
    got = RankActivation(9, "pareto", beta=0.7)(x)
    torch.testing.assert_close(got, want / want.sum(), rtol=1e-5, atol=0)  # beta is a float32


def layer_of(law, **options):
    if law in ("geometric", "power"):
        options.setdefault("resolution", 4.3)
    return RankActivation(7, law, groups=2, **options).double()


@pytest.mark.parametrize("law", RankActivation.LAWS)
def test_gradients(law):
    layer = layer_of(law, soft=0.3, beta=0.8)
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
    layer = layer_of("power", soft=None)
    x = distances(3, 2, 7).requires_grad_()
    layer(x).square().sum().backward()
    assert x.grad is None or not x.grad.any()
    assert layer.raw_beta.grad.all() and layer.raw_resolution.grad.all()


@pytest.mark.parametrize("law", RankActivation.LAWS)
@pytest.mark.parametrize("raw", [-1e38, -30.0, 0.0, 30.0, 1e38])
def test_never_nan(law, raw):
    layer = layer_of(law).float()
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
    assert ((layer.beta >= 0.00999) & (layer.beta <= 100.1)).all()
    if layer.resolution is not None:
        assert (layer.resolution > 1).all()
        assert (layer.resolution <= layer.resolution_max * 1.001).all()


@pytest.mark.parametrize("law", RankActivation.LAWS)
def test_masked_units_do_not_count(law):
    options = {} if law != "log" else {"resolution": 50.0}
    if law in ("geometric", "power"):
        options = {"resolution": 3.0}
    layer = RankActivation(9, law, **options)
    part = RankActivation(5, law, **options)
    with torch.no_grad():  # resolution_max differs
        if layer.raw_resolution is not None and law != "log":
            part.raw_resolution.copy_(
                activation.unbounded("resolution", float(layer.resolution), 1.1, 5.0, 1)
            )
    x = distances(4, 9).float()
    mask = torch.tensor([True, False, True, True, False, False, True, False, True])
    torch.testing.assert_close(layer(x, mask)[:, mask], part(x[:, mask]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("law", ["geometric", "power"])
def test_resolution_is_a_support(law):
    x = torch.arange(30.0)[torch.randperm(30, generator=torch.Generator().manual_seed(0))]
    layer = RankActivation(30, law, beta=20.0, resolution=6.0, soft=None)
    y = layer(x).sort(descending=True).values
    full = RankActivation(30, law, beta=20.0)(x).sort(descending=True).values
    torch.testing.assert_close(y[1:5] / y[0], full[1:5] / full[0], rtol=0.05, atol=0)
    assert y[6:].sum() < 0.05 and y[7:].sum() < 0.005
    # N learns: towards a target of twelve equals it must grow
    (-(y[:12].clamp(min=1e-9).log()).sum()).backward()
    assert layer.raw_resolution.grad < 0


def test_groups_stand_where_told():
    beta = torch.tensor([0.2, 1.0, 5.0])
    x = distances(2, 3, 4, 6).float()
    for dim, moved in ((-3, x), (-2, x.transpose(1, 2))):
        layer = RankActivation(6, groups=3, group_dim=dim)
        with torch.no_grad():
            layer.raw_beta.copy_((beta / 0.01).log().div(math.log(1e4)).logit())
        torch.testing.assert_close(layer.beta, beta)
        y = layer(moved)
        for g, b in enumerate(beta.tolist()):
            want = torch.softmax(-moved.select(dim, g) / b, -1)
            torch.testing.assert_close(y.select(dim, g), want, rtol=1e-4, atol=1e-6)
    each = RankActivation(6, "relu", groups=6, group_dim=-1)
    torch.testing.assert_close(each(x), torch.relu(1 - x))


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
        ({"resolution": 1.0}, "resolution"),
        ({"resolution": 9.0}, "resolution"),
        ({"resolution": 2.0, "law": "entmax"}, "resolution"),
        ({"resolution": 1.0, "units": 1}, "resolution"),
        ({"law": "log", "resolution": math.inf}, "resolution"),
        ({"soft": 0.0}, "soft"),
    ],
)
def test_activation_errors(options, names):
    with pytest.raises(ConfigError, match=names):
        RankActivation(**{"units": 8, **options})


def test_wrong_shapes_are_named():
    with pytest.raises(ConfigError, match="must have 7 units, got 8"):
        RankActivation(7)(torch.rand(2, 8))
    for x in (torch.rand(7), torch.rand(5, 7)):
        with pytest.raises(ConfigError, match="2 groups"):
            RankActivation(7, groups=2)(x)


@pytest.mark.parametrize("law", RankActivation.LAWS)
def test_any_leading_dimensions(law):
    layer = RankActivation(5, law)
    x = distances(2, 3, 4, 5).float()
    y = layer(x)
    assert y.shape == x.shape
    torch.testing.assert_close(layer(x[1, 2, 3]), y[1, 2, 3])
    assert layer(x[:0]).shape == (0, 3, 4, 5)


def test_one_unit():
    for law in NORMALISED:
        assert RankActivation(1, law)(torch.rand(4, 1)).eq(1).all()
