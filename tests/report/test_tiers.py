"""What was said and recognised, aligned in time."""

from itertools import pairwise
from types import SimpleNamespace

import pytest

from speechasym.annotations.intervals import Interval
from speechasym.report import data
from speechasym.report.tiers import _annotated_times, align_symbols
from speechasym.training.config import LabelConfig


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


@pytest.mark.parametrize(
    ("silence", "tokens", "starts"),
    [
        ("keep", ["sil", "sh", "sil", "sil", "k"], [0.0, 0.1, 0.2, 0.3, 0.4]),
        ("merge", ["sil", "sh", "sil", "k"], [0.0, 0.1, 0.2, 0.4]),
        ("drop", ["sh", "k"], [0.1, 0.4]),
    ],
)
def test_silences_of_an_annotation_are_those_of_the_run(silence, tokens, starts):
    labels = LabelConfig(silence=silence, fold="timit39")
    trained = SimpleNamespace(config=SimpleNamespace(data=SimpleNamespace(labels=labels)))
    symbols = ["h#", "zh", "pau", "kcl", "k"]
    phones = [Interval(n / 10, (n + 1) / 10, symbol) for n, symbol in enumerate(symbols)]
    recording = SimpleNamespace(title="a.wav", reference={"phones": phones})
    assert data._reference(trained, recording) == ({"phones": tokens}, "")
    times = _annotated_times(recording, "phones", tokens, labels)
    assert [i.start for i in times] == starts and times[-1].end == 0.5
    recording.reference["words"] = [Interval(0.1, 0.5, "shack")]
    recording.reference["phones"][0] = Interval(0, 0.1, "AA1")
    found, about = data._reference(trained, recording)
    assert found == {"words": ["SHACK"]} and "'AA1' is not a symbol of TIMIT" in about
    assert _annotated_times(recording, "phones", tokens, labels) is None
