"""Is a level's asymmetry that of noise? (C3)

What a level finds in a recording is compared with what it finds in noises that have the
recording's own long-term spectrum and nothing else of it: the Fourier magnitudes of the whole with
random phases [1]. What cannot be told from noise at one level is the business of the next.

[1] J. Theiler, S. Eubank, A. Longtin, B. Galdrikian, J. D. Farmer, "Testing for nonlinearity in
    time series: the method of surrogate data", Physica D 58, 77-94, 1992.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechasym.asymmetry import tracks
from speechasym.errors import ConfigError

LONGEST_S = 30.0  # of a recording, from its beginning: more is no longer one long-term spectrum


class Verdict(NamedTuple):
    """One track at one level."""

    track: str
    level: int  # from 1
    observed: float  # root mean square of the signed asymmetry, 0 to 1
    noise: float  # its median in the noises
    p: float  # two-sided: the share of noises at least as far from the middle, at least 2 / (n + 1)


def surrogate(x: NDArray, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise (T,) with the magnitude spectrum of x (T,): random phases, the same power."""
    spectrum = np.fft.rfft(x)
    phases = rng.uniform(0, 2 * np.pi, len(spectrum))
    phases[0] = 0
    if len(x) % 2 == 0:
        phases[-1] = 0  # the Nyquist frequency has only a sign
    turned = np.abs(spectrum) * np.exp(1j * phases)
    return np.fft.irfft(turned, len(x)).astype(np.float32)


def noise_test(
    x: ArrayLike,
    config: tracks.AsymmetryConfig | int,
    noises: int = 39,
    seed: int = 0,
) -> list[Verdict]:
    """Samples (T,) -> for every track and level, its asymmetry beside that of noise.

    Args:
        x: samples, full scale 1; the first 30 s are used.
        config: of the extractors; a number is a sample rate in Hz with the defaults.
        noises: how many; p cannot be below 2 / (noises + 1).
        seed: of their phases.

    Raises:
        ConfigError: fewer than 1 noise, or x is not (T,) finite samples.
    """
    if isinstance(config, int):
        from speechasym.auditory.filterbank import FilterbankConfig

        config = tracks.AsymmetryConfig(bank=FilterbankConfig(sample_rate=config))
    x = np.asarray(x, np.float32)
    if noises < 1:
        raise ConfigError("noises", f"{noises} is less than 1", "39 tell apart at 5 %")
    if x.ndim != 1 or not x.size or not np.isfinite(x).all():
        raise ConfigError("x", "finite mono samples (T,) are expected", "Give one channel")
    d = tracks.design(config)
    x = x[: int(LONGEST_S * d.sample_rate)]
    rng = np.random.default_rng(seed)
    found = _strength(x, d)
    null = np.stack([_strength(surrogate(x, rng), d) for _ in range(noises)])
    above = (null >= found).sum(0)
    below = (null <= found).sum(0)
    p = np.minimum(1, 2 * (1 + np.minimum(above, below)) / (noises + 1))
    middle = np.median(null, 0)
    return [
        Verdict(track, i + 1, float(found[t, i]), float(middle[t, i]), float(p[t, i]))
        for t, track in enumerate(tracks.TRACKS)
        for i in range(len(d.config.levels))
    ]


def _strength(x: NDArray, d: tracks.Design) -> NDArray[np.float64]:
    """(tracks, levels) root mean square of the signed asymmetry over channels and frames."""
    state = tracks.start(d)
    total = np.zeros((len(tracks.TRACKS), len(d.config.levels)))
    count = 0
    for i in range(0, len(x), d.sample_rate):
        f, state = tracks.pool(x[i : i + d.sample_rate], d, state)
        for t, track in enumerate(tracks.TRACKS):
            index = f.asymmetry[track]
            total[t] += (index.astype(np.float64) ** 2).mean(2).sum(1)
        count += len(f.power)
    out: NDArray[np.float64] = np.sqrt(total / max(1, count))
    return out
