"""What is seen of long recordings from afar, computed once by a thread, with a preview until then.

Shapes: T samples, F frames of the overview, R rows.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechasym.explorer.recordings import Recording

SECONDS = 0.04  # of a frame, about
SAMPLED = 256  # moments of which a preview consists
YIELD_S = 0.2  # that an overview waits, before each part, for requests that are being answered
_one = threading.Lock()  # so that one overview is computed at a time, whatever is open
_requests = threading.Condition()
_answering: list[None] = []  # one entry for each request


class Overview:
    """Values (F, R) at about 25 frames a second over a whole recording.

    Args:
        hop: samples of a frame.
        recording: to read; what happens to its file ends the thread, and is seen by requests.
        rows: R.
        parts: yields the values of frame after frame, (n, R).
        preview: returns the values of `SAMPLED` moments, (SAMPLED, R), which are shown first.
        kind: type of the values that are kept.
    """

    def __init__(
        self, recording: Recording, hop: int, rows: int, parts: Callable[[], Iterator[NDArray]],
        preview: Callable[[], NDArray] | None = None, kind: Any = np.float32,
    ) -> None:  # fmt: skip
        self.rate = recording.rate / hop
        count = -(-recording.samples // hop)
        self.values = np.zeros((count, rows), kind)
        if preview is not None:
            nearest = np.arange(count) * SAMPLED // count
            self.values[:] = preview()[nearest]
        self.done = 0  # frames
        self.nbytes = self.values.nbytes
        self._parts = parts
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        parts = self._parts()
        while True:
            with _one:
                with _requests:
                    _requests.wait_for(lambda: not _answering, YIELD_S)
                try:
                    part = next(parts, None)
                except Exception:  # the request for this stretch raises the same
                    return
            if part is None:
                self.done = len(self.values)
                return
            part = part[: len(self.values) - self.done]
            self.values[self.done : self.done + len(part)] = part
            self.done += len(part)


@contextmanager
def answering() -> Iterator[None]:
    """Let overviews wait for what the block computes."""
    with _requests:
        _answering.append(None)
    try:
        yield
    finally:
        with _requests:
            _answering.pop()
            _requests.notify_all()


def hop(rate: int) -> int:
    """Return the samples of a frame of an overview."""
    return max(1, int(SECONDS * rate))


def moments(recording: Recording, before: int, size: int) -> NDArray[np.float32]:
    """Return `before` + `size` samples at each of `SAMPLED` moments, evenly spread."""
    rows = np.zeros((SAMPLED, before + size), np.float32)
    for row, start in zip(rows, np.arange(SAMPLED) * recording.samples // SAMPLED, strict=True):
        first = max(0, int(start) - before)
        x = recording.read(first, first + len(row))
        row[: len(x)] = x
    return rows
