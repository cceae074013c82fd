"""Error rates against dumb loops and by hand; intervals, speakers, and what is wrong."""

import math
import random

import jiwer
import numpy as np
import oracle
import pytest

from speechasym.errors import ScoringError
from speechasym.language.letters import spell
from speechasym.scoring import error_rates, tables
from speechasym.scoring.error_rates import Counts

SIL = "sil"


def pairs_of_sentences(count: int, seed: int, tokens=("a", "b", "c", SIL)):
    """Random references and hypotheses, empty ones among them, of some likeness or of none."""
    draw = random.Random(seed)
    for _ in range(count):
        reference = [draw.choice(tokens) for _ in range(draw.randrange(12))]
        hypothesis = [draw.choice(tokens) for _ in range(draw.randrange(12))]
        if draw.random() < 0.5:
            hypothesis = [t for t in reference if draw.random() < 0.8]
        yield reference, hypothesis


def check(pairs, reference, hypothesis):
    """An alignment holds the reference and the hypothesis, in order, and no empty pair."""
    assert [a for a, _ in pairs if a != error_rates.GAP] == reference
    assert [b for _, b in pairs if b != error_rates.GAP] == hypothesis
    assert (error_rates.GAP, error_rates.GAP) not in pairs


def test_alignments_are_the_oracles():
    """S + D + I of 1000 random pairs, with and without optional tokens, by brute force."""
    for reference, hypothesis in pairs_of_sentences(1000, seed=0):
        pairs = error_rates.align(reference, hypothesis)
        check(pairs, reference, hypothesis)
        assert sum(a != b for a, b in pairs) == oracle.edit_cost(reference, hypothesis)
        pairs = error_rates.align_optional(reference, hypothesis)
        check(pairs, reference, hypothesis)
        paid = [(a, b) for a, b in pairs if a != b and (a, b) != (SIL, error_rates.GAP)]
        assert len(paid) == oracle.edit_cost(reference, hypothesis, free=SIL)


def test_without_optional_tokens_both_alignments_cost_the_same():
    for reference, hypothesis in pairs_of_sentences(200, seed=1):
        plain, free = (
            error_rates.error_rate({"": [*reference, "a"]}, {"": hypothesis}, optional=optional)
            for optional in (None, "no such token")
        )
        assert plain.counts.errors == free.counts.errors


def test_counts_are_jiwers():
    sentences = [(r, h) for r, h in pairs_of_sentences(300, seed=2) if r]
    references = {f"s-{i}": r for i, (r, _) in enumerate(sentences)}
    hypotheses = {f"s-{i}": h for i, (_, h) in enumerate(sentences)}
    result = error_rates.error_rate(references, hypotheses)
    theirs = jiwer.process_words(
        [" ".join(r) for r, _ in sentences], [" ".join(h) for _, h in sentences]
    )
    c = result.counts
    assert (c.hits, c.substitutions, c.deletions, c.insertions) == (
        theirs.hits,
        theirs.substitutions,
        theirs.deletions,
        theirs.insertions,
    )
    assert result.rate == theirs.wer
    spoken = error_rates.error_rate(
        {name: spell(words) for name, words in references.items()},
        {name: spell(words) for name, words in hypotheses.items()},
    )
    assert spoken.rate == jiwer.cer(
        [" ".join(r) for r, _ in sentences], [" ".join(h) for _, h in sentences]
    )


def test_counts_by_hand():
    """The cat sat down / a cat sat on down: one substitution, one insertion, of four."""
    result = error_rates.error_rate(
        {"x_1": ["the", "cat", "sat", "down"], "x_2": ["go"]},
        {"x_1": ["a", "cat", "sat", "on", "down"], "x_2": []},
    )
    assert result.utterances == {"x_1": Counts(3, 1, 0, 1), "x_2": Counts(deletions=1)}
    assert result.counts == Counts(3, 1, 1, 1)
    assert result.rate == 3 / 5 and result.utterances["x_2"].rate == 1
    assert result.confusions == {
        ("the", "a"): 1,
        ("cat", "cat"): 1,
        ("sat", "sat"): 1,
        (error_rates.GAP, "on"): 1,
        ("down", "down"): 1,
        ("go", error_rates.GAP): 1,
    }
    rows = {row.token: row for row in tables.token_rows(result)}
    assert list(rows) == sorted(rows)
    assert rows["the"] == ("the", 1, 0, 1, 0, 0, "a")
    assert rows["go"] == ("go", 1, 0, 0, 1, 0, "")
    assert rows["on"] == ("on", 0, 0, 0, 0, 1, "")
    tokens, matrix = tables.confusion_matrix(result)
    assert matrix.sum() == 6 and np.trace(matrix) == 3
    assert matrix[tokens.index("the"), tokens.index("a")] == 1
    assert matrix[-1, tokens.index("on")] == matrix[tokens.index("go"), -1] == 1


def test_empty_reference_counts_its_insertions():
    result = error_rates.error_rate({"a_1": ["x"], "b_1": []}, {"a_1": ["x"], "b_1": ["y", "z"]})
    assert result.counts == Counts(hits=1, insertions=2) and result.rate == 2
    assert math.isnan(result.utterances["b_1"].rate) and result.empty == ("b_1",)
    both = error_rates.error_rate({"a_1": ["x"], "b_1": []}, {"a_1": ["x"], "b_1": []})
    assert both.rate == 0 and both.empty == ("b_1",)
    assert np.isnan(both.samples).any() and both.high == 0  # drawings of b alone have no rate


def test_all_references_empty():
    for references in ({}, {"a": []}):
        with pytest.raises(ScoringError, match=r"all \d are empty, so that no error"):
            error_rates.error_rate(references, {"a": ["x"]})
    with pytest.raises(ScoringError, match="no error rate is defined"):
        tables.score({"a": ["q", "q"]}, {"a": ["aa"]}, "per", "kaldi")


def test_missing_and_extra():
    references, hypotheses = {"a": ["x"], "b": ["x", "y"]}, {"a": ["x"], "c": ["z"]}
    result = error_rates.error_rate(references, hypotheses)
    assert (result.missing, result.extra) == (("b",), ("c",))
    assert result.counts == Counts(hits=1, deletions=2)
    with pytest.raises(ScoringError, match="utterance b: has no hypothesis, like 1 of 2"):
        error_rates.error_rate(references, hypotheses, strict=True)
    with pytest.raises(ScoringError, match="utterance c: has no reference, like 1 of 3"):
        error_rates.error_rate(references, hypotheses | {"b": []}, strict=True)


def test_ids_that_do_not_meet():
    """No silent 100 %: the ids are written otherwise."""
    with pytest.raises(ScoringError, match=r"none of the 1 ids is that .*'A_1'; ref.* as 'A/1'"):
        error_rates.error_rate({"A/1": ["x"]}, {"A_1": ["x"]})


def test_interval_is_repeatable_and_by_speaker():
    sentences = list(pairs_of_sentences(60, seed=4))
    references = {f"{i % 6}-{i}": r for i, (r, _) in enumerate(sentences)}
    hypotheses = {f"{i % 6}-{i}": h for i, (_, h) in enumerate(sentences)}
    one, two = (error_rates.error_rate(references, hypotheses, seed=5) for _ in range(2))
    assert np.array_equal(one.samples, two.samples) and one.speakers == 6
    assert one.low < one.rate < one.high
    assert not np.array_equal(
        one.samples, error_rates.error_rate(references, hypotheses, seed=6).samples
    )
    table = {name: name.split("-")[0] for name in references}
    same = error_rates.error_rate(references, hypotheses, speakers=table, seed=5)
    assert np.array_equal(one.samples, same.samples)
    # the drawings belong to the speakers: a system against itself differs by nothing
    again = error_rates.error_rate(dict(reversed(references.items())), hypotheses, seed=5)
    assert np.array_equal(one.samples, again.samples)


def test_interval_of_two_speakers_by_hand():
    """Speakers with errors 0 of 1 and 3 of 3: a drawing has 0, 1, or both, 3/4, of them."""
    result = error_rates.error_rate({"a": ["x"], "b": ["x"] * 3}, {"a": ["x"]}, rounds=4000)
    values, counts = np.unique(result.samples, return_counts=True)
    assert values.tolist() == [0, 0.75, 1]
    assert np.allclose(counts / 4000, [0.25, 0.5, 0.25], atol=0.03)
    assert (result.low, result.high) == (0, 1)


def test_one_speaker_has_no_interval():
    result = error_rates.error_rate({"a-1": ["x"], "a-2": ["x"]}, {})
    assert result.speakers == 1 and math.isnan(result.low) and math.isnan(result.high)


def test_unknown_speaker():
    with pytest.raises(ScoringError, match="utterance b: has no speaker among the 1"):
        error_rates.error_rate({"a": ["x"], "b": ["x"]}, {}, speakers={"a": "s"})


@pytest.mark.parametrize(
    ("name", "speaker"),
    [
        ("84-121123-0000", "84"),
        ("FCKE0_SI1111", "FCKE0"),
        ("TEST/DR1/FAKS0/SI943", "TEST/DR1/FAKS0"),
        ("dr1-fvmh0/sa1", "dr1-fvmh0"),
        ("alone", "alone"),
    ],
)
def test_speaker_of(name, speaker):
    assert error_rates.speaker_of(name) == speaker


def test_speaker_list(tmp_path):
    path = tmp_path / "s"
    path.write_text("u 1\nv 2\n")
    assert error_rates.read_speakers(path) == {"u": "1", "v": "2"}
    path.write_text("u 1\nv 2 3\n")
    with pytest.raises(ScoringError, match=r"s:2: expected 2 columns `utterance speaker`, got 3"):
        error_rates.read_speakers(path)
