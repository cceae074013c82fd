"""The optimiser: schedule, weight decay, averaged parameters."""

import math

import pytest
import tiny
import torch
from torch import nn

from speechasym.levels import presets
from speechasym.levels.hierarchy import build_model
from speechasym.training import optimiser

SIZES = {"phones": 5, "letters": 4, "words": 3}
RANKED = {"weights": "rank", "heads": 4, "norm": "layerscale", "activation": "compress"}
MODELS = [{"preset": name} for name in presets.PRESETS] + [
    {"every": {"functions": ["attention", "statespace", "gate", "constant"], "block": RANKED}},
    {"heads": {"phones": {"tells": True}, "letters": {"level": 1, "tells": True}}},
]


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


@pytest.mark.parametrize("mapping", MODELS, ids=str)
def test_what_does_not_decay_and_what_belongs_to_a_symbol(mapping):
    """Modules declare both; the names of the parameters tell the same."""
    with torch.device("meta"):
        model = build_model(mapping, 10, SIZES)
    parameters = dict(model.named_parameters())
    undecayed = {
        name
        for name, parameter in parameters.items()
        if parameter.ndim < 2 or "log_" in name or name.endswith("prototypes")
    }
    assert optimiser.undecayed(model) == undecayed
    groups = optimiser.adamw(model, 1e-3, 0.1).param_groups
    names = {id(parameter): name for name, parameter in parameters.items()}
    assert [{names[id(p)] for p in g["params"]} for g in groups] == [
        set(parameters) - undecayed, undecayed,
    ]  # fmt: skip
    parts = {name: name.split(".") for name in parameters}
    assert model.symbol_axes == {
        name: (head, 0 if kind == "heads" else 1)
        for name, (kind, head, *rest) in parts.items()
        if kind in ("heads", "tells") and rest
    }


def test_a_model_may_declare_nothing():
    model = tiny.Tiny(4, {"phones": 2})
    assert optimiser.undecayed(model) == {"conv.bias", "heads.phones.bias"}
