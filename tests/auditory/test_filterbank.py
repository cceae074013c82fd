"""The options of the filterbank."""

import pytest

from speechasym.auditory import filterbank
from speechasym.errors import ConfigError


@pytest.mark.parametrize(
    ("sample_rate", "rate"),
    [(8000, 300.5), (8000, 1234.56), (16000, 777), (16000, 6000), (44100, 6000), (44100, 7000)],
)
def test_rates_suggested_are_rates_accepted(sample_rate, rate):
    with pytest.raises(ConfigError) as caught:
        filterbank.hop(sample_rate, rate)
    tried = [float(word.strip(",")) for word in caught.value.args[2].split() if word[0].isdigit()]
    assert len(set(tried)) == 2
    assert len({filterbank.hop(sample_rate, suggested) for suggested in tried}) == 2


@pytest.mark.parametrize(
    ("sample_rate", "rate", "hop", "warns"),
    [
        (44100, 100, 441, False), (22050, 100, 221, True), (11025, 100, 110, True),
        (16000, 33.3333, 480, False), (16000, 99.9, 160, True), (48000, 60, 800, False),
    ],
)  # fmt: skip
def test_frames_are_whole_samples_and_the_rate_is_theirs(sample_rate, rate, hop, warns, caplog):
    config = filterbank.FilterbankConfig(sample_rate=sample_rate, frame_rate=rate)
    assert filterbank.design(config).hop == hop
    assert config.frame_rate == sample_rate / hop
    assert bool(caplog.text) == warns
    caplog.clear()
    again = filterbank.FilterbankConfig(sample_rate=sample_rate, frame_rate=config.frame_rate)
    assert again == config and not caplog.text
