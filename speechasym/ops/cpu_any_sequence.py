"""The sum of CTC over all sequences of symbols, weighted by a bigram, compiled with numba.

`ops.ref.any_sequence` is the definition.

Shapes: S steps, V classes (0 is the blank).
"""

import math
from typing import Any

import numpy as np

from speechasym.ops.compiling import njit

_jit = njit(nogil=True, error_model="numpy", fastmath=True)


@_jit
def any_sequence(log_probs: Any, follow: Any) -> Any:
    """Return what `ops.ref.any_sequence` does, and its gradient (S, V) by log_probs.

    The gradient is the share of the sum that passes through each class at each step. Sums are kept
    as probabilities, divided at each step by their total.

    Args:
        log_probs: (S, V).
        follow: (V, V), see `ops.ref.any_sequence`.
    """
    steps, many = log_probs.shape
    # after each step: sums over what ends with a symbol, and with a blank after it
    written, blank = np.zeros((steps + 1, many)), np.zeros((steps + 1, many))
    probs, enter = np.empty((steps, many)), np.empty(many)
    blank[0, 0] = 1.0
    total = 0.0
    for s in range(steps):
        top = log_probs[s, 0]
        for k in range(1, many):
            top = max(top, log_probs[s, k])
        for k in range(many):
            probs[s, k] = math.exp(log_probs[s, k] - top)
        enter[:] = 0.0
        for p in range(many):
            both = blank[s, p] + written[s, p]
            for q in range(1, many):
                enter[q] += both * follow[p, q]
            if p > 0:  # a symbol again needs a blank between
                enter[p] -= written[s, p] * follow[p, p]
        size = 0.0
        for k in range(many):
            if k > 0:
                written[s + 1, k] = probs[s, k] * (written[s, k] + enter[k])
            blank[s + 1, k] = probs[s, 0] * (blank[s, k] + written[s, k])
            size += written[s + 1, k] + blank[s + 1, k]
        for k in range(many):
            written[s + 1, k] /= size
            blank[s + 1, k] /= size
        total += math.log(size) + top
    end = 0.0
    to_written, to_blank = np.empty(many), np.empty(many)  # sums over what comes after
    for k in range(many):
        to_written[k] = to_blank[k] = follow[k, 0]
        end += (written[steps, k] + blank[steps, k]) * follow[k, 0]
    total += math.log(end)
    gradient = np.empty((steps, many), np.float32)
    new_written, new_blank = np.empty(many), np.empty(many)
    for s in range(steps - 1, -1, -1):
        size, blanks = 0.0, 0.0
        for k in range(many):
            blanks += blank[s + 1, k] * to_blank[k]
            size += written[s + 1, k] * to_written[k] + blank[s + 1, k] * to_blank[k]
        gradient[s, 0] = blanks / size
        for k in range(1, many):
            gradient[s, k] = written[s + 1, k] * to_written[k] / size
            enter[k] = probs[s, k] * to_written[k]
        most = 0.0
        for p in range(many):
            later = 0.0
            for q in range(1, many):
                later += follow[p, q] * enter[q]
            stay = probs[s, 0] * to_blank[p]
            new_blank[p] = stay + later
            new_written[p] = stay + later
            if p > 0:
                new_written[p] += (1 - follow[p, p]) * enter[p]
            most = max(most, new_blank[p], new_written[p])
        for p in range(many):
            to_blank[p], to_written[p] = new_blank[p] / most, new_written[p] / most
    return total, gradient
