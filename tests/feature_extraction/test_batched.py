"""Features of a batch in torch: those of each recording by itself, whatever the padding."""

import numpy as np
import pytest
import torch
from asymmetry_signals import noise, quiet_first, swell, tone

from speechasym.errors import ConfigError
from speechasym.feature_extraction.batched import BatchedFeatures
from speechasym.feature_extraction.sets import feature_config

# odd lengths; silence after sound; less than half a frame
SIGNALS = [
    quiet_first(tone(np.linspace(300, 3000, 8000), 0.5))[:15999],
    swell(7777),
    np.concatenate([np.zeros(999), noise(5000, 0.02), np.zeros(4001)]).astype(np.float32),
    noise(50, 0.1),
]
CASES = [  # options, largest difference in the columns' units
    ({"features": "asymmetry", "compact": True}, 5e-5),
    ({"features": "asymmetry", "compact": True, "normalise": "utterance"}, 2e-4),
    ({"features": "asymmetry", "compact": True, "normalise": "running"}, 1e-3),
    ({"features": "asymmetry", "compact": True, "align": True, "channels": 9}, 5e-5),
    ({"features": "asymmetry", "compact": True, "kinds": ("phase",), "rate": 50.0}, 5e-5),
    ({"features": "gammatone", "channels": 33}, 1e-2),
    ({"features": "gammatone", "align": True, "channels": 9}, 1e-2),
    ({"features": "logmel"}, 1e-4),
    ({"features": "mfcc", "normalise": "utterance"}, 1e-3),
]


def batch(signals, extra=0):
    """(B, T) with NaN beyond each signal, and lengths."""
    lengths = torch.tensor([len(x) for x in signals])
    samples = torch.full((len(signals), int(lengths.max()) + extra), torch.nan)
    for row, x in zip(samples, signals, strict=True):
        row[: len(x)] = torch.from_numpy(x)
    return samples, lengths


@pytest.mark.parametrize(("options", "most"), CASES)
def test_a_batch_equals_its_recordings(options, most):
    config = feature_config(**options)
    got, frames = BatchedFeatures(config)(*batch(SIGNALS, 801))
    assert got.dtype == torch.float32
    for row, count, x in zip(got.numpy(), frames.tolist(), SIGNALS, strict=True):
        want = np.concatenate(list(config.frames([x])))
        assert count == len(want) and not row[count:].any()
        np.testing.assert_allclose(row[:count], want, atol=most)


def test_frequency_and_phase_where_there_is_sound():
    config = feature_config(tracks=("frequency", "phase"), channels=12)
    x = swell(8000) + noise(8000, 0.01)
    got, _ = BatchedFeatures(config)(*batch([x, SIGNALS[0]]))
    want = np.concatenate(list(config.frames([x])))
    off = got[0, : len(want)].numpy() - want
    off[:, 12:] -= np.rint(off[:, 12:])
    assert np.abs(off).max() < 2e-3


def test_neighbours_in_the_batch_do_not_matter():
    module = BatchedFeatures(feature_config(features="asymmetry", compact=True, channels=16))
    alone, _ = module(*batch(SIGNALS[1:2]))
    beside, _ = module(*batch([SIGNALS[0], SIGNALS[1]], 5000))
    torch.testing.assert_close(beside[1, : alone.shape[1]], alone[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("options", [{"features": "asymmetry", "compact": True}, {}])
def test_batches_without_recordings_or_samples(options):
    module = BatchedFeatures(feature_config(**options))
    y, frames = module(torch.zeros(0, 1600), torch.zeros(0, dtype=torch.long))
    assert y.shape[0] == 0 and not len(frames)
    y, frames = module(torch.zeros(2, 0), torch.zeros(2, dtype=torch.long))
    assert y.shape[:2] == (2, 0) and frames.tolist() == [0, 0]
    y, frames = module(torch.full((2, 1600), torch.nan), torch.tensor([1600, 0]).mul(0))
    assert not y.any() and frames.tolist() == [0, 0]


def test_the_full_set_is_for_the_cpu():
    with pytest.raises(ConfigError, match="compact"):
        BatchedFeatures(feature_config(features="asymmetry"))


@pytest.mark.gpu
@pytest.mark.parametrize(("options", "most"), CASES)
def test_cuda_equals_the_cpu(options, most):
    module = BatchedFeatures(feature_config(**options))
    samples, lengths = batch(SIGNALS)
    want, frames = module(samples, lengths)
    got, on_device = module.cuda()(samples.cuda(), lengths.cuda())
    assert on_device.tolist() == frames.tolist()
    torch.testing.assert_close(got.cpu(), want, atol=5 * most, rtol=0)


@pytest.mark.gpu
def test_cuda_is_not_waited_for():
    module = BatchedFeatures(feature_config(features="asymmetry", compact=True)).cuda()
    samples, lengths = (part.cuda() for part in batch(SIGNALS))
    module(samples, lengths)  # the first call fills caches
    torch.cuda.set_sync_debug_mode("error")
    try:
        features, _ = module(samples, lengths)  # raises if it waits
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert features.is_cuda and len(features) == len(samples)
