"""TIMIT's scoring conventions, by hand."""

import pytest

from speechasym.errors import ScoringError
from speechasym.scoring import timit
from speechasym.scoring.error_rates import Counts
from speechasym.scoring.tables import score

REFERENCE = ["h#", "q", "ix", "n", "pcl", "p", "q", "tcl", "t", "h#"]
HYPOTHESIS = ["h#", "ih", "en", "p", "tcl", "t", "h#"]


def rates_of(reference, hypothesis):
    """{convention: error rate} of one utterance."""
    return score({"u": reference}, {"u": hypothesis}, "per", "all").rates


def test_preparation_by_hand():
    def prepared(tokens, name):
        return " ".join(timit.apply_convention({"u": tokens}, name)["u"])

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
    found = rates_of(REFERENCE, HYPOTHESIS)
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
        found = rates_of(reference.split(), hypothesis.split())
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
    rates = score(
        {"u": ["aa", "pau", "b"]}, {"u": ["aa", "d", "b"]}, "per", "optional-silence"
    ).rates
    assert rates["optional-silence"].counts == Counts(hits=2, substitutions=1)


def test_folded_transcripts_are_not_scored_strictly():
    for hypothesis in (["sil", "aa"], ["cl", "aa"]):
        found = rates_of(["h#", "aa"], hypothesis)
        assert list(found) == ["kaldi", "optional-silence", "merged"]
        assert [result.rate for result in found.values()] == [0, 0, 0]
        with pytest.raises(ScoringError, match=rf"utterance u: '{hypothesis[0]}' is not one of"):
            score({"u": ["aa"]}, {"u": hypothesis}, "per", "strict")


def test_unknown_phones_and_conventions():
    with pytest.raises(ScoringError, match=r"utterance u: 'AA' is not one of TIMIT's 61, 48 or"):
        score({"u": ["AA"]}, {}, "per", "kaldi")
    with pytest.raises(ScoringError, match=r"sclite: unknown convention. Use one of kaldi, opt"):
        score({"u": ["aa"]}, {}, "per", "sclite")
