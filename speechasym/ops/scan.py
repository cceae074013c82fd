"""The recurrences of `ops/ref` in torch: batched and differentiable, on CPU and CUDA.

The gammatone of a chunk of L samples is one matrix product: its outputs are linear functions of
the L samples and of the N stages before them. From chunk to chunk the stages obey the same kind of
recurrence with pole^L, solved by chunks of chunks, so that only log(T) steps are sequential. The
result is exact; no impulse response is truncated.

Shapes: B batch, T samples, C channels, F frames, N order, L samples per chunk, M chunks, U units.
"""

import logging
import math
from functools import lru_cache
from subprocess import CalledProcessError
from typing import NamedTuple

import torch
from torch import Tensor

log = logging.getLogger(__name__)
CHUNK = 32  # samples: more cost more products, fewer more passes over memory
GROUP = 16  # chunks of chunks solved by one product
SEGMENT = 1 << 19  # samples x channels at a time without gradients: they stay in the cache


def full_precision(x: Tensor) -> torch.autocast:
    """Return a context in which autocast does not round products on the device of x."""
    return torch.autocast(x.device.type, enabled=False)


def _binomials(length: int, order: int) -> Tensor:
    """Return the binomials of j + d over d for d < order, j < length: (order, length), float64."""
    rows = [[math.comb(j + d, d) for j in range(length)] for d in range(order)]
    return torch.tensor(rows, dtype=torch.float64)


def _powers(decay: Tensor, angle: Tensor, count: int) -> Tensor:
    """Return pole^0 ... pole^(count - 1) as re, im pairs: (C, count, 2)."""
    j = torch.arange(count, dtype=torch.float64, device=decay.device)
    turn = angle[:, None] * j
    return torch.exp(decay[:, None] * j)[..., None] * torch.stack([turn.cos(), turn.sin()], 2)


def _chunk_matrices(
    decay: Tensor, angle: Tensor, order: int, length: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the matrices that give a chunk's outputs and last stages, for log pole = decay, angle.

    They have re, im pairs as last axis and are multiplied by row vectors from the left:
        (C, L, L + N, 2): samples -> outputs, then stages after the chunk;
        (C, N, L, 2): stages before -> outputs;
        (C, N, N, 2): stages before -> stages after.
    """
    over = _binomials(length, order).to(decay.device)[None, :, :, None]
    gain = 2 * (-torch.expm1(decay)) ** order
    powers = _powers(decay, angle, length + 1)  # (C, L + 1, 2)
    # per depth d, the impulse response of d + 1 stages: (j + d over d) pole^j
    response = over * powers[:, None, :length]  # (C, N, L, 2)
    later = torch.arange(length, device=decay.device)
    lag = later[None, :] - later[:, None]  # [i, j] = j - i
    causal = (lag >= 0)[None, :, :, None]
    toeplitz = torch.where(causal, response[:, -1][:, lag.clamp(min=0)], 0)  # (C, L, L, 2)
    ends = response.flip(2).transpose(1, 2)  # (C, L, N, 2): sample i -> stage after, depth = column
    from_x = torch.cat([toeplitz, ends], 2) * gain[:, None, None, None]
    # a stage's last output acts on it as an input of pole * output one sample later
    echo = over * powers[:, None, 1:]  # (C, N, L, 2): (j + d over d) pole^(j+1)
    depth = torch.arange(order, device=decay.device)
    to_output = echo[:, order - 1 - depth]  # stage m -> outputs through order-1-m more
    gap = depth[None, :] - depth[:, None]  # [m, k] = k - m
    last = echo[:, :, -1][:, gap.clamp(min=0)]  # (C, N, N, 2)
    to_stage = torch.where((gap >= 0)[None, :, :, None], last, 0)
    return from_x, to_output, to_stage


def linear_scan(u: Tensor, step: Tensor, state: Tensor) -> Tensor:
    """Solve s(m) = s(m-1) step + u(m): u (C, B, M, N), step (C, N, N), state (C, B, N).

    Returns the states *before* each m and after the last: (C, B, M + 1, N).
    """
    channels, batch, count, order = u.shape
    if count <= GROUP:
        states = [state]
        for m in range(count):
            states.append(torch.baddbmm(u[:, :, m], states[-1], step))
        return torch.stack(states, 2)
    groups = count // GROUP
    whole = u[:, :, : groups * GROUP].reshape(channels, batch * groups, GROUP, order)
    inner = linear_scan(whole, step, whole.new_zeros(channels, batch * groups, order))
    power = step
    powers = [torch.eye(order, dtype=step.dtype, device=step.device).expand_as(step), step]
    for _ in range(GROUP - 1):
        power = power @ step
        powers.append(power)
    sums = inner[:, :, -1].reshape(channels, batch, groups, order)
    outer = linear_scan(sums, powers[-1], state)  # (C, B, groups + 1, N)
    stacked = torch.cat(powers[:-1], 2)  # (C, N, GROUP * N)
    reach = outer[:, :, :-1].reshape(channels, batch * groups, order) @ stacked
    filled = inner[:, :, :-1] + reach.reshape(channels, batch * groups, GROUP, order)
    filled = filled.reshape(channels, batch, groups * GROUP, order)
    rest = linear_scan(u[:, :, groups * GROUP :], step, outer[:, :, -1])
    return torch.cat([filled, rest], 2)


def _pairs(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert pairs (C, N, K, 2) to a real matrix (C, 2 N, 2 K) for rows of re, im pairs."""
    turned = torch.stack([-matrix[..., 1], matrix[..., 0]], 3)  # times i
    return torch.stack([_rows(matrix, dtype), _rows(turned, dtype)], 2).flatten(1, 2)


def _rows(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert pairs (C, K, L, 2) to a real matrix (C, K, 2 L), re and im interleaved."""
    return matrix.to(dtype).flatten(2)


class _Cascade(NamedTuple):
    """The matrices of `_chunk_matrices`, real and in the signal's precision.

    Complex numbers are re, im pairs along the last axis.
    """

    chunk: int
    to_stages: Tensor  # (C, L, 2 N): samples -> stages after the chunk
    x_to_z: Tensor  # (C, L, 2 L): samples -> outputs
    stages_to_z: Tensor  # (C, 2 N, 2 L): stages before -> outputs
    step: Tensor  # (C, 2 N, 2 N): stages before -> stages after

    def channels(self, which: slice) -> "_Cascade":
        return _Cascade(self.chunk, *(matrix[which] for matrix in self[1:]))

    def run(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Filter x (B, M L) from a state (C, B, 2 N): z (C, B, M, L) complex, and the state."""
        channels, batch = len(self.step), len(x)
        count = x.shape[1] // self.chunk
        flat = x.reshape(1, batch * count, self.chunk).expand(channels, -1, -1)
        u = torch.bmm(flat, self.to_stages).unflatten(1, (batch, count))
        states = linear_scan(u, self.step, state)
        before = states[:, :, :-1].flatten(1, 2)
        z = torch.bmm(flat, self.x_to_z).baddbmm_(before, self.stages_to_z)
        z = torch.view_as_complex(z.reshape(channels, batch, count, self.chunk, 2))
        return z, states[:, :, -1]


def _design(pole: Tensor, order: int, chunk: int, dtype: torch.dtype) -> _Cascade:
    return design_log(pole.abs().log(), pole.angle(), order, chunk, dtype)


def design_log(
    decay: Tensor, angle: Tensor, order: int, chunk: int, dtype: torch.dtype
) -> _Cascade:
    """Return the matrices for log pole = decay + i angle, each (C,)."""
    from_x, from_s, step = _chunk_matrices(decay.double(), angle.double(), order, chunk)
    return _Cascade(
        chunk,
        _rows(from_x[:, :, chunk:], dtype),
        _rows(from_x[:, :, :chunk], dtype),
        _pairs(from_s, dtype),
        _pairs(step, dtype),
    )


def frame_chunk(hop: int) -> int:
    """Return the largest divisor of the hop that is not too long: frames end with chunks."""
    return max(d for d in range(1, min(hop, CHUNK) + 1) if hop % d == 0)


def _enter(state: Tensor | None, x: Tensor, channels: int, order: int) -> Tensor:
    """Convert a state (B, N, C), complex or None, to real (C, B, 2 N)."""
    if state is None:
        return x.new_zeros(channels, len(x), 2 * order)
    return torch.view_as_real(state.permute(2, 0, 1).contiguous()).flatten(2).to(x.dtype)


def _leave(state: Tensor) -> Tensor:
    """Convert a state (C, B, 2 N), real, to complex (B, N, C)."""
    return torch.view_as_complex(state.unflatten(2, (-1, 2)).contiguous()).permute(1, 2, 0)


def gammatone(
    x: Tensor, pole: Tensor, order: int, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute `ref.gammatone` of a batch: x (B, T) -> z (B, C, T) complex, state (B, N, C)."""
    whole = x.shape[1] // CHUNK * CHUNK
    carried = _enter(state, x, len(pole), order)
    parts = []
    for part, chunk in ((x[:, :whole], CHUNK), (x[:, whole:], x.shape[1] - whole)):
        if part.shape[1]:
            with full_precision(x):
                z, carried = _design(pole, order, chunk, x.dtype).run(part, carried)
            parts.append(z.flatten(2).transpose(0, 1))
    if not parts:
        parts.append(torch.complex(x, x)[:, None].expand(-1, len(pole), -1))
    return torch.cat(parts, 2), _leave(carried)


def gammatone_pooled(
    x: Tensor, pole: Tensor, order: int, hop: int, state: Tensor | None = None,
    delay: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Compute `ref.gammatone_pooled` of a batch: x (B, D + F hop) -> (B, C, F) each, and the state.

    Without gradients, only a short segment of the full-rate channels is in memory at a time.
    """
    channels, batch = len(pole), len(x)
    lead = 0 if delay is None else int(delay.max())
    frames = (x.shape[1] - lead) // hop
    chunk = frame_chunk(hop)
    cascade = _design(pole, order, chunk, x.dtype)
    carried = _enter(state, x, channels, order)
    segment = max(1, SEGMENT // (max(1, batch) * channels * hop)) * (64 if x.is_cuda else 1)
    if torch.is_grad_enabled() and (x.requires_grad or pole.requires_grad):
        segment = max(1, frames)  # everything is kept for the backward pass
    tracks = []
    for first in range(0, frames, segment):
        here = slice(first * hop, min(first + segment, frames) * hop)
        last = torch.view_as_complex(carried[:, :, -2:].contiguous())  # (C, B): z(t-1)
        with full_precision(x):
            if delay is not None and lead:
                z, carried = _aligned(cascade, x, here, lead - delay, carried)
            else:
                z, carried = cascade.run(x[:, here], carried)
        tracks.append(_pool(z, last, hop))
    if not tracks:
        nothing = x.new_zeros(channels, batch, 0)
        tracks.append((nothing, torch.complex(nothing, nothing), torch.complex(nothing, nothing)))
    power, lag1, sample = (torch.cat(t, 2).transpose(0, 1) for t in zip(*tracks, strict=True))
    return power, lag1, sample, _leave(carried)


def pooled_from_silence(
    x: Tensor, pole: Tensor, order: int, hop: int, delay: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the frames of `gammatone_pooled` without state and gradient; on CUDA in one kernel.

    The kernel has order 4 and no delays. It is checked once on a short signal, and not used where
    triton is missing, cannot compile it, or gives other values.
    """
    if x.is_cuda and order == 4 and delay is None and _kernel_works(x.device):
        from speechasym.ops import triton_gammatone

        return triton_gammatone.gammatone_pooled(x, pole, hop)
    power, lag1, sample, _ = gammatone_pooled(x, pole, order, hop, None, delay)
    return power, lag1, sample


@lru_cache
def _kernel_works(device: torch.device) -> bool:
    x = torch.randn(3, 333, generator=torch.Generator().manual_seed(0)).to(device)
    pole = torch.polar(torch.linspace(0.8, 0.99, 40), torch.linspace(2.5, 0.1, 40)).to(device)
    pole = pole.to(torch.complex128)
    try:
        from speechasym.ops import triton_gammatone

        got = triton_gammatone.gammatone_pooled(x, pole, 32)
        want = gammatone_pooled(x, pole, 4, 32)
        if all(bool((a - b).abs().max() < 1e-4) for a, b in zip(got, want, strict=False)):
            return True
        problem = "gives other values"
    except (ImportError, RuntimeError, OSError, CalledProcessError) as error:  # no C compiler, ...
        problem = str(error)
    log.warning("the filterbank's kernel is not used on %s: %s", device, problem)
    return False


def _aligned(
    cascade: _Cascade, x: Tensor, here: slice, offset: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Run the cascade with channel c reading its samples offset[c] later, channel by channel."""
    z, after = [], []
    for c, shift in enumerate(offset.tolist()):
        one = cascade.channels(slice(c, c + 1))
        output, end = one.run(x[:, here.start + shift : here.stop + shift], state[c : c + 1])
        z.append(output)
        after.append(end)
    return torch.cat(z), torch.cat(after)


def _pool(z: Tensor, last: Tensor, hop: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pool z (C, B, M, L), with z(t-1) (C, B), as `ref.gammatone_pooled`: (C, B, F) each."""
    frames = z.flatten(2).unflatten(2, (-1, hop))  # (C, B, F, hop)
    # a norm reads once, without intermediate results; its gradient at silence is 0
    power = torch.linalg.vector_norm(torch.view_as_real(frames).flatten(3), dim=3).square()
    sample = frames[..., -1]
    edge = torch.cat([last[..., None], sample[..., :-1]], 2)  # z before each frame
    lag1 = (frames[..., 1:] * frames[..., :-1].conj()).sum(3) + frames[..., 0] * edge.conj()
    return power / hop, lag1 / hop, sample


def play(x: Tensor, width: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Compute `ref.play` of a batch: x (..., T), width (K,) -> p (..., K, T), state (..., K).

    Without samples the state stays, also None, which is to start at the next chunk's first sample.
    Two successive clamps are a clamp, so that the clamps up to each t are combined in log(T) steps.
    They only take minima and maxima, so that the values are exactly those of the loop.
    """
    low, high = (x[..., None, :] - width[:, None], x[..., None, :] + width[:, None])
    if not x.shape[-1]:
        return low, state
    first = x[..., None, 0].expand(*x.shape[:-1], len(width)) if state is None else state
    reach = 1
    while reach < x.shape[-1]:
        # the clamp that starts `reach` earlier, then this one: its bounds, clamped to ours
        head = slice(0, reach)
        joined_low = torch.minimum(
            torch.maximum(low[..., :-reach], low[..., reach:]), high[..., reach:]
        )
        joined_high = torch.minimum(
            torch.maximum(high[..., :-reach], low[..., reach:]), high[..., reach:]
        )
        low = torch.cat([low[..., head], joined_low], -1)
        high = torch.cat([high[..., head], joined_high], -1)
        reach *= 2
    p = torch.minimum(torch.maximum(first[..., None], low), high)
    return p, p[..., -1]


def relay(
    x: Tensor, up: Tensor, down: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute `ref.relay` of a batch: x (..., T), thresholds (K,) -> (..., K, T), state (..., K).

    The output at t is that of the last sample up to t that set the relay. It is piecewise constant,
    so that its gradient is 0 wherever it exists.
    """
    x = x[..., None, :]
    event = (x >= up[:, None]).to(x.dtype) - (x <= down[:, None]).to(x.dtype)
    if state is None:
        state = x.new_full((*event.shape[:-1],), -1)
    if not x.shape[-1]:
        return event, state
    time = torch.arange(1, x.shape[-1] + 1, device=x.device)
    last = torch.where(event != 0, time, 0).cummax(-1).values
    known = torch.cat([state[..., None], event], -1)
    y = known.gather(-1, last)
    return y, y[..., -1]


def hold(
    a: Tensor, width: float | Tensor, lengths: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute `ref.hold` of a batch: a (B, F, U), lengths (B,) -> winners (B, F), state (B,).

    Each step maps the previous winner to the next one, by a table of U entries. Tables compose to
    tables, so that all are combined in log(F) steps. Beyond the length of a row, its last winner
    stays. Not differentiable: winners are numbers of units.
    """
    batch, frames, units = a.shape
    if not frames:
        return a.new_zeros(batch, 0, dtype=torch.long), _first_winner(a, state)
    best = a.argmax(-1, keepdim=True)  # (B, F, 1)
    same = torch.arange(units, device=a.device).expand(batch, frames, units)
    beaten = a.gather(-1, best) > a + width
    here = torch.arange(frames, device=a.device) < lengths[:, None]  # (B, F)
    table = torch.where(beaten & here[..., None], best, same)
    # one more entry stands for no winner, which any unit beats
    none = torch.where(here[..., None], best, units)
    table = torch.cat([table, none], -1)
    reach = 1
    while reach < frames:
        later = table[:, reach:].gather(-1, table[:, :-reach])
        table = torch.cat([table[:, :reach], later], 1)
        reach *= 2
    before = _first_winner(a, state)
    before = torch.where(before < 0, units, before)
    winner = table.gather(-1, before[:, None, None].expand(batch, frames, 1)).squeeze(-1)
    winner = torch.where(winner == units, -1, winner)
    return winner, winner[:, -1]


def _first_winner(a: Tensor, state: Tensor | None) -> Tensor:
    """Return the winners (B,) before the first step; -1: none."""
    return a.new_full((len(a),), -1, dtype=torch.long) if state is None else state
