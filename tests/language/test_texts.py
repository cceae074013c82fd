"""Sentences of words from plain books and transcripts."""

import gzip

import pytest

from speechasym.errors import TextError
from speechasym.language.texts import read_sentences, sentences_of

BOOK = """The Project Gutenberg Etext of X
*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*

CHAPTER I

THE LONG WAY
HOME

Mr. Brown-Smith, M. P., asked Dr. Who: \u2018Can\u2019t _you_ come to-day?\u2019 "Yes!" said
she--James' wife; 'twas
caf\u00e9 & cake, etc. No. In 1801 he died. Part of it I. Then all.

XIV

Part of me wants that. O'Brien's

[The End]

End of the Project Gutenberg Etext of X
No more. Of this.
"""


def test_words_of_a_book():
    assert [" ".join(words) for words in sentences_of(BOOK)] == [
        "MISTER BROWN SMITH M P ASKED DOCTOR WHO CAN'T YOU COME TO DAY",
        "YES SAID SHE JAMES WIFE TWAS CAFE AND CAKE ET CETERA NO",
        "PART OF IT I",
        "THEN ALL",
        "PART OF ME WANTS THAT",
        "O'BRIEN'S",
    ]


def test_words_of_transcripts():
    text = "OH WELL\nIT'S 'TIS\n\nI\nROOM 12\n"
    assert sentences_of(text) == [["OH", "WELL"], ["IT'S", "TIS"], ["I"]]


@pytest.mark.parametrize(
    ("text", "count"),
    [("He said: \u201cGo!\u201d \u201cNo.\u201d", 2), ("Mr. A. B. Cook left.", 1),
     ("Yes... no.", 1), ("What?! Me.", 2), ("Wait... They did.", 2), ("1801", 0),
     ("Chapter the Last\nin which", 0), ("Of Louis XIV, vol. iii.", 0),
     ("Li is ill, I'll mix.", 1)],
)  # fmt: skip
def test_sentences(text, count):
    assert len(sentences_of(text)) == count


def test_texts_that_cannot_be_read(tmp_path):
    for name, raw, says in (
        ("empty.txt", b"", "is empty"),
        ("signs.txt", b"... 12!", "no sentences"),
        ("binary.txt", b"He\0", "byte 2 is not text"),
        ("cut.txt.gz", gzip.compress(b"He said so.")[:-9], "cannot be read"),
    ):
        path = tmp_path / name
        path.write_bytes(raw)
        with pytest.raises(TextError, match=f"{name}.*: .*{says}"):
            read_sentences(path)
    with pytest.raises(TextError, match=r"none.txt: cannot be read \(No such file"):
        read_sentences(tmp_path / "none.txt")
    path = tmp_path / "book.txt.gz"
    path.write_bytes(gzip.compress("Ça va. Bien.".encode("latin-1")))
    assert read_sentences(path) == [["CA", "VA"], ["BIEN"]]
