"""Text files: encodings, line ends, gzip, and what is not text."""

import gzip

import pytest

from speechasym.errors import OutputError, TextError
from speechasym.files import WRITTEN, read_text, replacing


@pytest.mark.parametrize(
    ("raw", "options"),
    [
        ("é\nb\n".encode(), {}),
        ("é\r\nb\r".encode("utf-8-sig"), {}),
        (gzip.compress("é\nb\n".encode(), mtime=0), {}),
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
        (gzip.compress(b"abc", mtime=0)[:-9], {}, r"x.txt: cannot be read \(Compressed"),
        (b" \r\n", {}, "x.txt: is empty"),
        (None, {}, r"x.txt: cannot be read \(No such file"),
    ],
)
def test_not_text(tmp_path, raw, options, problem):
    if raw is not None:
        (tmp_path / "x.txt").write_bytes(raw)
    with pytest.raises(TextError, match=problem):
        read_text(tmp_path / "x.txt", TextError, **options)


def write(path, text, overwrite=False):
    with replacing(path, None, overwrite=overwrite):
        path.write_text(text)


def test_only_what_was_recorded_is_replaced(tmp_path):
    path, other = tmp_path / "ü.txt", tmp_path / "other.txt"
    write(path, "a")
    write(other, "a")
    write(path, "b")
    path.write_text("mine")
    with pytest.raises(OutputError, match=r"exists.*--overwrite"):
        write(path, "c")
    assert path.read_text() == "mine"
    write(other, "b")
    write(path, "c", overwrite=True)
    write(path, "d")
    assert path.read_text() == "d"
    path.rename(tmp_path / "moved.txt")
    with pytest.raises(OutputError, match="exists"):
        write(tmp_path / "moved.txt", "e")


@pytest.mark.parametrize("record", [b"", b"[1]", b"\xff", b"{"])
def test_a_damaged_record_protects(tmp_path, record):
    write(tmp_path / "x.txt", "a")
    (tmp_path / WRITTEN).write_bytes(record)
    with pytest.raises(OutputError, match="exists"):
        write(tmp_path / "x.txt", "b")
    write(tmp_path / "x.txt", "b", overwrite=True)
    write(tmp_path / "x.txt", "c")


def test_a_block_that_fails_records_nothing(tmp_path):
    with pytest.raises(KeyError), replacing(tmp_path / "x.txt", overwrite=False):
        (tmp_path / "x.txt").write_text("half")
        raise KeyError
    assert not (tmp_path / WRITTEN).exists()
