"""Models: faults named before features are computed, and runs of other versions."""

import json

import pytest
import tiny
import torch

from speechasym.errors import CheckpointError, ConfigError
from speechasym.training import (
    dataset,
    loop,
    models,
)
from speechasym.training.config import read_config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda heads: {}, "has no head phones \\(heads: none\\)"),
        (lambda heads: {"phones": (heads["phones"][0][..., :3], heads["phones"][1])}, "steps, 5"),
        (
            lambda heads: {"phones": (heads["phones"][0], heads["phones"][1] + 99)},
            "but reports",
        ),
    ],
)
def test_a_model_that_does_not_fit_is_named(tmp_path, words, change, message):
    class Wrong(tiny.Tiny):
        def forward(self, features, lengths):
            result = super().forward(features, lengths)
            return tiny.Output(change(result.heads), result.losses)

    def build(mapping, inputs, sizes):
        return Wrong(inputs, sizes)

    with pytest.raises(ConfigError, match=message):
        loop.train(tiny.config(words), tmp_path, build=build, show_progress=False)


def test_a_model_of_another_version_is_named(tmp_path, words):
    tiny.run(words, tmp_path, "steps=2")
    wide = lambda mapping, inputs, sizes: tiny.Tiny(inputs, sizes, width=17)  # noqa: E731
    with pytest.raises(
        CheckpointError, match=r"model\.json: was written by another version: .*conv\.weight"
    ):
        models.open_model(tmp_path, wide)
    meta = json.loads((tmp_path / "model.json").read_text())
    meta["config"]["klip"] = meta["config"].pop("clip")
    for content, what in ((meta, "klip: unknown key"), (meta | {"config": []}, "mapping")):
        (tmp_path / "model.json").write_text(json.dumps(content))
        with pytest.raises(
            CheckpointError, match=rf"by another version: .*{what}.* which wrote it"
        ):
            models.open_model(tmp_path, tiny.build)
    del meta["inventories"]
    meta["config"]["clip"] = meta["config"].pop("klip")
    (tmp_path / "model.json").write_text(json.dumps(meta))
    with pytest.raises(CheckpointError, match="it lacks 'inventories'"):
        models.open_model(tmp_path, tiny.build)


def test_a_fault_of_the_model_is_reported_before_features(tmp_path, words, monkeypatch):
    monkeypatch.setattr(dataset, "load", None)
    for word, message in (
        ("model.every.units=1", r"model\.levels\.0\.units: a single unit"),
        ("model.every.law=zipf", r"model\.levels\.0\.law: must be one of .*'zipf'"),
        ("model.heads.phones.level=9", r"^model: heads\.phones\.level: level 9 does not exist"),
    ):
        with pytest.raises(ConfigError, match=message):
            loop.train(tiny.config(words, word), tmp_path / "r", show_progress=False)


@pytest.mark.parametrize("method", ["asymmetry", "lsuv"])
def test_a_run_is_initialised_as_configured(few_words, tmp_path, method):
    small = "model={preset: tiny, every: {width: 8, units: 4, repeat: 1}}"
    common = [
        *few_words,
        small,
        "steps=1",
        "learning_rate=1e-9",
        "device=cpu",
        f"initialise={method}",
    ]
    config = read_config(None, common)
    loop.train(config, tmp_path / "one", show_progress=False)
    trained, opened, _ = models.open_model(tmp_path / "one")
    assert opened.initialise == method
    data = dataset.load(config.data, config.data.train, list(config.heads.used), seed=0)
    want = models.build_model(config, data.columns, data.inventories)
    untouched = want.levels[0].units.key.weight.clone()
    models.initialise_model(want, data, config)
    key = trained.levels[0].units.key.weight
    torch.testing.assert_close(key, want.levels[0].units.key.weight, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(key, untouched, atol=1e-2)


def test_enough_audio_is_read_to_initialise(few_words):
    seen = []

    class Model(tiny.Tiny):
        def initialise(self, batches):
            seen.extend(batches)

    config = tiny.config(few_words, "batch_seconds=2")
    data = dataset.load(config.data, config.data.train, ["phones"], seed=0)
    models.initialise_model(Model(data.columns, {"phones": 5}), data, config)
    assert len(seen) == models.FIRST_BATCHES


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["initialise=xavier"], "initialise.*xavier.*asymmetry"),
        (
            ["initialise=pca", "model={preset: recurrent}"],
            "initialise.*: pca needs a model of levels",
        ),
        (["initialise=pca", "model={kind: custom}"], "got custom"),
    ],
)
def test_an_initialisation_that_cannot_be_is_named(words, message):
    with pytest.raises(ConfigError, match=message):
        read_config(None, ["data.train=a", "data.dev=b", *words])
