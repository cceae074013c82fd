"""Is this speech? Windows of what the heads read, judged by how they read it.

A model that learned from speech alone reads symbols from music and noise too, but not as it reads
speech: it is less certain while it writes, writes fewer different symbols, and its letters and
phones do not come and go as in syllables. A logistic function of such numbers, fitted on speech
and on synthetic noises (`confidence_fit`), judges each window, and a change between speech and
none has a cost, so that single windows change nothing.

Shapes: S steps of a head, V classes, W windows.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.levels.level import ModelOutput
from speechasym.recognition.trained_model import TrainedModel

WINDOW_S, HOP_S = 3.0, 1.0
CHANGE = 4.0  # cost of a change, in log odds
SHORT = 1.5  # log odds in favour of a recording of one window: nothing else can speak for it
CERTAIN = 0.8  # mean posterior of a symbol that counts as certain
NUMBERS = 8  # that describe a window, for each head


class Logistic(NamedTuple):
    """A logistic function."""

    bias: float
    weights: tuple[float, ...]  # (K,)

    def log_odds(self, evidence: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (N,) log odds for evidence (N, K)."""
        return self.bias + evidence @ np.array(self.weights)

    def __call__(self, evidence: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (N,) probabilities for evidence (N, K)."""
        return 1 / (1 + np.exp(-self.log_odds(evidence).clip(-50, 50)))


class SpeechDetector(NamedTuple):
    """Where there is speech, by the heads of a model."""

    heads: tuple[str, ...]
    logistic: Logistic  # of the `NUMBERS` of each head, one head after the other

    def spans(
        self, trained: TrainedModel, output: ModelOutput, offset: float = 0.0
    ) -> list[tuple[float, float]]:
        """Return start and end in s of the stretches with speech, in order.

        Args:
            output: of the model for features that begin at `offset` s.
        """
        begins, rows = windows(trained, output, self.heads, offset)
        log_odds = self.logistic.log_odds(rows) + (SHORT if len(begins) == 1 else 0.0)
        spans: list[tuple[float, float]] = []
        for begin, speech in zip(begins.tolist(), steady(log_odds), strict=True):
            if speech and spans and spans[-1][1] >= begin:
                spans[-1] = spans[-1][0], begin + WINDOW_S
            elif speech:
                spans.append((begin, begin + WINDOW_S))
        return spans


def windows(
    trained: TrainedModel, output: ModelOutput, heads: Sequence[str], offset: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where windows begin (W,), s, and the numbers that describe them (W, K).

    A recording that is shorter is one window; one without steps has none.
    """
    steps = [trained.posteriors(output, head, offset) for head in heads]
    if not all(len(head.times) for head in steps):
        return np.zeros(0), np.zeros((0, NUMBERS * len(heads)))
    first = min(float(head.times[0, 0]) for head in steps)
    last = max(float(head.times[-1, 1]) for head in steps)
    count = 1 + max(0, int(np.ceil((last - first - WINDOW_S) / HOP_S)))
    begins = np.linspace(first, max(first, last - WINDOW_S), count)
    parts = [_described(p.log_probs.numpy(), p.times[:, 0], begins, last) for p in steps]
    return begins, np.concatenate(parts, 1)


def _described(
    log_probs: NDArray[np.float32], starts: NDArray[np.float64], begins: NDArray, last: float
) -> NDArray[np.float64]:
    """Return (W, NUMBERS) for one head, whose steps begin at `starts` (S,)."""
    p = np.exp(log_probs, dtype=np.float64)
    best, nonblank = log_probs.argmax(1), 1 - p[:, 0]
    entropy = -(p * log_probs).sum(1)
    begun = np.flatnonzero(np.diff(best, prepend=-1))
    posterior = np.add.reduceat(p.max(1), begun) / np.diff(begun, append=len(best))
    symbols, posterior = begun[best[begun] > 0], posterior[best[begun] > 0]
    rows = []
    for begin in begins.tolist():
        a = min(int(np.searchsorted(starts, begin - 1e-6)), len(starts) - 1)
        b = max(a + 1, int(np.searchsorted(starts, begin + WINDOW_S)))
        seconds = max(min(WINDOW_S, last - begin), HOP_S / 10)
        i, j = np.searchsorted(symbols, [a, b])
        certain = posterior[i:j]
        share = p[a:b, 1:].mean(0) / max(1e-9, p[a:b, 1:].mean(0).sum())
        spoken = entropy[a:b][nonblank[a:b] > 0.5]
        rows.append([
            certain.mean() if j > i else 0.0,
            (certain > CERTAIN).sum() / seconds,
            (j - i) / seconds,
            entropy[a:b].mean(),
            nonblank[a:b].mean(),
            nonblank[a:b].std(),
            -(share * np.log(share + 1e-9)).sum(),  # variety
            spoken.mean() if len(spoken) else 0.0,
        ])  # fmt: skip
    return np.array(rows)


def steady(log_odds: NDArray[np.float64], change: float = CHANGE) -> list[bool]:
    """Return which windows are speech: the likeliest states where each change has a cost.

    Example:
        >>> steady(np.array([9.0, 9.0, -1.0, 9.0]))
        [True, True, True, True]
    """
    scores, switched = np.zeros(2), []
    for value in log_odds:
        other = scores[::-1] - change
        switched.append(other > scores)
        scores = np.maximum(scores, other) + np.array([-value, value]) / 2
    state, states = int(scores[1] > scores[0]), []
    for row in reversed(switched):
        states.append(bool(state))
        state = 1 - state if row[state] else state
    return states[::-1]
