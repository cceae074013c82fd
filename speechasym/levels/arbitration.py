"""Arbitration: several nets answer, and they decide themselves who is heard (C14).

Nets of other seeds, features or scales write the same symbol some steps earlier or later, in events
of their own. A mean of their probabilities at each moment then holds a little of everything, and
errs more than each of them. So the nets exchange answers instead. Each says what it reads; where
two differ, every net hears both and finds how badly either predicts its own evidence: its error is
-log p of the whole answer by CTC, over all alignments, so that neither steps nor times need match.
An answer is changed, event by event, while that lowers the sum of errors, in which a net's voice is
the louder, the less entropy its own posteriors have: its selectivity. No further net decides.

What remains is a sequence of events. The probability of each, against its omission and its
strongest rival, is the mean of those that follow from each net's errors with the three, the sharper
the more selective the net is: in noise, nets are unsure but err as if they were not.

Shapes: B batch, F frames, D columns, M nets, S steps of a net, V classes (0 is CTC's blank), G
steps of the grid on which the boundaries of all nets' steps lie, E events (labels of the answer).
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from speechasym.levels import ctc
from speechasym.levels.ctc import Part
from speechasym.levels.events import shared_frames
from speechasym.levels.level import ModelOutput

Labels = tuple[int, ...]
LEAST_ENTROPY = 1e-3  # nats; less counts as this
USUAL_ENTROPY = 0.4  # nats with which a net's log odds are about right; see docs/decoding.md
FLOOR = 20.0  # nats that an answer for which a net has too few steps is worse than its worst
FAINT = 1e-3  # share of an event's probability that all other classes keep


class Reading(NamedTuple):
    """What a net reads with one head."""

    log_probs: Tensor  # (S, V) natural logarithms
    frames: NDArray[np.float64]  # (S, 2) start and end of each step

    @property
    def labels(self) -> Labels:
        """The labels of the best path."""
        return tuple(label for _, _, label in ctc.runs(self.log_probs.argmax(-1)))


class Verdict(NamedTuple):
    """What several nets read together: a step for each event, and steps without one between."""

    log_probs: Tensor  # (S, V); its best path is the answer
    frames: NDArray[np.float64]  # (S, 2) start and end of each step
    labels: Labels  # (E,) the answer
    steps: list[int]  # (E,) step of each label
    said: NDArray[np.bool_]  # (E, M) which nets had the label in their own answer


def entropies(readings: Sequence[Reading]) -> NDArray[np.float64]:
    """Return (M,) the entropy of each net's classes in nats, the mean over its steps."""
    means = [-(r.log_probs.exp() * r.log_probs).nansum(-1).mean().item() for r in readings]
    return np.maximum(means, LEAST_ENTROPY)


def voices(readings: Sequence[Reading]) -> NDArray[np.float64]:
    """Return (M,) how loud each net is, 1 in the mean: 1 / H^2 by its entropy, its selectivity."""
    loud = entropies(readings) ** -2
    return loud / loud.mean()


class Evidence:
    """The nets' log p of answers; each is computed once."""

    def __init__(self, readings: Sequence[Reading]) -> None:
        self.readings = readings
        self.lowest: NDArray[np.float64] | None = None
        self.known: dict[Labels, NDArray[np.float64]] = {}
        self.edits: tuple[Labels, ctc.Edits] | None = None  # of the answer last edited

    def __call__(self, answers: Sequence[Labels]) -> NDArray[np.float64]:
        """Return (N, M) log p of N answers by each net; the first call is with the nets' own."""
        new = list(dict.fromkeys(answer for answer in answers if answer not in self.known))
        if new:
            values = np.array(
                [ctc.log_likelihoods(r.log_probs.double(), new) for r in self.readings]
            ).T
            if self.lowest is None:
                lowest = np.where(np.isfinite(values), values, np.inf).min(0)
                self.lowest = np.where(np.isfinite(lowest), lowest, 0.0) - FLOOR
            self.known |= zip(new, np.maximum(values, self.lowest), strict=True)
        rows = [self.known[answer] for answer in answers]
        return np.array(rows).reshape(-1, len(self.readings))

    def of_parts(self, answer: Labels, parts: Sequence[Part]) -> NDArray[np.float64]:
        """Return (N, M) log p, by each net, of an answer with each of N parts replaced."""
        answers = [_replaced(answer, [part]) for part in parts]
        self([answer])
        new = {a: part for a, part in zip(answers, parts, strict=True) if a not in self.known}
        if new:
            if self.edits is None or self.edits[0] != answer:
                self.edits = answer, ctc.Edits([r.log_probs for r in self.readings], answer)
            values = self.edits[1](list(new.values()))
            assert self.lowest is not None
            self.known |= zip(new, np.maximum(values, self.lowest), strict=True)
        return self(answers)


def arbitrate(
    readings: Sequence[Reading], loud: NDArray[np.float64] | None = None,
    *, evidence: Evidence | None = None, answers: Sequence[Labels] | None = None,
) -> Verdict:  # fmt: skip
    """Return what several nets read together in one utterance, from what each reads in it.

    Args:
        loud: (M,) voices, 1 in the mean; default: `voices`.
        evidence: of the same readings, if they have been arbitrated before.
        answers: to begin with and to take parts from; default: the nets' own.

    Example:
        >>> verdict = arbitrate([Reading(log_probs, frames), Reading(others, their_frames)])
        >>> verdict.labels, verdict.said.mean(1)  # the answer, and how many nets gave it
    """
    own = [reading.labels for reading in readings] if answers is None else list(answers)
    loud = voices(readings) if loud is None else loud
    evidence = Evidence(readings) if evidence is None else evidence

    held, frames = on_grid(readings)
    mixture = held.logsumexp(0).log_softmax(-1)
    answer = own[int((evidence(own) @ loud).argmax())]
    while True:  # each change lowers the sum of errors, so this ends
        answer = _exchange(answer, own, evidence, loud)
        spans = ctc.runs(ctc.path(mixture, answer))
        rivals = [_rival(mixture[first:end], label) for first, end, label in spans]
        parts: list[Part] = [(n, n + 1, ()) for n in range(len(answer))]
        parts += [(n, n + 1, (rival,) * (rival > 0)) for n, rival in enumerate(rivals)]
        better = _improve(answer, parts, evidence, loud)
        if better == answer:
            break
        answer = better
    odds = evidence.of_parts(answer, parts) - evidence([answer])
    odds *= (USUAL_ENTROPY / entropies(readings)) ** 2
    share = _shares(odds, loud)
    said = np.zeros((len(answer), len(own)), bool)
    for net, labels in enumerate(own):
        for op in Levenshtein.opcodes(answer, labels):
            said[op.src_start : op.src_end, net] = op.tag == "equal"
    rows, steps, at = _rows(mixture, spans, rivals, share)
    times = np.stack([frames[at[:, 0], 0], frames[at[:, 1] - 1, 1]], 1)
    return Verdict(rows, times, answer, steps, said)


def _exchange(
    answer: Labels, own: Sequence[Labels], evidence: Evidence, loud: NDArray[np.float64]
) -> Labels:
    """Return the answer after parts of the nets' own ones have replaced parts that are worse."""
    while True:
        parts: list[Part] = [
            (op.src_start, op.src_end, labels[op.dest_start : op.dest_end])
            for labels in own
            for op in Levenshtein.opcodes(answer, labels)
            if op.tag != "equal"
        ]
        better = _improve(answer, list(dict.fromkeys(parts)), evidence, loud)
        if better == answer:
            return answer
        answer = better


def _improve(
    answer: Labels, parts: Sequence[Part], evidence: Evidence, loud: NDArray[np.float64]
) -> Labels:
    """Return the answer with the parts that lower the errors; the same if none does.

    Of parts that touch, the one that gains most is taken; and only the best of all if it alone is
    better than all together.
    """
    before = -evidence([answer]) @ loud
    after = -evidence.of_parts(answer, parts) @ loud
    order = [n for n in np.argsort(after, kind="stable").tolist() if after[n] < before]
    if not order:
        return answer
    chosen: list[Part] = []
    for n in order:
        first, end, _ = parts[n]
        if all(end < other[0] or first > other[1] for other in chosen):
            chosen.append(parts[n])
    together, best = _replaced(answer, chosen), _replaced(answer, chosen[:1])
    gain = evidence([together]) @ loud > evidence([best]) @ loud
    return together if gain else best


def _replaced(answer: Labels, parts: Sequence[Part]) -> Labels:
    """Return the answer with parts that do not touch replaced."""
    for first, end, part in sorted(parts, reverse=True):
        answer = answer[:first] + part + answer[end:]
    return answer


def _shares(odds: NDArray[np.float64], loud: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p (E, 3) that an event is as heard, is nothing, or is its rival.

    That is the mean of what each net would say, by their voices: nets that contradict each other,
    each of them sure, make the event unsure.

    Args:
        odds: (2 E, M) log odds, by each net, of nothing for each event, then of its rival.
        loud: (M,) voices.
    """
    nothing, rival = odds.reshape(2, -1, len(loud))
    each = np.exp(np.stack([np.zeros_like(rival), nothing, rival]).clip(-700, 700))
    return (each / each.sum(0) @ loud / len(loud)).T


def _rival(rows: Tensor, label: int) -> int:
    """Return the strongest other symbol in the steps (G, V) of a label, or 0 without one."""
    best = rows.max(0).values.clone()
    best[0] = best[label] = -torch.inf
    return int(best.argmax()) if len(best) > 2 else 0


def on_grid(readings: Sequence[Reading]) -> tuple[Tensor, NDArray[np.float64]]:
    """Return the nets' log-probabilities (M, G, V) held over one grid, and its frames (G, 2)."""
    edges = np.unique(np.concatenate([reading.frames.ravel() for reading in readings]))
    edges = edges[np.concatenate([[True], np.diff(edges) > 1e-3])]
    middles = (edges[1:] + edges[:-1]) / 2
    held = []
    for reading in readings:
        step = np.searchsorted(reading.frames[:, 1], middles, side="right")
        held.append(reading.log_probs[torch.from_numpy(step.clip(max=len(reading.frames) - 1))])
    return torch.stack(held), np.stack([edges[:-1], edges[1:]], 1)


def _rows(
    mixture: Tensor, spans: Sequence[tuple[int, int, int]], rivals: Sequence[int],
    share: NDArray[np.float64],
) -> tuple[Tensor, list[int], NDArray[np.int64]]:  # fmt: skip
    """Return log-probabilities (S, V) of events and of the steps between, and where they are.

    Args:
        mixture: (G, V) of the grid.
        spans: first step, step after the last, and label of each event.
        rivals: (E,) other label for each.
        share: (E, 3) p that an event is as heard, is nothing, or is its rival.

    Returns:
        Log-probabilities, the step of each event, and the steps (S, 2) of the grid under each.
    """
    blank = mixture.clone()  # in the steps between, blank and the strongest class change places
    strongest = mixture.argmax(-1, keepdim=True)
    blank.scatter_(1, strongest, mixture[:, :1])
    blank[:, :1] = mixture.gather(1, strongest)
    rows: list[Tensor] = []
    steps: list[int] = []
    at: list[tuple[int, int]] = []
    edges = [(0, 0), *(span[:2] for span in spans), (len(mixture), len(mixture))]
    for number, ((_, before), (first, end)) in enumerate(pairwise(edges)):
        rows.append(blank[before:first])
        at += [(step, step + 1) for step in range(before, first)]
        if number == len(spans):
            break
        label, rival = spans[number][2], rivals[number]
        row = FAINT * mixture[first:end].exp().mean(0).double()
        row.index_add_(
            0, torch.tensor([label, 0, rival]), torch.from_numpy((1 - FAINT) * share[number])
        )
        row[label] = max(float(row[label]), 1.001 * float(row.max()))  # also where two are equal
        steps.append(len(at))
        at.append((first, end))
        rows.append((row / row.sum()).log().to(mixture.dtype)[None])
    return torch.cat(rows), steps, np.array(at, np.int64).reshape(-1, 2)


class Arbitration(nn.Module):
    """Nets that read together: a model whose heads are those that all of them have.

    Args:
        nets: models such as `Hierarchy`, with the same symbols and the same rate of frames.
        columns: of the features, for each net; default: all.

    Example:
        >>> model = Arbitration([hierarchy, another])
        >>> output = model(features, lengths)  # `ModelOutput`, on the CPU, without levels
    """

    def __init__(self, nets: Sequence[nn.Module], columns: Sequence[slice] | None = None) -> None:
        super().__init__()
        self.nets = nn.ModuleList(nets)
        self.columns = [slice(None)] * len(nets) if columns is None else list(columns)

    @torch.no_grad()
    def verdicts(self, features: Tensor, lengths: Tensor) -> dict[str, list[Verdict]]:
        """Return {head: (B,) verdicts} for features (B, F, D) and lengths (B,) in frames."""
        outputs: list[ModelOutput] = [
            net(features[..., columns], lengths)
            for net, columns in zip(self.nets, self.columns, strict=True)
        ]
        heads = [head for head in outputs[0].heads if all(head in o.heads for o in outputs)]
        return {
            head: [
                arbitrate([reading(output, head, row) for output in outputs])
                for row in range(len(features))
            ]
            for head in heads
        }

    def forward(self, features: Tensor, lengths: Tensor) -> ModelOutput:
        """Return log-probabilities, lengths and spans of each head's events; see `verdicts`."""
        heads, spans = {}, {}
        for head, verdicts in self.verdicts(features, lengths).items():
            padded = pad_sequence([v.log_probs for v in verdicts], batch_first=True)
            heads[head] = (padded, torch.tensor([len(v.log_probs) for v in verdicts]))
            times = [torch.from_numpy(v.frames) for v in verdicts]
            start, end = pad_sequence(times, batch_first=True).unbind(-1)
            spans[head] = (start, end)
        return ModelOutput(heads, {}, spans, [])


def reading(output: ModelOutput, head: str, row: int = 0) -> Reading:
    """Return what a net reads with a head in one utterance of a batch."""
    log_probs, lengths = output.heads[head]
    steps = int(lengths[row])
    start, end = (span[row, :steps].cpu().numpy() for span in output.spans[head])
    return Reading(log_probs[row, :steps].float().cpu(), shared_frames(start, end))
