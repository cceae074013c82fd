"""Every function: masks hide, streams equal the whole, causal ones do not look ahead."""

import pytest
import torch

import speechasym
from speechasym.levels.config import BlockConfig
from speechasym.levels.functions import FUNCTIONS

D = 12
FRAMEWISE = {
    "linear": {},
    "feedforward": {},
    "feedforward wide": {"expansion": 3},
    "constant": {},
}
EITHER = {
    "convolution": {},
    "convolution dilated": {"kernel": 3, "dilation": 4, "expansion": 2},
    "convolution of one": {"kernel": 1},
    "statespace": {"states": 3},
    "statespace wide": {"heads": 6, "states": 3, "kernel": 3, "expansion": 2},
    "oscillator": {},
    "oscillator damped": {"damped": True, "expansion": 2},
    "attention": {"heads": 3},
    "attention local": {"heads": 3, "window": 4},
    "attention rank": {"heads": 3, "window": 6, "weights": "rank"},
    "attention pareto": {"heads": 3, "weights": "rank", "law": "pareto"},
    "attention power": {"heads": 3, "weights": "rank", "law": "power"},
    "attention scaled": {"heads": 3, "weights": "scaled"},
    "attention scaled local": {"heads": 3, "window": 4, "weights": "scaled", "law": "pareto"},
    "attention entmax": {"heads": 3, "weights": "entmax"},
    "attention scaled-entmax": {"heads": 3, "weights": "scaled-entmax"},
    "gate": {},
    "gate of one": {"kernel": 1},
}


def function_of(name, width=D, **options):
    return FUNCTIONS[name](BlockConfig(function=name, width=width, **options))


def make(name, causal):
    torch.manual_seed(len(name))
    return function_of(name.split()[0], causal=causal, **(FRAMEWISE | EITHER)[name])


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
    if "of one" not in name:
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
    constant = function_of("constant")
    assert torch.equal(constant(signal(1, 5)), constant(signal(1, 5) * 9))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: function_of("linear", 0), "width: must be an integer >= 1, got 0"),
        (lambda: function_of("feedforward", expansion=0), "expansion"),
        (lambda: function_of("convolution", kernel=4), "4 is even.*Use 5, or causal=True"),
        (lambda: function_of("convolution", kernel=3, dilation=0), "dilation"),
        (lambda: function_of("convolution", kernel=2.5), "kernel"),
        (lambda: function_of("statespace", heads=5), "5 does not divide the inner width 12. Use 4"),
        (lambda: function_of("statespace", heads=3), "half run backwards"),
        (lambda: function_of("statespace", states=0), "states"),
        (lambda: function_of("attention", heads=5), "does not divide the width 12"),
        (lambda: function_of("attention", window=0), "window: must be an integer >= 1"),
        (lambda: function_of("attention", weights="ranks"), "Did you mean 'rank'"),
        (lambda: function_of("attention", law="zipfian"), "law: must be one of .*'zipfian'"),
        (lambda: function_of("gate", kernel=2), "even"),
        (lambda: function_of("linear")(torch.ones(2, D)), r"\(batch, frames, 12\), got \(2, 12\)"),
        (lambda: function_of("linear")(torch.ones(2, 3, 5)), "must have shape"),
        (
            lambda: function_of("linear")(torch.ones(2, 3, D), torch.ones(2, 3)),
            "must be bool.*float32",
        ),
        (
            lambda: function_of("linear")(torch.ones(2, 3, D), torch.ones(2, 4).bool()),
            "True at real frames",
        ),
        (lambda: function_of("gate", causal=True).stream(torch.ones(3, D)), "must have shape"),
    ],
)
def test_bad_options_and_input_are_named(build, words):
    with pytest.raises(speechasym.ConfigError, match=words):
        build()
