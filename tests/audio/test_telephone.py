"""Speech as a telephone passes it on."""

import numpy as np
import pytest

from speechasym.audio.telephone import by_telephone

RATE = 16000


@pytest.mark.parametrize(
    ("hertz", "kept"), [(100, 0), (300, 0.5), (1000, 1), (3400, 0.5), (5000, 0)]
)
def test_band(hertz, kept):
    t = np.arange(4000) / RATE
    x = np.sin(2 * np.pi * hertz * t) + np.sin(2 * np.pi * 1500 * t)
    y = by_telephone(x, RATE)
    middle = slice(1000, 3000)  # 2000 samples: whole periods of all tones
    found = 2 * abs(np.mean(y[middle] * np.exp(-2j * np.pi * hertz * t[middle])))
    assert found == pytest.approx(kept, abs=0.03)


def test_rounding_follows_loudness():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(8000)
    x[:4000] *= 0.01
    band = by_telephone(x, RATE, 300, 3400)
    assert len(np.unique(band)) < 256  # 8 bits
    for part in (slice(100, 3900), slice(4100, 7900)):
        assert len(np.unique(band[part])) > 20


def test_silence_and_nothing():
    assert not by_telephone(np.zeros(100), RATE).any()
    assert len(by_telephone(np.zeros(0), RATE)) == 0
