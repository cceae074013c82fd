"""The asymmetry extractors' recurrences on the CPU: numba, channels innermost, equal to `ops/ref`.

Shapes: T inner samples, F frames, C channels, K widths, D columns. Tracks lie as (T, C), so that
the channels are the lanes of a SIMD register.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

_jit = numba.njit(nogil=True, cache=True, error_model="numpy")


@_jit
def _smooth(power: Any, share: Any, s: Any, out: Any) -> None:
    for f in range(power.shape[0]):
        row, to = power[f], out[f]
        for c in range(power.shape[1]):
            s[c] += share * (row[c] - s[c])
            to[c] = s[c]


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
    fall: Any,
) -> None:  # fmt: skip
    zero = step.dtype.type(0)
    for k in range(len(width)):
        r, keep = width[k], decay[k]
        part = step.dtype.type(1) / (hop * r)
        s, up, down = now[0, k], now[1, k], now[2, k]
        for f in range(stop.shape[1]):
            mean, u, d = stop[k, f], rise[k, f], fall[k, f]
            for c in range(step.shape[1]):
                mean[c] = zero
                up[c] *= keep
                down[c] *= keep
            for t in range(f * hop, (f + 1) * hop):
                move, w = step[t], weight[t]
                for c in range(step.shape[1]):
                    target = s[c] + move[c]
                    new = min(max(target, -r), r)
                    past = target - new
                    up[c] += max(past, zero)
                    down[c] += max(-past, zero)
                    mean[c] += w[c] * new
                    s[c] = new
            for c in range(step.shape[1]):
                mean[c] *= part
                u[c] = up[c]
                d[c] = down[c]


@_jit
def _wrap(x: Any) -> Any:
    return x - np.rint(x)


@_jit
def _moves(
    power: Any, turn: Any, phase: Any, least: Any, own: Any, scale: Any, hop: Any, last: Any,
    above: Any, weight: Any, both: Any, deviation: Any, carrier: Any, lead: Any,
) -> None:  # fmt: skip
    h = power.shape[0] // max(1, least.shape[0])
    one = power.dtype.type(1)
    count = power.shape[1]
    w0, d0, p0, a0, l0 = last[0], last[1], last[2], last[3], last[4]
    for t in range(power.shape[0]):
        p, u, q, floor = power[t], turn[t], phase[t], least[t // h]
        up, w, b = above[t], weight[t], both[t]
        dev, car, led = deviation[t], carrier[t], lead[t]
        for c in range(count):
            up[c] = max(p[c], floor[c])
            w[c] = one - floor[c] / up[c]
        for c in range(count - 1):  # before the loop below forgets the weights of before
            side = _wrap(q[c + 1] - q[c])
            b[c] = min(w[c], w[c + 1])
            led[c] = _wrap(side - l0[c]) * min(b[c], min(w0[c], w0[c + 1]))
            l0[c] = side
        for c in range(count):
            sure = min(w[c], w0[c])
            off = _wrap(u[c] - own[c]) * scale[c]
            dev[c] = (off - d0[c]) * sure
            car[c] = _wrap(q[c] - p0[c] - a0[c]) * sure
            w0[c] = w[c]
            d0[c] = off
            p0[c] = q[c]
            a0[c] = u[c] * hop


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


class Moves(NamedTuple):
    """Steps of the tracks between inner samples, (T, C); of lead (T, C - 1)."""

    above: NDArray  # power, not below the floor
    weight: NDArray  # 1 - floor / above
    both: NDArray  # (T, C - 1) the lesser weight of a channel and its upper neighbour
    frequency: NDArray  # ERB
    carrier: NDArray  # cycles
    lead: NDArray  # cycles


def moves(
    power: NDArray, turn: NDArray, phase: NDArray, least: NDArray, own: NDArray, scale: NDArray,
    hop: int, last: NDArray | None,
) -> tuple[Moves, NDArray]:  # fmt: skip
    """The tracks' weighted moves, as `speechasym.extractors` defines them.

    Args:
        power: (F H, C); turn: cycles a sample, energy-weighted; phase: cycles at its end.
        least: (F, C) floor as power.
        own: (C,) cycles a sample at the centre frequency; scale: (C,) ERB per cycle a sample.
        hop: samples an inner sample.
        last: (5, C) weight, deviation, phase, predicted advance and lead before; None: no move.
    """
    kind = power.dtype.type
    now = np.zeros((5, power.shape[1]), power.dtype) if last is None else last.copy()
    wide, narrow = power.shape, (len(power), power.shape[1] - 1)
    made = Moves(*(np.empty(s, power.dtype) for s in (wide, wide, narrow, wide, wide, narrow)))
    _moves(
        power, turn, phase, least, own, scale, kind(hop), now,
        made.above, made.weight, made.both, made.frequency, made.carrier, made.lead,
    )  # fmt: skip
    return made, now


def neighbours(z: NDArray, h: int) -> tuple[NDArray, NDArray, NDArray]:
    """z (F h, C) -> sums over frames: z_(c+1) conj z_c, real and imaginary (F, C - 1); |z|^2."""
    frames = len(z) // h
    along, across = (np.empty((frames, z.shape[1] - 1), np.float32) for _ in range(2))
    size = np.empty((frames, z.shape[1]), np.float32)
    re, im = np.empty((2, z.shape[1]), np.float32)
    _neighbours(z.view(np.float32), h, re, im, along, across, size)
    return along, across, size


def means(x: NDArray, h: int) -> NDArray:
    """x (F h, C) real -> its means over frames of h, (F, C)."""
    out = np.empty((len(x) // h, x.shape[1]), x.dtype)
    _means(x, h, out)
    return out


@_jit
def _running_norm(x: Any, rate: float, heard: int, mean: Any, variance: Any, out: Any) -> None:
    for f in range(x.shape[0]):
        share = max(rate, 1 / (heard + f + 1))
        for d in range(x.shape[1]):
            off = x[f, d] - mean[d]
            mean[d] += share * off
            variance[d] = (1 - share) * (variance[d] + share * off * off)
            out[f, d] = (x[f, d] - mean[d]) / max(np.sqrt(variance[d]), 1e-4)


def noise_floor(
    power: NDArray,
    smooth: float,
    rise: float,
    settle: int,
    state: NDArray | None = None,
    heard: int = 0,
) -> tuple[NDArray, NDArray]:
    """`ref.noise_floor` for C tracks: power (F, C) -> n (F, C) in dB, state (2, C)."""
    kind = power.dtype.type
    now = np.zeros((2, power.shape[1]), power.dtype) if state is None else state.copy()
    if state is None and len(power):
        now[0] = power[0]
    level = np.empty_like(power)
    _smooth(power, kind(smooth), now[0], level)
    np.log10(level, out=level)
    level *= kind(10)
    out = np.empty_like(level)
    _follow(level, kind(rise), settle - heard, now[1], out)
    return out, now


def stop_pooled(
    step: NDArray,
    weight: NDArray,
    width: NDArray,
    decay: NDArray,
    hop: int,
    state: NDArray | None = None,
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """`ref.stop_pooled` for C tracks: step, weight (F hop, C) -> (K, F, C) each, (3, K, C)."""
    count, kind = len(width), step.dtype
    now = np.zeros((3, count, step.shape[1]), kind) if state is None else np.array(state, kind)
    shape = (count, len(step) // hop, step.shape[1])
    stop, rise, fall = (np.empty(shape, kind) for _ in range(3))
    _stop_pooled(step, weight, width.astype(kind), decay.astype(kind), hop, now, stop, rise, fall)
    return stop, rise, fall, now


def running_norm(
    x: NDArray, rate: float, state: NDArray | None = None, heard: int = 0
) -> tuple[NDArray, NDArray]:
    """`ref.running_norm`: x (F, D) -> (F, D), state (2, D) in float64."""
    now = np.zeros((2, x.shape[1])) if state is None else state.copy()
    out = np.empty_like(x)
    _running_norm(x, rate, heard, now[0], now[1], out)
    return out, now
