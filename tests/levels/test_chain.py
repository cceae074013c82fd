"""A chain of stages computes what the hierarchy computes, however it is divided."""

import copy

import pytest
import torch

from speechasym.errors import ConfigError
from speechasym.levels import chain
from speechasym.levels.hierarchy import build_model

SIZES = {"phones": 5, "letters": 4, "words": 3}
SMALL = {"width": 8, "units": 6, "block": {"dropout": 0.1, "heads": 2}}


def batch():
    return torch.randn(3, 40, 7), torch.tensor([40, 31, 7])


@pytest.mark.parametrize("blocks", [None, 1, 2, 3])
@pytest.mark.parametrize("keys", [
    {"preset": "tiny", "every": SMALL},
    {"preset": "tiny", "every": SMALL, "heads": {"phones": {"tells": True}}},
    {"preset": "transformer", "every": SMALL | {"units": 0}},
])  # fmt: skip
def test_stages_in_a_row_are_the_hierarchy(keys, blocks):
    model = build_model(keys, 7, SIZES)
    twin, (features, lengths) = copy.deepcopy(model), batch()
    torch.manual_seed(1)
    whole = model(features, lengths)
    torch.manual_seed(1)
    carry, heads, losses = chain.first_carry(twin, features, lengths), {}, {}
    for stage in chain.stages(twin.config, blocks):
        output = chain.run(twin, stage, carry)
        carry, heads, losses = output.carry, heads | output.heads, losses | output.losses
    assert heads.keys() == whole.heads.keys() and losses.keys() == whole.losses.keys()
    for name, (log_probs, steps) in whole.heads.items():
        assert torch.equal(heads[name][0], log_probs) and torch.equal(heads[name][1], steps)
    assert all(torch.equal(losses[name], loss) for name, loss in whole.losses.items())
    for (name, value), other in zip(
        model.named_buffers(), dict(twin.named_buffers()).values(), strict=True
    ):
        assert torch.equal(value, other), name


def test_each_parameter_belongs_to_the_stage_that_uses_it():
    model = build_model({"preset": "tiny", "every": SMALL}, 7, SIZES)
    stages = chain.stages(model.config, 2)
    assert [(s.level, s.first, s.last) for s in stages] == [
        (0, 0, 2), (0, 2, 4), (1, 0, 2), (1, 2, 4), (2, 0, 2),
    ]  # fmt: skip
    for stage in stages:  # exactly its own parameters have gradients
        carry = chain.first_carry(model, *batch())
        for lower in stages[: stage.number + 1]:
            output = chain.run(model, lower, carry)
            carry = output.carry.detached()
        model.zero_grad()
        values = [*output.carry.tensors(), *output.losses.values()]
        values += [log_probs for log_probs, _ in output.heads.values()]
        sum(value.square().sum() for value in values).backward()
        for name, parameter in model.named_parameters():
            own = chain.stage_of(name, stages, model.config) == stage.number
            assert (parameter.grad is not None) == own, name


def test_a_name_of_no_stage_is_refused():
    model = build_model({"preset": "tiny", "every": SMALL}, 7, SIZES)
    with pytest.raises(ConfigError, match=r"other\.weight: belongs to no level"):
        chain.stage_of("other.weight", chain.stages(model.config), model.config)
