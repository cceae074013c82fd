"""Lexicons: CMUdict's two forms and LibriSpeech's, and what is wrong with others."""

import re

import pytest

from speechasym.errors import LexiconError
from speechasym.language import phones
from speechasym.language.lexicon import Lexicon, read_lexicon, restrict, write_lexicon

CMUDICT = """;;; a comment
'BOUT  B AW1 T
FIRE  F AY1 ER0
FIRE(1)  F AY1 R
#SHARP-SIGN  SH AA1 R P S AY1 N
)PAREN  P ER0 EH1 N
FIRE(2)  F AY1 R
"""
NLTK = "FIRE 1 F AY1 ER0\nFIRE 2 F AY1 R\n'BOUT 1 B AW1 T\nA42128 1 EY1\n"
LIBRISPEECH = "'BOUT\tB AW1 T\nFIRE\tF AY1 ER0\nFIRE\tF AY1 R\nA''S\tEY1 Z\n"
FIRE = [("F", "AY1", "ER0"), ("F", "AY1", "R")]


@pytest.mark.parametrize("text", [CMUDICT, NLTK, LIBRISPEECH, LIBRISPEECH.replace("\n", "\r\n")])
def test_formats(tmp_path, text):
    path = tmp_path / "lexicon.txt"
    path.write_text(text, "utf-8", newline="")
    lexicon = read_lexicon(path)
    assert lexicon["FIRE"] == FIRE  # in order, and the same twice once
    assert lexicon["'BOUT"] == [("B", "AW1", "T")]
    assert "FIRE(1)" not in lexicon and all("(" not in word for word in lexicon)


def test_comments_behind_and_words_of_signs(tmp_path):
    path = tmp_path / "cmudict.dict"
    path.write_text(CMUDICT + "D'ARTAGNAN D AA0 R # foreign french\n", "utf-8")
    lexicon = read_lexicon(path)
    assert lexicon["D'ARTAGNAN"] == [("D", "AA0", "R")]
    assert {"#SHARP-SIGN", ")PAREN"} <= set(lexicon)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_encodings(tmp_path, encoding):
    path = tmp_path / "lexicon.txt"
    path.write_bytes("DÉJÀ  D EY1 ZH AA2\n".encode(encoding))
    assert read_lexicon(str(path)) == {"DÉJÀ": [("D", "EY1", "ZH", "AA2")]}


def test_pronounce():
    lexicon = Lexicon({"FIRE": FIRE})
    words = ["fire", "brick", "FIRE", ""]
    assert [lexicon.pronounce(word) for word in words] == [FIRE, [], FIRE, []]


def test_words_are_found_in_any_case():
    rows = {w: [("S", s)] for w, s in (("the", "A"), ("Polish", "B"), ("polish", "C"), ("I", "D"))}
    lexicon = Lexicon(rows)
    assert lexicon.pronounce("THE") == lexicon.pronounce("The") == rows["the"]
    assert lexicon.pronounce("polish") == rows["polish"]  # as it is written
    assert lexicon.pronounce("POLISH") == rows["Polish"] + rows["polish"]
    assert lexicon.pronounce("i") == rows["I"] and lexicon.pronounce("MOON") == []
    lexicon["moon"] = [("M",)]
    assert lexicon.pronounce("MOON") == [("M",)]
    assert list(lexicon) == ["the", "Polish", "polish", "I", "moon"]
    assert restrict(lexicon, ["THE", "SUN"]) == {"THE": rows["the"]}


def test_extra_symbols(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("!SIL SIL\n<UNK> SPN\n<sil> sil\nA AH0\n", "utf-8")
    assert read_lexicon(path, ("SIL", "SPN"))["<UNK>"] == [("SPN",)]
    assert read_lexicon(path) == {"A": [("AH0",)]}  # what is not a word is left out
    assert set(read_lexicon(path, phones.SILENCES)) == {"!SIL", "<sil>", "A"}
    path.write_text("A AH0 SPN\n")
    with pytest.raises(LexiconError, match=r"lexicon.txt:1: 'SPN' of 'A' is not one of the 39"):
        read_lexicon(path)


@pytest.mark.parametrize("columns", ["1.0", "0.99\t0.12\t1.3e-2\t1.0", "1", "1. .5"])
def test_probabilities_are_ignored(tmp_path, columns):
    """Kaldi's lexiconp.txt has one column, MFA's dictionaries up to four."""
    path = tmp_path / "lexicon.txt"
    path.write_text(LIBRISPEECH.replace("FIRE\t", f"FIRE\t{columns}\t"))
    assert read_lexicon(path)["FIRE"] == FIRE
    path.write_text(f"FIRE {columns}\n")
    with pytest.raises(LexiconError, match=r":1: .* has no phones"):
        read_lexicon(path)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"A  AH0\nB  B1\n", r"lexicon.txt:2: 'B1' of 'B' is not one of the 39 ARPAbet phones"),
        (b"A  AH0\nB  B IY4\n", r":2: 'IY4'"),
        (b"A  ah\n", r":1: 'ah'"),
        (b";;; x\n\nFIRE\n", r":3: 'FIRE' has no phones, expected `WORD  P1 P2`. Fix"),
        (b"FIRE 1\n", r":1: 'FIRE 1' has no phones"),
        (b"A AH0\n\x1f\x8b\x00\x01", r":2: byte 8 is not text"),
        ("A AH0\n".encode("utf-16"), r":1: byte 3 is not text"),
        (b"", r"lexicon.txt: is empty"),
        (b";;; nothing\n", r"lexicon.txt: no entries"),
    ],
)
def test_bad_lexicon(tmp_path, raw, says):
    path = tmp_path / "lexicon.txt"
    path.write_bytes(raw)
    with pytest.raises(LexiconError, match=says) as raised:
        read_lexicon(path)
    assert re.match(re.escape(str(path)), str(raised.value))


def test_not_there(tmp_path):
    with pytest.raises(LexiconError, match=r"nothing.txt: cannot be read"):
        read_lexicon(tmp_path / "nothing.txt")
    with pytest.raises(LexiconError, match=r"cannot be read"):
        read_lexicon(tmp_path)


def test_restrict_drops_stress():
    entries = Lexicon(
        {
            "TOM": [("T", "AA1", "M"), ("T", "AO1", "M"), ("T", "AA0", "M")],
            "CAT": [("K", "AE1", "T")],
            "COLOR": [("K", "AH1", "L", "ER0")],
        }
    )
    assert restrict(entries, ["tom", "CAT", "DOG", "CAT"]) == {
        "CAT": [("K", "AE", "T")],
        "tom": [("T", "AA", "M"), ("T", "AO", "M")],
    }


def test_what_was_written_is_read(tmp_path):
    path = tmp_path / "lexicon.txt"
    entries = Lexicon(
        {
            "CAT": [("K", "AE", "T")],
            "COLOR": [("K", "AH", "L", "ER")],
            "TOM": [("T", "AA", "M"), ("T", "AO", "M")],
        }
    )
    write_lexicon(path, entries, {"CAT": "", "COLOR": "COLOUR"})
    assert read_lexicon(path) == entries
    lines = path.read_text().splitlines()
    assert "CAT  K AE T # guessed" in lines and "COLOR  K AH L ER # from COLOUR" in lines
    assert "TOM(1)  T AO M" in lines
