"""Events that end where the input of a level turns most (C2, C15).

How much it turns before each step is 1 - cos of the angle between the mean of the two steps before
it and that of the two from it on. Where this rises by a scale and falls by it again, a play
operator turns, and at the peak between the next event begins [1]. Units need not change there, and
what holds them cannot delay it.

Shapes: B batch, F steps, D width.

[1] M. Brokate, J. Sprekels, "Hysteresis and Phase Transitions", Springer, 1996.
"""

import torch
from torch import Tensor

from speechasym.ops import scan

REACH = 2  # steps on either side


@torch.no_grad()
def turning(y: Tensor, mask: Tensor) -> Tensor:
    """Return how much y (B, F, D) under its mask (B, F) turns before each step (B, F), 0 to 2.

    After the last real step it stays as it was there.
    """
    frames = y.shape[1]
    if not frames:
        return y.new_zeros(y.shape[:2])
    sums = torch.nn.functional.pad((y * mask[..., None]).double().cumsum(1), (0, 0, 1, 0))
    at, count = torch.arange(frames, device=y.device), mask.sum(1, keepdim=True)
    after = torch.minimum(at + REACH, count.clamp(min=1)).clamp(max=frames)
    index = after[..., None].expand(-1, -1, y.shape[2])
    one = sums[:, at] - sums[:, (at - REACH).clamp(min=0)]
    two = sums.gather(1, index) - sums[:, at]
    track = 1 - torch.cosine_similarity(one, two, -1)
    # too little is known of what was before the first steps: there it neither rises nor falls
    track[:, :REACH] = track[:, REACH : REACH + 1] if frames > REACH else 0
    last = (count - 1).clamp(min=0)
    return track.gather(1, torch.minimum(at.expand_as(track), last)).to(y.dtype)


@torch.no_grad()
def between_peaks(track: Tensor, mask: Tensor, scale: Tensor | float) -> Tensor:
    """Return the number of each step's event (B, F), from 0: a new one begins at each peak.

    track: (B, F), as of `turning`; its peaks are higher than what is around them by the scale.
    """
    if not track.shape[1]:
        return torch.zeros_like(track, dtype=torch.long)
    half = torch.as_tensor(scale, dtype=track.dtype, device=track.device).view(1) / 2
    play = scan.play(track, half)[0][:, 0]
    step = torch.diff(play, dim=1, prepend=play[:, :1]).sign()
    frames = step.shape[1]
    place = torch.arange(frames, device=step.device).expand_as(step)
    moves = torch.where(step != 0, place, frames).flip(1).cummin(1).values.flip(1)
    following = torch.nn.functional.pad(moves[:, 1:], (0, 1), value=frames)
    ended = torch.nn.functional.pad(step, (0, 1))  # nothing moves after the last step
    peak = (step > 0) & (ended.gather(1, following) < 0) & mask
    return peak.long().cumsum(1)
