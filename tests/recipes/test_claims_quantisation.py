"""`recipes/claims/quantisation`: rounding is exact, and correlations are what they say."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from recipes.claims.quantisation import measure, report, rounding, speed
from speechasym.errors import ConfigError


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_weights_are_rounded_to_the_nearest_level_of_their_group(bits, axis):
    torch.manual_seed(0)
    weight = torch.randn(6, 5)
    found, levels = rounding.rounded(weight, bits, axis), 2 ** (bits - 1) - 1
    for before, after in zip(*(rounding.groups(w, axis) for w in (weight, found)), strict=True):
        scale = before.abs().max() / levels
        steps = after / scale
        torch.testing.assert_close(steps, steps.round(), atol=1e-4, rtol=0)
        assert steps.abs().max() <= levels + 1e-4
        assert (before - after).abs().max() <= scale / 2 + 1e-6
    torch.testing.assert_close(rounding.rounded(found, bits, axis), found)
    assert not rounding.rounded(torch.zeros(3, 2), bits, axis).any()


def test_what_cannot_be_rounded(tmp_path, capsys):
    for bits in (1, 9):
        with pytest.raises(ConfigError, match=f"bits: must be 2 to 8, got {bits}"):
            rounding.rounded(torch.ones(2, 2), bits)
    with pytest.raises(ConfigError, match="model: has no matrices to quantise"):
        rounding.matrices(nn.LayerNorm(3))
    broken = nn.Linear(2, 2)
    with torch.no_grad():
        broken.weight[0, 0] = torch.nan
    with pytest.raises(ConfigError, match="weight: is not finite, so it has no scale"):
        rounding.quantised(broken, 4, "tensor")
    with pytest.raises(ConfigError, match="bias: is not a matrix of the model"):
        rounding.quantised(nn.Linear(2, 2), 4, "tensor", ["bias"])
    with pytest.raises(ConfigError, match="scheme"):
        rounding.quantised(nn.Linear(2, 2), 4, "row")
    assert report.main([str(tmp_path), "a"]) == 2
    assert "a: is not NAME=LINES with lines" in capsys.readouterr().err


@pytest.mark.parametrize("scheme", rounding.SCHEMES)
def test_inputs_are_rounded_by_call_or_by_step(scheme):
    torch.manual_seed(0)
    x, linear, convolution = torch.randn(2, 7, 4), nn.Linear(4, 3), nn.Conv1d(4, 3, 1)
    axis = None if scheme == "tensor" else 0
    expected = rounding.rounded(x.flatten(0, 1), 4, axis).view_as(x)
    with torch.no_grad(), rounding.rounded_inputs(nn.ModuleList([linear, convolution]), 4, scheme):
        torch.testing.assert_close(linear(x), linear.forward(expected))
        torch.testing.assert_close(convolution(x.mT), convolution.forward(expected.mT))
    torch.testing.assert_close(linear(x), linear.forward(x))


def test_outliers_of_known_weights():
    weight = torch.tensor([[1.0, -1.0], [3.0, 4.0]])
    found = rounding.outliers(weight, 2, 0)
    assert found["ratio"] == pytest.approx((1 + 4 / np.sqrt(12.5)) / 2)
    assert found["step"] == pytest.approx(found["ratio"])  # one level beside 0
    assert found["noise"] == pytest.approx(np.sqrt(1 / 27))  # 3 becomes 4
    assert found["kurtosis"] == pytest.approx(1)


def synthetic(rng, layers=12):
    """Lines in which the loss rises with the loss of selectivity, whatever the outliers are."""
    whole = {
        "layer": "", "bits": 32, "scheme": "tensor", "inputs": 0, "level": 0,
        "loss": {"phones": 1.0}, "errors": {"phones": {"a": [10, 100]}},
        "selectivity": [0.6, 0.5], "moved": [0.0, 0.0],
    }  # fmt: skip
    lines = [whole]
    for n in range(layers):
        for bits in (4, 2):
            lost = rng.random() / bits
            lines.append(whole | {
                "layer": f"levels.0.blocks.blocks.{n}.weight", "bits": bits,
                "loss": {"phones": 1 + lost}, "selectivity": [0.6 - lost, rng.random()],
                "moved": [lost, None], "ratio": rng.random(), "kurtosis": 3.0, "step": 1.0,
                "noise": rng.random(),
            })  # fmt: skip
    return [*lines, lines[-1] | {"layer": "levels.1.enter.weight", "loss": {"phones": 9.0}}]


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(report, "DRAWS", 40)


def test_correlations_say_which_predictor_is_right():
    lines = synthetic(np.random.default_rng(0))
    grid = report.Grid({"net": lines})
    assert len(grid.rows) == 24 and len(grid.layers) == 12  # level 1 is above the phones
    for within in (False, True):
        assert grid.correlation(report.OURS, within) == pytest.approx((1, 1, 1))
        middle, low, high = grid.correlation(report.RIVAL, within)
        assert low < middle < high < 0.9
        assert grid.contrast(report.OURS, report.RIVAL, within)[1] > 0
    assert grid.correlation("kurtosis", True) == (0, 0, 0)
    assert abs(grid.remainder(report.RIVAL, report.OURS, True)[0]) < 1e-6
    x, y = np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])
    assert report.spearman(x, y) == pytest.approx(0.8)
    with pytest.raises(ConfigError, match="were not measured one by one"):
        report.Grid({"net": lines[:1]})
    with pytest.raises(ConfigError, match="lack that without rounding"):
        report.Grid({"net": lines[1:]})


def test_a_run_is_measured_and_reported(toy, trained, tmp_path, monkeypatch, capsys):
    few = list(rounding.matrices(trained.model))[:2]
    monkeypatch.setattr(measure, "LAYER_BITS", (2,))
    monkeypatch.setattr(measure, "matrices", lambda model: dict.fromkeys(few, 0))
    out, cuts = tmp_path / "lines.jsonl", toy / "test_cuts.jsonl.gz"
    call = [
        str(toy / "run"),
        "--cuts",
        str(cuts),
        "--out",
        str(out),
        "--layers",
        "--bits",
        "8",
        "2",
    ]
    assert measure.main([*call, "--every", "3"]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [n["bits"] for n in lines[:2]] == [32, 16] and len(lines) == 2 + 2 * 3 + 2 * 2
    whole, eight, two = (
        next(n for n in lines if (n["bits"], n["layer"], n["scheme"]) == (b, "", s))
        for b, s in ((32, "tensor"), (8, "channel"), (2, "tensor"))
    )
    assert abs(eight["loss"]["phones"] - whole["loss"]["phones"]) < 0.05 < two["loss"]["phones"]
    assert whole["moved"][0] == 0 < eight["moved"][0] < two["moved"][0]
    before = out.read_bytes()
    assert measure.main([*call, "--every", "3"]) == 0 and out.read_bytes() == before
    assert report.main([str(tmp_path / "report"), f"toy={out}"]) == 0
    text = (tmp_path / "report" / "quantisation.md").read_text()
    assert "| 2 | channel | - |" in text and "loss of selectivity - max / rms" in text
    assert (tmp_path / "report" / "quantisation.png").stat().st_size > 5000


def test_torch_computes_in_int8(trained):
    found = speed.dynamic_int8(trained.model)
    x, lengths = torch.randn(1, 30, 16), torch.tensor([30])
    with torch.no_grad():
        one, other = (m(x, lengths).heads["phones"][0] for m in (trained.model, found))
    assert float((one - other).abs().max()) > 0
    assert speed.size(found) < speed.size(trained.model)
    bytes_ = speed.sizes(trained.model)
    assert bytes_["int8 per channel"] < bytes_["float16"] == bytes_["float32"] / 2
