"""TextGrids as praatio writes and Praat opens them, and what is wrong with others."""

import random
import re

import pytest
from praatio import textgrid
from praatio.utilities.constants import Interval as Written

from speechasym.annotations.intervals import Interval
from speechasym.annotations.textgrid import read_textgrid, write_textgrid
from speechasym.errors import AnnotationError

WORDS = [Interval(0, 0.5, 'he "said"'), Interval(0.5, 0.6, ""), Interval(0.6, 1.5, "ə $x^$")]
PHONES = [Interval(0, 0.25, "a"), Interval(0.25, 1.5, "b")]


@pytest.fixture(params=["long_textgrid", "short_textgrid"])
def grid(tmp_path, request):
    """A TextGrid's path, with two tiers of intervals and one of points between them."""
    made = textgrid.Textgrid()
    for name, rows in (("words", WORDS), ("phones", PHONES)):
        rows = [Written(*row) for row in rows if row.label]
        made.addTier(textgrid.IntervalTier(name, rows, 0, 1.5))
        if name == "words":
            made.addTier(textgrid.PointTier("clicks", [(0.2, "a")], 0, 1.5))
    path = tmp_path / "x.TextGrid"
    made.save(str(path), request.param, includeBlankSpaces=True)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_textgrid(grid, encoding, end):
    """Both forms, in each encoding and with each end of line: tiers of intervals, in order."""
    grid.write_bytes(grid.read_text("utf-8").replace("\n", end).encode(encoding))
    found = read_textgrid(str(grid))
    assert found == {"words": WORDS, "phones": PHONES}
    assert list(found) == ["words", "phones"]


def test_truncated_anywhere(grid):
    text = grid.read_text("utf-8")
    for size in range(1, len(text.rstrip()) - 4, 3):
        grid.write_text(text[:size], "utf-8")
        with pytest.raises(AnnotationError, match=r"TextGrid|Copy it again"):
            read_textgrid(grid)


def test_tiers_of_one_name(grid):
    grid.write_text(grid.read_text("utf-8").replace('"phones"', '"words"'), "utf-8")
    assert read_textgrid(grid) == {"words": WORDS, "words 2": PHONES}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (r"0\.25\b", "-0.25", r"x.TextGrid:\d+: start must be >= 0, got -0.25 s"),
        (r"0\.25\b", "1.75", r"x.TextGrid:\d+: end 1.5 s is before the start at 1.75"),
        ("ooTextFile", "ooBinaryFile", "x.TextGrid:1: not a TextGrid; the first lines should be"),
        ("TextGrid", "PitchTier", "x.TextGrid:1: not a TextGrid"),
    ],
)
def test_bad_textgrid(grid, old, new, says):
    grid.write_text(re.sub(old, new, grid.read_text("utf-8")), "utf-8")
    with pytest.raises(AnnotationError, match=says):
        read_textgrid(grid)


def test_line_of_a_reversed_interval(grid):
    lines = re.sub(r"0\.25\b", "1.75", grid.read_text("utf-8")).split("\n")
    grid.write_text("\n".join(lines), "utf-8")
    with pytest.raises(AnnotationError) as caught:
        read_textgrid(grid)
    number = int(str(caught.value.args[0]).rsplit(":", 1)[1])
    assert "1.75" in lines[number - 1] and "1.5" in lines[number]


def tier(seed=0, count=40, seconds=30):
    """Intervals with gaps, at sample times."""
    times = sorted(random.Random(seed).sample(range(16000 * seconds), 2 * count))
    return [
        Interval(a / 16000, b / 16000, f"p{k}" if k % 7 else 'ə"')
        for k, (a, b) in enumerate(zip(times[::2], times[1::2], strict=True))
    ]


@pytest.mark.parametrize("short", [False, True])
def test_textgrid_goes_round(tmp_path, short):
    path = tmp_path / "a b.TextGrid"
    wanted = {"words": tier(1), "phones": tier(2, 100)}
    write_textgrid(path, wanted, 30.0, short)
    got = read_textgrid(path)
    assert list(got) == ["words", "phones"]
    for name, intervals in wanted.items():
        assert [i for i in got[name] if i.label] == intervals
        assert got[name][0].start == 0 and got[name][-1].end == 30
        assert all(a.end == b.start for a, b in zip(got[name], got[name][1:], strict=False))
    wide = tmp_path / "wide.TextGrid"
    wide.write_text(path.read_text("utf-8"), "utf-16")
    assert read_textgrid(wide) == got


@pytest.mark.parametrize("short", [False, True])
def test_praat_opens_it(tmp_path, short):
    parselmouth = pytest.importorskip("parselmouth", reason="praat-parselmouth is not installed")
    wanted = tier(3)
    write_textgrid(tmp_path / "x.TextGrid", {"phones": wanted}, 30.0, short)
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
        write_textgrid(tmp_path / "x.TextGrid", {"phones": intervals}, 30.0)
    assert not list(tmp_path.iterdir())


def test_no_tiers(tmp_path):
    with pytest.raises(AnnotationError, match="no tiers"):
        write_textgrid(tmp_path / "x.TextGrid", {}, 1.0)
