"""Classifiers of windows of frames, with speakers kept apart, and balanced errors with intervals.

Shapes: N tokens, D inputs, S speakers, K classes, R drawings.
"""

from collections.abc import Callable, Mapping, Sequence
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
    chosen: tuple[int, ...] = ()  # of several inputs, which in each fold


def windows(
    matrices: Mapping[str, NDArray], tokens: Sequence[Token], offsets: range, rate: int = FRAMES
) -> NDArray[np.float32]:
    """Return (N, D): the frames around each token side by side; those beyond an end repeat it.

    rate: frames a second.
    """
    rows = []
    for token in tokens:
        matrix = matrices[token.file]
        at = np.clip(int(token.at * rate) + np.array(offsets), 0, len(matrix) - 1)
        rows.append(matrix[at].ravel())
    return np.stack(rows)


def inputs(
    task: Task, compute: Callable[[str], Mapping[str, NDArray]], names: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Return {set: (N, D)}, the windows of the task's tokens.

    compute: {set: (F, D)} of a file; it is called once for each, and no more than one is kept.
    """
    of_file: dict[str, list[int]] = {}
    for n, token in enumerate(task.tokens):
        of_file.setdefault(token.file, []).append(n)
    parts: dict[str, list[NDArray]] = {name: [] for name in names}
    for file, numbers in of_file.items():
        matrices, tokens = compute(file), [task.tokens[n] for n in numbers]
        for name in names:
            parts[name].append(windows({file: matrices[name]}, tokens, task.offsets, task.rate))
    order = np.argsort(np.concatenate(list(of_file.values())))
    return {name: np.concatenate(rows)[order] for name, rows in parts.items()}


def evaluate(
    x: NDArray[np.float32] | Sequence[NDArray[np.float32]],
    task: Task,
    hidden: int = 0,
    seed: int = 0,
) -> Counts:
    """Return the errors of each speaker, classified by a model of other speakers.

    Args:
        x: (N, D) of the task's tokens; of several, the best one is chosen inside the training
            speakers, with the middle penalty.
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
    wrong, chosen = np.zeros(len(y), bool), []
    several = [x] if isinstance(x, np.ndarray) else x
    for fold in range(FOLDS):
        test = np.isin(of, order[fold::FOLDS])
        inner = [name for name in order if name not in order[fold::FOLDS]][::3]
        held_out = np.isin(of, inner)
        fit, tune = ~test & ~held_out, held_out

        def missed(one: NDArray, penalty: float, fit: NDArray, tune: NDArray) -> float:
            guess = _guesses(one[fit], y[fit], one[tune], len(labels), penalty, hidden)
            rows = [(guess != y[tune])[y[tune] == k].mean() for k in set(y[tune])]
            return float(np.mean(rows))

        middle = PENALTIES[len(PENALTIES) // 2]
        errors = [missed(one, middle, fit, tune) for one in several] if several[1:] else [0.0]
        chosen.append(int(np.argmin(errors)))
        own = several[chosen[-1]]
        errors = [missed(own, penalty, fit, tune) for penalty in PENALTIES]
        best = PENALTIES[int(np.argmin(errors))]
        guess = _guesses(own[~test], y[~test], own[test], len(labels), best, hidden)
        wrong[test] = guess != y[test]
    values = np.zeros((len(names), len(labels), 2))
    for s, name in enumerate(names):
        for k in range(len(labels)):
            at = (of == name) & (y == k)
            values[s, k] = wrong[at].sum(), at.sum()
    return Counts(tuple(names), values, tuple(chosen) if several[1:] else ())


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
