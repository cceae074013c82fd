"""Does the known text of a recording fit what is said in it?

CTC's best path through the text is compared with the best path of all, which is what the model
reads: by how many nats the text is less likely, a symbol, in each stretch of 2 s. Noise makes both
paths less certain alike, so that the difference says more than the score of the alignment, and it
also notices what is said but missing from the text. docs/alignment.md has what it finds.

Shapes: S steps of a head, V classes, L symbols.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WINDOW_S, HOP_S = 2.0, 0.15
FEWEST = 3.3  # symbols a second that a stretch counts with at least: silence has none
LIMIT = 2.5  # nats a symbol; chosen on held-out readers
SMOOTH_S, EDGE = 0.3, 50.0  # a stretch begins and ends where so many nats a second are lost
MOSTLY = 0.7  # share of the recording from which on it is all of the text
LISTED = 3  # stretches that a warning names

Stretches = Sequence[tuple[float, float]]


class TextFit(NamedTuple):
    """How well a text fits a recording."""

    misfit: float  # nats a symbol by which the text is less likely than what is read, worst 2 s
    stretches: Stretches  # start and end in s, where that is more than `LIMIT`
    seconds: float  # of the recording

    def warning(self, name: str) -> str:
        """Return a sentence that says which part of a recording does not fit; "" if all does."""
        if not self.stretches:
            return ""
        says = f"{name}: the text does not fit what is said"
        if sum(b - a for a, b in self.stretches) > MOSTLY * self.seconds:
            return says
        parts = ", ".join(f"from {a:.1f} to {b:.1f} s" for a, b in self.stretches[:LISTED])
        more = len(self.stretches) - LISTED
        return f"{says} {parts}" + (f", and in {more} more places" if more > 0 else "")

    def later(self, start: float) -> "TextFit":
        """Return the fit of a part that begins at `start` in s."""
        moved = [(a + start, b + start) for a, b in self.stretches]
        return self._replace(stretches=moved)


def joined(fits: Sequence[TextFit], seconds: float) -> TextFit | None:
    """Return the fit of a recording from those of its parts; None without any."""
    if not fits:
        return None
    every = [stretch for fit in fits for stretch in fit.stretches]
    return TextFit(max(fit.misfit for fit in fits), every, seconds)


def text_fit(
    log_probs: NDArray[np.float32], spans: Sequence[tuple[int, int]], classes: Sequence[int],
    seconds: float,
) -> TextFit:  # fmt: skip
    """Compare the best path through a text with the best path of all.

    Args:
        log_probs: (S, V).
        spans: first step of each symbol (L,) of the text, and the one after its last.
        classes: (L,) of the symbols.
        seconds: duration of all steps.
    """
    steps = len(log_probs)
    step = seconds / steps
    path = np.zeros(steps, np.int64)
    for (a, b), number in zip(spans, classes, strict=True):
        path[a:b] = number
    lost = log_probs.max(1) - log_probs[np.arange(steps), path]
    best = log_probs.argmax(1)
    read = (best > 0) & (np.diff(best, prepend=0) != 0)
    written = np.bincount([(a + b) // 2 for a, b in spans], minlength=steps)
    size, hop = max(1, round(WINDOW_S / step)), max(1, round(HOP_S / step))
    first = np.arange(0, max(steps - size, 0) + hop, hop)
    first = np.minimum(first, max(steps - size, 0))
    last = np.minimum(first + size, steps)

    def within(x: NDArray) -> NDArray[np.float64]:
        sums = np.concatenate([[0.0], x.cumsum(dtype=np.float64)])
        return sums[last] - sums[first]

    symbols = np.maximum(within(written), within(read))
    misfit = within(lost) / np.maximum(symbols, FEWEST * WINDOW_S)
    bad = misfit > LIMIT
    width = max(1, round(SMOOTH_S / step))
    much = np.convolve(lost, np.full(width, 1 / width), "same")[:steps] > EDGE * step
    joint: list[list[int]] = []  # windows
    for a, b in zip(first[bad].tolist(), last[bad].tolist(), strict=True):
        if joint and a <= joint[-1][1]:
            joint[-1][1] = b
        else:
            joint.append([a, b])
    stretches = []
    for a, b in joint:
        at = a + np.flatnonzero(much[a:b])
        start, end = (at[0], at[-1] + 1) if len(at) else (a, b)
        stretches.append((round(float(start * step), 2), round(float(end * step), 2)))
    return TextFit(round(float(misfit.max()), 4), stretches, round(seconds, 3))
