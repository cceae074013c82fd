"""Alignment of a folder: its files in every format, resuming, and the work of others."""

import json

import numpy as np
import pytest
from helpers import called, contents, tone
from toy import RATE, utterance

from speechasym import align
from speechasym.annotations.ctm import read_ctm
from speechasym.annotations.intervals import Interval
from speechasym.annotations.textgrid import read_textgrid, write_textgrid
from speechasym.errors import ConfigError, CorpusError


@pytest.fixture
def folder(tmp_path, toy):
    """Two recordings of the toy language with texts beside them, one with two speakers."""
    root = tmp_path / "own"
    for name, words in (("ann/one 1", ("a", "mass")), ("ben/two", ("am", "a", "mass"))):
        tone(root / f"{name}.wav", utterance(words)[0], RATE)
        (root / f"{name}.txt").write_text(" ".join(words).capitalize() + ".")
    first, second = utterance(("mass", "a"))[0], utterance(("am", "am"))[0]
    tone(root / "talk.wav", np.r_[first, second], RATE)
    middle, end = len(first) / RATE, (len(first) + len(second)) / RATE
    said = {"Ann": [Interval(0, middle, "mass a")], "Ben": [Interval(middle, end, "am, am")]}
    write_textgrid(root / "talk.TextGrid", said, end)
    return root


@pytest.fixture
def lexicon(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("AM  AA1 M\nMASS  M AA S\nA  AA0\n")
    return path


def test_every_format_and_resuming(folder, toy, lexicon, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    out = tmp_path / "out"
    tone(folder / "mute.wav")
    (folder / "ben" / "odd.lab").write_text("5")
    tone(folder / "ben" / "odd.wav", utterance(("a",))[0], RATE)
    (folder / "ben" / "unknown.lab").write_bytes("xylophone \xe9".encode("latin-1"))
    tone(folder / "ben" / "unknown.wav", utterance(("a", "a"))[0], RATE)
    call = ("align", toy / "run", folder, "--out", out, "--lexicon", lexicon)
    code, said, err = called(capsys, *call, "--format", "textgrid,ctm,csv,json,srt")
    assert code == 1 and "3 of 6 recordings aligned" in said
    for line in (
        "mute.wav: audio without text", "ben/odd.lab: text beyond the 28 letters: '5'",
        "'XYLOPHONE' is not in the lexicon", "read as Latin-1", "align: 100%",
    ):  # fmt: skip
        assert line in err
    tiers = read_textgrid(out / "ann/one_1.TextGrid")
    assert list(tiers) == ["phones", "words", "letters"]
    assert [i.label for i in tiers["words"] if i.label] == ["A", "MASS"]
    talk = read_textgrid(out / "talk.TextGrid")
    assert list(talk)[:2] == ["Ann - phones", "Ben - phones"]
    spoken = [i for i in talk["Ben - words"] if i.label]
    truth = utterance(("am", "am"))[1]
    offset = len(utterance(("mass", "a"))[0]) / RATE
    assert [i.label for i in spoken] == ["AM", "AM"]
    assert np.allclose([i.start for i in spoken], [offset + a for a, _, _ in truth], atol=0.06)
    words = read_ctm(out / "talk.words.ctm")["talk"]
    assert [i.label for i in words] == ["MASS", "A", "AM", "AM"]
    assert (out / "talk.csv").read_text().startswith("Begin,End,Label,Type,Speaker\n")
    assert ",words,Ben\n" in (out / "talk.csv").read_text()
    assert ",words,ann\n" in (out / "ann/one_1.csv").read_text()
    table = json.loads((out / "ben/two.json").read_text())
    assert [label for _, _, label in table["tiers"]["words"]["entries"]] == ["AM", "A", "MASS"]
    assert "\nA MASS\n" in (out / "ann/one_1.srt").read_text()
    report = json.loads((out / "report.json").read_text())
    assert set(report["scores"]) == {"ann/one_1", "ben/two", "talk"} and len(report["failed"]) == 3
    # again: all is kept, and nothing is written but the report
    before = contents(out)
    code, said, _ = called(capsys, *call)
    assert code == 1 and "kept from before" in said
    after = contents(out)
    assert after.pop("report.json") != before.pop("report.json") and after == before
    # another text, and a missing file: these are aligned again, in all formats
    (folder / "ann/one 1.txt").write_text("mass")
    (out / "ben/two.TextGrid").unlink()
    found = align(toy / "run", folder, out, lexicon=lexicon, show_progress=False)
    assert found.kept == 1 and len(found.scores) == 3
    assert "MASS" in (out / "ann/one_1.srt").read_text()
    assert "A MASS" not in (out / "ann/one_1.srt").read_text()
    assert contents(out)["ben/two.TextGrid"] == before["ben/two.TextGrid"]


def test_work_of_others_is_not_replaced(folder, toy, lexicon, tmp_path):
    out = tmp_path / "out"
    mine = out / "ben" / "two.TextGrid"
    mine.parent.mkdir(parents=True)
    mine.write_text("corrected by hand")
    options = {"lexicon": lexicon, "show_progress": False}
    found = align(toy / "run", folder, out, **options)
    assert (
        len(found.scores) == 2
        and "was not written by speechasym, or was changed" in found.failed["ben/two"]
    )
    assert mine.read_text() == "corrected by hand"
    edited = out / "talk.TextGrid"
    edited.write_text(edited.read_text() + "\n")
    found = align(toy / "run", folder, out, **options)
    assert set(found.failed) == {"ben/two", "talk"} and found.kept == 1
    assert edited.read_text().endswith("\n\n")
    found = align(toy / "run", folder, out, overwrite=True, **options)
    assert not found.failed and not edited.read_text().endswith("\n\n")
    with pytest.raises(ConfigError, match="other options"):
        align(toy / "run", folder, out, head="letters", **options)
    # results below the folder of the recordings are not taken for texts
    align(toy / "run", folder, folder / "aligned", **options)
    assert not align(toy / "run", folder, folder / "aligned", **options).failed


def test_bad_calls(folder, toy, tmp_path, capsys):
    with pytest.raises(ConfigError, match="folder of the recordings"):
        align(toy / "run", folder, folder)
    with pytest.raises(ConfigError, match="must be one of textgrid"):
        align(toy / "run", folder, tmp_path / "out", formats=["vtt"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="not found below it"):
        align(toy / "run", tmp_path / "empty", tmp_path / "out")
    code, _, err = called(capsys, "align", folder, "--out", tmp_path / "out", "--format", "xls")
    assert code == 2 and "must be one of textgrid" in err
    assert not (tmp_path / "out").exists()


def test_a_table_and_one_recording(folder, toy, lexicon, tmp_path, capsys):
    table = tmp_path / "all.tsv"
    table.write_text("file\ttext\town\nown/ben/two.wav\tam a mass\t\n")
    found = align(toy / "run", table, tmp_path / "out", lexicon=lexicon, show_progress=False)
    assert list(found.scores) == ["own/ben/two"]
    code, said, _ = called(
        capsys, "align", toy / "run", folder / "ben/two.wav", "mass", "--lexicon", lexicon,
        "--out", tmp_path / "one", "--format", "csv,srt",
    )  # fmt: skip
    assert code == 0 and said.endswith(f"{tmp_path / 'one' / 'two.csv'}\n{tmp_path}/one/two.srt\n")
