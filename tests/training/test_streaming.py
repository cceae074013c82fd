"""Batches by torch's data loader: the same with workers, resumed, and what stops them."""

import os
import signal

import numpy as np
import pytest
import tiny
import torch
from helpers import tone

from speechasym.errors import AudioError, OutputError
from speechasym.training import batches, dataset, streaming
from speechasym.training.augment_config import AugmentConfig
from speechasym.training.distributed import ProcessGroup

AUGMENT = AugmentConfig(speeds=(0.9, 1.0, 1.1), time_masks=1, splice=0.5)


def load(words, *more, **options):
    config = tiny.config(words, *more).data
    return dataset.load(config, config.train, ["phones"], show_progress=False, **options)


def groups(data, first=0):
    return batches.epoch_batches(data.seconds.tolist(), 3, 0, 2, first)


def test_workers_change_nothing_and_a_rest_is_the_same(words):
    data = load(words, augment=AUGMENT, timed=True)
    want = list(streaming.steps(data, groups(data), 2))
    assert sorted(n for step in want for n in step.numbers) == list(range(len(data)))
    for first, workers in ((0, 2), (3, 1)):
        got = list(streaming.steps(data, groups(data, first), 2, workers=workers))
        for a, b in zip(want[first:], got, strict=True):
            assert a.numbers == b.numbers and a.labels == b.labels and a.batch.ids == b.batch.ids
            assert torch.equal(a.batch.features, b.batch.features)
            assert torch.equal(a.batch.frame_labels, b.batch.frame_labels)


def test_processes_share_each_batch(words):
    data = load(words)
    shares = [
        list(streaming.steps(data, groups(data), 2, group=ProcessGroup(rank, 2)))
        for rank in range(2)
    ]
    for a, b in zip(*shares, strict=True):
        assert a.numbers == b.numbers and a.labels == b.labels
        ids = [*a.batch.ids, *(b.batch.ids if b.batch else [])]
        assert sorted(ids) == sorted(data.ids[n] for n in a.numbers)


def test_a_run_with_workers_stopped_and_resumed_is_the_same(tmp_path, words, monkeypatch):
    more = ["data.augment.speeds=0.9,1,1.1", "data.augment.time_masks=1", "epochs=2"]
    tiny.run(words, tmp_path / "whole", *more)
    with monkeypatch.context() as patch:
        tiny.stop_at(patch, 5)
        result = tiny.run(words, tmp_path / "cut", *more, "data.workers=1", resume=True)
    assert result["steps"] == 5 and not result["finished"]
    tiny.run(words, tmp_path / "cut", *more, "data.workers=2", resume=True)
    tiny.same(tmp_path / "whole", tmp_path / "cut")


@pytest.fixture
def changing(tmp_path):
    """A corpus of its own: manifest and the audio of cut s-3."""
    texts = {f"s-{n}": "a bee sea as" for n in range(6)}
    path = tiny.manifest(tmp_path / "m.jsonl", texts)
    return [f"data.train={path}", f"data.dev={path}"], tmp_path / "audio" / "s-3.wav"


@pytest.mark.parametrize("workers", [0, 1])
def test_a_recording_that_vanishes_is_named_or_skipped(changing, workers):
    words, path = changing
    stops, skips = (load(words, f"data.unreadable={choice}") for choice in ("stop", "skip"))
    path.unlink()
    with pytest.raises(AudioError, match=r"cut s-3: .*s-3\.wav does not exist"):
        list(streaming.steps(stops, [[0, 1], [2, 3]], 0, workers=workers))
    *_, step, last = streaming.steps(skips, [[0, 1], [2, 3], [3]], 0, workers=workers)
    assert step.batch.ids == ["s-2"] and last.batch is None
    assert "s-3.wav does not exist" in step.skipped["s-3"]


def test_a_recording_that_changes_is_named(changing):
    words, path = changing
    data = load(words)
    tone(path, np.random.default_rng(0).standard_normal(9600) * 0.1)
    with pytest.raises(AudioError, match="cut s-3: its recording has changed since the run"):
        data.batch([3])


def test_missing_recordings_are_found_at_once(changing, caplog):
    words, path = changing
    path.unlink()
    with pytest.raises(AudioError, match=r"m\.jsonl: cut s-3: .*s-3\.wav does not exist"):
        load(words)
    data = load(words, "data.unreadable=skip")
    assert "m.jsonl: 1 of its recordings are missing, and left out" in caplog.text
    assert sorted(n for batch in streaming.in_order(data, 9) for n in batch.ids) == [
        f"s-{n}" for n in (0, 1, 2, 4, 5)
    ]
    for other in path.parent.iterdir():
        other.unlink()
    with pytest.raises(AudioError, match="none of its recordings can be read"):
        load(words, "data.unreadable=skip")


@pytest.mark.parametrize("stored", [False, True])
def test_a_run_that_stopped_at_a_recording_resumes_without_it(changing, tmp_path, stored):
    words, path = changing
    more = ["epochs=4", "save_every=1", f"data.dev={words[0].split('=')[1]}"]
    more += [f"data.cache={tmp_path / 'store'}"] * stored
    with pytest.MonkeyPatch.context() as patch:
        tiny.stop_at(patch, 3)
        assert tiny.run(words, tmp_path / "run", *more)["steps"] == 3
    path.unlink()
    with pytest.raises(AudioError, match="cut s-3"):
        tiny.run(words, tmp_path / "run", *more, resume=True)
    more.append("data.unreadable=skip")
    result = tiny.run(words, tmp_path / "run", *more, resume=True)
    assert result["finished"] and result["left_out"]["unreadable"] == ["s-3"]


def test_a_run_leaves_out_what_vanishes(changing, tmp_path, monkeypatch):
    words, path = changing
    step = streaming._Steps.__getitem__

    def vanishing(self, key):
        if key[0] == 1:
            path.unlink(missing_ok=True)
        return step(self, key)

    monkeypatch.setattr(streaming._Steps, "__getitem__", vanishing)
    result = tiny.run(words, tmp_path / "run", "epochs=3", "data.unreadable=skip")
    assert result["finished"] and result["left_out"]["unreadable"] == ["s-3"]


def _killed(self, key):
    if key[1] == [1]:
        os.kill(os.getpid(), signal.SIGKILL)
    return streaming.Step(key[1], {}, None, {})


def test_a_worker_that_the_system_ends_is_reported(words, monkeypatch):
    monkeypatch.setattr(streaming, "_Steps", _Dying)
    with pytest.raises(OutputError, match="the system ended a process that computes features"):
        list(streaming.steps(load(words), [[0], [1], [2]], 0, workers=1))


class _Dying(streaming._Steps):
    __getitem__ = _killed
