"""Files of segments, and the command `segments`."""

import csv
import json

import numpy as np
import pytest
import soundfile

import speechasym
from speechasym import AnnotationError, ConfigError, OutputError
from speechasym.annotations.textgrid import read_textgrid
from speechasym.cli.main import main

RATE = 16000


@pytest.fixture(scope="module")
def folder(tmp_path_factory, data):
    """A sentence, silence of 1 s, and a file that is not audio."""
    folder = tmp_path_factory.mktemp("talks")
    x, _ = speechasym.load(data / "librivox-austen-0880.flac", RATE)
    soundfile.write(folder / "sentence.wav", x, RATE)
    soundfile.write(folder / "nothing.wav", np.zeros(RATE), RATE)
    (folder / "sub").mkdir()
    (folder / "sub" / "broken.wav").write_bytes(b"RIFF")
    return folder


@pytest.fixture(scope="module")
def data():
    from helpers import ROOT

    return ROOT / "data"


def test_all_formats_hold_the_same_segments(folder, tmp_path):
    expected = speechasym.segments(folder / "sentence.wav")
    for kind in ("textgrid", "csv", "rttm", "json"):
        (result,) = speechasym.segment_files([folder / "sentence.wav"], tmp_path, format=kind)
        assert result.written.is_file() and result.activity.intervals == expected
    assert read_textgrid(tmp_path / "sentence.TextGrid") == {"activity": expected}
    content = json.loads((tmp_path / "sentence.json").read_text())
    rows = list(csv.DictReader((tmp_path / "sentence.csv").read_text().splitlines()))
    assert [(float(r["start"]), float(r["end"]), r["label"]) for r in rows] == expected
    assert [(r["start"], r["end"], r["label"]) for r in content["segments"]] == expected
    assert all(0 <= r["speech"] <= 1 for r in content["segments"])
    assert content["speech_s"] + content["noise_s"] + content["silence_s"] == pytest.approx(
        content["seconds"]
    )
    lines = [line.split() for line in (tmp_path / "sentence.rttm").read_text().splitlines()]
    spoken = [(i.start, i.end - i.start) for i in expected if i.label == "speech"]
    np.testing.assert_allclose([[float(w) for w in line[3:5]] for line in lines], spoken, atol=1e-3)
    assert {tuple(line[:3]) for line in lines} == {("SPEAKER", "sentence", "1")}


def test_an_edited_file_is_not_replaced(folder, tmp_path):
    inputs = [folder / "nothing.wav"]
    (first,) = speechasym.segment_files(inputs, tmp_path)
    list(speechasym.segment_files(inputs, tmp_path))  # its own file may be replaced
    first.written.write_text("edited")
    with pytest.raises(OutputError, match="changed since"):
        list(speechasym.segment_files(inputs, tmp_path))
    list(speechasym.segment_files(inputs, tmp_path, overwrite=True))
    assert "edited" not in first.written.read_text()


def test_names_and_formats_that_do_not_fit(folder, tmp_path):
    with pytest.raises(ConfigError, match="textgrid, csv, rttm, json, got 'srt'"):
        list(speechasym.segment_files([folder], tmp_path, format="srt"))
    spaced = tmp_path / "my talk.wav"
    soundfile.write(spaced, np.zeros(RATE), RATE)
    with pytest.raises(AnnotationError, match="contains spaces"):
        list(speechasym.segment_files([spaced], tmp_path / "out", format="rttm"))
    assert not (tmp_path / "out").exists()


def test_command(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["segments", str(folder), "--out", str(out), "--format", "csv"]) == 1
    text, errors = capsys.readouterr()
    assert "broken.wav" in errors and "2 files in" in text
    assert {p.name for p in out.glob("*.csv")} == {"nothing.csv", "sentence.csv"}
    (total,) = (line.split() for line in text.splitlines() if " all " in line)
    seconds = [float(word) for word in total if word[0].isdigit()]
    assert seconds[0] == pytest.approx(sum(seconds[1:]), abs=0.02) and seconds[3] >= 1


@pytest.mark.parametrize(
    ("words", "message"),
    [(["--format", "csv"], "has no effect without --out"),
     (["--threshold", "2"], "threshold: must be > 0 and < 1, got 2")],
)  # fmt: skip
def test_command_refuses(folder, capsys, words, message):
    assert main(["segments", str(folder / "nothing.wav"), *words]) == 2
    assert message in capsys.readouterr().err
