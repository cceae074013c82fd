"""Every function: masks hide, streams equal the whole, causal ones do not look ahead."""

import pytest
import torch

import speechasym
from speechasym.levels.attention import Attention
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
def test_other_functions_do_look_ahead(name):
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
def test_hidden_frames_in_the_middle_have_no_influence(name, causal):
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


def test_constant_ignores_its_input():
    constant = Constant(D)
    assert torch.equal(constant(signal(1, 5)), constant(signal(1, 5) * 9))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Linear(0), "width: must be an integer >= 1, got 0"),
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
