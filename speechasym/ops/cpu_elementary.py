"""Functions of one number for kernels in numba: vectorised where those of libm are not.

All take float32; a loop over arrays compiles to SIMD instructions of any width.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechasym.ops.compiling import njit

_jit = njit(nogil=True, error_model="numpy")


def _logarithm(t: NDArray) -> NDArray:
    return np.log1p(t) / np.where(t, t, 1) * 10 / np.log(10) + np.where(t, 0, 10 / np.log(10))


# 10 log10(1 + t) / t as a polynomial in t, 1 + t from sqrt(1/2) to sqrt(2): its error is below
# the rounding of float32. numpy's log10 is ten times slower without AVX-512, and cannot be fused.
_LOG = tuple(
    np.float32(c)
    for c in np.polynomial.Chebyshev.interpolate(_logarithm, 9, [0.5**0.5 - 1, 2**0.5 - 1])
    .convert(kind=np.polynomial.Polynomial)
    .coef
)
_OCTAVE = np.float32(10 * np.log10(2))
_ROOT_HALF, _MANTISSA = np.int32(np.float32(0.5**0.5).view(np.int32)), np.int32(23)


@_jit
def decibel(power: Any) -> Any:
    """Return 10 log10(power) of a positive normal float32."""
    bits = np.float32(power).view(np.int32)
    octave = np.int32(np.int32(bits - _ROOT_HALF) >> _MANTISSA)
    t = np.int32(bits - (octave << _MANTISSA)).view(np.float32) - np.float32(1)
    p = _LOG[9]
    p = p * t + _LOG[8]
    p = p * t + _LOG[7]
    p = p * t + _LOG[6]
    p = p * t + _LOG[5]
    p = p * t + _LOG[4]
    p = p * t + _LOG[3]
    p = p * t + _LOG[2]
    p = p * t + _LOG[1]
    p = p * t + _LOG[0]
    return np.float32(octave) * _OCTAVE + p * t


@_jit
def wrap(x: Any) -> Any:
    return x - np.rint(x)


# atan(r) / r / 2 pi as a polynomial in r^2 for 0 <= r <= 1: the error of Chebyshev interpolation of
# degree 10 is 3e-9 cycles, below the rounding of float32. numpy's arctan2 cannot be fused.
def _arctangent(square: NDArray) -> NDArray:
    root = np.sqrt(np.maximum(square, 1e-12))
    return np.arctan(root) / root / (2 * np.pi)


_ATAN = tuple(
    np.float32(c)
    for c in np.polynomial.Chebyshev.interpolate(_arctangent, 10, [0, 1])
    .convert(kind=np.polynomial.Polynomial)
    .coef
)


@_jit
def argument(im: Any, re: Any) -> Any:
    """Return the argument of re + i im in cycles, -0.5 to 0.5; 0 for 0."""
    x, y = abs(re), abs(im)
    r = min(x, y) / max(max(x, y), np.float32(1e-37))
    s = r * r
    p = _ATAN[10]
    p = p * s + _ATAN[9]
    p = p * s + _ATAN[8]
    p = p * s + _ATAN[7]
    p = p * s + _ATAN[6]
    p = p * s + _ATAN[5]
    p = p * s + _ATAN[4]
    p = p * s + _ATAN[3]
    p = p * s + _ATAN[2]
    p = p * s + _ATAN[1]
    p = (p * s + _ATAN[0]) * r
    p = np.float32(0.25) - p if y > x else p
    p = np.float32(0.5) - p if re < 0 else p
    return -p if im < 0 else p
