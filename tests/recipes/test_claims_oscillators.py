"""`recipes/claims/oscillators`: systems of equal size, and what training did to frequencies."""

import numpy as np
import torch
from helpers import ROOT

from recipes.claims.oscillators import frequencies, remedies
from recipes.compare.systems import read_systems
from speechasym.levels.config import BlockConfig
from speechasym.levels.functions import FUNCTIONS
from speechasym.levels.hierarchy import build_model, count_parameters
from speechasym.levels.oscillator import Oscillator
from speechasym.training.config import read_config

HERE = ROOT / "recipes" / "claims" / "oscillators"
SIZES = {"phones": 39, "letters": 28, "words": 98}


def test_all_functions_have_nearly_as_many_parameters():
    bases = {
        "mini": ["model.preset=tiny"],
        "timit": ["model.preset=tiny", "model.every.width=64"],
    }
    for name, base in bases.items():
        counts, functions = [], []
        for system in read_systems(HERE / f"{name}.yaml"):
            model = read_config(None, ["data.train=a", "data.dev=b", *base, *system.words]).model
            functions.append(model.levels[0].functions[0])
            counts.append(count_parameters(build_model(model, 33, SIZES)))
        assert functions == ["oscillator", "oscillator", "statespace", "convolution"]
        assert max(counts) < 1.04 * min(counts)


def test_frequencies_before_and_after(trained, tmp_path, monkeypatch, capsys):
    def net(damped):
        torch.manual_seed(0)
        level = {"width": 8, "functions": ["oscillator"], "repeat": 2, "block": {"damped": damped}}
        model = build_model({"levels": [level]}, 5, {"phones": 3})
        with torch.no_grad():
            model.levels[0].blocks.blocks[1].function.turn[0] -= 1.0
        return trained._replace(model=model)

    nets = {"a": net(False), "b": net(True)}
    monkeypatch.setattr(frequencies, "open_run", lambda folder: nets[folder.name])
    still, moved = frequencies.banks(tmp_path / "a")
    assert not still.moved.any() and still.lasting is None
    assert moved.moved[0] < -0.3 and not moved.moved[1:].any()
    lasting = frequencies.banks(tmp_path / "b")[0]
    np.testing.assert_allclose(lasting.lasting, 2 * lasting.before, rtol=1e-4)
    runs = [str(tmp_path / name) for name in "ab"]
    assert frequencies.main([*runs, "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "/a | 0.1 | " in text and "undamped" in text and "/b | 0.0 | " in text
    assert frequencies.shown("mini/oscillator-damped-seed1") == "mini, learned damping, seed 1"
    assert (tmp_path / "out" / "frequencies.png").stat().st_size > 5000
    monkeypatch.setattr(frequencies, "open_run", lambda folder: trained)
    assert frequencies.main(["c", "--out", str(tmp_path / "out")]) == 2
    assert "c: has no block of oscillators" in capsys.readouterr().err


def test_selective_oscillators_move_as_the_others(trained):
    torch.manual_seed(0)
    config = BlockConfig(width=8)
    plain, turning = Oscillator(config), remedies.Selective(config)
    with torch.no_grad():
        plain.turn.sub_(3.0)  # slow, so that small pushes and exact turns are alike
    turning.load_state_dict(plain.state_dict())
    x, mask = torch.randn(2, 50, 8), torch.ones(2, 50, dtype=torch.bool)
    mask[1, 30:] = False
    both = torch.stack([plain(x).flatten(), turning(x).flatten()]).detach()
    assert torch.corrcoef(both)[0, 1] > 0.97
    for kind in (remedies.Quick, remedies.All):
        function = kind(config)
        y = function(x, mask)
        torch.testing.assert_close(y[1:, :30], function(x[1:, :30]), atol=1e-5, rtol=1e-4)
        y.sum().backward()
        assert all(p.grad is not None for p in function.parameters())
    for name in ("remedies", "librispeech"):
        with remedies.more_functions(remedies.OWN):
            for system in read_systems(HERE / f"{name}.yaml"):
                read_config(None, ["data.train=a", "data.dev=b", *system.words])
    assert not any(name.startswith("oscillator-") for name in FUNCTIONS)
