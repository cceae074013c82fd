"""Classifiers of windows of frames, with speakers kept apart, and balanced errors with intervals.

Shapes: N tokens, D inputs, S speakers, K classes, R drawings.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from recipes.claims.asymmetry.common import FRAMES
from recipes.claims.direction.tasks import Task, Token
from recipes.compare.intervals import drawn
from recipes.discovery.features import linear
from speechasym.errors import ItemError

FOLDS = 4
PENALTIES = (1e-3, 1e-2, 1e-1)  # chosen inside the training speakers
HIDDEN = 24  # units of the net with a hidden layer
LEAST = 8  # tokens of a class


class Counts(NamedTuple):
    """Wrong and all tokens of each speaker and class, (S, K, 2)."""

    speakers: tuple[str, ...]
    values: NDArray[np.float64]


def windows(
    matrices: Mapping[str, NDArray], tokens: Sequence[Token], offsets: range
) -> NDArray[np.float32]:
    """Return (N, D): the frames around each token side by side; those beyond an end repeat it."""
    rows = []
    for token in tokens:
        matrix = matrices[token.file]
        at = np.clip(int(token.at * FRAMES) + np.array(offsets), 0, len(matrix) - 1)
        rows.append(matrix[at].ravel())
    return np.stack(rows)


def evaluate(x: NDArray[np.float32], task: Task, hidden: int = 0, seed: int = 0) -> Counts:
    """Return the errors of each speaker, classified by a model of other speakers.

    Args:
        x: (N, D) of the task's tokens.
        task: what to classify.
        hidden: units of a hidden layer; 0: logistic regression.
        seed: of the order of speakers in folds.

    Raises:
        ItemError: a class has too few tokens, or there are fewer speakers than folds.
    """
    labels = sorted({token.label for token in task.tokens})
    y = np.array([labels.index(token.label) for token in task.tokens])
    of = np.array([token.speaker for token in task.tokens])
    few = [k for k in labels if (y == labels.index(k)).sum() < LEAST]
    if few or len(labels) < 2:
        problem = f"has fewer than {LEAST} tokens of {few[0] if few else 'a second class'}"
        raise ItemError(task.name, problem, "Give more recordings")
    names = sorted(set(of))
    if len(names) < FOLDS:
        problem = f"has {len(names)} speakers, fewer than {FOLDS}"
        raise ItemError(task.name, problem, "Give recordings of more speakers")
    order = [str(name) for name in np.random.default_rng(seed).permutation(names)]
    wrong = np.zeros(len(y), bool)
    for fold in range(FOLDS):
        test = np.isin(of, order[fold::FOLDS])
        inner = [name for name in order if name not in order[fold::FOLDS]][::3]
        held_out = np.isin(of, inner)
        fit, tune = ~test & ~held_out, held_out
        errors = []
        for penalty in PENALTIES:
            guess = _guesses(x[fit], y[fit], x[tune], len(labels), penalty, hidden)
            errors.append(np.mean([(guess != y[tune])[y[tune] == k].mean()
                                   for k in set(y[tune])]))  # fmt: skip
        best = PENALTIES[int(np.argmin(errors))]
        wrong[test] = _guesses(x[~test], y[~test], x[test], len(labels), best, hidden) != y[test]
    values = np.zeros((len(names), len(labels), 2))
    for s, name in enumerate(names):
        for k in range(len(labels)):
            own = (of == name) & (y == k)
            values[s, k] = wrong[own].sum(), own.sum()
    return Counts(tuple(names), values)


def _guesses(
    x: NDArray, y: NDArray, test: NDArray, classes: int, penalty: float, hidden: int
) -> NDArray[np.int64]:
    """Fit and classify; each class has the same weight, however many tokens it has."""
    mean, deviation = x.mean(0), np.maximum(x.std(0), 1e-6)
    inputs, rows = (torch.from_numpy((t - mean) / deviation).float() for t in (x, test))
    target = torch.from_numpy(y)
    weight = len(y) / (classes * torch.bincount(target, minlength=classes).clamp(min=1))
    if not hidden:
        w = linear.fit(inputs, target, classes, penalty, weight)
        return (torch.cat([rows, torch.ones(len(rows), 1)], 1) @ w).argmax(1).numpy()
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(x.shape[1], hidden), torch.nn.Tanh(), torch.nn.Linear(hidden, classes)
    )
    matrices = [p for p in net.parameters() if p.ndim == 2]
    step = torch.optim.LBFGS(net.parameters(), max_iter=30, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        step.zero_grad()
        value = functional.cross_entropy(net(inputs), target, weight)
        value = value + penalty * sum(p.square().sum() for p in matrices) / 4
        value.backward()
        return value

    step.step(loss)
    with torch.no_grad():
        return net(rows).argmax(1).numpy()


def balanced(counts: Counts) -> NDArray[np.float64]:
    """Return (1 + R,) the mean over classes of the share of errors: of all speakers, then drawn."""
    number = len(counts.speakers)
    times = np.concatenate([np.ones((1, number)), drawn(number, 0)])
    errors, tokens = np.einsum("rs,skc->crk", times, counts.values)
    with np.errstate(invalid="ignore"):
        return np.nanmean(errors / np.where(tokens > 0, tokens, np.nan), 1)
