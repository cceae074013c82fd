"""Speech as a telephone passes it on."""

import numpy as np
from numpy.typing import NDArray

MU = 255  # of the companding in 8 bits, ITU-T G.711


def by_telephone(
    x: NDArray, rate: float, lowest: float = 300.0, highest: float = 3400.0
) -> NDArray[np.float64]:
    """Keep a band of frequencies, and round to 8 bits by mu-law; the delay is 0.

    Args:
        x: samples (T,).
        rate: of them, Hz.
        lowest, highest: ends of the band, Hz, where the gain is a half. It falls over a fifth of
            `lowest`, and a tenth of `highest`.
    """
    size = 1 << len(x).bit_length()
    hertz = np.fft.rfftfreq(size, 1 / rate)
    rises = np.clip((hertz - 0.9 * lowest) / (0.2 * lowest), 0, 1)
    falls = np.clip((1.05 * highest - hertz) / (0.1 * highest), 0, 1)
    gain = np.sin(rises * np.pi / 2) ** 2 * np.sin(falls * np.pi / 2) ** 2
    y = np.fft.irfft(np.fft.rfft(x, size) * gain, size)[: len(x)]
    peak = np.abs(y).max(initial=0)
    if not peak:
        return y
    squeezed = np.log1p(MU * np.abs(y) / peak) / np.log1p(MU)
    rounded = np.round(squeezed * 127) / 127
    return np.sign(y) * np.expm1(rounded * np.log1p(MU)) * peak / MU
