"""The meter: what it counts, to the byte where that is known, and that it changes nothing."""

import json

import pytest
import tiny
import torch
from stages import BROADCAST, learner_of, settings, task, train

from speechasym.training import checkpoints
from speechasym.training.config import read_config
from speechasym.training.rules import meter
from speechasym.training.rules.learner import Learner

RULES = [
    ("backprop", "learning.blocks=2"),
    ("backprop+inter", "learning.inter=0.3", "learning.recompute=true"),
    ("local", "learning.local=[contrastive]"),
    ("local+global", "learning.blocks=1", "learning.mix=auto"),
    ("local+global", *BROADCAST, "learning.staleness=1"),
]


def measured(out):
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "stages" in row]


def test_saved_tensors_are_counted_to_the_byte():
    weight = torch.randn(3, 4, requires_grad=True)
    x = torch.randn(5, 3)
    held = meter.Held([weight])
    with held.saving():
        y = x @ weight  # saves x: 60 bytes; the weight does not count
        assert held.now == 60
        z = y.exp()  # saves z: 80 bytes
        held.stage = 1
        loss = (z * z).sum() + (x[:2] @ weight).sum()  # z, and a part of x: nothing new
        assert (held.now, dict(held.most_of)) == (140, {0: 140})
        (x.double().square() @ weight.double()).sum().backward()  # the square: 120 bytes
        loss.backward()
    assert held.now == 0 and held.most_of[0] == 140 and held.most_of[1] == 120
    assert held.most == held.most_of[0] + held.most_of[1]


def test_what_is_kept_counts_until_it_is_gone():
    held, kept = meter.Held(), [torch.zeros(10), torch.zeros(0)]
    for tensor in [*kept, kept[0][2:]]:
        held.hold(tensor, tensor)
    assert held.now == 40
    kept.clear()
    del tensor
    assert (held.now, held.most) == (0, 40)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: " ".join(rule))
def test_measuring_changes_nothing(rule):
    learner = learner_of(settings(*rule, "learning.meter=true"))
    learner.backward(task())  # an error may be late
    before = {n: p.grad.clone() for n, p in learner.model.named_parameters() if p.grad is not None}
    buffers = {n: b.clone() for n, b in learner.model.named_buffers()}
    state = {n: t.clone() for n, t in learner.state().items()}
    line = meter.measure(learner, task(1))
    after = {n: p.grad for n, p in learner.model.named_parameters() if p.grad is not None}
    for one, two in (
        (before, after), (buffers, dict(learner.model.named_buffers())), (state, learner.state()),
    ):  # fmt: skip
        assert one.keys() == two.keys() and all(torch.equal(one[n], two[n]) for n in one)
    assert learner.observer is None
    assert len(line["stages"]) == len(learner.stages)
    assert line["stages"][-1]["cosine"] == pytest.approx(1, abs=1e-4)
    assert all(row["flops"] > 0 and row["memory"] > 0 for row in line["stages"])
    errors = [row["sent_error"] for row in line["stages"]]
    assert all(errors[:-1]) == (BROADCAST[0] in rule) and errors[-1] == 0


def test_backpropagation_by_stages_is_backpropagation():
    """Its gradients and its memory, and the same if stages are blocks or levels."""
    seen = []
    for blocks in ("null", "1"):
        learner = learner_of(settings("backprop+inter", "learning.meter=true",
                                      f"learning.blocks={blocks}"))  # fmt: skip
        line = meter.measure(learner, task())
        # stage by stage, the few lengths that CTC keeps are in storages of their own
        assert line["memory"] == pytest.approx(line["memory_backprop"], rel=1e-3)
        assert all(row["cosine"] == pytest.approx(1, abs=1e-5) for row in line["stages"])
        seen.append((line["memory_backprop"], sum(row["flops"] for row in line["stages"])))
    assert seen[0] == seen[1]


def test_the_cosine_of_a_known_case():
    """A stage that another error pulls the other way: the cosine is -1, the norm that of half."""
    learner = learner_of(settings("local", "learning.meter=true"))
    true = learner.true_gradient

    def opposed(task):
        found = true(task)
        for parameter in learner.model.parameters():
            if parameter.grad is not None:
                parameter.grad *= -0.5
        return found

    learner.local_gradient = opposed
    for row in meter.measure(learner, task())["stages"]:
        assert row["cosine"] == pytest.approx(-1, abs=1e-4)
        assert row["gradient"] == pytest.approx(row["gradient_true"] / 2, rel=1e-4)


def test_a_stage_at_a_time_needs_less_memory_and_sends_no_gradients():
    levels = "model.levels=[{units: 0, events: none, repeat: 4, width: 8, functions: [linear]}]"
    config = settings("local", "learning.meter=true", "learning.blocks=1", levels,
                      "model.every={}", "model.heads={phones: {level: 0}}",
                      "heads={phones: 1}", "learning.local=[predict]")  # fmt: skip
    learner = learner_of(config)
    line = meter.measure(learner, task())
    rows = line["stages"]
    assert line["memory"] < 0.6 * line["memory_backprop"]
    assert line["memory_backprop"] <= sum(row["memory_backprop"] for row in rows)
    frames, width, columns = 3 * 40, 8, 7
    steps = frames * (1 + 8 + 8)  # mask, and first and last frame
    assert [row["sent"] for row in rows[:-1]] == [steps + 4 * frames * (columns + width)] * 3
    assert [row["sent_back"] for row in rows[:-1]] == [4 * frames * width] * 3
    assert rows[-1]["sent"] is None


def test_flops_of_a_matrix_product():
    held = meter.Held()
    a, b = torch.randn(5, 3), torch.randn(3, 4, requires_grad=True)
    with (flops := meter.Flops(held)):
        y = a @ b
        held.stage = 2
        y.sum().backward()
    assert dict(flops.of) == {0: 2 * 60, 2: 2 * 60}
    q = torch.randn(1, 2, 6, 4)
    with (flops := meter.Flops(held)):
        torch.nn.functional.scaled_dot_product_attention(q, q, q)
    assert flops.of[2] == 2 * 2 * 2 * 6 * 6 * 4


def test_without_memory_for_backpropagation_the_rule_is_still_measured(monkeypatch):
    def short(*_):
        raise torch.OutOfMemoryError("no more")

    learner = learner_of(settings("local", "learning.meter=true"))
    whole = meter.measure(learner, task())
    monkeypatch.setattr(meter, "backpropagate", short)
    line = meter.measure(learner, task())
    assert line["memory"] == whole["memory"] and line["memory_backprop"] is None
    for one, two in zip(line["stages"], whole["stages"], strict=True):
        assert one["cosine"] == pytest.approx(two["cosine"], abs=1e-4) and one["sent"] is None


@pytest.mark.parametrize("rule", [RULES[0], *RULES[3:]], ids=lambda rule: " ".join(rule))
def test_a_measured_run_is_the_same_and_resumes_exactly(few_words, tmp_path, rule, monkeypatch):
    train(few_words, tmp_path / "plain", *rule)
    train(few_words, tmp_path / "whole", *rule, "learning.meter=true")
    one, two = (checkpoints.load(tmp_path / run)[0] for run in ("plain", "whole"))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    plain = [row for row in tiny.lines(tmp_path / "whole") if "stages" not in row]
    assert plain == tiny.lines(tmp_path / "plain")
    lines = measured(tmp_path / "whole")
    assert [line["epoch"] for line in lines] == [0, 1]
    assert all(row["update"] > 0 for row in lines[1]["stages"])
    backward = Learner.backward

    def stopped(self, task):
        tiny.interrupt()
        return backward(self, task)

    with monkeypatch.context() as patch:  # in the step that is measured
        patch.setattr(Learner, "backward", stopped)
        options = [*rule, "learning.meter=true"]
        assert not train(few_words, tmp_path / "parts", *options, resume=True)["finished"]
    assert train(few_words, tmp_path / "parts", *options, resume=True)["finished"]
    tiny.same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize(("words", "message"), [
    (["model={preset: recurrent}"], r"learning\.meter.*recurrent has no stages to measure"),
    (["learning={rule: local, parts: 2}"], r"learning\.meter.*no process has the whole model"),
])  # fmt: skip
def test_what_cannot_be_measured_is_refused(words, message):
    with pytest.raises(Exception, match=message):
        read_config(None, ["data.train=a", "data.dev=b", *words, "learning.meter=true"])


@pytest.mark.gpu
def test_memory_on_a_device():
    config = settings("local", "learning.meter=true", "learning.blocks=1")
    learner = learner_of(config)
    device = torch.device("cuda")
    learner = Learner(learner.model.to(device), config, device)
    batch = task().batch
    moved = batch._replace(features=batch.features.to(device), lengths=batch.lengths.to(device),
                           frame_labels=batch.frame_labels.to(device))  # fmt: skip
    line = meter.measure(learner, task()._replace(batch=moved))
    assert 0 < line["memory"] < line["allocated"]
    assert 0 < line["memory_backprop"] < line["allocated_backprop"]
