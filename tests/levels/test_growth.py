"""Growth does not change what a model computes, and carries the optimiser's state over."""

from dataclasses import replace

import pytest
import torch

from speechasym.errors import ConfigError
from speechasym.levels import growth
from speechasym.levels.config import NORMS
from speechasym.levels.functions import FUNCTIONS
from speechasym.levels.hierarchy import build_model
from speechasym.training.optimiser import adamw, moments, set_moments

SIZES = {"phones": 5, "letters": 6, "words": 7}
X, LENGTHS = torch.randn(3, 40, 9, generator=torch.Generator().manual_seed(0)), [40, 31, 7]


def model_of(**every):
    """A small model whose parameters are not the initial ones."""
    torch.manual_seed(0)
    model = build_model({"preset": "tiny", "every": {"width": 16, "units": 8, **every}}, 9, SIZES)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


@torch.no_grad()
def apart(one, two):
    """The greatest difference of what two models read."""
    a, b = (model(X, torch.tensor(LENGTHS)).heads for model in (one, two))
    assert {name: steps.tolist() for name, (_, steps) in a.items()} == {
        name: steps.tolist() for name, (_, steps) in b.items()
    }
    return max(float((a[name][0] - b[name][0]).abs().max()) for name in a)


@pytest.mark.parametrize(
    ("norm", "function"),
    [
        *((norm, "convolution") for norm in NORMS if norm != "post"),
        *(("pre", function) for function in FUNCTIONS if function != "convolution"),
    ],
)
def test_new_blocks_add_nothing_but_learn(norm, function):
    model = model_of(functions=[function, "feedforward"], block={"norm": norm})
    for level, at in ((0, None), (1, 0), (2, 1)):
        grown = growth.add_blocks(model, level, at).model
        assert apart(model, grown) < 1e-6
        assert grown.config.levels[level].repeat == model.config.levels[level].repeat + 1
    names = {f"levels.2.blocks.blocks.{n}" for n in (2, 3)}
    heads = grown.train()(X, torch.tensor(LENGTHS)).heads
    sum(log_probs.square().sum() for log_probs, _ in heads.values()).backward()
    learn = {
        name.rsplit(".", name.count(".") - 4)[0]
        for name, p in grown.named_parameters()
        if p.grad is not None and bool(p.grad.any())
    }
    assert names <= learn


def test_a_model_with_feedback_grows_by_blocks_only():
    torch.manual_seed(0)
    keys = {"preset": "tiny", "every": {"width": 16, "units": 8}, "feedback": {"passes": 2}}
    model = build_model(keys, 9, SIZES).eval()
    assert apart(model, growth.add_blocks(model, 1).model) < 1e-6
    with pytest.raises(ConfigError, match=r"feedback.passes: a level on top would correct"):
        growth.add_level(model, model.config.levels[2], {})
    with pytest.raises(ConfigError, match=r"feedback.passes: the level above expects"):
        growth.split_units(model, 2, 2)


def test_old_blocks_keep_their_dilations():
    model = model_of(repeat=2, dilations=[1, 2])
    assert growth.add_blocks(model, 0, 1).model.config.levels[0].dilations == (1, 1, 2)
    top = growth.add_blocks(model, 0).model.config.levels[0]
    assert top.dilations == (1, 2) and top.repeat == 3


def test_a_norm_of_the_sum_is_refused():
    with pytest.raises(ConfigError, match="post normalises the sum"):
        growth.add_blocks(model_of(block={"norm": "post"}), 0)


def test_a_new_level_is_the_identity():
    model = model_of(events="none", stride=1)
    whole = model.config
    heads = replace(whole.heads, words=replace(whole.heads.words, level=1), phones=replace(
        whole.heads.phones, tells=True, level=1))  # fmt: skip
    small = build_model(replace(whole, levels=whole.levels[:2], heads=heads), 9, SIZES).eval()
    grown = growth.add_level(small, whole.levels[2], {"words": 2}).model
    assert apart(small, grown) < 1e-6
    assert grown.config.heads.words.level == 2 and len(grown.levels) == 3
    for name, tensor in small.state_dict().items():
        if name != "tells.phones.weight":  # nobody has listened to it so far
            assert torch.equal(grown.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    ("every", "level", "heads", "message"),
    [
        ({}, {"width": 24}, {}, r"levels.3: cannot begin as the identity with width 24"),
        ({}, {"stride": 2}, {}, r"levels.3: cannot begin as the identity .* stride 2"),
        ({"events": "stride"}, {}, {}, r"levels.2.events: stride shortens"),
        ({}, {}, {"phones": 3}, r"heads.phones.level: cannot move from level 0 to 3"),
    ],
)
def test_a_level_that_would_change_the_output_is_refused(every, level, heads, message):
    model = model_of(**every)
    new = replace(model.config.levels[2], events="none", **level)
    with pytest.raises(ConfigError, match=message):
        growth.add_level(model, new, heads)


@pytest.mark.parametrize("weights", ["softmax", "scaled"])
def test_a_split_head_sums_to_the_same(weights):
    model = model_of(functions=["attention"], block={"heads": 2, "weights": weights})
    grown = growth.split_heads(growth.split_heads(model, 1).model, 1).model
    assert apart(model, grown) < 1e-6
    block = grown.config.levels[1].block
    assert (block.heads, block.head_width) == (4, 8)
    pair = grown.levels[1].blocks.blocks[0].function.out.weight.detach().unflatten(1, (4, 8))
    assert not torch.equal(pair[:, 2], pair[:, 0]) and not torch.equal(pair[:, 2], pair[:, 1])


@pytest.mark.parametrize("law", ["geometric", "softmax", "relu", "gelu"])
def test_a_split_unit_sums_to_the_same(law):
    model = model_of(law=law, events="none", conscience=0.1)
    grown = growth.split_units(model, 0, 5).model
    grown = growth.split_units(grown, 0, 13).model
    assert apart(model, grown) < 1e-6 and grown.config.levels[0].units == 26
    assert grown.config.levels[0].handicaps == (law in growth.SHARED)


@pytest.mark.parametrize(
    ("every", "split", "message"),
    [
        ({}, lambda m: growth.split_units(m, 0, 2), r"levels.0.events: depend on which unit"),
        ({"law": "power"}, lambda m: growth.split_units(m, 2, 2), r"levels.2.law: halves of"),
        ({}, lambda m: growth.split_units(m, 2, 9), r"levels.2.units: 9 of 8 units cannot split"),
        ({}, lambda m: growth.split_heads(m, 0), r"levels.0.functions: has no attention"),
    ],
)  # fmt: skip
def test_a_split_that_would_change_the_output_is_refused(every, split, message):
    with pytest.raises(ConfigError, match=message):
        split(model_of(**every))


@pytest.mark.parametrize("what", ["heads", "units"])
def test_moments_of_a_split_are_those_of_its_gradients(what):
    model = model_of(functions=["attention"], events="none", block={"heads": 2})
    split = growth.split_heads if what == "heads" else lambda m, n: growth.split_units(m, n, 3)
    grown, gradients = split(model, 0), []
    for each in (model, grown.model):
        heads = each(X, torch.tensor(LENGTHS)).heads
        sum(log_probs.square().sum() for log_probs, _ in heads.values()).backward()
        gradients.append({n: p.grad for n, p in each.named_parameters() if p.grad is not None})
    before = {f"{name}.exp_avg": value for name, value in gradients[0].items()}
    for name, value in grown.moments(before).items():
        name = name.removesuffix(".exp_avg")
        scale = float(value.abs().max())
        far = float((value - gradients[1][name]).abs().max())
        assert far < (0.5 if name in grown.splits else 1e-3) * scale + 1e-6, name


def test_moments_of_old_parameters_are_kept():
    model = model_of().train()
    adam = adamw(model, 1e-3, 0.01)
    heads = model(X, torch.tensor(LENGTHS)).heads
    sum(log_probs.square().sum() for log_probs, _ in heads.values()).backward()
    adam.step()
    grown = growth.add_blocks(model, 1, 0)
    before, after = moments(model, adam), grown.moments(moments(model, adam))
    assert len(after) == len(before)
    other = adamw(grown.model, 1e-3, 0.01)
    set_moments(grown.model, other, after)
    for name, tensor in moments(grown.model, other).items():
        path, _, key = name.rpartition(".")
        assert torch.equal(tensor, before[f"{grown.sources[path]}.{key}"])
    new = dict(grown.model.named_parameters())["levels.1.blocks.blocks.0.norm_out.weight"]
    assert new not in other.state
