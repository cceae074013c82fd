"""States of levels whose answer is known."""

import math

import pytest
import torch

from speechasym.errors import ConfigError
from speechasym.ranks.monitor import explained, head_states, level_state

STEPS, LENGTH, CLASSES = 2000, 50, 5
UTTERANCE = torch.arange(STEPS) // LENGTH


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator)


@pytest.fixture
def labels(draw):
    return draw(STEPS).mul(10).long().abs() % CLASSES


@pytest.fixture
def activation(draw):
    return draw(STEPS, 8).softmax(1)


def test_white_noise_leaves_nothing(draw, labels, activation):
    state = level_state(activation, draw(STEPS, 6), draw(STEPS, 6), UTTERANCE, labels)
    for structure in (state.labels, state.following):
        assert structure.error < 0.01 and structure.added < 0.01


def test_an_error_that_holds_the_label_is_structure(draw, labels, activation):
    """The label by any linear map of the error; noise of the same size halves what is explained."""
    code = torch.eye(CLASSES)[labels] @ draw(CLASSES, 12)
    exact = level_state(activation, code, draw(STEPS, 12), UTTERANCE, labels).labels
    assert exact.error > 0.999 and exact.added > 0.99
    one = labels.eq(0).float()[:, None]
    target, noise = (one - one.mean()) / one.std(), draw(STEPS, 1)
    assert explained([target + noise], one, UTTERANCE % 2 == 0) == pytest.approx(0.5, abs=0.04)


def test_what_the_units_tell_already_is_not_added(draw, labels):
    activation = torch.eye(CLASSES)[labels]
    code = activation @ draw(CLASSES, 12)
    state = level_state(activation, code, draw(STEPS, 12), UTTERANCE, labels)
    assert state.labels.error > 0.999 and state.labels.added < 1e-3


def test_the_next_input_is_within_its_utterance(draw, activation):
    """The error is the next input; across utterances it is not, and nothing counts there."""
    inputs = draw(STEPS, 4)
    error = inputs.roll(-1, 0)
    error[LENGTH - 1 :: LENGTH] = 1e3  # last steps, which have no next one
    assert level_state(activation, error, inputs, UTTERANCE).following.error > 0.999


def test_wins_selectivity_and_laws():
    """8 units of which 4 win by a geometric law, each alone."""
    counts = [800, 400, 200, 100]
    winner = torch.arange(4).repeat_interleave(torch.tensor(counts))
    activation = torch.eye(8)[winner]
    x = torch.ones(1500, 2)
    state = level_state(activation, x / 2, x, torch.zeros(1500))
    assert state.wins == pytest.approx([c / 1500 for c in counts] + [0] * 4)
    assert (state.dead, state.selectivity, state.explained) == pytest.approx((0.5, 1, 0.75))
    share = [c / 1500 for c in counts]
    assert state.entropy == pytest.approx(-sum(p * math.log(p) for p in share) / math.log(8))
    assert state.laws.best.law == "geometric"
    assert state.laws.geometric.beta == pytest.approx(1 / math.log(2), rel=1e-3)
    flat = level_state(torch.full((40, 8), 1 / 8), x[:40], x[:40], torch.zeros(40))
    assert flat.selectivity == 0 and flat.laws is None and flat.entropy == 0


def test_too_little_for_a_fit_is_left_blank(draw):
    short = level_state(draw(30, 3).softmax(1), draw(30, 2), draw(30, 2), torch.arange(30) // 15)
    assert short.labels is None and short.following is None and short.steps == 30
    one = torch.zeros(200)  # a single utterance has no other half
    assert level_state(draw(200, 3).exp(), draw(200, 2), draw(200, 2), one).following is None
    labels = torch.full((200,), -1)
    halves = torch.arange(200) // 50
    args = draw(200, 3).exp(), draw(200, 2), draw(200, 2), halves
    assert level_state(*args, labels).labels is None
    assert level_state(*args, labels + 1).labels is None  # one class


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        ({"activation": torch.ones(40, 1)}, "activation"),
        ({"activation": torch.ones(0, 4)}, "activation"),
        ({"error": torch.ones(39, 3)}, "error"),
        ({"error": torch.ones(40, 2)}, "error"),
        ({"inputs": torch.full((40, 3), math.nan)}, "inputs"),
        ({"labels": torch.ones(3)}, "labels"),
    ],
)
def test_bad_input_is_named(change, subject):
    good = {
        "activation": torch.ones(40, 4), "error": torch.ones(40, 3),
        "inputs": torch.ones(40, 3), "utterance": torch.arange(40) // 20,
    }  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        level_state(**good | change)
    assert caught.value.args[0] == subject


def test_a_head_that_looks_two_steps_away_and_one_that_looks_at_all():
    near = torch.eye(6).roll(2, 0)  # steps are 0.1 s: four look 0.2 s ahead, two 0.4 s back
    weights = torch.stack([near, torch.full((6, 6), 1 / 6)])
    short = torch.full((2, 1, 1), 1.0)
    seen = [torch.ones(1, n, n, dtype=torch.bool) for n in (6, 1)]
    times = [torch.arange(6) / 10, torch.zeros(1)]
    one, all_ = head_states([weights, short], seen, times)
    assert one.queries == all_.queries == 7
    assert one.span == pytest.approx((4 * 0.2 + 2 * 0.4) / 7)
    assert all_.span == pytest.approx(sum(abs(a - b) for a in range(6) for b in range(6)) / 60 / 7)
    assert (one.selectivity, all_.selectivity) == pytest.approx((1, 0), abs=1e-6)  # not of one
    assert (one.keys, all_.keys) == pytest.approx((1, 6 ** (6 / 7)))
    assert one.weights == pytest.approx([1, 0, 0, 0, 0, 0]) and one.laws is None
    assert all_.weights == pytest.approx([2 / 7, *[1 / 7] * 5]) and all_.laws is not None


def test_the_laws_of_weights_are_found():
    rank = torch.arange(1, 41).double()
    weights = torch.stack([(-rank / 5).softmax(0), (1 / rank) / (1 / rank).sum()])
    order = torch.stack([torch.randperm(40) for _ in range(40)])
    shuffled = weights[:, None].expand(2, 40, 40).gather(2, order.expand(2, 40, 40))
    times = torch.arange(40) / 100
    seen = torch.ones(40, 40, dtype=torch.bool)
    states = head_states([shuffled] * 50, [seen] * 50, [times] * 50)
    assert [state.laws.best.law for state in states] == ["geometric", "power"]
    assert states[0].laws.geometric.beta == pytest.approx(5, rel=0.01)
    assert states[1].laws.power.beta == pytest.approx(1, rel=0.01)
    with pytest.raises(ConfigError, match="no step"):
        head_states([], [], [])
