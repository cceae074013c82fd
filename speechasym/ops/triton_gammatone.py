"""The filterbank on CUDA in one kernel, which reads the samples once and writes frames only.

`scan.gammatone_pooled` computes products of matrices, some 300 operations a sample and channel, and
writes and reads the channels at the full rate. Here a program filters all channels of a recording
from one sample to the next, as the definition does, with 45 operations and nothing in between: it
is the number of recordings in a batch that fills the device.

Shapes: B batch, T samples, C channels, F frames.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

ORDER = 4  # the only order with a kernel


@triton.jit
def _kernel(  # type: ignore[no-untyped-def]
    x_at, pole_at, power_at, lag_at, sample_at, samples, frames, channels,
    HOP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    real = c < channels
    pr = tl.load(pole_at + 2 * c, mask=real, other=0.0)
    pi = tl.load(pole_at + 2 * c + 1, mask=real, other=0.0)
    gain = tl.load(pole_at + 2 * channels + c, mask=real, other=0.0)
    zero = tl.zeros([BLOCK], tl.float32)
    ar, ai, br, bi, cr, ci, zr, zi = zero, zero, zero, zero, zero, zero, zero, zero
    f = 0
    while f < frames:  # triton's interpreter has no `range` of an argument
        power, lag_re, lag_im = zero, zero, zero
        for t in range(HOP):
            x = tl.load(x_at + row * samples + f * HOP + t)
            ar, ai = pr * ar - pi * ai + gain * x, pr * ai + pi * ar
            br, bi = pr * br - pi * bi + ar, pr * bi + pi * br + ai
            cr, ci = pr * cr - pi * ci + br, pr * ci + pi * cr + bi
            last_re, last_im = zr, zi
            zr, zi = pr * zr - pi * zi + cr, pr * zi + pi * zr + ci
            power += zr * zr + zi * zi
            lag_re += zr * last_re + zi * last_im
            lag_im += zi * last_re - zr * last_im
        place = (row * frames + f) * channels + c
        tl.store(power_at + place, power / HOP, mask=real)
        tl.store(lag_at + 2 * place, lag_re / HOP, mask=real)
        tl.store(lag_at + 2 * place + 1, lag_im / HOP, mask=real)
        tl.store(sample_at + 2 * place, zr, mask=real)
        tl.store(sample_at + 2 * place + 1, zi, mask=real)
        f += 1


def gammatone_pooled(x: Tensor, pole: Tensor, hop: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `ref.gammatone_pooled` of order 4 from silence: x (B, T) -> (B, C, F) each.

    Not differentiable. x is float32; poles (C,) are complex128.
    """
    x = x.contiguous()
    batch, channels, frames = len(x), len(pole), x.shape[1] // hop
    pairs = torch.view_as_real(pole).flatten()
    constants = torch.cat([pairs, 2 * (1 - pole.abs()) ** ORDER]).float()
    power = x.new_empty(batch, frames, channels)
    lag1, sample = (x.new_empty(batch, frames, channels, 2) for _ in range(2))
    if batch and frames:
        block = 32
        _kernel[(batch, triton.cdiv(channels, block))](
            x, constants, power, lag1, sample, x.shape[1], frames, channels, HOP=hop, BLOCK=block,
            num_warps=1,
        )  # fmt: skip
    tracks = power, torch.view_as_complex(lag1), torch.view_as_complex(sample)
    power, lag1, sample = (track.transpose(1, 2) for track in tracks)
    return power, lag1, sample
