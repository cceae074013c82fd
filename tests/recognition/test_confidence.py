"""Calibrated confidences: evidence, the file beside a model, what transcribe makes of it."""

import json
import shutil

import numpy as np
import pytest
import torch
from helpers import called, tone
from toy import RATE, utterance

from speechasym.annotations.tiers import read_tiers
from speechasym.errors import CheckpointError, ConfigError
from speechasym.levels import ctc
from speechasym.recognition import confidence, confidence_fit
from speechasym.recognition.decoder import BY_LEXICON, Hypothesis
from speechasym.recognition.evaluation import evaluate
from speechasym.recognition.noises import sounds_without_speech
from speechasym.recognition.recogniser import Recogniser
from speechasym.recognition.speech import Logistic, steady
from speechasym.recognition.transcription import ScoredInterval, Transcript, _extend, _within


@pytest.fixture(scope="module")
def run(toy, files, tmp_path_factory):
    """A calibrated copy of the toy run, which errs too seldom for the usual limits."""
    folder = tmp_path_factory.mktemp("calibrated") / "run"
    shutil.copytree(toy / "run", folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(confidence_fit, "FEWEST", 0)
        patch.setattr(confidence_fit, "MOST_CUTS", 8)
        patch.setattr(confidence_fit, "ROUNDS", 1)
        patch.setattr(confidence_fit, "NOISE_S", 4.0)
        recogniser = Recogniser(folder, **files)
        cuts = toy / "test_cuts.jsonl.gz"
        result = evaluate(recogniser, cuts, calibrate=True, show_progress=False)
    assert result.calibration == folder / confidence.FILE and result.calibration.is_file()
    assert result.crossed.keys() == result.confidence.keys() == {*recogniser.heads}
    assert all(0 <= error < 0.2 for error in result.crossed.values())
    return folder


def test_speech_is_read_and_noise_is_not(run, files, tmp_path, capsys):
    x, _, _ = utterance(["mass", "am", "a"])
    noise = sounds_without_speech(6, RATE, np.random.default_rng(5))["white"]
    tone(tmp_path / "speech.wav", x, RATE)
    tone(tmp_path / "noise.wav", noise, RATE)
    code, out, _ = called(
        capsys, "transcribe", run, tmp_path / "*.wav", "--lexicon", files["lexicon"],
        "--lm", files["lm"], "--json", tmp_path / "out", "--textgrid", tmp_path / "out",
    )  # fmt: skip
    assert code == 0 and out.count("(no speech)") == 4 and f"{BY_LEXICON}: MASS AM A" in out
    noise, speech = (
        json.loads((tmp_path / "out" / f"{name}.json").read_text()) for name in ("noise", "speech")
    )
    assert noise["no_speech"] and noise["speech"] == [] and not any(noise["symbols"].values())
    assert not speech["no_speech"] and speech["speech"] == [[0.0, round(speech["seconds"], 3)]]
    assert speech["calibrated"] == ["phones", "letters", "words", BY_LEXICON]
    words = speech["symbols"][BY_LEXICON]
    assert [row["label"] for row in words] == ["MASS", "AM", "A"]
    labels = [i.label for i in read_tiers(tmp_path / "out" / "speech.TextGrid")["confidence"]]
    assert [float(label) for label in labels if label] == pytest.approx(
        [row["confidence"] for row in words], abs=0.006
    )


def test_words_found_by_other_heads_keep_their_posterior(run, files):
    x, _, _ = utterance(["mass", "am"])
    own, other = (Recogniser(run, **files, words_from=head) for head in ("phones", "letters"))
    assert own.transcribe(x).calibrated[-1] == BY_LEXICON
    transcript = other.transcribe(x)
    assert BY_LEXICON not in transcript.calibrated and "confidence" not in transcript.tiers()


def test_evidence_begins_with_the_mean_posterior():
    log_probs = np.log(np.array([[0.8, 0.2], [0.1, 0.9], [0.3, 0.7], [0.9, 0.1]], np.float32))
    runs = ctc.runs(torch.from_numpy(log_probs.argmax(-1)))
    rows = confidence.symbol_evidence(log_probs, runs)
    odds = np.log(0.81 / 0.21)
    assert rows[0] == pytest.approx([0.8, odds, np.log(2), odds, odds], abs=1e-6)
    assert confidence.symbol_evidence(log_probs, []).shape == (0, len(confidence.EVIDENCE))


def test_words_that_the_whole_list_has_are_sure():
    rows = [(("A", "B", "C"), 0.5), (("B", "C"), 0.3), (("A", "X", "C", "D"), 0.2)]
    found = [Hypothesis(words, np.log(p) - 40.0, {}, 0.0) for words, p in rows]
    assert confidence.shares_in_list(found) == pytest.approx([0.7, 0.8, 1.0])
    assert len(confidence.shares_in_list([Hypothesis((), -1.0, {}, 0.0)])) == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text[:100], "is not a calibration of confidences"),
        (lambda text: "[1, 2]", "is not a calibration of confidences"),
        (lambda text: text.replace('"bias"', '"base"', 1), "KeyError: 'bias'"),
        (lambda text: text.replace('"letters": {', '"syllables": {', 1), "no head syllables"),
        (lambda text: text.replace('"weights": [', '"weights": [NaN, ', 1), "must be finite"),
        (lambda text: text.replace('"weights": [', '"weights": [1, ', 1), "expected 5 weights"),
        (lambda text: text.replace('"format": 2', '"format": 1'), "must have format 2, got 1"),
        (lambda text: text.replace('"model": "', '"model": "0'), "was fitted for another model"),
    ],
)
def test_a_file_that_does_not_fit(run, tmp_path, change, says):
    folder = shutil.copytree(run, tmp_path / "run")
    path = folder / confidence.FILE
    path.write_text(change(path.read_text()))
    with pytest.raises(CheckpointError, match=f"{confidence.FILE}: .*{says}"):
        Recogniser(folder)


def test_what_cannot_be_calibrated(toy):
    cuts = toy / "test_cuts.jsonl.gz"
    with pytest.raises(ConfigError, match="pretrained model cannot be calibrated"):
        evaluate(None, cuts, calibrate=True, show_progress=False)
    with pytest.raises(ConfigError, match="no head has 50 correct and 50 wrong"):
        evaluate(toy / "run", cuts, heads=["phones"], calibrate=True, show_progress=False)
    assert not (toy / "run" / confidence.FILE).exists()


def test_the_fit_finds_the_weights():
    rng = np.random.default_rng(0)
    truth = Logistic(-0.5, (2.0, 0.0, -1.0))
    x = rng.standard_normal((20_000, 3)) + np.array([0, 5, 0])
    correct = rng.random(len(x)) < truth(x)
    found = confidence_fit.fit_logistic(x, correct)
    assert found.weights == pytest.approx(truth.weights, abs=0.1)
    assert found(x) == pytest.approx(truth(x), abs=0.06)
    judged = confidence_fit.Judged(x, correct, np.zeros(len(x), str))
    assert judged.error(found) < 0.01
    # one that is right without exception has finite weights
    assert np.isfinite(confidence_fit.fit_logistic(x, np.ones(len(x), bool)).weights).all()


def test_a_single_window_changes_nothing():
    assert steady(np.array([9.0, 9.0, -1.0, 9.0])) == [True] * 4
    assert steady(np.array([-9.0, -9.0, 9.0, 9.0, -9.0])) == [False, False, True, True, False]
    assert steady(np.array([])) == []


def test_letters_left_out_leave_a_space():
    rows = [ScoredInterval(t, t + 0.2, c, 0.5) for t, c in enumerate("ABCDE")]
    kept = _within([(0, 1.5), (4, 9)], rows, "letters")
    assert [row.label for row in kept] == ["A", "B", " ", "E"]
    assert Transcript(5, {"letters": kept}, 1).text == "AB E"
    assert [row.label for row in _within([(0, 1.5), (4, 9)], rows, "phones")] == ["A", "B", "E"]
    speech: list = []
    _extend(speech, [(0, 3), (7, 12)], 0.0, 10.0)
    _extend(speech, [(7, 12), (14, 15)], 10.0, 20.0)
    assert speech == [(0, 3), (7, 12), (14, 15)]
