"""Blocks and stacks: what each norm does to scales and gradients; masks; streams; bad options."""

import math
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from torch import nn

import speechasym
from speechasym.levels.block import Block, Compress, Stack
from speechasym.levels.config import NORMS, BlockConfig
from speechasym.levels.functions import FUNCTIONS

D = 16


def signal(batch=2, frames=30, seed=0):
    return torch.randn(batch, frames, D, generator=torch.Generator().manual_seed(seed))


def compressed(x, log_resolution):
    return (x.clamp(min=0).log1p() - torch.relu(-x).log1p()) / log_resolution


def block(norm, **options):
    torch.manual_seed(1)
    return Block(BlockConfig(width=D, norm=norm, **options))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_in_every_block(function, norm):
    one = block(norm, function=function, causal=True)
    mask = torch.arange(30) < torch.tensor([[30], [12]])
    x = signal().masked_fill(~mask[..., None], torch.nan)
    y = one(x, mask)
    assert not y[~mask].any() and y.isfinite().all()
    y.square().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in one.parameters())
    torch.testing.assert_close(one(x[1:, :12])[0], y[1, :12], atol=1e-5, rtol=0)
    first, state = one.stream(x[1:, :5])
    second, _ = one.stream(x[1:, 5:12], state)
    torch.testing.assert_close(torch.cat([first, second], 1)[0], y[1, :12], atol=1e-5, rtol=0)


@pytest.mark.parametrize("norm", NORMS)
def test_block_is_its_equation(norm):
    torch.manual_seed(0)
    gain = None if norm in ("pre", "post", "none") else 0.7
    one = Block(BlockConfig(function="feedforward", width=D, norm=norm, gain=gain))
    function, x = one.function, signal()

    def normed(v):
        off = v - v.mean(-1, keepdim=True)
        return off / (off.square().mean(-1, keepdim=True) + 1e-5).sqrt()

    want = {
        "theory": lambda: x + 0.7 * normed(function(compressed(normed(x), math.log(2)))),
        "pre": lambda: x + function(normed(x)),
        "post": lambda: normed(x + function(x)),
        "sandwich": lambda: x + 0.7 * normed(function(normed(x))),
        "rezero": lambda: x + 0.7 * function(x),
        "layerscale": lambda: x + 0.7 * function(normed(x)),
        "none": lambda: x + function(x),
    }[norm]()
    torch.testing.assert_close(one(x), want, atol=1e-5, rtol=0)


def test_a_theory_stack_doubles_the_variance():
    for depth in (4, 64):
        torch.manual_seed(0)
        config = BlockConfig(function="feedforward", width=D, depth=depth)
        stack = Stack([Block(config) for _ in range(depth)])
        x = signal(8)
        assert (stack(x) - x).var().item() == pytest.approx(1, rel=0.5)


def test_rezero_starts_as_the_identity_and_learns():
    one = block("rezero", function="convolution")
    x = signal()
    y = one(x)
    assert torch.equal(y, x)
    (y * signal(seed=1)).sum().backward()
    assert one.gain.grad.any()


@pytest.mark.parametrize(
    ("norm", "depth", "gain"),
    [
        ("theory", 1, 1), ("theory", 16, 0.25), ("sandwich", 16, 1), ("rezero", 16, 0),
        ("layerscale", 18, 0.1), ("layerscale", 24, 1e-5), ("layerscale", 96, 1e-6),
    ],
)  # fmt: skip
def test_initial_gain(norm, depth, gain):
    one = block(norm, function="linear", depth=depth)
    weight = one.gain if one.norm_out is None else one.norm_out.weight
    torch.testing.assert_close(weight.detach(), torch.full_like(weight, gain))
    one = block(norm, function="linear", depth=depth, gain=0.3)
    weight = one.gain if one.norm_out is None else one.norm_out.weight
    torch.testing.assert_close(weight.detach(), torch.full_like(weight, 0.3))


def test_activation_belongs_to_the_theory_and_can_be_chosen():
    assert block("theory").compress is not None and block("pre").compress is None
    assert block("theory", activation="none").compress is None
    assert block("pre", activation="compress").compress is not None


def test_compress_is_the_law_of_zipf():
    compress = Compress(5.0).double()
    x = torch.linspace(-4, 4, 81, dtype=torch.float64, requires_grad=True)
    want = compressed(x, compress.resolution.log())
    torch.testing.assert_close(compress(x), want)
    assert compress.resolution.item() == pytest.approx(5)
    args = (x, compress.log_excess)
    for a, b in zip(
        torch.autograd.grad(compress(x).square().sum(), args),
        torch.autograd.grad(want.square().sum(), args),
        strict=True,
    ):
        torch.testing.assert_close(a, b)
    with torch.no_grad():
        compress.log_excess.fill_(-1e9)
    assert compress(x).isfinite().all()


def test_dropout_only_in_training():
    one = block("pre", function="linear", dropout=0.5)
    x = signal()
    assert ((one(x) == x).float().mean() - 0.5).abs() < 0.1
    one.eval()
    assert not (one(x) == x).any()


def test_stack_streams_and_masks():
    torch.manual_seed(0)
    shared = BlockConfig(width=D, causal=True, depth=4)
    names = ("convolution", "statespace", "attention", "gate")
    stack = Stack([Block(replace(shared, function=name)) for name in names])
    x = signal(1)
    whole, state, y = stack(x), None, []
    for part in x.split([1, 20, 0, 9], 1):
        out, state = stack.stream(part, state)
        y.append(out)
    torch.testing.assert_close(torch.cat(y, 1), whole, atol=1e-5, rtol=0)
    mask = torch.arange(40)[None] < 30
    padded = stack(nn.functional.pad(x, (0, 0, 0, 10), value=torch.nan), mask)
    torch.testing.assert_close(padded[:, :30], whole, atol=1e-5, rtol=0)
    assert not padded[:, 30:].any()


def test_several_stacks_run_at_once():
    """torch.func.vmap, as for ensembles: outputs and gradients are those of each alone."""
    config = BlockConfig(function="convolution", width=D, dilation=2)
    stacks = []
    for seed in range(3):
        torch.manual_seed(seed)
        stacks.append(Stack([Block(config), Block(replace(config, function="gate"))]))
    x = signal(3)
    weights, _ = torch.func.stack_module_state(stacks)
    y = torch.func.vmap(
        lambda w, x: torch.func.functional_call(stacks[0], w, (x[None],)).squeeze(0)
    )(weights, x)
    y.square().sum().backward()
    for i, stack in enumerate(stacks):
        alone = stack(x[i : i + 1])[0]
        torch.testing.assert_close(y[i], alone, atol=1e-6, rtol=0)
        alone.square().sum().backward()
        for name, parameter in stack.named_parameters():
            torch.testing.assert_close(weights[name].grad[i], parameter.grad, atol=1e-4, rtol=1e-4)


def test_a_stack_learns():
    torch.manual_seed(0)
    config = BlockConfig(function="convolution", width=D, depth=2, kernel=3)
    stack = Stack([Block(config), Block(replace(config, function="feedforward"))])
    x = signal(8)
    target = x.roll(1, 1)
    optimiser = torch.optim.Adam(stack.parameters(), 1e-2)
    losses = []
    for _ in range(80):
        loss = (stack(x)[:, 1:] - target[:, 1:]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_config_is_frozen():
    with pytest.raises(FrozenInstanceError):
        BlockConfig().width = 3
    assert math.isclose(BlockConfig(depth=4).initial_gain, 0.5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BlockConfig(function="convolutoin"), "Did you mean 'convolution'"),
        (lambda: BlockConfig(function="x"), "must be one of linear, feedforward.*'x'"),
        (lambda: BlockConfig(norm="sandwhich"), "Did you mean 'sandwich'"),
        (lambda: BlockConfig(activation="compres"), "Did you mean 'compress'"),
        (lambda: BlockConfig(function="attention", width=10), "heads: 4 does not divide"),
        (lambda: BlockConfig(function="attention", window=0), "window"),
        (lambda: BlockConfig(kernel=4), "even, so it has no centre"),
        (lambda: BlockConfig(depth=0), "depth"),
        (lambda: BlockConfig(width=-1), "width"),
        (lambda: BlockConfig(dropout=1.0), "must be >= 0 and < 1, got 1"),
        (lambda: BlockConfig(gain=math.nan), "gain: must be finite"),
        (lambda: BlockConfig(norm="pre", gain=0.5), "norm 'pre' has no gain"),
        (lambda: BlockConfig(norm="peri"), "norm: must be one of .*'peri'"),
        (lambda: Block(BlockConfig()).stream(torch.ones(1, 2, 128)), "cannot stream"),
    ],
)
def test_bad_options_are_named(make, words):
    with pytest.raises(speechasym.ConfigError, match=words):
        make()
