"""A run and the shipped model give what version 0.1 gave; see tests/fixtures/run-0.1/README.md."""

import json
from pathlib import Path

import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein
from toy import RATE, manifest, tone, utterance

from speechasym.corpora import manifests
from speechasym.recognition import pretrained, transcription
from speechasym.recognition.alignment import align
from speechasym.recognition.decoder import config_of, open_decoder
from speechasym.recognition.evaluation import evaluate
from speechasym.recognition.transcription import open_run, transcribe

FIXTURE = Path(__file__).parents[1] / "fixtures" / "run-0.1"
DATA = Path(__file__).parents[2] / "data"
RESULTS = json.loads((FIXTURE / "results.json").read_text("utf-8"))
SAMPLES = utterance(["mass", "am"])[0].astype(np.float32)


def rounded(tiers):
    return {
        name: [[round(a, 4), round(b, 4), label] for a, b, label in rows]
        for name, rows in tiers.items()
    }


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    return manifest(tmp_path_factory.mktemp("old"), "test", 7, 3)


@pytest.fixture(scope="module")
def trained():
    return open_run(FIXTURE / "run")


def test_posteriors(trained):
    output = transcription.heard(trained, transcription.features_of(trained, SAMPLES))
    with np.load(FIXTURE / "posteriors.npz") as expected:
        assert set(expected) == set(output.heads) == {"phones", "letters", "words"}
        for head, (log_probs, _) in output.heads.items():
            np.testing.assert_allclose(log_probs[0].numpy(), expected[head], atol=2e-4)


def test_evaluation(trained, cuts):
    result = evaluate(trained, cuts, shown=False)
    counts = {name: list(score.counts) for name, score in result.scores.items()}
    assert counts == RESULTS["scores"]
    assert result.hypotheses == RESULTS["hypotheses"]
    levels = [[flow.steps, flow.events, flow.selectivity, flow.beta] for flow in result.flows]
    np.testing.assert_allclose(levels, RESULTS["levels"], rtol=1e-4)


def test_alignment(trained, cuts):
    result = align(trained, next(iter(manifests.read_cuts(cuts))))
    assert result.score == pytest.approx(RESULTS["alignment"]["score"], abs=1e-4)
    assert rounded(result.tiers) == RESULTS["alignment"]["tiers"]


def test_transcription(trained, tmp_path):
    result = transcribe(trained, tone(tmp_path / "x.wav", SAMPLES, RATE))
    assert result.seconds == RESULTS["transcript"]["seconds"]
    assert rounded(result.symbols) == RESULTS["transcript"]["symbols"]


def test_the_shipped_model():
    """Another processor may round otherwise, so that one symbol in a hundred may differ."""
    expected = json.loads((FIXTURE / "shipped.json").read_text("utf-8"))
    run = open_run(pretrained.folder())
    words = open_decoder(run, pretrained.lexicon(), pretrained.lm(), config_of("phones"))
    paths = sorted([*DATA.glob("*.flac"), *DATA.glob("*.wav")])
    results = {path.stem: transcribe(run, path, words=words) for path in paths}
    assert set(results) == set(expected["text"])
    symbols = different = 0
    for name, texts in expected["text"].items():
        assert set(texts) == set(results[name].symbols)
        for head, text in texts.items():
            row, reference = results[name].text(head), text
            if head != "letters":
                row, reference = row.split(), reference.split()
            symbols += len(reference)
            different += Levenshtein.distance(reference, row)
    assert different <= 0.01 * symbols
    for name, tiers in expected["times"].items():
        for head, rows in rounded(results[name].symbols).items():
            assert [row[2] for row in rows] == [row[2] for row in tiers[head]]
            times = [[row[:2] for row in table] for table in (rows, tiers[head])]
            np.testing.assert_allclose(*times, atol=0.02)
