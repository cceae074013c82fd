"""Levels that learn without labels: agreement of views, and runs without heads."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from helpers import tone

from speechasym.cli.main import main
from speechasym.corpora.manifests import Utterance, manifests_of
from speechasym.errors import ConfigError, SpeechAsymError
from speechasym.levels.hierarchy import build_model
from speechasym.training import dataset, loop
from speechasym.training.config import OWN, read_config
from speechasym.training.rules.views import disagreement, even
from speechasym.training.run_folder import METRICS

UNLABELLED = (
    "heads.phones=0", "learning={rule: local, local: [views, contrastive, next, predict]}",
    "data.augment.speeds=[0.9, 1.0]", "threads=1", "batch_seconds=3", "epochs=2", "device=cpu",
    "model.every={width: 8, units: 6}", "model.levels.0.stride=1", "learning_rate=1e-2",
    *tiny.FEATURES,
)  # fmt: skip


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return tiny.corpus(tmp_path_factory.mktemp("corpus"), 6)


def train(words, out, *more, **options):
    config = read_config(None, [*words, *UNLABELLED, *more])
    return loop.train(config, out, show_progress=False, **options)


def test_shares_are_evened_out():
    torch.manual_seed(0)
    share = torch.rand(600, 6).pow(4) * torch.tensor([100.0, 1, 1, 1, 1, 1])
    share = share / share.sum(1, keepdim=True)
    assert share.argmax(1).bincount(minlength=6)[0] > 400
    q = even(share)
    torch.testing.assert_close(q.sum(1), torch.ones(600))
    assert q.sum(0).min() > 60 and q.sum(0).max() < 240  # of 454


def test_equal_views_disagree_less_than_unequal_ones():
    model = build_model({"every": {"width": 8, "units": 6}}, 5, {})
    x = torch.randn(2, 40, 5, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([40, 40, 40, 40])

    def value(second):
        return disagreement(model(torch.cat([x, second]), lengths).levels[0]).item()

    assert value(x) < value(x.flip(1))


def test_a_faster_view_is_compared_step_by_step():
    model = build_model({"every": {"width": 8, "units": 6}, "levels": {0: {"stride": 1}}}, 5, {})
    level = model(torch.randn(2, 40, 5), torch.tensor([40, 20])).levels[0]
    slow, fast = level.activation[0, ::2], level.activation[1, :20]
    one = level.activation[0]
    two = fast.repeat_interleave(2, 0)
    expected = -(even(two) * one.log()).sum(1).mean() - (even(one) * two.log()).sum(1).mean()
    assert len(slow) == len(fast)
    torch.testing.assert_close(disagreement(level), expected / 2, rtol=1e-4, atol=1e-4)


def test_batches_hold_each_cut_twice(words):
    config = read_config(None, [*words, *UNLABELLED])
    path = config.data.train
    data = dataset.load(
        config.data, path, [], augment=config.data.augment, views=True, show_progress=False
    )
    batch, plain = data.batch([0, 1], 0), data.batch([0, 1])
    assert len(batch.ids) == 2 and len(batch.lengths) == 4 and len(plain.lengths) == 2
    ratio = batch.lengths[2:] / batch.lengths[:2]
    assert all(0.85 < r < 0.95 or 1.05 < r < 1.15 for r in ratio.tolist())


def test_a_run_without_labels(words, tmp_path, capsys):
    whole = train(words, tmp_path / "whole")
    lines = [json.loads(x) for x in (tmp_path / "whole" / METRICS).read_text().splitlines()]
    dev = [line[f"dev_loss_{OWN}"] for line in lines if f"dev_loss_{OWN}" in line]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert whole["finished"] and whole["target"] == OWN and min(losses) < losses[0]
    assert whole["best"] == min(dev)
    watched = [line for line in lines if "levels" in line]
    assert [row["head"] for row in watched[-1]["levels"]] == [None] * 3
    run = tmp_path / "whole"
    recording = next((Path(words[0].split("=")[1]).parent / "audio").glob("*.wav"))
    assert main(["transcribe", str(run), str(recording)]) == 2
    assert "no heads" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--cuts", words[1].split("=")[1]]) == 2
    assert "no heads" in capsys.readouterr().err
    assert main(["report", str(run), "--out", str(tmp_path / "r.html")]) == 2
    assert "no heads" in capsys.readouterr().err
    assert main(["plot", str(run), "--what", "curves", "--out", str(tmp_path / "c.png")]) == 0


def test_an_interrupted_run_resumes_to_the_bit(words, tmp_path, monkeypatch):
    one = train(words, tmp_path / "one", "epochs=1")
    monkeypatch.setattr(loop.environment, "stop_signals", _stops_after(3))
    part = train(words, tmp_path / "two", "epochs=1")
    monkeypatch.undo()
    assert not part["finished"]
    again = train(words, tmp_path / "two", "epochs=1", resume=True)
    assert again["dev"] == one["dev"]


def _stops_after(count):
    from contextlib import contextmanager

    @contextmanager
    def signals():
        class Later(list):
            asked = 0

            def __bool__(self):
                self.asked += 1
                return self.asked > count

        yield Later()

    return signals


@pytest.mark.parametrize(
    ("more", "words_of_error"),
    [
        (["learning=backprop+inter"], "all weights are 0, so that levels"),
        (["learning.local=[ctc]"], "all weights are 0, so that levels"),
        (["data.augment.speeds=[1.0]"], "needs two speeds"),
        (["heads.phones=1"], "views needs a run without heads"),
        (["target=phones"], "is not a head in use"),
    ],
)
def test_bad_configurations(more, words_of_error):
    with pytest.raises(ConfigError) as error:
        read_config(None, ["data.train=a", "data.dev=b", *UNLABELLED, *more])
    assert words_of_error in str(error.value)


def test_nothing_but_silence_is_refused(tmp_path):
    path = tone(tmp_path / "silent.wav", np.zeros(16000))
    cut = Utterance(id="a", path=path, place="a", sample_rate=16000, frames=16000, text="",
                    speaker="s", phones=())  # fmt: skip
    manifests_of([cut]).cuts.to_file(tmp_path / "cuts.jsonl")
    words = [f"data.{name}={tmp_path / 'cuts.jsonl'}" for name in ("train", "dev")]
    with pytest.raises(SpeechAsymError, match="silence"):
        train(words, tmp_path / "run")
