"""Alignment of a manifest: the folder it fills, resuming, and everything that can go wrong."""

import json

import numpy as np
import pytest
from helpers import called, write_cuts
from toy import LEXICON

from speechasym.annotations.ctm import read_ctm
from speechasym.annotations.tiers import read_tiers
from speechasym.corpora.manifests import read_cuts
from speechasym.errors import ConfigError, OutputError
from speechasym.recognition import alignment_results
from speechasym.recognition.align_cuts import align_cuts
from speechasym.recognition.alignment_results import AlignedCuts
from speechasym.training import labels


def test_command(toy, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    call = ("align", toy / "run", toy / "test_cuts.jsonl.gz", "--out", tmp_path / "out")
    code, said, _ = called(capsys, *call)
    assert code == 0 and "7 of 7 cuts aligned" in said and "within 20 ms" in said
    assert said.endswith(f"{tmp_path / 'out'}\n") and "kept" not in said
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(report["scores"]) == {f"test-{n:02d}" for n in range(7)} and not report["failed"]
    assert report["boundaries"]["words"]["within_0.05_s"] > 0.8
    tiers = read_tiers(tmp_path / "out" / "test-00.TextGrid")
    assert list(tiers) == ["phones", "words", "letters"]
    for tier in ("phones", "words"):
        table = read_ctm(tmp_path / "out" / f"{tier}.ctm")
        assert len(table) == 7
        assert table["test-00"] == [i for i in tiers[tier] if i.label]
    # cuts with these times, to train with
    path = tmp_path / "out" / "aligned_cuts.jsonl.gz"
    timed = {cut.id: cut for cut in read_cuts(path)}
    assert list(timed) == list(table)
    for tier in ("phone", "word"):
        found = labels.aligned(timed["test-00"], tier)
        expected = [i for i in tiers[f"{tier}s"] if i.label]
        assert [i.label for i in found] == [i.label for i in expected]
        assert np.allclose([i[:2] for i in found], [i[:2] for i in expected], atol=1e-5)
    path.write_bytes(b"my own")
    assert called(capsys, *call)[0] == 2
    assert called(capsys, *call, "--overwrite")[0] == 0
    assert len(list(read_cuts(path))) == 7
    # what is there is kept, what a kill left half is toy again
    before = (tmp_path / "out" / "phones.ctm").read_bytes()
    (tmp_path / "out" / "test-03.TextGrid").write_text("File type")
    log = tmp_path / "out" / alignment_results.LOG
    log.write_bytes(log.read_bytes()[:-20])
    code, said, _ = called(capsys, *call)
    assert code == 0 and "kept from before" in said and " 5 " in said
    assert (tmp_path / "out" / "phones.ctm").read_bytes() == before
    code, _, err = called(capsys, *call, "--head", "letters")
    assert code == 2 and "other options" in err
    code, said, _ = called(capsys, *call[:-1], tmp_path / "by", "--head", "letters")
    assert code == 0 and "cuts by letters" in said and not (tmp_path / "by/phones.ctm").exists()


def test_aligned_cuts_with_several_supervisions(trained, cuts, tmp_path):
    """Each has its own words and phones."""
    from dataclasses import replace

    (whole,) = cuts[0].supervisions
    second = whole.alignment["word"][1]
    parts = []
    for name, begin, end in (("b", second.start, whole.end), ("a", 0, second.start)):
        own = {
            kind: [i for i in items if begin <= i.start < end]
            for kind, items in whole.alignment.items()
        }
        text = " ".join(item.symbol for item in own["word"])
        parts.append(
            replace(whole, id=name, start=begin, duration=end - begin, text=text, alignment=own)
        )
    path = write_cuts(tmp_path / "cuts.jsonl.gz", [replace(cuts[0], supervisions=parts)])
    align_cuts(trained, path, tmp_path / "out", show_progress=False)
    (found,) = read_cuts(tmp_path / "out" / "aligned_cuts.jsonl.gz")
    assert [s.id for s in found.supervisions] == ["b", "a"]
    for timed, known in zip(found.supervisions, parts, strict=True):
        for kind, items in known.alignment.items():
            labels_of = [[i.symbol.lower() for i in s.alignment[kind]] for s in (timed, known)]
            assert items and labels_of[0] == labels_of[1]
            off = [a.start - b.start for a, b in zip(timed.alignment[kind], items, strict=True)]
            assert np.median(np.abs(off)) < 0.05


def test_cuts_that_fail_do_not_stop_the_others(toy, cuts, trained, tmp_path, capsys, monkeypatch):
    from dataclasses import replace

    def but(cut, name, **changed):
        own = replace(cut.supervisions[0], **changed)
        return replace(cut, id=name, supervisions=[own])

    some = [
        cuts[0],
        but(cuts[1], "mute", text=None),
        but(cuts[2], "strange", text="xylophone", alignment=None),
        but(cuts[3], "long", text="mass " * 99, alignment=None),
        but(cuts[4], "../up"),
        replace(cuts[5], id="gone", recording=replace(cuts[5].recording, sources=[
            replace(cuts[5].recording.sources[0], source=str(tmp_path / "no.wav"))])),
    ]  # fmt: skip
    path = write_cuts(tmp_path / "cuts.jsonl.gz", some)
    words = tmp_path / "words.txt"
    words.write_text("".join(f"{w}  {' '.join(p)}\n" for w, rows in LEXICON.items() for p in rows))
    call = ("align", toy / "run", path, "--out", tmp_path / "out", "--lexicon", words)
    code, said, err = called(capsys, *call)
    assert code == 1 and "1 of 6 cuts aligned" in said and "1 more" not in err
    failed = json.loads((tmp_path / "out" / "report.json").read_text())["failed"]
    assert set(failed) == {"mute", "strange", "long", "../up", "gone"}
    assert "has no text" in failed["mute"] and "'XYLOPHONE'" in failed["strange"]
    assert "steps of the model" in failed["long"] and "not a valid file name" in failed["../up"]
    assert "cannot be read" in failed["gone"]
    assert not (tmp_path / "up.TextGrid").exists()
    # the pretrained model has a lexicon; the toy's recordings are not English
    assert set(align_cuts(None, path, tmp_path / "en", show_progress=False).failed) > {"mute"}
    # a word that the lexicon has not, from its spelling or by letters
    found = align_cuts(
        trained, path, tmp_path / "by", lexicon=words, spelling=True, show_progress=False
    )
    assert found.heads["strange"] == "letters" and found.heads["test-00"] == "phones"
    made_up = {"XYLOPHONE": ("S", "AA")}
    monkeypatch.setattr("speechasym.language.letter_to_sound.learn", lambda words: Guesses(made_up))
    found = align_cuts(
        trained, path, tmp_path / "to", lexicon=words, spelling=True, show_progress=False
    )
    assert found.heads["strange"] == "phones"


class Guesses(dict):
    pronounce = dict.__getitem__


def test_bad_calls(toy, trained, tmp_path, capsys):
    cuts = toy / "test_cuts.jsonl.gz"
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(OutputError, match="is a file"):
        align_cuts(trained, cuts, file)
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(ConfigError, match="contains no cuts"):
        align_cuts(trained, tmp_path / "empty.jsonl", tmp_path / "out")
    with pytest.raises(ConfigError, match="must be one of phones, letters"):
        align_cuts(trained, cuts, tmp_path / "out", head="words")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / alignment_results.LOG).write_text("no json\n")
    with pytest.raises(ConfigError, match="not a list of alignments"):
        align_cuts(trained, cuts, tmp_path / "odd")
    code, _, err = called(capsys, "align", tmp_path / "no", cuts, "--out", tmp_path / "out")
    assert code == 2 and "neither the folder of a run nor a recording" in err
    code, _, err = called(
        capsys, "align", toy / "run", cuts, "--out", tmp_path / "o", "--lexicon", file
    )
    assert code == 2 and "has no phones" in err
    assert not (tmp_path / "out").exists()


def test_shares_of_boundaries_within_limits(tmp_path):
    result = AlignedCuts(folder=tmp_path, late={"words": [0.01, -0.02, 0.03, 0.2]}).within()
    assert result["words"] == {
        "boundaries": 4, "median_s": 0.025,
        "within_0.02_s": 0.5, "within_0.05_s": 0.75, "within_0.1_s": 0.75,
    }  # fmt: skip
