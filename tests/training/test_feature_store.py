"""Features of cuts: equal to those of recordings, in noise, and stored."""

import ast
import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from helpers import run_python, sine, tone

import speechasym
from speechasym import files
from speechasym.errors import AudioError, ConfigError, OutputError
from speechasym.feature_extraction import sets
from speechasym.training import cut_index, dataset, feature_code, feature_store
from speechasym.training.augment import Variant
from speechasym.training.augment_config import AugmentConfig
from speechasym.training.cut_features import FeatureTask, features_of
from speechasym.training.cuts import read_noises


def load(words, *more, heads=("phones",), **options):
    config = tiny.config(words, *more).data
    return dataset.load(config, config.train, heads, show_progress=False, **options)


def test_features_are_those_of_extract(few_words):
    data = load(few_words)
    recording = data.index.cut(0).recording.sources[0].source
    want = sets.features(recording, features="logmel", rate=50, normalise="utterance")
    batch = data.batch([0, 1])
    np.testing.assert_allclose(batch.features[0, : len(want)].numpy(), want, rtol=6e-4, atol=3e-4)
    assert batch.lengths.tolist() == [len(data.batch([n]).features[0]) for n in (0, 1)]
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
    clean = load(few_words).index.cut(0)
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


def stored(folder):
    return sorted(folder.rglob("*.tar"))


def test_stored_features_are_those_that_are_computed(tmp_path, few_words):
    augment = AugmentConfig(speeds=(0.9, 1.0, 1.1), splice=0.5, time_masks=1)
    plain = load(few_words, timed=True, augment=augment)
    for workers in (0, 2):
        more = [f"data.cache={tmp_path / str(workers)}", f"data.workers={workers}"]
        kept = load(few_words, *more, timed=True, augment=augment)
        assert kept.store is not None and kept.workers == 0
        for epoch in (None, 0, 1, 5):
            a, b = plain.batch(range(6), epoch), kept.batch(range(6), epoch)
            assert torch.equal(a.features, b.features)
    assert [p.name for p in stored(tmp_path / "0")] == [p.name for p in stored(tmp_path / "2")]


def test_noise_is_stored_if_it_recurs(tmp_path, few_words, monkeypatch):
    tone(tmp_path / "n" / "hum.wav", 0.3 * np.random.default_rng(0).standard_normal(9000))
    computed, compute = [], dataset.features_of
    monkeypatch.setattr(dataset, "features_of", lambda task: computed.append(task) or compute(task))
    for copies, count in ((2, 0), (0, 12)):
        augment = AugmentConfig(noise=str(tmp_path / "n"), noise_share=1.0, copies=copies)
        data = load(few_words, f"data.cache={tmp_path / 'c'}", "data.workers=2", augment=augment)
        batch = data.batch(range(12), 1)
        assert len(computed) == count and data.workers == (0 if copies else 2)
        assert torch.equal(
            batch.features, load(few_words, augment=augment).batch(range(12), 1).features
        )
        computed.clear()


def test_what_is_stored_is_computed_once(tmp_path, few_words, monkeypatch):
    more = [f"data.cache={tmp_path}"]
    first = load(few_words, *more)
    (path,) = stored(tmp_path)
    assert {p.name for p in tmp_path.rglob("*.*")} == {path.name, feature_store.ABOUT}
    written, write = [], feature_store.write_shard
    monkeypatch.setattr(
        feature_store, "write_shard", lambda shard: written.append(shard) or write(shard)
    )
    assert torch.equal(
        load(few_words, *more).batch(range(12)).features, first.batch(range(12)).features
    )
    assert not written
    path.write_bytes(path.read_bytes()[:-2048])  # truncated: computed again
    load(few_words, *more)
    assert len(written) == 1
    load(few_words, *more, "data.features.rate=25")
    assert len(written) == 2
    monkeypatch.setattr(feature_store, "code_version", lambda _: "another version")
    load(few_words, *more)
    assert len(written) == 3


def test_processes_start_at_different_files(tmp_path, words, monkeypatch):
    monkeypatch.setattr(dataset, "BLOCK", 6)
    monkeypatch.setattr(cut_index, "BLOCK", 6)
    written, write = [], feature_store.write_shard
    monkeypatch.setattr(
        feature_store, "write_shard", lambda shard: written.append(shard.path) or write(shard)
    )
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        data = load(words, f"data.cache={tmp_path / str(rank)}")
    assert len(data.store.paths) == 4
    names = [path.name for path in written]
    assert names[4:] == names[2:4] + names[:2]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # by lhotse
def test_lhotse_reads_what_is_stored(tmp_path, few_words):
    from lhotse.shar.readers.tar import TarIterator

    data = load(few_words, f"data.cache={tmp_path}", augment=AugmentConfig(speeds=(1.0, 0.9)))
    (path,) = stored(tmp_path)
    entries = list(TarIterator(path))
    assert [str(name) for _, name in entries[:2]] == [f"{data.ids[0]}-{n}.npy" for n in range(2)]
    assert len(entries) == 24
    array = entries[0][0].load()
    assert array.dtype == np.float16
    assert torch.equal(torch.from_numpy(array).float(), data.batch([0]).features[0])


@pytest.mark.parametrize("fault", ["truncated", "removed", "overwritten"])
def test_a_store_damaged_in_the_run_is_named(tmp_path, few_words, fault):
    data = load(few_words, f"data.cache={tmp_path}")
    (path,) = stored(tmp_path)
    if fault == "removed":
        path.unlink()
    else:
        raw = path.read_bytes()
        path.write_bytes(raw[: len(raw) // 2] if fault == "truncated" else bytes(len(raw)))
    with pytest.raises(OutputError, match=r"features\..*\.tar: is damaged .* --resume"):
        data.batch(range(12))


def test_another_format_is_refused(tmp_path, few_words):
    files.write_json(tmp_path / feature_store.ABOUT, {"format": 3})
    with pytest.raises(ConfigError, match="stores features in format 3, but this version reads 2"):
        load(few_words, f"data.cache={tmp_path}")


def test_a_full_disk_leaves_no_half_written_file(tmp_path, few_words):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot be written \(File too large\)"):
            load(few_words, f"data.cache={tmp_path}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.rglob("*.*")] == [feature_store.ABOUT]
    assert load(few_words, f"data.cache={tmp_path}").batch(range(12)).ids  # continues


def test_features_that_float16_cannot_hold_are_named(few_words, monkeypatch):
    monkeypatch.setattr(dataset, "features_of", lambda task: np.full((3, 2), 1e5, np.float32))
    with pytest.raises(AudioError, match="cut s0-00: a feature of 100000 is more than float16"):
        load(few_words).batch([0])


def test_workers_need_no_torch():
    code = "import sys, speechasym.training.feature_store; print('torch' in sys.modules)"
    assert run_python("-c", code).out == "False\n"


def test_the_key_changes_with_code_of_features_alone(tmp_path):
    home = shutil.copytree(Path(speechasym.__file__).parent, tmp_path / "speechasym")
    modules = feature_code.feature_modules(home)
    others = ["ops/cpu_search.py", "audio/microphone.py", "feature_extraction/tables.py"]
    assert len(modules) > 20 and "ops/cpu_lanes.py" in modules and not modules.keys() & {*others}

    def version(name, old, new):
        text = (home / name).read_text()
        assert old in text
        (home / name).write_text(text.replace(old, new, 1) + "\n# a comment\n")
        feature_code.code_version.cache_clear()
        return feature_code.code_version(home)

    before = feature_code.code_version(home)
    for name in others:
        (home / name).write_text("FACTOR = 2\n")
    assert version("ops/cpu_lanes.py", '"""What', '"""Now: what') == before
    assert version("audio/rooms.py", "\nimport numpy", "\nFACTOR = 2\nimport numpy") != before
    feature_code.code_version.cache_clear()
    with pytest.raises(FileNotFoundError):  # as after a move
        feature_code.code_version(tmp_path)


def test_the_key_covers_all_code_that_features_import():
    home = Path(feature_code.__file__).parents[1]
    numberless = {"cluster", "config", "errors", "files", "progress", "workers"}
    known = numberless | {"corpora", "training", *feature_code.PACKAGES}  # the former: of cuts
    for name, tree in feature_code.feature_modules(home).items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("speechasym"):
                inner = (node.module or "").split(".")[1:2] or [a.name for a in node.names]
                allowed = known if name.startswith("training/") else known - {"corpora", "training"}
                assert set(inner) <= allowed, f"{name} imports {inner}"
        assert "import_module" not in ast.unparse(tree)  # which would not be found


def test_other_labels_models_and_places_reuse_what_is_stored(tmp_path, few_words, monkeypatch):
    more = [f"data.cache={tmp_path / 'cache'}", "data.augment.speeds=0.9,1.0"]
    kept = config = tiny.config(few_words, *more)
    first = dataset.load(config.data, config.data.train, ("phones",), augment=config.data.augment)
    manifest = Path(config.data.train)
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for line in lines:
        line["supervisions"][0]["text"] = "sea"
        line["supervisions"][0]["alignment"] = {}
        line["custom"] = {"set": "other"}
    other = tmp_path / "elsewhere" / "others.jsonl"
    other.parent.mkdir()
    other.write_text("".join(json.dumps(line, sort_keys=True) + "\n" for line in lines))
    monkeypatch.setattr(feature_store, "write_shard", lambda shard: pytest.fail("computed again"))
    monkeypatch.chdir(tmp_path)
    more = [*more, f"data.train={other}", "data.labels.fold=timit39", "data.augment.time_masks=2"]
    config = tiny.config(few_words, *more, "seed=3", "model.preset=tiny", "precision=bfloat16")
    second = dataset.load(
        config.data, config.data.train, ("letters",), augment=config.data.augment, seed=config.seed
    )
    assert second.store.paths == first.store.paths and kept != config
    assert second.inventories != first.inventories
