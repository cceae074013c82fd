"""Boundaries of phones or words: precision, recall, F1 and R-value within a tolerance.

[1] O. Räsänen, U. Laine, T. Altosaar, "An improved speech segmentation quality measure: the
    R-value", Interspeech 2009, 1851-1854.
[2] F. Kreuk, J. Keshet, Y. Adi, "Self-supervised contrastive learning for unsupervised phoneme
    segmentation", Interspeech 2020: the lenient matching.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from speechasym.annotations.intervals import Interval
from speechasym.errors import ScoringError

TOLERANCE = 0.02  # s
_SLACK = 1e-9  # s: 0.32 - 0.30 is a little more than 0.02 in floating point


class BoundaryScore(NamedTuple):
    """How well hypothesised boundaries match those of the reference; see `score_boundaries`."""

    precision: float  # 0 if there are no hypotheses
    recall: float
    f1: float
    r_value: float
    hypothesised: int
    reference: int
    correct: int  # hypotheses near a boundary of the reference
    recalled: int  # boundaries of the reference near a hypothesis


def inner_boundaries(intervals: Sequence[Interval]) -> list[float]:
    """Return the starts in s of all intervals but the first: beginning and end do not count."""
    return [interval.start for interval in intervals[1:]]


def score_boundaries(
    references: Mapping[str, Sequence[float]],
    hypotheses: Mapping[str, Sequence[float]],
    matching: Literal["strict", "lenient"] = "strict",
    tolerance: float = TOLERANCE,
) -> BoundaryScore:
    """Compute precision, recall, F1 and R-value of boundaries, summed over utterances.

    strict: boundaries are matched one to one, with as many pairs as possible. lenient: a
    hypothesis is correct if any boundary of the reference is near, and a boundary of the reference
    is recalled if any hypothesis is near [2]; two may share a third. Near is within the tolerance,
    the limit included.

    R-value [1]: with HR the recall and OS = hypothesised / reference - 1,
    r1 = sqrt((1 - HR)^2 + OS^2), r2 = (HR - 1 - OS) / sqrt(2), R = 1 - (|r1| + |r2|) / 2.

    Args:
        references, hypotheses: {utterance: times in s}, in any order; a missing hypothesis has no
            boundaries, one without reference is left out.
        tolerance: s.

    Raises:
        ScoringError: no reference has a boundary; a time that is not finite; an invalid tolerance
            or matching.
    """
    if matching not in ("strict", "lenient"):
        raise ScoringError(matching, "unknown matching", "Use strict or lenient")
    if not 0 <= tolerance < math.inf:
        raise ScoringError("tolerance", f"must be >= 0 s, got {tolerance}", "0.02 s is common")
    reach = tolerance + _SLACK
    hypothesised = reference = correct = recalled = 0
    for name, row in references.items():
        times, others = sorted(row), sorted(hypotheses.get(name, ()))
        if not all(map(math.isfinite, [*times, *others])):
            raise ScoringError(f"utterance {name}", "times must be finite", "Give times in s")
        hypothesised, reference = hypothesised + len(others), reference + len(times)
        if matching == "strict":
            pairs = _matched(times, others, reach)
            correct, recalled = correct + pairs, recalled + pairs
        else:
            correct += _near(others, times, reach)
            recalled += _near(times, others, reach)
    if not reference:
        problem = "no boundaries, so that no recall is defined"
        raise ScoringError("references", problem, "Check the references")
    precision, recall = correct / hypothesised if hypothesised else 0.0, recalled / reference
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    over = hypothesised / reference - 1
    r1, r2 = math.hypot(1 - recall, over), (recall - 1 - over) / math.sqrt(2)
    r_value = 1 - (r1 + abs(r2)) / 2
    return BoundaryScore(precision, recall, f1, r_value, hypothesised, reference, correct, recalled)


def _matched(times: list[float], others: list[float], reach: float) -> int:
    """Count the most one-to-one pairs of sorted times: the earliest possible are matched."""
    pairs = i = j = 0
    while i < len(times) and j < len(others):
        if abs(times[i] - others[j]) <= reach:
            pairs, i, j = pairs + 1, i + 1, j + 1
        elif times[i] < others[j]:
            i += 1
        else:
            j += 1
    return pairs


def _near(times: list[float], others: list[float], reach: float) -> int:
    """Count the times that have one of the others near."""
    if not others:
        return 0
    row = np.array(others)
    index = np.searchsorted(row, times)
    left = np.abs(row[np.maximum(index - 1, 0)] - times)
    right = np.abs(row[np.minimum(index, len(row) - 1)] - times)
    return int(np.sum(np.minimum(left, right) <= reach))
