"""CTC against sums and maxima over all paths."""

import math
import random
from itertools import product

import numpy as np
import pytest
import torch

from speechasym.levels import ctc


def paths(log_probs, labels):
    """(log p, path) of all paths that write labels."""
    steps, classes = log_probs.shape
    for path in product(range(classes), repeat=steps):
        joined = [c for n, c in enumerate(path) if n == 0 or c != path[n - 1]]
        if [c for c in joined if c] == list(labels):
            yield sum(float(log_probs[n, c]) for n, c in enumerate(path)), path


def log_likelihood(log_probs, labels):
    return math.log(sum(math.exp(score) for score, _ in paths(log_probs, labels)))


def spans(path):
    """[first step, step after the last] of each symbol."""
    rows, before = [], 0
    for n, c in enumerate(path):
        if c and c != before:
            rows.append([n, n + 1])
        elif c:
            rows[-1][1] = n + 1
        before = c
    return [tuple(row) for row in rows]


def test_loss_is_the_sum_over_all_paths():
    torch.manual_seed(0)
    log_probs = torch.randn(3, 4, 3).log_softmax(-1)
    targets, counts = torch.tensor([[1, 2], [1, 1], [2, 0]]), torch.tensor([2, 2, 1])
    lengths = torch.tensor([4, 2, 3])
    loss, fits = ctc.loss(log_probs, lengths, targets, counts)
    assert fits.tolist() == [True, False, True]  # 1 1 needs three steps
    want = -sum(
        log_likelihood(log_probs[b, : lengths[b]], targets[b, : counts[b]].tolist()) for b in (0, 2)
    )
    assert float(loss) == pytest.approx(want, rel=1e-5)
    loss, fits = ctc.loss(log_probs[1:2], lengths[1:2], targets[1:2], counts[1:2])
    assert float(loss) == 0 and not fits.any()


def test_log_likelihoods_are_sums_over_all_paths(monkeypatch):
    monkeypatch.setattr(ctc, "_ROWS", 2)
    log_probs = torch.randn(4, 3, generator=torch.Generator().manual_seed(1)).log_softmax(-1)
    rows = [[1], [], [1, 2, 1], [2, 2]]
    want = [log_likelihood(log_probs, row) for row in rows]
    assert ctc.log_likelihoods(log_probs, [*rows, [1, 1, 1]]) == pytest.approx([*want, -math.inf])
    assert ctc.log_likelihoods(log_probs, []) == []


@pytest.mark.parametrize("labels", [[1], [1, 1], [1, 2, 1], [2, 2, 1]])
def test_alignment_is_the_best_of_all_paths(labels):
    generator = torch.Generator().manual_seed(len(labels))
    for steps in (ctc.steps_needed(labels), 6):
        log_probs = torch.randn(steps, 3, generator=generator).log_softmax(-1)
        assert ctc.align(log_probs, labels) == spans(max(paths(log_probs, labels))[1])


def test_steps_needed():
    assert [ctc.steps_needed(row) for row in ([], [1], [1, 1], [1, 2, 2, 2])] == [0, 1, 3, 6]


def test_greedy_path():
    best = torch.tensor([[0, 2, 2, 0, 2, 1, 1], [3, 3, 3, 3, 1, 1, 1]])
    log_probs = torch.nn.functional.one_hot(best, 4).float()
    assert ctc.greedy(log_probs, torch.tensor([7, 4])) == [[2, 2, 1], [3]]
    assert ctc.greedy(log_probs, torch.tensor([0, 1])) == [[], [3]]
    assert ctc.symbols([2, 2, 1], ("a", "b")) == ["b", "b", "a"]


def test_runs_of_a_path():
    assert ctc.runs(torch.tensor([0, 2, 2, 0, 2, 1, 1, 0])) == [(1, 3, 2), (4, 5, 2), (5, 7, 1)]
    assert ctc.runs(torch.tensor([])) == []


@pytest.mark.parametrize("seed", range(12))
def test_edits_of_an_answer_have_the_likelihood_of_the_whole_new_one(seed):
    rng = random.Random(seed)
    torch.manual_seed(seed)
    classes, count = rng.randint(2, 5), rng.randint(0, 6)
    readings = [
        (3 * torch.randn(rng.randint(1, 12), classes, dtype=torch.float64)).log_softmax(-1)
        for _ in range(3)
    ]

    def drawn(most):
        return tuple(rng.randrange(1, classes) for _ in range(most))

    labels = drawn(count)
    parts = [
        (first, end, drawn(rng.randint(0, 3)))
        for first in range(count + 1)
        for end in range(first, count + 1)
    ]
    rows = [labels[:first] + new + labels[end:] for first, end, new in parts]
    values = ctc.Edits(readings, labels)(parts)
    for log_probs, column in zip(readings, values.T, strict=True):
        np.testing.assert_allclose(column, ctc.log_likelihoods(log_probs, rows), rtol=1e-9)
