"""Feedback: passes, what is sent and where it is heard, settling, bounds."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from speechasym.errors import ConfigError
from speechasym.levels import feedback
from speechasym.levels.events import Steps
from speechasym.levels.hierarchy import build_model
from speechasym.training.config import read_config

SIZES = {"phones": 5, "letters": 7, "words": 9}
SMALL = {
    "preset": "tiny",
    "levels": [
        {"width": 16, "units": 8, "stride": 3, "events": "hysteresis"},
        {"width": 12, "units": 6, "events": "hysteresis"},
        {"width": 16, "units": 8},
    ],
}
LENGTHS = torch.tensor([60, 41, 58])


def made(passes=3, weight=1.0, **options):
    torch.manual_seed(0)
    keys = {"feedback": {"passes": passes} | options}
    model = build_model(SMALL | keys, 6, SIZES).eval()
    x = torch.randn(3, 60, 6)
    model.initialise([(x, LENGTHS)])
    for level in model.levels[:-1]:  # untrained, a level hears nothing
        torch.nn.init.normal_(level.context.weight, std=weight) if passes > 1 else None
    return model, x


def equal(a, b):
    for name in SIZES:
        assert torch.equal(a.heads[name][0], b.heads[name][0])
        assert torch.equal(a.spans[name][0], b.spans[name][0])


def test_one_pass_is_the_plain_hierarchy():
    model, x = made(1)
    torch.manual_seed(0)
    plain = build_model(SMALL, 6, SIZES)
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert model(x, LENGTHS).passes is None


def test_untrained_feedback_changes_nothing():
    model, x = made(weight=0.0)
    plain, _ = made(1)
    plain.load_state_dict(model.state_dict(), strict=False)
    output = model(x, LENGTHS)
    equal(output, plain(x, LENGTHS))
    assert output.passes.tolist() == [3, 3, 3] and output.settled is None


def test_what_is_sent():
    model, x = made()
    outputs = model._pass(model._frames(x, LENGTHS), [None] * 3, ()).levels
    heard = feedback.listen(list(model.expectations), list(model.levels), outputs)
    assert len(heard) == 2
    low, high, sent = outputs[0], outputs[1], heard[0].message
    share = low.activation / low.activation.sum(-1, keepdim=True)
    scores = model.expectations[0].predict(F.rms_norm(high.y, (12,), eps=1e-6))
    missed = torch.zeros(())
    for row in range(3):
        for event in range(int(low.events.number[row])):
            inside = low.events.of_step[row] == event
            p, n = share[row][inside].mean(0), inside.sum().log2()
            q, size = scores[row, event, :-1].softmax(-1), scores[row, event, -1]
            want = torch.cat([q, q - p, torch.stack([size.clamp(min=0), size.clamp(min=0) - n])])
            torch.testing.assert_close(sent.y[row, event], want)
            missed = missed - (p * q.log()).sum() + (size - n) ** 2
    torch.testing.assert_close(heard[0].loss, missed / low.events.number.sum())
    model.expectations[0].gain = 8.0
    louder = feedback.listen(list(model.expectations), list(model.levels), outputs)[0]
    factors = torch.tensor([8.0] * 16 + [1.0, 1.0])
    torch.testing.assert_close(louder.message.y, sent.y * factors)
    assert torch.equal(louder.loss, heard[0].loss)


def test_a_step_hears_the_event_around_it():
    mask = torch.tensor([[True, True, True], [True, False, False]])
    start, end = torch.tensor([[0, 2, 9], [0, 0, 0]]), torch.tensor([[2, 9, 12], [6, 0, 0]])
    y = torch.tensor([[[1.0], [2.0], [3.0]], [[4.0], [0.0], [0.0]]])
    message = Steps(y, mask, start, end)
    real = torch.tensor([[True] * 4, [True, True, False, False]])
    steps = Steps(torch.zeros(2, 4, 1), real, torch.tensor([[0, 3, 6, 9], [0, 3, 0, 0]]),
                  torch.tensor([[3, 6, 9, 12], [3, 6, 0, 0]]))  # fmt: skip
    assert feedback.at(message, steps)[..., 0].tolist() == [[1, 2, 2, 3], [4, 4, 0, 0]]


@pytest.mark.parametrize("settle", [0.0, 0.05])
def test_a_row_is_the_same_alone_and_in_a_batch(settle):
    model, x = made(passes=12, settle=settle, weight=0.7)
    together = model(x, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = model(x[row : row + 1, :length], LENGTHS[row : row + 1])
        assert alone.passes[0] == together.passes[row]
        for name in SIZES:
            scores, steps = alone.heads[name]
            mine = together.heads[name][0][row, : steps[0]]
            torch.testing.assert_close(mine, scores[0], atol=1e-4, rtol=1e-4)
    if settle:
        assert 2 <= together.passes.min() < 12
    else:
        assert together.passes.tolist() == [12, 12, 12]


def test_settling_stops_and_keeps_the_result():
    model, x = made(passes=30, settle=0.01, weight=0.02)
    settled = model(x, LENGTHS)
    assert 2 < settled.passes[1:].max() < 10
    assert settled.passes[0] == 30  # goes round in a circle
    assert settled.settled.tolist() == [False, True, True]
    x, lengths = x[1:], LENGTHS[1:]
    settled = model(x, lengths)
    most = int(settled.passes.max())
    model.config = replace(model.config, feedback=replace(model.config.feedback, passes=most))
    equal(model(x, lengths), settled)


def test_a_trained_model_may_take_other_numbers_of_passes():
    model, x = made(3)
    plain, _ = made(1)
    plain.load_state_dict(model.state_dict(), strict=False)
    model.config = replace(model.config, feedback=replace(model.config.feedback, passes=1))
    output = model(x, LENGTHS)
    equal(output, plain(x, LENGTHS))
    assert output.passes is None


def test_passes_vary_in_training_only():
    model, x = made(3, vary=True, dropout=0.0)
    run, taken = model._pass, []
    model._pass = lambda *given: taken.append(1) or run(*given)
    for _ in range(3):
        model(x, LENGTHS)
    assert len(taken) == 9
    model.train()
    counts = set()
    for _ in range(12):
        taken.clear()
        output = model(x, LENGTHS)
        counts.add(len(taken))
        assert ("expect" in output.losses) == (len(taken) > 1)
    assert counts == {1, 2, 3}


def test_the_loop_stays_bounded_over_a_hundred_passes():
    model, x = made(passes=100, weight=30.0)
    largest = []
    run = model._pass
    model._pass = lambda *a: (out := run(*a), largest.append(
        max(float(level.y.detach().abs().max()) for level in out.levels)))[0]  # fmt: skip
    output = model(x, LENGTHS)
    assert len(largest) == 100
    assert max(largest[50:]) < 3 * max(largest[1:50])
    assert all(bool(scores.isfinite().all()) for scores, _ in output.heads.values())


def test_gradients_flow_through_all_passes():
    model, x = made(dropout=0.5)
    model.train()
    output = model(x, LENGTHS)
    assert "expect" in output.losses
    output.heads["phones"][0].sum().backward()  # of the lowest level, in the last pass
    for name in ("levels.2.enter", "expectations.1.predict", "levels.0.context"):
        assert model.get_parameter(f"{name}.weight").grad.abs().sum() > 0, name


def test_dropout_takes_whole_channels_of_an_utterance():
    torch.manual_seed(0)
    sent = feedback.Expectation(4, 50, 0.5)
    mask = torch.ones(2, 7, dtype=torch.bool)
    above = Steps(torch.randn(2, 7, 4), mask, mask.long(), mask.long())
    message = sent(above, replace(above, y=torch.zeros(2, 7, 51))).message.y[..., :50]
    silent = message == 0
    assert torch.equal(silent, silent[:, :1].expand_as(silent))
    assert 30 < silent[:, 0].sum() < 70
    assert not torch.equal(silent[0, 0], silent[1, 0])


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        (["model.feedback.passes=0"], "feedback.passes"),
        (["model.feedback.passes=2", "model.levels.0.units=0", "model.levels.0.events=none"],
         "levels.0.units"),
        (["model.feedback.passes=2", "model.levels.0.context=4"], "levels.0.context"),
        (["model.feedback.passes=2", "learning=local"], "feedback.passes.*stages"),
        (["model.feedback.passes=2", "learning.meter=true"], "feedback.passes.*stages"),
        (["model.feedback.settle=2"], "settle"),
        (["model.feedback.gain=-1"], "gain.*must be >= 0"),
        (["model={feedback: {passes: 2}, levels: [{units: 8}]}"], "a single level"),
    ],
)  # fmt: skip
def test_impossible_feedback(keys, match):
    with pytest.raises(ConfigError, match=match):
        read_config(None, ["data.train=a", "data.dev=b", *keys])
