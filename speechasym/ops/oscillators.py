"""Forced harmonic oscillators in torch, by the linear scan of `ops/scan`.

A step is a linear map of position and velocity, the same at all frames, so that oscillators obey
the recurrence that joins the chunks of a gammatone: only log(F) steps are sequential.

Shapes: B batch, F frames, J oscillators.
"""

import torch
from torch import Tensor

from speechasym.ops.scan import full_precision, linear_scan


def oscillate(
    force: Tensor, stiffness: Tensor, keep: Tensor, state: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute `ref_oscillators.oscillate` of a batch; differentiable in every argument.

    Args:
        force: (B, F, J).
        stiffness: (J,), so that motions stay bounded from 0 to 2 (1 + keep) / keep, without these.
        keep: (J,) share of the velocity that a step keeps, above 0, at most 1; 1: undamped.
        state: (B, J, 2) position and velocity before the first frame; None: at rest.

    Returns:
        (B, F, J, 2) positions and velocities, and the state after the last frame (B, J, 2).
    """
    batch, frames, count = force.shape
    if state is None:
        state = force.new_zeros(batch, count, 2)
    if not frames:
        return force.new_zeros(batch, 0, count, 2), state
    with full_precision(force):  # sums over many frames need float32
        force, state = force.to(stiffness.dtype), state.to(stiffness.dtype)
        stiff = keep * stiffness
        # rows of (position, velocity) are multiplied from the left
        step = torch.stack([1 - stiff, -stiff, keep, keep], 1).unflatten(1, (2, 2))
        pushed = (keep * force).movedim(2, 0)[..., None].expand(-1, -1, -1, 2)
        path = linear_scan(pushed, step, state.movedim(1, 0))  # (J, B, F + 1, 2)
    return path[:, :, 1:].permute(1, 2, 0, 3), path[:, :, -1].movedim(0, 1)
