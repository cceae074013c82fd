"""The test against noise: its surrogates, and its verdicts on noise and on ramps."""

import numpy as np
import pytest
from asymmetry_signals import RATE, noise, quiet_first

import speechasym
from speechasym.asymmetry.surrogates import surrogate
from speechasym.asymmetry.tracks import TRACKS


def test_surrogates_keep_the_spectrum_only():
    x = quiet_first(noise(8000) * np.linspace(0, 1, 8000, dtype=np.float32))
    for size in (len(x), len(x) - 1):
        y = surrogate(x[:size], np.random.default_rng(0))
        np.testing.assert_allclose(np.abs(np.fft.rfft(y)), np.abs(np.fft.rfft(x[:size])), atol=0.02)
        assert np.abs(np.corrcoef(x[:size], y)[0, 1]) < 0.3


def test_noise_is_noise_and_ramps_are_not():
    ramps = np.tile(np.exp(np.linspace(-5, 0, 1600)), 15).astype(np.float32) * noise(24000, 0.3)
    ramps = quiet_first(ramps)
    found = speechasym.noise_test(noise(24000), RATE, noises=39)
    assert [v.scale for v in found] == [1, 2, 3, 4] * 4
    assert [v.track for v in found[::4]] == list(TRACKS)
    assert np.mean([v.p <= 0.05 for v in found]) <= 0.2  # 5 % are expected
    loud = {(v.track, v.scale): v for v in speechasym.noise_test(ramps, RATE, noises=39)}
    assert loud["amplitude", 3].p == 0.05 and loud["amplitude", 3].observed > 0.1
    again = speechasym.noise_test(noise(24000), RATE, noises=39)
    assert again == found


def test_bad_input():
    for x in (np.zeros((3, 100)), np.zeros(0), np.array([0.0, np.nan])):
        with pytest.raises(speechasym.ConfigError, match=r"^x: (.*shape|sample 1 is nan)"):
            speechasym.noise_test(x, RATE)
    with pytest.raises(speechasym.ConfigError, match="must be an integer >= 1"):
        speechasym.noise_test(noise(1000), RATE, noises=0)
