"""Signals for the tests of asymmetry features, and their tracks."""

import numpy as np

from speechasym.asymmetry import tracks
from speechasym.asymmetry.tracks import AsymmetryConfig
from speechasym.auditory.filterbank import FilterbankConfig

RATE = 16000


def noise(samples, level=0.1, seed=0):
    return (np.random.default_rng(seed).standard_normal(samples) * level).astype(np.float32)


def swell(samples=12000, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(samples) * np.linspace(0.01, 0.3, samples)).astype(np.float32)


def tone(hz, seconds=1.0, level=0.3, rate=RATE):
    """A sine; `hz` a number, or (T,) instantaneous frequencies."""
    t = np.arange(int(seconds * rate))
    turns = np.cumsum(np.broadcast_to(hz, t.shape)) / rate
    return (level * np.sin(2 * np.pi * turns)).astype(np.float32)


def quiet_first(x, seconds=0.5):
    """Faint noise before, so that the sound is not taken for the noise floor."""
    return np.concatenate([noise(int(seconds * RATE), 1e-4), x + noise(len(x), 1e-4, 1)])


def designed(compact=False, **options):
    bank = FilterbankConfig(**{"sample_rate": RATE} | options)
    return tracks.design(AsymmetryConfig(bank=bank, compact=compact))


def pooled(x, **options):
    d = designed(**options)
    return tracks.pool(x, d, tracks.start(d))[0], d
