"""A temperature that makes confidences probabilities. Shapes: N recognised symbols, V classes.

[1] C. Guo et al., "On calibration of modern neural networks", ICML 2017: one temperature, chosen by
    the likelihood of held-out data.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

TEMPERATURES = np.geomspace(0.05, 8, 81)


def tempered(
    log_probs: NDArray, labels: NDArray, temperature: float | NDArray
) -> NDArray[np.float64]:
    """Return p (N,) of labels by log-probabilities (N, V) divided by a temperature, or (N,)."""
    scaled = log_probs / np.reshape(temperature, (-1, 1))
    scaled = np.exp(scaled - scaled.max(1, keepdims=True))
    return scaled[np.arange(len(labels)), labels] / scaled.sum(1)


def best_temperature(log_probs: NDArray, labels: NDArray, correct: ArrayLike) -> float:
    """Return the temperature at which confidences make what was correct and wrong most likely [1].

    Args:
        log_probs: (N, V) of each symbol's event.
        labels: (N,) recognised classes.
        correct: (N,) whether the symbol was said.
    """
    hit = np.asarray(correct, bool)

    def likelihood(temperature: float) -> float:
        p = tempered(log_probs, labels, temperature).clip(1e-6, 1 - 1e-6)
        return float(np.log(np.where(hit, p, 1 - p)).sum())

    return float(max(TEMPERATURES, key=likelihood))
