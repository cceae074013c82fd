"""Speech in a room, as far as its direct sound and the decay of its reverberation go."""

import numpy as np
from numpy.typing import NDArray


def in_room(
    x: NDArray,
    rate: float,
    reverberation_s: float,
    direct_db: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Add a decaying tail of noise from 3 ms on; the direct sound keeps its time and size.

    Args:
        x: samples (T,).
        rate: of them, Hz.
        reverberation_s: time in which the tail falls by 60 dB.
        direct_db: energy of the direct sound over that of the tail.
        rng: draws the tail.
    """
    time = np.arange(round(reverberation_s * rate)) / rate
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / reverberation_s) * (time >= 0.003)
    tail *= 10 ** (-direct_db / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1
    size = 1 << (len(x) + len(tail)).bit_length()
    return np.fft.irfft(np.fft.rfft(x, size) * np.fft.rfft(tail, size), size)[: len(x)]
