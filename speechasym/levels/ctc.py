"""Connectionist temporal classification (CTC): loss, likelihoods, best path, forced alignment [1].

Class 0 is the blank; symbol k of an inventory, counted from 0, is class k + 1.

Shapes: B utterances, S steps, V classes, L labels.

[1] A. Graves et al., "Connectionist temporal classification: labelling unsegmented sequence data
    with recurrent neural networks", ICML, 2006.
[2] D. Povey et al., "Purely sequence-trained neural networks for ASR based on lattice-free MMI",
    Interspeech, 2016.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechasym.ops.cpu_any_sequence import any_sequence

LEAST = 1e-10  # posterior in sequence
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


def rivals(log_probs: Tensor, lengths: Tensor, follow: NDArray[np.float64]) -> Tensor:
    """Sum the log of `any_sequence` over utterances: of all symbols that could have been said.

    `loss` plus this is the loss of maximum mutual information, without a lattice [2], up to a
    constant: it makes what was said likely beside everything else, and not by itself.

    Args:
        log_probs: (B, S, V).
        lengths: (B,) steps.
        follow: (V, V) which symbols follow which, see `ops.ref.any_sequence`.
    """
    return cast("Tensor", _Rivals.apply(log_probs, lengths, follow))


class _Rivals(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, log_probs: Tensor, lengths: Tensor, follow: NDArray[Any]) -> Tensor:
        rows = log_probs.detach().float().cpu().numpy()
        gradient, total = np.zeros_like(rows), 0.0
        for row, found, length in zip(rows, gradient, lengths.tolist(), strict=True):
            if length:
                value, found[:length] = any_sequence(row[:length], follow)
                total += value
        ctx.save_for_backward(torch.from_numpy(gradient).to(log_probs))
        return log_probs.new_tensor(total, dtype=torch.float32)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return weight * gradient, None, None


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


Part = tuple[int, int, tuple[int, ...]]  # first label, label after the last, what replaces them


class Edits:
    """log p of answers that differ from one in a single place, without computing the rest again.

    The states of CTC are those of [1]: a blank, and for each label the label and a blank. What
    precedes a changed part has the forward sums of the whole answer, what follows it has its
    backward sums, so that only the states of the part are summed over the steps.

    Args:
        readings: M tensors of log-probabilities (S, V), of one utterance; S may differ.
        labels: (L,) classes from 1; the answer.

    Example:
        >>> edits = ctc.Edits([log_probs], (4, 2, 7))
        >>> edits([(1, 2, ()), (1, 2, (5,))])  # log p of (4, 7) and (4, 5, 7), float64 (2, 1)
    """

    def __init__(self, readings: Sequence[Tensor], labels: Sequence[int]) -> None:
        most = max(len(reading) for reading in readings)
        padded = np.full((most, len(readings), readings[0].shape[1]), -np.inf)
        padded[..., 0] = 0  # a blank that is certain changes no likelihood
        for number, reading in enumerate(readings):
            padded[: len(reading), number] = reading.numpy()
        self.log_probs = padded  # (S, M, V)
        self.labels = np.asarray(labels, np.int64)
        # backward sums are the forward ones of everything turned round
        both = _forward(np.stack([padded, padded[::-1]], 1), np.stack([labels, labels[::-1]]))
        self.before, self.after = both[:, 0], both[::-1, 1, :, ::-1]  # (S + 1, M, 2 L + 1)

    def __call__(self, parts: Sequence[Part]) -> NDArray[np.float64]:
        """Return (N, M) log p of the answer with each of N parts replaced; -inf: too few steps."""
        values = np.empty((len(parts), self.log_probs.shape[1]))
        sizes = np.array([len(new) for _, _, new in parts])
        for size in np.unique(sizes):
            (at,) = np.nonzero(sizes == size)
            first, end = np.array([parts[n][:2] for n in at.tolist()]).T
            new = np.array([parts[n][2] for n in at.tolist()], np.int64).reshape(len(at), size)
            values[at] = self._alike(first, end, new).T
        return values

    def _alike(
        self, first: NDArray[Any], end: NDArray[Any], new: NDArray[Any]
    ) -> NDArray[np.float64]:
        """Return (M, N) for parts with equally many new labels (N, K)."""
        states = np.pad(self.labels, 1)  # label of each place, 0 before the first, after the last
        # forward sums, (S + 1, M, N), of the blank before the part and of the label before that
        label, blank = states[first], self.before[..., 2 * first]
        spoken = np.where(first > 0, self.before[..., 2 * first - 1], -np.inf)
        for symbol in new.T:
            enter = np.logaddexp(blank, np.where(symbol != label, spoken, -np.inf))
            spoken, blank = np.full_like(blank, -np.inf), np.full_like(blank, -np.inf)
            for t, row in enumerate(self.log_probs):
                spoken[t + 1] = row[:, symbol] + np.logaddexp(spoken[t], enter[t])
                blank[t + 1] = row[:, :1] + np.logaddexp(blank[t], spoken[t])
            label = symbol
        following = states[end + 1]
        leave = np.logaddexp(blank, np.where(following != label, spoken, -np.inf))
        rest = self.after[..., np.minimum(2 * end + 1, 2 * len(self.labels))]
        through = np.logaddexp.reduce(leave[:-1] + rest[:-1], 0)
        return np.where(following > 0, through, np.logaddexp(blank[-1], spoken[-1]))


def _forward(log_probs: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.float64]:
    """Return the forward sums (S + 1, 2, M, 2 L + 1) of CTC; at step 0 the first blank has all.

    Args:
        log_probs: (S, 2, M, V).
        labels: (2, L).
    """
    states = np.zeros((2, 2 * labels.shape[1] + 1), np.int64)
    states[:, 1::2] = labels
    skips = np.full(states.shape, -np.inf)  # from the label before, past the blank
    skips[:, 3::2][labels[:, 1:] != labels[:, :-1]] = 0
    own = np.take_along_axis(log_probs, states[None, :, None], -1)
    sums = np.full((len(log_probs) + 1, *own.shape[1:]), -np.inf)
    sums[0, ..., 0] = 0
    for t, row in enumerate(own):
        new = sums[t + 1]
        new[...] = sums[t]
        new[..., 1:] = np.logaddexp(new[..., 1:], sums[t, ..., :-1])
        new[..., 2:] = np.logaddexp(new[..., 2:], sums[t, ..., :-2] + skips[:, None, 2:])
        new += row
    return sums


def in_sequence(log_probs: Tensor, follow: NDArray[np.float64]) -> Tensor:
    """Return log p (S, V) of each class at each step, given all steps and what follows what.

    They are shares of the sum of `ops.ref.any_sequence`: the posteriors by which a head trained
    beside its `rivals` is read. Args: log_probs (S, V), follow (V, V).
    """
    if not len(log_probs):
        return log_probs
    _, shares = any_sequence(log_probs.detach().float().cpu().numpy(), follow)
    return torch.from_numpy(shares).clamp(min=LEAST).log().to(log_probs)


def merge(log_probs: Tensor, classes: NDArray[np.int64]) -> Tensor:
    """Return log p (S, P) of classes that stand for one or more of V.

    Args: log_probs (S, V), classes (V,) which of P each of them is.
    """
    total = log_probs.new_zeros(len(log_probs), int(classes.max()) + 1)
    total.index_add_(1, torch.from_numpy(classes).to(log_probs.device), log_probs.exp())
    return total.clamp(min=LEAST).log()


def greedy(
    log_probs: Tensor,
    lengths: Tensor,
    follow: NDArray[np.float64] | None = None,
    classes: NDArray[np.int64] | None = None,
) -> list[list[int]]:
    """Return the labels of each utterance's best path.

    Args:
        log_probs: (B, S, V).
        lengths: (B,) steps.
        follow: (V, V) to read steps `in_sequence`; None: each by itself.
        classes: (V,) to `merge` what is read, so that labels are of P; None: they are of V.
    """
    labels = []
    for row, length in zip(log_probs, lengths.tolist(), strict=True):
        known = row[:length] if follow is None else in_sequence(row[:length], follow)
        known = known if classes is None else merge(known, classes)
        labels.append([label for _, _, label in runs(known.argmax(-1).cpu())])
    return labels


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
