"""Several runs as one recogniser, and runs that cannot read together."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import RATE, utterance

from speechasym.errors import ConfigError
from speechasym.recognition.ensemble import open_runs
from speechasym.recognition.evaluation import evaluate
from speechasym.recognition.recogniser import Recogniser
from speechasym.training import models


@pytest.fixture(scope="module")
def other(trained):
    """The toy run with slightly other parameters, as if of another seed."""
    model = copy.deepcopy(trained.model)
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1 + 0.02 * torch.randn_like(p))
    return trained._replace(model=model, fingerprint="other", folder=trained.folder / "other")


def test_two_runs_transcribe_and_are_evaluated(trained, other, toy):
    both = Recogniser([trained, other])
    assert (
        both.trained.name.endswith(" + other") and both.trained.parameters == 2 * trained.parameters
    )
    x = utterance(["mass", "am"])[0].astype(np.float32)
    transcript = both.transcribe(x, RATE)
    assert [i.label for i in transcript.phones] == ["m", "aa", "s", "aa", "m"]
    assert transcript.phones[0].start == pytest.approx(
        Recogniser(trained).transcribe(x, RATE).phones[0].start, abs=0.05
    )
    assert all(0 < i.confidence <= 1 for i in transcript.words)
    result = evaluate(both, toy / "test_cuts.jsonl.gz", show_progress=False, device="cpu")
    alone = evaluate(trained, toy / "test_cuts.jsonl.gz", show_progress=False, device="cpu")
    assert result.scores["phones"].rate <= alone.scores["phones"].rate + 0.05
    assert result.levels == []
    assert result.as_json()["run"] == [str(trained.folder), str(other.folder)]


def test_one_run_in_a_list_is_that_run(trained, toy):
    assert open_runs([trained]) is trained
    assert open_runs([toy / "run"]).fingerprint == trained.fingerprint


def changed_features(run, **options):
    config = run.config
    features = replace(config.data.features, **options)
    return run._replace(config=replace(config, data=replace(config.data, features=features)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda run: changed_features(run, rate=50.0), r"rate: .* 100.0, .*other .* 50.0"),
        (lambda run: changed_features(run, normalise="none"), "utterance, .* normalise none"),
        (
            lambda run: run._replace(written=run.written | {"phones": ("aa", "m", "zh")}),
            r"3 phones, 's' among them; .*other reads 3 phones, 'zh' among them",
        ),
        (lambda run: run._replace(inventories={"tones": ("a",)}), "no head in common"),
        (lambda run: run._replace(fingerprint=None), "given twice"),
    ],
)  # fmt: skip
def test_runs_that_cannot_read_together(trained, other, change, says):
    run = change(other)
    if run.fingerprint is None:
        run = run._replace(fingerprint=trained.fingerprint)
    with pytest.raises(ConfigError, match=says):
        open_runs([trained, run])


def test_runs_with_other_features_read_together(trained, other):
    other = changed_features(other, tracks=("frequency", "level"))
    torch.manual_seed(0)
    other = other._replace(model=models.build_model(other.config, 32, other.inventories).eval())
    x = utterance(["mass", "am"])[0].astype(np.float32)
    both = open_runs([trained, other])
    rows = both.features(x)
    assert rows.shape[1] == len(both.feature_config.columns()) == 48
    for run, columns in zip((trained, other), both.model.columns, strict=True):
        np.testing.assert_allclose(rows[:, columns], run.features(x), atol=1e-5)
    # an untrained net leaves everything open, so that the trained one is heard
    transcript = Recogniser(both).transcribe(x, RATE, longest=1.0)
    assert [i.label for i in transcript.phones] == ["m", "aa", "s", "aa", "m"]


def test_what_several_runs_cannot_do(trained, other):
    with pytest.raises(ConfigError, match="none is given"):
        Recogniser([])
    both, x = Recogniser([trained, other]), np.zeros(RATE, np.float32)
    with pytest.raises(ConfigError, match="cannot align together"):
        both.align(x, "mass")
    with pytest.raises(ConfigError, match="has no levels"):
        both.activations(x)
    by_mmi = other._replace(follow={"phones": np.eye(3)})
    with pytest.raises(ConfigError, match=r"beside rivals.* mmi=0"):
        Recogniser([trained, by_mmi])
