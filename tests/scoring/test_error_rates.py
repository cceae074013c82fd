"""Scoring against dumb loops and by hand; conventions, intervals, readers, and what is wrong."""

import math
import os
import random
import re

import jiwer
import numpy as np
import oracle
import pytest
from helpers import ROOT, run_python

from speechasym.annotations import transcripts
from speechasym.annotations.intervals import Interval
from speechasym.errors import ScoringError
from speechasym.scoring import boundaries, error_rates
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
            error_rates.score({"": [*reference, "a"]}, {"": hypothesis}, optional=optional)
            for optional in (None, "no such token")
        )
        assert plain.counts.errors == free.counts.errors


def test_counts_are_jiwers():
    sentences = [(r, h) for r, h in pairs_of_sentences(300, seed=2) if r]
    references = {f"s-{i}": r for i, (r, _) in enumerate(sentences)}
    hypotheses = {f"s-{i}": h for i, (_, h) in enumerate(sentences)}
    result = error_rates.score(references, hypotheses)
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
    spoken = error_rates.score(
        {name: error_rates.letters(words) for name, words in references.items()},
        {name: error_rates.letters(words) for name, words in hypotheses.items()},
    )
    assert spoken.rate == jiwer.cer(
        [" ".join(r) for r, _ in sentences], [" ".join(h) for _, h in sentences]
    )


def test_counts_by_hand():
    """The cat sat down / a cat sat on down: one substitution, one insertion, of four."""
    result = error_rates.score(
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
    rows = {row.token: row for row in error_rates.table(result)}
    assert list(rows) == sorted(rows)
    assert rows["the"] == ("the", 1, 0, 1, 0, 0, "a")
    assert rows["go"] == ("go", 1, 0, 0, 1, 0, "")
    assert rows["on"] == ("on", 0, 0, 0, 0, 1, "")
    tokens, matrix = error_rates.confusion_matrix(result)
    assert matrix.sum() == 6 and np.trace(matrix) == 3
    assert matrix[tokens.index("the"), tokens.index("a")] == 1
    assert matrix[-1, tokens.index("on")] == matrix[tokens.index("go"), -1] == 1
    assert error_rates.letters(["it's", "so"]) == ["i", "t", "'", "s", " ", "s", "o"]


def test_table_and_matrix_add_up():
    sentences = list(pairs_of_sentences(50, seed=3))
    references = {f"a-{i}": r for i, (r, _) in enumerate(sentences)}
    result = error_rates.score(references, {f"a-{i}": h for i, (_, h) in enumerate(sentences)})
    rows = error_rates.table(result)
    c = result.counts
    sums = [sum(row[i] for row in rows) for i in range(1, 6)]
    assert sums == [c.length, c.hits, c.substitutions, c.deletions, c.insertions]
    _, matrix = error_rates.confusion_matrix(result)
    assert matrix[:-1].sum() == c.length and matrix[-1].sum() == c.insertions


# --- Empty, missing, extra ------------------------------------------------------------------------


def test_empty_reference_counts_its_insertions():
    result = error_rates.score({"a_1": ["x"], "b_1": []}, {"a_1": ["x"], "b_1": ["y", "z"]})
    assert result.counts == Counts(hits=1, insertions=2) and result.rate == 2
    assert math.isnan(result.utterances["b_1"].rate) and result.empty == ("b_1",)
    both = error_rates.score({"a_1": ["x"], "b_1": []}, {"a_1": ["x"], "b_1": []})
    assert both.rate == 0 and both.empty == ("b_1",)
    assert np.isnan(both.samples).any() and both.high == 0  # drawings of b alone have no rate


def test_all_references_empty():
    for references in ({}, {"a": []}):
        with pytest.raises(ScoringError, match=r"none of the \d has a token, so that no error"):
            error_rates.score(references, {"a": ["x"]})
    with pytest.raises(ScoringError, match="no error rate is defined"):
        error_rates.score_timit({"a": ["q", "q"]}, {"a": ["aa"]}, "kaldi")


def test_missing_and_extra():
    references, hypotheses = {"a": ["x"], "b": ["x", "y"]}, {"a": ["x"], "c": ["z"]}
    result = error_rates.score(references, hypotheses)
    assert (result.missing, result.extra) == (("b",), ("c",))
    assert result.counts == Counts(hits=1, deletions=2)
    with pytest.raises(ScoringError, match="utterance b: no hypothesis for it, and for 1 of 2"):
        error_rates.score(references, hypotheses, strict=True)
    with pytest.raises(ScoringError, match="utterance c: no reference for it, and for 1 of 3"):
        error_rates.score(references, hypotheses | {"b": []}, strict=True)


def test_ids_that_do_not_meet():
    """No silent 100 %: the ids are written otherwise."""
    with pytest.raises(ScoringError, match=r"none of the 1 has the id of a ref.*'A_1' is not like"):
        error_rates.score({"A/1": ["x"]}, {"A_1": ["x"]})


# --- Intervals ------------------------------------------------------------------------------------


def test_interval_is_repeatable_and_by_speaker():
    sentences = list(pairs_of_sentences(60, seed=4))
    references = {f"{i % 6}-{i}": r for i, (r, _) in enumerate(sentences)}
    hypotheses = {f"{i % 6}-{i}": h for i, (_, h) in enumerate(sentences)}
    one, two = (error_rates.score(references, hypotheses, seed=5) for _ in range(2))
    assert np.array_equal(one.samples, two.samples) and one.speakers == 6
    assert one.low < one.rate < one.high
    assert not np.array_equal(
        one.samples, error_rates.score(references, hypotheses, seed=6).samples
    )
    table = {name: name.split("-")[0] for name in references}
    same = error_rates.score(references, hypotheses, speakers=table, seed=5)
    assert np.array_equal(one.samples, same.samples)
    # the drawings belong to the speakers: a system against itself differs by nothing
    again = error_rates.score(dict(reversed(references.items())), hypotheses, seed=5)
    assert np.array_equal(one.samples, again.samples)


def test_interval_of_two_speakers_by_hand():
    """Speakers with errors 0 of 1 and 3 of 3: a drawing has 0, 1, or both, 3/4, of them."""
    result = error_rates.score({"a": ["x"], "b": ["x"] * 3}, {"a": ["x"]}, rounds=4000)
    values, counts = np.unique(result.samples, return_counts=True)
    assert values.tolist() == [0, 0.75, 1]
    assert np.allclose(counts / 4000, [0.25, 0.5, 0.25], atol=0.03)
    assert (result.low, result.high) == (0, 1)


def test_one_speaker_has_no_interval():
    result = error_rates.score({"a-1": ["x"], "a-2": ["x"]}, {})
    assert result.speakers == 1 and math.isnan(result.low) and math.isnan(result.high)


def test_unknown_speaker():
    with pytest.raises(ScoringError, match="utterance b: its speaker is not among the 1"):
        error_rates.score({"a": ["x"], "b": ["x"]}, {}, speakers={"a": "s"})


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


# --- TIMIT's conventions --------------------------------------------------------------------------

REFERENCE = ["h#", "q", "ix", "n", "pcl", "p", "q", "tcl", "t", "h#"]
HYPOTHESIS = ["h#", "ih", "en", "p", "tcl", "t", "h#"]


def test_preparation_by_hand():
    def prepared(tokens, name):
        return " ".join(error_rates.prepare({"u": tokens}, name)["u"])

    for name in ("kaldi", "optional-silence"):
        assert prepared(REFERENCE, name) == "sil ih n sil p sil t sil"
        assert prepared(["h#", "q", "pau", "q"], name) == "sil sil"
    assert prepared(["h#", "q", "pau", "dcl", "d", "sil", "cl", "vcl"], "merged") == "sil d sil"
    assert prepared(["q"], "merged") == ""
    assert prepared(REFERENCE, "strict") == " ".join(REFERENCE)
    # 61, 48 and 39 come to the same
    assert prepared(["sil", "ix", "en", "cl", "p"], "kaldi") == "sil ih n sil p"


def test_conventions_by_hand():
    """
    reference   h#  q  ix n  pcl p q tcl t h#       hypothesis  h# ih en p tcl t h#
    39 classes  sil    ih n  sil p   sil t sil                  sil ih n p sil t sil
    """
    found = error_rates.conventions({"u": REFERENCE}, {"u": HYPOTHESIS})
    assert list(found) == ["kaldi", "optional-silence", "merged", "strict"]
    assert found["kaldi"].counts == Counts(hits=7, deletions=1)  # the closure of p
    assert found["optional-silence"].counts == Counts(hits=7, excused=1)
    assert found["merged"].counts == Counts(hits=7, deletions=1)
    # strict: q, q and pcl deleted, ix taken for ih, n for en
    assert found["strict"].counts == Counts(hits=5, substitutions=2, deletions=3)
    assert [result.rate for result in found.values()] == [1 / 8, 0, 1 / 8, 5 / 10]


def test_silences_by_hand():
    """Runs of silence, inserted silence, and another phone instead of a silence."""

    def rates(reference, hypothesis):
        found = error_rates.conventions({"u": reference.split()}, {"u": hypothesis.split()})
        return [(r.counts.errors, r.counts.length) for r in found.values()]

    # kaldi, optional-silence, merged, strict
    assert rates("aa tcl pau b", "aa tcl b") == [(1, 4), (0, 4), (0, 3), (1, 4)]
    assert rates("aa tcl b", "aa tcl pau b") == [(1, 3), (1, 3), (0, 3), (1, 3)]
    assert rates("aa b", "aa pau b") == [(1, 2), (1, 2), (1, 2), (1, 2)]
    assert rates("aa pau b", "aa d b") == [(1, 3), (1, 3), (1, 3), (1, 3)]
    assert rates("h# aa h#", "aa") == [(2, 3), (0, 3), (2, 3), (2, 3)]
    assert rates("aa pau", "") == [(2, 2), (1, 2), (2, 2), (2, 2)]


def test_optional_silence_prefers_a_substitution():
    """As in sclite: not a silence deleted for nothing and a phone inserted, at the same cost."""
    result = error_rates.score_timit(
        {"u": ["aa", "pau", "b"]}, {"u": ["aa", "d", "b"]}, "optional-silence"
    )
    assert result.counts == Counts(hits=2, substitutions=1)


def test_folded_transcripts_are_not_scored_strictly():
    for hypothesis in (["sil", "aa"], ["cl", "aa"]):
        found = error_rates.conventions({"u": ["h#", "aa"]}, {"u": hypothesis})
        assert list(found) == ["kaldi", "optional-silence", "merged"]
        assert [result.rate for result in found.values()] == [0, 0, 0]
        with pytest.raises(ScoringError, match=rf"utterance u: '{hypothesis[0]}' is no symbol"):
            error_rates.score_timit({"u": ["aa"]}, {"u": hypothesis}, "strict")


def test_unknown_phones_and_conventions(tmp_path):
    with pytest.raises(ScoringError, match=r"utterance u: 'AA' is no symbol of TIMIT's 61, 48 or"):
        error_rates.score_timit({"u": ["AA"]}, {}, "kaldi")
    with pytest.raises(ScoringError, match=r"sclite: no such convention. They are: kaldi, opt"):
        error_rates.score_timit({"u": ["aa"]}, {}, "sclite")
    path = write(tmp_path / "hyp.txt", "u aa\n\nv aa xx\n")
    with pytest.raises(ScoringError, match=r"hyp.txt:3, utterance v: 'xx' is no symbol"):
        error_rates.report(path, path, "per", "all")


# --- Boundaries -----------------------------------------------------------------------------------


def test_boundaries_are_the_oracles():
    draw = random.Random(0)
    for _ in range(500):
        # in whole ms, of which many are shared or exactly 20 apart
        times, others = (
            [draw.randrange(12) * 10 for _ in range(draw.randrange(1, 6))] for _ in "ab"
        )
        references = {"u": [t / 1000 for t in times]}
        hypotheses = {"u": [t / 1000 for t in others]}
        strict = boundaries.score_boundaries(references, hypotheses)
        assert strict.right == strict.recalled == oracle.most_pairs(times, others, 20)
        lenient = boundaries.score_boundaries(references, hypotheses, "lenient")
        assert lenient.right == oracle.near_another(others, times, 20)
        assert lenient.recalled == oracle.near_another(times, others, 20)
        assert lenient.precision >= strict.precision and lenient.recall >= strict.recall


def test_boundaries_by_hand():
    """Two found near one boundary: strict counts one of them, lenient both."""
    references, hypotheses = {"u": [0.1, 0.5]}, {"u": [0.09, 0.12, 0.3]}
    strict = boundaries.score_boundaries(references, hypotheses)
    assert (strict.right, strict.found, strict.reference) == (1, 3, 2)
    assert (strict.precision, strict.recall, strict.f1) == (1 / 3, 1 / 2, 0.4)
    # HR 0.5, OS 0.5: r1 = sqrt(0.5), r2 = -1 / sqrt(2)
    assert strict.r_value == pytest.approx(1 - math.sqrt(0.5))
    lenient = boundaries.score_boundaries(references, hypotheses, "lenient")
    assert (lenient.right, lenient.recalled) == (2, 1)


def test_r_value():
    """1 where all is right; Räsänen's point that finding more does not help."""
    right = {"u": [1.0, 2.0, 3.0]}
    assert boundaries.score_boundaries(right, right)[:4] == (1, 1, 1, 1)
    everywhere = {"u": [i / 50 for i in range(200)]}
    found = boundaries.score_boundaries(right, everywhere)
    assert found.recall == 1 and found.r_value < -10
    nothing = boundaries.score_boundaries(right, {})
    assert nothing[:3] == (0, 0, 0)
    assert nothing.r_value == pytest.approx(1 - math.sqrt(2) / 2)  # HR 0, OS -1: r1 1.41, r2 0


def test_boundaries_at_the_tolerance():
    """0.32 - 0.30 is more than 0.02 in floating point, and near all the same."""
    assert 0.32 - 0.30 > 0.02
    for matching in ("strict", "lenient"):
        assert boundaries.score_boundaries({"u": [0.3]}, {"u": [0.32]}, matching).right == 1
        assert boundaries.score_boundaries({"u": [0.3]}, {"u": [0.3201]}, matching).right == 0


def test_boundaries_of_intervals_and_bad_ones():
    row = [Interval(0, 0.1, "a"), Interval(0.1, 0.3, "b"), Interval(0.3, 0.4, "c")]
    assert boundaries.inner_boundaries(row) == [0.1, 0.3]
    assert boundaries.inner_boundaries([]) == []
    for references, options, says in (
        ({"u": []}, {}, "hold no boundary"),
        ({"u": [math.nan]}, {}, "utterance u: has times that are no numbers"),
        ({"u": [1]}, {"tolerance": -1}, "-1 s is not 0 s or more"),
        ({"u": [1]}, {"matching": "loose"}, "loose: no such matching. They are: strict, lenient"),
    ):
        with pytest.raises(ScoringError, match=says):
            boundaries.score_boundaries(references, {"u": [1]}, **options)


# --- Report ---------------------------------------------------------------------------------------


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_speaker_list(tmp_path):
    assert error_rates.read_speakers(write(tmp_path / "s", "u 1\nv 2\n")) == {"u": "1", "v": "2"}
    with pytest.raises(ScoringError, match=r"s:2: 3 columns instead of `utterance speaker`"):
        error_rates.read_speakers(write(tmp_path / "s", "u 1\nv 2 3\n"))


def test_report(tmp_path):
    reference = write(tmp_path / "ref.txt", f"a_1 {' '.join(REFERENCE)}\nb_1 aa\nc_1\n")
    hypothesis = write(tmp_path / "hyp.txt", f"a_1 {' '.join(HYPOTHESIS)}\nc_1 aa\nd_1 aa\n")
    text = error_rates.report(reference, hypothesis, "per", "all", confusions=2)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "Phone error rate, 3 utterances, 3 speakers"
    assert [line.split()[0] for line in lines[3:7]] == list(error_rates.CONVENTIONS)
    # 8 + 1 phones: the closure and aa deleted, aa inserted. Speakers have 1 error of 8, of 1 and
    # of 0 phones: from a, a, a to b, c, c, in any order, which is 3 in 26 (c, c, c has no rate)
    assert " ".join(lines[3].split()) == "kaldi 33.33% 12.50% - 300.00% 9 0 2 1 0"
    assert "1 (b_1) without hypothesis, scored as empty" in lines
    assert "1 (d_1) without reference, left out" in lines
    assert "1 (c_1) with empty reference: insertions count" in lines
    assert "kaldi: most frequent errors" in lines and "strict: each token" in lines
    one = error_rates.report(reference, hypothesis, "per", "kaldi").splitlines()
    assert one[3] == lines[3]
    assert error_rates.report(reference, hypothesis, "per", "all", confusions=2) == text


def test_reports_notes_are_narrow(tmp_path):
    """Long names and large numbers do not widen them."""
    name = "speaker-" + "x" * 90
    reference = write(
        tmp_path / "ref", "".join(f"{name}{i} {'aa' if i % 2 else ''}\n" for i in range(3000))
    )
    hypothesis = write(tmp_path / "hyp", f"{name}0 aa\n{name} aa\n" + "other-1 aa\n")
    text = error_rates.report(reference, hypothesis, "per", "kaldi", confusions=3)
    assert max(map(len, text.splitlines())) <= 80
    assert "2999 (...xxx" in text and "2 (" in text and "1500 (" in text


def test_report_of_folded_hypotheses_says_why_strict_is_left_out(tmp_path):
    reference = write(tmp_path / "ref.txt", "a h# aa\n")
    text = error_rates.report(reference, write(tmp_path / "hyp.txt", "a sil aa\n"), "per", "all")
    assert "strict is left out: sil is none of TIMIT's 61 symbols" in text
    assert "no interval: it needs two speakers" in text


def test_report_of_words_and_letters(tmp_path):
    reference = write(tmp_path / "ref.txt", "1-a the cat\n2-a it is\n")
    hypothesis = write(tmp_path / "hyp.txt", "1-a the hat\n2-a itis\n")
    words = error_rates.report(reference, hypothesis, "wer").splitlines()
    assert words[0] == "Word error rate, 2 utterances, 2 speakers"
    assert words[3].split()[:2] == ["-", "75.00%"]
    spoken = error_rates.report(reference, hypothesis, "ler", confusions=5).splitlines()
    assert spoken[3].split()[1] == "16.67%"  # c taken for h, a space deleted, of 7 + 5 letters
    assert any(line.split() == ["(space)", "(none)", "1"] for line in spoken)
    speakers = write(tmp_path / "utt2spk", "1-a s\n2-a s\n")
    assert "1 speaker\n" in error_rates.report(reference, hypothesis, "wer", None, speakers)


@pytest.mark.parametrize(
    ("unit", "convention", "says"),
    [
        ("cer", None, "cer: no such unit. They are: per, wer, ler"),
        ("wer", "kaldi", "kaldi: a convention for phones, not for words"),
        ("per", "sclite", "sclite: no such convention"),
    ],
)
def test_report_of_what_there_is_not(tmp_path, unit, convention, says):
    path = write(tmp_path / "ref.txt", "a x\n")
    with pytest.raises(ScoringError, match=says):
        error_rates.report(path, path, unit, convention)


@pytest.mark.corpus("TIMIT_ROOT")
def test_the_documents_example(tmp_path):
    """docs/scoring.md shows what its code prints: four conventions on one hypothesis file."""
    text = (ROOT / "docs" / "scoring.md").read_text("utf-8")
    code, shown = re.search(r"```python\n(.*?)```\n+```\n(.*?)```", text, re.DOTALL).groups()
    root = os.path.abspath(os.environ["TIMIT_ROOT"])
    env = os.environ | {"TIMIT_ROOT": root, "PYTHONPATH": str(ROOT)}
    done = run_python("-c", code, cwd=tmp_path, env=env)
    assert (done.code, done.out) == (0, shown), done.err
    references = transcripts.read_transcripts(root)
    assert {r.rate for r in error_rates.conventions(references, references).values()} == {0}
