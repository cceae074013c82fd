"""The selective scan in torch: matrix products within chunks, a recurrence from chunk to chunk [1].

Within a chunk, y_i is the sum over j <= i of (c_i . b_j) decay(j..i) x_j, a masked product of
matrices. Only the state is carried from chunk to chunk. Decays are exponentials of differences of
running sums of logarithms, none above 0, so that nothing can overflow.

The backward pass is written by hand, and twice as fast as that of autograd. The gradient of the
decays needs no further products: with g for gradients, h_t = a_t h_(t-1) + b_t x_t gives

    g log a_t = y_t . gy_t - x_t . gx_t + g log a_(t+1).

Shapes: B batch, F frames, H heads, P channels per head, S states, N chunks, L frames per chunk.

[1] T. Dao, A. Gu, "Transformers are SSMs: generalized models and efficient algorithms through
    structured state space duality", ICML, 2024.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

CHUNK = 32  # maximum frames per chunk: 25 to 64 are about equally fast on a CPU
# Logarithm of the strongest decay, 2e-9: below the rounding of float32, it equals a full reset.
STRONGEST = -20.0


def selective_scan(
    x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute `ref.selective_scan` of a batch; once differentiable in every argument.

    Args:
        x: (B, F, H, P) input of each head.
        log_decay: (B, F, H), at most 0; values below `STRONGEST` count as `STRONGEST`.
        b, c: (B, F, S) input and output weights, shared by the heads.
        state: (B, H, S, P); None: 0.

    Returns:
        y (B, F, H, P), and the state after the last frame (B, H, S, P).
    """
    if torch.is_autocast_enabled(x.device.type):  # sums over many frames need float32
        with torch.autocast(x.device.type, enabled=False):
            wide = None if state is None else state.float()
            return selective_scan(x.float(), log_decay.float(), b.float(), c.float(), wide)
    batch, frames, heads, channels = x.shape
    if state is None:
        state = x.new_zeros(batch, heads, b.shape[-1], channels)
    if not frames:
        return x, state
    count = -(-frames // CHUNK)
    length = -(-frames // count)
    log_decay = log_decay.clamp(min=STRONGEST)
    if pad := count * length - frames:
        # frames without decay and input leave the state unchanged
        x = functional.pad(x, (0, 0, 0, 0, 0, pad))
        log_decay, b, c = (functional.pad(t, (0, 0, 0, pad)) for t in (log_decay, b, c))
    y, state = _Scan.apply(
        x.unflatten(1, (count, length)).transpose(2, 3),
        log_decay.unflatten(1, (count, length)).transpose(2, 3),
        b.unflatten(1, (count, length)),
        c.unflatten(1, (count, length)),
        state,
    )
    return y.transpose(2, 3).flatten(1, 2)[:, :frames], state


class _Scan(torch.autograd.Function):
    """x (B, N, H, L, P), log_decay (B, N, H, L), b, c (B, N, L, S), state -> y like x, state."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        x = x.contiguous()
        # float64 keeps differences of long sums exact; the tensor is small
        sums = log_decay.double().cumsum(3)
        length = x.shape[3]
        later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu_(1)
        gap = (sums[..., :, None] - sums[..., None, :]).to(x.dtype)
        decay = gap.masked_fill_(later, -torch.inf).exp_()  # (B, N, H, L, L)
        mix = (c @ b.mT)[:, :, None] * decay
        from_start = sums.to(x.dtype).exp()[..., None]  # (B, N, H, L, 1)
        to_end = (sums[..., -1:] - sums).to(x.dtype).exp()[..., None]
        b_end = b[:, :, None] * to_end  # (B, N, H, L, S)
        c_start = c[:, :, None] * from_start
        kept = from_start[:, :, :, -1:]  # (B, N, H, 1, 1)
        added = b_end.mT @ x  # (B, N, H, S, P)
        before = torch.empty_like(added)
        for n in range(x.shape[1]):
            before[:, n] = state
            state = torch.addcmul(added[:, n], kept[:, n], state)
        y = mix @ x
        y += c_start @ before
        ctx.save_for_backward(
            x, b, c, decay, mix, from_start, to_end, b_end, c_start, before, y, state
        )
        return y, state

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor, g_state: Tensor) -> tuple[Tensor, ...]:
        x, b, c, decay, mix, from_start, to_end, b_end, c_start, before, y, state = (
            ctx.saved_tensors
        )
        gy = gy.contiguous()
        last = (state * g_state).sum((2, 3))  # (B, H)
        g_before = c_start.mT @ gy
        g_after = torch.empty_like(before)
        for n in reversed(range(x.shape[1])):
            g_after[:, n] = g_state
            g_state = torch.addcmul(g_before[:, n], from_start[:, n, :, -1:], g_state)
        gx = mix.mT @ gy
        gx += b_end @ g_after
        g_pairs = (gy @ x.mT).mul_(decay).sum(2)  # (B, N, L, L)
        gc = g_pairs @ b
        gc += (gy @ before.mT).mul_(from_start).sum(2)
        gb = g_pairs.mT @ c
        gb += (x @ g_after.mT).mul_(to_end).sum(2)
        terms = (gy * y).sum(4, dtype=torch.float64) - (x * gx).sum(4, dtype=torch.float64)
        terms = terms.transpose(2, 3)  # (B, N, L, H)
        terms[:, -1, -1] += last
        flat = terms.flatten(1, 2)
        g_log = flat.flip(1).cumsum(1).flip(1).view_as(terms).transpose(2, 3)
        return gx, g_log.to(x.dtype), gb, gc, g_state
