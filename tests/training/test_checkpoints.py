"""Checkpoints: complete or absent, and never of another run."""

import errno
import json
import os

import pytest
import torch
from torch import nn

from speechasym import files
from speechasym.errors import CheckpointError, OutputError
from speechasym.training import checkpoints

TENSORS = {"model.w": torch.arange(6.0).reshape(2, 3), "model.n": torch.tensor(4)}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_is_loaded(tmp_path):
    checkpoints.save(tmp_path, 7, TENSORS, {"place": {"step": 7}}, best=True)
    tensors, meta = checkpoints.load(tmp_path)
    assert meta["place"] == {"step": 7} and meta["step"] == 7
    assert all(torch.equal(tensors[name], value) for name, value in TENSORS.items())
    assert checkpoints.load(tmp_path, checkpoints.BEST)[1] == meta


def test_only_last_and_best_are_kept(tmp_path):
    for step in range(1, 5):
        checkpoints.save(tmp_path, step, TENSORS, {}, best=step == 2)
    assert names(tmp_path) == ["best.json", "last.json", "step-000002", "step-000004"]
    assert checkpoints.load(tmp_path, checkpoints.BEST)[1]["step"] == 2


def test_a_step_saved_again_does_not_replace_the_best_in_place(tmp_path):
    checkpoints.save(tmp_path, 2, TENSORS, {"turn": 1}, best=True)
    checkpoints.save(tmp_path, 2, TENSORS, {"turn": 2}, best=False)
    assert checkpoints.load(tmp_path)[1]["turn"] == 2
    assert checkpoints.load(tmp_path, checkpoints.BEST)[1]["turn"] == 1
    checkpoints.save(tmp_path, 2, TENSORS, {"turn": 3}, best=True)
    assert checkpoints.load(tmp_path)[1]["turn"] == 3
    assert checkpoints.load(tmp_path, checkpoints.BEST)[1]["turn"] == 3


@pytest.mark.parametrize("stage", ["_write", "_sync", "write_json", "rename"])
@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_failure_at_any_stage_leaves_the_one_before(tmp_path, monkeypatch, stage, fault):
    checkpoints.save(tmp_path, 1, TENSORS, {}, best=True)

    def fail(*_):
        raise fault

    home = {"write_json": files, "rename": type(tmp_path)}.get(stage, checkpoints)
    monkeypatch.setattr(home, stage, fail)
    with pytest.raises(OutputError if isinstance(fault, OSError) else KeyboardInterrupt):
        checkpoints.save(tmp_path, 2, TENSORS, {}, best=False)
    monkeypatch.undo()
    assert checkpoints.load(tmp_path)[1]["step"] == 1
    assert names(tmp_path) == ["best.json", "last.json", "step-000001"]


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"/step-000002: .*No space left.*--resume"):
        checkpoints.save(tmp_path, 2, TENSORS, {}, best=False)
    assert not checkpoints.exists(tmp_path)


def test_leftovers_of_a_kill_are_removed(tmp_path):
    (tmp_path / ".step-000003.part").mkdir()
    (tmp_path / "step-000002").mkdir()
    checkpoints.save(tmp_path, 4, TENSORS, {}, best=False)
    assert names(tmp_path) == ["last.json", "step-000004"]


def spoil(path, change):
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("tensors.safetensors", lambda raw: raw[:-5], "truncated or changed"),
        ("tensors.safetensors", lambda raw: raw[:-5] + b"12345", "truncated or changed"),
        ("meta.json", lambda raw: raw[:40], "is truncated, or not JSON"),
        ("meta.json", lambda raw: b"[]", "must have format 1, got None"),
        (
            "meta.json",
            lambda raw: raw.replace(b'"format": 1', b'"format": 2'),
            "must have format 1, got 2",
        ),
    ],
)
def test_damage_is_named(tmp_path, name, change, words):
    folder = checkpoints.save(tmp_path, 1, TENSORS, {}, best=False)
    spoil(folder / name, change)
    with pytest.raises(CheckpointError, match=words):
        checkpoints.load(tmp_path)


def test_the_remedy_is_the_other_checkpoint(tmp_path):
    checkpoints.save(tmp_path, 1, TENSORS, {}, best=True)
    folder = checkpoints.save(tmp_path, 2, TENSORS, {}, best=False)
    spoil(folder / "tensors.safetensors", lambda raw: raw[:-5])
    with pytest.raises(CheckpointError, match=r"copy best\.json over last\.json"):
        checkpoints.load(tmp_path)
    (tmp_path / "last.json").write_bytes((tmp_path / "best.json").read_bytes())
    assert checkpoints.load(tmp_path)[1]["step"] == 1


def test_a_file_that_is_not_safetensors_is_named(tmp_path):
    folder = checkpoints.save(tmp_path, 1, TENSORS, {}, best=False)
    (folder / "tensors.safetensors").write_bytes(b"nothing")
    meta = json.loads((folder / "meta.json").read_text())
    digest = "1785cfc3bc6ac7738e8b38cdccd1af12563c2b9070e07af336a1bf8c0f772b6a"
    (folder / "meta.json").write_text(json.dumps(meta | {"sha256": digest}))
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        checkpoints.load(tmp_path)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        checkpoints.load(tmp_path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoints.load_model(tmp_path)
    (tmp_path / "last.json").write_text("{")
    with pytest.raises(CheckpointError, match="does not name a checkpoint"):
        checkpoints.load(tmp_path)


def test_a_model_and_its_description_belong_together(tmp_path):
    checkpoints.save_model(tmp_path, TENSORS, {"name": "a"})
    assert checkpoints.load_model(tmp_path)[1]["name"] == "a"
    kept = (tmp_path / "model.json").read_bytes()
    checkpoints.save_model(tmp_path, {"model.w": torch.zeros(1)}, {"name": "b"})
    (tmp_path / "model.json").write_bytes(kept)  # as if killed between the two files
    with pytest.raises(CheckpointError, match="truncated or changed"):
        checkpoints.load_model(tmp_path)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (nn.Linear(3, 2, bias=False), 'Unexpected key.* "bias"'),
        (nn.Linear(4, 2), r"size mismatch for weight: .*\[2, 3\].*\[2, 4\]"),
        (nn.Sequential(nn.Linear(3, 2)), "Missing key.*0.weight"),
    ],
)
def test_another_model_is_named(other, words):
    tensors = {f"model.{n}": t for n, t in nn.Linear(3, 2).state_dict().items()}
    with pytest.raises(CheckpointError, match=words):
        checkpoints.restore(other, tensors, "run", "model.")


def test_tied_parameters_are_saved(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    checkpoints.save(tmp_path, 1, tensors, {}, best=False)
    other = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    other[1].weight = other[0].weight
    checkpoints.restore(other, checkpoints.load(tmp_path)[0], tmp_path, "model.")
    assert torch.equal(other[1].weight, model[0].weight)
