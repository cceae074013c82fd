"""The gammatone recurrence of `ops/ref` on the CPU, compiled with numba.

What makes it fast: write the output of a stage as y_k(t) = v_k(t) pole^j, where j = 1, 2, ...
counts the samples of a block. Then y_k(t) = pole y_k(t-1) + y_(k-1)(t) becomes

    v_k(t) = v_k(t-1) + v_(k-1)(t),     v_0(t) = pole^-j gain x(t):

running sums of real and imaginary parts, with additions only and the exponentials in a table. |v|
may grow like |pole|^-j; so a block ends before that exceeds GROWTH, and the stages are multiplied
by pole^block, which turns them into y. Neighbouring channels fill the lanes of a SIMD register, all
stages stay in registers, and a frame's mean power and lag-1 product are summed up on the way, so
that the full-rate channels are never written. What four samples add to them is summed up first: a
sum that each sample extends would wait for the sample before, for longer than the arithmetic takes.
Rounding is that of the plain recursion: in both, the
weight of a term relative to the newest one decays by |pole| per sample.

Shapes: B batch, T samples, C channels, F frames, N order, D the longest delay.
"""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np
from numba.core.codegen import get_host_cpu_features
from numpy.typing import NDArray

from speechasym.ops.compiling import njit
from speechasym.ops.cpu_lanes import registers, store

GROWTH = 1e20  # maximum of |pole|^-block: leaves float32 (3e38) room for loud input, four sums
LONGEST = 160  # maximum samples per block: its table stays in the first-level cache
SILENCE = 1e-30  # stages below this are set to 0: denormal numbers are slow, and negligible
# 1 - |pole| below which a block runs in float64. The error of float32 sums, measured at 192 kHz:
# 2e-6 at 1e-3, 1.4e-5 at 1e-4, 5e-5 at 2e-5.
NARROW = 2e-4
_FEATURES = numba.config.CPU_FEATURES  # of another processor, if numba is told to compile for one
_WIDE = "+avx512f" in (get_host_cpu_features() if _FEATURES is None else _FEATURES)
PARALLEL_WORK = 1 << 21  # samples x channels from which threads pay off

# glibc returns freed memory beyond a threshold to the system, and touching it again costs as much
# as all arithmetic here. The threshold follows the largest block ever freed, up to 32 MiB: so we
# free one that was never touched. It does not matter to the allocators of other systems.
_never_touched = np.empty(30 << 20, np.uint8)
del _never_touched


# These two are not inside `_kernels`: there, numba would hash them into the key of its cache by an
# identity that differs from process to process, and compile them again at every start.
@numba.njit(inline="always")
def _push(sr, si, u, ar, ai, c, order, lanes):  # type: ignore[no-untyped-def]
    a, b = u * ar[c], u * ai[c]
    for k in range(order):
        sr[k * lanes + c] += a
        si[k * lanes + c] += b
        a, b = sr[k * lanes + c], si[k * lanes + c]
    return a, b


@numba.njit(inline="always")
def _renew(sr, si, row, tiny, order, lanes):  # type: ignore[no-untyped-def]
    for c in range(lanes):
        for k in range(order):
            a, b = sr[k * lanes + c], si[k * lanes + c]
            a, b = a * row[3, c] - b * row[4, c], a * row[4, c] + b * row[3, c]
            sr[k * lanes + c] = a if abs(a) > tiny else 0
            si[k * lanes + c] = b if abs(b) > tiny else 0


@lru_cache
def _kernels(order: int, lanes: int, aligned: bool) -> tuple[Any, Any]:
    """Compile (pooled, full) for blocks of `lanes` channels; constants let LLVM unroll all loops.

    Both take x (samples,); table (length, 5, lanes), at j: pole^-j gain as re, im, then |pole|^j,
    then pole^j as re, im; and stages (2, order * lanes) as re, im, at `position` samples into a
    block. They update the stages, and return the new position.
    """
    size = order * lanes
    top = size - lanes
    jit = njit(nogil=True, error_model="numpy", fastmath={"contract"})

    @jit
    def pooled(x, offset, hop, table, step, stages, position, first, power, lag1, sample):  # type: ignore[no-untyped-def]
        # offset (lanes,) where each channel starts to read; step (2, lanes): pole / |pole|;
        # power (F, C); lag1 and sample (F, 2 C) as re, im, written from channel `first` on
        zero, one = x.dtype.type(0), x.dtype.type(1)
        tiny = x.dtype.type(SILENCE)
        scale = x.dtype.type(1) / x.dtype.type(hop)
        sr = numba.carray(registers(size, zero), (size,))
        si = numba.carray(registers(size, zero), (size,))
        pr = numba.carray(registers(lanes, zero), (lanes,))
        qr = numba.carray(registers(lanes, zero), (lanes,))
        qi = numba.carray(registers(lanes, zero), (lanes,))
        # z of the last samples, less the block's phase, after that of the sample before
        zr = numba.carray(registers(lanes, zero), (lanes,))
        zi = numba.carray(registers(lanes, zero), (lanes,))
        length = table.shape[0]
        for c in range(size):
            sr[c] = stages[0, c]
            si[c] = stages[1, c]
        for c in range(lanes):
            fade = table[position - 1, 2, c] if position > 0 else x.dtype.type(1)
            zr[c] = sr[top + c] * fade
            zi[c] = si[top + c] * fade
        for f in range(power.shape[0]):
            for c in range(lanes):
                pr[c] = zero
                qr[c] = zero
                qi[c] = zero
            done = 0
            while done < hop:
                if position == length:
                    _renew(sr, si, table[length - 1], tiny, order, lanes)
                    position = 0
                    for c in range(lanes):
                        zr[c] = sr[top + c]
                        zi[c] = si[top + c]
                count = min(length - position, hop - done)
                base = f * hop + done
                rows = table[position : position + count]
                for i in range(count // 4):  # lag-1 products of two neighbours share a factor
                    v = rows[4 * i : 4 * i + 4]
                    part = x[base + 4 * i :]
                    for c in range(lanes):
                        o = offset[c] if aligned else 0
                        a, b = _push(sr, si, part[o], v[0, 0], v[0, 1], c, order, lanes)
                        xr, xi = a * v[0, 2, c], b * v[0, 2, c]
                        a, b = _push(sr, si, part[o + 1], v[1, 0], v[1, 1], c, order, lanes)
                        yr, yi = a * v[1, 2, c], b * v[1, 2, c]
                        p = xr * xr
                        p += xi * xi
                        p += yr * yr
                        p += yi * yi
                        pr[c] += p
                        q = xr * (zr[c] + yr)
                        q += xi * (zi[c] + yi)
                        r = xi * (zr[c] - yr)
                        r -= xr * (zi[c] - yi)
                        a, b = _push(sr, si, part[o + 2], v[2, 0], v[2, 1], c, order, lanes)
                        wr, wi = a * v[2, 2, c], b * v[2, 2, c]
                        a, b = _push(sr, si, part[o + 3], v[3, 0], v[3, 1], c, order, lanes)
                        ur, ui = a * v[3, 2, c], b * v[3, 2, c]
                        p = wr * wr
                        p += wi * wi
                        p += ur * ur
                        p += ui * ui
                        pr[c] += p
                        q += wr * (yr + ur)
                        q += wi * (yi + ui)
                        qr[c] += q
                        r += wi * (yr - ur)
                        r -= wr * (yi - ui)
                        qi[c] += r
                        zr[c] = ur
                        zi[c] = ui
                for i in range(count // 4 * 4, count):
                    row = rows[i]
                    part = x[base + i :]
                    for c in range(lanes):
                        o = offset[c] if aligned else 0
                        a, b = _push(sr, si, part[o], row[0], row[1], c, order, lanes)
                        wr, wi = a * row[2, c], b * row[2, c]
                        pr[c] += wr * wr
                        pr[c] += wi * wi
                        qr[c] += wr * zr[c]
                        qr[c] += wi * zi[c]
                        qi[c] += wi * zr[c]
                        qi[c] -= wr * zi[c]
                        zr[c] = wr
                        zi[c] = wi
                position += count
                done += count
            row = table[position - 1]
            store(power[f], first, (pr,), scale, lanes)
            store(lag1[f], 2 * first, (qr, qi, step[0], step[1]), scale, lanes)
            store(sample[f], 2 * first, (sr[top:], si[top:], row[3], row[4]), one, lanes)
        for c in range(size):
            stages[0, c] = sr[c]
            stages[1, c] = si[c]
        return position

    @jit
    def full(x, table, stages, position, z):  # type: ignore[no-untyped-def]
        # z (T, 2 lanes): every sample of every channel as re, im
        zero = x.dtype.type(0)
        tiny = x.dtype.type(SILENCE)
        sr = numba.carray(registers(size, zero), (size,))
        si = numba.carray(registers(size, zero), (size,))
        for c in range(size):
            sr[c] = stages[0, c]
            si[c] = stages[1, c]
        for t in range(len(x)):
            if position == table.shape[0]:
                _renew(sr, si, table[position - 1], tiny, order, lanes)
                position = 0
            row = table[position]
            u = x[t]
            for c in range(lanes):
                a, b = _push(sr, si, u, row[0], row[1], c, order, lanes)
                z[t, 2 * c] = a * row[3, c] - b * row[4, c]
                z[t, 2 * c + 1] = a * row[4, c] + b * row[3, c]
            position += 1
        for c in range(size):
            stages[0, c] = sr[c]
            stages[1, c] = si[c]
        return position

    return pooled, full


class State(NamedTuple):
    """The state of the cascade: y = stages * pole^position; at position 0 it is that of `ref`."""

    stages: NDArray[np.complex128]  # (B, N, C)
    position: int  # samples since the stages were last multiplied by pole^block


def settle(state: State, pole: NDArray) -> NDArray[np.complex128]:
    """Return the stages' last outputs (B, N, C), which are the state of `ref` and `scan`."""
    return state.stages * pole**state.position


class _Block(NamedTuple):
    """Coefficients of `lanes` neighbouring channels for the kernels; see `_kernels`."""

    table: NDArray  # (length, 5, lanes)
    step: NDArray  # (2, lanes)


def _lanes(order: int) -> int:
    """Return the channels per block: as many as a register holds, unless the stages do not fit."""
    return 16 if _WIDE and order <= 8 else 8


@lru_cache(maxsize=64)
def _plan(poles: bytes, order: int, hop: int) -> tuple[_Block, ...]:
    pole = np.frombuffer(poles, np.complex128)
    lanes = _lanes(order)
    fastest = -math.log(np.abs(pole).min())
    longest = max(2, int(min(math.log(GROWTH) / fastest, LONGEST)))
    # blocks end where frames end, if possible, and otherwise hold an even number of samples
    length = hop * (longest // hop) if hop <= longest else math.ceil(hop / (hop // longest + 1))
    length += length % 2 if hop > longest else 0
    j = np.arange(1, length + 1)[:, None]
    blocks = []
    for first in range(0, len(pole), lanes):
        poles_here = pole[first : first + lanes]
        kind = np.float64 if 1 - np.abs(poles_here).max() < NARROW else np.float32
        up, down = poles_here**-j * (2 * (1 - np.abs(poles_here)) ** order), poles_here**j
        size = length * 5 * lanes
        memory = np.zeros(size + 16, kind)  # the last block's spare lanes stay 0
        skip = -memory.ctypes.data % 64 // memory.itemsize  # loads across cache lines are slow
        table = memory[skip : skip + size].reshape(length, 5, lanes)
        for i, part in enumerate((up.real, up.imag, np.abs(down), down.real, down.imag)):
            table[:, i, : len(poles_here)] = part
        step = np.zeros((2, lanes), kind)
        turn = poles_here / np.abs(poles_here)
        step[0, : len(turn)], step[1, : len(turn)] = turn.real, turn.imag
        blocks.append(_Block(table, step))
    return tuple(blocks)


def _run(
    x: NDArray, pole: NDArray, order: int, hop: int, state: State | None, threads: int,
    kernel: Callable[[int, slice, NDArray, _Block, NDArray, int], int],
) -> State:  # fmt: skip
    """Call kernel(b, lanes, x, block, stages, position) for each row b and block of channels."""
    lanes = _lanes(order)
    plan = _plan(np.ascontiguousarray(pole, np.complex128).tobytes(), order, hop)
    stages = np.zeros((len(x), order, len(plan) * lanes), np.complex128)
    position = 0
    if state is not None:
        stages[:, :, : len(pole)], position = state
    tasks = [(b, g) for b in range(len(x)) for g in range(len(plan))]

    def run(task: tuple[int, int]) -> int:
        b, g = task
        here = slice(g * lanes, (g + 1) * lanes)
        kind = plan[g].table.dtype
        flat = stages[b, :, here].reshape(-1)
        parts = np.stack([flat.real, flat.imag]).astype(kind)
        end = kernel(b, here, x[b].astype(kind, copy=False), plan[g], parts, position)
        stages[b, :, here] = (parts[0] + 1j * parts[1]).reshape(order, lanes)
        return end

    if threads > 1 and len(tasks) > 1 and x.size * len(pole) >= PARALLEL_WORK:
        with ThreadPoolExecutor(min(threads, len(tasks))) as pool:
            ends = list(pool.map(run, tasks))
    else:
        ends = [run(task) for task in tasks]
    return State(stages[:, :, : len(pole)], ends[0] if ends else position)


def gammatone(
    x: NDArray[np.float32], pole: NDArray[np.complex128], order: int, state: State | None = None,
    threads: int = 1,
) -> tuple[NDArray[np.complex64], State]:  # fmt: skip
    """Compute `ref.gammatone` of a batch: x (B, T) -> z (B, C, T), and the state."""
    lanes = _lanes(order)
    z = np.empty((len(x), x.shape[1], -(-len(pole) // lanes) * lanes), np.complex64)

    def kernel(b: int, here: slice, x: NDArray, block: _Block, stages: NDArray, at: int) -> int:
        out = z[b].view(np.float32)[:, 2 * here.start : 2 * here.stop]
        return _kernels(order, lanes, False)[1](x, block.table, stages, at, out)

    state = _run(x, pole, order, LONGEST, state, threads, kernel)
    return z[:, :, : len(pole)].transpose(0, 2, 1), state


def gammatone_pooled(
    x: NDArray[np.float32], pole: NDArray[np.complex128], order: int, hop: int,
    state: State | None = None, delay: NDArray | None = None, threads: int = 1,
) -> tuple[NDArray[np.float32], NDArray[np.complex64], NDArray[np.complex64], State]:  # fmt: skip
    """Compute `ref.gammatone_pooled` of a batch: x (B, D + F hop) -> (B, C, F) each, and state."""
    lanes = _lanes(order)
    padded = -(-len(pole) // lanes) * lanes
    lead = 0 if delay is None else int(delay.max(initial=0))
    offset = np.zeros(padded, np.int64)
    if delay is not None:
        offset[: len(pole)] = lead - delay
    shape = (len(x), (x.shape[1] - lead) // hop, padded)
    # one allocation: the first access to a page costs more than writing it
    size = math.prod(shape)
    out: list[NDArray] = np.split(np.empty(5 * size, np.float32), [size, 3 * size])
    power = out[0].reshape(shape)
    lag1, sample = (part.reshape(*shape[:2], 2 * padded) for part in out[1:])

    def kernel(b: int, here: slice, x: NDArray, block: _Block, stages: NDArray, at: int) -> int:
        return _kernels(order, lanes, lead > 0)[0](
            x, offset[here], hop, block.table, block.step, stages, at, here.start,
            power[b], lag1[b], sample[b],
        )  # fmt: skip

    state = _run(x, pole, order, hop, state, threads, kernel)
    tracks: tuple[NDArray, ...] = (power, lag1.view(np.complex64), sample.view(np.complex64))
    power, lag1, sample = (track[:, :, : len(pole)].transpose(0, 2, 1) for track in tracks)
    return power, lag1, sample, state
