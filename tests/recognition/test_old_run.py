"""A run and the shipped model give what version 0.1 gave; see tests/fixtures/run-0.1/README.md."""

import json
from pathlib import Path

import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein
from toy import RATE, manifest, tone, utterance

from speechasym.corpora import manifests
from speechasym.recognition.alignment import align
from speechasym.recognition.evaluation import evaluate
from speechasym.recognition.recogniser import Recogniser

FIXTURE = Path(__file__).parents[1] / "fixtures" / "run-0.1"
DATA = Path(__file__).parents[2] / "data"
RESULTS = json.loads((FIXTURE / "results.json").read_text("utf-8"))
SAMPLES = utterance(["mass", "am"])[0].astype(np.float32)


def rounded(tiers):
    return {
        name: [[round(a, 4), round(b, 4), label] for a, b, label, *_ in rows]
        for name, rows in tiers.items()
    }


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    return manifest(tmp_path_factory.mktemp("old"), "test", 7, 3)


@pytest.fixture(scope="module")
def recogniser():
    return Recogniser(FIXTURE / "run")


def test_posteriors(recogniser):
    with np.load(FIXTURE / "posteriors.npz") as expected:
        assert set(expected) == set(recogniser.heads) == {"phones", "letters", "words"}
        for head in recogniser.heads:
            result = recogniser.posteriors(SAMPLES, RATE, head)
            np.testing.assert_allclose(result.log_probs.numpy(), expected[head], atol=2e-4)


def test_evaluation(recogniser, cuts):
    result = evaluate(recogniser, cuts, show_progress=False)
    counts = {name: list(score.counts) for name, score in result.scores.items()}
    assert counts == RESULTS["scores"]
    assert result.hypotheses == RESULTS["hypotheses"]
    levels = [[one.steps, one.events, one.selectivity, one.beta] for one in result.levels]
    np.testing.assert_allclose(levels, RESULTS["levels"], rtol=1e-4)


def test_alignment(recogniser, cuts):
    result = align(recogniser.trained, next(iter(manifests.read_cuts(cuts))))
    assert result.score == pytest.approx(RESULTS["alignment"]["score"], abs=1e-4)
    assert rounded(result.tiers) == RESULTS["alignment"]["tiers"]


def test_transcription(recogniser, tmp_path):
    result = recogniser.transcribe(tone(tmp_path / "x.wav", SAMPLES, RATE))
    assert result.seconds == RESULTS["transcript"]["seconds"]
    assert rounded(result.symbols) == RESULTS["transcript"]["symbols"]


def test_the_shipped_model():
    """Another processor may round otherwise, so that one symbol in a hundred may differ."""
    expected = json.loads((FIXTURE / "shipped.json").read_text("utf-8"))
    recogniser = Recogniser()
    paths = sorted([*DATA.glob("*.flac"), *DATA.glob("*.wav")])
    results = {path.stem: recogniser.transcribe(path) for path in paths}
    assert set(results) == set(expected["text"])
    symbols = different = 0
    for name, texts in expected["text"].items():
        assert set(texts) == set(results[name].symbols)
        for head, text in texts.items():
            row, reference = results[name].text_of(head), text
            if head != "letters":
                row, reference = row.split(), reference.split()
            symbols += len(reference)
            different += Levenshtein.distance(reference, row)
    assert different <= 0.01 * symbols
    said = [line.upper().split() for line in (DATA / "transcripts.txt").read_text().splitlines()]
    books = {name.lower(): words for name, *words in said if name.startswith("LIBRIVOX")}
    wrong = [Levenshtein.distance(words, results[n].text.split()) for n, words in books.items()]
    assert books and sum(wrong) < 0.5 * sum(map(len, books.values()))
    for name, tiers in expected["times"].items():
        for head, rows in rounded(results[name].symbols).items():
            assert [row[2] for row in rows] == [row[2] for row in tiers[head]]
            times = [[row[:2] for row in table] for table in (rows, tiers[head])]
            np.testing.assert_allclose(*times, atol=0.02)
