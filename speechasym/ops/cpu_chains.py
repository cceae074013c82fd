"""Words that are known, as a chain of states: log p and alignment, compiled with numba.

Shapes: S steps, V classes (0 is CTC's blank), Q states.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.ops.compiling import njit

NOTHING = -math.inf
_jit = njit(nogil=True, error_model="numpy")


class Chain(NamedTuple):
    """All spellings of a sequence of words, as states that each write a symbol.

    State 0 is the start and writes nothing. Blanks may follow each state.
    """

    symbol: NDArray[np.int32]  # (Q,)
    first: NDArray[np.int32]  # (Q + 1,) states before state q are before[first[q] : first[q + 1]]
    before: NDArray[np.int32]
    final: NDArray[np.bool_]  # (Q,)
    word: NDArray[np.int32]  # (Q,) position of its word in the sequence; -1: none


@_jit
def likelihood(log_probs: Any, symbol: Any, first: Any, before: Any, final: Any) -> float:
    """Return the log of the sum over all alignments of a chain with log_probs (S, V).

    A state that has less than 1e-280 of a step's largest sum is dropped there: -inf if all are.
    """
    many, classes = len(symbol), log_probs.shape[1]
    blank, written, p = np.zeros(many), np.zeros(many), np.empty(classes)
    blank[0] = 1.0
    old, log_scale, scale = written.copy(), 0.0, 1.0
    for s in range(len(log_probs)):
        top = np.float64(log_probs[s, 0])
        for k in range(1, classes):
            top = max(top, np.float64(log_probs[s, k]))
        for k in range(classes):
            p[k] = scale * math.exp(np.float64(log_probs[s, k]) - top)
        old[:] = written
        most = 0.0
        for q in range(1, many):
            sum_ = old[q]
            for b in range(first[q], first[q + 1]):
                k = before[b]
                sum_ += blank[k]
                if symbol[k] != symbol[q]:
                    sum_ += old[k]
            sum_ *= p[symbol[q]]
            written[q] = sum_ if sum_ > 1e-280 else 0.0  # smaller numbers take long
            most = max(most, sum_)
        # blanks come last: the loop over states needs those of the previous step
        for q in range(many):
            sum_ = (blank[q] + old[q]) * p[0]
            blank[q] = sum_ if sum_ > 1e-280 else 0.0
            most = max(most, sum_)
        if most == 0.0:
            return NOTHING
        scale = 1 / most
        log_scale += top + math.log(most)
    total = 0.0
    for q in range(many):
        if final[q]:
            total += blank[q] + written[q]
    return math.log(total * scale) + log_scale if total > 0.0 else NOTHING


@_jit
def align(log_probs: Any, symbol: Any, first: Any, before: Any, final: Any) -> Any:
    """Return the state (S,) that each step writes in the best alignment; -1: blank, or no fit."""
    many, steps = len(symbol), len(log_probs)
    blank, written = np.full(many, NOTHING), np.full(many, NOTHING)
    blank[0] = 0.0
    old = written.copy()
    # predecessor on the best path to a state: q written, many + q blank
    to_blank = np.empty((steps, many), np.int32)
    to_written = np.empty((steps, many), np.int32)
    for s in range(steps):
        old[:] = written
        for q in range(1, many):
            most, where = old[q], q
            for b in range(first[q], first[q + 1]):
                p = before[b]
                if blank[p] > most:
                    most, where = blank[p], many + p
                if symbol[p] != symbol[q] and old[p] > most:
                    most, where = old[p], p
            written[q], to_written[s, q] = most + log_probs[s, symbol[q]], where
        for q in range(many):
            to_blank[s, q] = many + q if blank[q] >= old[q] else q
            blank[q] = max(blank[q], old[q]) + log_probs[s, 0]
    at, most = -1, NOTHING
    for q in range(many):
        if final[q]:
            if blank[q] > most:
                at, most = many + q, blank[q]
            if written[q] > most:
                at, most = q, written[q]
    out = np.full(steps, -1, np.int32)
    if at < 0:
        return out
    for s in range(steps - 1, -1, -1):
        if at < many:
            out[s] = at
            at = to_written[s, at]
        else:
            at = to_blank[s, at - many]
    return out
