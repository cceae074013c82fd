"""Batches: every cut once, the same by seed, resumed in mid-epoch."""

import itertools

import numpy as np
import pytest

from speechasym.errors import ConfigError
from speechasym.training import batches

SECONDS = [0.5 + 0.1 * number for number in range(12)]


def epoch(seconds=SECONDS, seed=1, number=0, first=0):
    return list(batches.epoch_batches(seconds, 4, seed, number, first))


@pytest.mark.parametrize("buckets", [1, 3, 50])
def test_an_epoch_holds_every_cut_once_in_bounded_batches(buckets, monkeypatch):
    monkeypatch.setattr(batches, "BUCKETS", buckets)
    drawn = epoch()
    assert sorted(number for batch in drawn for number in batch) == list(range(len(SECONDS)))
    for batch in drawn:
        *before, _ = [SECONDS[number] for number in batch]
        assert len(batch) * max(before, default=0) <= 4 + 1e-6


def test_same_seed_same_batches(monkeypatch):
    monkeypatch.setattr(batches, "BUCKETS", 3)
    assert epoch() == epoch()
    assert epoch() != epoch(seed=2)
    assert epoch() != epoch(number=1)


@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("first", [1, 3])
def test_a_resumed_epoch_yields_the_same_rest(number, first, monkeypatch):
    monkeypatch.setattr(batches, "BUCKETS", 3)
    rest = epoch(number=number)[first:]
    assert rest and epoch(number=number, first=first) == rest


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_cuts_than_buckets(count):
    assert sum(map(len, epoch(SECONDS[:count]))) == count


def test_a_corpus_larger_than_the_buffer_comes_in_random_order():
    seconds = np.linspace(1, 9, 25_000).tolist()
    first = list(itertools.islice(batches.epoch_batches(seconds, 60, 0, 0), 200))
    assert max(max(batch) for batch in first) > 24_000  # beyond the 20 000 of the buffer


def test_a_cut_longer_than_a_batch_is_named():
    with pytest.raises(ConfigError, match=r"batch_seconds: 1 s is shorter than cut u11 of 1\.6 s"):
        batches.check_longest([f"u{n}" for n in range(12)], SECONDS, 1)


def test_grouped_fits_with_padding():
    assert batches.group_by_length([1, 4, 2, 9, 2], 6) == [[3], [1], [2, 4, 0]]
