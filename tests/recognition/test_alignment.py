"""Forced alignment: places by CTC, boundaries by the features, and everything that can go wrong."""

import json
from itertools import pairwise

import numpy as np
import pytest
from helpers import called
from toy import toy, utterance

from speechasym.annotations.ctm import read_ctm
from speechasym.annotations.intervals import Interval
from speechasym.annotations.tiers import read_tiers
from speechasym.corpora import manifests
from speechasym.errors import AlignmentError, ConfigError, MissingWordError, OutputError
from speechasym.language.lexicon import Lexicon
from speechasym.recognition import align_cuts as align_cuts_module
from speechasym.recognition import alignment
from speechasym.recognition.align_cuts import align_cuts
from speechasym.recognition.alignment import Alignment, align
from speechasym.recognition.trained_model import open_run

LEXICON = {"AM": [("AA1", "S"), ("AA1", "M")], "MASS": [("M", "AA0", "S")], "A": [("AA1",)]}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return toy(tmp_path_factory)


@pytest.fixture(scope="module")
def trained(made):
    return open_run(made / "run")


@pytest.fixture(scope="module")
def cuts(made):
    return list(manifests.read_cuts(made / "test_cuts.jsonl.gz"))


def lexicon(**more):
    return Lexicon(LEXICON | more)


def test_boundaries_lie_where_features_change():
    """Four symbols and a pause, with the places of their peaks wherever inside."""
    edges, rng = [20, 34, 50, 90, 101], np.random.default_rng(0)
    means = rng.normal(size=(5, 8))
    names = np.searchsorted([*edges, 130], np.arange(130), side="right")
    x = means[[0, 1, 2, 0, 3, 0]][names] + 0.1 * rng.normal(size=(130, 8))
    x = x.astype(np.float32)
    spans = alignment.boundaries(x, [25, 45, 97], [0, 0, 1], 100.0)
    np.testing.assert_allclose(spans, [(20, 34), (34, 50), (90, 101)], atol=1)
    assert spans[0][1] == spans[1][0] and spans[1][1] < spans[2][0]
    # within a word there is no pause
    spans = alignment.boundaries(x, [25, 45, 97], [0, 0, 0], 100.0)
    assert spans[1][1] == spans[2][0]
    # nothing to choose from: the middle, in order, inside
    for places in ([0.0], [0.0, 0.5, 0.5], [129.5, 130.0], [3.0, 4.0]):
        spans = alignment.boundaries(x, places, [0] * len(places), 100.0)
        flat = [time for span in spans for time in span]
        assert flat == sorted(flat) and flat[0] >= 0 and flat[-1] <= 130


def test_change_against_a_dumb_loop():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(30, 4)).astype(np.float32)
    costs = {}
    for at in range(5, 21):
        left, right = x[5:at].astype(float), x[at:21].astype(float)
        cost = sum(((part - part.mean(0)) ** 2).sum() for part in (left, right) if len(part))
        costs[at] = cost / 4 + alignment.PRIOR * ((at - 11) / 6) ** 2
    del costs[5]  # the left side would have nothing
    assert alignment._change(x, 5.0, 20.0, 11.0, 6.0) == min(costs, key=costs.get)


def test_cuts_with_their_own_phones(trained, cuts):
    """Words and phones lie where they were put, to some ms."""
    late = {"words": [], "phones": []}
    for cut in cuts:
        found = align(trained, cut)
        assert list(found.tiers) == ["phones", "words", "letters"]
        assert found.seconds == pytest.approx(cut.duration) and found.score < 0
        items = cut.supervisions[0].alignment
        own = {kind: [i.symbol for i in items[kind]] for kind in ("word", "phone")}
        assert [i.label for i in found.tiers["phones"]] == own["phone"]
        assert [i.label for i in found.tiers["words"]] == [word.upper() for word in own["word"]]
        letters = "".join(i.label for i in found.tiers["letters"])
        assert letters == "".join(own["word"]).upper()
        for rows in found.tiers.values():
            assert all(a.end <= b.start for a, b in pairwise(rows))
            assert rows[0].start >= 0 and rows[-1].end <= cut.duration
            assert all(type(time) is float for i in rows for time in i[:2])  # CTM writes repr
        for kind, rows in alignment.deviations(trained, found, cut).items():
            late[kind] += rows
    assert alignment.share_within(late["words"], (0.02, 0.05))[0.05] > 0.8
    assert np.median(np.abs(late["phones"])) < 0.02
    assert len(late["words"]) == 2 * sum(len(cut.supervisions[0].text.split()) for cut in cuts)


def test_lexicon_chooses_the_pronunciation_that_is_said(trained):
    x, said, sounds = utterance(["am", "mass", "a", "a"])
    x = x.astype(np.float32)
    found = align(trained, x, "Am mass, a a!", lexicon=lexicon())
    assert [i.label for i in found.tiers["phones"]] == [label for *_, label in sounds]
    assert [i.label for i in found.tiers["words"]] == ["AM", "MASS", "A", "A"]
    off = [i.start - start for i, (start, *_) in zip(found.tiers["words"], said, strict=True)]
    assert np.median(np.abs(off)) < 0.03
    again = align(trained, x, ["AM", "MASS", "A", "A"], lexicon=lexicon())
    assert again.tiers["phones"] == found.tiers["phones"]


def test_by_letters(trained, cuts, tmp_path):
    for one in (
        align(trained, cuts[0], head="letters"),
        align(trained, cuts[0], cuts[0].supervisions[0].text),
    ):
        assert list(one.tiers) == ["words", "letters"]
        words, letters = one.tiers["words"], one.tiers["letters"]
        assert words[0].start == letters[0].start and words[-1].end == letters[-1].end
        assert " ".join(i.label for i in words) == cuts[0].supervisions[0].text.upper()


def test_spell(trained, cuts):
    asked = []

    def spell(word):
        asked.append(word)
        return [("M", "AA1")]

    x, _, _ = utterance(["mass", "a"])
    x = x.astype(np.float32)
    with pytest.raises(MissingWordError, match="'MA' is not in the lexicon"):
        align(trained, x, "ma a", lexicon=lexicon())
    found = align(trained, x, "ma a", lexicon=lexicon(), spell=spell)
    assert asked == ["MA"] and [i.label for i in found.tiers["phones"]] == ["m", "aa", "aa"]


def test_what_cannot_be_aligned(trained, cuts):
    x, _, _ = utterance(["mass", "a"])
    x = x.astype(np.float32)
    with pytest.raises(AlignmentError, match="does not know the phone 'ZH'"):
        align(trained, x, "x", lexicon=lexicon(X=[("ZH", "AA0")]))
    with pytest.raises(AlignmentError, match="200 symbols need 399 steps of the model"):
        align(trained, x, "a " * 200, lexicon=lexicon())
    with pytest.raises(AlignmentError, match="no words"):
        align(trained, x, "")
    with pytest.raises(AlignmentError, match="phones are not known"):
        align(trained, x, "mass a", head="phones")
    with pytest.raises(ConfigError, match="words"):
        align(trained, x)
    plain = trained._replace(inventories={"phones": trained.inventories["phones"]})
    with pytest.raises(AlignmentError, match="no head for letters"):
        align(plain, x, "mass a")
    with pytest.raises(ConfigError, match="no head letters"):
        align(plain, x, "mass a", head="letters")


def test_deviations():
    cut = type("Cut", (), {"supervisions": []})()
    assert (
        alignment.deviations(None, Alignment(1.0, {"words": [Interval(0, 1, "A")]}, 0.0), cut) == {}
    )
    assert alignment.share_within([0.01, -0.02, 0.03, 0.2], (0.02, 0.1)) == {0.02: 0.5, 0.1: 0.75}


def manifest(path, cuts):
    from lhotse import CutSet

    CutSet.from_cuts(cuts).to_file(path)
    return path


def test_command(made, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    call = ("align", made / "run", made / "test_cuts.jsonl.gz", "--out", tmp_path / "out")
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
    # what is there is kept, what a kill left half is made again
    before = (tmp_path / "out" / "phones.ctm").read_bytes()
    (tmp_path / "out" / "test-03.TextGrid").write_text("File type")
    log = tmp_path / "out" / align_cuts_module.LOG
    log.write_bytes(log.read_bytes()[:-20])
    code, said, _ = called(capsys, *call)
    assert code == 0 and "kept from before" in said and " 5 " in said
    assert (tmp_path / "out" / "phones.ctm").read_bytes() == before
    code, _, err = called(capsys, *call, "--head", "letters")
    assert code == 2 and "other options" in err
    code, said, _ = called(capsys, *call[:-1], tmp_path / "by", "--head", "letters")
    assert code == 0 and "cuts by letters" in said and not (tmp_path / "by/phones.ctm").exists()


def test_cuts_that_fail_do_not_stop_the_others(made, cuts, trained, tmp_path, capsys, monkeypatch):
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
    path = manifest(tmp_path / "cuts.jsonl.gz", some)
    words = tmp_path / "words.txt"
    words.write_text("".join(f"{w}  {' '.join(p)}\n" for w, rows in LEXICON.items() for p in rows))
    call = ("align", made / "run", path, "--out", tmp_path / "out", "--lexicon", words)
    code, said, err = called(capsys, *call)
    assert code == 1 and "1 of 6 cuts aligned" in said and "1 more" not in err
    failed = json.loads((tmp_path / "out" / "report.json").read_text())["failed"]
    assert set(failed) == {"mute", "strange", "long", "../up", "gone"}
    assert "has no text" in failed["mute"] and "'XYLOPHONE'" in failed["strange"]
    assert "steps of the model" in failed["long"] and "not a valid file name" in failed["../up"]
    assert "cannot be read" in failed["gone"]
    assert not (tmp_path / "up.TextGrid").exists()
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


def test_bad_calls(made, trained, tmp_path, capsys):
    cuts = made / "test_cuts.jsonl.gz"
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(OutputError, match="is a file"):
        align_cuts(trained, cuts, file)
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(ConfigError, match="contains no cuts"):
        align_cuts(trained, tmp_path / "empty.jsonl", tmp_path / "out")
    with pytest.raises(ConfigError, match="must be phones or letters"):
        align_cuts(trained, cuts, tmp_path / "out", head="words")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / align_cuts_module.LOG).write_text("no json\n")
    with pytest.raises(ConfigError, match="not a list of alignments"):
        align_cuts(trained, cuts, tmp_path / "odd")
    code, _, err = called(capsys, "align", tmp_path / "no", cuts, "--out", tmp_path / "out")
    assert code == 2 and "not the folder of a run" in err
    code, _, err = called(
        capsys, "align", made / "run", cuts, "--out", tmp_path / "o", "--lexicon", file
    )
    assert code == 2 and "has no phones" in err
    assert not (tmp_path / "out").exists()
