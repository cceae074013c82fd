"""Boundary scores against dumb loops and by hand."""

import math
import random

import oracle
import pytest

from speechasym.annotations.intervals import Interval
from speechasym.errors import ScoringError
from speechasym.scoring import boundaries


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
        assert strict.correct == strict.recalled == oracle.most_pairs(times, others, 20)
        lenient = boundaries.score_boundaries(references, hypotheses, "lenient")
        assert lenient.correct == oracle.near_another(others, times, 20)
        assert lenient.recalled == oracle.near_another(times, others, 20)
        assert lenient.precision >= strict.precision and lenient.recall >= strict.recall


def test_boundaries_by_hand():
    """Two found near one boundary: strict counts one of them, lenient both."""
    references, hypotheses = {"u": [0.1, 0.5]}, {"u": [0.09, 0.12, 0.3]}
    strict = boundaries.score_boundaries(references, hypotheses)
    assert (strict.correct, strict.hypothesised, strict.reference) == (1, 3, 2)
    assert (strict.precision, strict.recall, strict.f1) == (1 / 3, 1 / 2, 0.4)
    # HR 0.5, OS 0.5: r1 = sqrt(0.5), r2 = -1 / sqrt(2)
    assert strict.r_value == pytest.approx(1 - math.sqrt(0.5))
    lenient = boundaries.score_boundaries(references, hypotheses, "lenient")
    assert (lenient.correct, lenient.recalled) == (2, 1)


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
        assert boundaries.score_boundaries({"u": [0.3]}, {"u": [0.32]}, matching).correct == 1
        assert boundaries.score_boundaries({"u": [0.3]}, {"u": [0.3201]}, matching).correct == 0


def test_boundaries_of_intervals_and_bad_ones():
    row = [Interval(0, 0.1, "a"), Interval(0.1, 0.3, "b"), Interval(0.3, 0.4, "c")]
    assert boundaries.inner_boundaries(row) == [0.1, 0.3]
    assert boundaries.inner_boundaries([]) == []
    for references, options, says in (
        ({"u": []}, {}, "no boundaries, so that"),
        ({"u": [math.nan]}, {}, "utterance u: times must be finite"),
        ({"u": [1]}, {"tolerance": -1}, "must be >= 0 s, got -1"),
        ({"u": [1]}, {"matching": "loose"}, "loose: unknown matching. Use strict or lenient"),
    ):
        with pytest.raises(ScoringError, match=says):
            boundaries.score_boundaries(references, {"u": [1]}, **options)
