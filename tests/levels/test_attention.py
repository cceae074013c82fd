"""Attention: rank weights, and distance."""

import math

import pytest
import torch

from speechasym.levels.attention import Attention
from speechasym.levels.config import BlockConfig

D = 12


def attention(width=D, **options):
    return Attention(BlockConfig(function="attention", width=width, **options))


def signal(batch, frames, width=D):
    generator = torch.Generator().manual_seed(batch + 10 * frames)
    return torch.randn(batch, frames, width, generator=generator)


def test_rank_weights_with_beta_one_are_the_softmax():
    torch.manual_seed(0)
    plain, rank = (attention(heads=3, window=5, weights=w) for w in ("softmax", "rank"))
    rank.load_state_dict(plain.state_dict(), strict=False)
    x = signal(2, 30)
    mask = torch.arange(30) < torch.tensor([[30], [11]])
    torch.testing.assert_close(rank(x, mask), plain(x, mask), atol=1e-5, rtol=0)


def test_beta_stays_within_its_bounds():
    rank = attention(heads=3, weights="rank").rank
    with torch.no_grad():
        rank.raw_beta[:] = torch.tensor([-1e9, 0, 1e9])
    assert rank.beta.tolist() == pytest.approx([0.01, 1, 100])


def test_attention_of_equal_frames_is_their_value():
    # whatever the weights are, they sum to 1
    x = signal(1, 1).expand(1, 20, D)
    y = attention(heads=3)(x)
    torch.testing.assert_close(y, y[:, :1].expand_as(y), atol=1e-6, rtol=0)


def test_attention_forgets_with_distance_at_its_slope():
    causal = attention(4, heads=1, causal=True)
    with torch.no_grad():
        causal.inside.weight.zero_()
        causal.inside.bias.zero_()
        causal.inside.weight[8:] = torch.eye(4)
        causal.out.weight.copy_(torch.eye(4))
        causal.out.bias.zero_()
        causal.log_slope.fill_(math.log(0.5))
    x = torch.zeros(1, 6, 4)
    x[0, 2] = 1
    decay = [math.exp(-0.5 * k) for k in range(6)]
    want = [0, 0] + [decay[t - 2] / sum(decay[: t + 1]) for t in range(2, 6)]
    torch.testing.assert_close(causal(x)[0, :, 0], torch.tensor(want))


@pytest.mark.parametrize("weights", ["softmax", "scaled"])
@pytest.mark.parametrize("options", [{}, {"causal": True}, {"window": 4}])
def test_the_weights_are_those_of_a_pass(weights, options):
    """Weights times values, through the output map, are the output; hidden frames weigh nothing."""
    function = attention(heads=3, weights=weights, **options)
    x, mask = signal(2, 20), torch.arange(20) < torch.tensor([[20], [11]])
    w, visible = function.weights(x, mask)
    values = function.inside(x).chunk(3, 2)[2].unflatten(2, (3, -1)).transpose(1, 2)
    y = function.out((w @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(y[mask], function(x, mask)[mask], atol=1e-5, rtol=0)
    visible = visible.expand(2, -1, -1, -1)
    assert not w.masked_fill(visible, 0).any() and not visible[1, :, :11, 11:].any()
    torch.testing.assert_close(w.sum(-1), torch.ones(2, 3, 20))


@pytest.mark.parametrize("frames", [1, 2, 33])
def test_causal_softmax_is_that_of_the_scores(frames):
    torch.manual_seed(0)
    causal = attention(heads=3, causal=True).double()
    x = signal(2, frames).double().requires_grad_()
    mask = torch.arange(frames) < torch.tensor([[frames], [frames // 2 + 1]])
    found = []
    for fast in (True, False):
        module = causal.float() if fast else causal.double()
        assert module._all_before(module._heads(x.to(module.out.weight))[0], None) == fast
        y = module(x.to(module.out.weight), mask)
        parameters = [x, *module.parameters()]
        found.append([y, *torch.autograd.grad(y.square().sum(), parameters)])
    for fast, plain in zip(*found, strict=True):
        torch.testing.assert_close(fast.double(), plain.double(), atol=2e-5, rtol=2e-5)


def test_causal_softmax_of_no_frames():
    assert attention(heads=3, causal=True)(torch.zeros(2, 0, D)).shape == (2, 0, D)


@pytest.mark.parametrize("frames", [1, 2, 33])
@pytest.mark.parametrize("padded", [True, False])
def test_softmax_with_gradients_is_that_of_the_scores(frames, padded):
    torch.manual_seed(0)
    function = attention(heads=3).double()
    x = signal(3, frames).double().requires_grad_()
    mask = torch.arange(frames) < torch.tensor([[frames], [frames // 2 + 1], [0]])
    mask = mask if padded else torch.ones_like(mask)
    values = function.inside(x).chunk(3, 2)[2].unflatten(2, (3, -1)).transpose(1, 2)
    w, _ = function.weights(x, mask)
    plain = function.out((w @ values).transpose(1, 2).flatten(2)) * mask[..., None]
    y = function(x, mask)
    torch.testing.assert_close(y, plain)
    parameters = [x, *function.parameters()]
    found = torch.autograd.grad(y.square().sum(), parameters)
    expected = torch.autograd.grad(plain.square().sum(), parameters)
    for fast, slow in zip(found, expected, strict=True):
        torch.testing.assert_close(fast, slow)
    with torch.no_grad():  # by torch's attention
        torch.testing.assert_close(function(x, mask), plain)
