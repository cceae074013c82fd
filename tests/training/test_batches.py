"""Batches: every cut once, the same by seed, resumed in mid-epoch."""

import pytest
import tiny

from speechasym.errors import ConfigError
from speechasym.training import batches, dataset


def epoch(cuts, seed=1, number=0, first=0):
    return list(batches.epoch_batches(cuts, 4, seed, number, first))


@pytest.mark.parametrize("buckets", [1, 3, 50])
def test_an_epoch_holds_every_cut_once_in_bounded_batches(cuts, buckets, monkeypatch):
    monkeypatch.setattr(batches, "BUCKETS", buckets)
    drawn = epoch(cuts)
    assert sorted(number for batch in drawn for number in batch) == list(range(len(cuts)))
    for batch in drawn:
        *before, _ = [cuts[number].duration for number in batch]
        assert len(batch) * max(before, default=0) <= 4 + 1e-6


def test_same_seed_same_batches(cuts, monkeypatch):
    monkeypatch.setattr(batches, "BUCKETS", 3)
    assert epoch(cuts) == epoch(cuts)
    assert epoch(cuts) != epoch(cuts, seed=2)
    assert epoch(cuts) != epoch(cuts, number=1)


@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("first", [1, 3])
def test_a_resumed_epoch_yields_the_same_rest(cuts, number, first, monkeypatch):
    monkeypatch.setattr(batches, "BUCKETS", 3)
    rest = epoch(cuts, number=number)[first:]
    assert rest and epoch(cuts, number=number, first=first) == rest


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_cuts_than_buckets(cuts, count):
    assert sum(map(len, epoch(cuts.subset(first=count)))) == count


def test_a_cut_longer_than_a_batch_is_named(cuts):
    with pytest.raises(ConfigError, match=r"batch_seconds: 1 s is shorter than cut u11 of 1\.6 s"):
        batches.check_longest(cuts, 1)


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
