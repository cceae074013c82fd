"""What levels hold, frame by frame: each frame has the values of the step that spans it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import tone
from toy import RATE, utterance

from speechasym.errors import AudioError, CheckpointError, ConfigError
from speechasym.levels.hierarchy import build_model
from speechasym.recognition.recogniser import activations

WIDTH, UNITS = 24, 8  # of both levels of the toy run


@pytest.fixture(scope="module")
def samples():
    return utterance(["mass", "am"])[0].astype(np.float32)[:-300]


def test_each_frame_has_the_values_of_the_step_that_spans_it(trained, samples):
    rows = trained.features(samples)
    assert len(rows) % 3  # the last step of the lowest level is shorter than its stride
    output = trained.output(rows)
    found = [level.at_frames() for level in activations(samples, trained, RATE)]
    assert len(found) == len(output.levels) == 2
    heads = {0: {"phones": 1}, 1: {"letters": 2, "words": 1}}
    for number, (level, own) in enumerate(zip(output.levels, found, strict=True)):
        assert own.y.shape == (len(rows), WIDTH) and own.units.shape == (len(rows), UNITS)
        assert {h: p.shape[1] for h, p in own.log_posteriors.items()} == heads[number]
        steps = int(level.mask.sum())
        assert steps < len(rows)
        covered = []
        for s in range(steps):
            for frame in range(int(level.start[0, s]), int(level.end[0, s])):
                covered.append(frame)
                assert own.frames[frame, 0] == level.start[0, s]
                assert own.times[frame, 1] == pytest.approx(
                    max(0, int(level.end[0, s]) / 100 - 0.01), abs=1e-6
                )
                assert torch.equal(own.y[frame], level.y[0, s])
                assert torch.equal(own.units[frame], level.activation[0, s])
                for head, slots in heads[number].items():
                    for k in range(slots):
                        row = output.heads[head][0][0, s * slots + k]
                        assert torch.equal(own.log_posteriors[head][frame, k], row)
        assert covered == list(range(len(rows)))


def test_posteriors_are_of_blank_and_symbols(trained, samples):
    for level in activations(samples, trained, RATE):
        for head, found in level.log_posteriors.items():
            assert found.shape[2] == 1 + len(trained.inventories[head])
            assert np.allclose(found.exp().sum(-1), 1, atol=1e-5)


def test_files_of_any_rate(trained, samples, tmp_path):
    import soxr

    plain = activations(samples, trained.folder, RATE)
    slow = tone(tmp_path / "x.wav", samples, RATE)
    fast = tone(tmp_path / "y.wav", soxr.resample(samples, RATE, 48000), 48000)
    for path, tolerance in ((slow, 1e-2), (fast, 0.2)):
        for own, other in zip(activations(path, trained), plain, strict=True):
            assert own.y.shape == other.y.shape
        lowest = activations(path, trained)[0].y
        assert (lowest - plain[0].y).abs().mean() < tolerance * plain[0].y.std()


def test_a_level_without_units(trained, samples):
    model = trained.config.model
    lowest, upper, *rest = model.levels
    bare = replace(model, levels=(lowest, replace(upper, units=0, events="none"), *rest))
    sizes = {head: len(symbols) for head, symbols in trained.inventories.items()}
    torch.manual_seed(0)
    other = trained._replace(model=build_model(bare, 16, sizes).eval())
    lower, upper = activations(samples, other)
    assert lower.units is not None and upper.units is None
    assert len(upper.at_frames().y) == len(lower.at_frames().y)


def test_bad_input(trained, samples, tmp_path):
    with pytest.raises(ConfigError, match="sample_rate: must be whole Hz > 0, got -1"):
        activations(samples, trained, -1)
    with pytest.raises(ConfigError, match="shape"):
        activations(np.zeros((3, 100)), trained, RATE)
    with pytest.raises(ConfigError, match="columns"):
        trained.activations(np.zeros((10, 5), np.float32))
    with pytest.raises(AudioError):
        activations(tmp_path / "none.wav", trained)
    with pytest.raises(CheckpointError, match="is not the folder of a run"):
        activations(samples, tmp_path / "none")
    sizes = {head: len(symbols) for head, symbols in trained.inventories.items()}
    flat = build_model({"preset": "recurrent"}, 16, sizes).eval()
    other = trained._replace(model=flat, config=replace(trained.config))
    with pytest.raises(ConfigError, match="no levels"):
        activations(samples, other)
