"""A run's folder: other runs, damage, full disks."""

import errno
import itertools
import json

import pytest
import tiny

from speechasym import files
from speechasym.config import to_dict
from speechasym.errors import (
    CheckpointError,
    OutputError,
)
from speechasym.levels import presets
from speechasym.training import (
    checkpoints,
    loop,
    models,
    run_folder,
)
from speechasym.training.config import config_from_dict


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, words, monkeypatch):
    more = ["save_every=3"]
    tiny.run(words, tmp_path / "whole", *more)
    write, count = checkpoints._write, itertools.count(1)

    def full(path, tensors):
        if next(count) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, tensors)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_write", full)
        with pytest.raises(OutputError, match="No space left on device"):
            tiny.run(words, tmp_path / "cut", *more)
    assert checkpoints.load(tmp_path / "cut")[1]["step"] == 3
    tiny.run(words, tmp_path / "cut", *more, resume=True)
    tiny.same(tmp_path / "whole", tmp_path / "cut")


def test_killed_just_before_the_model_is_written(tmp_path, words, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "export", killed)
        with pytest.raises(KeyboardInterrupt):
            tiny.run(words, tmp_path, "steps=4")
    assert tiny.run(words, tmp_path, "steps=4", resume=True)["finished"]
    model, _, _ = models.open_model(tmp_path, tiny.build)
    assert int(model.steps) == 4


def test_a_folder_of_another_run_is_named(tmp_path, words):
    tiny.run(words, tmp_path, "steps=2")
    with pytest.raises(OutputError, match="already holds a run"):
        tiny.run(words, tmp_path, "steps=2")
    for resume in (False, True):
        with pytest.raises(OutputError, match=r"another configuration \(seed 0 -> 5\)"):
            tiny.run(words, tmp_path, "steps=2", "seed=5", resume=resume)
    again = tiny.run(words, tmp_path, "steps=2", "save_every=9", resume=True)
    assert again["finished"]
    with (
        files.locked_folder(tmp_path),
        pytest.raises(OutputError, match="another run is writing"),
    ):
        tiny.run(words, tmp_path, "steps=2", resume=True)
    (tmp_path / "config.json").unlink()
    with pytest.raises(OutputError, match="without its config"):
        tiny.run(words, tmp_path, "steps=2", resume=True)


def test_other_manifests_and_models_are_not_resumed(tmp_path, words, monkeypatch):
    with monkeypatch.context() as patch:
        tiny.stop_at(patch, 3)
        tiny.run(words, tmp_path / "r", resume=True)
    wide = lambda mapping, inputs, sizes: tiny.Tiny(inputs, sizes, width=17)  # noqa: E731
    with pytest.raises(CheckpointError, match=r"mismatch for conv.weight: .*\[16, 80, 5\]"):
        loop.train(tiny.config(words), tmp_path / "r", resume=True, build=wide, show_progress=False)
    texts = {"s-1": "a bee", "s-2": "sea as"}
    path = tiny.manifest(tmp_path / "train.jsonl", texts)
    for name in ("config.json",):
        kept = (tmp_path / "r" / name).read_text()
        old = words[0].removeprefix("data.train=")
        (tmp_path / "r" / name).write_text(kept.replace(old, str(path)))
    with pytest.raises(CheckpointError, match=r"train.jsonl: is not the manifest that"):
        tiny.run([f"data.train={path}", words[1]], tmp_path / "r", resume=True)


def test_a_damaged_model_is_written_again(tmp_path, words):
    end = tiny.run(words, tmp_path, "steps=4")
    model = tmp_path / "model.safetensors"
    raw = model.read_bytes()
    model.write_bytes(raw[:-9])
    with pytest.raises(CheckpointError, match=r"truncated or changed.*train --resume"):
        models.open_model(tmp_path, tiny.build)
    assert tiny.run(words, tmp_path, "steps=4", resume=True) == end
    assert model.read_bytes() == raw
    model.unlink()
    assert tiny.run(words, tmp_path, "steps=4", resume=True) == end
    assert model.read_bytes() == raw


def test_a_checkpoint_that_does_not_fit_is_reported_before_a_step(tmp_path, words, monkeypatch):
    more = ["validate_every=2", "save_every=1"]
    with monkeypatch.context() as patch:
        tiny.stop_at(patch, 3)
        tiny.run(words, tmp_path, *more)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    best = (tmp_path / "best.json").read_bytes()
    (tmp_path / "best.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"best\.json: does not name"):
        tiny.run(words, tmp_path, *more, resume=True)
    (tmp_path / "best.json").write_bytes(best)
    path = tmp_path / "step-000003" / "meta.json"
    meta = json.loads(path.read_text())
    for place in ({**meta["place"], "epoch": "x"}, {**meta["place"], "bach": 1}, None):
        path.write_text(json.dumps(meta | {"place": place}))
        with pytest.raises(CheckpointError, match="has no valid state of the run"):
            tiny.run(words, tmp_path, *more, resume=True)
    meta["place"]["best_loss"] = None  # it was not finite
    path.write_text(json.dumps(meta))
    load = checkpoints.load
    with monkeypatch.context() as patch:

        def without(*args):
            tensors, known = load(*args)
            return {n: t for n, t in tensors.items() if n != "average.conv.bias"}, known

        patch.setattr(checkpoints, "load", without)
        with pytest.raises(CheckpointError, match=r"no matching average\.conv\.bias"):
            tiny.run(words, tmp_path, *more, resume=True)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    assert tiny.run(words, tmp_path, *more, resume=True)["finished"]


def test_a_run_of_an_earlier_version_is_the_same_run(tmp_path, words):
    """Earlier versions wrote only the keys of a model's preset and of its configuration."""
    more = ["epochs=1", "model.every.width=16", "model.every.block.dropout=0.1"]
    config = tiny.config(words, *more)
    old = to_dict(config)
    keys = {"width": 16, "block": {"dropout": 0.1}}
    old["model"] = presets.merged({"preset": "tiny", "every": keys})
    assert old["model"] != to_dict(config)["model"]
    (tmp_path / "config.json").write_text(json.dumps({"config": old}))
    run_folder.write_config(config, tmp_path, resume=True)
    written = json.loads((tmp_path / "config.json").read_text())["config"]
    assert config_from_dict(written) == config_from_dict(old) == config
    with pytest.raises(OutputError, match=r"model\.levels\.0\.width 16 -> 17"):
        other = tiny.config(words, *more, "model.levels.0.width=17")
        run_folder.write_config(other, tmp_path, resume=True)


def test_differences_are_named_within_lists():
    old, new = {"levels": [{"width": 8}, {"width": 9}]}, {"levels": [{"width": 8}, {"width": 7}]}
    assert list(run_folder._differences(old, new)) == [("levels.1.width", 9, 7)]
