"""`recipes/librispeech/run.sh` end to end on stubs: with official names, and as a local split."""

import gzip
import json

import make_stub_corpora as stubs
import pytest
from helpers import ROOT
from recipe_commands import Commands, after, config_of, speakers_of

from recipes.compare.systems import read_systems
from speechasym import read_config
from speechasym.annotations.tiers import read_tiers
from speechasym.language import lexicon
from speechasym.language.arpa import read_arpa
from speechasym.levels.hierarchy import build_model
from speechasym.recognition.decoder import BY_LEXICON

RUN = ROOT / "recipes" / "librispeech" / "run.sh"
# RAG is not there: it has to be guessed
PRONUNCIATIONS = """SHE  SH IY1
HAD  HH AE1 D
YOUR  Y AO1 R
DARK  D AA1 R K
SUIT  S UW1 T
IN  IH1 N
GREASY  G R IY1 S IY0
WASH  W AA1 SH
ALL  AO1 L
YEAR  Y IH1 R
DON'T  D OW1 N T
ASK  AE1 S K
ME  M IY1
OILY  OY1 L IY0
WATER  W AO1 T ER0
TAG  T AE1 G
BAG  B AE1 G
WAG  W AE1 G
RAN  R AE1 N
RAT  R AE1 T
"""
LEVEL = "functions: [convolution, feedforward], width: 12, units: 6"
LEVELS = f"[{{{LEVEL}}}, {{{LEVEL}}}]"
TOY = (
    "epochs=1", "threads=1", "data.workers=0", "data.augment.speeds=[1.0]", "device=cpu",
    "data.labels.word_least=1",
    f"model={{levels: {LEVELS}, heads: {{phones: {{level: 0}}, letters: {{level: 1}}, "
    "words: {level: 1}}}",
)  # fmt: skip


def books(folder, **subsets):
    """A stub of these subsets {name: readers}; and a lexicon and a text."""
    named = {name.replace("_", "-"): readers for name, readers in subsets.items()}
    stubs.librispeech(folder / "books", subsets=named)
    (folder / "dict.txt").write_text(PRONUNCIATIONS)
    (folder / "texts").mkdir()
    (folder / "empty").mkdir()
    text = "She had your dark suit in greasy wash water all year. Ask me; don't. "
    (folder / "texts" / "book.txt").write_text(text * 3)
    (folder / "texts" / "more").mkdir()
    (folder / "texts" / "more" / "rat.txt.gz").write_bytes(gzip.compress(b"Ask me, rat."))
    for name in ("local-train", "train-clean-5", "local-dev", "dev-clean-2"):
        (folder / "five" / name).mkdir(parents=True)
    return Commands(folder)


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    folder = tmp_path_factory.mktemp("official")
    commands = books(folder, train_clean_100=(11, 12), test_clean=(21, 22), dev_clean=(31,))
    more = {"LEXICON": "dict.txt", "TEXT": "texts", "DECODE": "--from both --beam 20"}
    return commands, folder, commands.run(RUN, "books", "out", *TOY, **more)


def test_every_step_leaves_what_it_promises(official):
    commands, folder, found = official
    assert found.returncode == 0, found.stdout + found.stderr
    assert commands.names == [
        "prepare", "lexicon", "lm", "train", "evaluate", "first_utterance", "transcribe", "align",
        *["plot"] * 5, "report",
    ]  # fmt: skip
    out = folder / "out"
    for name in ("curves", "confusion", "units", "ranks", "levels"):
        assert (out / "pictures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert (out / "report.html").read_text().startswith("<!")
    scores = json.loads((out / "test-clean.json").read_text())["scores"]
    assert {"phones", "letters", "words", BY_LEXICON} <= set(scores)
    assert BY_LEXICON in read_tiers(next((out / "textgrids").glob("*.TextGrid")))
    assert json.loads((out / "aligned" / "report.json").read_text())["failed"] == {}
    assert "the corpus's own subsets" in found.stdout and "said:" in found.stdout


def test_with_dev_clean_it_chooses(official):
    commands, folder, _ = official
    config = config_of(folder / "out" / "run")
    assert config["data"]["dev"].endswith("manifests/dev-clean_cuts.jsonl.gz")
    assert config["data"]["labels"]["lexicon"] == str(folder / "out" / "lexicon.txt")
    assert config["validate_every"] != 1000000
    # train-100.yaml, which computes features in each epoch
    assert (config["batch_seconds"], config["data"]["cache"]) == (400, None)
    assert after(commands.of("prepare")[0], "--subsets") == "train-clean-100,test-clean,dev-clean"


def test_words_of_the_test_are_pronounced_but_not_in_the_language_model(official):
    commands, folder, _ = official
    out = folder / "out"
    assert "RAG" in lexicon.read_lexicon(out / "lexicon.txt")
    assert "guessed" in (out / "lexicon.txt").read_text()
    learned = commands.of("lm")[0]
    assert after(learned, "--transcripts") == str(out / "train_cuts.jsonl.gz")
    assert learned[1] == str(folder / "texts")
    known = set(read_arpa(out / "lm.arpa.gz").words)
    assert {"SUIT", "RAT"} <= known and "--beam" in commands.of("evaluate")[0]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A local split, its two training subsets joined; the commands of training are only told."""
    folder = tmp_path_factory.mktemp("local")
    commands = books(folder, local_train=(11, 12), spare=(13,), local_dev=(21,))
    commands.told = ("train", "evaluate", "transcribe", "align", "plot", "report")
    more = {"LEXICON": "dict.txt", "TRAIN": "local-train,spare", "FOLDS": "3"}
    return commands, folder, commands.run(RUN, "books", "out", **more), more


def test_without_dev_all_readers_are_learned(local):
    commands, folder, found, _ = local
    assert found.returncode == 0, found.stdout + found.stderr
    words = dict(word.split("=", 1) for word in commands.of("train")[0] if "=" in word)
    assert speakers_of(words["data.train"]) == {"11", "12", "13"}
    assert speakers_of(words["data.dev"]) == {"11"}
    assert words["validate_every"] == "1000000"
    assert words["data.cache"] == str(folder / "out" / "features")
    assert after(commands.of("train")[0], "--config") == "recipes/librispeech/train.yaml"
    assert after(commands.of("evaluate")[0], "--cuts").endswith("local-dev_cuts.jsonl.gz")
    assert "local split, no official subsets" in found.stdout


def test_again_lexicon_and_language_model_are_kept(local):
    commands, _, _, more = local
    found = commands.run(RUN, "books", "out", **more)
    assert found.returncode == 0 and found.stdout.count("kept: ") == 2
    assert not commands.of("lexicon") and not commands.of("lm")


@pytest.mark.parametrize(
    ("train", "config", "chosen"),
    [
        ("train-clean-100", None, "recipes/librispeech/train-100.yaml"),
        ("train-clean-100,train-clean-360", None, "recipes/librispeech/train-960.yaml"),
        ("train-clean-100", ROOT / "recipes/librispeech/train.yaml", "train.yaml"),
    ],
)
def test_configuration_by_size(tmp_path, train, config, chosen):
    readers = {"train_clean_100": (11,), "train_clean_360": (12,), "test_clean": (21,)}
    commands = books(tmp_path, **readers, dev_clean=(31,))
    commands.told = ("lexicon", "lm", "train", "evaluate", "transcribe", "align", "plot", "report")
    more = {"LEXICON": "dict.txt", "TRAIN": train} | ({"CONFIG": str(config)} if config else {})
    found = commands.run(RUN, "books", "out", **more)
    assert found.returncode == 0, found.stdout + found.stderr
    assert after(commands.of("train")[0], "--config").endswith(chosen)


def test_noises_are_made_where_the_configuration_has_noise(local):
    commands, folder, _, more = local
    told, commands.told = commands.told, (*commands.told, "scripts/make_noises.py")
    config = str(ROOT / "recipes/librispeech/small.yaml")
    found = commands.run(RUN, "books", "out", **more, CONFIG=config)
    commands.told = told
    assert found.returncode == 0, found.stdout + found.stderr
    (made,), (learned,) = commands.of("make_noises"), commands.of("train")
    noises = str(folder / "out" / "noises")
    assert after(made, "--out") == noises and f"data.augment.noise={noises}" in learned
    assert after(made, "--cuts") == str(folder / "out" / "train_cuts.jsonl.gz")


@pytest.mark.parametrize(
    ("words", "more", "said"),
    [
        ([], {}, "no folder"),
        (["nowhere"], {}, "nowhere is not a folder"),
        (["books"], {}, "LEXICON is not set"),
        (["books"], {"LEXICON": "none.txt"}, "none.txt is not a file"),
        (["texts"], {"LEXICON": "dict.txt"}, "none of train-clean-100"),
        (["books"], {"LEXICON": "dict.txt", "TEXT": "empty"}, "empty is not a file or"),
        (["books"], {"LEXICON": "dict.txt", "TEXT": "dict.txt,x.txt"}, "x.txt is not a file"),
        (
            ["books"],
            {"LEXICON": "dict.txt", "CONFIG": "x.yaml"},
            "x.yaml is not a file",
        ),
        (["books"], {"LEXICON": "dict.txt", "TEST": "local-train"}, "is in two of"),
        (["five"], {"LEXICON": "dict.txt", "TEST": "train-clean-5"}, "train-clean-5 is in two of"),
        (["five"], {"LEXICON": "dict.txt", "TRAIN": "dev-clean-2"}, "dev-clean-2 is in two of"),
    ],
)
def test_bad_input_ends_it_before_any_command(local, words, more, said):
    commands, folder, _, _ = local
    found = commands.run(RUN, *words, *([folder / "bad"] if words else []), **more)
    assert (found.returncode, commands.asked) == (2, [])
    assert said in found.stderr


def test_the_baselines_of_hours_are_valid_and_of_our_size():
    ours, *others = read_systems(RUN.parent / "hours.yaml")
    base, size = RUN.parent / "tiny.yaml", {}
    for system in (ours, *others):
        config = read_config(base, system.words)
        inputs = {"asymmetry": 33, "logmel": 80}[config.data.features.features]
        model = build_model(config.model, inputs, {"phones": 40, "letters": 29, "words": 400})
        size[system.name] = sum(weights.numel() for weights in model.parameters())
    assert all(0.9 < size[other.name] / size[ours.name] < 1.2 for other in others), size
