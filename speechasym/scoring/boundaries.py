"""Boundaries of phones or words: how many were found, within a tolerance.

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
    """How well boundaries were found; see `score_boundaries`."""

    precision: float  # 0 where none was found
    recall: float
    f1: float
    r_value: float
    found: int  # boundaries of the hypotheses
    reference: int
    right: int  # of those found, near one of the reference
    recalled: int  # of the reference, near one that was found


def inner_boundaries(intervals: Sequence[Interval]) -> list[float]:
    """Starts, in s, of all intervals but the first: neither the beginning nor the end counts."""
    return [interval.start for interval in intervals[1:]]


def score_boundaries(
    references: Mapping[str, Sequence[float]],
    hypotheses: Mapping[str, Sequence[float]],
    matching: Literal["strict", "lenient"] = "strict",
    tolerance: float = TOLERANCE,
) -> BoundaryScore:
    """Precision, recall, F1 and R-value of boundaries, summed over utterances.

    strict: each boundary of the reference is used for one that was found, and the other way
    round, in the matching with the most pairs. lenient: one that was found is right if any of
    the reference is near, and one of the reference is recalled if any that was found is near
    [2]; two may share a third. Near is within the tolerance, the limit included.

    R-value [1]: with HR the recall and OS = found / reference - 1,
    r1 = sqrt((1 - HR)^2 + OS^2), r2 = (HR - 1 - OS) / sqrt(2), R = 1 - (|r1| + |r2|) / 2.

    Args:
        references, hypotheses: {utterance: times in s}, in any order; an utterance without
            hypothesis has no boundaries found, one without reference is left out.

    Raises:
        ScoringError: no reference has a boundary; a time or a tolerance that cannot be; another
            matching.
    """
    if matching not in ("strict", "lenient"):
        raise ScoringError(matching, "no such matching", "They are: strict, lenient")
    if not 0 <= tolerance < math.inf:
        raise ScoringError("tolerance", f"{tolerance} s is not 0 s or more", "Common are 0.02 s")
    reach = tolerance + _SLACK
    found = reference = right = recalled = 0
    for name, given in references.items():
        times, others = sorted(given), sorted(hypotheses.get(name, ()))
        if not all(map(math.isfinite, [*times, *others])):
            raise ScoringError(
                f"utterance {name}", "has times that are no numbers", "Times are in s"
            )
        found, reference = found + len(others), reference + len(times)
        if matching == "strict":
            pairs = _matched(times, others, reach)
            right, recalled = right + pairs, recalled + pairs
        else:
            right += _near(others, times, reach)
            recalled += _near(times, others, reach)
    if not reference:
        raise ScoringError(
            "references", "hold no boundary, so that no recall is defined", "Check the references"
        )
    precision, recall = right / found if found else 0.0, recalled / reference
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    over = found / reference - 1
    r1, r2 = math.hypot(1 - recall, over), (recall - 1 - over) / math.sqrt(2)
    r_value = 1 - (r1 + abs(r2)) / 2
    return BoundaryScore(precision, recall, f1, r_value, found, reference, right, recalled)


def _matched(times: list[float], others: list[float], reach: float) -> int:
    """Most pairs one to one, of sorted times: the earliest that can be matched are."""
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
    """How many times have one of the others near."""
    if not others:
        return 0
    row = np.array(others)
    place = np.searchsorted(row, times)
    left = np.abs(row[np.maximum(place - 1, 0)] - times)
    right = np.abs(row[np.minimum(place, len(row) - 1)] - times)
    return int(np.sum(np.minimum(left, right) <= reach))
