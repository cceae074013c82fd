"""The command `lexicon`."""

import pytest
from helpers import called, rule_phones, rule_words, table_rows
from helpers import text_manifest as manifest

from speechasym.language import lexicon


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    rows = [f"{word}  {' '.join(rule_phones(word))}\n" for word in rule_words(300)]
    (tmp_path / "own.txt").write_text("".join(rows) + "TOM  T AA1 M\n")
    (tmp_path / "other.txt").write_text("MOON SUN\n")
    (tmp_path / "book.txt").write_text("Tom mixed. Bacace said: Tom!\n")
    manifest(tmp_path / "cuts.jsonl", ["tom's than", "tom"])
    return tmp_path


def test_lexicon(made, capsys):
    call = ["lexicon", "own.txt", "--words", "book.txt", "cuts.jsonl", "--out", "out.txt"]
    code, out, _ = called(capsys, *call, "--missing", "missing.txt")
    assert code == 0 and lexicon.read_lexicon("out.txt") == {"TOM": [("T", "AA", "M")]}
    rows = table_rows(out)
    assert rows["words"] == "6, 8 times" and rows["in the lexicon"] == "1"
    assert rows["missing"] == "5, 62.50% of the text"
    assert rows["these"] == "BACACE, MIXED, SAID, THAN, TOM'S"
    assert (made / "missing.txt").read_text().split() == rows["these"].split(", ")
    code, out, _ = called(capsys, *call, "--guess")
    found = lexicon.read_lexicon("out.txt")
    assert code == 0 and found["TOM'S"] == [("T", "AA", "M", "Z")]
    assert found["BACACE"] == [("B", "AA", "K", "AA", "S")] and found["THAN"] == [said2("THAN")]
    text = (made / "out.txt").read_text()
    assert "TOM'S  T AA M Z # from TOM\n" in text and "THAN  TH AA N # guessed\n" in text
    rows = table_rows(out)
    assert rows["derived"].startswith("1,") and rows["guessed"] == "4" and "these" in rows


def said2(word):
    return tuple(phone.rstrip("012") for phone in rule_phones(word))


def test_a_lexicon_in_small_letters(made, capsys):
    rows = (line.split("  ") for line in (made / "own.txt").read_text().splitlines())
    (made / "small.txt").write_text("".join(f"{word.lower()} {row}\n" for word, row in rows))
    for more in ([], ["--guess"]):
        texts = []
        for name in ("own.txt", "small.txt"):
            call = ["lexicon", name, "--words", "book.txt", "--out", "out.txt", *more]
            assert called(capsys, *call)[0] == 0
            texts.append((made / "out.txt").read_text())
        assert texts[0] == texts[1] and "TOM  T AA M\n" in texts[1]


def test_only_frequent_words(made, capsys):
    call = ["lexicon", "own.txt", "--words", "book.txt,cuts.jsonl", "--out", "out.txt"]
    for more in (["--most", 1], ["--least", 3]):
        code, out, _ = called(capsys, *call, *more)
        assert code == 0 and table_rows(out)["missing"] == "0, 0.00% of the text"
        assert set(lexicon.read_lexicon("out.txt")) == {"TOM"}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--words", "none.txt"], "none.txt: cannot be read"),
        (["--words", "book.txt", "--most", 0], "most: must be an integer >= 1, got 0"),
        (["--words", "book.txt", "--learn-from", 0], "learn_from: must be an integer >= 1, got 0"),
        (["--words", "book.txt", "--least", 9], "no word"),
        (["--words", "other.txt"], "own.txt: has none of the 2 words, such as 'MOON'. Give"),
    ],
)
def test_lexicon_with_what_cannot_be(made, capsys, more, says):
    code, _, err = called(capsys, "lexicon", "own.txt", "--out", "out.txt", *more)
    assert code == 2 and says in err and not (made / "out.txt").exists()


def test_a_lexicon_corrected_by_hand_stays(made, capsys):
    call = ["lexicon", "own.txt", "--words", "book.txt", "--out", "out.txt"]
    call += ["--missing", "missing.txt"]
    for _ in range(2):  # what the command wrote itself, it may replace
        assert called(capsys, *call)[0] == 0
    for name in ("out.txt", "missing.txt"):
        before = (made / name).read_text()
        (made / name).write_text(before + "MINE  M AY N\n")
        code, out, err = called(capsys, *call)
        assert (code, out) == (2, "") and f"{name}: exists" in err
        assert (made / name).read_text().endswith("MINE  M AY N\n")
        assert called(capsys, *call, "--overwrite")[0] == 0
        assert (made / name).read_text() == before
