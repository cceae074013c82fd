"""Segments: one stream of features, cut where it is quiet, with little in memory."""

from dataclasses import replace

import numpy as np
import pytest
from toy import RATE, utterance

from speechasym.errors import ConfigError
from speechasym.feature_extraction.sets import LogMelFeatures, feature_config
from speechasym.recognition import segments as segments_module
from speechasym.recognition.segments import GRID, segments

FEATURES = (
    {"features": "gammatone", "channels": 8},
    {"features": "asymmetry", "compact": True, "channels": 8},
    {"features": "logmel", "normalise": "running"},
    {"features": "mfcc", "rate": 50},
    {"features": "gammatone", "channels": 8, "align": True, "normalise": "utterance"},
)


@pytest.mark.parametrize("options", FEATURES, ids=lambda o: "-".join(map(str, o.values())))
def test_segments_are_one_stream(options):
    """Their rows, margins too, are those of the whole recording; nothing is left out or twice."""
    config = feature_config(**options)
    x, said, _ = utterance(["am", "mass", "a", "a", "mass", "am", "am", "mass", "mass", "a"])
    x = x.astype(np.float32)[:-13]
    blocks = [x[n : n + 1234] for n in range(0, len(x), 1234)]
    plain = config if config.normalise == "running" else replace(config, normalise="none")
    whole = np.concatenate(list(plain.frames(blocks)))
    done = 0
    found = list(segments(blocks, config, 1.5))
    for part in found:
        assert part.start == done and 0 < part.end - part.start <= 1.5 * config.rate
        first = max(0, part.start - 2 * config.rate)
        assert part.first % GRID == 0 and first - GRID < part.first <= first
        last = min(len(whole), part.end + round(2 * config.rate))
        np.testing.assert_array_equal(part.rows, whole[part.first : last])
        assert not part.silent
        done = part.end
        if part is not found[-1]:
            assert part.until == done / config.rate
            assert not [a for a, b, _ in said if a + 0.03 < part.until < b - 0.03]
    assert done == len(whole) and found[-1].until == pytest.approx(len(x) / RATE)


def test_segments_keep_little_in_memory():
    config = LogMelFeatures()
    noise = np.random.default_rng(1).normal(0, 0.1, RATE).astype(np.float32)
    read = 0

    def reading():
        nonlocal read
        for _ in range(60):
            read += 1
            yield noise

    longest = 4
    for part in segments(reading(), config, longest):
        # the stretch, its margin, a block, and what a frame is late by
        assert read - part.end / config.rate <= longest + 2 + 1 + 0.1
        assert len(part.rows) <= (longest + 4) * config.rate + GRID
    assert read == 60


def test_segments_of_what_is_short_silent_or_not_there():
    config = LogMelFeatures()
    (one,) = segments([np.ones(5, np.float32)], config, 1.0)
    assert (one.first, one.start, one.end, one.silent) == (0, 0, 1, False)
    assert one.until == 5 / RATE
    assert all(part.silent for part in segments([np.zeros(5 * RATE, np.float32)], config, 1.0))
    assert list(segments([], config)) == []
    for longest in (0, 0.5, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="longest"):
            list(segments([], config, longest))


def test_quietest():
    power = np.full(50, 9.0)
    power[[20, 21, 22, 40]] = 0
    assert segments_module._quietest(power, 10, 48, 3) == 21
    assert segments_module._quietest(power, 30, 48, 1) == 40
    assert segments_module._quietest(power, 1, 2, 99) == 1
