"""RTTM files."""

import pytest

from speechasym import AnnotationError
from speechasym.annotations.intervals import Interval
from speechasym.annotations.rttm import check_names, write_rttm


def test_lines(tmp_path):
    path = tmp_path / "talk.rttm"
    write_rttm(path, "talk", [Interval(0.5, 1.25, "speech"), Interval(2, 3, "speech")])
    assert path.read_text() == (
        "SPEAKER talk 1 0.500 0.750 <NA> <NA> speech <NA> <NA>\n"
        "SPEAKER talk 1 2.000 1.000 <NA> <NA> speech <NA> <NA>\n"
    )


def test_no_speech_is_an_empty_file(tmp_path):
    write_rttm(tmp_path / "rain.rttm", "rain", [])
    assert (tmp_path / "rain.rttm").read_bytes() == b""


@pytest.mark.parametrize("names", [["my talk"], ["talk", ""]])
def test_names_that_columns_cannot_hold(tmp_path, names):
    with pytest.raises(AnnotationError, match=r"contains spaces|is empty"):
        check_names(tmp_path / "x.rttm", names)
