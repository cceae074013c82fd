"""A run that learns from another one: what it learns, that it resumes, and what cannot teach."""

import json
import shutil

import pytest
import tiny
import torch

from speechasym.errors import CheckpointError, ConfigError
from speechasym.training import dataset, distillation, loop, losses
from speechasym.training.models import open_model

LEVEL = "width: 16, units: 8, functions: [linear]"
SMALL = (
    f"model.levels=[{{{LEVEL}, events: hysteresis}}, {{{LEVEL}}}]",
    "model.heads.letters={level: 1, slots: 2}",
)
UNLABELLED = ("learning.rule=local", "learning.local=[predict]")
HEADS = ("heads.letters=0.5",)
NOISY = (
    "data.augment.speeds=0.9,1,1.1",
    "data.augment.time_masks=1",
    "data.augment.room_share=0.9",
)


def train(words, out, *more, **options):
    config = tiny.config(words, *SMALL, *more)
    return loop.train(config, out, show_progress=False, **options)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return tiny.corpus(tmp_path_factory.mktemp("corpus"), 8)


@pytest.fixture(scope="module")
def teacher(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "run"
    train(corpus, folder, "epochs=4", "learning_rate=0.02", *HEADS)
    return folder


def starts(*rows):
    """First frames of steps, those of padding far beyond."""
    longest = max(map(len, rows))
    far = torch.iinfo(torch.int64).max
    return torch.tensor([[*row, *[far] * (longest - len(row))] for row in rows])


def test_steps_meet_by_the_time_that_they_share():
    mine, theirs = starts([0, 4, 6], [0]), starts([0, 1, 6, 8], [0, 3])
    row, my_step, their_step, weight = distillation.pairs(mine, theirs, torch.tensor([10, 4]))
    found = list(zip(row.tolist(), my_step.tolist(), their_step.tolist(), strict=True))
    assert found == [
        (0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 2, 2), (0, 2, 3), (1, 0, 0), (1, 0, 1),
    ]  # fmt: skip
    torch.testing.assert_close(weight, torch.tensor([0.25, 0.75, 1, 0.5, 0.5, 0.75, 0.25]))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_divergence_is_that_of_equal_steps(temperature):
    torch.manual_seed(0)
    start, lengths = starts([0, 3, 6], [0, 3]), torch.tensor([8, 5])
    one, two = (torch.randn(2, 3, 1, 5).log_softmax(-1) for _ in range(2))
    mine, theirs = distillation.Steps(one, start), distillation.Steps(two, start)
    value = distillation.divergence(mine, theirs, lengths, temperature)
    p, q = (x.div(temperature).softmax(-1) for x in (two, one))
    each = temperature**2 * (p * (p / q).log()).sum((2, 3))
    torch.testing.assert_close(value, each[0].sum() + each[1, :2].sum())
    assert abs(float(distillation.divergence(mine, mine, lengths, temperature))) < 1e-5


def test_a_net_that_is_its_own_teacher_has_nothing_to_learn(corpus, teacher):
    config = tiny.config(corpus, *SMALL, *HEADS, f"teacher={teacher}")
    data = dataset.load(config.data, config.data.train, list(config.heads.used))
    known = distillation.open_teacher(config)
    assert known is not None and not any(p.requires_grad for p in known.model.parameters())
    batch = data.batch([0, 1, 2])
    totals = {head: int(counts.sum()) for head, (_, counts) in batch.targets.items()}
    options = batch, config, totals, 1.0, torch.device("cpu"), {}
    plain, *_ = losses.batch_loss(known.model, *options)
    loss, more, _ = losses.batch_loss(known.model, *options, known)
    assert abs(float(more["teacher"])) < 1e-5 and abs(float(loss - plain)) < 1e-5
    other = open_model(teacher)[0]
    with torch.no_grad():
        other.heads["phones"].weight.mul_(0)
    loss, more, _ = losses.batch_loss(other, *options, known)
    plain, *_ = losses.batch_loss(other, *options)
    assert float(more["teacher"]) > 1
    torch.testing.assert_close(loss - plain, more["teacher"])  # phones have a weight of 1


def test_a_student_comes_nearer_to_its_teacher(corpus, teacher, tmp_path):
    more = ("epochs=3", "learning_rate=0.02", "heads.letters=0.5", "seed=3")
    train(corpus, tmp_path / "taught", *more, f"teacher.run={teacher}")
    rows = [row for row in tiny.lines(tmp_path / "taught") if "loss" in row]
    assert rows[-1]["loss_teacher"] < rows[0]["loss_teacher"] / 2
    meta, its = (
        json.loads((run / "model.json").read_text()) for run in (tmp_path / "taught", teacher)
    )
    assert meta["teacher"] == its["sha256"]
    open_model(tmp_path / "taught")  # which needs no teacher


def test_it_resumes_with_the_same_teacher_only(corpus, teacher, tmp_path, monkeypatch):
    known = tmp_path / "teacher"
    shutil.copytree(teacher, known)
    more = (f"teacher.run={known}", "teacher.hears=clean", "epochs=2", *NOISY[:2])
    train(corpus, tmp_path / "whole", *more)
    with monkeypatch.context() as patch:
        tiny.stop_at(patch, 2)
        assert not train(corpus, tmp_path / "cut", *more)["finished"]
    shutil.copytree(tmp_path / "cut", tmp_path / "other")
    assert train(corpus, tmp_path / "cut", *more, resume=True)["finished"]
    tiny.same(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(known)
    train(corpus, known, "epochs=1")
    with pytest.raises(CheckpointError, match="not the teacher that the run was started with"):
        train(corpus, tmp_path / "other", *more, resume=True)


def test_a_teacher_may_hear_what_is_clean(corpus):
    config = tiny.config(corpus, *NOISY)
    bare = tiny.config(corpus, NOISY[0])
    clean = dataset.load(
        config.data, config.data.train, ["phones"], augment=config.data.augment, clean=True
    )
    plain = dataset.load(bare.data, bare.data.train, ["phones"], augment=bare.data.augment)
    batch, expected = clean.batch([0, 1, 5], 2), plain.batch([0, 1, 5], 2)
    torch.testing.assert_close(batch.clean, expected.features)
    assert batch.features.shape == batch.clean.shape and not torch.equal(
        batch.features, batch.clean
    )
    assert clean.batch([0]).clean is None and expected.clean is None


def test_what_cannot_teach(corpus, teacher, tmp_path):
    taught = f"teacher.run={teacher}"
    for match, more in (
        (
            "data.features.features: .* has logmel, and this run mfcc",
            ("data.features.features=mfcc",),
        ),
        ("data.features.rate: .* has 50.*, and this run 100", ("data.features.rate=100",)),
        (
            "letters.slots: .* has 2 in a step, and this run 1",
            ("model.heads.letters.slots=1", *HEADS),
        ),
        ("trained with mmi=0, and this run has mmi=1. Use mmi=0", ("mmi=1",)),
    ):
        with pytest.raises(ConfigError, match=match):
            train(corpus, tmp_path / "none", taught, *more)
    train(corpus, tmp_path / "phones", "epochs=1")
    with pytest.raises(ConfigError, match="has no head words; it has phones"):
        train(corpus, tmp_path / "none", f"teacher.run={tmp_path / 'phones'}", "heads.words=1")
    with pytest.raises(CheckpointError):
        train(corpus, tmp_path / "none", f"teacher.run={tmp_path / 'nothing'}")
    assert not (tmp_path / "none").exists()
    (tmp_path / "few").mkdir()
    few = tiny.corpus(tmp_path / "few", 4)
    tiny.manifest(tmp_path / "few" / "train.jsonl", {"s0-00": "sea", "s1-01": "sea sea"})
    with pytest.raises(ConfigError, match="has 4 phones, and the cuts 2, such as 'aa' in one of"):
        train(few, tmp_path / "none", taught)


def test_options_that_contradict_a_teacher(corpus):
    for match, more in (
        ("a run without heads has nothing", ("heads.phones=0", *UNLABELLED)),
        ("teacher.heads: 'words' is not a head in use", ("teacher.heads=[words]",)),
        ("cannot be combined with learning.rule=local", ("learning.rule=local",)),
        ("cannot be combined with learning.inter or", ("learning.inter=0.3",)),
        ("a custom model does not say when", ("model.kind=custom",)),
        ("temperature.*: must be > 0", ("teacher.temperature=0",)),
        ("teacher.weight.*: must be > 0", ("teacher.weight=-1",)),
        ("which workers compute", ("teacher.hears=clean", "data.features_on=device")),
    ):
        with pytest.raises(ConfigError, match=match):
            tiny.config(corpus, "teacher.run=run", *more)
