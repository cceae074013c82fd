"""Are confidences probabilities? The expected calibration error.

Shapes: N recognised symbols.

[1] M. P. Naeini, G. F. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using
    Bayesian binning", AAAI 2015.
[2] C. Guo et al., "On calibration of modern neural networks", ICML 2017: 15 bins of equal width.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rapidfuzz.distance import Levenshtein

from speechasym.errors import ScoringError

BINS = 15


def calibration_error(confidence: ArrayLike, correct: ArrayLike, bins: int = BINS) -> float:
    """Return the expected calibration error: the mean over symbols of how far their bin is off.

    It is sum_b n_b / N |share of correct symbols in bin b - their mean confidence|, with bins of
    equal width that contain their upper end [1, 2].

    Args:
        confidence: (N,) from 0 to 1.
        correct: (N,) whether the symbol was said.

    Raises `ScoringError` without symbols, for other lengths, or confidences out of range.
    """
    p, hit = np.asarray(confidence, float), np.asarray(correct, float)
    if p.shape != hit.shape or p.ndim != 1 or not len(p):
        problem = f"must be two lists of the same length, got {p.shape} and {hit.shape}"
        raise ScoringError("confidence, correct", problem, "Give one of each for every symbol")
    if not ((p >= 0) & (p <= 1)).all():
        worst = p[~((p >= 0) & (p <= 1))][0]
        raise ScoringError("confidence", f"must be from 0 to 1, got {worst}", "Give probabilities")
    number = np.ceil(p * bins).clip(1, bins).astype(int) - 1
    gaps = np.bincount(number, hit - p, bins)
    return float(np.abs(gaps).sum() / len(p))


def hits(reference: Sequence[str], hypothesis: Sequence[str]) -> NDArray[np.bool_]:
    """Return (N,) which symbols of a hypothesis are correct, by an alignment with fewest errors."""
    correct = np.zeros(len(hypothesis), bool)
    for op in Levenshtein.opcodes(list(hypothesis), list(reference)):
        correct[op.src_start : op.src_end] = op.tag == "equal"
    return correct
