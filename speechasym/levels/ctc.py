"""From posteriors to symbols.

Shapes: B utterances, F frames, V classes, of which 0 is CTC's blank.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def greedy(log_probs: Tensor, lengths: Tensor) -> list[list[int]]:
    """The best class of each frame, repetitions joined, blanks left out.

    Args:
        log_probs: (B, F, V); lengths: (B,) frames that count.
    """
    best = log_probs.argmax(-1).cpu()  # (B, F)
    rows = []
    for row, length in zip(best, lengths.tolist(), strict=True):
        joined = torch.unique_consecutive(row[:length])
        rows.append([label for label in joined.tolist() if label])
    return rows


def symbols(classes: Iterable[int], inventory: Sequence[str]) -> list[str]:
    """Classes from 1 -> symbols."""
    return [inventory[number - 1] for number in classes]
