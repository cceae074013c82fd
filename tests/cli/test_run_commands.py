"""`train`, `evaluate`, `transcribe` and `plot` of a run, as a person calls them."""

import json
import re

import pytest
from helpers import called, tone
from toy import RATE, configuration, utterance

import speechasym
from speechasym.annotations.tiers import read_tiers
from speechasym.recognition import pretrained


def test_train(toy, tmp_path, capsys):
    config, run = tmp_path / "run.yaml", tmp_path / "train of thought"
    config.write_text(configuration(toy, steps=500))
    call = ["train", "--config", config, "--out", run, "--set", "steps=3", "heads.words=0"]
    code, said, _ = called(capsys, *call, "--set", "model.levels.0.units=6")
    assert code == 0
    assert "dev error, phones" in said and "dev error, words" not in said
    assert "parameters" in said and "steps, epochs" in said and f"evaluate '{run}'" in said
    kept = json.loads((run / "model.json").read_text())["config"]
    assert kept["steps"] == 3 and kept["model"]["levels"][0]["units"] == 6
    code, said, _ = called(capsys, *call, "--set", "model.levels.0.units=6", "--resume")
    assert code == 0 and "finished" in said
    code, _, err = called(capsys, *call, "--set", "model.levels.0.units=6")
    assert code == 2 and "--resume" in err
    code, said, _ = called(
        capsys, "plot", run, "--what", "curves", "--out", tmp_path / "curves.png"
    )
    assert code == 0 and said == f"{tmp_path / 'curves.png'}\n"


def test_print_config_can_be_read_back(tmp_path, capsys):
    call = ("train", "--print-config", "--set", "epochs=3", "data.augment.speeds=0.9,1")
    code, text, _ = called(capsys, *call)
    assert code == 0 and "train: TRAIN_CUTS" in text and "speeds: [0.9, 1.0]" in text
    assert re.search(r"# .+\nlearning_rate: 0.002\n", text)
    assert re.search(r"# attention weights: .+\n *# visible frames.+\n *weights: softmax\n", text)
    (tmp_path / "run.yaml").write_text(text)
    again = called(capsys, "train", "--print-config", "--config", tmp_path / "run.yaml")
    assert again == (0, text, "")


def test_a_teacher_is_a_key_of_the_configuration(capsys):
    call = ("train", "--print-config", "--teacher", "runs/a: b", "--set", "teacher.weight=2")
    code, text, _ = called(capsys, *call)
    assert code == 0 and "run: 'runs/a: b'\n" in text and re.search(r"# .+\n +weight: 2.0\n", text)


def test_train_needs_a_config_and_a_folder(capsys):
    for words, missing in (((), "--config"), (("--config", "x.yaml"), "--out")):
        code, _, err = called(capsys, "train", *words)
        assert code == 2 and f"{missing}: is required" in err


def test_a_stopped_run_says_how_to_go_on(toy, tmp_path, capsys, monkeypatch):
    config = tmp_path / "run.yaml"
    config.write_text(configuration(toy))
    stopped = {
        "folder": "r", "finished": False, "reason": "stopped at step 7", "steps": 7, "epochs": 0,
        "seconds": 1.5, "best": None, "best_step": 0, "target": "words", "parameters": 0,
        "dev": {}, "left_out": {"words": ["x"]},
    }  # fmt: skip
    monkeypatch.setattr("speechasym.training.loop.train", lambda *_, **__: stopped)
    call = ("train", "--config", config, "--out", tmp_path / "a b", "--set", "seed=1")
    code, said, _ = called(capsys, *call)
    assert code == 130 and "stopped at step 7" in said and "1 cut, while" in said
    assert said.endswith(
        f"speechasym train --config {config} --out '{tmp_path}/a b' --resume --set seed=1\n"
    )
    monkeypatch.setenv("RANK", "1")  # of several processes the first one reports
    assert called(capsys, *call)[:2] == (130, "")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "stepz=3"], "stepz"),
        (["--set", "steps"], "key=value"),
        (["--set", "data.train=no.jsonl.gz"], "no.jsonl.gz: no such manifest"),
        (["--config", "no.yaml"], "no.yaml"),
    ],
)
def test_train_with_what_cannot_be(toy, tmp_path, capsys, arguments, says):
    run = tmp_path / "run"
    code, _, err = called(capsys, "train", "--config", toy / "run.yaml", "--out", run, *arguments)
    assert code == 2 and says in err and not (run / "model.json").exists()


def test_evaluate(toy, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")  # nothing may be cut off
    cuts, out, hypotheses = toy / "test_cuts.jsonl.gz", tmp_path / "x.json", tmp_path / "hyp"
    code, said, _ = called(
        capsys, "evaluate", toy / "run", "--cuts", cuts, "--out", out, "--hypotheses", hypotheses
    )
    assert code == 0 and "7 cuts" in said and "3 speakers" in said
    content = json.loads(out.read_text())
    assert content["command"].startswith(f"speechasym evaluate {toy}/run --cuts {cuts}")
    for name, score in content["scores"].items():
        row = next(line for line in said.splitlines() if line.strip().startswith(f"{name}  "))
        assert f"{score['rate']:.2%}" in row and f" {score['N']} " in row
    code, table, _ = called(
        capsys, "score", "per", hypotheses / "phones.ref.txt", hypotheses / "phones.txt",
        "--speakers", hypotheses / "speakers.txt",
    )  # fmt: skip
    assert f"{content['scores']['phones']['rate']:.2%}" in table
    code, said, _ = called(
        capsys, "evaluate", toy / "run", "--cuts", cuts, "--heads", "words,phones"
    )
    assert code == 0 and "letters" not in said
    code, _, err = called(capsys, "evaluate", toy / "run", "--cuts", cuts, "--heads", "letter")
    assert code == 2 and "no head letter" in err
    code, _, err = called(capsys, "evaluate", toy, "--cuts", cuts)
    assert code == 2 and "holds no model" in err


def test_transcribe(toy, tmp_path, capsys):
    x, _, _ = utterance(["mass", "am"])
    path = tone(tmp_path / "in" / "$x.wav", x, RATE)
    grids = tmp_path / "grids"
    code, said, _ = called(capsys, "transcribe", toy / "run", path, "--textgrid", grids)
    assert code == 0
    lines = said.splitlines()
    assert lines[0] == f"{path}  ({len(x) / RATE:.2f} s)"
    assert lines[1:5:3] == ["  phones:  m aa s aa m", f"  -> {grids / '$x.TextGrid'}"]
    assert lines[3] == "  words:   MASS AM"
    assert list(read_tiers(grids / "$x.TextGrid")) == ["phones", "letters", "words"]
    assert speechasym.transcribe(path, toy / "run").text == "MASS AM"
    only = ("--level", "words", "--textgrid", "none")
    code, said, _ = called(capsys, "transcribe", toy / "run", path, *only)
    assert said.splitlines()[1:] == ["  words:   MASS AM"]
    code, _, err = called(capsys, "transcribe", toy / "run", path, "--level", "phrases")
    assert code == 2 and "heads: " in err and "it has phones, letters, words" in err


def test_transcribe_writes_nothing_unless_asked(toy, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tone(tmp_path / "a.wav", utterance(["a"])[0], RATE)
    code, said, _ = called(capsys, "transcribe", toy / "run", "a.wav")
    assert code == 0 and "->" not in said
    assert list(tmp_path.iterdir()) == [tmp_path / "a.wav"]


def test_transcribe_keeps_textgrids_of_others(toy, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        tone(tmp_path / f"{name}.wav", utterance(["a"])[0], RATE)
    grid = tmp_path / "b.TextGrid"
    grid.write_text("toy by hand")
    call = ["transcribe", toy / "run", "a.wav", "b.wav", "--textgrid", "."]
    code, said, err = called(capsys, *call)
    assert (code, said) == (2, "") and "b.TextGrid: exists" in err and "--overwrite" in err
    assert grid.read_text() == "toy by hand" and not (tmp_path / "a.TextGrid").exists()
    assert called(capsys, *call, "--overwrite")[0] == 0
    assert called(capsys, *call)[0] == 0  # both are as we wrote them
    corrected = grid.read_text() + "\n"
    grid.write_text(corrected)
    assert called(capsys, *call)[0] == 2 and grid.read_text() == corrected


def test_results_of_others_stay(toy, tmp_path, capsys):
    path = tone(tmp_path / "a.wav", utterance(["a"])[0], RATE)
    out = tmp_path / "out"
    for arguments in (
        ("evaluate", toy / "run", "--cuts", toy / "dev.jsonl.gz", "--out", out),
        ("report", toy / "run", "--out", out),
        ("plot", toy / "run", "--out", tmp_path / "out.png", "--what", "curves"),
        ("plot", path, "--out", tmp_path / "out.png"),
    ):
        target = arguments[arguments.index("--out") + 1]
        target.write_text("of somebody")
        code, said, err = called(capsys, *arguments)
        assert (code, said) == (2, "") and f"{target}: exists" in err
        assert target.read_text() == "of somebody"


def test_transcribe_what_cannot_be_heard(toy, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = tone(tmp_path / "a.wav", utterance(["a"])[0], RATE)
    bad = tmp_path / "b.wav"
    bad.write_bytes(b"no sound at all")
    code, said, err = called(capsys, "transcribe", toy / "run", bad)
    assert (code, said) == (2, "") and str(bad) in err
    code, said, err = called(capsys, "transcribe", toy / "run", bad, good, "--textgrid", ".")
    assert code == 1 and "A" in said and str(bad) in err
    code, _, err = called(capsys, "transcribe", toy / "run", tmp_path)  # a folder
    assert code == 1 and str(bad) in err
    assert (tmp_path / "a.TextGrid").is_file()
    code, _, err = called(capsys, "transcribe", toy / "run")
    assert code == 2 and "no recordings after the run" in err
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "gone")
    code, _, err = called(capsys, "transcribe", good)
    assert code == 2 and "Give a RUN of your own" in err


def test_plot(toy, tmp_path, capsys):
    out = tmp_path / "x.png"
    path = tone(tmp_path / "x.wav", utterance(["am"])[0], RATE)
    code, said, _ = called(
        capsys, "plot", toy / "run", "--what", "units", "--out", out, "--recording", path
    )
    assert (code, said) == (0, f"{out}\n") and out.stat().st_size > 10_000
    for arguments, says in (
        ([toy / "run"], "Use one of curves"),
        ([toy / "run", "--what", "waveform"], "Use one of curves"),
        ([toy / "run", "--what", "units,ranks"], "Use one of curves"),
        ([toy / "run", "--what", "curves", "--start", "1"], "--start: does not apply to a run"),
        ([path, "--what", "confusion"], "is not the folder of one"),
        ([path, "--cuts", "x.jsonl.gz"], "--cuts: applies to a run"),
        ([toy / "run", "--what", "units", "--recording", tmp_path / "no.wav"], "no.wav"),
    ):
        code, _, err = called(capsys, "plot", *arguments, "--out", tmp_path / "y.png")
        assert code == 2 and says in err and not (tmp_path / "y.png").exists()


@pytest.mark.parametrize("command", ["train", "evaluate", "transcribe"])
def test_help(capsys, command):
    code, said, _ = called(capsys, command, "--help")
    assert code == 0 and "Example" in said
