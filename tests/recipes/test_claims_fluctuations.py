"""Fluctuations: what hysteresis passes on with and without noise of its own."""

import json
import math
import shutil

import numpy as np
import pytest
import soundfile
import torch

import speechasym
from recipes.claims.fluctuations import levels, on_tracks, resonance, strength
from speechasym.errors import ConfigError
from speechasym.training.dataset import load


def test_only_noise_carries_what_is_smaller_than_the_width():
    x = 0.5 * torch.sin(torch.arange(4000) / 20).expand(3, -1)
    for operator in resonance.OPERATORS:
        silent = resonance.passed(x, operator, 0.0, 1, 0)
        assert torch.equal(silent, silent[:, :1].expand_as(silent))
        noisy = resonance.passed(x, operator, 0.5, 4, 0)
        assert np.corrcoef(noisy[0].numpy(), x[0].numpy())[0, 1] > 0.3
        large = resonance.passed(4 * x, operator, 0.0, 1, 0)
        assert large.std() > 0.5


def test_the_strength_of_a_tone():
    time = torch.arange(resonance.RATE * resonance.SECONDS) / resonance.RATE
    tone = torch.sin(2 * math.pi * resonance.TONE_HZ * time)
    other = torch.sin(2 * math.pi * 3 * time)
    strength = resonance.tone_strength(torch.stack([tone, other, 0 * tone, tone + other]))
    assert strength[0] > 1e6 and strength[1] < 1e-6 and strength[2] == 1
    assert strength[3] == pytest.approx(16, rel=1e-3)  # one of the 16 rates near it has as much


def test_area_under_the_roc():
    assert resonance.detected(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1
    assert resonance.detected(np.ones(3), np.ones(2)) == 0.5
    assert resonance.detected(np.array([0.0, 2.0]), np.array([1.0])) == 0.5


def test_the_best_strength_is_measured_on_other_units():
    lines = [{"strength": s, "area": a} for s, a in ((0.0, [0, 0, 0, 0]), (1.0, [9, 1, 9, 1]))]
    strength, value, gain = resonance.best(lines, "area")
    assert (strength, value.value, gain.value) == (1.0, 1, 1)


def test_command(tmp_path, monkeypatch, capsys):
    draw = np.random.default_rng(0)
    loud = np.repeat(draw.random(20), 1600) * draw.standard_normal(32000) * 0.1
    soundfile.write(tmp_path / "a.wav", loud, 16000)
    soundfile.write(tmp_path / "silent.wav", 0 * loud, 16000)
    for name, value in {"AMPLITUDES": (0.5,), "STRENGTHS": (0.0, 0.5), "SPEECH": (0.4,)}.items():
        monkeypatch.setattr(resonance, name, value)
    arguments = ["--out", str(tmp_path / "out"), "--seeds", "2", "--trials", "2"]
    resonance.main([str(tmp_path / "a.wav"), *arguments])
    assert "| relay | 0.5 | 16 |" in capsys.readouterr().out
    lines = (tmp_path / "out" / "resonance.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 8 + 8 and json.loads(lines[-1])["kept"][0] > 0
    assert (tmp_path / "out" / "resonance.png").stat().st_size > 1000
    with pytest.raises(ConfigError, match="silent"):
        resonance.main([str(tmp_path / "silent.wav"), *arguments])


def test_noise_on_tracks_changes_the_asymmetry_alone():
    x = 0.1 * np.random.default_rng(0).standard_normal(40000).astype(np.float32)

    def features(strength, draws=1, **options):
        with on_tracks.fluctuating(strength, draws):
            return speechasym.features(x, 16000, features="asymmetry", **options)

    plain, noisy = (features(strength, compact=True) for strength in (0.0, 1.0))
    np.testing.assert_array_equal(noisy, features(1.0, compact=True))
    changed = np.abs(noisy - plain).max(0) > 1e-6
    assert changed.tolist() == [20 <= n < 23 for n in range(33)]
    assert not features(0.0, 0, compact=True)[:, 20:23].any()
    mean = features(1.0, 16, compact=True) - plain
    assert mean[:, changed].std() < (noisy - plain)[:, changed].std()
    alone = {"outputs": ("asymmetry",), "kinds": ("amplitude",), "channels": 8}
    assert (features(0.0, **alone) != features(1.0, 2, **alone)).mean() > 0.5


def test_a_folder_of_features_with_noise_on_tracks(toy, tmp_path):
    words = [f"data.{part}={toy}/{part}_cuts.jsonl.gz" for part in ("train", "dev")]
    words += ["data.features.features=asymmetry", "data.features.compact=true"]
    folder = f"data.cache={tmp_path}/noisy"
    (tmp_path / "run.yaml").write_text("epochs: 1")
    arguments = [str(tmp_path / "run.yaml"), "--strength", "1", "--set", *words]
    with pytest.raises(ConfigError, match="cache: is missing"):
        on_tracks.main(arguments)
    on_tracks.main([*arguments, folder])
    rows = []
    for more in ([], [folder]):
        data = on_tracks.read_config(None, [*words, *more]).data
        rows.append(load(data, data.train, ["phones"]).batch([0], 0).features[0])
    changed = (rows[0] - rows[1]).abs().amax(0) > 1e-3
    assert changed.tolist() == [20 <= n < 23 for n in range(33)]


def test_what_noise_does_to_a_net(trained, toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(strength, "open_run", lambda path: trained)
    monkeypatch.setattr(strength, "STRENGTHS", {"units": (1.0,), "features": (0.1, 1.0)})
    monkeypatch.setattr(strength, "DRAWS", (1,))
    cuts = f"{toy}/test_cuts.jsonl.gz"
    strength.main(["--run", "x", "--cuts", cuts, "--count", "2", "--out", str(tmp_path)])
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines()]
    moved = {(row[1].strip(), row[2].strip()): float(row[4].split("(")[0]) for row in rows[2:7]}
    assert moved["none", "0"] == 0 < moved["units", "1"]
    assert 0 < moved["features", "0.1"] < moved["features", "1"]
    assert rows[-1] == [""] and "units 1: as features" in rows[-2][0]


def test_nets_with_and_without_fluctuations(trained, toy, tmp_path, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr(levels, "open_run", lambda path: opened.append(path.name) or trained)
    for name in ("none-seed0", "none-seed1", "dropout-seed1", "fluctuation-1-seed1"):
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        (run / "model.safetensors").touch()
        shutil.copy(toy / "run" / "metrics.jsonl", run)
    arguments = ["--cuts", f"{toy}/test_cuts.jsonl.gz", "--out", str(tmp_path), "--every", "8"]
    uses = ["--use", "units:3:2:widths=fluctuation-1", "--use", "tracks:1:2=none"]
    levels.main(["--runs", str(tmp_path / "runs"), *arguments, *uses])
    assert len(opened) == 4
    printed = capsys.readouterr().out
    assert "| fluctuation-1 | dropout | phones | 0.0 (" in printed
    assert "| none | 2 | " in printed and "| fluctuation-1 + units 3 x 2 + widths | " in printed
    assert (tmp_path / "levels.png").stat().st_size > 1000
    with pytest.raises(ConfigError, match="must be KIND:STRENGTH:DRAWS"):
        levels.use_of("units:1=none")
    with pytest.raises(ConfigError, match="has no runs none-seedN"):
        levels.main(["--runs", str(tmp_path / "nothing"), *arguments])
