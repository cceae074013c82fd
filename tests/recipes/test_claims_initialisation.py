"""`recipes/claims/initialisation`: its systems, and what its script runs on which corpora."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
from helpers import ROOT

from recipes.claims.initialisation import ablation, speed
from recipes.compare.systems import read_systems
from speechasym.levels.hierarchy import build_model
from speechasym.levels.initialise import METHODS, initialise_by
from speechasym.levels.presets import model_config
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
    names = ["mini", "transformer"] if corpus == "mini" else [corpus]
    assert done.stdout.count("left out") == 4 - len(names)
    compare, *_, report = (tmp_path / "log").read_text().split("END\n")[: len(names) + 1]
    words = compare.splitlines()
    assert words[:2] == ["-m", "recipes.compare"] and f"{out}/{corpus}" in words
    assert words[words.index("--seeds") + 1] == "2" and "pca" in words
    config = read_config(ROOT / words[2], words[words.index("--set") + 1 :])
    assert config.epochs == 1 and config.data.train.endswith(f"{corpus}/{first}")
    assert report.splitlines()[1:] == [
        "recipes.claims.learning.report", *(f"{out}/{name}" for name in names), "--base", "kaiming",
        "--out", f"{out}/report.md",
    ]  # fmt: skip


def test_a_folder_without_corpora_is_named(tmp_path):
    (tmp_path / "data").mkdir()
    done = run(tmp_path, str(tmp_path / "data"), str(tmp_path / "out"))
    assert done.returncode == 2 and "has no manifests, see README.md" in done.stderr
    assert run(tmp_path).returncode == 2


def finished(folder, name, seed, losses, errors):
    """A run of steps with these losses of phones, an epoch of two steps each."""
    place = folder / f"{name}-seed{seed}"
    place.mkdir(parents=True)
    heads = {"letters": 1.0, "phones": 2.0}  # in the order of a file
    config = {"config": {"target": "phones", "heads": heads}}
    (place / "config.json").write_text(json.dumps(config))
    rows = []
    for step, loss in enumerate(losses, 1):
        values = {"loss": 9.0, "loss_letters": 9.0, "loss_phones": loss}
        rows.append({"step": step, "epoch": (step - 1) // 2, **values})
        if step % 2 == 0:
            rows.append({"step": step, "dev_error_phones": errors[step // 2 - 1]})
    (place / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (folder / "results.jsonl").open("a") as file:
        file.write(json.dumps({"system": name, "seed": seed}) + "\n")


def test_the_speed_is_that_to_the_loss_of_kaiming_at_half_of_its_run(tmp_path, capsys):
    folder, dev = tmp_path / "toy", [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    for seed in (0, 1):
        finished(folder, "kaiming", seed, [9, 8, 7, 6, 5, 5, 4, 3, 2, 1, 1, 1], dev)
        finished(folder, "pca", seed, [9, 5, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1], [0.9, 0.7, *dev[2:]])
        finished(folder, "late", seed, [9] * 12, [1.0] * 6)
    # Kaiming has (5 + 5) / 2 after 6 steps, pca after 3; on dev 0.7 after 6, pca after 4
    assert speed.main([str(folder), "--out", str(tmp_path / "speed.md")]) == 0
    rows = [row.split(" | ") for row in capsys.readouterr().out.splitlines() if row[:2] == "| "]
    found = {row[0].strip("| "): row[1:4] for row in rows[2:]}
    assert found["kaiming"] == ["2", "1.00 (1.00 to 1.00)", "1.00 (1.00 to 1.00)"]
    assert found["pca"] == ["2", "2.00 (2.00 to 2.00)", "1.50 (1.50 to 1.50)"]
    assert found["late"] == ["2", "0.00 (0.00 to 0.00)", "0.00 (0.00 to 0.00)"]
    assert (tmp_path / "speed.png").stat().st_size > 5000
    (folder / "results.jsonl").write_text('{"system": "pca", "seed": 0}')
    assert speed.main([str(folder), "--out", str(tmp_path / "speed.md")]) == 2
    assert "contains no run of kaiming" in capsys.readouterr().err


def test_only_the_parts_that_are_kept_are_set():
    x, lengths = torch.randn(2, 400, 6), torch.tensor([400, 390])

    def changed(kept):
        torch.manual_seed(0)
        model = build_model(model_config({"every": {"width": 12, "units": 8}}), 6, {"phones": 3})
        before = {name: value.clone() for name, value in model.state_dict().items()}
        with ablation.only(kept):
            initialise_by("asymmetry", model, [(x, lengths)])
        return {name for name, v in model.state_dict().items() if not torch.equal(v, before[name])}

    with_nothing = changed([])
    assert all(n.endswith(("prototypes", "centre", "log_width")) for n in with_nothing)
    for part, names in (
        ("enter", ("enter",)), ("functions", ("function.inside",)), ("key", ("units.key",)),
        ("scales", ("norm_in", "compress")), ("law", ("units.law",)), ("balance", ("norm_out",)),
    ):  # fmt: skip
        more = changed([part]) - with_nothing
        assert more and all(any(name in n for name in names) for n in more), (part, more)
    assert changed(list(ablation.PARTS)) > with_nothing
