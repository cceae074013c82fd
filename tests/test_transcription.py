"""Transcription: any recording, times from CTC's spikes, long ones in stretches."""

from itertools import pairwise

import numpy as np
import pytest
from conftest import tone
from test_evaluation import GAP_S, RATE, WORDS, toy, utterance

from speechasym import alignments, transcription
from speechasym.alignments import Interval
from speechasym.errors import AudioError, ConfigError
from speechasym.transcription import (
    REACH_S,
    open_run,
    spread,
    stretches,
    transcribe,
    write_textgrids,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return open_run(toy(tmp_path_factory) / "run")


def test_what_is_said_and_when(trained, tmp_path):
    words = ["am", "mass", "a"]
    x, _, sounds = utterance(words)
    found = transcribe(trained.folder, tone(tmp_path / "x.wav", x, RATE))
    assert found.text("words") == "AM MASS A" and found.text("phones") == "aa m m aa s aa"
    assert found.seconds == pytest.approx(len(x) / RATE) and found.stretches == 1
    for interval, (start, end, _) in zip(found.symbols["phones"], sounds, strict=True):
        assert min(interval.end, end) - max(interval.start, start) > 0.5 * (end - start)
    assert " ".join(found.text("letters").split()) == found.text("letters")
    assert list(transcribe(trained, tmp_path / "x.wav", heads=["words"]).symbols) == ["words"]


def test_rate_and_channels_change_nothing(trained, tmp_path):
    import soxr

    x, _, _ = utterance(["mass", "am"])
    plain = transcribe(trained, tone(tmp_path / "x.wav", x, RATE))
    fast = soxr.resample(x, RATE, 44100)
    both = np.stack([fast, np.zeros_like(fast)], 1)
    path = tone(tmp_path / "y.wav", both, 44100)
    for channel in ("mean", 0):
        other = transcribe(trained, path, channel=channel)
        assert [other.text(h) for h in other.symbols] == [plain.text(h) for h in plain.symbols]
    assert transcribe(trained, path, channel=1).text("words") == ""  # silent


@pytest.mark.parametrize("samples", [16, 700, 16000])
def test_silence_says_nothing(trained, tmp_path, samples):
    found = transcribe(trained, tone(tmp_path / "x.wav", np.zeros(samples), RATE))
    assert found.symbols == {"phones": [], "letters": [], "words": []}
    (path,) = write_textgrids(tmp_path, {"x": found})
    tiers = alignments.read_tiers(path)
    assert list(tiers) == ["phones", "letters", "words"]
    assert [i.label for i in tiers["words"]] == [""]


def test_short_sound(trained, tmp_path):
    found = transcribe(trained, tone(tmp_path / "x.wav", np.full(40, 0.1), RATE))
    assert found.seconds == pytest.approx(40 / RATE)


def test_long_recordings(trained, tmp_path):
    """Stretches are cut between words, times go on, and no letter's word goes over a cut."""
    words = [list(WORDS)[n] for n in np.random.default_rng(8).integers(len(WORDS), size=40)]
    x, _, sounds = utterance(words)
    path = tone(tmp_path / "x.wav", x, RATE)
    found = transcribe(trained, path, longest=3)
    assert found.stretches >= len(x) / RATE / 3 and found.seconds == pytest.approx(len(x) / RATE)
    labels = [label for _, _, label in sounds]
    from rapidfuzz.distance import Levenshtein

    own = [i.label for i in found.symbols["phones"]]
    assert Levenshtein.distance(labels, own) < 0.2 * len(labels)
    for rows in found.symbols.values():
        assert all(a.end <= b.start for a, b in pairwise(rows))
        assert rows[-1].end <= found.seconds
    at = [i for i in found.symbols["phones"] if i.label == "s"]
    real = [row for row in sounds if row[2] == "s"]
    near = [min(abs(i.start + i.end - a - b) / 2 for a, b, _ in real) for i in at]
    assert np.median(near) < 0.05
    (path,) = write_textgrids(tmp_path / "grids", {"a/x": found})
    tiers = alignments.read_tiers(path)
    assert [i.label for i in tiers["phones"] if i.label] == own
    assert all(i.label != " " for i in tiers["letters"])
    assert alignments.read_tiers(path)["words"][-1].end == found.seconds


def test_stretches_end_where_it_is_quietest():
    x, said, _ = utterance(["am", "mass", "a", "a", "mass", "am", "am", "mass", "mass", "a"])
    blocks = [x[n : n + 1234].astype(np.float32) for n in range(0, len(x), 1234)]
    read = 0

    def reading():
        nonlocal read
        for block in blocks:
            read += len(block)
            yield block

    done = 0
    for part in stretches(reading(), RATE, 1.5):
        assert 0 < len(part) <= 1.5 * RATE
        assert np.array_equal(part, x[done : done + len(part)].astype(np.float32))
        done += len(part)
        assert read <= done + 1.5 * RATE  # no more is in memory than a stretch
        inside = [a for a, b, _ in said if a + 0.02 < done / RATE < b - 0.02]
        assert not inside
    assert done == len(x)


def test_stretches_of_what_is_short_or_not_there():
    assert [len(s) for s in stretches(iter([np.ones(5, np.float32)]), 10, 1.0)] == [5]
    assert list(stretches(iter([]), 10)) == []
    for longest in (0, 0.5, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="longest"):
            list(stretches(iter([]), 10, longest))


def test_times_of_steps_that_share_their_frames():
    first, last = np.array([0, 0, 3, 6, 6, 6]), np.array([3, 3, 6, 9, 9, 9])
    start, end = transcription._times(first, last)
    np.testing.assert_allclose(start, [0, 1.5, 3, 6, 7, 8])
    np.testing.assert_allclose(end, [1.5, 3, 6, 7, 8, 9])


def test_runs_of_the_best_path():
    import torch

    best = [0, 2, 2, 0, 2, 1, 1, 0]
    log_probs = torch.nn.functional.one_hot(torch.tensor(best), 3).float()
    start = np.arange(8.0)
    assert transcription._runs(log_probs, start, start + 1) == [(1, 3, 2), (4, 5, 2), (5, 7, 1)]
    assert transcription._runs(log_probs[:0], start[:0], start[:0]) == []


def test_spread():
    """Near neighbours meet in the middle, far ones reach a little further, ends stay inside."""
    named = [(0.05, 0.1, "a"), (0.2, 0.3, "b"), (1.0, 1.1, "c"), (1.1, 1.95, "d")]
    found = spread(named, 0.1, 2.0)
    for i, want in zip(found, [(0, 0.15), (0.15, 0.4), (0.9, 1.1), (1.1, 2.0)], strict=True):
        assert i[:2] == pytest.approx(want)
    assert [i.label for i in found] == list("abcd")
    assert spread([], 0.1, 1.0) == []
    assert spread([(0.9, 1.2, "x")], 0.05, 1.0) == [Interval(0.9 - 0.05, 1.0, "x")]
    assert set(REACH_S) == {"phones", "letters", "words"}
    assert GAP_S > 0.08  # so that the tests' pauses are gaps


def test_errors(trained, tmp_path):
    with pytest.raises(ConfigError, match="no head phrases; it has phones, letters, words"):
        transcribe(trained, tmp_path / "x.wav", heads=["phrases"])
    with pytest.raises(AudioError):
        transcribe(trained, tmp_path / "x.wav")
    (tmp_path / "x.wav").write_bytes(b"no sound")
    with pytest.raises(AudioError):
        transcribe(trained, tmp_path / "x.wav")
