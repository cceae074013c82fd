"""`recipes/claims/initialisation`: its systems, and what its script runs on which corpora."""

import subprocess
from pathlib import Path

import pytest
from helpers import ROOT

from recipes.compare.systems import read_systems
from speechasym.levels.initialise import METHODS
from speechasym.training.config import read_config

HERE = ROOT / "recipes" / "claims" / "initialisation"


def run(tmp_path: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script with a Python that writes down what it is called with."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@" END >> "$LOG"\n')
    python.chmod(0o755)
    log = {"PYTHON": str(python), "LOG": str(tmp_path / "log"), "PATH": "/usr/bin:/bin"}
    script = ["bash", str(HERE / "run.sh"), *words]
    return subprocess.run(script, env=log | environment, capture_output=True, text=True)


def test_the_systems_are_all_initialisations():
    basic = ["data.train=a", "data.dev=b"]
    systems = read_systems(HERE / "systems.yaml")
    found = [read_config(None, [*basic, *system.words]).initialise for system in systems]
    assert sorted(found) == sorted(METHODS)
    assert [system.name for system in systems] == found  # ours first: asymmetry
    assert found[0] == "asymmetry"


@pytest.mark.parametrize("corpus", ["mini", "timit", "librispeech"])
def test_a_corpus_is_compared_and_reported(tmp_path, corpus):
    first = "train_cuts.jsonl.gz" if corpus == "mini" else "fold0_train_cuts.jsonl.gz"
    (tmp_path / "data" / corpus).mkdir(parents=True)
    (tmp_path / "data" / corpus / first).touch()
    out = str(tmp_path / "out")
    done = run(tmp_path, str(tmp_path / "data"), out, SEEDS="2", EPOCHS="1", ONLY="pca")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("left out") == 2
    compare, report = (tmp_path / "log").read_text().split("END\n")[:2]
    words = compare.splitlines()
    assert words[:2] == ["-m", "recipes.compare"] and f"{out}/{corpus}" in words
    assert words[words.index("--seeds") + 1] == "2" and "pca" in words
    config = read_config(ROOT / words[2], words[words.index("--set") + 1 :])
    assert config.epochs == 1 and config.data.train.endswith(f"{corpus}/{first}")
    assert report.splitlines()[1:] == [
        "recipes.claims.learning.report", f"{out}/{corpus}", "--base", "kaiming",
        "--out", f"{out}/report.md",
    ]  # fmt: skip


def test_a_folder_without_corpora_is_named(tmp_path):
    (tmp_path / "data").mkdir()
    done = run(tmp_path, str(tmp_path / "data"), str(tmp_path / "out"))
    assert done.returncode == 2 and "has no manifests, see README.md" in done.stderr
    assert run(tmp_path).returncode == 2
