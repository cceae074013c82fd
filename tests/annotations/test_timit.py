"""TIMIT's .PHN and .WRD files, and what is wrong with others."""

import pytest

from speechasym.annotations.intervals import Interval, SampleInterval
from speechasym.annotations.tiers import read_tiers
from speechasym.annotations.timit import read_samples
from speechasym.errors import AnnotationError


@pytest.mark.parametrize(("name", "tier"), [("x.PHN", "phones"), ("x.wrd", "words")])
def test_timit(tmp_path, name, tier):
    path = tmp_path / name
    path.write_bytes(b"0 1600 h#\r\n1600 3200\tsh\n\n3200 3200 q\n")
    rows = [Interval(0, 0.1, "h#"), Interval(0.1, 0.2, "sh"), Interval(0.2, 0.2, "q")]
    assert read_tiers(path) == {tier: rows}
    assert read_samples(path)[1] == SampleInterval(1600, 3200, "sh")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "x.PHN: is empty. Check the file"),
        (b" \n", "x.PHN: is empty"),
        (b"0 9 a\n9 18\n", r"x.PHN:2: '9 18' is not `start end label` in samples. Fix the line"),
        (b"0 9 a\n9 1.8 b\n", "x.PHN:2: '9 1.8 b' is not"),
        (b"9 8 a\n", "x.PHN:1: end 8 samples is before the start at 9. Swap"),
        (b"-9 8 a\n", "x.PHN:1: start must be >= 0, got -9 samples"),
        (b"0 9 a\n9 12 \xff\n", "x.PHN:2: byte 11 is not UTF-8 or marked UTF-16 text"),
        (b"\xff\xfe0", "x.PHN:1: byte 2 is not UTF-8 or"),
    ],
)
def test_bad_timit(tmp_path, text, says):
    (tmp_path / "x.PHN").write_bytes(text)
    with pytest.raises(AnnotationError, match=says):
        read_tiers(tmp_path / "x.PHN")
