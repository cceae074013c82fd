"""The recurrences of the compact asymmetry set in torch, for batches on any device.

Each step of these recurrences is a map of the state, and two maps in a row are a map of the same
kind: a line, the lesser of a line and a constant, or a shift followed by a clamp. So all maps up to
each time are composed in log(T) rounds, as in `scan.play`. Sums are in another order than in
`ops.ref`, so that values differ by rounding. There are no gradients.

Shapes: T samples, F frames, K widths.
"""

import torch
from torch import Tensor


def leaky_sum(x: Tensor, keep: Tensor) -> Tensor:
    """Return y(t) = keep(t) y(t-1) + x(t) along the last axis, from y = 0.

    `keep` has the last axis of x, or one of size 1, and the others as they broadcast.
    """
    y, reach = x, 1
    while reach < x.shape[-1]:
        constant = keep.shape[-1] == 1
        gain = keep if constant else keep[..., reach:]
        y = torch.cat([y[..., :reach], y[..., reach:] + gain * y[..., :-reach]], -1)
        if constant:
            keep = keep * keep
        else:
            keep = torch.cat([keep[..., :reach], gain * keep[..., :-reach]], -1)
        reach *= 2
    return y


def noise_floor(power: Tensor, smooth: float, rise: float, settle: int) -> Tensor:
    """Compute `ref.noise_floor` of a batch: power (..., F) -> n (..., F) in dB; settle >= 1.

    n(f) is the lesser of s and of n(f-1) + rise (s - n(f-1)).
    """
    share = torch.cat([power[..., :1], smooth * power[..., 1:]], -1)
    s_db = 10 * torch.log10(leaky_sum(share, power.new_full((1,), 1 - smooth)))
    start, least = s_db[..., :settle], s_db[..., settle:]
    offset, gain, reach = rise * least, 1 - rise, 1
    while reach < least.shape[-1]:
        head = slice(0, reach)
        joined = torch.minimum(least[..., reach:], gain * least[..., :-reach] + offset[..., reach:])
        least = torch.cat([least[..., head], joined], -1)
        joined = gain * offset[..., :-reach] + offset[..., reach:]
        offset = torch.cat([offset[..., head], joined], -1)
        gain, reach = gain * gain, 2 * reach
    age = torch.arange(1, least.shape[-1] + 1, device=power.device, dtype=power.dtype)
    n = torch.minimum(least, start[..., -1:] * (1 - rise) ** age + offset)
    return torch.cat([start, n], -1)


def plays_pooled(step: Tensor, width: Tensor, decay: Tensor, hop: int) -> tuple[Tensor, Tensor]:
    """Compute rise and fall of `ref.stop_pooled` of a batch: step (..., F hop) -> (..., K, F) each.

    The steps of a frame are taken one after the other, in all frames at once: first to compose
    their maps, then, from the state in which the frame begins, to sum what the clamps remove.
    """
    r = width[:, None]
    moves = step.unflatten(-1, (-1, hop))[..., None, :, :].unbind(-1)  # each (..., 1, F)
    if not moves[0].shape[-1]:
        nothing = (moves[0] + r)[..., :0]
        return nothing, nothing
    shift, low, high = torch.zeros_like(moves[0]), -r, r
    for move in moves:
        shift = shift + move
        low, high = _clamp(low + move, -r, r), _clamp(high + move, -r, r)
    reach = 1
    while reach < shift.shape[-1]:
        head, late = slice(0, reach), shift[..., reach:]
        floor, roof = low[..., reach:], high[..., reach:]
        joined = [_clamp(bound[..., :-reach] + late, floor, roof) for bound in (low, high)]
        low = torch.cat([low[..., head], joined[0]], -1)
        high = torch.cat([high[..., head], joined[1]], -1)
        shift = torch.cat([shift[..., head], late + shift[..., :-reach]], -1)
        reach *= 2
    ends = _clamp(shift, low, high)  # (..., K, F), from 0 at the beginning
    s = torch.cat([torch.zeros_like(ends[..., :1]), ends[..., :-1]], -1)
    rise, fall = torch.zeros_like(s), torch.zeros_like(s)
    for move in moves:
        target = s + move
        s = _clamp(target, -r, r)
        rise += (target - s).clamp(min=0)
        fall += (s - target).clamp(min=0)
    return leaky_sum(rise, decay[:, None]), leaky_sum(fall, decay[:, None])


def _clamp(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(x, low), high)


def running_norm(x: Tensor, rate: float) -> Tensor:
    """Compute `ref.running_norm` of a batch: x (..., F) -> (..., F)."""
    count = torch.arange(1, x.shape[-1] + 1, device=x.device, dtype=x.dtype)
    share = (1 / count).clamp(min=rate)
    mean = leaky_sum(share * x, 1 - share)
    off = x - torch.nn.functional.pad(mean, (1, 0))[..., :-1]
    variance = leaky_sum((1 - share) * share * off.square(), 1 - share)
    return (x - mean) / variance.sqrt().clamp(min=1e-4)
