"""Sounds that are not speech, made from numbers: noises, machines, signals, music.

Shapes: T samples.
"""

import numpy as np
from numpy.typing import NDArray

SOFTEST_DB, LOUDEST_DB = -50.0, -16.0  # of full scale, drawn


def sounds_without_speech(
    seconds: float, rate: float, rng: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    """Return {kind: samples (T,)} of sounds whose details and loudness are drawn.

    Example:
        >>> sounds = sounds_without_speech(15, 16000, np.random.default_rng(0))
        >>> sounds["hum"].shape
        (240000,)
    """
    size = round(seconds * rate)
    t = np.arange(size) / rate

    def noise(tilt: float, lowest: float = 0, highest: float = np.inf) -> NDArray[np.float64]:
        """Noise whose power falls as frequency**-tilt: 0 is white, 1 pink, 2 brown."""
        hertz = np.fft.rfftfreq(size, 1 / rate)
        gain = np.maximum(hertz, 20) ** (-tilt / 2) * ((hertz >= lowest) & (hertz <= highest))
        x = np.fft.irfft(np.fft.rfft(rng.standard_normal(size)) * gain, size)
        return np.asarray(x / x.std())

    def uneven(step_s: float, spread: float) -> NDArray[np.float64]:
        """Loudness that changes at random."""
        knots = np.arange(0, seconds + step_s, step_s)
        return np.exp(np.interp(t, knots, spread * rng.standard_normal(len(knots))))

    def struck(times: NDArray) -> NDArray[np.float64]:
        """Knocks at times in s."""
        clicks, decay = np.zeros(size), rng.uniform(0.003, 0.04)
        clicks[(times[times < seconds] * rate).astype(int).clip(0, size - 1)] = 1
        knock = np.exp(-np.arange(round(0.1 * rate)) / (decay * rate))
        return np.convolve(clicks, knock)[:size] * noise(0.4) + 1e-3 * noise(1)

    def music(beat_s: float) -> NDArray[np.float64]:
        """Plucked notes and chords."""
        x, begin = np.zeros(size), 0.0
        while begin < seconds:
            length = beat_s * rng.choice([0.5, 1, 1, 2])
            first = round(begin * rate)
            s = t[: min(size - first, round(2 * length * rate))]
            key, tilt = 110 * 2 ** (rng.integers(24) / 12), rng.uniform(0.7, 1.5)
            for interval in ((0, 4, 7), (0, 3, 7), (0,), (0, 7))[rng.integers(4)]:
                for k in range(1, 9):
                    hertz = key * 2 ** (interval / 12) * k
                    wave = np.sin(2 * np.pi * hertz * s + rng.uniform(0, 2 * np.pi))
                    envelope = np.minimum(1, s / 0.01) * np.exp(-s / beat_s)
                    x[first : first + len(s)] += wave * envelope / k**tilt
            begin += length
        return x

    hum = rng.uniform(40, 120)
    pitch = rng.uniform(300, 900) * 2 ** np.sin(2 * np.pi * rng.uniform(0.2, 2) * t)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    waves = 1 + np.sin(2 * np.pi * rng.uniform(2, 8) * t)
    kinds = {
        "white": noise(0), "pink": noise(1), "brown": noise(2), "band": noise(0, 300, 3000),
        "wobble": noise(1) * waves, "gusts": noise(1.4) * uneven(0.25, 1.0),
        "rattle": noise(0.6) * uneven(0.1, 1.5),
        "knocks": struck(np.cumsum(rng.exponential(1 / rng.uniform(2, 8), round(8 * seconds)))),
        "beat": struck(np.arange(0, seconds, 1 / rng.uniform(2, 6))),
        "hum": sum(np.sin(2 * np.pi * hum * k * t + k * k) / k for k in range(1, 20))
        + 0.02 * noise(0),
        "tone": np.sin(2 * np.pi * rng.uniform(200, 2000) * t),
        "siren": sum(np.sin(k * phase) / k for k in (1, 2, 3)),
        "fast music": music(rng.uniform(0.12, 0.25)), "music": music(rng.uniform(0.3, 0.6)),
        "slow music": music(rng.uniform(1, 2)),
    }  # fmt: skip
    loudness = 10 ** (rng.uniform(SOFTEST_DB, LOUDEST_DB, len(kinds)) / 20)
    sounds = {
        kind: (level * x / np.sqrt(np.mean(np.square(x)))).astype(np.float32)
        for level, (kind, x) in zip(loudness, kinds.items(), strict=True)
    }
    dither = rng.uniform(-1, 1, size) / 32768
    return sounds | {"dither": dither.astype(np.float32)}
