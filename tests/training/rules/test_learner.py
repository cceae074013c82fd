"""Gradients by stages: they equal backpropagation where they must, and stop where they must."""

import copy
import itertools

import pytest
import tiny
import torch
from stages import BROADCAST, CPU, learner_of, settings, task, train

from speechasym.errors import TrainingError
from speechasym.training import losses, models
from speechasym.training.config import read_config
from speechasym.training.distributed import ProcessGroup
from speechasym.training.rules import nets
from speechasym.training.rules.gradients import cosine
from speechasym.training.rules.learner import Learner

RULES = [
    ("local", "learning.local=[contrastive,predict,next]"),
    ("local", "learning.local=[framewise]", "learning.blocks=2"),
    ("local+global", "learning.blocks=1", "learning.layers=2"),
    ("local+global", *BROADCAST, "learning.staleness=2"),
    ("local+global", *BROADCAST, "learning.feedback_weights=fixed"),
    ("local+global", "learning.feedback=correction", "learning.mix=0.4"),
    ("local+global", "learning.mix=auto"),
    ("backprop+inter", "learning.inter=0.3", "learning.blocks=1"),
    ("backprop", "learning.recompute=true", "learning.blocks=2"),
    ("backprop+inter", "model.feedback.passes=2"),
]


def gradients(learner, compute, restore=True):
    """The gradients that a method adds; buffers are as before, unless asked otherwise."""
    learner.model.zero_grad(set_to_none=True)
    before = {name: buffer.clone() for name, buffer in learner.model.named_buffers()}
    compute(task())
    if restore:
        learner.model.load_state_dict(before, strict=False)
    return {n: p.grad.clone() for n, p in learner.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("blocks", ["null", "1", "2"])
def test_the_true_gradient_is_that_of_backpropagation(blocks):
    config = settings("local+global", "learning.feedback=correction", f"learning.blocks={blocks}")
    learner = learner_of(config)
    plain = copy.deepcopy(learner.model)
    found = gradients(learner, learner.true_gradient, restore=False)
    loss, *_ = losses.batch_loss(plain, task().batch, config, task().totals, 1.0, CPU)
    loss.backward()
    for name, parameter in plain.named_parameters():
        if parameter.grad is None:
            assert name not in found, name
        else:
            torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-7)
    for (name, one), two in zip(
        learner.model.named_buffers(), plain.buffers(), strict=True
    ):  # computing twice counts once
        assert torch.equal(one, two), name


@pytest.mark.parametrize("more", [
    ("backprop",), ("backprop+inter", "learning.blocks=2"),
    ("backprop+inter", "learning.inter=0.3", "learning.blocks=1"),
])  # fmt: skip
def test_recomputed_gradients_are_those_of_backpropagation(more):
    held, again = (
        learner_of(settings(*more)),
        learner_of(settings(*more, "learning.recompute=true")),
    )
    one, two = (gradients(learner, learner.backward) for learner in (held, again))
    assert one.keys() == two.keys()
    for name, gradient in one.items():
        torch.testing.assert_close(two[name], gradient, rtol=1e-4, atol=1e-7, msg=name)


@pytest.mark.parametrize("local", ["[ctc]", "[contrastive,predict,next]"])
def test_a_local_gradient_does_not_depend_on_the_stages_above(local):
    learner = learner_of(settings("local", "learning.blocks=2", f"learning.local={local}"))
    before = gradients(learner, learner.local_gradient)
    with torch.no_grad():
        for parameter in learner.own[-1].values():
            parameter.mul_(1.5)
    after = gradients(learner, learner.local_gradient)
    top = set(learner.own[-1])
    assert any(not torch.equal(before[name], after[name]) for name in top & set(before))
    assert set(before) - top
    assert all(torch.equal(before[name], after[name]) for name in set(before) - top)


@pytest.mark.parametrize("rule", [*RULES, ("local+global", *BROADCAST)])
def test_stages_learn_in_bfloat16(rule):
    plain = "model.every={width: 8, units: 6, block: {heads: 2, norm: pre}}"
    found = []
    for precision in ("float32", "bfloat16"):
        learner = learner_of(settings(*rule, plain, f"precision={precision}"))
        found.append([float(learner.backward(task(number))[0]) for number in range(3)])
    assert found[1] == pytest.approx(found[0], rel=0.05)


def test_a_batch_without_cuts_is_named():
    learner = learner_of(settings("local"))
    learner.backward(task()._replace(batch=None))
    with pytest.raises(TrainingError, match="no parameter has a gradient"):
        learner.clip(5)


def test_unsupervised_stages_learn_nothing_from_labels():
    learner = learner_of(settings("local", "learning.local=[contrastive]"))
    one = gradients(learner, learner.local_gradient)
    other = task()
    other.batch.targets["phones"][0].fill_(1)
    two = gradients(learner, lambda _: learner.local_gradient(other))
    for name, gradient in one.items():
        if name.startswith("levels.0"):
            assert torch.equal(gradient, two[name]), name
    assert not torch.equal(one["heads.phones.bias"], two["heads.phones.bias"])


def test_the_broadcast_error_is_the_last_ones_when_it_is_late():
    late = learner_of(settings("local+global", *BROADCAST, "learning.staleness=1"))
    local = learner_of(settings("local", "learning.blocks=2"))
    local.model.load_state_dict(late.model.state_dict(), strict=False)
    first = gradients(late, late.local_gradient)
    alone = gradients(local, local.local_gradient)
    assert all(torch.equal(first[n], g) for n, g in alone.items() if not n.startswith("learning"))
    second = gradients(late, late.local_gradient)
    assert not torch.equal(first["levels.0.enter.weight"], second["levels.0.enter.weight"])
    assert len(late.late) == 1


def test_measuring_leaves_late_errors_alone():
    learner = learner_of(settings("local+global", *BROADCAST, "learning.staleness=1"))
    learner.local_gradient(task(0))
    learner.stage_gradients(lambda: learner.local_gradient(task(1)))
    assert [kept.number for kept in learner.late] == [0]


def test_replicas_share_what_feedback_learns_from():
    config = settings("local+global", *BROADCAST)
    found = []
    for size in (1, 2):
        learner = learner_of(config)
        learner.group = ProcessGroup(0, size)
        found.append(gradients(learner, learner.local_gradient))
    name = "learning.0.feedback.words.weight"
    torch.testing.assert_close(found[1][name], found[0][name] / 2)


def test_feedback_through_the_true_readout_is_the_true_gradient():
    """Where the top adds nothing, feedback weights that equal its head give its gradient."""
    config = settings(
        "local+global", *BROADCAST, "learning.feedback_weights=fixed", "heads={phones: 1}",
        "model.levels=[{units: 0, events: none, repeat: 1, width: 8, "
        "functions: [linear, linear]}]", "model.heads={phones: {level: 0}}", "model.every={}",
        "learning.blocks=1", "learning.weight=1",
    )  # fmt: skip
    learner = learner_of(config)
    model = learner.model
    with torch.no_grad():  # the top block adds nothing
        model.levels[0].blocks.blocks[1].norm_out.weight.zero_()
        model.learning[0].feedback["phones"].weight.copy_(model.heads["phones"].weight)
    given = gradients(learner, learner.local_gradient)
    model.zero_grad(set_to_none=True)
    model.learning[0].feedback["phones"].weight.zero_()
    without = gradients(learner, learner.local_gradient)
    true = gradients(learner, learner.true_gradient)
    for name in ("levels.0.blocks.blocks.0.norm_out.weight", "levels.0.enter.weight"):
        torch.testing.assert_close(given[name] - without[name], true[name], rtol=1e-3, atol=1e-6)


def test_intermediate_errors_reach_the_stages_below():
    more = ("learning.blocks=2", "heads={phones: 1}", "model.heads={phones: {level: 2}}")
    with_errors = learner_of(settings("backprop+inter", "learning.inter=0.3", *more))
    plain = learner_of(settings("backprop+inter", *more))
    plain.model.load_state_dict(with_errors.model.state_dict(), strict=False)
    one, two = (gradients(learner, learner.backward) for learner in (with_errors, plain))
    assert any(name.startswith("learning.0.heads") for name in one)
    for name in ("levels.0.enter.weight", "levels.1.blocks.blocks.3.norm_in.weight"):
        assert not torch.equal(one[name], two[name])
    # the stage above the last net has the gradient of the head alone
    top = "levels.2.blocks.blocks.1.norm_in.weight"
    torch.testing.assert_close(one[top], two[top], rtol=1e-4, atol=1e-8)


def test_cosine():
    a = {"x": torch.tensor([1.0, 0.0]), "y": torch.tensor([1.0])}
    assert cosine(a, a) == pytest.approx(1)
    assert cosine(a, {"x": torch.tensor([0.0, 3.0])}) == 0
    assert cosine(a, {"x": torch.tensor([2.0, 0.0])}) == pytest.approx(0.5**0.5)
    assert cosine(a, {}) == 0


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return tiny.corpus(tmp_path_factory.mktemp("corpus"), 12)


def test_mix_of_1_is_backpropagation_to_the_bit(words, tmp_path):
    train(words, tmp_path / "a", "backprop+inter")
    train(words, tmp_path / "b", "local+global", "learning.mix=1")
    assert tiny.same_results(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: " ".join(rule))
def test_an_interrupted_run_resumes_exactly(words, tmp_path, rule, monkeypatch):
    train(words, tmp_path / "whole", *rule)
    calls, backward = itertools.count(1), Learner.backward

    def stopped(self, task):
        if next(calls) == 3:
            tiny.interrupt()
        return backward(self, task)

    monkeypatch.setattr(Learner, "backward", stopped)
    assert not train(words, tmp_path / "parts", *rule, resume=True)["finished"]
    assert train(words, tmp_path / "parts", *rule, resume=True)["finished"]
    tiny.same(tmp_path / "whole", tmp_path / "parts")


def test_a_model_is_exported_without_the_nets(words, tmp_path):
    found = train(words, tmp_path / "run", "local+global", "epochs=1")
    model, *_ = models.open_model(tmp_path / "run")
    assert found["parameters"] == sum(p.numel() for p in model.parameters())
    assert not hasattr(model, nets.NAME)


@pytest.mark.parametrize("function", ["linear", "statespace", "attention", "gate", "constant"])
def test_each_function_learns_by_stages(function):
    config = settings("local+global", f"model.every.functions=[{function},feedforward]",
                      "learning.blocks=1")  # fmt: skip
    learner = learner_of(config)
    optimiser = torch.optim.Adam(learner.model.parameters(), 1e-2)
    found = []
    for number in range(10):
        optimiser.zero_grad()
        found.append(float(learner.backward(task(number))[0]))
        optimiser.step()
    assert found[-1] < 0.8 * found[0]


@pytest.mark.parametrize(("word", "message"), [
    ("learning.rule=global", r"learning\.rule.*unknown value 'global'.*backprop\+inter"),
    ("learning.local=[ctc, hebb]", r"learning\.local.*must be one of ctc.*got 'hebb'"),
    ("learning.mix=0.5", r"learning\.mix.*has no effect with local"),
    ("learning.blocks=0", r"learning\.blocks.*must be >= 1, got 0"),
    ("model={preset: recurrent}", r"learning\.rule.*recurrent cannot be divided"),
    ("learning.recompute=true", r"learning\.recompute.*local holds one stage at a time"),
    ("learning.inter=1", r"learning\.inter.*has no effect with local"),
    ("learning.staleness=1", r"learning\.staleness.*only the broadcast error can be late"),
])  # fmt: skip
def test_what_a_rule_cannot_do_is_refused(word, message):
    with pytest.raises(Exception, match=message):
        read_config(None, ["data.train=a", "data.dev=b", "learning.rule=local", word])


def test_a_rule_alone_is_short_for_the_mapping():
    assert read_config(None, ["data.train=a", "data.dev=b", "learning=local"]) == read_config(
        None, ["data.train=a", "data.dev=b", "learning.rule=local"]
    )
