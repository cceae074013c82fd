"""Projection on cepstra and running normalisation on the CPU: numba, equal to `ops/ref`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechasym.ops.compiling import njit

_jit = njit(nogil=True, error_model="numpy")


@njit(nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})  # sums in SIMD registers
def _project(x: Any, rows: Any, out: Any) -> None:
    for f in range(x.shape[0]):
        for k in range(rows.shape[0]):
            row, weights, total = x[f], rows[k], x.dtype.type(0)
            for c in range(len(row)):
                total += row[c] * weights[c]
            out[f, k] = total


def project(x: NDArray, basis: NDArray) -> NDArray:
    """Return x (F, C) @ basis (C, K), with the same rounding for any number of rows."""
    out = np.empty((len(x), basis.shape[1]), x.dtype)
    _project(x, np.ascontiguousarray(basis.T), out)
    return out


@_jit
def _running_norm(x: Any, rate: float, past: int, mean: Any, variance: Any, out: Any) -> None:
    for f in range(x.shape[0]):
        share = max(rate, 1 / (past + f + 1))
        for d in range(x.shape[1]):
            off = x[f, d] - mean[d]
            mean[d] += share * off
            variance[d] = (1 - share) * (variance[d] + share * off * off)
            out[f, d] = (x[f, d] - mean[d]) / max(np.sqrt(variance[d]), 1e-4)


def running_norm(
    x: NDArray, rate: float, state: NDArray | None = None, past: int = 0
) -> tuple[NDArray, NDArray]:
    """Compute `ref.running_norm`: x (F, D) -> (F, D), state (2, D) in float64."""
    now = np.zeros((2, x.shape[1])) if state is None else state.copy()
    out = np.empty_like(x)
    _running_norm(x, rate, past, now[0], now[1], out)
    return out, now
