"""Splits without a common speaker."""

import pytest
import tiny

from speechasym.corpora import splits
from speechasym.errors import ConfigError


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    return tiny.random_cuts(tmp_path_factory.mktemp("cuts"))


def test_splits_share_no_speaker(cuts):
    from lhotse import CutSet

    shares = {"train": 0.5, "dev": 0.25, "test": 0.25}
    parts = splits.split_speakers(cuts, shares, seed=5)
    speakers = [{cut.supervisions[0].speaker for cut in part} for part in parts.values()]
    assert [len(group) for group in speakers] == [2, 1, 1]
    assert len(set.union(*speakers)) == 4
    assert sorted(cut.id for part in parts.values() for cut in part) == sorted(cuts.ids)
    backwards = CutSet.from_cuts(reversed(list(cuts)))
    again = splits.split_speakers(backwards, shares, seed=5)
    assert {k: set(v.ids) for k, v in again.items()} == {k: set(v.ids) for k, v in parts.items()}
    drawn = {tuple(splits.split_speakers(cuts, shares, seed)["dev"].ids) for seed in range(9)}
    assert len(drawn) > 1


@pytest.mark.parametrize("count", [3, 4, 10, 462])
def test_shares_are_rounded_by_largest_remainder(count):
    shares = {"train": 0.8, "dev": 0.15, "test": 0.05}
    parts = splits.split_names([f"s{n}" for n in range(count)], shares, 0)
    assert sum(map(len, parts.values())) == count and min(map(len, parts.values())) >= 1
    assert len(set().union(*parts.values())) == count
    if count > 4:
        assert all(abs(len(parts[key]) - count * share) < 1 for key, share in shares.items())


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda c: splits.split_speakers(c, {}, 0), "shares"),
        (lambda c: splits.split_speakers(c, {"a": 0.5}, 0), "must sum to 1, got a sum of 0.5"),
        (lambda c: splits.split_speakers(c, {"a": 1.5, "b": -0.5}, 0), "must all be positive"),
        (lambda c: splits.split_speakers(c, dict.fromkeys("abcde", 0.2), 0), "fewer than 5"),
        (
            lambda c: splits.split_speakers(c.drop_supervisions(), {"a": 1.0}, 0),
            "must have exactly one speaker",
        ),
    ],
)
def test_bad_values(cuts, call, match):
    with pytest.raises(ConfigError, match=match):
        call(cuts)
