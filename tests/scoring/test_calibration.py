"""The calibration error by hand, and the temperature that brings back what was divided out."""

import numpy as np
import pytest

from speechasym.errors import ScoringError
from speechasym.scoring import calibration


def test_the_error_by_hand():
    confidence = [0.95, 0.95, 0.95, 0.55, 0.2, 0.0]
    correct = [True, True, False, True, False, False]
    bins = [abs(2 - 2.85), abs(1 - 0.55), abs(0 - 0.2), 0.0]
    assert calibration.calibration_error(confidence, correct) == pytest.approx(sum(bins) / 6)
    assert calibration.calibration_error([0.2, 0.8], [0, 1], bins=1) == pytest.approx(0)
    # a bin contains its upper end: 0.5 of two bins belongs to the lower one
    assert calibration.calibration_error([0.5, 0.1], [1, 0], bins=2) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("confidence", "correct", "says"),
    [
        ([], [], "same length"),
        ([0.5], [1, 0], "same length"),
        ([0.5, 1.5], [1, 0], "from 0 to 1, got 1.5"),
        ([0.5, np.nan], [1, 0], "from 0 to 1, got nan"),
    ],
)
def test_what_has_no_error(confidence, correct, says):
    with pytest.raises(ScoringError, match=says):
        calibration.calibration_error(confidence, correct)


def test_hits():
    assert calibration.hits(["a", "b", "c"], ["a", "x", "c"]).tolist() == [True, False, True]
    assert calibration.hits(["a"], ["b", "a", "b"]).tolist() == [False, True, False]
    assert calibration.hits([], ["a"]).tolist() == [False]
