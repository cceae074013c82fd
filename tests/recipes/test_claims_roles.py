"""`recipes/claims/roles`: its systems, paths that are cut, and the tables of runs."""

import json
import subprocess

import numpy as np
import pytest
import torch
from helpers import ROOT, tone

from recipes.claims.roles import measure
from recipes.compare.systems import read_systems
from speechasym.errors import OutputError
from speechasym.levels.hierarchy import build_model
from speechasym.training.config import read_config

HERE = ROOT / "recipes" / "claims" / "roles"


def test_each_system_lacks_what_its_name_says():
    basic = ["data.train=a", "data.dev=b", "model.preset=small"]
    systems = {
        s.name: read_config(None, [*basic, *s.words]).model
        for s in read_systems(HERE / "roles.yaml")
    }
    assert next(iter(systems)) == measure.OURS
    steers = {name: {level.steers for level in model.levels} for name, model in systems.items()}
    assert steers["roles"] == {"both"} and steers["plain"] == {"none"}
    assert steers["no-decision-to-units"] == {"gain"} and steers["no-gain"] == {"units"}
    for name, model in systems.items():
        alone = {"plain", "no-context", "no-units", "nested"}
        assert model.feedback.passes == (1 if name in alone else 2), name
    assert all(level.repeat == 0 for level in systems["no-features"].levels)
    assert {level.passes for level in systems["no-error"].levels} == {"units"}
    assert [level.hears for level in systems["sensory-associative"].levels] == [False, True, True]
    assert systems["nested"].levels[1].block.levels[1].units == 24


def test_a_path_is_cut_in_a_copy():
    keys = {"every": {"steers": "both", "width": 16, "units": 8}, "feedback": {"passes": 2}}
    torch.manual_seed(0)
    model = build_model(keys, 6, {"phones": 5})
    for p in model.parameters():
        torch.nn.init.normal_(p)
    for end in measure.CUTS.values():
        copied = measure.cut(model, end)
        changed = {
            name for name, p in copied.named_parameters()
            if not torch.equal(p, model.get_parameter(name))
        }  # fmt: skip
        assert changed and all(name.endswith(end) for name in changed)
        assert not any(copied.get_parameter(name).any() for name in changed)
    with pytest.raises(OutputError, match=r"units\.following.*no level of the model has it"):
        measure.cut(build_model({}, 6, {"phones": 5}), "units.following")


def test_runs_are_read_and_compared(trained, toy, tmp_path, monkeypatch, capsys):
    for folder, system in (("a", "roles"), ("b", "plain")):
        (tmp_path / folder).mkdir()
        lines = json.dumps({"system": system, "seed": 0})
        (tmp_path / folder / "results.jsonl").write_text(lines + "\n")
    monkeypatch.setattr(measure, "open_run", lambda folder: trained)
    monkeypatch.setattr(measure, "CUTS", {"head": "heads.phones.weight"})
    monkeypatch.setattr(measure, "HEADS", ("phones",))
    tone(tmp_path / "noise" / "wind.wav", np.random.default_rng(0).normal(0, 0.1, 16000))
    words = [f"{tmp_path}/a", f"{tmp_path}/b", "--test", f"{toy}/test_cuts.jsonl.gz",
             "--noise", f"{tmp_path}/noise", "--snr", "0", "--out", f"{tmp_path}/out"]  # fmt: skip
    assert measure.main(words) == 0
    text = capsys.readouterr().out
    rows = [row.split(" | ") for row in text.splitlines() if row.startswith("| ")]
    assert rows[0] == ["| system", "seeds", "clean", "0 dB |"]
    assert [row[0] for row in rows[2:5]] == ["| roles", "| roles, head cut", "| plain"]
    assert rows[4][2].endswith("; +0.0 [+0.0, +0.0]")  # the same run
    assert float(rows[3][2].split(";")[0]) > 90  # nothing is heard
    monkeypatch.setattr(measure.readings, "read", None)  # what is in files is not read again
    assert measure.main(words) == 0
    assert capsys.readouterr().out == text
    assert measure.main([words[1], *words[2:]]) == 2
    assert "roles: is not among the finished runs" in capsys.readouterr().err


def test_the_script_compares_and_measures(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@" END >> "$LOG"\n')
    python.chmod(0o755)
    environment = {"PYTHON": str(python), "LOG": str(tmp_path / "log"), "PATH": "/usr/bin:/bin"}

    def run(*words):
        script = ["bash", str(HERE / "run.sh"), *words]
        return subprocess.run(
            script, env=environment | {"SEEDS": "2"}, capture_output=True, text=True
        )

    (tmp_path / "data" / "mini").mkdir(parents=True)
    words = (str(tmp_path / "data"), str(tmp_path), str(tmp_path / "out"))
    assert run(*words).returncode == 2 and run().returncode == 2
    (tmp_path / "data" / "mini" / "train_cuts.jsonl.gz").touch()
    assert run(*words).returncode == 0
    compare, measured = (tmp_path / "log").read_text().split("END\n")[:2]
    words = compare.splitlines()
    assert words[words.index("--seeds") + 1] == "2" and words[1] == "recipes.compare"
    config = read_config(ROOT / words[2], words[words.index("--set") + 1 :])
    assert config.epochs == 12 and config.model.levels[0].width == 140
    assert measured.splitlines()[1:3] == ["recipes.claims.roles.measure", f"{tmp_path}/out/mini"]
