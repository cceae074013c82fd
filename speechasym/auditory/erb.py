"""The ERB scale: bandwidths and spacing of the ear's filters.

ERB(f) = 24.7 (4.37 f / 1000 + 1) Hz is the equivalent rectangular bandwidth at f Hz [1]. The ERB
number (in Cam) is the integral of 1 / ERB(f) from 0 to f: equal steps on it hold equally many
filters. The often quoted 21.4 log10(1 + 0.00437 f) is that integral with a rounded constant; here
it is exact, so that bandwidth and spacing agree to the last digit.

[1] B. R. Glasberg, B. C. J. Moore, "Derivation of auditory filter shapes from notched-noise
    data", Hearing Research 47, 103-138, 1990.
[2] R. D. Patterson et al., "Complex sounds and auditory images", in Auditory Physiology and
    Perception, 429-446, 1992: the bandwidth parameter of a gammatone from its ERB.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

MIN_BANDWIDTH = 24.7  # Hz: ERB at 0 Hz [1]
EAR_Q = 1000 / (24.7 * 4.37)  # f / ERB(f) for f -> infinity [1]


def erb(frequency: ArrayLike) -> NDArray[np.float64]:
    """Return the equivalent rectangular bandwidth in Hz at `frequency` in Hz [1]; any shape."""
    return MIN_BANDWIDTH + np.asarray(frequency, np.float64) / EAR_Q


def hz_to_cam(frequency: ArrayLike) -> NDArray[np.float64]:
    """Convert frequency in Hz to ERB number in Cam; any shape."""
    return EAR_Q * np.log1p(np.asarray(frequency, np.float64) / (EAR_Q * MIN_BANDWIDTH))


def cam_to_hz(cam: ArrayLike) -> NDArray[np.float64]:
    """Convert ERB number in Cam to frequency in Hz; any shape. The inverse of `hz_to_cam`."""
    return EAR_Q * MIN_BANDWIDTH * np.expm1(np.asarray(cam, np.float64) / EAR_Q)


def erb_space(low: float, high: float, count: int) -> NDArray[np.float64]:
    """Return `count` frequencies in Hz, ascending, equally spaced in Cam, with both ends.

    A single frequency lies halfway between the ends on the Cam scale.
    """
    first, last = hz_to_cam(low), hz_to_cam(high)
    if count == 1:
        return cam_to_hz([(first + last) / 2])
    frequency = cam_to_hz(np.linspace(first, last, count))
    frequency[0], frequency[-1] = low, high  # exact ends, free of rounding
    return frequency


def gammatone_bandwidth(frequency: ArrayLike, order: int = 4) -> NDArray[np.float64]:
    """Return b in Hz that gives t^(order-1) exp(-2 pi b t) the ERB of its `frequency` in Hz [2].

    For order 4 this is the well-known 1.019 ERB.
    """
    factorials = math.pi * math.factorial(2 * order - 2)
    ratio = factorials * 2.0 ** (2 - 2 * order) / math.factorial(order - 1) ** 2
    return erb(frequency) / ratio
