"""Tiers of any format, and those beside a recording."""

import pytest
from helpers import tone

from speechasym.annotations.intervals import Interval
from speechasym.annotations.textgrid import write_textgrid
from speechasym.annotations.tiers import read_tiers, tiers_beside
from speechasym.errors import AnnotationError

WORDS = [Interval(0, 0.5, 'he "said"'), Interval(0.5, 0.6, ""), Interval(0.6, 1.5, "ə $x^$")]
PHONES = [Interval(0, 0.25, "a"), Interval(0.25, 1.5, "b")]


def test_unknown_and_missing_files(tmp_path):
    with pytest.raises(AnnotationError, match=r"x\.lab: not a known annotation format"):
        read_tiers(tmp_path / "x.lab")
    with pytest.raises(AnnotationError, match=r"x.PHN: cannot be read \(No such file"):
        read_tiers(tmp_path / "x.PHN")


def test_tiers_beside_a_recording(tmp_path):
    """A TextGrid goes before TIMIT's files; endings have any letter case, names only one."""
    sound = tone(tmp_path / "y.wav")
    assert tiers_beside(sound) == {}
    (tmp_path / "y.Phn").write_text("0 1600 a\n")
    assert tiers_beside(sound) == {"phones": [Interval(0, 0.1, "a")]}
    (tmp_path / "y.WRD").write_text("0 1600 b\n")
    assert list(tiers_beside(sound)) == ["words", "phones"]
    write_textgrid(tmp_path / "Y.TextGrid", {"words": WORDS, "phones": PHONES}, 1.5)
    assert tiers_beside(sound)["words"] == [Interval(0, 0.1, "b")]
    (tmp_path / "Y.TextGrid").rename(tmp_path / "y.textgrid")
    assert tiers_beside(str(sound)) == {"words": WORDS, "phones": PHONES}
    assert tiers_beside(tmp_path / "none" / "y.wav") == {}
