"""Slaney's mel scale: centre frequencies of the bands of `mel.LogMel`."""

import math

import numpy as np
from numpy.typing import NDArray

LOW_HZ = 20.0  # lower edge of the lowest band
_LINEAR_HZ, _HZ_PER_MEL, _LOG_STEP = 1000.0, 200 / 3, math.log(6.4) / 27  # linear, then logarithmic


def band_centres(channels: int, sample_rate: int) -> NDArray[np.float64]:
    """Return the centre frequencies in Hz (channels,), equally spaced in mel up to half the rate.

    Example:
        >>> band_centres(80, 16000)[[0, -1]].round(1)  # 20 Hz and 8 kHz are the edges
        array([  57.3, 7725.1])
    """
    linear = _LINEAR_HZ / _HZ_PER_MEL  # mel
    low, high = (
        hz / _HZ_PER_MEL if hz < _LINEAR_HZ else linear + math.log(hz / _LINEAR_HZ) / _LOG_STEP
        for hz in (LOW_HZ, sample_rate / 2)
    )
    mel = np.linspace(low, high, channels + 2)[1:-1]
    above = _LINEAR_HZ * np.exp(_LOG_STEP * np.maximum(mel - linear, 0))
    return np.where(mel < linear, mel * _HZ_PER_MEL, above)
