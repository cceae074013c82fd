"""The scripts of recipes/claims that train: what they call, and what they refuse."""

import subprocess
from itertools import takewhile

import pytest
from helpers import ROOT

from speechasym.training.config import read_config

CLAIMS = ROOT / "recipes" / "claims"


@pytest.fixture
def run(tmp_path):
    """Run a script with a python and a speechasym that only write down their arguments."""
    for name in ("python", "speechasym"):
        (tmp_path / name).write_text('#!/bin/sh\nprintf "%s\\n" "$@" END >> "$LOG"\n')
        (tmp_path / name).chmod(0o755)
    environment = {
        "PYTHON": str(tmp_path / "python"), "SPEECHASYM": str(tmp_path / "speechasym"),
        "LOG": str(tmp_path / "log"), "PATH": "/usr/bin:/bin", "SEEDS": "2",
    }  # fmt: skip

    def call(claim, *words):
        script = ["bash", str(CLAIMS / claim / "run.sh"), *map(str, words)]
        done = subprocess.run(script, env=environment, capture_output=True, text=True)
        log = tmp_path / "log"
        calls = log.read_text().split("END\n")[:-1] if log.exists() else []
        log.unlink(missing_ok=True)
        return done, [one.splitlines() for one in calls]

    return call


@pytest.fixture
def data(tmp_path):
    """Folders with manifests of mini and timit."""
    for corpus in ("mini", "timit"):
        (tmp_path / "data" / corpus).mkdir(parents=True)
        (tmp_path / "data" / corpus / "train_cuts.jsonl.gz").touch()
    return tmp_path / "data"


@pytest.mark.parametrize("claim", ["starvation", "oscillators", "heads", "direction"])
def test_what_is_missing_is_named(run, tmp_path, claim):
    done, calls = run(claim)
    assert done.returncode == 2 and f"Use: bash recipes/claims/{claim}/run.sh" in done.stderr
    if claim != "direction":
        done, calls = run(claim, tmp_path, tmp_path / "out")
        assert done.returncode == 2 and "has no manifests: speechasym prepare" in done.stderr
    assert not calls


def trained(call):
    """The configuration, seeds and systems of a call of recipes.compare."""
    assert call[:2] == ["-m", "recipes.compare"]
    words = takewhile(lambda word: not word.startswith("--"), call[call.index("--set") + 1 :])
    config = read_config(ROOT / call[2], [*words])
    only = call[call.index("--only") + 1] if "--only" in call else None
    return config, int(call[call.index("--seeds") + 1]), only


def test_starvation(run, data, tmp_path):
    done, calls = run("starvation", data, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    words = "shares compare compare compare compare report " + 2 * "shares compare report "
    words += "compare stitch"
    assert [call[1].rsplit(".", 1)[1] for call in calls] == words.split()
    for n, call in zip((1, 2, 4, 8), calls[1:5], strict=True):
        config, seeds, _ = trained(call)
        assert seeds == 2 and config.steps == 400 and config.data.train == config.data.dev
        assert config.data.train.endswith(f"/sentences{n}_cuts.jsonl.gz")
    assert trained(calls[7])[0].steps == 1600
    assert "/wrong/sentences8" in trained(calls[10])[0].data.train
    assert calls[12][3] == "recipes/claims/starvation/tasks.yaml"
    assert calls[-1].count("--pair") == 4


def test_oscillators(run, data, tmp_path):
    done, calls = run("oscillators", data, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    mini, timit = (trained(call)[0] for call in calls[:2])
    assert mini.epochs == 10 and mini.model.levels[0].width == 76
    assert timit.steps == 400 and timit.model.levels[1].width == 64
    assert timit.model.levels[0].block.dropout == 0.1
    assert calls[2][1] == "recipes.claims.oscillators.remedies" and "steps=400" in calls[2]
    assert calls[3][1] == "recipes.claims.oscillators.frequencies" and len(calls[3]) == 8
    (data / "mini" / "train_cuts.jsonl.gz").unlink()
    assert len(run("oscillators", data, tmp_path / "out")[1]) == 3


def test_heads(run, data, tmp_path):
    done, calls = run("heads", data, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert [trained(call)[1:] for call in calls[:2]] == [
        (2, "heads4,heads1,heads16"),
        (8, "small1"),
    ]
    assert calls[2][1] == "recipes.claims.heads.measure"


def test_direction(run, data, tmp_path):
    done, calls = run("direction", data, tmp_path / "out")
    assert done.returncode == 0 and len(calls) == 1, done.stderr
    assert calls[0][:3] == ["-m", "recipes.claims.direction.run", "--timit"]
    cuts = data / "mini" / "train_cuts.jsonl.gz"
    done, calls = run("direction", data, tmp_path / "out", cuts)
    assert calls[0] == ["align", str(cuts), "--out", f"{tmp_path}/out/aligned"]
    assert calls[1][-3:] == ["--read", str(cuts), f"{tmp_path}/out/aligned"]
