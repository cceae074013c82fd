"""Scalars for TensorBoard, by a stand-in of its writer."""

import json
import sys
from types import SimpleNamespace

import pytest
import tiny

from speechasym.errors import ConfigError
from speechasym.training import loop


@pytest.fixture
def scalars(monkeypatch):
    written, opened = [], []

    class SummaryWriter:
        def __init__(self, folder, purge_step):
            opened.append((folder, purge_step))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            opened.append("closed")

        def add_scalar(self, name, value, step):
            written.append((name, value, step))

    module = SimpleNamespace(SummaryWriter=SummaryWriter)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    return written, opened


def test_scalars_are_the_numbers_of_the_metrics(tmp_path, scalars):
    written, opened = scalars
    words = tiny.corpus(tmp_path, 6)
    config = tiny.config(words, "epochs=2", "tensorboard=true")
    out = tmp_path / "run"
    loop.train(config, out, build=tiny.build, show_progress=False)
    assert opened == [(str(out / "tensorboard"), 1), "closed"]
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    expected = {
        (row["step"], "learning_rate"): row["learning_rate"] for row in rows if "loss" in row
    }
    names = {"loss_phones": "loss/phones", "dev_error_phones": "dev_error/phones"}
    for row in rows:
        expected |= {(row["step"], names[key]): row[key] for key in names if key in row}
    found = {(step, name): value for name, value, step in written}
    assert expected.items() <= found.items()
    assert not any(name in ("step", "epoch", "widths") for name, _, _ in written)


def test_without_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    words = tiny.corpus(tmp_path, 6)
    config = tiny.config(words, "epochs=1", "tensorboard=true")
    with pytest.raises(
        ConfigError, match=r"tensorboard: is not installed.*speechasym\[tensorboard"
    ):
        loop.train(config, tmp_path / "run", build=tiny.build, show_progress=False)
