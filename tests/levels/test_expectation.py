"""Events that end where what comes next is uncertain (speechasym.levels.expectation)."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechasym.errors import ConfigError
from speechasym.levels.config import LevelConfig
from speechasym.levels.events import Steps
from speechasym.levels.expectation import Expectation, Rise, rises
from speechasym.levels.level import Level
from speechasym.ops import ref


def turns(x: list[float], scale: float) -> list[bool]:
    """Apply the definition by extremes: a rise by more than the scale from the lowest since."""
    result, up = [False], False
    # a play of half the scale that starts on x(0) lets the first move be half as large
    low, high = x[0] - scale / 2, x[0] + scale / 2
    for value in x[1:]:
        low, high = (low, max(high, value)) if up else (min(low, value), high)
        result.append(not up and value > low + scale)
        if result[-1]:
            up, high = True, value
        elif up and value < high - scale:
            up, low = False, value
    return result


@given(st.integers(0, 2**31), st.integers(1, 70), st.sampled_from([0.0, 0.5, 1.0, 3.0]))
@settings(max_examples=40, deadline=None)
def test_rises_are_those_of_the_plain_loop(seed: int, steps: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 16, (3, steps)) / 4.0  # sums are exact, with ties
    fast = rises(torch.from_numpy(x), scale)[0].numpy()
    assert np.array_equal(fast, [ref.rises(row, scale) for row in x])
    # extremes say the same from the first turn on
    for row, found in zip(x, fast, strict=True):
        if scale:
            first = int(found.argmax()) if found.any() else 0
            assert found[first:].tolist() == turns(row.tolist(), scale)[first:]
    cut = steps // 2
    play, up = rises(torch.from_numpy(x[:, :cut]), scale)[1:] if cut else (None, None)
    if cut:
        state = Rise(play[:, -1:], up[:, -1:], torch.zeros(3, 1))
        rest = rises(torch.from_numpy(x[:, cut:]), scale, state)[0]
        assert np.array_equal(rest.numpy(), fast[:, cut:])


def test_an_event_ends_where_the_next_unit_is_hardest_to_foresee() -> None:
    expectation = Expectation(2, 4)
    with torch.no_grad():
        expectation.next.weight.copy_(torch.tensor([[9.0, 0.0], [0, 0], [0, 0], [0, 0]]))
        expectation.next.bias.zero_()
    sure, unsure = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    y = torch.stack([sure, sure, unsure, sure, sure, unsure, unsure, sure])[None]
    assert expectation.entropy(y)[0, 2] == pytest.approx(1) and expectation.entropy(y)[0, 0] < 0.1
    event, after, state = expectation.events(y, 0.5)
    assert event.tolist() == [[0, 0, 0, 1, 1, 1, 2, 2]] and state.event.item() == 2
    assert after.tolist() == [[0, 0, 1, 1, 1, 2, 2, 2]]
    half = expectation.events(y[:, :3], 0.5)[2]
    assert expectation.events(y[:, 3:], 0.5, half)[0].tolist() == [[1, 1, 1, 2, 2]]


def test_it_learns_what_follows_and_leaves_units_alone() -> None:
    torch.manual_seed(0)
    level = Level(LevelConfig(width=12, units=6, events="entropy", predict=0.1), 3)
    y, mask = torch.randn(2, 9, 12, requires_grad=True), torch.ones(2, 9, dtype=torch.bool)
    mask[1, 5:] = False
    activation = torch.rand(2, 9, 6, requires_grad=True)
    loss = level.expectation.loss(y, activation, mask)
    loss.backward()
    assert activation.grad is None and (y.grad[1, :4].abs().sum(-1) > 0).all()
    assert not y.grad[1, 4:].any()  # nothing follows the last step
    output = level(Steps.of_frames(torch.randn(2, 9, 3), mask))
    assert output.losses["expect"].item() == pytest.approx(0.1 * math.log(6), rel=0.3)
    assert output.winner is None and output.events is not None


def test_what_cannot_be() -> None:
    with pytest.raises(ConfigError, match="entropy needs units"):
        LevelConfig(units=0, events="entropy")
    with pytest.raises(ConfigError, match="untrained"):
        LevelConfig(events="entropy", predict=0)
