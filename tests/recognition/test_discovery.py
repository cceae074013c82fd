"""Units of levels as intervals, files and tokens; recordings and runs that have none."""

import json

import numpy as np
import pytest
import torch
from helpers import sine, tone

from speechasym.annotations.textgrid import read_textgrid
from speechasym.cli.main import main
from speechasym.errors import AudioError, ConfigError, OutputError
from speechasym.levels.hierarchy import build_model
from speechasym.recognition.discovery import TOKENS, discover_files, discover_units


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    parts = [sine(0.2, hertz=h) for h in (300, 2500, 700, 5000, 300)]
    return np.concatenate(parts) + 0.01 * rng.standard_normal(16000)


def test_segments_cover_the_recording(trained, samples):
    levels = discover_units(samples, trained, 16000)
    assert [row.level for row in levels] == [
        n for n, level in enumerate(trained.model.config.levels) if level.units
    ]
    for row in levels:
        assert row.times[0, 0] == 0 and row.times[-1, 1] == pytest.approx(1.0, abs=0.02)
        np.testing.assert_allclose(row.times[1:, 0], row.times[:-1, 1], atol=1e-9)
        assert row.units.min() >= 0 and row.units.max() < row.size
        assert row.intervals[0].label == str(row.units[0])
    assert len(levels[0].units) >= len(levels[-1].units)


def test_segments_are_the_events_of_a_level(trained, samples):
    row = discover_units(samples, trained, 16000, levels=[0])[0]
    level = trained.output(trained.features(samples.astype(np.float32))).levels[0]
    if level.events is not None:
        assert len(row.units) == int(level.events.number[0])
        held = level.winner[0, : int(level.mask[0].sum())].unique_consecutive()
        assert row.units.tolist() == held.tolist()


def test_files_and_cuts(trained, toy, samples, tmp_path):
    one = tone(tmp_path / "in" / "one.wav", samples)
    tone(tmp_path / "in" / "silent.wav", np.zeros(8000))
    out = tmp_path / "out"
    good, bad = discover_files([one.parent], trained, out)
    assert good.name == "one" and "silence" in str(bad.error) and not bad.written
    tiers = read_textgrid(out / "one.TextGrid")
    assert list(tiers) == [f"level {row.level}" for row in good.levels]
    with np.load(out / "one.npz") as arrays:
        np.testing.assert_array_equal(arrays["level0"], good.levels[0].units)
        assert arrays["level0_times"].shape == (len(good.levels[0].units), 2)
    lines = [json.loads(line) for line in (out / TOKENS).read_text().splitlines()]
    assert [line["level"] for line in lines] == [row.level for row in good.levels]
    assert lines[0]["units"] == good.levels[0].units.tolist() and lines[0]["id"] == "one"
    results = list(discover_files(toy / "test_cuts.jsonl.gz", trained, tmp_path / "cuts"))
    assert len(results) == len(list((tmp_path / "cuts").glob("*.npz"))) > 1


def test_the_command(trained, samples, tmp_path, capsys):
    one, silent = tone(tmp_path / "one.wav", samples), tone(tmp_path / "s.wav", np.zeros(8000))
    words = ["units", str(one), "--run", str(trained.folder), "--out", str(tmp_path / "out")]
    assert main([*words, "--levels", "0"]) == 0
    assert "segments" in capsys.readouterr().out
    (tmp_path / "out" / "one.TextGrid").write_text("mine")
    assert main(words) == 2 and "was not written" in capsys.readouterr().err
    assert main([*words, "--overwrite", "--levels", "0.5"]) == 2
    assert main(["units", str(silent), *words[2:4], "--out", str(tmp_path / "none")]) == 2
    assert "digital silence" in capsys.readouterr().err and not (tmp_path / "none").exists()


def test_bad_input(trained, samples, tmp_path):
    with pytest.raises(AudioError, match="digital silence"):
        discover_units(np.zeros(8000), trained, 16000)
    with pytest.raises(AudioError):
        discover_units(tmp_path / "missing.wav", trained)
    with pytest.raises(ConfigError, match="level 9 has no units"):
        discover_units(samples, trained, 16000, levels=[9])
    levels = [{"width": 8, "units": 0, "functions": ["feedforward"]}]
    without = build_model({"levels": levels}, trained.model.inputs, {"phones": 3}).eval()
    with pytest.raises(ConfigError, match="no units at any level"):
        discover_units(samples, trained._replace(model=without), 16000)
    with pytest.raises(ConfigError, match="no levels"):
        discover_units(samples, trained._replace(model=torch.nn.Identity()), 16000)
    out = tmp_path / "out"
    out.mkdir()
    (out / TOKENS).write_text("mine")
    with pytest.raises(OutputError):
        next(discover_files(tone(tmp_path / "a.wav", samples), trained, out))
