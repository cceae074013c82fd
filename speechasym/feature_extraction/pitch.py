"""Pitch of samples, by librosa."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.ops import folder_lock

PITCH_HZ = (60.0, 500.0)  # range in which pitch is looked for


class Pitch(NamedTuple):
    """Pitch over time."""

    times: NDArray[np.float64]  # (F,) s
    hz: NDArray[np.float64]  # (F,) NaN where unvoiced


def pitch(x: NDArray[np.float32], rate: int) -> Pitch:
    """Return the pitch of samples x (T,) every 10 ms, by probabilistic YIN (`librosa.pyin`)."""
    low, high = PITCH_HZ
    hop = max(1, round(rate / 100))
    frame = 2 ** int(np.ceil(np.log2(3.5 * rate / low)))
    if not np.any(x):  # pyin would take the rounding of zeros for a voice
        times = np.arange(1 + len(x) // hop) * hop / rate
        return Pitch(times, np.full(len(times), np.nan))
    with folder_lock.first_use("librosa", "pyin"):
        import librosa

        hz, _, _ = librosa.pyin(
            x, fmin=low, fmax=min(high, 0.45 * rate), sr=rate, frame_length=frame, hop_length=hop
        )
    return Pitch(np.arange(len(hz)) * hop / rate, hz)
