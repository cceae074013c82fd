"""The options of the filterbank."""

import pytest

from speechasym.auditory import filterbank
from speechasym.errors import ConfigError


@pytest.mark.parametrize("sample_rate", [8000, 16000, 44100])
@pytest.mark.parametrize("rate", [0.71, 44.3, 99.9, 123.456, 3999])
def test_rates_suggested_are_rates_accepted(sample_rate, rate):
    with pytest.raises(ConfigError) as caught:
        filterbank.hop(sample_rate, rate)
    tried = [float(word.strip(",")) for word in caught.value.args[2].split() if word[0].isdigit()]
    assert len(set(tried)) == 2
    assert len({filterbank.hop(sample_rate, suggested) for suggested in tried}) == 2


def test_rate_given_with_six_digits():
    assert filterbank.hop(16000, 33.3333) == 480
    with pytest.raises(ConfigError):
        filterbank.hop(16000, 33.33)
