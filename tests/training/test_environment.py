"""Devices and memory."""

import pytest
import tiny
import torch

from speechasym.errors import ConfigError
from speechasym.training import environment, loop


def test_an_unknown_device():
    with pytest.raises(ConfigError, match="'tpu9' is not a device"):
        environment.select_device("tpu9")


def test_too_little_memory_is_named(tmp_path, words, monkeypatch):
    def large(*_):
        return torch.empty(2**60)

    monkeypatch.setattr(tiny.Tiny, "forward", large)
    with pytest.raises(ConfigError, match=r"batch_seconds: batches of 3 s need more memory"):
        tiny.run(words, tmp_path / "a")
    with pytest.raises(ConfigError, match="model: needs more memory"):
        loop.train(tiny.config(words), tmp_path / "b", build=large, show_progress=False)
