"""`recipes/timit/run.sh` end to end on stubs: the disc with its official speakers, and a part.

The commands run in this process, one after the other: importing torch two dozen times would take
longer than all the rest.
"""

import json

import make_stub_corpora as stubs
import numpy as np
import pytest
from helpers import ROOT
from recipe_commands import Commands, after, config_of, speakers_of

from recipes.timit import phone_lm
from speechasym.annotations.tiers import read_tiers
from speechasym.language import kneser_ney
from speechasym.language.arpa import read_arpa

RUN = ROOT / "recipes" / "timit" / "run.sh"
LEVEL = "functions: [convolution, feedforward], width: 12, units: 6"
TOY = (
    "epochs=1", "threads=1", "data.workers=0", "data.augment.speeds=[1.0]", "device=cpu",
    f"model={{levels: [{{stride: 2, {LEVEL}}}, {{{LEVEL}}}], heads: {{phones: {{level: 1}}}}}}",
)  # fmt: skip


@pytest.fixture(scope="module")
def disc(tmp_path_factory):
    folder = tmp_path_factory.mktemp("disc")
    stubs.official(folder / "TIMIT")
    stubs.timit(folder / "TIMIT", {"TRAIN": ("FCJF0", "MDAC0", "MDPK0")}, sentences=8)
    commands = Commands(folder)
    return commands, folder, commands.run(RUN, "TIMIT", "out", *TOY, PHONE_LM="1")


@pytest.fixture(scope="module")
def part(tmp_path_factory):
    folder = tmp_path_factory.mktemp("part")
    speakers = {"TRAIN": ("FCJF0", "MDAC0", "MDPK0", "FDAW0"), "TEST": ("FAKS9", "MDAB9")}
    stubs.timit(folder / "TIMIT", speakers, sentences=2)
    commands = Commands(folder)
    commands.told = ("transcribe", "align", "plot", "report")  # done with the disc
    return commands, folder, commands.run(RUN, "TIMIT", "out", *TOY, PHONE_LM="1")


def test_the_disc_goes_through_every_step(disc):
    commands, folder, found = disc
    assert found.returncode == 0, found.stdout + found.stderr
    assert commands.names == [
        "prepare", "train", "evaluate", "score", "phone_lm", "score", "first_utterance",
        "transcribe", "align", *["plot"] * 5, "report",
    ]  # fmt: skip
    out = folder / "out"
    for name in ("curves", "confusion", "units", "ranks", "levels"):
        assert (out / "pictures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert (out / "report.html").read_text().startswith("<!")
    assert {"phones"} <= set(read_tiers(next((out / "textgrids").glob("*.TextGrid"))))
    assert json.loads((out / "aligned" / "report.json").read_text())["failed"] == {}
    assert "said:" in found.stdout and "official split" in found.stdout


def test_the_disc_is_scored_on_the_core_test_by_all_conventions(disc):
    _, folder, found = disc
    out = folder / "out"
    config = config_of(out / "run")
    assert config["data"]["labels"]["silence"] == "keep" and config["validate_every"] is None
    assert config["data"]["dev"] == str(out / "manifests" / "dev_cuts.jsonl.gz")
    assert len(json.loads((out / "test.json").read_text())["scores"]["phones"]["speakers"]) == 24
    told = (out / "per.txt").read_text()
    assert told in found.stdout and "core test" in found.stdout
    for convention in ("kaldi", "optional-silence", "merged"):
        assert any(line.startswith(convention) for line in told.splitlines())
    # silences are references of their own, in runs
    rows = (out / "hypotheses" / "phones.ref.txt").read_text().splitlines()
    assert any("sil sil" in row for row in rows)


def test_the_bigram_of_the_disc_is_tuned_on_its_dev(disc):
    commands, folder, _ = disc
    asked = commands.of("phone_lm")[0]
    assert "--tuned-by" not in asked and after(asked, "--tune").endswith("dev_cuts.jsonl.gz")
    figures = json.loads((folder / "out" / "phone_lm" / "phone_lm.json").read_text())
    assert figures["tuning"]["with"] == min(r["rate"] for r in figures["tuning"]["tried"])
    evaluated = json.loads((folder / "out" / "test.json").read_text())["scores"]["phones"]
    assert figures["without"]["rate"] == evaluated["rate"]
    lm = read_arpa(folder / "out" / "phone_lm" / "phones.arpa")
    assert lm.order == 2 and "sil" in lm.words


def test_again_it_trains_nothing(disc):
    commands, folder, _ = disc
    out = folder / "out"
    kept = [out / "run" / "model.safetensors", out / "report.html", out / "run" / "metrics.jsonl"]
    before = [path.stat().st_mtime_ns for path in kept]
    found = commands.run(RUN, "TIMIT", "out", *TOY)
    assert found.returncode == 0, found.stdout + found.stderr
    assert [path.stat().st_mtime_ns for path in kept] == before
    assert not commands.of("plot") and not commands.of("report") and not commands.of("phone_lm")
    assert "PHONE_LM=1" in found.stdout


def test_of_a_part_all_training_speakers_are_learned_and_the_test_chooses_nothing(part):
    _, folder, found = part
    assert found.returncode == 0, found.stdout + found.stderr
    out = folder / "out"
    config = config_of(out / "run")["data"]
    test = speakers_of(out / "manifests" / "test_cuts.jsonl.gz")
    assert speakers_of(config["train"]) == {"FCJF0", "MDAC0", "MDPK0", "FDAW0"}
    assert speakers_of(config["dev"]) < speakers_of(config["train"])
    assert not speakers_of(config["train"]) & test
    lines = [json.loads(line) for line in (out / "run" / "metrics.jsonl").read_text().splitlines()]
    checks = [line["step"] for line in lines if "dev_error_phones" in line]
    assert checks == [max(line["step"] for line in lines)]  # the last step alone
    assert "local split: no figure of the core test" in found.stdout


def test_of_a_part_only_the_merged_convention_is_told(part):
    commands, folder, _ = part
    assert after(commands.of("score")[0], "--convention") == "merged"
    told = (folder / "out" / "per.txt").read_text()
    assert "merged" in told and "kaldi" not in told


def test_of_a_part_the_bigram_is_tuned_by_a_run_that_has_not_learned_it(part):
    commands, folder, _ = part
    asked = commands.of("phone_lm")[0]
    assert after(asked, "--tuned-by") == str(folder / "out" / "fold0")
    chooser = config_of(folder / "out" / "fold0")["data"]
    assert not speakers_of(chooser["train"]) & speakers_of(after(asked, "--tune"))


def test_bad_input_ends_it(part, capfd, tmp_path):
    commands, _, _ = part
    assert commands.run(RUN).returncode == 2
    assert commands.run(RUN, "nowhere", "none").returncode == 2
    assert "nowhere" in capfd.readouterr().err and commands.names == ["prepare"]
    found = commands.run(RUN, "TIMIT", "out", "epohcs=2")
    assert found.returncode == 2 and "3." not in found.stdout
    assert "Did you mean epochs" in capfd.readouterr().err
    stubs.timit(tmp_path / "flat", case="lower", flat=True, sentences=1)
    found = commands.run(RUN, tmp_path / "flat", "flat")
    assert found.returncode == 2 and "TRAIN and TEST" in found.stderr
    assert commands.names == ["prepare"]


def test_the_bigram_decides_where_the_sound_does_not():
    """Two phones sound alike; the previous phone decides."""
    log_probs = np.full((6, 4), np.log(1e-3), np.float32)
    for step, classes in enumerate([(3,), (0,), (1, 2), (0,), (1, 2), (3,)]):
        log_probs[step, list(classes)] = np.log(1 / len(classes))
    log_probs[2, 1] += 0.1  # a little more like a, b
    log_probs[4, 2] += 0.1
    material = phone_lm.Material(
        inventory=("a", "b", "sil"), references={"x": ["sil", "b", "a", "sil"]},
        posteriors={"x": log_probs}, speakers={"x": "s"},
    )  # fmt: skip
    assert phone_lm.without_bigram(material) == {"x": ["sil", "a", "b", "sil"]}
    lm = kneser_ney.estimate([["sil", "b", "a", "sil"]] * 20, 2, vocabulary=("a", "b", "sil"))
    assert phone_lm.with_bigram(material, lm) == {"x": ["sil", "a", "b", "sil"]}  # weight 0
    config, tried = phone_lm.tune_weights(material, lm)
    assert phone_lm.with_bigram(material, lm, config) == {"x": ["sil", "b", "a", "sil"]}
    assert config.lm_weight > 0 and min(row["rate"] for row in tried) == 0
    assert len(tried) == len(
        phone_lm.LM_WEIGHTS * len(phone_lm.PHONE_SCORES) * len(phone_lm.BLANK_PENALTIES)
    )


def test_phone_lm_reports_what_is_wrong(tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        phone_lm.main([str(tmp_path), "--test", "a", "--tune", "b", "--out", str(tmp_path)])
    assert left.value.code == 2 and "phone_lm: " in capsys.readouterr().err
