"""Transcription: any recording, times from CTC, long recordings in segments."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from helpers import tone
from toy import RATE, WORDS, utterance

from speechasym.annotations.textgrid import write_textgrid
from speechasym.annotations.tiers import read_tiers
from speechasym.audio import reading as audio
from speechasym.levels.events import shared_frames
from speechasym.recognition import segments as segments_module
from speechasym.recognition import transcription
from speechasym.recognition.recogniser import Recogniser
from speechasym.recognition.transcription import BY_LEXICON, ScoredInterval, Transcript


@pytest.fixture(scope="module")
def recogniser(toy):
    return Recogniser(toy / "run")


def test_what_is_said_and_when(recogniser, tmp_path):
    words = ["am", "mass", "a"]
    x, _, sounds = utterance(words)
    found = recogniser.transcribe(tone(tmp_path / "x.wav", x, RATE))
    assert found.text_of("words") == "AM MASS A" and found.text_of("phones") == "aa m m aa s aa"
    assert found.seconds == pytest.approx(len(x) / RATE) and found.segments == 1
    for interval, (start, end, _) in zip(found.symbols["phones"], sounds, strict=True):
        assert min(interval.end, end) - max(interval.start, start) > 0.5 * (end - start)
    assert " ".join(found.text_of("letters").split()) == found.text_of("letters")
    assert list(recogniser.transcribe(tmp_path / "x.wav", heads=["words"]).symbols) == ["words"]


def test_rate_and_channels_change_nothing(recogniser, tmp_path):
    import soxr

    x, _, _ = utterance(["mass", "am"])
    plain = recogniser.transcribe(tone(tmp_path / "x.wav", x, RATE))
    fast = soxr.resample(x, RATE, 44100)
    both = np.stack([fast, np.zeros_like(fast)], 1)
    path = tone(tmp_path / "y.wav", both, 44100)
    for channel in ("mean", 0):
        other = recogniser.transcribe(path, channel=channel)
        assert [other.text_of(h) for h in other.symbols] == [
            plain.text_of(h) for h in plain.symbols
        ]
    assert recogniser.transcribe(path, channel=1).text_of("words") == ""  # silent


@pytest.mark.parametrize("samples", [16, 700, 16000])
def test_silence_says_nothing(recogniser, tmp_path, samples):
    found = recogniser.transcribe(tone(tmp_path / "x.wav", np.zeros(samples), RATE))
    assert found.symbols == {"phones": [], "letters": [], "words": []}
    path = tmp_path / "x.TextGrid"
    write_textgrid(path, found.tiers(), found.seconds)
    tiers = read_tiers(path)
    assert list(tiers) == ["phones", "letters", "words"]
    assert [i.label for i in tiers["words"]] == [""]


def test_short_sound(recogniser, tmp_path):
    found = recogniser.transcribe(tone(tmp_path / "x.wav", np.full(40, 0.1), RATE))
    assert found.seconds == pytest.approx(40 / RATE)


def test_long_recordings(recogniser, tmp_path):
    """Stretches are cut between words, and times go on."""
    words = [list(WORDS)[n] for n in np.random.default_rng(8).integers(len(WORDS), size=40)]
    x, _, sounds = utterance(words)
    path = tone(tmp_path / "x.wav", x, RATE)
    found = recogniser.transcribe(path, longest=3)
    assert found.segments >= len(x) / RATE / 3 and found.seconds == pytest.approx(len(x) / RATE)
    labels = [label for _, _, label in sounds]
    from rapidfuzz.distance import Levenshtein

    own = [i.label for i in found.symbols["phones"]]
    assert Levenshtein.distance(labels, own) < 0.2 * len(labels)
    for rows in found.symbols.values():
        assert all(a.start <= a.end <= b.start for a, b in pairwise(rows))
        assert rows[-1].end <= found.seconds
    at = [i for i in found.symbols["phones"] if i.label == "s"]
    real = [row for row in sounds if row[2] == "s"]
    near = [min(abs(i.start + i.end - a - b) / 2 for a, b, _ in real) for i in at]
    assert np.median(near) < 0.05
    path = tmp_path / "grids" / "a" / "x.TextGrid"
    write_textgrid(path, found.tiers(), found.seconds)
    tiers = read_tiers(path)
    assert [i.label for i in tiers["phones"] if i.label] == own
    assert all(i.label != " " for i in tiers["letters"])
    assert read_tiers(path)["words"][-1].end == found.seconds


def test_nothing_is_lost_or_doubled_at_cuts(recogniser, tmp_path, monkeypatch):
    """With cuts at any place, in the middle of a phone too, nearly the same is heard as at once."""
    words = [list(WORDS)[n] for n in np.random.default_rng(9).integers(len(WORDS), size=30)]
    path = tone(tmp_path / "x.wav", utterance(words)[0], RATE)
    whole = recogniser.transcribe(path)
    assert whole.segments == 1
    monkeypatch.setattr(segments_module, "_quietest", lambda power, first, last, width: first)
    # as the whole is normalised, so that the cuts make the only difference
    rows = np.concatenate(list(plain_frames(recogniser, path)))
    mean, deviation = rows.mean(0), rows.std(0)
    monkeypatch.setattr(transcription, "normalised", lambda part, config: (part - mean) / deviation)
    found = recogniser.transcribe(path, longest=2)
    assert found.segments > whole.seconds / 2
    for head, own in found.symbols.items():
        assert [i.label for i in own] == [i.label for i in whole.symbols[head]]
        for a, b in zip(own, whole.symbols[head], strict=True):
            assert a.start == pytest.approx(b.start, abs=0.1)


def plain_frames(recogniser, path):
    """Features of a whole recording, not normalised."""
    config = replace(recogniser.trained.feature_config, normalise="none")
    return config.frames(audio.blocks(path, RATE))


def test_join():
    """The two sides change over in the widest gap near the cut, and no symbol is there twice."""

    def said(text, *times):
        return [
            ScoredInterval(t - 0.02, t + 0.02, c, 1.0) for c, t in zip(text, times, strict=True)
        ]

    left = said("abcde", 8.0, 9.2, 9.5, 10.4, 10.9)
    right = said("bcdef", 9.22, 9.47, 10.43, 10.88, 12.0)
    before = list(left)
    transcription.join(before, right, 10.0, 1.0)
    assert before == left[:3] + right[2:]
    before = list(left)
    transcription.join(before, right, 10.0, 0.0)  # at the cut itself
    assert before == left[:3] + right[2:]
    before = []
    transcription.join(before, right, 9.0, 0.0)
    assert before == right
    transcription.join(before, [], 9.3, 0.0)
    assert before == right[:1]
    before = [ScoredInterval(8.0, 9.0, "a", 1.0), ScoredInterval(9.0, 10.2, "long", 1.0)]
    transcription.join(before, [ScoredInterval(9.8, 11.0, "next", 1.0)], 10.0, 0.1)
    assert [i.label for i in before] == ["a", "long", "next"]
    assert before[1].end == before[2].start == 10.0


def test_silence_between(recogniser, tmp_path):
    """Digital silence says nothing, whatever is near; no word of letters goes on over it."""
    x, _, _ = utterance(["mass", "am"])
    y, _, _ = utterance(["am", "a"])
    quiet = np.zeros(8 * RATE)
    path = tone(tmp_path / "x.wav", np.concatenate([quiet, x, quiet, y, quiet]), RATE)
    found = recogniser.transcribe(path, longest=2)
    assert found.text_of("words") and found.segments > 8
    begin, end = 8 + len(x) / RATE, 16 + len(x) / RATE
    for rows in found.symbols.values():
        # stretches may end somewhat after the sound
        assert not [i for i in rows if i.label.strip() and begin + 2 < i.start and i.end < end - 2]
        assert not [i for i in rows if i.label.strip() and i.end < 6]
    between = [i.label for i in found.symbols["letters"] if begin + 1 < i.start < end]
    assert " " in between


def test_music_and_noise_are_heard_without_harm(recogniser, tmp_path):
    """They are taken for speech: some symbols, in order, in time; the same at other rates."""
    time = np.arange(6 * 44100) / 44100
    chords = sum(
        np.sin(2 * np.pi * hertz * 2 ** (np.floor(time) / 12) * time) for hertz in (220, 277, 330)
    )
    noise = np.random.default_rng(0).normal(size=6 * 8000)
    for name, x, rate in (("music", chords / 8, 44100), ("noise", noise / 10, 8000)):
        found = recogniser.transcribe(tone(tmp_path / f"{name}.wav", x, rate), longest=3)
        assert found.seconds == pytest.approx(6, abs=1e-3) and found.segments > 1
        for rows in found.symbols.values():
            assert len(rows) <= 6 * 100
            assert all(a.start <= a.end <= b.start for a, b in pairwise(rows))
            assert not rows or (rows[0].start >= 0 and rows[-1].end <= found.seconds)


def test_times_of_steps_that_share_their_frames():
    first, last = np.array([0, 0, 3, 6, 6, 6]), np.array([3, 3, 6, 9, 9, 9])
    start, end = shared_frames(first, last).T
    np.testing.assert_allclose(start, [0, 1.5, 3, 6, 7, 8])
    np.testing.assert_allclose(end, [1.5, 3, 6, 7, 8, 9])


def test_texts_that_are_likely_wrong_are_marked():
    def read(*confidences, calibrated=(BY_LEXICON,)):
        words = [ScoredInterval(n, n + 1, "A", p) for n, p in enumerate(confidences)]
        return Transcript(9.0, {BY_LEXICON: words}, 1, None, calibrated)

    likely, unlikely = read(0.9, 0.7), read(0.1, 0.2)
    assert likely.confidence == pytest.approx(0.8) and likely.lines().endswith("A A")
    assert unlikely.as_json()["confidence"] == pytest.approx(0.15)
    assert "(about 15% of the words by lexicon are likely right: another" in unlikely.lines()
    for silent in (read(), read(0.1, calibrated=())):
        assert silent.confidence is None and "likely" not in silent.lines()
