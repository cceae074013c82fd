"""Batches: every cut once, the same by seed, resumed in mid-epoch."""

import contextlib
import json
import math

import pytest
import tiny

from speechasym.errors import ConfigError
from speechasym.training import batches, dataset
from speechasym.training.batches import resume, sampler


def names(batches):
    return [[cut.id for cut in batch] for batch in batches]


def sample(cuts, **options):
    return sampler(cuts, **{"max_seconds": 4, "seed": 1, "buckets": 3} | options)


@pytest.mark.parametrize("buckets", [1, 3, 50])
def test_an_epoch_holds_every_cut_once_in_bounded_batches(cuts, buckets):
    batches = list(sample(cuts, buckets=buckets))
    assert sorted(name for batch in names(batches) for name in batch) == sorted(cuts.ids)
    for batch in batches:
        *before, _ = [cut.duration for cut in batch]
        assert len(batch) * max(before, default=0) <= 4 + 1e-6


def test_same_seed_same_batches(cuts):
    assert names(sample(cuts)) == names(sample(cuts))
    assert names(sample(cuts)) != names(sample(cuts, seed=2))
    epochs = sample(cuts)
    first = names(epochs)
    epochs.set_epoch(1)
    assert names(epochs) != first


@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("taken", [1, 3])
def test_a_resumed_sampler_yields_the_same_rest(cuts, epoch, taken):
    whole = sample(cuts)
    whole.set_epoch(epoch)
    batches = iter(whole)
    for _ in range(taken):
        next(batches)
    state = json.loads(json.dumps(whole.state_dict()))  # as a checkpoint keeps it
    kept = dict(state)
    rest = []
    with contextlib.suppress(StopIteration):
        while True:  # `for` would begin again
            rest += names([next(batches)])
    other = sample(cuts)
    resume(other, state)
    assert rest and names(other) == rest
    assert state.keys() == kept.keys()  # lhotse's own method empties it


def test_lazy_cuts(cuts, tmp_path):
    from lhotse import CutSet

    cuts.to_file(tmp_path / "cuts.jsonl.gz")
    lazy = CutSet.from_jsonl_lazy(tmp_path / "cuts.jsonl.gz")
    assert sorted(cut.id for batch in sample(lazy) for cut in batch) == sorted(cuts.ids)


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_cuts_than_buckets(cuts, tmp_path, count):
    from lhotse import CutSet

    few = cuts.subset(first=count)
    few.to_file(tmp_path / "few.jsonl.gz")
    for part in (few, CutSet.from_jsonl_lazy(tmp_path / "few.jsonl.gz")):
        assert sum(map(len, sample(part))) == count


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda c: sampler(c, 0), "max_seconds"),
        (lambda c: sampler(c, math.nan), "max_seconds"),
        (lambda c: sampler(c, 1), "shorter than cut u11 of 1.6 s"),
        (lambda c: sampler(c, 4, buckets=0), "buckets"),
        (lambda c: sampler(c, 4, seed=-1), "seed"),
        (lambda c: sampler(c.subset(cut_ids=[]), 4), "must not be empty"),
    ],
)
def test_bad_values(cuts, call, match):
    with pytest.raises(ConfigError, match=match):
        call(cuts)


def load(words, *more, heads=("phones",), **options):
    config = tiny.config(words, *more).data
    return dataset.load(config, config.train, heads, show_progress=False, **options)


def test_batches_of_an_epoch(few_words):
    data = load(few_words)
    first = list(batches.epoch_batches(data.cuts, 3, 0, 0))
    assert sorted(n for batch in first for n in batch) == list(range(len(data)))
    assert first != list(batches.epoch_batches(data.cuts, 3, 0, 1))
    assert first != list(batches.epoch_batches(data.cuts, 3, 1, 0))
    for epoch in (0, 3):  # whatever came before
        whole = list(batches.epoch_batches(data.cuts, 3, 0, epoch))
        assert list(batches.epoch_batches(data.cuts, 3, 0, epoch, first=2)) == whole[2:]
    lengths = [len(batch.ids) for batch in data.in_order(3)]
    assert sum(lengths) == len(data) and len(lengths) > 1


def test_grouped_fits_with_padding():
    assert batches.group_by_length([1, 4, 2, 9, 2], 6) == [[3], [1], [2, 4, 0]]
