"""Features computed where the model trains: the same batches, and the same training."""

import numpy as np
import pytest
import tiny
import torch

from speechasym.errors import ConfigError, TrainingError
from speechasym.training import dataset, loop, on_device, streaming
from speechasym.training.on_device import DeviceBatches

COMPACT = ["data.features.features=asymmetry", "data.features.compact=true"]
COMPACT += ["data.features.normalise=utterance", "data.features.channels=24"]
VARIED = ["data.augment.speeds=0.9,1,1.1", "data.augment.time_masks=2", "data.augment.gain=0.2"]
VARIED += ["data.augment.column_masks=1", "data.augment.shift=0.1", "data.augment.jitter=0.1"]
DEVICE = ["data.features_on=device"]


def both(words, *more, **options):
    """The same data, whose batches carry features and samples; and what computes the latter."""
    config = tiny.config(words, *more).data
    kinds = [
        dataset.load(config, config.train, ["phones"], show_progress=False, as_samples=s, **options)
        for s in (False, True)
    ]
    return *kinds, DeviceBatches("cpu", config)


def equal(got, want, most=4e-3):  # half precision: a rounding is up to 2e-3 at 4
    assert got.ids == want.ids and got.samples is None
    assert torch.equal(got.lengths, want.lengths)
    for head, (labels, counts) in want.targets.items():
        assert torch.equal(got.targets[head][0], labels)
        assert torch.equal(got.targets[head][1], counts)
    if want.frame_labels is not None:
        assert torch.equal(got.frame_labels, want.frame_labels)
    torch.testing.assert_close(got.features, want.features, atol=most, rtol=2e-3)


@pytest.mark.parametrize("features", [COMPACT, ["data.features.features=mfcc"]])
def test_batches_are_the_same_either_way(few_words, tmp_path, features):
    rng = np.random.default_rng(0)
    for name in "ab":
        tiny.tone(tmp_path / f"{name}.wav", 0.1 * rng.standard_normal(32000))
    config = tiny.config(few_words, *VARIED, f"data.augment.noise={tmp_path}").data
    ready, raw, device = both(few_words, *features, augment=config.augment, seed=3, timed=True)
    for epoch in (None, 0, 1):
        carried = raw.batch([4, 1, 7], epoch)
        assert carried.features.shape == (3, 0, raw.columns) and carried.samples is not None
        equal(device.bring(carried), ready.batch([4, 1, 7], epoch))
    alone = device.bring(raw.batch([1], 1)).features[0]
    beside = device.bring(raw.batch([4, 1, 7], 1)).features[1][: len(alone)]
    torch.testing.assert_close(beside, alone, atol=4e-3, rtol=2e-3)


def test_batches_of_cuts_that_cannot_be_read(tmp_path):
    words = tiny.corpus(tmp_path, 3)
    _, raw, device = both(words, "data.unreadable=skip")
    for path in (tmp_path / "audio").glob("*.wav"):
        path.unlink()
    skipped = {}
    batch = raw.batch([0, 1], 0, skipped)
    assert batch.samples is None and not batch.ids and len(skipped) == 2
    steps = list(streaming.steps(raw, [[0, 1], [2]], 0, device=device))
    assert [step.batch for step in steps] == [None, None]


def test_workers_carry_samples(few_words):
    _, raw, device = both(few_words, *COMPACT)
    groups = [[0, 5], [3], [2, 4, 7]]
    here = list(streaming.steps(raw, groups, 0, device=device))
    there = list(streaming.steps(raw, groups, 0, workers=1, device=device))
    for a, b in zip(here, there, strict=True):
        assert torch.equal(a.batch.features, b.batch.features) and a.waited > 0


def test_training_is_the_same_either_way(tmp_path, few_words):
    more = [*COMPACT, *VARIED, "steps=2", "validate_every=2", "model.every.width=16",
            "monitor=false"]  # fmt: skip
    runs = {}
    for where in ("workers", "device"):
        options = [*more, f"data.features_on={where}"]
        loop.train(tiny.config(few_words, *options), tmp_path / where, show_progress=False)
        runs[where] = tiny.lines(tmp_path / where)
    assert len(runs["device"]) == 3
    for a, b in zip(runs["workers"], runs["device"], strict=True):
        assert a.keys() == b.keys()
        for key, value in a.items():
            assert b[key] == pytest.approx(value, rel=2e-2, abs=1e-3), key


def test_a_run_with_features_on_the_device_resumes_exactly(tmp_path, few_words):
    more = [*VARIED, *DEVICE, "epochs=2"]
    tiny.run(few_words, tmp_path / "whole", *more)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.environment, "stop_signals", StopsAt(3))
        assert not tiny.run(few_words, tmp_path / "cut", *more)["finished"]
    tiny.run(few_words, tmp_path / "cut", *more, resume=True)
    tiny.same(tmp_path / "whole", tmp_path / "cut")


class StopsAt:
    """In place of `stop_signals`: a stop is asked for at a step."""

    def __init__(self, step):
        self.left = step

    def __call__(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __bool__(self):  # read once a step
        self.left -= 1
        return self.left <= 0


@pytest.fixture
def deferred(monkeypatch):
    """Numbers are read a step later, as on CUDA."""
    monkeypatch.setattr(DeviceBatches, "defers", property(lambda _: True))


def test_reading_later_changes_no_step(tmp_path, few_words, monkeypatch):
    more = [*VARIED, "epochs=2", "validate_every=3", "save_every=2"]
    tiny.run(few_words, tmp_path / "now", *more)
    monkeypatch.setattr(DeviceBatches, "defers", property(lambda _: True))
    tiny.run(few_words, tmp_path / "later", *more)
    now, later = (tiny.lines(tmp_path / name) for name in ("now", "later"))
    assert [row["step"] for row in later] == [row["step"] for row in now]
    for a, b in zip(now, later, strict=True):  # AdamW in one kernel rounds otherwise
        assert a.pop("widths", []) == b.pop("widths", [])
        assert b == pytest.approx(a, rel=1e-3, abs=1e-4)


def test_stopped_and_resumed_while_reading_later(tmp_path, few_words, deferred):
    tiny.run(few_words, tmp_path / "whole", *VARIED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.environment, "stop_signals", StopsAt(3))
        assert not tiny.run(few_words, tmp_path / "cut", *VARIED)["finished"]
    tiny.run(few_words, tmp_path / "cut", *VARIED, resume=True)
    tiny.same(tmp_path / "whole", tmp_path / "cut")


def test_what_is_not_finite_is_found_a_step_later(tmp_path, few_words, deferred):
    kept = []

    def build(*args):
        kept.append(tiny.build(*args))
        return kept[0]

    options = ["model.options.trap=gradient", "model.options.at=3", "save_every=2"]
    with pytest.raises(TrainingError, match=r"step 4: .*gradient of conv\.bias"):
        loop.train(tiny.config(few_words, *options), tmp_path, build=build, show_progress=False)
    assert all(bool(p.isfinite().all()) for p in kept[0].parameters())


def test_where_features_are_computed(few_words):
    cpu, cuda = torch.device("cpu"), torch.device("cuda")

    def where(*more):
        config = tiny.config(few_words, *more).data
        return [on_device.computes_features(config, device) for device in (cpu, cuda)]

    assert where() == [False, True]
    assert where(*DEVICE) == [True, True]
    assert where("data.features_on=workers") == [False, False]
    splice = ["data.augment.splice=0.5"]
    full = ["data.features.features=asymmetry", "data.features.compact=false"]
    for more, why in (
        (["data.cache=/somewhere"], "stores"),
        (splice, "joins"),
        (full, "not compact"),
    ):
        assert where(*more) == [False, False]
        with pytest.raises(ConfigError, match=f"features_on: cannot be device: .*{why}"):
            where(*more, *DEVICE)


@pytest.mark.gpu
def test_training_on_cuda(tmp_path, few_words):
    more = [*COMPACT, *VARIED, "steps=4", "validate_every=2", "model.every.width=16"]
    more += ["precision=float32"]
    for device, where in (("cpu", "workers"), ("cuda", "auto")):
        options = [*more, f"device={device}", f"data.features_on={where}", "data.workers=1"]
        loop.train(tiny.config(few_words, *options), tmp_path / device, show_progress=False)
    for a, b in zip(tiny.lines(tmp_path / "cpu"), tiny.lines(tmp_path / "cuda"), strict=True):
        if "loss" in a:
            assert b["loss"] == pytest.approx(a["loss"], rel=5e-2)
