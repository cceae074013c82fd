"""A linear frame classifier: multinomial logistic regression, with folds of speakers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from speechasym.annotations.timit import read_samples
from speechasym.language import phones

FOLDS = 4
PENALTIES = (1e-4, 1e-3, 1e-2)  # chosen inside the training speakers


def labels(root: Path, file: str, frames: int, rate: int = 100) -> np.ndarray:
    """Return (F,) indices of the folded phones at the frames' centres; -1 for none (q)."""
    names = sorted(set(phones.FOLD_39.values()))
    path = next(p for p in root.glob(f"{file}.*") if p.suffix.lower() == ".phn")
    out = np.full(frames, -1)
    centre = (np.arange(frames) + 0.5) * 16000 / rate
    for start, end, symbol in read_samples(path):
        if symbol in phones.FOLD_39:
            out[(centre >= start) & (centre < end)] = names.index(phones.FOLD_39[symbol])
    return out


def fit(
    x: torch.Tensor, y: torch.Tensor, classes: int, penalty: float,
    weight: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """Return the weights (D + 1, classes) that minimise mean cross-entropy + penalty |w|^2.

    weight: of each class (classes,); default: equal.
    """
    x = torch.cat([x, torch.ones(len(x), 1)], 1)
    w = torch.zeros(x.shape[1], classes, requires_grad=True)
    step = torch.optim.LBFGS([w], max_iter=60, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        step.zero_grad()
        value = torch.nn.functional.cross_entropy(x @ w, y, weight)
        value = value + penalty * (w[:-1] ** 2).sum()
        value.backward()
        return value

    step.step(loss)
    return w.detach()


def wrong(w: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Return (F,) whether each frame is classified as another phone."""
    guess = (torch.cat([x, torch.ones(len(x), 1)], 1) @ w).argmax(1)
    return (guess != y).numpy()


def evaluate(matrices: dict, root: Path, seed: int = 0) -> dict[str, tuple[int, int]]:
    """Return {speaker: (wrong frames, frames)}, each speaker tested once by a model of others."""
    data: dict[str, list] = {}
    for file, matrix in matrices.items():
        phone = labels(root, file, len(matrix))
        known = phone >= 0
        data.setdefault(Path(file).parent.name, []).append((matrix[known], phone[known]))
    speakers = sorted(data)
    order = [str(name) for name in np.random.default_rng(seed).permutation(speakers)]

    def joined(names: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        parts = [part for name in names for part in data[name]]
        rows, classes = (np.concatenate(column) for column in zip(*parts, strict=True))
        return torch.from_numpy(rows), torch.from_numpy(classes)

    classes = len(set(phones.FOLD_39.values()))
    out = {}
    for fold in range(FOLDS):
        test = order[fold::FOLDS]
        train = [name for name in order if name not in test]
        x, y = joined(train[2:])
        held_out = joined(train[:2])
        scores = [wrong(fit(x, y, classes, p), *held_out).mean() for p in PENALTIES]
        w = fit(*joined(train), classes, PENALTIES[int(np.argmin(scores))])
        for name in test:
            errors = wrong(w, *joined([name]))
            out[name] = (int(errors.sum()), len(errors))
    return out
