"""The study of chains: its gradients are those of the learner; it resumes and reports."""

import pytest
import torch
from helpers import resumed

from recipes.claims.block.lines import read
from recipes.claims.block.task import FRAMES, SYMBOLS, symbols
from recipes.claims.learning import chain_report, chain_study
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


def test_it_resumes_and_reports(tmp_path, capsys):
    out = tmp_path / "chain.jsonl"
    options = "--depths 8 --steps 4 --seeds 2 --rates 0.01 1e9 --norms none theory"
    arguments = ["--out", str(out), *options.split(), "--rules", "backprop", "correction"]
    chain_study.main(arguments)
    assert capsys.readouterr().out.count("8 blocks, theory, ") == 2
    lines = read(out)
    assert len(lines) == 2 * 2 * 2 * 2
    assert all(len(line["before"]["norm_rule"]) == 2 for line in lines)
    text = out.with_suffix(".md").read_text()
    assert "## 8 blocks, 2 stages, 4 steps, 2 seeds" in text and "| theory | correction |" in text
    assert (tmp_path / "chain8.png").stat().st_size > 5000

    printed = resumed(capsys, chain_study.main, arguments, out)
    assert "8 blocks, theory, correction" in printed and "8 blocks, none" not in printed


def test_no_seed_chooses_its_own_rate():
    ends = {(1, 0): 0.1, (1, 1): 0.9, (1, 2): 0.9, (2, 0): 0.5, (2, 1): 0.5, (2, 2): 0.5}
    lines = [{"rate": r, "seed": s, "end": end} for (r, s), end in ends.items()]
    assert [line["rate"] for line in chain_report.chosen(lines)] == [2, 1, 1]
    lines[0]["end"] = None  # not finite
    assert [line["rate"] for line in chain_report.chosen(lines)] == [2, 2, 2]
