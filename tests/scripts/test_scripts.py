"""Scripts that people call: held-out speakers, stand-ins of corpora, a run put into the package."""

import json
import subprocess
import sys

import hold_out
import make_conditions
import make_noises
import make_stand_in
import make_stub_corpora
import numpy as np
import pytest
import ship_model
import tiny
from helpers import ROOT

from speechasym.corpora import librispeech, timit
from speechasym.corpora.manifests import read_cuts
from speechasym.errors import CheckpointError
from speechasym.language import kneser_ney
from speechasym.language.model_files import write_model
from speechasym.recognition import pretrained
from speechasym.recognition.installed import install_model
from speechasym.recognition.model_list import models
from speechasym.recognition.recogniser import Recogniser
from speechasym.recognition.trained_model import is_run, open_run
from speechasym.training import checkpoints


def test_every_speaker_is_held_out_once(tmp_path, capsys):
    tiny.corpus(tmp_path, 9)
    cuts = tmp_path / "train.jsonl"
    hold_out.main([str(cuts), "--out", str(tmp_path / "folds"), "--folds", "3"])
    assert "fold 2: held out s2" in capsys.readouterr().out
    ids = {cut.id for cut in read_cuts(cuts)}
    held = []
    for fold in range(3):
        parts = [
            {cut.id for cut in read_cuts(tmp_path / "folds" / f"fold{fold}_{part}_cuts.jsonl.gz")}
            for part in ("train", "dev")
        ]
        assert parts[0] | parts[1] == ids and not parts[0] & parts[1]
        assert {name.split("-")[0] for name in parts[1]} == {f"s{fold}"}
        held += parts[1]
    assert sorted(held) == sorted(ids)
    hold_out.main([str(cuts), "--out", str(tmp_path / "one"), "--speakers", "s1"])
    assert {c.id[:2] for c in read_cuts(tmp_path / "one" / "fold0_dev_cuts.jsonl.gz")} == {"s1"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--folds", "4"], "got 4 of 3 speakers"),
        (["--speakers", "s7"], "s7 is not in"),
    ],
)
def test_speakers_that_cannot_be_held_out(tmp_path, capsys, words, says):
    tiny.corpus(tmp_path, 6)
    with pytest.raises(SystemExit) as stop:
        hold_out.main([str(tmp_path / "train.jsonl"), "--out", str(tmp_path / "x"), *words])
    assert stop.value.code == 2 and says in capsys.readouterr().err


def test_a_run_is_put_into_the_package(tmp_path, monkeypatch, capsys):
    from speechasym.config import to_dict
    from speechasym.training.config import config_from_dict
    from speechasym.training.loop import train

    words = tiny.corpus(tmp_path, 6)
    small = {"preset": "tiny", "every": {"width": 12, "units": 8}}
    config = to_dict(tiny.config(words, "epochs=1")) | {"model": small}
    train(config_from_dict(config), tmp_path / "run", show_progress=False)
    lexicon, lm = tmp_path / "a.txt", tmp_path / "b.arpa"
    lexicon.write_text("A  AH\n")
    write_model(lm, kneser_ney.estimate([["A"]], 1))
    out = tmp_path / "model"
    options = ["--lexicon", str(lexicon), "--lm", str(lm), "--out", str(out)]
    ship_model.main([str(tmp_path / "run"), *options])
    assert "model.safetensors" in capsys.readouterr().out
    text = (out / checkpoints.MODEL_META).read_text("utf-8")
    assert (
        str(tmp_path) not in text and json.loads(text)["config"]["data"]["train"] == "train.jsonl"
    )
    file = tmp_path / "speechasym-little.zip"
    ship_model.main([str(tmp_path / "run"), *options[:-2], "--zip", str(file)])
    monkeypatch.setenv("SPEECHASYM_MODELS", str(tmp_path / "models"))
    assert not is_run("little")
    assert install_model(file) == tmp_path / "models" / "little"
    assert (
        is_run("little") and open_run("little").parameters == open_run(tmp_path / "run").parameters
    )
    assert Recogniser(size="little").heads == Recogniser("little").heads
    assert [model.name for model in models(tmp_path / "models")] == [
        "tiny", "little", str(tmp_path / "models" / "little"),
    ]  # fmt: skip
    monkeypatch.setattr(pretrained, "FOLDER", out)
    assert open_run(pretrained.folder()).parameters == open_run(tmp_path / "run").parameters
    lexicon = pretrained.lexicon()
    lexicon.write_text("B  B IY\n")
    with pytest.raises(CheckpointError, match="has been changed"):
        pretrained.folder()
    lexicon.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        pretrained.folder()


def test_stand_ins_have_the_full_shape_and_take_no_space(tmp_path, capsys):
    stubs = tmp_path / "stubs"
    make_stub_corpora.librispeech(stubs / "LibriSpeech")
    make_stub_corpora.timit(stubs / "timit", coding="WAV")
    words = ["--librispeech", str(stubs / "LibriSpeech"), "--timit", str(stubs / "timit")]
    out = tmp_path / "out"
    make_stand_in.main([str(out), *words, "--share", "0.001"])
    report = librispeech.prepare(out / "LibriSpeech", keep_duplicates=True).report
    assert {name: count.sentences for name, count in report.counts.items()} == {
        "train-clean-100": 29, "train-clean-360": 104, "train-other-500": 149, "dev-clean": 3,
        "dev-other": 3, "test-clean": 3, "test-other": 3,
    }  # fmt: skip
    assert not report.number("error")
    report = timit.prepare(out / "TIMIT", keep_duplicates=True).report
    assert {name: count.speakers for name, count in report.counts.items()} == {
        "train": 1, "dev": 50, "test": 24,
    }  # fmt: skip
    recordings = [p for p in out.rglob("*") if p.suffix in (".flac", ".WAV")]
    assert all(path.stat().st_nlink > 1 for path in recordings)
    with pytest.raises(SystemExit):
        make_stand_in.main([str(out), *words])
    assert "Remove it, or choose another folder" in capsys.readouterr().err
    (numbers,) = [list(make_stand_in.spread(28539, 251))]
    assert sum(numbers) == 28539 and max(numbers) - min(numbers) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_command_that_takes_too_much_memory_fails(tmp_path):
    def record(most, code):
        command = [sys.executable, "-c", f"import sys; sys.exit({code})"]
        recorder = [sys.executable, str(ROOT / "benchmarks" / "memory.py"), "record"]
        options = [str(tmp_path / "m.jsonl"), "--most", str(most)]
        return subprocess.run([*recorder, *options, *command], capture_output=True, text=True)

    found = record(10_000, 3)
    assert found.returncode == 3 and found.stdout.startswith("m: ")
    row = json.loads((tmp_path / "m.jsonl").read_text().splitlines()[0])
    assert row["mb"] > 0 and row["processes"] == 1
    assert record(0, 0).returncode == 1


def test_noises_and_conditions(tmp_path, capsys):
    tiny.corpus(tmp_path, 6)
    cuts = str(tmp_path / "train.jsonl")
    noises = tmp_path / "noises"
    words = ["--times", "1", "--seconds", "2"]
    make_noises.main(["--out", str(noises), "--cuts", cuts, *words])
    names = {path.stem for path in noises.iterdir()}
    assert {"pink-00", "babble4-00"} <= names and "20 noises" in capsys.readouterr().out
    out = tmp_path / "conditions"
    make_conditions.main([cuts, "--noise", str(noises), "--out", str(out)])
    clean, *others = (
        list(read_cuts(out / f"{name}_cuts.jsonl.gz"))
        for name in ("clean", "20", "0", "room", "telephone")
    )
    means = []
    for changed in others:
        ratios = []
        for before, after in zip(clean, changed, strict=True):
            assert before.supervisions == after.supervisions
            x, y = (np.float64(cut.load_audio()[0]) for cut in (before, after))
            scale = y @ x / (x @ x)  # softer where it would be louder than full scale
            ratios.append(10 * np.log10((x @ x) * scale**2 / np.sum((y - scale * x) ** 2)))
        means.append(np.mean(ratios))
    assert means[:2] == pytest.approx([20, 0], abs=4)  # a noise may be like the signal
    assert all(-4 < mean < 20 for mean in means[2:]), means
    for main, more in ((make_noises.main, []), (make_conditions.main, [cuts, "--noise", "x"])):
        with pytest.raises(SystemExit):
            main([*more, "--out", str(noises)])
        assert "is not empty" in capsys.readouterr().err
