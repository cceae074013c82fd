"""The hysteresis recurrences on the CPU: numba, channels innermost, equal to `ops/ref`.

Shapes: T samples, C channels, K widths, F frames. Tracks lie as (T, C), so that the channels are
the lanes of a SIMD register.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

_jit = numba.njit(nogil=True, cache=True, error_model="numpy")


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


@_jit
def _play_pooled(x: Any, width: Any, hop: int, p: Any, mean: Any, rise: Any, fall: Any) -> None:
    part = x.dtype.type(1) / x.dtype.type(hop)
    for k in range(len(width)):
        r = width[k]
        now = p[k]
        for f in range(mean.shape[1]):
            m, up, dn = mean[k, f], rise[k, f], fall[k, f]
            for c in range(x.shape[1]):
                m[c] = 0
                up[c] = 0
                dn[c] = 0
            for t in range(f * hop, (f + 1) * hop):
                row = x[t]
                for c in range(x.shape[1]):
                    old = now[c]
                    new = min(max(old, row[c] - r), row[c] + r)
                    move = new - old
                    m[c] += new
                    up[c] += max(move, x.dtype.type(0))
                    dn[c] += max(-move, x.dtype.type(0))
                    now[c] = new
            for c in range(x.shape[1]):
                m[c] *= part


@_jit
def _relay(x: Any, up: Any, down: Any, state: Any, out: Any) -> None:
    one = x.dtype.type(1)
    for k in range(len(up)):
        now = state[k]
        for t in range(x.shape[0]):
            row, to = x[t], out[k, t]
            for c in range(x.shape[1]):
                now[c] = one if row[c] >= up[k] else (-one if row[c] <= down[k] else now[c])
                to[c] = now[c]


def _start(x: NDArray, count: int, state: NDArray | None) -> NDArray:
    """(K, C) to begin with: the state, or x's first sample."""
    if state is not None:
        return np.array(state, x.dtype)
    first = x[0] if len(x) else np.zeros(x.shape[1], x.dtype)
    return np.repeat(first[None], count, 0)


def play(x: NDArray, width: NDArray, state: NDArray | None = None) -> tuple[NDArray, NDArray]:
    """`ref.play` for C tracks: x (T, C), width (K,) -> p (K, T, C), state (K, C)."""
    now = _start(x, len(width), state)
    out = np.empty((len(width), *x.shape), x.dtype)
    _play(x, width.astype(x.dtype), now, out)
    return out, now


def play_pooled(
    x: NDArray, width: NDArray, hop: int, state: NDArray | None = None
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """`ref.play_pooled` for C tracks: x (F hop, C) -> (K, F, C) each, state (K, C)."""
    now = _start(x, len(width), state)
    shape = (len(width), len(x) // hop, x.shape[1])
    mean, rise, fall = (np.empty(shape, x.dtype) for _ in range(3))
    _play_pooled(x, width.astype(x.dtype), hop, now, mean, rise, fall)
    return mean, rise, fall, now


def relay(
    x: NDArray, up: NDArray, down: NDArray, state: NDArray | None = None
) -> tuple[NDArray, NDArray]:
    """`ref.relay` for C tracks: x (T, C), thresholds (K,) -> (K, T, C), state (K, C)."""
    now = np.full((len(up), x.shape[1]), -1, x.dtype) if state is None else state.astype(x.dtype)
    out = np.empty((len(up), *x.shape), x.dtype)
    _relay(x, up.astype(x.dtype), down.astype(x.dtype), now, out)
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
    """`ref.hold` for a batch: a (B, F, U), lengths (B,) -> winners (B, F), state (B,).

    From a row's length on, its last winner stays.
    """
    winner = np.empty(a.shape[:2], np.int64)
    if not a.shape[1]:
        return winner, np.full(len(a), -1) if state is None else state.copy()
    winner[:, 0] = -1 if state is None else state
    _hold(np.ascontiguousarray(a), a.dtype.type(width), lengths, winner)
    return winner, winner[:, -1].copy()
