"""CTM files: the same times to the last bit, and what is malformed."""

import numpy as np
import pytest

from speechasym.annotations.ctm import read_ctm, write_ctm
from speechasym.annotations.intervals import Interval
from speechasym.errors import AnnotationError, OutputError

ROWS = [Interval(0.1, 0.30000000000000004, "a"), Interval(1 / 3, np.pi, 'ə"')]


def test_ctm_goes_round(tmp_path):
    wanted = {"a/b": ROWS, "c": ROWS[:1]}
    write_ctm(tmp_path / "x.ctm", wanted | {"d": [Interval(0, 1, "")]})
    assert read_ctm(tmp_path / "x.ctm") == wanted


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a 1 0.1 0.2\n", r"x\.ctm:1"),
        ("a 1 0.1 0.2 b\na 1 zero 0.2 b\n", r"x\.ctm:2.*times >= 0 s"),
        ("a 1 0.1 -0.2 b\n", r"x\.ctm:1"),
        ("", "empty"),
    ],
)
def test_bad_files(tmp_path, text, says):
    (tmp_path / "x.ctm").write_text(text)
    with pytest.raises(AnnotationError, match=says):
        read_ctm(tmp_path / "x.ctm")


def test_what_formats_cannot_hold(tmp_path):
    with pytest.raises(AnnotationError, match="contains spaces"):
        write_ctm(tmp_path / "x.ctm", {"a": [Interval(0, 1, "two words")]})
    (tmp_path / "folder").write_text("")
    with pytest.raises(OutputError):
        write_ctm(tmp_path / "folder" / "x.ctm", {"a": ROWS})
