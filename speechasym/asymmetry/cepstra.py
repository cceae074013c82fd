"""The compact asymmetry set: few columns, decorrelated over channels, for small models and ABX.

Cepstra, that is cosine transforms over channels, of

- amplitude: root-compressed power, its first and second slopes over time, and the signed asymmetry
  of the lowest level;
- frequency: the deviation from the centre frequencies, times the root-compressed power;
- phase: the coherence of neighbouring channels, times the lesser weight of the two;

smoothed over three frames with weights 1 2 1. Few cepstra, because each further one carries more of
the speaker and of the noise than of the phone; fewer still for the slopes (`docs/log.md` has the
measurements).

Shapes: F frames, C channels, K static cepstra, D columns.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechasym.asymmetry import tracks

ROOT = 0.2  # exponent of power: between the logarithm, which lifts noise, and none
STATIC, SLOPES, CURVES = 9, 6, 5  # cepstra of power, their first and second slopes
INDEX, DEVIATION, COHERENCE = 3, 5, 5  # cepstra of the others
LOOKAHEAD = 5  # frames: one of smoothing, two of each slope


def columns(config: tracks.AsymmetryConfig, kinds: tuple[str, ...]) -> list[dict[str, Any]]:
    """Name, unit and meaning of each column, in order."""
    out: list[dict[str, Any]] = []

    def add(kind: str, name: str, unit: str, count: int, **more: Any) -> None:
        out.extend(
            {"name": f"{name}_{k:02d}", "unit": unit, "kind": kind, "coefficient": k} | more
            for k in range(count)
        )

    if "amplitude" in kinds:
        root = f"power^{ROOT}"
        add("amplitude", "power", root, STATIC)
        add("amplitude", "slope", f"{root}/frame", SLOPES)
        add("amplitude", "curve", f"{root}/frame^2", CURVES)
        lowest = {"level": 1} | config.levels[0]._asdict()
        add("amplitude", "asymmetry1", "1", INDEX, **lowest)
    if "frequency" in kinds:
        add("frequency", "deviation", f"ERB power^{ROOT}", DEVIATION)
    if "phase" in kinds:
        add("phase", "coherence", "1", COHERENCE)
    return out


def wanted_tracks(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Tracks whose hysteresis the set needs."""
    return ("amplitude",) if "amplitude" in kinds else ()


@lru_cache
def _basis(channels: int, count: int) -> NDArray[np.float32]:
    """(C, K) orthonormal cosines (type II)."""
    k, c = np.arange(count), np.arange(channels)[:, None]
    scale = np.sqrt(np.where(k, 2, 1) / channels)
    return (np.cos(np.pi / channels * (c + 0.5) * k) * scale).astype(np.float32)


def _cepstra(x: NDArray, count: int) -> NDArray[np.float32]:
    """(F, C) -> the first `count` of the cosine transform over channels, (F, K)."""
    from speechasym.ops import cpu_asymmetry as cpu

    return cpu.project(x, _basis(x.shape[1], count))


def static(f: tracks.Frames, kinds: tuple[str, ...]) -> NDArray[np.float32]:
    """The cepstra of each frame on its own, (F, K)."""
    parts: list[NDArray] = []
    root = f.power ** np.float32(ROOT)
    if "amplitude" in kinds:
        index = f.asymmetry["amplitude"][0]
        parts.extend((_cepstra(root, STATIC), _cepstra(index, INDEX)))
    if "frequency" in kinds:
        parts.append(_cepstra(f.frequency * root, DEVIATION))
    if "phase" in kinds:
        both = np.minimum(f.weight[:, 1:], f.weight[:, :-1])
        parts.append(_cepstra(f.coherence * both, COHERENCE))
    return np.concatenate(parts, 1)


def slide(
    rows: NDArray, before: NDArray | None, kinds: tuple[str, ...]
) -> tuple[NDArray[np.float32], NDArray | None]:
    """New static cepstra (n, K) -> the columns that can be told, `LOOKAHEAD` frames late.

    `before` carries the cepstra still needed; None: these are the first, and the first frame
    stands for what lies before it.
    """
    if before is None:
        if not len(rows):
            return with_slopes(np.zeros((2 * LOOKAHEAD, rows.shape[1]), np.float32), kinds), None
        before = np.repeat(rows[:1], LOOKAHEAD, 0)
    heard = np.concatenate([before, rows])
    made = heard if len(heard) >= 2 * LOOKAHEAD else heard[:0]
    keep = heard[-2 * LOOKAHEAD :]
    if not len(made):
        made = np.zeros((2 * LOOKAHEAD, rows.shape[1]), np.float32)
    return with_slopes(made, kinds), keep


def end(before: NDArray | None, kinds: tuple[str, ...]) -> NDArray[np.float32] | None:
    """The columns of the last frames, which stand for what lies after them; None: no sound."""
    if before is None:
        return None
    return with_slopes(np.concatenate([before, np.repeat(before[-1:], LOOKAHEAD, 0)]), kinds)


def _slope(x: NDArray) -> NDArray:
    """(F, K) -> (F - 4, K): the regression line's slope over five frames."""
    out: NDArray = (2 * (x[4:] - x[:-4]) + (x[3:-1] - x[1:-3])) / np.float32(10)
    return out


def with_slopes(x: NDArray, kinds: tuple[str, ...]) -> NDArray[np.float32]:
    """Static cepstra (F + 2 `LOOKAHEAD`, K) -> columns (F, D)."""
    smooth = (x[:-2] + 2 * x[1:-1] + x[2:]) / np.float32(4)
    here = smooth[4:-4]
    if "amplitude" not in kinds:
        return here
    slope = _slope(smooth[:, :SLOPES])
    curve = _slope(slope[:, :CURVES])
    return np.concatenate([here[:, :STATIC], slope[2:-2], curve, here[:, STATIC:]], 1)
