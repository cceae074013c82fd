"""ABX: distances by dynamic time warping between many short sequences, and errors; with numba.

Shapes: N sequences, R frames in all of them, D dimensions.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechasym.ops.compiling import njit

_jit = njit(nogil=True, error_model="numpy")


@njit(nogil=True, error_model="numpy", fastmath={"contract", "nsz"})
def _angles(cosine: Any) -> None:
    """Replace cosines by arccos / pi, in [0, 1]; absolute error below 1e-7 [1].

    [1] M. Abramowitz, I. A. Stegun, "Handbook of Mathematical Functions", 4.4.46, 1964.
    """
    f = np.float32
    for i in range(cosine.shape[0]):
        row = cosine[i]
        for j in range(row.shape[0]):
            x = row[j]
            a = min(abs(x), f(1))
            y = f(-0.0012624911)
            y = y * a + f(0.0066700901)
            y = y * a + f(-0.0170881256)
            y = y * a + f(0.0308918810)
            y = y * a + f(-0.0501743046)
            y = y * a + f(0.0889789874)
            y = y * a + f(-0.2145988016)
            y = y * a + f(1.5707963050)
            y = y * np.sqrt(f(1) - a) * f(1 / np.pi)
            row[j] = f(1) - y if x < 0 else y


@_jit
def _warp(local: Any, first: int, last: int, cost: Any) -> Any:
    """Return the mean local distance along the best path through local[:, first:last]."""
    n, m = local.shape[0], last - first
    for i in range(n):
        for j in range(m):
            d = local[i, first + j]
            if i == 0 and j == 0:
                cost[i, j] = d
            elif i == 0:
                cost[i, j] = cost[i, j - 1] + d
            elif j == 0:
                cost[i, j] = cost[i - 1, j] + d
            else:
                cost[i, j] = min(cost[i - 1, j - 1], min(cost[i, j - 1], cost[i - 1, j])) + d
    i, j, steps = n - 1, m - 1, 1
    while i > 0 and j > 0:
        diagonal, left, up = cost[i - 1, j - 1], cost[i, j - 1], cost[i - 1, j]
        if diagonal <= left and diagonal <= up:
            i -= 1
            j -= 1
        elif left <= up:
            j -= 1
        else:
            i -= 1
        steps += 1
    return cost[n - 1, m - 1] / np.float32(steps + i + j)


@_jit
def _warp_row(local: Any, starts: Any, others: Any, cost: Any, out: Any) -> None:
    for k in range(len(others)):
        j = others[k]
        out[k] = _warp(local, starts[j], starts[j + 1], cost)


def distances(
    frames: NDArray[np.floating], starts: NDArray[np.int64], angular: bool = True
) -> NDArray[np.float32]:
    """Return all pairwise DTW distances: (N, N), symmetric.

    A path steps to the next frame of either sequence or of both; a distance is the mean local
    distance along the best path. Among equal paths the diagonal step is preferred, then that in
    the second sequence [1]. A pair is warped once, with the earlier sequence as the first.

    Args:
        frames: (R, D) all sequences, concatenated.
        starts: (N + 1,) first frame of each, and R.
        angular: use local distances arccos(cosine) / pi, else Euclidean ones.

    [1] T. Schatz et al., "Evaluating speech features with the minimal-pair ABX task", Interspeech
        2013.
    """
    count = len(starts) - 1
    out = np.zeros((count, count), np.float32)
    longest = int(np.diff(starts).max(initial=1))
    cost = np.empty((longest, longest), np.float32)
    if angular:
        norm = np.linalg.norm(frames, axis=1, keepdims=True)
        frames = frames / np.where(norm > 0, norm, 1)
    else:
        frames = frames.astype(np.float64)  # differences of squares need the digits
    square = (frames**2).sum(1)
    for i in range(count):
        begin = int(starts[i])
        local = frames[begin : starts[i + 1]] @ frames[begin:].T  # this sequence and later ones
        if angular:
            _angles(local)
        else:
            both = square[begin : starts[i + 1], None] + square[None, begin:]
            local = np.sqrt(np.maximum(both - 2 * local, 0)).astype(np.float32)
        others = np.arange(i, count)
        row = np.empty(len(others), np.float32)
        _warp_row(local, starts - begin, others, cost, row)
        out[i, i:] = row
        out[i:, i] = row
    return out


@njit(nogil=True)
def cell_errors(distance: Any, a: Any, b: Any, x: Any) -> tuple[float, int]:
    """Return the errors and the number of triples of one cell; a token is never its own A."""
    wrong, count = 0.0, 0
    for t in x:
        for i in a:
            if i == t:
                continue
            near = distance[t, i]
            for j in b:
                far = distance[t, j]
                wrong += 1.0 if near > far else (0.5 if near == far else 0.0)
            count += len(b)
    return wrong, count
