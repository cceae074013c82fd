"""Features of cuts: equal to those of recordings, in noise, cached, in several processes."""

import ast
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from helpers import run_python, sine, tone

from speechasym.errors import AudioError
from speechasym.feature_extraction import sets
from speechasym.training import dataset, feature_cache
from speechasym.training.augment import Variant
from speechasym.training.cuts import read_noises
from speechasym.training.feature_cache import FeatureTask, features_of


def load(words, *more, heads=("phones",), **options):
    config = tiny.config(words, *more).data
    return dataset.load(config, config.train, heads, show_progress=False, **options)


def test_features_are_those_of_extract(few_words):
    data = load(few_words)
    recording = data.cuts[0].recording.sources[0].source
    want = sets.features(recording, features="logmel", rate=50, normalise="utterance")
    np.testing.assert_allclose(data.features[0][0].numpy(), want, atol=2e-4)
    batch = data.batch([0, 1])
    assert batch.lengths.tolist() == [len(data.features[n][0]) for n in (0, 1)]
    short = int(batch.lengths.argmin())
    assert not batch.features[short, batch.lengths[short] :].any()


def test_resampled_and_several_channels(tmp_path):
    from lhotse import Recording

    samples = sine(0.5, 44100)
    path = tone(tmp_path / "two.wav", np.stack([samples, 0.5 * samples], 1), 44100)
    computed = Recording.from_file(path).to_cut()
    config = sets.LogMelFeatures(rate=50)
    result = features_of(FeatureTask(computed, config))
    want = sets.features(path, features="logmel", rate=50)
    assert result.shape == want.shape
    loud = want > want.max() - 40
    assert np.abs(result - want)[loud].max() < 0.1
    config = sets.LogMelFeatures(rate=50, channel=1)
    result = features_of(FeatureTask(computed, config))
    want = sets.features(path, features="logmel", rate=50, channel=1)
    assert np.abs(result - want)[loud].max() < 0.1
    config = sets.LogMelFeatures(channel=2)
    with pytest.raises(AudioError, match="it has no channel 2"):
        features_of(FeatureTask(computed, config))


def test_noise_has_its_ratio(tmp_path, few_words, monkeypatch):
    tone(tmp_path / "n" / "hum.wav", 0.3 * np.random.default_rng(0).standard_normal(4000))
    (noise,) = read_noises(str(tmp_path / "n"))
    clean = load(few_words).cuts[0]
    got = []
    monkeypatch.setattr(
        sets.LogMelFeatures,
        "frames",
        lambda _, blocks: iter([got.append(x) or x[:, None] for x in blocks]),
    )
    config = sets.LogMelFeatures()
    for other in (None, noise):
        features_of(FeatureTask(clean, config, Variant(1.0, 0, 0.5, 6.0), other))
    x, mixed = got
    ratio = 10 * np.log10(np.mean(x**2) / np.mean((mixed - x) ** 2))
    assert ratio == pytest.approx(6, abs=0.01)  # noise is shorter, and repeated


def test_noise_from_a_folder_is_a_variant_of_its_own(tmp_path, few_words):
    tone(tmp_path / "deep" / "hum.wav", 0.3 * np.random.default_rng(0).standard_normal(9000))
    more = [f"data.augment.noise={tmp_path}", "data.augment.noise_share=1"]
    augment = tiny.config(few_words, *more).data.augment
    data, clean = load(few_words, *more, augment=augment), load(few_words)
    assert augment.variants == 2 and len(data.features[0]) == 2
    kept = [*data.features[0], clean.features[0][0]]
    assert all(x.shape == kept[0].shape for x in kept)
    assert not any(torch.equal(a, b) for a, b in zip(kept, kept[1:] + kept[:1], strict=True))


def test_the_cache(tmp_path, few_words, monkeypatch):
    more = [f"data.cache={tmp_path / 'c'}"]
    first = load(few_words, *more)
    kept = sorted((tmp_path / "c").rglob("*.npy"))
    assert len(kept) == len(first)
    assert len(list((tmp_path / "c").rglob("*.*"))) == len(kept)  # and nothing else
    kept[0].write_bytes(kept[0].read_bytes()[:200])  # truncated: computed again
    computed = []
    whole = feature_cache._compute
    monkeypatch.setattr(
        feature_cache, "_compute", lambda task: computed.append(task) or whole(task)
    )
    again = load(few_words, *more)
    assert len(computed) == 1
    for a, b in zip(first.features, again.features, strict=True):
        assert torch.equal(a[0], b[0])
    load(few_words, *more, "data.features.rate=25")
    assert len(computed) == 1 + len(first)
    monkeypatch.setattr(feature_cache, "code_version", lambda _: "another version")
    load(few_words, *more)
    assert len(computed) == 1 + 2 * len(first)


def test_workers_need_no_torch():
    code = "import sys, speechasym.training.feature_cache; print('torch' in sys.modules)"
    assert run_python("-c", code).out == "False\n"


def test_several_workers_give_the_same(few_words):
    for a, b in zip(
        load(few_words).features, load(few_words, "data.workers=2").features, strict=True
    ):
        assert torch.equal(a[0], b[0])


def test_the_key_changes_with_any_module_that_features_depend_on(tmp_path):
    import speechasym

    home = shutil.copytree(Path(speechasym.__file__).parent, tmp_path / "speechasym")
    feature_cache.code_version.cache_clear()
    versions = {feature_cache.code_version(home)}
    modules = [
        module
        for source in feature_cache.SOURCES
        for module in ([home / source] if source.endswith(".py") else (home / source).rglob("*.py"))
    ]
    assert len(modules) > 30
    for module in modules:
        text = module.read_text()
        module.write_text(text + "\n# changed\n")
        feature_cache.code_version.cache_clear()
        versions.add(feature_cache.code_version(home))
        module.write_text(text)
    feature_cache.code_version.cache_clear()
    assert len(versions) == len(modules) + 1 and feature_cache.code_version(home) in versions
    with pytest.raises(RuntimeError, match="no_such_package has no modules"):
        feature_cache.code_version(home, ("ops", "no_such_package"))


def test_the_key_covers_all_code_that_features_import():
    home = Path(feature_cache.__file__).parents[1]
    packages = [source for source in feature_cache.SOURCES if not source.endswith(".py")]
    numberless = {"config", "errors", "files", "progress", "workers"}  # do not change features
    for package in packages:
        for module in (home / package).rglob("*.py"):
            for node in ast.walk(ast.parse(module.read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                    "speechasym"
                ):
                    inner = (node.module or "").split(".")[1:2] or [a.name for a in node.names]
                    assert set(inner) <= {*packages, *numberless}, f"{module} imports {inner}"
