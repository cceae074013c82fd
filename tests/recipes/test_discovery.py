"""The recipe discovery/features: a run's levels are measured beside the frozen features."""

import json

import numpy as np
import pytest
import toy_timit
from helpers import tone
from toy import RATE

from recipes.discovery.features import levels, report
from recipes.discovery.features import run as run_module
from speechasym.errors import ConfigError
from speechasym.recognition.trained_model import open_run
from speechasym.scoring import abx_cells


@pytest.fixture
def corpus(tmp_path):
    """TIMIT and a noise, of tones: the phones in their times, silences around words."""
    rng = np.random.default_rng(0)
    toy_timit.write(tmp_path / "timit", rng)
    tone(tmp_path / "noise" / "rain.flac", 0.1 * rng.standard_normal(RATE * 3), RATE)
    return tmp_path


def called(corpus, run):
    out = corpus / "out"
    words = ["--run", run, "--timit", corpus / "timit", "--noise", corpus / "noise", "--out", out]
    run_module.main([*map(str, words)])
    return json.loads((out / "results.json").read_text()), (out / "report.md").read_text()


def test_levels_beside_frozen_features(corpus, monkeypatch, toy):
    run = toy / "run"
    monkeypatch.setattr(abx_cells, "ROUNDS", 20)  # 1000 take long
    known, text = called(corpus, run)
    kinds = {"y": 24, "units": 8, "posteriors of phones": 3}
    upper = {"y": 24, "units": 8, "posteriors of letters": 2 * 28, "posteriors of words": 4}
    for begin in ("", "untrained "):
        for number, own in enumerate((kinds, upper)):
            for kind, columns in own.items():
                name = f"clean | {begin}level {number}, {kind}"
                if begin and "posteriors" in kind:
                    assert name not in known["cells"]
                else:
                    assert known["cells"][name]["columns"] == columns
    for name in ("log-mel 80", "MFCC 39", "compact 33", "level 1, y"):
        assert f"rain-5 | {name}" in known["cells"]
    assert not any("rain-5 | untrained" in name for name in known["cells"])
    cells = known["cells"]["clean | level 0, posteriors of phones"]["abx"]
    assert cells["unseen within"]["error"] < 0.1  # tones of three pitches, learned
    assert text.count("### Levels: ABX error in %") == 4 and "level 1, units" in text
    # a second call has nothing left to measure
    monkeypatch.setattr(run_module, "abx_errors", None)
    assert called(corpus, run)[1] == text
    for change in ({"run": "another"}, {}):
        kept = {k: v for k, v in known.items() if k != "run"} | change
        (corpus / "out" / "results.json").write_text(json.dumps(kept))
        with pytest.raises(ConfigError, match=f"contains another run than {run}"):
            called(corpus, run)
    with pytest.raises(ConfigError, match="contains the levels of a run"):
        run_module.measure(None, known, corpus / "out" / "results.json", None)


def test_twin_is_of_the_same_shapes_with_other_weights(toy):
    models = levels.open_models(toy / "run")
    again = levels.open_models(toy / "run")
    trained, twin = (models[k].model.state_dict() for k in ("", "untrained "))
    same = again["untrained "].model.state_dict()
    assert all(v.shape == twin[k].shape for k, v in trained.items())
    assert all((v == same[k]).all() for k, v in twin.items())
    assert not (trained["heads.phones.weight"] == twin["heads.phones.weight"]).all()
    assert not models["untrained "].model.training


def test_without_blank():
    p = np.array([[0.9, 0.06, 0.04], [0.2, 0.8, 0.0]])
    with np.errstate(divide="ignore"):
        found = np.exp(levels.without_blank(np.log(p)))
    assert np.allclose(found, [[0.6, 0.4], [1, 0]])
    sure = np.array([[0.0, -200.0, -201.0]], np.float32)  # symbols too rare for float32
    assert np.allclose(np.exp(levels.without_blank(sure)), [[1 / (1 + np.exp(-1)), 1 / (1 + np.e)]])


def test_means_over_steps():
    features = np.array([[1.0, 0], [3, 0], [5, 6], [7, 8], [9, 1]], np.float32)
    found = levels.means(features, np.array([0, 0, 1, 2, 2]))
    assert np.array_equal(found, [[2, 0], [2, 0], [5, 6], [8, 4.5], [8, 4.5]])


def test_a_run_at_another_rate_is_refused(trained, monkeypatch):
    object.__setattr__(other := open_run(trained.folder).config.data.features, "rate", 50.0)
    changed = open_run(trained.folder)
    object.__setattr__(changed.config.data, "features", other)
    monkeypatch.setattr(levels, "open_run", lambda folder: changed)
    with pytest.raises(ConfigError, match="50 frames a second"):
        levels.open_models(trained.folder)


def test_differences_from_the_untrained_twin():
    def cell(error):
        samples = [error, error]
        return {
            "columns": 4,
            "abx": {
                f"{group} {task}": {"error": error, "samples": samples}
                for group in ("chosen", "unseen")
                for task in ("within", "across", "same")
            },
        }

    errors = {"MFCC 39": 0.2, "compact 33": 0.16, "level 0, y": 0.1, "untrained level 0, y": 0.4}
    errors |= {"level 0, means of features": 0.05}
    known = {"cells": {f"clean | {k}": cell(v) for k, v in errors.items()}}
    known |= {"commit": "abc", "run": "0123456789", "steps": {"clean": {"trained": [33.3]}}}
    text = report.level_tables(known, [])
    rows = [line for line in text.splitlines() if line.startswith("| level 0, y |")]
    assert len(rows) == 2 and rows[0] == rows[1]
    columns = [c.strip() for c in rows[0].strip("|").split("|")]
    assert columns[2] == "10.0 (10.0-10.0)"
    assert [c.split(" ")[0] for c in columns[5:]] == ["-50", "-38", "-75", "+100"]
