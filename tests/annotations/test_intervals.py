"""Alignments: TextGrids as praatio writes them, TIMIT's files, and what is wrong with others."""

import re

import pytest
from helpers import tone
from praatio import textgrid
from praatio.utilities.constants import Interval as Written

from speechasym.annotations.intervals import Interval, read_tiers, tiers_beside
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
    found = read_tiers(str(grid))
    assert found == {"words": WORDS, "phones": PHONES}
    assert list(found) == ["words", "phones"]


def test_textgrid_cut_anywhere_is_no_textgrid(grid):
    text = grid.read_text("utf-8")
    for size in range(1, len(text.rstrip()) - 4, 3):
        grid.write_text(text[:size], "utf-8")
        with pytest.raises(AnnotationError, match=r"TextGrid|Copy it again"):
            read_tiers(grid)


def test_tiers_of_one_name(grid):
    grid.write_text(grid.read_text("utf-8").replace('"phones"', '"words"'), "utf-8")
    assert read_tiers(grid) == {"words": WORDS, "words 2": PHONES}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (r"0\.25\b", "-0.25", r"x.TextGrid:\d+: start -0.25 s is before the recording"),
        (r"0\.25\b", "1.75", r"x.TextGrid:\d+: end 1.5 s is before the start, 1.75; times rise"),
        ("ooTextFile", "ooBinaryFile", "x.TextGrid:1: no TextGrid; the first lines should be"),
        ("TextGrid", "PitchTier", "x.TextGrid:1: no TextGrid"),
    ],
)
def test_textgrid_that_cannot_be(grid, old, new, says):
    grid.write_text(re.sub(old, new, grid.read_text("utf-8")), "utf-8")
    with pytest.raises(AnnotationError, match=says):
        read_tiers(grid)


def test_line_of_a_reversed_interval(grid):
    lines = re.sub(r"0\.25\b", "1.75", grid.read_text("utf-8")).split("\n")
    grid.write_text("\n".join(lines), "utf-8")
    with pytest.raises(AnnotationError) as caught:
        read_tiers(grid)
    number = int(str(caught.value.args[0]).rsplit(":", 1)[1])
    assert "1.75" in lines[number - 1] and "1.5" in lines[number]


@pytest.mark.parametrize(("name", "tier"), [("x.PHN", "phones"), ("x.wrd", "words")])
def test_timit(tmp_path, name, tier):
    path = tmp_path / name
    path.write_bytes(b"0 1600 h#\r\n1600 3200\tsh\n\n3200 3200 q\n")
    rows = [Interval(0, 0.1, "h#"), Interval(0.1, 0.2, "sh"), Interval(0.2, 0.2, "q")]
    assert read_tiers(path) == {tier: rows}
    assert read_tiers(path, sample_rate=8000)[tier][1] == Interval(0.2, 0.4, "sh")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "x.PHN: is empty; at least one interval is expected"),
        (b" \n", "x.PHN: is empty"),
        (b"0 9 a\n9 18\n", r"x.PHN:2: '9 18' is not `start end label`, .* Mend the line"),
        (b"0 9 a\n9 1.8 b\n", "x.PHN:2: '9 1.8 b' is not"),
        (b"9 8 a\n", "x.PHN:1: end 8 samples is before the start, 9; times rise. Swap"),
        (b"-9 8 a\n", "x.PHN:1: start -9 samples is before the recording"),
        (b"0 9 a\n9 12 \xff\n", "x.PHN:2: byte 11 is neither UTF-8 nor"),
        (b"\xff\xfe0", "x.PHN:1: byte 2 is neither"),
    ],
)
def test_timit_that_cannot_be(tmp_path, text, says):
    (tmp_path / "x.PHN").write_bytes(text)
    with pytest.raises(AnnotationError, match=says):
        read_tiers(tmp_path / "x.PHN")


def test_files_that_are_none(tmp_path):
    with pytest.raises(AnnotationError, match=r"x\.lab: not an alignment file known here"):
        read_tiers(tmp_path / "x.lab")
    with pytest.raises(AnnotationError, match=r"x.PHN: cannot be read \(No such file"):
        read_tiers(tmp_path / "x.PHN")


def test_tiers_beside_a_recording(tmp_path, grid):
    """A TextGrid goes before TIMIT's files; endings have any letter case, names only one."""
    sound = tone(tmp_path / "y.wav")
    assert tiers_beside(sound) == {}
    (tmp_path / "y.Phn").write_text("0 1600 a\n")
    assert tiers_beside(sound) == {"phones": [Interval(0, 0.1, "a")]}
    (tmp_path / "y.WRD").write_text("0 1600 b\n")
    assert list(tiers_beside(sound)) == ["words", "phones"]
    grid.rename(tmp_path / "Y.TextGrid")
    assert tiers_beside(sound)["words"] == [Interval(0, 0.1, "b")]
    (tmp_path / "Y.TextGrid").rename(tmp_path / "y.textgrid")
    assert tiers_beside(str(sound)) == {"words": WORDS, "phones": PHONES}
    assert tiers_beside(tmp_path / "none" / "y.wav") == {}
