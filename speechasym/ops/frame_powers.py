"""Powers of the gammatone filterbank as a graph that can be exported: no loop over time.

Shapes: B batch, T samples, C channels, F frames, N order, L samples per chunk, M chunks.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from speechasym.ops.scan import design_log, frame_chunk


def frame_powers(
    x: Tensor, decay: Tensor, angle: Tensor, order: int, hop: int, ring: int,
    offset: list[int] | None = None,
) -> Tensor:  # fmt: skip
    """Compute the power of `gammatone_pooled` from silence, in real numbers and without loops.

    Any number of samples has the same operations, so that the graph can be exported. It needs all
    channels at the full rate: 8 C T bytes in float32.

    Args:
        x: (B, T) samples of whole frames, and beyond them the largest offset.
        decay, angle: (C,) real and imaginary part of the logarithm of the poles.
        ring: samples after which the filters' response to an impulse is negligible.
        offset: (C,) samples later that each channel reads; None: 0.

    Returns:
        Mean powers (B, C, F).
    """
    batch, channels = x.shape[0], decay.shape[0]
    chunk = frame_chunk(hop)
    cascade = design_log(decay, angle, order, chunk, x.dtype)
    frames = (x.shape[1] - max(offset or [0])) // hop
    count = frames * (hop // chunk)
    whole = torch.arange(frames * hop, device=x.device)  # not a slice, which may be all of x
    if offset is None:
        chunks = x.index_select(1, whole).reshape(batch, count, chunk)

        def linear(matrix: Tensor) -> Tensor:  # one product for all channels
            # of each signal: `@` would join batch and time, which a graph of any time cannot
            out = chunks.bmm(matrix.transpose(0, 1).reshape(chunk, -1).expand(batch, -1, -1))
            return out.unflatten(2, (channels, -1)).permute(2, 0, 1, 3).contiguous()
    else:
        shifted = [x.index_select(1, whole + first) for first in offset]
        chunks = torch.stack(shifted).reshape(channels, batch, count, chunk)

        def linear(matrix: Tensor) -> Tensor:
            return _times(chunks, matrix)

    # stages before each chunk: sums over ever more chunks before it, twice as many at each step
    states = _delayed(linear(cascade.to_stages), 1)  # (C, B, M, 2 N)
    power, reach = cascade.step, 1
    while reach * chunk < ring:
        states = states + _times(_delayed(states, reach), power)
        power, reach = power @ power, 2 * reach
    z = linear(cascade.x_to_z) + _times(states, cascade.stages_to_z)
    power = z.square().sum(3).reshape(channels, batch, frames, hop // chunk).sum(3) / hop
    return power.transpose(0, 1)


def _delayed(states: Tensor, count: int) -> Tensor:
    """Return states (C, B, M, N) `count` chunks later, zeros before."""
    return pad(states, (0, 0, count, 0))[:, :, : states.shape[2]]


def _times(x: Tensor, matrix: Tensor) -> Tensor:
    """Multiply x (C, B, M, K) by a matrix (C, K, L) of each channel."""
    one = isinstance(x.shape[1], int) and x.shape[1] == 1  # of any size is a torch.SymInt
    return x[:, 0].bmm(matrix)[:, None] if one else x @ matrix[:, None]
