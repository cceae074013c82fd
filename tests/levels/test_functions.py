"""Every function: masks hide, streams equal the whole, none looks ahead; and what each one is."""

import math

import pytest
import torch
from torch.nn import functional

import speechasym
from speechasym.levels.attention import Attention
from speechasym.levels.base import Depthwise
from speechasym.levels.functions import (
    Constant,
    Convolution,
    FeedForward,
    Gate,
    Linear,
)
from speechasym.levels.state_space import StateSpace

D = 12
FRAMEWISE = {
    "linear": lambda: Linear(D),
    "feedforward": lambda: FeedForward(D),
    "feedforward wide": lambda: FeedForward(D, 3),
    "constant": lambda: Constant(D),
}
EITHER = {
    "convolution": lambda causal: Convolution(D, 5, causal=causal),
    "convolution dilated": lambda causal: Convolution(D, 3, 4, 2, causal=causal),
    "convolution of one": lambda causal: Convolution(D, 1, causal=causal),
    "statespace": lambda causal: StateSpace(D, 4, 3, causal=causal),
    "statespace wide": lambda causal: StateSpace(D, 6, 3, 3, expansion=2, causal=causal),
    "attention": lambda causal: Attention(D, 3, causal=causal),
    "attention local": lambda causal: Attention(D, 3, 4, causal=causal),
    "rank": lambda causal: Attention(D, 3, 6, "rank", causal=causal),
    "rank pareto": lambda causal: Attention(D, 3, None, "rank", "pareto", causal=causal),
    "rank power": lambda causal: Attention(D, 3, None, "rank", "power", causal=causal),
    "gate": lambda causal: Gate(D, causal=causal),
    "gate linear": lambda causal: Gate(D, 1, "linear", causal=causal),
}


def make(name, causal):
    torch.manual_seed(len(name))
    return FRAMEWISE[name]() if name in FRAMEWISE else EITHER[name](causal)


ALL = [(name, c) for name in EITHER for c in (False, True)] + [(n, True) for n in FRAMEWISE]
STREAMING = [name for name, causal in ALL if causal]


def signal(batch, frames, width=D):
    generator = torch.Generator().manual_seed(batch + 10 * frames)
    return torch.randn(batch, frames, width, generator=generator)


@pytest.mark.parametrize("name", STREAMING)
@pytest.mark.parametrize("sizes", [[1] * 9, [8, 1], [1, 8], [4, 0, 5], [40, 23], [33, 1, 66]])
def test_any_chunking_equals_the_whole(name, sizes):
    function = make(name, True)
    x = signal(2, sum(sizes))
    state, y = None, []
    for part in x.split(sizes, 1):
        out, state = function.stream(part, state)
        y.append(out)
    torch.testing.assert_close(torch.cat(y, 1), function(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", STREAMING)
def test_causal_functions_do_not_look_ahead(name):
    function = make(name, True)
    x = signal(2, 20)
    other = x.clone()
    other[:, 13:] = 5
    assert torch.equal(function(x)[:, :13], function(other)[:, :13])


@pytest.mark.parametrize("name", EITHER)
def test_the_others_do(name):
    function = make(name, False)
    x = signal(1, 20).requires_grad_()
    seen = torch.autograd.grad(function(x)[0, 10].square().sum(), x)[0].abs().sum((0, 2)) > 0
    assert seen[10]
    if "of one" not in name and "linear" not in name:
        assert seen[:10].any() and seen[11:].any()
    with pytest.raises(speechasym.ConfigError, match=r"cannot stream.*causal=True"):
        function.stream(x)


@pytest.mark.parametrize(("name", "causal"), ALL)
def test_hidden_frames_have_no_influence_and_no_output(name, causal):
    function = make(name, causal)
    lengths = [17, 1, 40]
    mask = torch.arange(40) < torch.tensor(lengths)[:, None]
    x = signal(3, 40).masked_fill(~mask[..., None], torch.nan).requires_grad_()
    y = function(x, mask)
    weights = torch.randn_like(y)
    (y * weights).sum().backward()
    assert not y[~mask].any()
    if x.grad is not None:  # a constant does not hear x
        assert x.grad.isfinite().all() and not x.grad[~mask].any()
    assert all(p.grad is None or p.grad.isfinite().all() for p in function.parameters())
    for i, length in enumerate(lengths):  # as if the others were not there
        alone = function(x[i : i + 1, :length])
        torch.testing.assert_close(alone[0], y[i, :length], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("name", "causal"), ALL)
def test_holes_hide_what_is_in_them(name, causal):
    function = make(name, causal)
    mask = torch.ones(2, 30, dtype=torch.bool)
    mask[0, 9:12] = mask[1, :4] = False
    x, other = signal(2, 30), signal(2, 30)
    other[~mask] = 1e3
    other[mask] = x[mask]
    y = function(x, mask)
    assert torch.equal(y, function(other, mask)) and not y[~mask].any() and y.isfinite().all()


@pytest.mark.parametrize(("name", "causal"), ALL)
def test_everything_learns(name, causal):
    function = make(name, causal)
    function(signal(2, 20)).square().sum().backward()
    for key, parameter in function.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), key


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (5, 3), (9, 2)])
def test_taps_are_a_depthwise_convolution(causal, kernel, dilation):
    taps = Depthwise(4, kernel, dilation, causal).double()
    torch.nn.init.normal_(taps.bias)
    x = signal(2, 11, 4).double().requires_grad_()
    reach = (kernel - 1) * dilation
    pad = (reach, 0) if causal else (reach // 2, reach // 2)
    want = functional.conv1d(
        functional.pad(x.mT, pad), taps.weight.T[:, None], taps.bias, dilation=dilation, groups=4
    ).mT
    y, _ = taps(x)
    torch.testing.assert_close(y, want)
    args, weights = (x, taps.weight, taps.bias), torch.randn_like(want)
    for a, b in zip(
        torch.autograd.grad(y, args, weights), torch.autograd.grad(want, args, weights), strict=True
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("frames", [1, 33])
def test_taps_read_no_memory_before_it_is_written(frames, monkeypatch):
    taps = Depthwise(4, 5)
    x = signal(2, frames, 4).requires_grad_()
    args = (x, taps.weight, taps.bias)
    want = torch.autograd.grad(taps(x)[0].square().sum(), args)
    empty = torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda t: empty(t).fill_(torch.nan))
    got = torch.autograd.grad(taps(x)[0].square().sum(), args)
    assert all(map(torch.equal, got, want))


def test_rank_weights_with_beta_one_are_the_softmax():
    torch.manual_seed(0)
    plain, rank = Attention(D, 3, 5), Attention(D, 3, 5, "rank")
    rank.load_state_dict(plain.state_dict(), strict=False)
    x = signal(2, 30)
    mask = torch.arange(30) < torch.tensor([[30], [11]])
    torch.testing.assert_close(rank(x, mask), plain(x, mask), atol=1e-5, rtol=0)


def test_beta_stays_within_its_bounds():
    rank = Attention(D, 3, weights="rank").rank
    with torch.no_grad():
        rank.raw_beta[:] = torch.tensor([-1e9, 0, 1e9])
    assert rank.beta.tolist() == pytest.approx([0.01, 1, 100])


def test_attention_of_equal_frames_is_their_value():
    # whatever the weights are, they sum to 1
    attention = Attention(D, 3)
    x = signal(1, 1).expand(1, 20, D)
    y = attention(x)
    torch.testing.assert_close(y, y[:, :1].expand_as(y), atol=1e-6, rtol=0)


def test_attention_forgets_with_distance_at_its_slope():
    attention = Attention(4, 1, causal=True)
    with torch.no_grad():
        attention.inside.weight.zero_()
        attention.inside.bias.zero_()
        attention.inside.weight[8:] = torch.eye(4)
        attention.out.weight.copy_(torch.eye(4))
        attention.out.bias.zero_()
        attention.log_slope.fill_(math.log(0.5))
    x = torch.zeros(1, 6, 4)
    x[0, 2] = 1
    decay = [math.exp(-0.5 * k) for k in range(6)]
    want = [0, 0] + [decay[t - 2] / sum(decay[: t + 1]) for t in range(2, 6)]
    torch.testing.assert_close(attention(x)[0, :, 0], torch.tensor(want))


def test_time_reversed_statespace_swaps_its_heads():
    torch.manual_seed(0)
    space = StateSpace(8, 4, 3, 3)
    turned = StateSpace(8, 4, 3, 3)
    turned.load_state_dict(space.state_dict())
    swap = torch.tensor([2, 3, 0, 1])
    channels = torch.arange(8).view(4, 2)[swap].flatten()
    rows = torch.cat([channels, 8 + channels, torch.arange(16, 22), 22 + swap])
    with torch.no_grad():
        for name in ("step_bias", "log_rate", "skip"):
            getattr(turned, name).copy_(getattr(space, name)[swap])
        turned.inside.weight.copy_(space.inside.weight[rows])
        kept = torch.cat([channels, torch.arange(8, 14)])
        turned.taps.weight.copy_(space.taps.weight[:, kept].flip(0))
        turned.taps.bias.copy_(space.taps.bias[kept])
        turned.out.weight.copy_(space.out.weight[:, channels])
    x = signal(2, 20, 8)
    torch.testing.assert_close(turned(x.flip(1)).flip(1), space(x), atol=1e-6, rtol=0)
    assert not torch.allclose(space(x.flip(1)).flip(1), space(x), atol=1e-2)


def test_constant_does_not_hear_its_input():
    constant = Constant(D)
    assert torch.equal(constant(signal(1, 5)), constant(signal(1, 5) * 9))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Linear(0), "width: must be an integer >= 1, got 0"),
        (lambda: FeedForward(4, 0), "expansion"),
        (lambda: FeedForward(4, 0), "expansion"),
        (lambda: Convolution(4, 4), "4 is even.*Use 5, or causal=True"),
        (lambda: Convolution(4, 3, 0), "dilation"),
        (lambda: Convolution(4, 2.5), "kernel"),
        (lambda: StateSpace(12, 5), "heads: 5 does not divide the inner width 12. Use 4"),
        (lambda: StateSpace(12, 3), "half run backwards"),
        (lambda: StateSpace(12, states=0), "states"),
        (lambda: Attention(12, 5), "does not divide the width 12"),
        (lambda: Attention(12, window=0), "window: must be an integer >= 1"),
        (lambda: Attention(12, weights="ranks"), "Did you mean 'rank'"),
        (lambda: Attention(12, law="zipfian"), "law: must be one of .*'zipfian'"),
        (lambda: Gate(4, 2), "even"),
        (lambda: Gate(4, gate="relu"), "must be one of sigmoid, linear"),
        (lambda: Linear(4)(torch.ones(2, 4)), r"\(batch, frames, 4\), got \(2, 4\)"),
        (lambda: Linear(4)(torch.ones(2, 3, 5)), "must have shape"),
        (
            lambda: Linear(4)(torch.ones(2, 3, 4), torch.ones(2, 3)),
            "must be bool.*float32",
        ),
        (
            lambda: Linear(4)(torch.ones(2, 3, 4), torch.ones(2, 4, dtype=torch.bool)),
            "True at real frames",
        ),
        (lambda: Gate(4, causal=True).stream(torch.ones(3, 4)), "must have shape"),
    ],
)
def test_bad_options_and_input_are_named(build, words):
    with pytest.raises(speechasym.ConfigError, match=words):
        build()
