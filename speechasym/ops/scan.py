"""The recurrences in torch: batched, differentiable in signal and poles, on CPU and CUDA.

A chunk of L samples is one matrix product: the outputs are (L + N)-input linear functions of the
chunk's samples and of the N stages before it. Between chunks the stages obey the same kind of
recurrence with pole^L, solved by taking chunks of chunks, so nothing is sequential in time but
log(T) steps. Exact, no truncated impulse responses.

Shapes: B batch, T samples, C channels, F frames, N order, L samples a chunk, M chunks.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

CHUNK = 32  # samples: wider costs more products, narrower more passes over memory
GROUP = 16  # chunks solved by one product between levels of the scan
SEGMENT = 1 << 19  # samples x channels worked on at once without gradients: stays in the cache


@lru_cache
def _binomials(length: int, order: int) -> Tensor:
    """(order, length): over(j + d, d) for d < order, j < length, in float64."""
    rows = [torch.ones(length, dtype=torch.float64)]
    for _ in range(order - 1):
        rows.append(torch.cumsum(rows[-1], 0))
    return torch.stack(rows)


def _powers(pole: Tensor, first: int, count: int) -> Tensor:
    """(C, count): pole^first ... pole^(first + count - 1)."""
    j = torch.arange(first, first + count, dtype=torch.float64, device=pole.device)
    return torch.exp(torch.log(pole)[:, None] * j)


def _chunk_matrices(pole: Tensor, order: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """How a chunk's outputs and last stages follow from its samples and the stages before it.

    Returns, complex, rows acting from the left:
        (C, L, L + N): samples -> outputs, then stages after the chunk;
        (C, N, L): stages before -> outputs;
        (C, N, N): stages before -> stages after.
    """
    over = _binomials(length, order).to(pole.device)
    gain = 2 * (1 - pole.abs()) ** order
    powers = _powers(pole, 0, length + 1)  # (C, L + 1)
    # one row per depth d: over(j + d, d) pole^j, the impulse response of d + 1 stages
    response = over[None] * powers[:, None, :length]  # (C, N, L)
    later = torch.arange(length, device=pole.device)
    lag = later[None, :] - later[:, None]  # [i, j] = j - i
    causal = (lag >= 0)[None]
    toeplitz = torch.where(causal, response[:, -1][:, lag.clamp(min=0)], 0)  # (C, L, L)
    ends = response.flip(2).transpose(1, 2)  # (C, L, N): sample i -> stage after, depth = column
    from_x = torch.cat([toeplitz, ends], 2) * gain[:, None, None]
    # a stage's last output acts on it as an input of pole * output one sample later
    echo = over[None] * powers[:, None, 1:]  # (C, N, L): over(j + d, d) pole^(j+1)
    depth = torch.arange(order, device=pole.device)
    to_output = echo[:, order - 1 - depth]  # (C, N, L): stage m -> outputs through order-1-m more
    gap = depth[None, :] - depth[:, None]  # [m, k] = k - m
    to_stage = torch.where((gap >= 0)[None], echo[:, gap.clamp(min=0), -1], 0)  # (C, N, N)
    return from_x, to_output, to_stage


def _scan(u: Tensor, step: Tensor, state: Tensor) -> Tensor:
    """s(m) = s(m-1) step + u(m): u (C, B, M, N), step (C, N, N), state (C, B, N).

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
    inner = _scan(whole, step, whole.new_zeros(channels, batch * groups, order))
    power = step
    powers = [torch.eye(order, dtype=step.dtype, device=step.device).expand_as(step), step]
    for _ in range(GROUP - 1):
        power = power @ step
        powers.append(power)
    sums = inner[:, :, -1].reshape(channels, batch, groups, order)
    outer = _scan(sums, powers[-1], state)  # (C, B, groups + 1, N)
    stacked = torch.cat(powers[:-1], 2)  # (C, N, GROUP * N)
    reach = outer[:, :, :-1].reshape(channels, batch * groups, order) @ stacked
    filled = inner[:, :, :-1] + reach.reshape(channels, batch * groups, GROUP, order)
    filled = filled.reshape(channels, batch, groups * GROUP, order)
    rest = _scan(u[:, :, groups * GROUP :], step, outer[:, :, -1])
    return torch.cat([filled, rest], 2)


def _pairs(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Complex (C, N, K) acting on complex rows -> real (C, 2 N, 2 K) acting on re, im pairs."""
    return torch.stack([_rows(matrix, dtype), _rows(1j * matrix, dtype)], 2).flatten(1, 2)


def _rows(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """Complex (C, K, L) acting on real rows -> real (C, K, 2 L), re and im interleaved."""
    return torch.view_as_real(matrix).to(dtype).flatten(2)


class _Cascade(NamedTuple):
    """One design of poles at one chunk length, as real matrices of the signal's precision.

    Complex numbers are re, im pairs in the last axis.
    """

    chunk: int
    to_stages: Tensor  # (C, L, 2 N): samples -> stages after the chunk
    x_to_z: Tensor  # (C, L, 2 L): samples -> outputs
    stages_to_z: Tensor  # (C, 2 N, 2 L): stages before -> outputs
    step: Tensor  # (C, 2 N, 2 N): stages before -> stages after

    def channels(self, which: slice) -> "_Cascade":
        return _Cascade(self.chunk, *(matrix[which] for matrix in self[1:]))

    def run(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, M L), state (C, B, 2 N) -> z (C, B, M, L) complex, state (C, B, 2 N)."""
        channels, batch = len(self.step), len(x)
        count = x.shape[1] // self.chunk
        flat = x.reshape(1, batch * count, self.chunk).expand(channels, -1, -1)
        u = torch.bmm(flat, self.to_stages).reshape(channels, batch, count, -1)
        states = _scan(u, self.step, state)
        before = states[:, :, :-1].reshape(channels, batch * count, -1)
        z = torch.bmm(flat, self.x_to_z).baddbmm_(before, self.stages_to_z)
        z = torch.view_as_complex(z.reshape(channels, batch, count, self.chunk, 2))
        return z, states[:, :, -1]


def _design(pole: Tensor, order: int, chunk: int, dtype: torch.dtype) -> _Cascade:
    from_x, from_s, step = _chunk_matrices(pole.to(torch.complex128), order, chunk)
    return _Cascade(
        chunk,
        _rows(from_x[..., chunk:], dtype),
        _rows(from_x[..., :chunk], dtype),
        _pairs(from_s, dtype),
        _pairs(step, dtype),
    )


def _enter(state: Tensor | None, x: Tensor, channels: int, order: int) -> Tensor:
    """State (B, N, C) complex or None -> (C, B, 2 N) real."""
    if state is None:
        return x.new_zeros(channels, len(x), 2 * order)
    return torch.view_as_real(state.permute(2, 0, 1).contiguous()).flatten(2).to(x.dtype)


def _leave(state: Tensor) -> Tensor:
    """(C, B, 2 N) real -> (B, N, C) complex."""
    return torch.view_as_complex(state.unflatten(2, (-1, 2)).contiguous()).permute(1, 2, 0)


def gammatone(
    x: Tensor, pole: Tensor, order: int, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`ref.gammatone` for a batch: x (B, T) -> z (B, C, T) complex and the state (B, N, C)."""
    whole = x.shape[1] // CHUNK * CHUNK
    carried = _enter(state, x, len(pole), order)
    pieces = []
    for part, chunk in ((x[:, :whole], CHUNK), (x[:, whole:], x.shape[1] - whole)):
        if part.shape[1]:
            z, carried = _design(pole, order, chunk, x.dtype).run(part, carried)
            pieces.append(z.flatten(2).transpose(0, 1))
    if not pieces:
        pieces.append(torch.complex(x, x)[:, None].expand(-1, len(pole), -1))
    return torch.cat(pieces, 2), _leave(carried)


def gammatone_pooled(
    x: Tensor,
    pole: Tensor,
    order: int,
    hop: int,
    state: Tensor | None = None,
    delay: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`ref.gammatone_pooled` for a batch: x (B, D + F hop) -> (B, C, F) each, state (B, N, C).

    Without gradients the full-rate signal exists only for a short segment at a time.
    """
    channels, batch = len(pole), len(x)
    lead = 0 if delay is None else int(delay.max())
    frames = (x.shape[1] - lead) // hop
    # chunks end where frames end: the largest divisor of the hop that is not too wide
    chunk = max(d for d in range(1, min(hop, CHUNK) + 1) if hop % d == 0)
    cascade = _design(pole, order, chunk, x.dtype)
    carried = _enter(state, x, channels, order)
    segment = max(1, SEGMENT // (batch * channels * hop)) * (64 if x.is_cuda else 1)
    if torch.is_grad_enabled() and (x.requires_grad or pole.requires_grad):
        segment = max(1, frames)  # everything is kept for the backward pass anyway
    tracks = []
    for first in range(0, frames, segment):
        here = slice(first * hop, min(first + segment, frames) * hop)
        last = torch.view_as_complex(carried[:, :, -2:].contiguous())  # (C, B): z(t-1)
        if lead:
            assert delay is not None
            z, carried = _aligned(cascade, x, here, lead - delay, carried)
        else:
            z, carried = cascade.run(x[:, here], carried)
        tracks.append(_pool(z, last, hop))
    if not tracks:
        nothing = x.new_zeros(channels, batch, 0)
        tracks.append((nothing, torch.complex(nothing, nothing), torch.complex(nothing, nothing)))
    power, lag1, sample = (torch.cat(t, 2).transpose(0, 1) for t in zip(*tracks, strict=True))
    return power, lag1, sample, _leave(carried)


def _aligned(
    cascade: _Cascade, x: Tensor, here: slice, offset: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The cascade where channel c reads its samples offset[c] later: one channel at a time."""
    z, after = [], []
    for c, shift in enumerate(offset.tolist()):
        one = cascade.channels(slice(c, c + 1))
        own, end = one.run(x[:, here.start + shift : here.stop + shift], state[c : c + 1])
        z.append(own)
        after.append(end)
    return torch.cat(z), torch.cat(after)


def _pool(z: Tensor, last: Tensor, hop: int) -> tuple[Tensor, Tensor, Tensor]:
    """z (C, B, M, L), z(t-1) (C, B) -> mean |z|^2, mean z conj z(t-1), last z: (C, B, F) each."""
    frames = z.flatten(2).unflatten(2, (-1, hop))  # (C, B, F, hop)
    # a norm reads once and writes nothing in between; its gradient at silence is 0
    power = torch.linalg.vector_norm(torch.view_as_real(frames).flatten(3), dim=3).square()
    sample = frames[..., -1]
    edge = torch.cat([last[..., None], sample[..., :-1]], 2)  # z before each frame
    lag1 = (frames[..., 1:] * frames[..., :-1].conj()).sum(3) + frames[..., 0] * edge.conj()
    return power / hop, lag1 / hop, sample


def play(x: Tensor, width: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`ref.play` for a batch: x (..., T), width (K,) -> p (..., K, T), state (..., K).

    Two clamps, one after the other, are a clamp: so the clamps up to each t are combined in log(T)
    steps. Only min and max are taken, so the values are exactly those of the loop.
    """
    low, high = (x[..., None, :] - width[:, None], x[..., None, :] + width[:, None])
    first = x[..., None, 0].expand(*x.shape[:-1], len(width)) if state is None else state
    reach = 1
    while reach < x.shape[-1]:
        # what begins `reach` earlier, then what begins here: its bounds, clamped to ours
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
    return p, p[..., -1] if x.shape[-1] else first


def play_pooled(
    x: Tensor, width: Tensor, hop: int, state: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`ref.play_pooled` for a batch: x (..., F hop) -> (..., K, F) each, state (..., K)."""
    p, after = play(x, width, state)
    first = x[..., None, :1].expand_as(p[..., :1]) if state is None else state[..., None]
    move = torch.diff(p, dim=-1, prepend=first)
    frames = [t.unflatten(-1, (-1, hop)) for t in (p, move.clamp(min=0), (-move).clamp(min=0))]
    return frames[0].mean(-1), frames[1].sum(-1), frames[2].sum(-1), after


def relay(
    x: Tensor, up: Tensor, down: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`ref.relay` for a batch: x (..., T), thresholds (K,) -> (..., K, T), state (..., K).

    A sample either sets a relay or leaves it: the last one that set it, up to each t, tells. The
    output is piecewise constant, so its gradient is 0 everywhere it exists.
    """
    x = x[..., None, :]
    event = (x >= up[:, None]).to(x.dtype) - (x <= down[:, None]).to(x.dtype)
    if state is None:
        state = torch.full_like(event[..., 0], -1) if x.shape[-1] else -torch.ones_like(up)
    if not x.shape[-1]:
        return event, state
    time = torch.arange(1, x.shape[-1] + 1, device=x.device)
    last = torch.where(event != 0, time, 0).cummax(-1).values
    known = torch.cat([state[..., None], event], -1)
    y = known.gather(-1, last)
    return y, y[..., -1]


def hold(
    a: Tensor, width: float, lengths: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`ref.hold` for a batch: a (B, F, U), lengths (B,) -> winners (B, F), state (B,).

    Each step maps the winner before it to the winner after it: a table of U entries. Tables
    compose to tables, so all are combined in log(F) steps. From a row's length on, its last winner
    stays. No gradient: winners are numbers of units.
    """
    batch, frames, units = a.shape
    if not frames:
        return a.new_zeros(batch, 0, dtype=torch.long), _nobody(a, state)
    best = a.argmax(-1, keepdim=True)  # (B, F, 1)
    same = torch.arange(units, device=a.device).expand(batch, frames, units)
    beaten = a.gather(-1, best) > a + width
    here = torch.arange(frames, device=a.device) < lengths[:, None]  # (B, F)
    table = torch.where(beaten & here[..., None], best, same)
    # one entry more stands for nobody, whom any unit beats
    nobody = torch.where(here[..., None], best, units)
    table = torch.cat([table, nobody], -1)
    reach = 1
    while reach < frames:
        later = table[:, reach:].gather(-1, table[:, :-reach])
        table = torch.cat([table[:, :reach], later], 1)
        reach *= 2
    before = _nobody(a, state)
    before = torch.where(before < 0, units, before)
    winner = table.gather(-1, before[:, None, None].expand(batch, frames, 1)).squeeze(-1)
    winner = torch.where(winner == units, -1, winner)
    return winner, winner[:, -1]


def _nobody(a: Tensor, state: Tensor | None) -> Tensor:
    """(B,) winners before the first step; -1 where there was nobody."""
    return a.new_full((len(a),), -1, dtype=torch.long) if state is None else state
