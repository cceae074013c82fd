"""Connectionist temporal classification (CTC): loss, likelihoods, best path, forced alignment [1].

Class 0 is the blank; symbol k of an inventory, counted from 0, is class k + 1.

Shapes: B utterances, S steps, V classes, L labels.

[1] A. Graves et al., "Connectionist temporal classification: labelling unsegmented sequence data
    with recurrent neural networks", ICML, 2006.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

_ROWS = 64  # label rows scored at once by `log_likelihoods`, which bounds its memory


def symbols(classes: Iterable[int], inventory: Sequence[str]) -> list[str]:
    """Return the symbols of classes, which count from 1."""
    return [inventory[number - 1] for number in classes]


def steps_needed(labels: Sequence[int]) -> int:
    """Return the fewest steps for labels: one each, and a blank between equal neighbours."""
    return len(labels) + sum(a == b for a, b in pairwise(labels))


def loss(
    log_probs: Tensor, lengths: Tensor, targets: Tensor, counts: Tensor
) -> tuple[Tensor, Tensor]:
    """Sum -log p(labels) over the utterances that have enough steps for their labels.

    Args:
        log_probs: (B, S, V).
        lengths: (B,) steps.
        targets: (B, L) classes from 1.
        counts: (B,) labels.

    Returns:
        The sum, and which utterances have `steps_needed` (B,), on the CPU.
    """
    lengths, rows, counts = lengths.cpu(), targets.cpu(), counts.cpu()
    inside = torch.arange(1, rows.shape[1]) < counts[:, None]
    repeated = ((rows[:, 1:] == rows[:, :-1]) & inside).sum(1)
    fits = (counts + repeated <= lengths) & (lengths > 0)
    log_probs, targets = log_probs.float(), rows.to(log_probs.device, non_blocking=True)
    if not bool(fits.all()):
        log_probs, targets = log_probs[fits.to(log_probs.device)], targets[fits.to(targets.device)]
        lengths, counts = lengths[fits], counts[fits]
    if not len(log_probs):
        return log_probs.sum() * 0, fits
    return F.ctc_loss(log_probs.transpose(0, 1), targets, lengths, counts, reduction="sum"), fits


def log_likelihoods(log_probs: Tensor, rows: Sequence[Sequence[int]]) -> list[float]:
    """Return log p of each row of labels given one utterance (S, V); -inf for too few steps."""
    values: list[float] = []
    for first in range(0, len(rows), _ROWS):
        part = rows[first : first + _ROWS]
        losses = F.ctc_loss(
            log_probs[:, None].expand(-1, len(part), -1),
            torch.tensor([label for row in part for label in row], dtype=torch.int64),
            torch.full((len(part),), len(log_probs)),
            torch.tensor([len(row) for row in part]),
            reduction="none",
        )
        values += [-value for value in losses.tolist()]
    return values


def greedy(log_probs: Tensor, lengths: Tensor) -> list[list[int]]:
    """Return the labels of each utterance's best path.

    Args:
        log_probs: (B, S, V).
        lengths: (B,) steps.
    """
    best = log_probs.argmax(-1).cpu()  # (B, S)
    return [
        [label for _, _, label in runs(path[:length])]
        for path, length in zip(best, lengths.tolist(), strict=True)
    ]


def runs(path: Tensor) -> list[tuple[int, int, int]]:
    """Return first step, step after the last, and class of each symbol on a path (S,)."""
    labels, sizes = torch.unique_consecutive(path, return_counts=True)
    ends = sizes.cumsum(0)
    rows = zip((ends - sizes).tolist(), ends.tolist(), labels.tolist(), strict=True)
    return [(start, end, label) for start, end, label in rows if label]


def path(log_probs: Tensor, labels: Sequence[int]) -> Tensor:
    """Return the class (S,) of each step on the best path through all labels.

    Args:
        log_probs: (S, V), with at least `steps_needed` steps.
        labels: (L,) classes from 1.
    """
    from torchaudio.functional import forced_align  # the rest needs no torchaudio

    if not labels:
        return torch.zeros(len(log_probs), dtype=torch.int64)
    targets = torch.tensor([list(labels)], dtype=torch.int32)
    return forced_align(log_probs[None].contiguous(), targets)[0][0].long()


def align(log_probs: Tensor, labels: Sequence[int]) -> list[tuple[int, int]]:
    """Return first step, and step after the last, of each label on the best path through them.

    Args and shapes as `path`.
    """
    return [(start, end) for start, end, _ in runs(path(log_probs, labels))]
