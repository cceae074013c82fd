"""CTC against sums and maxima over all paths."""

import math
import random
from itertools import pairwise, product

import numpy as np
import pytest
import torch

from speechasym.levels import ctc
from speechasym.ops import ref
from speechasym.ops.cpu_any_sequence import any_sequence


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


def bigram(classes, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(classes), classes)


def test_any_sequence_is_the_sum_over_all_sequences():
    log_probs = torch.randn(5, 4, generator=torch.Generator().manual_seed(2)).log_softmax(-1)
    follow, total = bigram(4), 0.0
    for length in range(6):
        for labels in product((1, 2, 3), repeat=length):
            edged = (0, *labels, 0)
            weight = math.prod(follow[a, b] for a, b in pairwise(edged))
            total += weight * sum(math.exp(score) for score, _ in paths(log_probs, labels))
    want = ref.any_sequence(log_probs.numpy(), follow)
    assert want == pytest.approx(math.log(total), rel=1e-9)
    assert any_sequence(log_probs.numpy(), follow)[0] == pytest.approx(want, rel=1e-6)


def test_rivals_and_their_gradient():
    generator = torch.Generator().manual_seed(3)
    log_probs = torch.randn(2, 9, 6, generator=generator).log_softmax(-1).double()
    lengths, follow = torch.tensor([9, 0]), bigram(6, 1)
    log_probs.requires_grad_()
    total = ctc.rivals(log_probs, lengths, follow)
    want = ref.any_sequence(log_probs[0].detach().numpy(), follow)
    assert float(total.detach()) == pytest.approx(want, rel=1e-5)
    (gradient,) = torch.autograd.grad(2 * total, log_probs)
    assert not gradient[1].any()
    for step, k in ((0, 0), (4, 2), (8, 5)):
        sides = []
        for sign in (1, -1):
            moved = log_probs[0].detach().numpy().copy()
            moved[step, k] += sign * 1e-5
            sides.append(ref.any_sequence(moved, follow))
        assert float(gradient[0, step, k]) == pytest.approx((sides[0] - sides[1]) / 1e-5, abs=1e-4)


def test_read_in_sequence():
    """What nothing may follow is not read, however loud it is by itself."""
    loud = torch.tensor([[0.1, 0.8, 0.1], [0.5, 0.1, 0.4], [0.1, 0.5, 0.4]]).log()
    never_twice = np.array([[0.2, 0.4, 0.4], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
    shares = ctc.in_sequence(loud, never_twice).exp()
    torch.testing.assert_close(shares.sum(-1), torch.ones(3))
    batch = loud.expand(2, -1, -1)
    assert ctc.greedy(batch, torch.tensor([3, 0])) == [[1, 1], []]
    assert ctc.greedy(batch, torch.tensor([3, 1]), never_twice)[1] == [1]
    assert ctc.greedy(batch, torch.tensor([3, 0]), never_twice)[0] != [1, 1]
    assert len(ctc.in_sequence(loud[:0], never_twice)) == 0


def test_merged_classes_have_the_sum_of_their_posteriors():
    log_probs = torch.randn(4, 5, generator=torch.Generator().manual_seed(2)).log_softmax(-1)
    p = ctc.merge(log_probs, np.array([0, 1, 2, 1, 1])).exp()
    want = torch.stack([log_probs.exp()[:, k].sum(1) for k in ([0], [1, 3, 4], [2])], 1)
    torch.testing.assert_close(p, want)
    torch.testing.assert_close(p.sum(1), torch.ones(4))
    # three ways to write one symbol are together more probable than the blank
    steps = torch.tensor([[[0.4, 0.2, 0.0, 0.2, 0.2]]]).log()
    assert ctc.greedy(steps, torch.tensor([1])) == [[]]
    assert ctc.greedy(steps, torch.tensor([1]), classes=np.array([0, 1, 2, 1, 1])) == [[1]]
    assert ctc.merge(log_probs[:0], np.array([0, 1, 2, 1, 1])).shape == (0, 3)
