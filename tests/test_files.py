"""Text files: encodings, line ends, gzip, and what is not text."""

import gzip

import pytest

from speechasym.errors import TextError
from speechasym.files import read_text


@pytest.mark.parametrize(
    ("raw", "options"),
    [
        ("é\nb\n".encode(), {}),
        ("é\r\nb\r".encode("utf-8-sig"), {}),
        (gzip.compress("é\nb\n".encode()), {}),
        ("é\nb\n".encode("utf-16"), {"utf16": True}),
        ("é\nb\n".encode("latin-1"), {"latin1": True}),
        ("é\nb\n".encode(), {"utf16": True, "latin1": True}),
    ],
)
def test_encodings_and_line_ends(tmp_path, raw, options):
    (tmp_path / "x.txt").write_bytes(raw)
    assert read_text(tmp_path / "x.txt", TextError, **options) == "é\nb\n"


@pytest.mark.parametrize(
    ("raw", "options", "problem"),
    [
        (b"a\nb \xff", {}, "x.txt:2: byte 4 is not UTF-8 text. Save"),
        (b"a\nb \xff", {"utf16": True}, "x.txt:2: byte 4 is not UTF-8 or marked UTF-16 text"),
        (b"\xff\xfe0", {"utf16": True}, "x.txt:1: byte 2 is not UTF-8 or marked UTF-16"),
        ("a\n".encode("utf-16"), {}, "x.txt:1: byte 0 is not UTF-8 text"),
        ("a\n".encode("utf-16"), {"latin1": True}, "x.txt:1: byte 3 is not text"),
        (b"a\nb\0", {}, "x.txt:2: byte 3 is not text"),
        (gzip.compress(b"abc")[:-9], {}, r"x.txt: cannot be read \(Compressed"),
        (b" \r\n", {}, "x.txt: is empty"),
        (None, {}, r"x.txt: cannot be read \(No such file"),
    ],
)
def test_not_text(tmp_path, raw, options, problem):
    if raw is not None:
        (tmp_path / "x.txt").write_bytes(raw)
    with pytest.raises(TextError, match=problem):
        read_text(tmp_path / "x.txt", TextError, **options)
