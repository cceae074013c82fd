"""The fields of Praat's object files, text or binary, one after the other."""

import math
import re
import struct
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NoReturn

from speechasym.errors import AnnotationError

BINARY = b"ooBinaryFile"  # how binary files begin
# Praat's grammar of text files: words that begin with a digit or a sign are numbers; texts are
# quoted, with inner quotes doubled; flags are in < >; every other word is a comment
_TOKEN = re.compile(
    r'"(?P<text>[^"]*(?:""[^"]*)*)"(?=\s|\Z)|<(?P<flag>[^>]*)>|\+(?=\s)|(?P<number>[-+0-9]\S*)'
    r'|(?P<bad>["<]\S*)|!.*|\S+'
)
_REMEDY = "Copy it again, or save it in Praat"
_NUMBER = re.compile(r"([-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)(%?)")
_FRACTION = re.compile(r"([-+]?[0-9]{1,40})/(0*[1-9][0-9]{,40})")


def tokens(text: str, start: int = 0) -> list[re.Match[str]]:
    """Return the numbers, texts and flags of a text: its words without comments."""
    return [match for match in _TOKEN.finditer(text, start) if match.lastgroup]


class _Fields(ABC):
    """What both forms share; an instance is at one place in its file."""

    place: int  # of the next field, in characters or bytes

    @abstractmethod
    def where(self, place: int) -> str:
        """Return the file, and the line or byte of a place in it."""

    def fail(self, place: int, problem: str, remedy: str = _REMEDY) -> NoReturn:
        """Raise `AnnotationError` about a place."""
        raise AnnotationError(self.where(place), problem, remedy)


class TextFields(_Fields):
    """The fields of a text file, from a character on."""

    def __init__(self, path: Path, text: str, start: int) -> None:
        self._path, self._text = path, text
        self._tokens = tokens(text, start)[::-1]  # the next is the last
        self.place = self._tokens[-1].start() if self._tokens else start

    def where(self, place: int) -> str:
        return f"{self._path}:{self._text.count(chr(10), 0, place) + 1}"

    def left(self) -> int:
        return len(self._tokens)

    def _read(self, kind: str) -> str:
        if not self._tokens:
            self.fail(self.place, f"truncated TextGrid: expected another {kind}")
        match = self._tokens[-1]
        if match.lastgroup != kind:
            why = ", which has no valid end" if match.lastgroup == "bad" else ""
            self.fail(self.place, f"not a valid TextGrid: expected a {kind}, got {match[0]!r}{why}")
        self._tokens.pop()
        self.place = self._tokens[-1].start() if self._tokens else len(self._text.rstrip())
        return match[kind]

    def number(self) -> float:
        place, word = self.place, self._read("number")
        if match := _NUMBER.fullmatch(word):
            return float(match[1]) * (0.01 if match[2] else 1)
        if match := _FRACTION.fullmatch(word):
            return int(match[1]) / int(match[2])
        if word != "--undefined--":
            self.fail(place, f"{word!r} is not a number", "Write it like 0.25 or 5e-05")
        return math.nan

    def text(self) -> str:
        return self._read("text").replace('""', '"')

    def exists(self) -> bool:
        return self._read("flag") == "exists"

    integer, class_name = number, text


class BinaryFields(_Fields):
    """The fields of a binary file, one after the other, big-endian."""

    def __init__(self, path: Path, raw: bytes) -> None:
        self._path, self._raw, self.place = path, raw, len(BINARY)

    def where(self, place: int) -> str:
        return f"{self._path}, byte {place}"

    def left(self) -> int:
        return len(self._raw) - self.place

    def _bytes(self, count: int) -> bytes:
        if self.left() < count:
            self.fail(self.place, "truncated TextGrid", "Copy it again")
        self.place += count
        return self._raw[self.place - count : self.place]

    def _unpack(self, code: str) -> Any:
        return struct.unpack(f">{code}", self._bytes(struct.calcsize(code)))[0]

    def number(self) -> float:
        return float(self._unpack("d"))

    def integer(self) -> float:
        return float(self._unpack("i"))

    def exists(self) -> bool:
        return bool(self._unpack("?"))

    def class_name(self) -> str:
        return self._bytes(self._unpack("B")).decode("latin-1")

    def text(self) -> str:
        length = self._unpack("H")
        if length < 0xFFFF:
            return self._bytes(length).decode("latin-1")
        raw = b""
        for _ in range(self._unpack("H")):  # characters, which take two or four bytes
            unit = self._bytes(2)
            raw += unit + (self._bytes(2) if 0xD8 <= unit[0] < 0xDC else b"")
        return raw.decode("utf-16-be", "replace")


Fields = TextFields | BinaryFields
