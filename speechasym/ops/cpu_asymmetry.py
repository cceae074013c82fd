"""The recurrences of the asymmetry features on the CPU, compiled with numba.

Tracks are (T, C) in memory, so that the channels fill the lanes of a SIMD register.

Shapes: T inner samples, F frames, C channels, K widths, D columns.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.ops.compiling import njit
from speechasym.ops.cpu_elementary import argument, decibel, wrap

# sums of moves below this are set to 0: denormal numbers are five times slower, and negligible
SILENCE = 1e-30
UNKNOWN = 9.0  # cycles, of a direction that has not been read yet
_jit = njit(nogil=True, error_model="numpy")


@_jit
def _smooth(power: Any, share: Any, s: Any, out: Any) -> None:
    for f in range(power.shape[0]):
        row, to = power[f], out[f]
        for c in range(power.shape[1]):
            s[c] += share * (row[c] - s[c])
        for c in range(power.shape[1]):
            to[c] = decibel(s[c])


@_jit
def _follow(level: Any, share: Any, start: int, n: Any, out: Any) -> None:
    for f in range(level.shape[0]):
        row, to = level[f], out[f]
        for c in range(level.shape[1]):
            above = row[c] >= n[c] and f >= start
            n[c] = n[c] + share * (row[c] - n[c]) if above else row[c]
            to[c] = n[c]


@_jit
def _stop_pooled(
    step: Any, weight: Any, width: Any, decay: Any, hop: int, now: Any, stop: Any, rise: Any,
    fall: Any, asymmetry: Any,
) -> None:  # fmt: skip
    zero, tiny = step.dtype.type(0), step.dtype.type(SILENCE)
    count = step.shape[1]
    for f in range(stop.shape[0]):  # all widths of a frame in turn, while its steps are near
        for k in range(len(width)):
            r, keep = width[k], decay[k]
            part = step.dtype.type(1) / (hop * r)
            s, up, down = now[0, k], now[1, k], now[2, k]
            mean, to_up, to_down, to = stop[f, k], rise[f, k], fall[f, k], asymmetry[f, k]
            for c in range(count):
                mean[c] = zero
            for c in range(count):
                up[c] = up[c] * keep if up[c] > tiny else zero
            for c in range(count):
                down[c] = down[c] * keep if down[c] > tiny else zero
            for t in range(f * hop, (f + 1) * hop):
                move, w = step[t], weight[t]
                for c in range(count):
                    target = s[c] + move[c]
                    new = min(max(target, -r), r)
                    past = target - new
                    up[c] += max(past, zero)
                    down[c] += max(-past, zero)
                    mean[c] += w[c] * new
                    s[c] = new
            for c in range(count):
                mean[c] *= part
            for c in range(count):
                to_up[c] = up[c]
            for c in range(count):
                to_down[c] = down[c]
            for c in range(count):
                to[c] = (up[c] - down[c]) / (up[c] + down[c] + r)


@_jit
def _cycles(im: Any, re: Any, out: Any) -> None:
    for c in range(len(out)):
        out[c] = argument(im[c], re[c])


# Each loop writes one array: LLVM vectorises only loops over few arrays, where it can check at run
# time that they do not overlap.
@_jit
def _levels(
    power: Any, least: Any, h: int, weight: Any, level: Any, either: Any, step: Any
) -> None:
    # weight and level have the row before in front
    one = np.float32(1)
    for t in range(power.shape[0]):
        p, floor = power[t], least[t // h]
        w0, w, e, y0, y, s = weight[t], weight[t + 1], either[t], level[t], level[t + 1], step[t]
        for c in range(power.shape[1]):
            w[c] = one - floor[c] / max(p[c], floor[c])
        for c in range(power.shape[1]):
            e[c] = max(w[c], w0[c])
        for c in range(power.shape[1]):
            y[c] = decibel(max(p[c], floor[c]))
        for c in range(power.shape[1]):
            s[c] = y[c] - y0[c]


@_jit
def _angles(
    lag1: Any, z: Any, centre: Any, scale: Any, turn: Any, phase: Any, off: Any
) -> None:  # fmt: skip
    for t in range(lag1.shape[0]):
        row, side, u, q, o = lag1[t], z[t], turn[t], phase[t], off[t]
        for c in range(len(u)):
            u[c] = argument(row[2 * c + 1], row[2 * c])
        for c in range(len(u)):
            q[c] = argument(side[2 * c + 1], side[2 * c])
        for c in range(len(u)):
            o[c] = wrap(u[c] - centre[c]) * scale[c]


@_jit
def _steps(
    n: int, weight: Any, turn: Any, phase: Any, off: Any, hop: Any,
    both: Any, deviation: Any, carrier: Any,
) -> None:  # fmt: skip
    # all flat, with the n channels before the first; `both` is meaningless in the last channel
    size = len(weight)
    for i in range(size - n - 1):
        both[i] = min(weight[n + i], weight[n + i + 1])
    now, then = weight[n:], weight[: size - n]
    x, x0 = off[n:], off[: size - n]
    for i in range(size - n):
        deviation[i] = (x[i] - x0[i]) * min(now[i], then[i])
    q, q0, u0 = phase[n:], phase[: size - n], turn[: size - n]
    for i in range(size - n):
        carrier[i] = wrap(q[i] - q0[i] - u0[i] * hop) * min(now[i], then[i])


@_jit
def _grounded_moves(step: Any, weight: Any, height: Any, out: Any) -> None:
    zero = step.dtype.type(0)
    for t in range(step.shape[0]):
        row, w, to = step[t], weight[t], out[t]
        for c in range(step.shape[1]):
            to[c] = max(row[c] if w[c] > zero else -height[c], -height[c])
        for c in range(step.shape[1]):
            height[c] += to[c]


@_jit
def _direction_moves(
    z: Any, weight: Any, share: Any, least: Any, now: Any, rows: Any, out: Any
) -> None:
    x, y, last = now[0], now[1], now[2]
    re, im, along, across, pull, turn = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]
    one, tiny, unknown = np.float32(1), np.float32(SILENCE), np.float32(UNKNOWN)
    zero, square = np.float32(0), least * least
    count = len(re) - 1
    for t in range(z.shape[0]):
        row, w, to = z[t], weight[t], out[t]
        for c in range(count + 1):
            re[c] = row[2 * c]
            im[c] = row[2 * c + 1]
        for c in range(count):
            along[c] = re[c + 1] * re[c] + im[c + 1] * im[c]
        for c in range(count):
            across[c] = im[c + 1] * re[c] - re[c + 1] * im[c]
        for c in range(count):
            pull[c] = one / np.sqrt(max(along[c] * along[c] + across[c] * across[c], tiny))
        for c in range(count):
            x[c] += share * w[c] * (along[c] * pull[c] - x[c])
        for c in range(count):
            y[c] += share * w[c] * (across[c] * pull[c] - y[c])
        for c in range(count):
            turn[c] = argument(y[c], x[c]) if x[c] * x[c] + y[c] * y[c] >= square else last[c]
        for c in range(count):
            to[c] = wrap(turn[c] - last[c]) if last[c] < unknown else zero
        for c in range(count):
            last[c] = turn[c]
        to[count] = zero


@_jit
def _neighbours(z: Any, h: int, re: Any, im: Any, along: Any, across: Any, size: Any) -> None:
    zero = z.dtype.type(0)
    count = size.shape[1]
    for f in range(size.shape[0]):
        a, b, s = along[f], across[f], size[f]
        for c in range(count):
            s[c] = zero
        for c in range(count - 1):
            a[c] = zero
            b[c] = zero
        for t in range(f * h, (f + 1) * h):
            row = z[t]
            for c in range(count):
                re[c] = row[2 * c]
                im[c] = row[2 * c + 1]
            for c in range(count):
                s[c] += re[c] * re[c] + im[c] * im[c]
            for c in range(count - 1):
                a[c] += re[c + 1] * re[c] + im[c + 1] * im[c]
            for c in range(count - 1):
                b[c] += im[c + 1] * re[c] - re[c + 1] * im[c]


@_jit
def _means(x: Any, h: int, out: Any) -> None:
    part = x.dtype.type(1) / x.dtype.type(h)
    for f in range(out.shape[0]):
        to = out[f]
        for c in range(x.shape[1]):
            to[c] = x[f * h, c]
        for t in range(f * h + 1, (f + 1) * h):
            row = x[t]
            for c in range(x.shape[1]):
                to[c] += row[c]
        for c in range(x.shape[1]):
            to[c] *= part


def levels(
    power: NDArray, least: NDArray, last: NDArray | None
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Return the level above the floor at the inner samples, and its steps.

    Args (all in float32):
        power: (F H, C) output of the filterbank at the inner rate.
        least: (F, C) noise floor as power, > 0.
        last: (2, C) weight and level before; None: no step.

    Returns:
        known (2, 1 + F H, C): weight 1 - floor / power, and level in dB, not below the floor, both
        after the row before; either (F H, C): greater weight of the two ends of each step; steps
        (F H, C) in dB.
    """
    high, count = power.shape
    known = np.empty((2, high + 1, count), np.float32)
    known[:, 0] = 0 if last is None else last
    either, step = np.empty((2, high, count), np.float32)
    _levels(power, least, high // max(1, len(least)), known[0], known[1], either, step)
    if last is None:
        step[:1] = 0
    return known[0], known[1], either, step


class Moves(NamedTuple):
    """Steps of the tracks between inner samples (T, C); the last column of `both` is 0."""

    both: NDArray  # the smaller weight of a channel and its upper neighbour
    frequency: NDArray  # ERB
    carrier: NDArray  # cycles


def moves(
    lag1: NDArray, z: NDArray, weight: NDArray, centre: NDArray, scale: NDArray, hop: int,
    last: NDArray | None,
) -> tuple[Moves, NDArray]:  # fmt: skip
    """Return the tracks' weighted moves, defined in `speechasym.asymmetry.tracks`, and `last`.

    Args (all in float32 and complex64):
        lag1, z: (T, C) output of the filterbank at the inner rate.
        weight: (1 + T, C) of the inner samples, after that of the one before.
        centre: (C,) centre frequencies in cycles per sample.
        scale: (C,) ERBs per cycle per sample.
        hop: samples per inner sample.
        last: (3, C) cycles per sample, phase and deviation before; None: no move.
    """
    high, count = z.shape
    known = np.empty((3, high + 1, count), np.float32)  # turn, phase, off, with the row before
    known[:, 0] = 0 if last is None else last
    both, deviation, carrier = np.empty((3, high, count), np.float32)
    after = [part[1:] for part in known]
    _angles(lag1.view(np.float32), z.view(np.float32), centre, scale, *after)
    flat = [part.reshape(-1) for part in (both, deviation, carrier)]
    first = [part.reshape(-1) for part in (weight, *known)]
    steps: Any = _steps
    steps(count, *first, np.float32(hop), *flat)
    both[:, -1] = 0
    return Moves(both, deviation, carrier), known[:, -1].copy()


def grounded_moves(
    step: NDArray, weight: NDArray, state: NDArray | None = None
) -> tuple[NDArray, NDArray]:
    """Compute `ref.grounded_moves` of C tracks: step, weight (T, C) -> moves (T, C), state (C,)."""
    height = np.zeros(step.shape[1], step.dtype) if state is None else state.copy()
    out = np.empty_like(step)
    _grounded_moves(step, weight, height, out)
    return out, height


def direction_moves(
    z: NDArray, weight: NDArray, share: float, least: float, state: NDArray | None = None
) -> tuple[NDArray, NDArray]:
    """Compute `ref.direction_moves` of z_(c+1) conj z_c: (T, C) -> cycles (T, C), state (3, C).

    The last column, which has no upper neighbour, is 0.

    Args:
        z: (T, C) complex64.
        weight: (T, C) float32 of each channel and its upper neighbour.
        share, least: as in `ref.direction_moves`.
    """
    if state is None:
        state = np.zeros((3, z.shape[1]), np.float32)
        state[2] = UNKNOWN
    now, rows = state.copy(), np.empty((6, z.shape[1]), np.float32)
    out = np.empty(z.shape, np.float32)
    _direction_moves(
        z.view(np.float32), weight, np.float32(share), np.float32(least), now, rows, out
    )
    return out, now


def neighbours(z: NDArray, h: int) -> tuple[NDArray, NDArray, NDArray]:
    """Sum z (F h, C) over frames: z_(c+1) conj z_c, real and imaginary (F, C - 1), and |z|^2."""
    frames = len(z) // h
    along, across = np.empty((2, frames, z.shape[1] - 1), np.float32)
    size = np.empty((frames, z.shape[1]), np.float32)
    re, im = np.empty((2, z.shape[1]), np.float32)
    _neighbours(z.view(np.float32), h, re, im, along, across, size)
    return along, across, size


def cycles(imaginary: NDArray, real: NDArray) -> NDArray[np.float32]:
    """Return the arguments of float32 arrays of one shape in cycles, -0.5 to 0.5; 0 for 0."""
    out = np.empty(real.shape, np.float32)
    _cycles(np.ravel(imaginary), np.ravel(real), out.reshape(-1))
    return out


def means(x: NDArray, h: int) -> NDArray:
    """Return the means of x (F h, C), real, over frames of h: (F, C)."""
    out = np.empty((len(x) // h, x.shape[1]), x.dtype)
    _means(x, h, out)
    return out


def noise_floor(
    power: NDArray, smooth: float, rise: float, settle: int, state: NDArray | None = None,
    past: int = 0,
) -> tuple[NDArray, NDArray]:  # fmt: skip
    """Compute `ref.noise_floor` of C float32 tracks: power (F, C) -> n (F, C) dB, state (2, C)."""
    kind = power.dtype.type
    now = np.zeros((2, power.shape[1]), power.dtype) if state is None else state.copy()
    if state is None and len(power):
        now[0] = power[0]
    smoothed_db = np.empty_like(power)
    _smooth(power, kind(smooth), now[0], smoothed_db)
    out = np.empty_like(smoothed_db)
    _follow(smoothed_db, kind(rise), settle - past, now[1], out)
    return out, now


def stop_pooled(
    step: NDArray, weight: NDArray, width: NDArray, decay: NDArray, hop: int,
    state: NDArray | None = None,
) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:  # fmt: skip
    """Compute `ref.stop_pooled` of C tracks, and the signed asymmetry.

    step, weight (F hop, C) -> stop, rise, fall and (rise - fall) / (rise + fall + r), each
    (K, F, C), in memory (F, K, C); and the state (3, K, C).
    """
    count, kind = len(width), step.dtype
    now = np.zeros((3, count, step.shape[1]), kind) if state is None else np.array(state, kind)
    out = np.empty((4, len(step) // hop, count, step.shape[1]), kind)
    _stop_pooled(step, weight, width.astype(kind), decay.astype(kind), hop, now, *out)
    stop, rise, fall, asymmetry = (part.transpose(1, 0, 2) for part in out)
    return stop, rise, fall, asymmetry, now
