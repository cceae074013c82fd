"""The optimiser: schedule, weight decay, averaged parameters."""

import math

import pytest
from torch import nn

from speechasym.training import optimiser


def test_the_schedule():
    factor = optimiser.rate_factor
    assert [factor(s, 0.2, "cosine") for s in (0, 0.1, 0.2)] == [0, 0.5, 1]
    assert factor(0.6, 0.2, "cosine") == pytest.approx(0.5)
    assert factor(0.6, 0.2, "linear") == pytest.approx(0.5)
    assert factor(0.4, 0.2, "cosine") == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert factor(1, 0.2, "cosine") == factor(1.2, 0, "linear") == 0
    assert factor(0.9, 0.2, "constant") == 1


def test_one_axis_does_not_decay():
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    groups = optimiser.adamw(model, 0.1, 0.3).param_groups
    assert [(g["weight_decay"], len(g["params"])) for g in groups] == [(0.3, 1), (0, 3)]


def test_the_average_of_parameters():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 0.0)
    average, want = optimiser.Average(model, 0.5), 0.0
    for step in range(1, 30):
        nn.init.constant_(model.weight, float(step))
        average.update(model, step)
        decay = min(0.5, step / (step + 10))
        want = decay * want + (1 - decay) * step
    with average.applied(model):
        assert model.weight.item() == pytest.approx(want, rel=1e-6)
    assert model.weight.item() == 29
