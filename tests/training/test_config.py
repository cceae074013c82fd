"""Configurations: unknown keys, values of another type, and other faults are named."""

import copy

import pytest

from speechasym.config import to_dict
from speechasym.errors import ConfigError
from speechasym.levels import presets
from speechasym.levels.config import HierarchyConfig, LevelConfig, RecurrentConfig
from speechasym.levels.hierarchy import build_model
from speechasym.training.config import CustomConfig, config_from_dict, read_config

DATA = ["data.train=a.jsonl", "data.dev=b.jsonl"]
TEXT = """
data:
  train: a.jsonl
  dev: b.jsonl
  features: {features: gammatone, channels: 32}
  augment: {speeds: [0.9, 1, 1.1]}
model:
  levels: [{units: 40}, {units: 80, width: 64}]
heads: {letters: 0.3}
learning_rate: 1e-3
minutes: null
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(TEXT)
    return path


def test_features_of_a_run_that_names_none_are_log_mel_as_they_once_were():
    config = read_config(None, DATA)
    assert config.data.features.features == "asymmetry" and config.data.features.compact
    assert config.data.features.normalise == "utterance"
    assert config_from_dict(to_dict(config)) == config  # a run's folder names all keys
    old = to_dict(config)
    for old["data"]["features"] in ({}, {"rate": 50.0}):
        features = config_from_dict(old).data.features
        assert (features.features, features.normalise) == ("logmel", "utterance")
    del old["data"]["features"]
    assert config_from_dict(old).data.features.features == "logmel"


def test_a_file_and_words_that_win(path):
    result = read_config(path, ["model.levels.1.units=48", "epochs=7", "data.augment.speeds=1,1.1"])
    assert result.data.features.features == "gammatone" and result.data.features.channels == 32
    assert result.data.features.normalise == "utterance"  # of the default, as it is not said
    assert result.model == HierarchyConfig(
        levels=(LevelConfig(units=40), LevelConfig(units=48, width=64))
    )
    assert result.heads.used == {"phones": 1.0, "letters": 0.3} and result.target_head == "phones"
    assert result.learning_rate == 0.001 and result.epochs == 7
    assert result.data.augment.speeds == (1.0, 1.1)


def test_to_dict_and_back(path):
    result = read_config(path)
    assert config_from_dict(to_dict(result)) == result


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("epoch=3", r"epoch \(key=value\): unknown key. Did you mean epochs\?"),
        ("data.features.rat=3", "Did you mean rate"),
        ("qqqq=1", "Known keys: data, model"),
        ("epochs=two", "must be an integer, got 'two'"),
        ("epochs=2.5", "must be an integer, got 2.5"),
        ("epochs=true", "must be an integer, got True"),
        ("learning_rate=fast", "must be a number, got 'fast'"),
        ("learning_rate=.nan", "must be > 0, got nan"),
        ("data.features={features: gammatone, align: 1}", "must be true or false, got 1"),
        (
            "data.features={features: logmel, align: true}",
            r"^data.features.align .*: is an option of gammatone and asymmetry features, not of ",
        ),
        ("data.features.features=plp", r"^data.features.features .*: must be one of gammatone, "),
        (
            "data.features.chanel=mean",
            r"^data.features.chanel .*: unknown key. Did you mean channel?",
        ),
        ("data.train=3", "must be a string, got 3"),
        ("data.labels.silence=loud", "Use one of drop, merge, keep"),
        ("data.features=mfcc", "must be a mapping, got 'mfcc'"),
        ("data.features.rate=0", "data.features.*rate"),
        ("model=5", "must be a mapping, got 5"),
        ("epochs=0", "must be >= 1, got 0"),
        ("minutes=0", "must be > 0, got 0"),
        ("heads.phones=0", "all weights are 0"),
        ("target=words", "'words' is not a head in use. Use phones"),
        ("warm_up=1", "must be >= 0 and < 1"),
        ("data.augment.snr_db=[9, 3]", "must be a range"),
        ("data.augment.reverberation_s=[0, 1]", "reverberation_s"),
        ("data.augment.direct_db=[9, 3]", "must be a range"),
        ("data.augment.room_share=2", "room_share"),
        ("data.augment.snr_db=[9]", "must have 2 values"),
        ("data.augment.speeds=[3]", "must be >= 0.5 and <= 2, got 3"),
        ("data.augment.speeds=[]", "different values"),
        ("data.augment.speeds=[1, 1.0]", "different values"),
        ("data.augment.speeds=[.nan]", "must be >= 0.5 and <= 2, got nan"),
        ("epochs", "is not of the form key=value"),
        ("a..b=1", "is not of the form key=value"),
        ("epochs=[", "is not a valid YAML value"),
        ("seed.x=1", "must be an integer"),
        ("weight_decay=.nan", "must be >= 0, got nan"),
        ("learning.blocks=0", r"must be >= 1, got 0\. Use 1, 2, 3 \.\.\.$"),
        ("seed=2147483648", r"< 2147483648, got 2147483648\. Use 0, 1, 2 \.\.\.$"),
    ],
)
def test_faults_are_named(word, message):
    with pytest.raises(ConfigError, match=message):
        read_config(None, [*DATA, word])


def test_models_are_typed():
    def model(*words):
        return read_config(None, [*DATA, *words]).model

    assert model() == model("model.preset=tiny") == presets.model_config({"preset": "tiny"})
    assert model("model.preset=recurrent", "model.hidden=5") == RecurrentConfig(hidden=5)
    assert model("model={kind: recurrent, width: 8}") == RecurrentConfig(width=8)
    custom = model("model.kind=custom", "model.options.size=3")
    assert custom == CustomConfig(options={"size": 3})
    for result in (model("model.every.units=9"), model("model.preset=recurrent"), custom):
        whole = to_dict(read_config(None, DATA)) | {"model": to_dict(result)}
        assert config_from_dict(whole).model == result
    # a run of an earlier version has only the keys of its preset
    old = to_dict(read_config(None, DATA)) | {"model": presets.PRESETS["tiny"]}
    assert config_from_dict(old).model == presets.model_config({"preset": "tiny"})


def test_saved_keys_of_blocks_that_had_no_effect_are_ignored():
    old = to_dict(read_config(None, DATA))
    expected = config_from_dict(old)
    no_effect = {"function": "gate", "width": 3, "depth": 9, "dilation": 2}
    old["model"]["levels"][1]["block"] |= no_effect
    kept = copy.deepcopy(old)
    assert config_from_dict(old) == expected and old == kept
    for key, value in no_effect.items():
        with pytest.raises(ConfigError, match=rf"levels\.1\.block\.{key}.*unknown key"):
            read_config(None, [*DATA, f"model.levels.1.block.{key}={value}"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{preset: tyni}", r"^run.yaml: model\.preset: must be .*'tyni'. Did you mean 'tiny'"),
        ("{every: {unist: 3}}", r"^run.yaml: model\.levels\.0\.unist: unknown key"),
        (
            "{levels: {1: {width: 0}}}",
            r"^run.yaml: model\.levels\.1\.width: must be an integer",
        ),
        ("{levels: {3: {width: 1}}}", r"^run.yaml: model\.levels\.3: there are 3 levels"),
        ("{preset: recurrent, layers: 0}", r"^run.yaml: model\.layers: must be an integer >= 1"),
        ("{kind: gru}", r"^run.yaml: model\.kind: unknown value 'gru'. Use one of levels, recur"),
        ("{options: {a: 1}}", r"^run.yaml: model\.options: unknown key"),
    ],
)
def test_faults_of_a_model_name_file_and_key(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(f"data: {{train: a, dev: b}}\nmodel: {text}\n")
    with pytest.raises(ConfigError, match=message):
        read_config("run.yaml")
    with pytest.raises(ConfigError, match=r"^model\.preset \(key=value\): must be"):
        read_config("run.yaml", ["model={preset: tyni}"])


@pytest.mark.parametrize("word", ["levels.2.units=1", "levels.x=1", "levels.0.units.a=1"])
def test_missing_elements(path, word):
    with pytest.raises(ConfigError, match=r"out of range for a list of 2|has no element"):
        read_config(path, [f"model.{word}"])


def test_what_is_missing_is_named():
    with pytest.raises(ConfigError, match=r"data\.train: is missing"):
        read_config(None)
    with pytest.raises(ConfigError, match=r"data\.dev"):
        read_config(None, DATA[:1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: [", "is not valid YAML"),
        ("- 1", "holds a list, not a mapping"),
        ("epochs: 1\nepochs: 2", "duplicate key 'epochs'"),
        ("data: {train: a, dev: b}\nepochs: x", "run.yaml: epochs: must be an integer, got 'x'"),
        ("data: {train: a, dev: b, features: {rate: -1}}", r"run.yaml: data\.features\..*rate"),
        ("", r"run.yaml: data\.train: is missing"),
    ],
)
def test_faults_of_a_file_are_named(path, text, message):
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_config(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "none.yaml")


def test_a_fault_of_another_part_says_where_it_was_asked_for():
    with pytest.raises(ConfigError, match=r"^model\.levels\.1: heads: 3 does not divide"):
        build_model({"levels": {1: {"functions": ["attention"], "block": {"heads": 3}}}}, 8, {})


@pytest.mark.parametrize(
    ("key", "remedy"), [("epoch", "Did you mean epochs"), ("train", "Known keys: data, model")]
)
def test_only_close_keys_are_suggested(key, remedy):
    with pytest.raises(ConfigError, match=remedy):
        read_config(None, [*DATA, f"{key}=1"])
