"""Normalisation of features over time, column by column: by the whole recording, or by the past.

Shapes: F frames, D columns.
"""

import copy
import tempfile
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

CHOICES = ("none", "utterance", "running")
RUNNING_S = 3.0  # s, time constant of the running mean and variance
LEAST = 1e-4  # smaller standard deviations count as this


def normalised(
    parts: Iterable[NDArray[np.float32]], choice: str, rate: float
) -> Iterator[NDArray[np.float32]]:
    """Blocks of frames (n, D) at `rate` a second -> the same, normalised.

    `utterance`: mean 0 and deviation 1 over the whole, which a temporary file holds meanwhile.
    `running`: minus the mean, over the deviation, of the frames so far, forgotten with 3 s.
    """
    if choice == "utterance":
        return _utterance(parts)
    if choice == "running":
        return map(Running(rate), parts)
    return iter(parts)


class Running:
    """Minus the mean, over the deviation, of the frames so far, forgotten with 3 s.

    Call it with the next rows (n, D) of a stream at `rate` frames a second.
    """

    def __init__(self, rate: float) -> None:
        self._share = 1 - np.exp(-1 / (RUNNING_S * rate))
        self._state: NDArray | None = None
        self._frames = 0

    def __call__(self, rows: NDArray) -> NDArray[np.float32]:
        from speechasym.ops import cpu_cepstra

        out, self._state = cpu_cepstra.running_norm(rows, self._share, self._state, self._frames)
        self._frames += len(rows)
        return out

    def copy(self) -> "Running":
        """Return another that continues from here."""
        return copy.copy(self)  # states are replaced, never changed


def _utterance(parts: Iterable[NDArray]) -> Iterator[NDArray[np.float32]]:
    count, mean, spread = 0, np.zeros(1), np.zeros(1)  # spread: sum of squares about the mean
    shapes = []
    with tempfile.TemporaryFile() as file:
        for part in parts:
            if not len(part):
                continue
            file.write(np.ascontiguousarray(part).data)
            shapes.append(part.shape)
            part_mean = part.mean(0, dtype=np.float64)
            off = part_mean - mean  # parallel variance: exact enough where the mean is large
            total = count + len(part)
            squares = ((part - part_mean) ** 2).sum(0)
            spread = spread + squares + off**2 * (count * len(part) / total)
            mean, count = mean + off * (len(part) / total), total
        scale = 1 / np.maximum(np.sqrt(spread / max(1, count)), LEAST)
        file.seek(0)
        for shape in shapes:
            raw = file.read(shape[0] * shape[1] * 4)
            part = np.frombuffer(raw, np.float32).reshape(shape)
            yield ((part - mean) * scale).astype(np.float32)
