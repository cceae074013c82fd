"""Units that agree: a sound heard at two speeds has the same units, which are all in use.

At another speed a voice is higher or lower, as if another person said the same. Each unit is asked
to answer the same in both; what is asked for is evened out over the units, so that they cannot
agree on one answer for everything [1, 2].

Shapes: B utterances, F steps, U units, N steps of one side.

[1] M. Caron et al., "Unsupervised learning of visual features by contrasting cluster assignments",
    NeurIPS, 2020.
[2] H.-J. Chang et al., "Self-supervised fine-tuning for improved content representations by
    speaker-invariant clustering", Interspeech, 2023.
"""

import torch
from torch import Tensor

from speechasym.levels.level import LevelOutput
from speechasym.levels.units import shares

ROUNDS = 3  # of evening out
SHARP = 2.0  # power of the activations of which targets are made
MOST = 4096  # steps that are compared, of a batch
LEAST = 1e-8


def disagreement(level: LevelOutput) -> Tensor:
    """Return the cross-entropy of each view's units with what the other view's ask for.

    The second half of the batch are the cuts of the first half, at another speed. A level without
    units has none to disagree.
    """
    if level.activation is None:
        return level.y.sum() * 0
    half = len(level.mask) // 2
    counts = level.mask.sum(1)
    step = torch.arange(level.mask.shape[1], device=counts.device)
    # the step of the second view at the same share of its length
    there = ((step + 0.5) * (counts[half:] / counts[:half].clamp(min=1))[:, None]).long()
    there = there.minimum((counts[half:, None] - 1).clamp(min=0))
    known = level.mask[:half] & (counts[half:, None] > 0)
    first = level.activation[:half]
    second = level.activation[half:].gather(1, there[..., None].expand(-1, -1, first.shape[2]))
    one, two = first[known], second[known]
    if len(one) > MOST:
        drawn = torch.randperm(len(one))[:MOST].to(one.device)
        one, two = one[drawn], two[drawn]
    if not len(one):
        return level.y.sum() * 0
    value = _missed(one, even(shares(two))) + _missed(two, even(shares(one)))
    return value / 2


@torch.no_grad()
def even(share: Tensor) -> Tensor:
    """Return shares (N, U) of steps, sharpened, with all units used alike (Sinkhorn's algorithm).

    Rows sum to 1, and columns nearly to N / U.
    """
    steps, units = share.shape
    q = share.clamp(min=LEAST).pow(SHARP)
    for _ in range(ROUNDS):
        q = q / q.sum(0).clamp(min=LEAST) * (steps / units)
        q = q / q.sum(1, keepdim=True).clamp(min=LEAST)
    return q


def _missed(activation: Tensor, target: Tensor) -> Tensor:
    """Return the mean cross-entropy of activations (N, U) with targets (N, U)."""
    positive = activation.clamp(min=LEAST)
    log_share = (positive / positive.sum(1, keepdim=True)).log()
    return -(target * log_share).sum(1).mean()
