"""The command `lm`."""

import pytest
from helpers import called, table_rows
from helpers import text_manifest as manifest

from speechasym.language.arpa import read_arpa


@pytest.fixture
def made(tmp_path):
    (tmp_path / "book.txt").write_text('The sun rose. The sun set. "Oh!" It rained.\n')
    manifest(tmp_path / "train.jsonl", ["it rained", "the sun", "IT SHONE"])
    manifest(tmp_path / "dev.jsonl", ["the rain rained"])
    (tmp_path / "words.txt").write_text("the\nsun 12\nRAIN\n")
    (tmp_path / "lexicon.txt").write_text("THE  DH AH0\nRAINED  R EY1 N D\nMOON  M UW1 N\n")
    (tmp_path / "small.txt").write_text("the DH AH0\nRained R EY1 N D\nmoon M UW1 N\n")
    return tmp_path


def test_lm(made, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = made / "lm.arpa.gz"
    code, said, _ = called(
        capsys, "lm", made / "book.txt", "--transcripts", made / "train.jsonl", "--out", out,
        "--order", 2, "--test", made / "dev.jsonl", made / "book.txt",
    )  # fmt: skip
    assert code == 0
    rows = table_rows(said)
    assert rows["sentences"] == "7" and rows["words"] == "15, of which 0 unknown"
    model = read_arpa(out)
    assert set(model.words[3:]) == {"THE", "SUN", "ROSE", "SET", "OH", "IT", "RAINED", "SHONE"}
    assert rows["2-grams"].startswith(f"{model.sizes[1]}; discounts ")
    wanted = model.perplexity([["THE", "RAIN", "RAINED"]]).perplexity
    assert f"{wanted:.1f} on {made}/dev.jsonl: 1 sentence, 3 words, 33.33% unknown" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--least", 2], {"THE", "SUN"}),
        (["--vocabulary", "words.txt"], {"THE", "SUN", "RAIN"}),
        (["--lexicon", "lexicon.txt"], {"THE", "RAINED"}),
        (["--lexicon", "small.txt"], {"THE", "RAINED"}),
        (["--lexicon", "lexicon.txt", "--vocabulary", "words.txt"], {"THE"}),
    ],
)
def test_vocabularies(made, capsys, monkeypatch, options, words):
    monkeypatch.chdir(made)
    code, _, _ = called(capsys, "lm", "book.txt", "--out", "lm.arpa", *options)
    assert code == 0 and set(read_arpa("lm.arpa").words[3:]) == words


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no texts to learn from"),
        (["none.txt"], "none.txt: cannot be read"),
        (["book.txt", "--order", "12"], "order: must be from 1 to 9, got 12"),
        (["book.txt", "--least", "9"], "no word is left"),
        (["book.txt", "--vocabulary", "none"], "none: cannot be read"),
        (["book.txt", "--test", "none.jsonl"], "none.jsonl: no such manifest"),
    ],
)
def test_lm_with_what_cannot_be(made, capsys, monkeypatch, arguments, says):
    monkeypatch.chdir(made)
    code, _, err = called(capsys, "lm", *arguments, "--out", "lm.arpa")
    assert code == 2 and says in err and not (made / "lm.arpa").exists()


def test_a_model_of_somebody_stays(made, capsys, monkeypatch):
    monkeypatch.chdir(made)
    (made / "lm.arpa").write_text("of somebody")
    call = ["lm", "book.txt", "--out", "lm.arpa"]
    code, out, err = called(capsys, *call)
    assert (code, out) == (2, "") and "lm.arpa: exists" in err
    assert (made / "lm.arpa").read_text() == "of somebody"
    assert called(capsys, *call, "--overwrite")[0] == called(capsys, *call)[0] == 0
