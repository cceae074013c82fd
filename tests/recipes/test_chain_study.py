"""The study of chains: its gradients are those of the learner; it resumes and reports."""

import pytest
import torch

from recipes.claims.block.depth import FRAMES, SYMBOLS, symbols
from recipes.claims.learning import chain_study
from speechasym.training.on_device import Batch
from speechasym.training.rules.errors import Task
from speechasym.training.rules.learner import Learner


def task(x, y):
    rows = len(y)
    batch = Batch(
        [str(row) for row in range(rows)], x, torch.full((rows,), FRAMES),
        {"phones": (torch.ones(rows, 1, dtype=torch.long), torch.ones(rows, dtype=torch.long))},
        y + 1,
    )  # fmt: skip
    return Task(batch, {"phones": rows}, 1.0, 0)


@pytest.mark.parametrize("rule", chain_study.RULES)
def test_its_gradients_are_those_of_the_learner(rule):
    config = chain_study.settings(8, "pre", rule)
    net = chain_study.Chain(config, seed=0)
    learner = Learner(net.model, config, torch.device("cpu"))
    x, y = symbols(torch.Generator().manual_seed(3))
    for true in (False, True):
        net.zero_grad(set_to_none=True)
        net(x, y, true).loss.backward()
        ours = {name: p.grad for name, p in net.model.named_parameters()}
        net.zero_grad(set_to_none=True)
        if config.learning.by_stages and true:
            learner.true_gradient(task(x, y))
        elif not true:
            learner.backward(task(x, y))
        else:
            continue
        for name, parameter in net.model.named_parameters():
            if ours[name] is None or parameter.grad is None:
                assert ours[name] is None and parameter.grad is None, name
            else:
                torch.testing.assert_close(parameter.grad, ours[name], rtol=1e-3, atol=1e-7)


def test_nets_learn_as_one_what_each_learns_alone():
    config = chain_study.settings(8, "post", "imitation")
    all_nets = chain_study.Nets(config, [1e-3, 1e-2], 2)
    x, y = all_nets.batch()
    together = all_nets.errors(x, y, False).loss
    alone = [chain_study.Chain(config, seed)(x[seed], y[seed], False).loss for seed in range(2)]
    torch.testing.assert_close(together, torch.stack(alone * 2))
    assert y.max() < SYMBOLS
    found = all_nets.measured(x, y)
    assert found["norm_rule"].shape == (4, 2)
    torch.testing.assert_close(found["cosine_rule"][:, -1], torch.ones(4).double())
