"""What was said and recognised, aligned in time."""

from itertools import pairwise

import pytest

from speechasym.annotations.intervals import Interval
from speechasym.report.tiers import align_symbols


def test_align_symbols():
    """Symbols have their errors, and what was missed lies between its neighbours."""
    recognised = [Interval(0.1, 0.2, "a"), Interval(0.2, 0.3, "x"), Interval(0.6, 0.7, "c")]
    said, below = align_symbols(["a", "b", "d", "c"], None, recognised, 1.0)
    assert [(m.label, m.kind) for m in said] in (
        [("a", ""), ("b", "s"), ("d", "d"), ("c", "")],
        [("a", ""), ("b", "d"), ("d", "s"), ("c", "")],
    )
    assert [m.kind for m in below] == ["", "s", ""]
    assert all(a.end <= b.start + 1e-9 and a.start < a.end for a, b in pairwise(said))
    said, below = align_symbols(["a", "c"], None, recognised, 1.0)
    assert [m.kind for m in below] == ["", "i", ""] and [m.start for m in said] == [0.1, 0.6]
    # without room a slot takes some from both neighbours
    close = [Interval(0.1, 0.2, "a"), Interval(0.2, 0.3, "c")]
    a, b, c = align_symbols(["a", "b", "c"], None, close, 1.0)[0]
    assert a.end == pytest.approx(b.start) and b.end == pytest.approx(c.start)
    assert b.end - b.start == pytest.approx(0.05) and c.end == 0.3
    assert align_symbols(["a", "b"], None, [], 1.0)[1] == []
    times = [Interval(0.0, 0.4, "a"), Interval(0.4, 0.5, "c")]
    assert [m.start for m in align_symbols(["a", "c"], times, recognised, 1.0)[0]] == [0.0, 0.4]
