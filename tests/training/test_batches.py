"""Sampling: batches that resume, splits without a common speaker, noise and speed by seed."""

import contextlib
import json
import math

import numpy as np
import pytest
import soundfile as sf

from speechasym.corpora import splits
from speechasym.errors import ConfigError
from speechasym.training import augment
from speechasym.training import batches as sampling

RATE = 16000


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    """Twelve cuts of 0.5 to 1.6 s, four speakers, a word each in the middle."""
    from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
    from lhotse.supervision import AlignmentItem

    folder = tmp_path_factory.mktemp("cuts")
    rng = np.random.default_rng(0)
    made = []
    for number in range(12):
        seconds = 0.5 + 0.1 * number
        path = folder / f"u{number:02d}.wav"
        sf.write(path, 0.1 * rng.standard_normal(round(seconds * RATE)), RATE)
        recording = Recording.from_file(path)
        supervision = SupervisionSegment(
            id=path.stem,
            recording_id=path.stem,
            start=0,
            duration=recording.duration,
            speaker=f"s{number % 4}",
            alignment={"word": [AlignmentItem("word", 0.1, 0.25)]},
        )
        made.append(
            MonoCut(path.stem, 0, recording.duration, 0, [supervision], recording=recording)
        )
    return CutSet.from_cuts(made)


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    from lhotse import CutSet, Recording

    path = tmp_path_factory.mktemp("noise") / "n.wav"
    sf.write(path, 0.3 * np.random.default_rng(1).standard_normal(RATE * 5), RATE)
    return CutSet.from_cuts([Recording.from_file(path).to_cut()])


def names(batches):
    return [[cut.id for cut in batch] for batch in batches]


def sample(cuts, **options):
    return sampling.sampler(cuts, **{"max_seconds": 4, "seed": 1, "buckets": 3} | options)


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
    sampling.resume(other, state)
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


def test_noise_at_its_ratio(cuts, noise):
    mixed = augment.with_noise(cuts, noise, 10.0, seed=0)
    again = augment.with_noise(cuts, noise, 10.0, seed=0)
    other = augment.with_noise(cuts, noise, 10.0, seed=1)
    assert list(mixed.ids) == list(cuts.ids)
    for clean, noisy, same in zip(cuts, mixed, again, strict=True):
        assert noisy.duration == clean.duration
        assert noisy.supervisions[0].speaker == clean.supervisions[0].speaker
        x, y = clean.load_audio(), noisy.load_audio()
        np.testing.assert_array_equal(y, same.load_audio())
        assert y.shape == x.shape
        ratio = 10 * math.log10(np.mean(x**2) / np.mean((y - x)[:, : -RATE // 10] ** 2))
        assert ratio == pytest.approx(10, abs=0.5)
    assert any(
        not np.array_equal(a.load_audio(), b.load_audio())
        for a, b in zip(mixed, other, strict=True)
    )


def test_noise_at_ratios_of_a_range(cuts, noise):
    ratios = [
        track.snr
        for cut in augment.with_noise(cuts, noise, (0, 20), seed=0)
        for track in cut.tracks
        if track.snr is not None
    ]
    assert len(ratios) == 12 and 0 <= min(ratios) < 8 and 12 < max(ratios) <= 20


def test_speeds_move_the_times_too(cuts):
    made = augment.with_speeds(cuts)
    assert len(made) == 36 and len(set(made.ids)) == 36
    fast = made["u05_sp1.1"]
    assert fast.duration == pytest.approx(cuts["u05"].duration / 1.1, abs=1e-4)
    word = fast.supervisions[0].alignment["word"][0]
    assert (word.start, word.duration) == pytest.approx((0.1 / 1.1, 0.25 / 1.1), abs=1e-4)
    assert fast.load_audio().shape == (1, fast.num_samples)
    assert made["u05"] == cuts["u05"]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda c, n: sampling.sampler(c, 0), "max_seconds"),
        (lambda c, n: sampling.sampler(c, math.nan), "max_seconds"),
        (lambda c, n: sampling.sampler(c, 1), "less than cut u11 of 1.6 s"),
        (lambda c, n: sampling.sampler(c, 4, buckets=0), "buckets"),
        (lambda c, n: sampling.sampler(c, 4, seed=-1), "seed"),
        (lambda c, n: sampling.sampler(c.subset(cut_ids=[]), 4), "there are none"),
        (lambda c, n: splits.split_speakers(c, {}, 0), "shares"),
        (lambda c, n: splits.split_speakers(c, {"a": 0.5}, 0), "must sum to 1, got a sum of 0.5"),
        (lambda c, n: splits.split_speakers(c, {"a": 1.5, "b": -0.5}, 0), "must all be positive"),
        (lambda c, n: splits.split_speakers(c, dict.fromkeys("abcde", 0.2), 0), "fewer than 5"),
        (lambda c, n: splits.split_speakers(n, {"a": 1.0}, 0), "must have exactly one speaker"),
        (lambda c, n: augment.with_noise(c, n, math.inf, 0), "snr"),
        (lambda c, n: augment.with_noise(c, n, (20, 0), 0), "snr"),
        (lambda c, n: augment.with_noise(c, n.subset(cut_ids=[]), 10, 0), "there are none"),
        (lambda c, n: augment.with_noise(c, n.resample(8000), 10, 0), r"resample\(16000\)"),
        (lambda c, n: augment.with_speeds(c, ()), "different values"),
        (lambda c, n: augment.with_speeds(c, (1, 1.0)), "different values"),
        (lambda c, n: augment.with_speeds(c, (0,)), "0.5 to 2"),
        (lambda c, n: augment.with_speeds(c, (math.nan,)), "0.5 to 2"),
    ],
)
def test_bad_values(cuts, noise, call, match):
    with pytest.raises(ConfigError, match=match):
        call(cuts, noise)
