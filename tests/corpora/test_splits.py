"""Random splits of speakers."""

import pytest

from speechasym.corpora.splits import split_names
from speechasym.errors import ConfigError

SPEAKERS = [f"s{n}" for n in range(4)]


def test_splits_share_no_speaker():
    shares = {"train": 0.5, "dev": 0.25, "test": 0.25}
    parts = split_names(SPEAKERS, shares, seed=5)
    assert [len(part) for part in parts.values()] == [2, 1, 1]
    assert sorted(name for part in parts.values() for name in part) == SPEAKERS
    assert split_names(SPEAKERS[::-1] * 2, shares, seed=5) == parts
    assert len({tuple(split_names(SPEAKERS, shares, seed)["dev"]) for seed in range(9)}) > 1


@pytest.mark.parametrize("count", [3, 4, 10, 462])
def test_shares_are_rounded_by_largest_remainder(count):
    shares = {"train": 0.8, "dev": 0.15, "test": 0.05}
    parts = split_names([f"s{n}" for n in range(count)], shares, 0)
    assert sum(map(len, parts.values())) == count and min(map(len, parts.values())) >= 1
    assert len(set().union(*parts.values())) == count
    if count > 4:
        assert all(abs(len(parts[key]) - count * share) < 1 for key, share in shares.items())


@pytest.mark.parametrize(
    ("shares", "match"),
    [
        ({}, "shares"),
        ({"a": 0.5}, "must sum to 1, got a sum of 0.5"),
        ({"a": 1.5, "b": -0.5}, "must all be positive"),
        (dict.fromkeys("abcde", 0.2), "fewer than 5"),
    ],
)
def test_bad_shares(shares, match):
    with pytest.raises(ConfigError, match=match):
        split_names(SPEAKERS, shares, 0)
