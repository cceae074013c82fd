"""Does the asymmetry at a scale differ from that of noise? (C3)

What a scale finds in a recording is compared with what it finds in noises that share only the
recording's long-term spectrum: the Fourier magnitudes of the whole with random phases [1]. What
cannot be told from noise at one scale is left to the next.

[1] J. Theiler, S. Eubank, A. Longtin, B. Galdrikian, J. D. Farmer, "Testing for nonlinearity in
    time series: the method of surrogate data", Physica D 58, 77-94, 1992.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechasym.asymmetry import tracks
from speechasym.asymmetry.tracks import TRACKS, AsymmetryConfig
from speechasym.audio.sources import mono
from speechasym.auditory.filterbank import FilterbankConfig
from speechasym.config import check_count

LONGEST_S = 30.0  # from the beginning: longer stretches do not have one long-term spectrum


class Verdict(NamedTuple):
    """The result for one track at one scale."""

    track: str
    scale: int  # from 1
    observed: float  # root mean square of the signed asymmetry, 0 to 1
    noise: float  # its median in the noises
    p: float  # two-sided: share of noises at least as far from the middle, at least 2 / (n + 1)


def surrogate(x: NDArray, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return noise (T,) with the magnitude spectrum of x (T,): random phases, the same power."""
    spectrum = np.fft.rfft(x)
    phases = rng.uniform(0, 2 * np.pi, len(spectrum))
    phases[0] = 0
    if len(x) % 2 == 0:
        phases[-1] = 0  # the Nyquist frequency has only a sign
    turned = np.abs(spectrum) * np.exp(1j * phases)
    return np.fft.irfft(turned, len(x)).astype(np.float32)


def noise_test(
    x: ArrayLike, config: AsymmetryConfig | int, noises: int = 39, seed: int = 0
) -> list[Verdict]:
    """Compare the asymmetry of samples (T,) with that of noise, for every track and scale.

    Args:
        x: samples, full scale 1; the first 30 s are used.
        config: of the features, or a sample rate in Hz for the defaults.
        noises: number of noises; p is at least 2 / (noises + 1).
        seed: of their phases.

    Raises:
        ConfigError: fewer than 1 noise, or x is not (T,) finite samples.

    Example:
        >>> verdicts = speechasym.noise_test(x, 16000, noises=3)
        >>> verdicts[0].track, verdicts[0].scale, verdicts[0].observed > verdicts[0].noise
        ('amplitude', 1, True)
    """
    if isinstance(config, int):
        config = AsymmetryConfig(bank=FilterbankConfig(sample_rate=config))
    x = mono(x, name="x")
    check_count("noises", noises)
    d = tracks.design(config)
    x = x[: int(LONGEST_S * d.sample_rate)]
    rng = np.random.default_rng(seed)
    observed = _strength(x, d)
    null = np.stack([_strength(surrogate(x, rng), d) for _ in range(noises)])
    extreme = np.minimum((null >= observed).sum(0), (null <= observed).sum(0))
    p = np.minimum(1, 2 * (1 + extreme) / (noises + 1))
    middle = np.median(null, 0)
    return [
        Verdict(track, s + 1, float(observed[t, s]), float(middle[t, s]), float(p[t, s]))
        for t, track in enumerate(TRACKS)
        for s in range(len(config.scales))
    ]


def _strength(x: NDArray, d: tracks.Design) -> NDArray[np.float64]:
    """Return the root mean square of the signed asymmetry, (tracks, scales)."""
    state = tracks.start(d)
    total = np.zeros((len(TRACKS), len(d.config.scales)))
    count = 0
    for i in range(0, len(x), d.sample_rate):
        frames, state = tracks.pool(x[i : i + d.sample_rate], d, state)
        for t, track in enumerate(TRACKS):
            total[t] += (frames.asymmetry[track].astype(np.float64) ** 2).mean(2).sum(1)
        count += len(frames.power)
    return np.sqrt(total / max(1, count))
