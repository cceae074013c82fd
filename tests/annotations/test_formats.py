"""Alignments out and in again: the same times to the last bit, in every format."""

import random

import numpy as np
import pytest

import speechasym
from speechasym.annotations import intervals as alignments
from speechasym.annotations.intervals import Interval
from speechasym.errors import AnnotationError


def tier(seed=0, count=40, seconds=30):
    """Intervals with gaps, at sample times."""
    times = sorted(random.Random(seed).sample(range(16000 * seconds), 2 * count))
    return [
        Interval(a / 16000, b / 16000, f"p{k}" if k % 7 else 'ə"')
        for k, (a, b) in enumerate(zip(times[::2], times[1::2], strict=True))
    ]


@pytest.mark.parametrize("short", [False, True])
def test_textgrid(tmp_path, short):
    path = tmp_path / "a b.TextGrid"
    wanted = {"words": tier(1), "phones": tier(2, 100)}
    alignments.write_textgrid(path, wanted, 30.0, short)
    got = alignments.read_tiers(path)
    assert list(got) == ["words", "phones"]
    for name, intervals in wanted.items():
        assert [i for i in got[name] if i.label] == intervals
        assert got[name][0].start == 0 and got[name][-1].end == 30
        assert all(a.end == b.start for a, b in zip(got[name], got[name][1:], strict=False))
    wide = tmp_path / "wide.TextGrid"
    wide.write_text(path.read_text("utf-8"), "utf-16")
    assert alignments.read_tiers(wide) == got


@pytest.mark.parametrize("short", [False, True])
def test_praat_opens_it(tmp_path, short):
    parselmouth = pytest.importorskip("parselmouth", reason="praat-parselmouth is not installed")
    wanted = tier(3)
    alignments.write_textgrid(tmp_path / "x.TextGrid", {"phones": wanted}, 30.0, short)
    grid = parselmouth.read(str(tmp_path / "x.TextGrid"))
    count = parselmouth.praat.call(grid, "Get number of intervals", 1)
    rows = [
        Interval(
            parselmouth.praat.call(grid, "Get starting point", 1, k),
            parselmouth.praat.call(grid, "Get end point", 1, k),
            parselmouth.praat.call(grid, "Get label of interval", 1, k),
        )
        for k in range(1, count + 1)
    ]
    assert [row for row in rows if row.label] == wanted


def test_ctm_and_labels(tmp_path):
    wanted = {"a/b": tier(4), "c": tier(5)}
    alignments.write_ctm(tmp_path / "x.ctm", wanted)
    assert alignments.read_ctm(tmp_path / "x.ctm") == wanted
    odd = [Interval(0.1, 0.30000000000000004, "a b"), Interval(1 / 3, np.pi, "")]
    alignments.write_labels(tmp_path / "x.txt", odd)
    assert alignments.read_labels(tmp_path / "x.txt") == odd
    alignments.write_ctm(tmp_path / "y.ctm", {"z": [i._replace(label="q") for i in odd]})
    assert alignments.read_ctm(tmp_path / "y.ctm") == {"z": [i._replace(label="q") for i in odd]}


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("x.ctm", "a 1 0.1 0.2\n", r"x\.ctm:1"),
        ("x.ctm", "a 1 0.1 0.2 b\na 1 zero 0.2 b\n", r"x\.ctm:2.*times in s"),
        ("x.ctm", "a 1 0.1 -0.2 b\n", r"x\.ctm:1"),
        ("x.ctm", "", "empty"),
        ("x.txt", "0.1 0.2 b\n", r"x\.txt:1"),
        ("x.txt", "0.3\t0.2\tb\n", r"x\.txt:1"),
    ],
)
def test_bad_files(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    read = alignments.read_ctm if name.endswith("ctm") else alignments.read_labels
    with pytest.raises(AnnotationError, match=says):
        read(tmp_path / name)


@pytest.mark.parametrize(
    "intervals",
    [
        [Interval(0.0, 1.0, "a"), Interval(0.5, 2.0, "b")],
        [Interval(1.0, 0.5, "a")],
        [Interval(0.0, 31.0, "a")],
        [Interval(-1.0, 1.0, "a")],
    ],
)
def test_bad_intervals_leave_nothing(tmp_path, intervals):
    with pytest.raises(AnnotationError, match="in order"):
        alignments.write_textgrid(tmp_path / "x.TextGrid", {"phones": intervals}, 30.0)
    assert not list(tmp_path.iterdir())


def test_what_formats_cannot_hold(tmp_path):
    with pytest.raises(AnnotationError, match="spaces"):
        alignments.write_ctm(tmp_path / "x.ctm", {"a": [Interval(0, 1, "two words")]})
    with pytest.raises(AnnotationError, match="no tiers"):
        alignments.write_textgrid(tmp_path / "x.TextGrid", {}, 1.0)
    (tmp_path / "folder").write_text("")
    with pytest.raises(speechasym.OutputError):
        alignments.write_labels(tmp_path / "folder" / "x.txt", tier())
