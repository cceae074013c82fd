"""CTM files and Audacity's label tracks: the same times to the last bit, and what is malformed."""

import numpy as np
import pytest

from speechasym.annotations.audacity import read_audacity, write_audacity
from speechasym.annotations.ctm import read_ctm, write_ctm
from speechasym.annotations.intervals import Interval
from speechasym.errors import AnnotationError, OutputError

ROWS = [Interval(0.1, 0.30000000000000004, "a"), Interval(1 / 3, np.pi, 'ə"')]


def test_ctm_goes_round(tmp_path):
    wanted = {"a/b": ROWS, "c": ROWS[:1]}
    write_ctm(tmp_path / "x.ctm", wanted | {"d": [Interval(0, 1, "")]})
    assert read_ctm(tmp_path / "x.ctm") == wanted


def test_audacity_goes_round(tmp_path):
    wanted = [*ROWS, Interval(3.2, 3.3, ""), Interval(3.4, 3.5, "two words")]
    write_audacity(tmp_path / "x.txt", wanted)
    assert read_audacity(tmp_path / "x.txt") == wanted
    with (tmp_path / "x.txt").open("a") as file:
        file.write("\\\t100\t200\n")  # the frequency range of a label
    assert read_audacity(tmp_path / "x.txt") == wanted


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("x.ctm", "a 1 0.1 0.2\n", r"x\.ctm:1"),
        ("x.ctm", "a 1 0.1 0.2 b\na 1 zero 0.2 b\n", r"x\.ctm:2.*times >= 0 s"),
        ("x.ctm", "a 1 0.1 -0.2 b\n", r"x\.ctm:1"),
        ("x.ctm", "", "empty"),
        ("x.txt", "0.1 0.2 b\n", r"x\.txt:1"),
        ("x.txt", "0.3\t0.2\tb\n", r"x\.txt:1"),
    ],
)
def test_bad_files(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    read = read_ctm if name.endswith("ctm") else read_audacity
    with pytest.raises(AnnotationError, match=says):
        read(tmp_path / name)


def test_what_formats_cannot_hold(tmp_path):
    with pytest.raises(AnnotationError, match="contains spaces"):
        write_ctm(tmp_path / "x.ctm", {"a": [Interval(0, 1, "two words")]})
    (tmp_path / "folder").write_text("")
    with pytest.raises(OutputError):
        write_audacity(tmp_path / "folder" / "x.txt", ROWS)
