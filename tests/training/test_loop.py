"""Training: it learns, goes on to the bit where it was cut, and says what went wrong."""

import errno
import itertools
import json
import math
import multiprocessing
import os
import random
import signal
import socket
import time

import pytest
import tiny
import torch
from torch import nn

from speechasym import files
from speechasym.errors import CheckpointError, ConfigError, OutputError, TrainingError
from speechasym.training import (
    checkpoints,
    environment,
    loop,
    models,
    optimiser,
    run_folder,
    validation,
)
from speechasym.training import config as configs
from speechasym.training import losses as losses_module

SPEEDS = ["data.augment.speeds=0.9,1,1.1", "data.augment.time_masks=1", "model.drop=0.2"]


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return tiny.corpus(tmp_path_factory.mktemp("corpus"))


def lines(out):
    """metrics.jsonl without what depends on the clock."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    clock = ("seconds", "audio_hours_per_hour")
    return [{k: v for k, v in row.items() if k not in clock} for row in rows]


def same(a, b):
    """Whether two runs ended with the same parameters, moments, averages and metrics."""
    one, two = checkpoints.load(a)[0], checkpoints.load(b)[0]
    assert sorted(one) == sorted(two)
    assert [name for name in one if not torch.equal(one[name], two[name])] == []
    assert lines(a) == lines(b)
    assert (a / "model.safetensors").read_bytes() == (b / "model.safetensors").read_bytes()


def stop_at(monkeypatch, step, number=signal.SIGTERM):
    """Let the process be told to stop while it computes a step."""
    loss, steps = loop._loss, itertools.count(1)

    def told(*args):
        if next(steps) == step:
            os.kill(os.getpid(), number)
        return loss(*args)

    monkeypatch.setattr(loop, "_loss", told)


def test_it_learns(tmp_path, words, capsys):
    more = ["epochs=12", "heads.letters=0.5", "heads.words=0.5", "learning_rate=0.02"]
    found = loop.train(tiny.config(words, *more), tmp_path, build=tiny.build)
    assert found["finished"] and found["reason"] == "finished" and found["epochs"] == 12
    assert found["best"] < 0.1 and found["dev"]["dev_error_letters"] < 0.6
    rows = lines(tmp_path)
    steps = [row for row in rows if "loss" in row]
    assert [row["step"] for row in steps] == list(range(1, found["steps"] + 1))
    assert len(rows) - len(steps) == 12
    last = steps[-1]
    parts = last["loss_phones"] + 0.5 * last["loss_letters"] + 0.5 * last["loss_words"]
    assert last["loss"] == pytest.approx(parts, abs=0.1) and last["loss"] > parts  # and `small`
    assert steps[-1]["loss"] < steps[0]["loss"] / 5
    assert "dev error phones" in capsys.readouterr().err

    model, config, inventories = models.open_model(tmp_path, tiny.build)
    assert config.epochs == 12 and float(model.fits) == 4
    data = loop.dataset.load(
        config.data,
        config.data.dev,
        list(inventories),
        inventories=inventories,
        show_progress=False,
    )
    again = validation.evaluate(model, data)
    assert again.errors["phones"] == pytest.approx(found["best"])
    assert set(again.hypotheses["phones"]) == set(data.ids)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_seed_gives_the_same_run(tmp_path, words, precision):
    more = [*SPEEDS, f"precision={precision}"]
    for name in "ab":
        tiny.run(words, tmp_path / name, *more)
    same(tmp_path / "a", tmp_path / "b")
    other = tiny.run(words, tmp_path / "c", *more, "seed=1")
    assert lines(tmp_path / "c") != lines(tmp_path / "a") and other["finished"]


@pytest.mark.parametrize(("number", "stops"), [(signal.SIGTERM, (1, 4, 7)), (signal.SIGINT, (12,))])
def test_stopped_and_gone_on_with_is_the_same_run(tmp_path, words, monkeypatch, number, stops):
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    tiny.run(words, tmp_path / "whole", *SPEEDS)
    for step in stops:  # of what is left
        with monkeypatch.context() as patch:
            stop_at(patch, step, number)
            found = tiny.run(words, tmp_path / "cut", *SPEEDS, resume=True)
        assert not found["finished"] and "--resume goes on" in found["reason"]
    assert found["steps"] == sum(stops)
    handlers = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    assert handlers == before
    end = tiny.run(words, tmp_path / "cut", *SPEEDS, resume=True)
    assert end["finished"]
    same(tmp_path / "whole", tmp_path / "cut")
    again = tiny.run(words, tmp_path / "cut", *SPEEDS, resume=True)  # over: nothing happens
    assert again == end


def test_killed_and_gone_on_with_is_the_same_run(tmp_path, words):
    more = [*SPEEDS, "epochs=4", "save_every=2"]
    whole = tiny.run(words, tmp_path / "whole", *more, "model.pause=0.001")
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    out, rng = tmp_path / "cut", random.Random(3)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torchaudio", "lhotse", "librosa", "pytest"])
    slow = [*more, "model.pause=0.001"]
    assert config["config"]["model"]["pause"] == 0.001
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
    same(tmp_path / "whole", out)


def _newest(out):
    try:
        return int((out / "metrics.jsonl").read_bytes().count(b'"loss"'))
    except OSError:
        return 0


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
    same(tmp_path / "whole", tmp_path / "cut")


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


def test_a_cut_longer_than_a_batch_is_named(tmp_path, words):
    with pytest.raises(ConfigError, match=r"batch_seconds: 0.5 s are less than cut s"):
        tiny.run(words, tmp_path, "batch_seconds=0.5")


def test_a_folder_of_another_run_is_named(tmp_path, words):
    tiny.run(words, tmp_path, "steps=2")
    with pytest.raises(OutputError, match="holds a run already"):
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


def test_other_manifests_and_models_are_not_gone_on_with(tmp_path, words, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        tiny.run(words, tmp_path / "r", resume=True)
    wide = lambda mapping, inputs, sizes: tiny.Tiny(inputs, sizes, width=17)  # noqa: E731
    with pytest.raises(CheckpointError, match=r"conv.weight is \[16, 80, 5\], where"):
        loop.train(tiny.config(words), tmp_path / "r", resume=True, build=wide, show_progress=False)
    texts = {"s-1": "a bee", "s-2": "sea as"}
    path = tiny.manifest(tmp_path / "train.jsonl", texts)
    for name in ("config.json",):
        kept = (tmp_path / "r" / name).read_text()
        old = words[0].removeprefix("data.train=")
        (tmp_path / "r" / name).write_text(kept.replace(old, str(path)))
    with pytest.raises(CheckpointError, match=r"train.jsonl: is another manifest"):
        tiny.run([f"data.train={path}", words[1]], tmp_path / "r", resume=True)


@pytest.mark.parametrize(
    ("trap", "why"),
    [
        ("output", r"the output of module middle \(Identity\) is not finite"),
        ("gradient", r"the gradient of conv\.bias is not finite"),
    ],
)
def test_what_is_not_finite_is_named(tmp_path, words, trap, why):
    more = ["save_every=2", f"model.trap={trap}", "model.at=5"]
    with pytest.raises(TrainingError, match=f"step 6: .*{why}; cuts s.*checkpoint in .* is whole"):
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
    found = tiny.run(data, tmp_path / "r", "model.skip=10", "data.dev=" + str(path))
    assert found["finished"] and found["left_out"] == {"phones": ["s-long"]}
    told = [r.getMessage() for r in caplog.records if "more phones than" in r.getMessage()]
    assert len(told) == 1 and told[0].startswith("cut s-long")
    with pytest.raises(TrainingError, match="cuts have more labels than frames, such as s"):
        tiny.run(words, tmp_path / "q", "model.skip=30")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda heads: {}, "it has no head phones; it has none"),
        (lambda heads: {"phones": (heads["phones"][0][..., :3], heads["phones"][1])}, "frames, 5"),
        (lambda heads: {"phones": (heads["phones"][0], heads["phones"][1] + 99)}, "and says"),
    ],
)
def test_a_model_that_does_not_fit_is_named(tmp_path, words, change, message):
    class Wrong(tiny.Tiny):
        def forward(self, features, lengths):
            found = super().forward(features, lengths)
            return tiny.Output(change(found.heads), found.losses)

    def build(mapping, inputs, sizes):
        return Wrong(inputs, sizes)

    with pytest.raises(ConfigError, match=message):
        loop.train(tiny.config(words), tmp_path, build=build, show_progress=False)


def test_early_stop_keeps_the_best(tmp_path, words):
    more = ["epochs=50", "patience=2", "learning_rate=0.02", "validate_every=4", "save_every=1000"]
    found = tiny.run(words, tmp_path, *more)
    assert found["finished"] and found["reason"] == "no improvement in 2 validations"
    assert found["steps"] == found["best_step"] + 8
    rows = [row for row in lines(tmp_path) if "dev_error_phones" in row]
    assert min(row["dev_error_phones"] for row in rows) == found["best"]
    assert checkpoints.load_model(tmp_path)[1]["step"] == found["best_step"]


def test_a_run_by_minutes_ends_in_time(tmp_path, words):
    found = tiny.run(words, tmp_path, "minutes=0.01", "model.pause=0.01")
    assert found["finished"] and 0.6 <= found["seconds"] < 2
    rates = [row["learning_rate"] for row in lines(tmp_path) if "loss" in row]
    assert max(rates) > 0.0018 and rates[-1] < 0.2 * max(rates)


def test_the_schedule():
    factor = optimiser.rate_factor
    assert [factor(s, 0.2, "cosine") for s in (0, 0.1, 0.2)] == [0, 0.5, 1]
    assert factor(0.6, 0.2, "cosine") == pytest.approx(0.5)
    assert factor(0.6, 0.2, "linear") == pytest.approx(0.5)
    assert factor(0.4, 0.2, "cosine") == pytest.approx((1 + math.cos(math.pi / 4)) / 2)
    assert factor(1, 0.2, "cosine") == factor(1.2, 0, "linear") == 0
    assert factor(0.9, 0.2, "constant") == 1


def test_one_axis_does_not_decay():
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    groups = optimiser.adamw(model, 0.1, 0.3).param_groups
    assert [(g["weight_decay"], len(g["params"])) for g in groups] == [(0.3, 1), (0, 3)]


def test_the_average_of_parameters():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 0.0)
    average, want = optimiser.Average(model, 0.5), 0.0
    for step in range(1, 30):
        nn.init.constant_(model.weight, float(step))
        average.update(model, step)
        decay = min(0.5, step / (step + 10))
        want = decay * want + (1 - decay) * step
    with average.inside(model):
        assert model.weight.item() == pytest.approx(want, rel=1e-6)
    assert model.weight.item() == 29


def in_two_processes(target, *arguments):
    """Run target(rank, 2, port, *arguments) for both ranks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    team = [context.Process(target=target, args=(r, 2, port, *arguments)) for r in range(2)]
    for process in team:
        process.start()
    for process in team:
        process.join(60)
    assert [process.exitcode for process in team] == [0, 0]


def test_framewise_loss_against_a_dumb_loop():
    torch.manual_seed(0)
    scores = torch.randn(2, 5, 4, requires_grad=True)
    starts = torch.tensor([[0, 3, 6, 9, 12], [0, 3, 6, 6, 6]])
    ends = torch.tensor([[3, 6, 9, 12, 14], [3, 6, 8, 8, 8]])
    lengths = torch.tensor([5, 3])
    frames = torch.randint(0, 4, (2, 14))
    frames[0, 4] = 0
    found = losses_module.framewise(scores.log_softmax(-1), (starts, ends), lengths, frames)
    losses = []
    for row in range(2):
        for step in range(int(lengths[row])):
            label = int(frames[row, (starts[row, step] + ends[row, step]) // 2])
            if label:
                shares = scores[row, step, 1:].double().softmax(-1)  # the blank left aside
                spread = -shares.log().mean()  # over all symbols
                losses.append(0.9 * -shares[label - 1].log() + 0.1 * spread)
    assert 3 < len(losses) < 8
    want = torch.stack(losses).mean().detach()
    torch.testing.assert_close(found.detach().double(), want, atol=1e-6, rtol=1e-6)
    none = losses_module.framewise(scores.log_softmax(-1), (starts, ends), lengths, frames * 0)
    assert float(none.detach()) == 0


@pytest.mark.parametrize("preset", ["tiny", "recurrent"])
def test_framewise_training_runs_and_is_told(tmp_path, words, preset):
    size = {"every": {"width": 12, "units": 8}} if preset == "tiny" else {"hidden": 8, "width": 8}
    more = {"framewise": 1.0, "epochs": 1, "model": {"preset": preset, **size}}
    config = configs.config_from_dict(configs.config_to_dict(tiny.config(words)) | more)
    loop.train(config, tmp_path / "r", show_progress=False)
    text = (tmp_path / "r" / "metrics.jsonl").read_text("utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(line["loss_frames"] > 0 for line in lines if "loss_frames" in line)
    assert any("loss_frames" in line for line in lines)


def test_a_process_may_have_no_share_of_a_batch(tmp_path, words):
    in_two_processes(tiny.levels_in_team, words, tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert sum('"loss"' in line for line in lines) > 12  # batches of one or two cuts
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_two_processes_are_as_one(tmp_path, words):
    more = ["epochs=2", "model.drop=0"]
    one = tiny.run(words, tmp_path / "one", *more)
    in_two_processes(tiny.run_in_team, words, tmp_path / "two", more)
    first, second = (torch.load(tmp_path / f"two-{rank}.pt") for rank in range(2))
    assert first[:2] == second[:2] and first[0] == one["steps"]
    assert all(torch.equal(first[2][name], second[2][name]) for name in first[2])
    alone = checkpoints.load(tmp_path / "one")[0]
    for name, value in first[2].items():
        if name != "steps":
            torch.testing.assert_close(value, alone[f"model.{name}"], rtol=1e-3, atol=2e-5)
    for a, b in zip(lines(tmp_path / "one"), lines(tmp_path / "two"), strict=True):
        assert a.get("loss", 0) == pytest.approx(b.get("loss", 0), rel=1e-3)


def test_a_device_that_is_none():
    with pytest.raises(ConfigError, match="'tpu9' is none"):
        environment.select_device("tpu9")


def test_a_spoilt_model_is_made_again(tmp_path, words):
    end = tiny.run(words, tmp_path, "steps=4")
    model = tmp_path / "model.safetensors"
    raw = model.read_bytes()
    model.write_bytes(raw[:-9])
    with pytest.raises(CheckpointError, match=r"cut or changed.*train --resume"):
        models.open_model(tmp_path, tiny.build)
    assert tiny.run(words, tmp_path, "steps=4", resume=True) == end
    assert model.read_bytes() == raw
    model.unlink()
    assert tiny.run(words, tmp_path, "steps=4", resume=True) == end
    assert model.read_bytes() == raw


def test_a_model_of_another_version_is_named(tmp_path, words):
    tiny.run(words, tmp_path, "steps=2")
    wide = lambda mapping, inputs, sizes: tiny.Tiny(inputs, sizes, width=17)  # noqa: E731
    with pytest.raises(CheckpointError, match=r"model\.json: is of another version: conv\.weight"):
        models.open_model(tmp_path, wide)
    meta = json.loads((tmp_path / "model.json").read_text())
    meta["config"]["klip"] = meta["config"].pop("clip")
    for content, what in ((meta, "klip: unknown key"), (meta | {"config": []}, "mapping")):
        (tmp_path / "model.json").write_text(json.dumps(content))
        with pytest.raises(CheckpointError, match=rf"of another version: .*{what}.* made it"):
            models.open_model(tmp_path, tiny.build)
    del meta["inventories"]
    meta["config"]["clip"] = meta["config"].pop("klip")
    (tmp_path / "model.json").write_text(json.dumps(meta))
    with pytest.raises(CheckpointError, match="it lacks 'inventories'"):
        models.open_model(tmp_path, tiny.build)


def test_a_checkpoint_that_does_not_fit_is_known_before_a_step(tmp_path, words, monkeypatch):
    more = ["validate_every=2", "save_every=1"]
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        tiny.run(words, tmp_path, *more)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    best = (tmp_path / "best.json").read_bytes()
    (tmp_path / "best.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"best\.json: does not say"):
        tiny.run(words, tmp_path, *more, resume=True)
    (tmp_path / "best.json").write_bytes(best)
    path = tmp_path / "step-000003" / "meta.json"
    meta = json.loads(path.read_text())
    for place in ({**meta["place"], "epoch": "x"}, {**meta["place"], "bach": 1}, None):
        path.write_text(json.dumps(meta | {"place": place}))
        with pytest.raises(CheckpointError, match="does not say where the run was"):
            tiny.run(words, tmp_path, *more, resume=True)
    meta["place"]["best_loss"] = None  # it was not finite
    path.write_text(json.dumps(meta))
    load = checkpoints.load
    with monkeypatch.context() as patch:

        def without(*args):
            tensors, known = load(*args)
            return {n: t for n, t in tensors.items() if n != "average.conv.bias"}, known

        patch.setattr(checkpoints, "load", without)
        with pytest.raises(CheckpointError, match=r"no fitting average\.conv\.bias"):
            tiny.run(words, tmp_path, *more, resume=True)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    assert tiny.run(words, tmp_path, *more, resume=True)["finished"]


def test_differences_are_named_within_lists():
    old, new = {"levels": [{"width": 8}, {"width": 9}]}, {"levels": [{"width": 8}, {"width": 7}]}
    assert list(run_folder._differences(old, new)) == [("levels.1.width", 9, 7)]


def test_a_fault_of_the_model_is_told_before_features(tmp_path, words, monkeypatch):
    monkeypatch.setattr(loop.dataset, "load", None)
    for word, message in (
        ("model.every.units=1", r"^model\.levels\.0\.units: one unit"),
        ("model.every.law=zipf", r"^model: law: 'zipf' is unknown"),
        ("model.heads.phones.level=9", r"^model: heads\.phones\.level: 9"),
    ):
        with pytest.raises(ConfigError, match=message):
            loop.train(tiny.config(words, word), tmp_path / "r", show_progress=False)


def test_too_little_memory_is_named(tmp_path, words, monkeypatch):
    def large(*_):
        return torch.empty(2**60)

    monkeypatch.setattr(tiny.Tiny, "forward", large)
    with pytest.raises(ConfigError, match=r"batch_seconds: batches of 3 s need more memory"):
        tiny.run(words, tmp_path / "a")
    with pytest.raises(ConfigError, match="model: memory is too small"):
        loop.train(tiny.config(words), tmp_path / "b", build=large, show_progress=False)
