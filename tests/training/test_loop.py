"""The training loop: it learns, resumes exactly, and names what went wrong."""

import json
import math
import multiprocessing
import random
import signal
import time
from itertools import pairwise

import numpy as np
import pytest
import tiny
import torch

from speechasym.config import to_dict
from speechasym.errors import ConfigError, TrainingError
from speechasym.training import (
    checkpoints,
    dataset,
    loop,
    models,
    run_folder,
    validation,
)
from speechasym.training.config import config_from_dict

SPEEDS = ["data.augment.speeds=0.9,1,1.1", "data.augment.time_masks=1", "model.options.drop=0.2"]


def test_it_learns(tmp_path, words, capsys):
    more = ["epochs=12", "heads.letters=0.5", "heads.words=0.5", "learning_rate=0.02"]
    result = loop.train(tiny.config(words, *more), tmp_path, build=tiny.build)
    assert result["finished"] and result["reason"] == "finished" and result["epochs"] == 12
    assert result["best"] < 0.1 and result["dev"]["dev_error_letters"] < 0.6
    rows = tiny.lines(tmp_path)
    steps = [row for row in rows if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, result["steps"] + 1))
    assert len(rows) - len(steps) == 12
    last = steps[-1]
    parts = last["loss_phones"] + 0.5 * last["loss_letters"] + 0.5 * last["loss_words"]
    assert last["loss"] == pytest.approx(parts, abs=0.1) and last["loss"] > parts  # and `small`
    assert steps[-1]["loss"] < steps[0]["loss"] / 5
    assert "dev error phones" in capsys.readouterr().err

    model, config, inventories = models.open_model(tmp_path, tiny.build)
    assert config.epochs == 12 and float(model.fits) == 4
    data = dataset.load(
        config.data,
        config.data.dev,
        list(inventories),
        inventories=inventories,
        show_progress=False,
    )
    _, errors = validation.evaluate(model, data)
    assert errors["phones"] == pytest.approx(result["best"])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_seed_gives_the_same_run(tmp_path, words, precision):
    more = [*SPEEDS, f"precision={precision}"]
    for name in "ab":
        tiny.run(words, tmp_path / name, *more)
    tiny.same(tmp_path / "a", tmp_path / "b")
    other = tiny.run(words, tmp_path / "c", *more, "seed=1")
    assert tiny.lines(tmp_path / "c") != tiny.lines(tmp_path / "a") and other["finished"]


@pytest.mark.parametrize(("number", "stops"), [(signal.SIGTERM, (1, 4, 7)), (signal.SIGINT, (12,))])
def test_stopped_and_resumed_is_the_same_run(tmp_path, words, monkeypatch, number, stops):
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    tiny.run(words, tmp_path / "whole", *SPEEDS)
    for step in stops:  # of what is left
        with monkeypatch.context() as patch:
            tiny.stop_at(patch, step, number)
            result = tiny.run(words, tmp_path / "cut", *SPEEDS, resume=True)
        assert not result["finished"] and "--resume to continue" in result["reason"]
    assert result["steps"] == sum(stops)
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    assert handlers == before
    end = tiny.run(words, tmp_path / "cut", *SPEEDS, resume=True)
    assert end["finished"]
    tiny.same(tmp_path / "whole", tmp_path / "cut")
    again = tiny.run(words, tmp_path / "cut", *SPEEDS, resume=True)  # over: nothing happens
    assert again == end


def test_it_learns_beside_rivals(tmp_path, words):
    """The run keeps which phones follow which, and is read by it."""
    config = tiny.config(words, "epochs=12", "learning_rate=0.02", "mmi=1")
    result = loop.train(config, tmp_path, build=tiny.build)
    assert result["best"] < 0.1
    meta = json.loads((tmp_path / checkpoints.MODEL_META).read_text())
    follow = np.array(meta["follow"]["phones"])
    np.testing.assert_allclose(follow.sum(1), 1)
    data = dataset.load(config.data, config.data.train, ["phones"])
    np.testing.assert_array_equal(follow, data.follow["phones"])
    rows = [["", *data.reference("phones", n), ""] for n in range(len(data))]
    pairs = {pair for row in rows for pair in pairwise(row)}
    names = ["", *data.inventories["phones"]]
    known = [[(a, b) in pairs for b in names] for a in names]
    for row, seen in zip(follow, known, strict=True):
        assert row[np.array(seen)].min() > row[~np.array(seen)].max(initial=0)


@pytest.mark.parametrize("key", ["framewise", "mmi"])
def test_losses_of_phones_need_their_head(words, key):
    with pytest.raises(ConfigError, match=f"{key}.*: needs a head phones"):
        tiny.config(words, f"{key}=1", "heads.phones=0", "heads.letters=1")


def test_killed_and_resumed_is_the_same_run(tmp_path, words):
    more = [*SPEEDS, "epochs=4", "save_every=2"]
    whole = tiny.run(words, tmp_path / "whole", *more, "model.options.pause=0.001")
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    out, rng = tmp_path / "cut", random.Random(3)
    context = multiprocessing.get_context("forkserver")
    slow = [*more, "model.options.pause=0.001"]
    assert config["config"]["model"]["options"]["pause"] == 0.001
    for _ in range(2):
        begun = checkpoints.load(out)[1]["step"] if checkpoints.exists(out) else 0
        process = context.Process(target=tiny.run_to_be_killed, args=(words, out, slow))
        process.start()
        wanted, limit = begun + rng.randint(2, whole["steps"] // 3), time.monotonic() + 30
        while _newest(out) < wanted and process.is_alive() and time.monotonic() < limit:
            time.sleep(0.001)
        time.sleep(0.01 * rng.random())
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    tiny.run(words, out, *slow, resume=True)
    tiny.same(tmp_path / "whole", out)


def _newest(out):
    try:
        return int((out / "metrics.jsonl").read_bytes().count(b'"loss"'))
    except OSError:
        return 0


def test_a_cut_longer_than_a_batch_is_named(tmp_path, words):
    with pytest.raises(ConfigError, match=r"batch_seconds: 0.5 s is shorter than cut s"):
        tiny.run(words, tmp_path, "batch_seconds=0.5")


@pytest.mark.parametrize(
    ("trap", "why"),
    [
        ("output", r"the output of module middle \(Identity\) is not finite"),
        ("gradient", r"the gradient of conv\.bias is not finite"),
    ],
)
def test_what_is_not_finite_is_named(tmp_path, words, trap, why):
    more = ["save_every=2", f"model.options.trap={trap}", "model.options.at=5"]
    with pytest.raises(TrainingError, match=f"step 6: .*{why}; cuts s.*checkpoint in .* is intact"):
        tiny.run(words, tmp_path, *more)
    assert checkpoints.load(tmp_path)[1]["step"] == 4


def test_what_is_not_finite_is_never_saved(tmp_path, words, monkeypatch):
    with pytest.raises(TrainingError, match=r"step 2: .*heads.phones \(Linear\) is not finite"):
        tiny.run(words, tmp_path, "learning_rate=1e30", "warm_up=0", "save_every=1")
    tensors = checkpoints.load(tmp_path)[0]
    assert all(bool(t.isfinite().all()) for t in tensors.values())
    monkeypatch.setattr(
        run_folder, "moments", lambda *_: {"w.exp_avg": torch.tensor([0.0, math.inf])}
    )
    with pytest.raises(TrainingError, match=r"step 1: adamw.w.exp_avg is not finite; no checkp"):
        tiny.run(words, tmp_path / "b", "save_every=1")
    assert not checkpoints.exists(tmp_path / "b")


def test_cuts_with_too_many_labels(tmp_path, words, caplog):
    # 50 frames a second, phones of 0.1 s: of 4 phones and 2 pauses, a tenth of 30 frames is 3
    long = {"s-long": "bee sea"} | {f"s-{n}": "a" for n in range(8)}
    path = tiny.manifest(tmp_path / "train.jsonl", long)
    data = [f"data.train={path}", words[1]]
    result = tiny.run(data, tmp_path / "r", "model.options.skip=10", "data.dev=" + str(path))
    assert result["finished"] and result["left_out"] == {"phones": ["s-long"]}
    warnings = [r.getMessage() for r in caplog.records if "more phones than" in r.getMessage()]
    assert len(warnings) == 1 and warnings[0].startswith("cut s-long")
    with pytest.raises(TrainingError, match="cuts have more labels than steps, such as s"):
        tiny.run(words, tmp_path / "q", "model.options.skip=30")


def test_early_stop_keeps_the_best(tmp_path, words):
    more = ["epochs=50", "patience=2", "learning_rate=0.02", "validate_every=4", "save_every=1000"]
    result = tiny.run(words, tmp_path, *more)
    assert result["finished"] and result["reason"] == "no improvement in 2 validations"
    assert result["steps"] == result["best_step"] + 8
    rows = [row for row in tiny.lines(tmp_path) if "dev_error_phones" in row]
    assert min(row["dev_error_phones"] for row in rows) == result["best"]
    assert checkpoints.load_model(tmp_path)[1]["step"] == result["best_step"]


def test_a_run_by_minutes_ends_in_time(tmp_path, words):
    result = tiny.run(words, tmp_path, "minutes=0.01", "model.options.pause=0.01")
    assert result["finished"] and 0.6 <= result["seconds"] < 2
    rates = [row["learning_rate"] for row in tiny.lines(tmp_path) if "loss" in row]
    assert max(rates) > 0.0018 and rates[-1] < 0.2 * max(rates)


@pytest.mark.parametrize("preset", ["tiny", "recurrent"])
def test_framewise_training_runs_and_is_logged(tmp_path, words, preset):
    size = {"every": {"width": 12, "units": 8}} if preset == "tiny" else {"hidden": 8, "width": 8}
    more = {"framewise": 1.0, "epochs": 1, "model": {"preset": preset, **size}}
    config = config_from_dict(to_dict(tiny.config(words)) | more)
    loop.train(config, tmp_path / "r", show_progress=False)
    text = (tmp_path / "r" / "metrics.jsonl").read_text("utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(line["loss_frames"] > 0 for line in lines if "loss_frames" in line)
    assert any("loss_frames" in line for line in lines)
