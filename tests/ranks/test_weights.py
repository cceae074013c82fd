"""Weights of any number of competitors: the plain definition, limits, and what N does."""

import math

import numpy as np
import pytest
import torch

from speechasym.errors import ConfigError
from speechasym.levels.presets import model_config
from speechasym.ops import ref
from speechasym.ranks import laws
from speechasym.ranks.weights import BETA, GROWTH, LAWS, SOFT, TYPICAL, WEIGHTS, CompetitorWeights

CHOICES = [
    *((w, law) for w in ("rank", "scaled") for law in LAWS),
    ("entmax", "geometric"),
    ("scaled-entmax", "geometric"),
]
COUNTS = [2, 8, 64, 512, 4096]


def made(choice, heads=2, beta=None, growth=None):
    layer = CompetitorWeights(heads, *choice).double()
    with torch.no_grad():
        if beta is not None:
            layer.raw_beta.fill_(share_logit(beta, *BETA))
        if growth is not None and layer.raw_growth is not None:
            layer.raw_growth.fill_(share_logit(growth, *GROWTH))
    return layer


def share_logit(value, low, high):
    share = math.log(value / low) / math.log(high / low)
    return math.log(share / (1 - share))


def normal(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def visible_of(case, keys):
    visible = torch.ones(2, 1, 3, keys, dtype=torch.bool)
    if case == "some":
        visible = torch.from_numpy(np.random.default_rng(1).random((2, 1, 3, keys)) < 0.6)
        visible[..., 0] = True
    if case == "one":
        visible[..., 1:] = False
    return visible


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize(("keys", "case"), [(1, "all"), (7, "all"), (33, "some"), (5, "one")])
def test_values_and_gradients_are_those_of_the_plain_definition(choice, keys, case):
    layer = made(choice, beta=0.7, growth=1.7)
    scores = (1.5 * normal(2, 2, 3, keys)).requires_grad_()
    visible = visible_of(case, keys)
    growth = 1.7 if choice[0].startswith("scaled") else 0.0

    def plain(b, h, f, values, beta=0.7, growth=growth):
        return ref.attention_weights(
            values, visible[b, 0, f].numpy(), layer.law, beta, growth, SOFT
        )

    p = layer(scores, visible)
    toward = normal(*p.shape, seed=2)
    (p * toward).sum().backward()
    slopes = np.zeros(2)  # of beta and growth
    rows = [(b, h, f) for b in range(2) for h in range(2) for f in range(3)]
    for b, h, f in rows:
        row = scores[b, h, f].detach().numpy()
        np.testing.assert_allclose(p[b, h, f].detach(), plain(b, h, f, row), atol=1e-9)
        way = toward[b, h, f].numpy()
        e = 1e-5
        for k in range(keys):
            step = np.zeros(keys)
            step[k] = e
            slope = (plain(b, h, f, row + step) - plain(b, h, f, row - step)) @ way / (2 * e)
            assert scores.grad[b, h, f, k].item() == pytest.approx(slope, abs=1e-6)
        up, down = (plain(b, h, f, row, 0.7 + s) for s in (e, -e))
        slopes[0] += (up - down) @ way / (2 * e)
        if growth:
            up, down = (plain(b, h, f, row, 0.7, growth + s) for s in (e, -e))
            slopes[1] += (up - down) @ way / (2 * e)

    def chain(raw, low, high):  # derivative of the bounded value
        s = torch.sigmoid(raw.detach())
        return (low * torch.exp(math.log(high / low) * s) * math.log(high / low) * s * (1 - s))[0]

    assert layer.raw_beta.grad.sum().item() == pytest.approx(
        slopes[0] * chain(layer.raw_beta, *BETA).item(), abs=1e-5
    )
    if growth:
        assert layer.raw_growth.grad.sum().item() == pytest.approx(
            slopes[1] * chain(layer.raw_growth, *GROWTH).item(), abs=1e-5
        )


@pytest.mark.parametrize("choice", CHOICES)
def test_hidden_keys_are_not_competitors(choice):
    layer, scores = made(choice), normal(2, 2, 3, 9)
    visible = visible_of("some", 9)
    p = layer(scores.masked_fill(~visible, 1e9), visible)
    assert not p.masked_select(~visible).any() and p.isfinite().all()
    for b in range(2):
        for f in range(3):
            seen = visible[b, 0, f]
            alone = layer(scores[b, :, f][:, seen][None, :, None], seen[seen])
            torch.testing.assert_close(p[b, :, f][:, seen], alone[0, :, 0])
    only = layer(scores, visible_of("one", 9))
    assert torch.equal(only[..., 0], torch.ones_like(only[..., 0]))


@pytest.mark.parametrize("choice", CHOICES)
def test_limits_of_beta(choice):
    scores, all_of_them = normal(4, 2, 3, 50), torch.ones(50, dtype=torch.bool)
    chosen = []
    for raw in (-40.0, -1.0, 0.0, 1.0, 40.0):
        layer = made(choice)
        with torch.no_grad():
            layer.raw_beta.fill_(raw)
        p = layer(scores, all_of_them)
        chosen.append(laws.selectivity(p).mean().item())
        assert torch.equal(p.argmax(-1), scores.argmax(-1))
        torch.testing.assert_close(p.sum(-1), torch.ones_like(p[..., 0]))
    assert chosen == sorted(chosen, reverse=True)
    assert chosen[0] > 0.95  # beta = 0.01
    assert chosen[-1] < 0.02  # beta = 100


def strongest(choice, beta, growth=1.0):
    """Return the mean share of the strongest of N independent normal scores, for each of COUNTS."""
    shares = []
    for count in COUNTS:
        scores = normal(200, 1, 1, count, seed=count)
        if choice == "softmax":
            p = torch.softmax(scores / beta, -1)
        else:
            layer = made(choice, heads=1, beta=beta, growth=growth)
            p = layer(scores, torch.ones(count, dtype=torch.bool))
        shares.append(p.amax(-1).mean().item())
    return shares


def test_softmax_lets_the_strongest_fade_and_beta_by_competitors_does_not():
    for beta in (1.0, 0.5):
        for choice in ("softmax", ("rank", "geometric")):
            shares = strongest(choice, beta)
            assert shares == sorted(shares, reverse=True)
            assert shares[-1] < 0.12 * shares[0]
    for choice in (("scaled", "geometric"), ("scaled-entmax", "geometric")):
        shares = strongest(choice, 1.0)
        assert min(shares) > 0.8 * shares[0]
        assert shares[-1] > 0.95 * shares[1]  # from 8 to 4096 it does not fall
    # beta ~ 1 / log N is not enough by itself: it has to be small enough for some N
    weak = strongest(("scaled", "geometric"), 4.0)
    assert weak[-1] < 0.5 * weak[0]


def test_an_exponent_above_one_is_enough_for_ranks():
    shares = strongest(("rank", "power"), 0.5)
    assert shares[-1] > 0.5 * shares[0] and shares[-1] > 0.9 * shares[2]
    assert strongest(("rank", "power"), 2.0)[-1] < 0.05


@pytest.mark.parametrize("growth", [0.0, 1.0, 3.0])
def test_a_leader_by_a_margin_keeps_its_share(growth):
    # share 1 / (1 + (N - 1) exp(-d (1 + growth log N) / beta)), which rises if d growth > beta
    shares = []
    for count in COUNTS:
        scores = torch.zeros(1, 1, 1, count, dtype=torch.float64)
        scores[..., 0] = 2.0
        visible = torch.ones(count, dtype=torch.bool)
        if growth:
            p = made(("scaled", "geometric"), 1, beta=1.5, growth=growth)(scores, visible)
        else:
            p = made(("rank", "geometric"), 1, beta=1.5)(scores, visible)
        want = 1 / (1 + (count - 1) * math.exp(-2 * (1 + growth * math.log(count)) / 1.5))
        assert p[0, 0, 0, 0].item() == pytest.approx(want)
        shares.append(want)
    assert (shares[1:] == sorted(shares[1:])) == (2 * growth > 1.5)  # from 8 on
    assert min(shares) > 0.89 or not growth


def test_it_starts_as_the_softmax_for_typical_numbers():
    scores = normal(2, 3, 4, TYPICAL).float()
    visible = torch.ones(TYPICAL, dtype=torch.bool)
    for weights in ("rank", "scaled"):
        p = CompetitorWeights(3, weights)(scores, visible)
        torch.testing.assert_close(p, scores.softmax(-1), atol=1e-5, rtol=0)


def test_choices_come_from_yaml_and_wrong_ones_are_named():
    for weights in ("softmax", *WEIGHTS):
        model = model_config({"preset": "transformer", "every": {"block": {"weights": weights}}})
        assert all(block.weights == weights for block in model.levels[0].blocks())
    with pytest.raises(ConfigError, match=r"weights.*scaled-entmax.*sharp"):
        model_config({"preset": "transformer", "every": {"block": {"weights": "sharp"}}})
    with pytest.raises(ConfigError, match="law"):
        CompetitorWeights(2, "scaled", "gelu")
