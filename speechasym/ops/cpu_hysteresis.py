"""The hysteresis recurrences of `ops/ref` on the CPU, compiled with numba.

Tracks are (T, C) in memory, so that the channels fill the lanes of a SIMD register.

Shapes: T samples, C channels, K widths, F frames, B batch, U units.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechasym.ops.compiling import njit

_jit = njit(nogil=True, error_model="numpy")


@_jit
def _play(x: Any, width: Any, p: Any, out: Any) -> None:
    for k in range(len(width)):
        r = width[k]
        now = p[k]
        for t in range(x.shape[0]):
            row, to = x[t], out[k, t]
            for c in range(x.shape[1]):
                now[c] = min(max(now[c], row[c] - r), row[c] + r)
                to[c] = now[c]


def play(x: NDArray, width: NDArray, state: NDArray | None = None) -> tuple[NDArray, NDArray]:
    """Compute `ref.play` of C tracks: x (T, C), width (K,) -> p (K, T, C), state (K, C)."""
    first = x[:1] if len(x) else np.zeros((1, x.shape[1]), x.dtype)
    now = np.repeat(first, len(width), 0) if state is None else np.array(state, x.dtype)
    out = np.empty((len(width), *x.shape), x.dtype)
    _play(x, width.astype(x.dtype), now, out)
    return out, now


@_jit
def _hold(a: Any, width: Any, lengths: Any, winner: Any) -> None:
    for b in range(a.shape[0]):
        now = winner[b, 0]
        for t in range(lengths[b]):
            row = a[b, t]
            best = 0
            for u in range(len(row)):
                if row[u] > row[best]:
                    best = u
            if now < 0 or row[best] > row[now] + width:
                now = best
            winner[b, t] = now
        for t in range(lengths[b], a.shape[1]):
            winner[b, t] = now


def hold(
    a: NDArray, width: float, lengths: NDArray, state: NDArray | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Compute `ref.hold` of a batch: a (B, F, U), lengths (B,) -> winners (B, F), state (B,).

    Beyond the length of a row, its last winner stays.
    """
    winner = np.empty(a.shape[:2], np.int64)
    if not a.shape[1]:
        return winner, np.full(len(a), -1) if state is None else state.copy()
    winner[:, 0] = -1 if state is None else state
    _hold(np.ascontiguousarray(a), a.dtype.type(width), lengths, winner)
    return winner, winner[:, -1].copy()
