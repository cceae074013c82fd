"""The compact asymmetry set: few columns, decorrelated over channels, for small models and ABX.

Cepstra, that is cosine transforms over channels, of

- amplitude: root-compressed power, its first and second slopes over time, and the signed asymmetry
  of the first scale;
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

from speechasym.asymmetry.tracks import AsymmetryConfig, Tracks

ROOT = 0.2  # exponent of power: between the logarithm, which lifts noise, and none
STATIC, SLOPES, CURVES = 9, 6, 5  # cepstra of power, their first and second slopes
ASYMMETRY, DEVIATION, COHERENCE = 3, 5, 5  # cepstra of the others
LOOKAHEAD = 5  # frames: one of smoothing, two of each slope


def columns(config: AsymmetryConfig) -> list[dict[str, Any]]:
    """Return name, unit and meaning of each column, in order."""
    result: list[dict[str, Any]] = []

    def add(kind: str, name: str, unit: str, count: int, **more: Any) -> None:
        for k in range(count):
            about = {"name": f"{name}_{k:02d}", "unit": unit, "kind": kind, "coefficient": k}
            result.append(about | more)

    if "amplitude" in config.kinds:
        root = f"power^{ROOT}"
        add("amplitude", "power", root, STATIC)
        add("amplitude", "slope", f"{root}/frame", SLOPES)
        add("amplitude", "curve", f"{root}/frame^2", CURVES)
        add("amplitude", "asymmetry1", "1", ASYMMETRY, level=1, **config.scales[0]._asdict())
    if "frequency" in config.kinds:
        add("frequency", "deviation", f"ERB power^{ROOT}", DEVIATION)
    if "phase" in config.kinds:
        add("phase", "coherence", "1", COHERENCE)
    return result


@lru_cache
def basis(channels: int, count: int) -> NDArray[np.float32]:
    """Return orthonormal cosines (C, K), type II; their transpose is the inverse transform."""
    k, c = np.arange(count), np.arange(channels)[:, None]
    norm = np.sqrt(np.where(k, 2, 1) / channels)
    return (np.cos(np.pi / channels * (c + 0.5) * k) * norm).astype(np.float32)


def _cepstra(x: NDArray, count: int) -> NDArray[np.float32]:
    """(F, C) -> the first `count` coefficients of the cosine transform over channels, (F, K)."""
    from speechasym.ops import cpu_cepstra

    return cpu_cepstra.project(x, basis(x.shape[1], count))


def static(tracks: Tracks, kinds: tuple[str, ...]) -> NDArray[np.float32]:
    """Return the cepstra of each frame by itself, (F, K)."""
    parts = []
    root = tracks.power ** np.float32(ROOT)
    if "amplitude" in kinds:
        asymmetry = tracks.asymmetry["amplitude"][0]
        parts += [_cepstra(root, STATIC), _cepstra(asymmetry, ASYMMETRY)]
    if "frequency" in kinds:
        parts.append(_cepstra(tracks.frequency * root, DEVIATION))
    if "phase" in kinds:
        weight = np.minimum(tracks.weight[:, 1:], tracks.weight[:, :-1])
        parts.append(_cepstra(tracks.coherence * weight, COHERENCE))
    return np.concatenate(parts, 1)


def slide(
    rows: NDArray, before: NDArray | None, kinds: tuple[str, ...]
) -> tuple[NDArray[np.float32], NDArray | None]:
    """Return the columns known after static cepstra (n, K), `LOOKAHEAD` frames late, and a state.

    The state `before` holds cepstra that are still needed. None: `rows` are the first, and the
    first frame stands for those before it.
    """
    if before is None:
        before = np.repeat(rows[:1], LOOKAHEAD, 0)
    context = np.concatenate([before, rows])
    rows = np.concatenate(with_slopes(context, kinds), 1)
    return rows, context[-2 * LOOKAHEAD :] if len(context) else None


def flush(before: NDArray | None, kinds: tuple[str, ...]) -> NDArray[np.float32] | None:
    """Return the last columns; the last frame stands for those after it. None: no frames."""
    if before is None:
        return None
    context = np.concatenate([before, np.repeat(before[-1:], LOOKAHEAD, 0)])
    return np.concatenate(with_slopes(context, kinds), 1)


def slope(x: Any) -> Any:
    """(F, ..., K) -> (F - 4, ..., K): the regression line's slope over five frames."""
    return (2 * (x[4:] - x[:-4]) + (x[3:-1] - x[1:-3])) / np.float32(10)


def with_slopes(x: Any, kinds: tuple[str, ...]) -> tuple[Any, ...]:
    """Static cepstra (F + 2 `LOOKAHEAD`, ..., K), an array or tensor -> parts of (F, ..., D)."""
    smooth = (x[:-2] + 2 * x[1:-1] + x[2:]) / np.float32(4)
    here = smooth[4:-4]
    if "amplitude" not in kinds:
        return (here,)
    first = slope(smooth[..., :SLOPES])
    return here[..., :STATIC], first[2:-2], slope(first[..., :CURVES]), here[..., STATIC:]
