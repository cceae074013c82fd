"""A run, or the pretrained model, as one object: sources, confidences, times, errors."""

import gc

import numpy as np
import pytest
import soxr
import torch
from helpers import tone
from toy import RATE, utterance

import speechasym
from speechasym.errors import AudioError, ConfigError, LexiconError
from speechasym.levels import ctc
from speechasym.recognition.decoder import BY_LEXICON
from speechasym.recognition.recogniser import Recogniser, transcribe, transcribe_files
from speechasym.recognition.trained_model import _moved

WORDS = ["mass", "am"]


@pytest.fixture(scope="module")
def run(toy):
    return toy / "run"


@pytest.fixture(scope="module")
def recogniser(run, files):
    return Recogniser(run, **files)


@pytest.fixture(scope="module")
def samples():
    return utterance(WORDS)[0].astype(np.float32)


def test_transcript(recogniser, samples):
    result = recogniser.transcribe(samples, RATE)
    assert recogniser.heads == list(result.symbols) == ["phones", "letters", "words", BY_LEXICON]
    assert result.text == "MASS AM" == " ".join(i.label for i in result.words_by_lexicon)
    assert [i.label for i in result.phones] == ["m", "aa", "s", "aa", "m"]
    assert "".join(i.label for i in result.letters) == "MASS AM"
    assert [i.label for i in result.words] == WORDS_UPPER
    assert str(result).splitlines()[::3] == [
        "phones:           m aa s aa m", "words by lexicon: MASS AM",
    ]  # fmt: skip
    assert recogniser.transcribe(samples, heads=["letters"]).words == ()


WORDS_UPPER = [word.upper() for word in WORDS]


def test_confidence_is_the_mean_posterior_of_the_steps(recogniser, samples):
    result = recogniser.transcribe(samples)
    assert all(0 <= i.confidence <= 1 for rows in result.symbols.values() for i in rows)
    posteriors = recogniser.posteriors(samples)
    p = posteriors.log_probs.exp()
    for (first, end, label), i in zip(ctc.runs(p.argmax(-1)), result.phones, strict=True):
        assert i.label == posteriors.symbols[label]
        assert i.confidence == pytest.approx(float(p[first:end, label].mean()), abs=1e-6)
    noise = np.random.default_rng(0).normal(0, 0.1, len(samples))
    doubtful = recogniser.transcribe(noise + 0.2 * samples, heads=["phones"]).phones
    assert np.mean([i.confidence for i in doubtful]) < np.mean(
        [i.confidence for i in result.phones]
    )


def test_phones_in_sequence(recogniser, samples, files):
    """A run by MMI reads phones by which follow which; its search takes them by themselves."""
    trained, symbols = recogniser.trained, recogniser.trained.inventories["phones"]
    first = recogniser.transcribe(samples, RATE).phones[0].label
    follow = np.full((len(symbols) + 1, len(symbols) + 1), 0.1)
    follow[0, symbols.index(first) + 1] = 0
    by_mmi = trained._replace(follow={"phones": follow})
    assert Recogniser(by_mmi).transcribe(samples, RATE).phones[0].label != first
    searching = Recogniser(by_mmi, **files, word_score=-1.0).decoding
    assert (searching.lm_weight, searching.word_score, searching.beam) == (1.0, -1.0, 600)
    assert searching.words_weight == 0.15
    assert Recogniser(by_mmi, **files, words_weight=0.0).decoding.words_weight == 0
    without = {head: row for head, row in trained.inventories.items() if head != "words"}
    no_words = Recogniser(by_mmi._replace(inventories=without), **files)
    assert no_words.decoding.words_weight == 0
    output = trained.output(trained.features(samples))
    alone = by_mmi.posteriors(output, "phones", alone=True).log_probs
    assert torch.equal(alone, trained.posteriors(output, "phones").log_probs)
    in_sequence = by_mmi.posteriors(output, "phones").log_probs
    assert not torch.equal(alone, in_sequence)
    level = by_mmi.activations(trained.features(samples))[0]
    assert torch.equal(level.log_posteriors["phones"].flatten(0, 1), in_sequence)


def test_posteriors_have_times_and_symbols(recogniser, samples):
    for head in ("phones", "letters", "words"):
        log_probs, times, symbols = recogniser.posteriors(samples, RATE, head)
        assert log_probs.shape == (len(times), len(symbols)) and symbols[0] == ""
        assert symbols[1:] == recogniser.trained.inventories[head]
        assert torch.allclose(log_probs.exp().sum(-1), torch.ones(len(times)), atol=1e-5)
        assert (times[:, 1] > times[:, 0]).all() and (times[1:, 0] >= times[:-1, 0]).all()
        assert times[-1, 1] == pytest.approx(len(samples) / RATE, abs=0.03)
    with pytest.raises(ConfigError, match="no head phrases"):
        recogniser.posteriors(samples, RATE, "phrases")


def test_sources(recogniser, samples, tmp_path):
    expected = recogniser.transcribe(samples)
    fast = soxr.resample(samples, RATE, 44100)
    path = tone(tmp_path / "x.wav", fast, 44100)
    for source, rate in ((torch.from_numpy(samples), None), (fast, 44100), (path, None)):
        result = recogniser.transcribe(source, rate)
        assert [result.text_of(head) for head in result.symbols] == [
            expected.text_of(head) for head in expected.symbols
        ]
    assert recogniser.transcribe(torch.from_numpy(samples).double()).symbols == expected.symbols
    example = {"array": np.stack([samples, samples]), "sampling_rate": RATE, "path": "x.mp3"}
    assert recogniser.transcribe(example).symbols == expected.symbols
    for bad, rate, message in (
        ((samples * 3e4).astype(np.int64), None, "floating-point"),
        (np.stack([samples] * 3), None, "one row of a batch"),
        (np.full(100, np.nan), None, "finite"),
        (example, 8000, "8000 Hz was given, but x.mp3 has"),
    ):
        with pytest.raises(ConfigError, match=message):
            recogniser.transcribe(bad, rate)


def test_align(recogniser, run, samples, tmp_path):
    _, times, sounds = utterance(WORDS)
    result = recogniser.align(samples, "Mass, am!")
    assert list(result.tiers) == ["phones", "words", "letters"]
    assert [i.label for i in result.tiers["phones"]] == [label for *_, label in sounds]
    for interval, (start, end, _) in zip(result.tiers["words"], times, strict=True):
        assert abs(interval.start - start) < 0.05 and abs(interval.end - end) < 0.05
    assert list(Recogniser(run).align(samples, "mass am").tiers) == ["words", "letters"]
    fast = soxr.resample(samples, RATE, 44100)
    path = tone(tmp_path / "y.wav", np.stack([fast, fast], 1), 44100)
    other = recogniser.align(path, "mass am")
    for a, b in zip(other.tiers["words"], result.tiers["words"], strict=True):
        assert a[:2] == pytest.approx(b[:2], abs=0.03)


def test_functions(run, files, samples, tmp_path):
    assert speechasym.transcribe(samples, run, RATE, **files).text == "MASS AM"
    assert transcribe(samples, run, heads=["words"]).text == "MASS AM"
    good, bad = tone(tmp_path / "in" / "a.wav", samples, RATE), tmp_path / "in" / "b.wav"
    bad.write_bytes(b"no sound at all")
    first, second = transcribe_files([tmp_path / "in"], run, textgrids=tmp_path / "out")
    assert first.path == good and first.transcript.text == "MASS AM" and first.error is None
    assert first.textgrid == tmp_path / "out" / "a.TextGrid" and first.textgrid.is_file()
    assert second.transcript is None and str(bad) in str(second.error)
    with pytest.raises(AudioError):
        list(transcribe_files([bad], run))


def test_the_pretrained_language_model_is_read_when_it_is_needed(monkeypatch):
    recogniser = Recogniser()
    assert recogniser.heads[-1] == BY_LEXICON
    monkeypatch.setattr("speechasym.recognition.decoder.read_model", None)
    noise = np.random.default_rng(0).normal(0, 0.1, RATE)
    assert list(recogniser.transcribe(noise, heads=["words"]).symbols) == ["words"]
    with pytest.raises(TypeError):
        recogniser.transcribe(noise)
    assert gc.isenabled()  # it is paused only while files are read
    collected = []
    monkeypatch.setattr(
        "speechasym.recognition.decoder.read_model", lambda _: collected.append(gc.isenabled())
    )
    with pytest.raises(AttributeError):
        recogniser.transcribe(noise)
    assert collected == [False]


def test_options_that_do_not_fit(run, files, tmp_path):
    with pytest.raises(ConfigError, match="beam: needs a language model"):
        Recogniser(run, beam=7)
    with pytest.raises(ConfigError, match="spelling: needs a language model"):
        Recogniser(run, spelling=True)
    with pytest.raises(LexiconError):
        Recogniser(run, lexicon=tmp_path / "none.txt", lm=files["lm"])
    with pytest.raises(ConfigError, match="device"):
        Recogniser(run, device="abacus")
    with pytest.raises(ConfigError, match="no head words by lexicon"):
        Recogniser(run).transcribe(np.ones(100), heads=[BY_LEXICON])


def test_output_moves_between_devices(recogniser, samples):
    """All of its tensors do, so that the rest works on the CPU."""
    output = recogniser.trained.output(recogniser.trained.features(samples))
    moved = _moved(output, "meta")
    level, moved_level = output.levels[0], moved.levels[0]
    assert type(moved) is type(output) and type(moved_level) is type(level)
    for before, after in (
        *((output.heads[head][k], moved.heads[head][k]) for head in output.heads for k in (0, 1)),
        (output.spans["phones"][0], moved.spans["phones"][0]),
        (level.y, moved_level.y),
        (level.activation, moved_level.activation),
        (level.passed.mask, moved_level.passed.mask),
    ):
        assert before.device.type == "cpu" and after.device.type == "meta"
        assert before.shape == after.shape
