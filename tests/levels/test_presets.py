"""Presets: their sizes, and how a configuration overrides them."""

import pytest
import torch

from speechasym.errors import ConfigError
from speechasym.levels import presets
from speechasym.levels.hierarchy import build_model, count_parameters

SIZES = {"phones": 39, "letters": 28, "words": 98}


@pytest.mark.parametrize("name, most", [("tiny", 300_000), ("small", 1_000_000)])
def test_presets_keep_to_their_size(name, most):
    count = count_parameters(build_model({"preset": name}, 33, SIZES))
    assert most / 2 < count <= most
    # with the features' full set of tracks and stops, or mel channels, still within
    assert count_parameters(build_model({"preset": name}, 80, SIZES)) <= most


def test_base_keeps_to_its_size():
    with torch.device("meta"):
        assert 5e6 < count_parameters(build_model({"preset": "base"}, 80, SIZES)) <= 10e6


@pytest.mark.parametrize("precise", [True, False])
@pytest.mark.parametrize("name", [n for n in presets.PRESETS if n != "base"])
def test_every_preset_runs_and_learns(name, precise):
    torch.manual_seed(0)
    model = build_model({"preset": name}, 10, {"phones": 5, "letters": 4, "words": 3})
    with torch.autocast("cpu", torch.bfloat16, enabled=not precise):
        out = model(torch.randn(2, 40, 10), torch.tensor([40, 33]))
    assert all(scores.dtype == torch.float32 for scores, _ in out.heads.values())
    sum(scores.square().mean() for scores, _ in out.heads.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_plain_models_are_configurations():
    for name, own in (("transformer", "Attention"), ("state-space", "StateSpace")):
        model = build_model({"preset": name}, 10, SIZES)
        kinds = {
            type(block.function).__name__ for level in model.levels for block in level.blocks.blocks
        }
        assert kinds == {own, "FeedForward"}
        assert not any("units" in key for key in model.state_dict())


def test_keys_override_the_preset():
    full = presets.merged(
        {"preset": "tiny", "every": {"law": "power"}, "levels": {"0": {"law": "gelu", "units": 9}}}
    )
    assert [level["law"] for level in full["levels"]] == ["gelu", "power", "power"]
    assert full["levels"][0]["units"] == 9
    assert full["levels"][1] == presets.PRESETS["tiny"]["levels"][1] | {"law": "power"}
    assert "law" not in presets.PRESETS["tiny"]["levels"][0]  # the preset itself stays


@pytest.mark.parametrize(
    "mapping, message",
    [
        ({"preset": "tyni"}, "Did you mean 'tiny'"),
        ({"preset": "tiny", "every": {"unist": 4}}, "levels.0.unist.*Did you mean units"),
        ({"preset": "tiny", "levels": {"7": {"units": 4}}}, "model.levels.7: there are 3"),
        ({"preset": "tiny", "heads": {"words": {"level": 5}}}, "heads.words.level"),
        ({"preset": "tiny", "heads": {"wrods": {"level": 1}}}, "Did you mean words"),
        ({"levels": []}, "levels"),
        ({"levels": 3}, "model.levels: must be a mapping, got 3"),
        ({"every": 3}, "model.every: must be a mapping, got 3"),
        ({"levels": {0: 5}}, "model.levels.0: must be a mapping, got 5"),
        ({"preset": [1]}, "model.preset"),
        ({"kind": "transformer"}, "model.kind"),
        ({"every": {"predict": float("inf")}}, "predict"),
        ({"preset": "recurrent", "hidden": 0}, "hidden"),
        ({"preset": "recurrent", "hiden": 5}, "Did you mean hidden"),
        ({"preset": "recurrent", "every": {"law": "power"}}, "recurrent has no levels"),
        ({"preset": "tiny", "levels": {"0": {"width": "wide"}}}, "width.*must be an integer"),
    ],
)
def test_errors_name_the_key(mapping, message):
    with pytest.raises(ConfigError, match=message):
        build_model(mapping, 6, SIZES)
