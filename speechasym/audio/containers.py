"""The container of an audio file, told from its bytes, and whether the file is complete.

libsndfile reads truncated files without complaint; comparing the header with the size reveals them.
"""

import mmap
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from speechasym.audio import mp3, ogg
from speechasym.audio.parts import COPY_AGAIN, Layout, Span
from speechasym.errors import AudioError

# Size of the samples as written by streaming writers: by the standard, sox, arecord
UNKNOWN_SIZES = (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000)
FORMATS = "WAV, RF64, FLAC, Ogg (Vorbis, Opus), MP3, AIFF and NIST SPHERE"
_WAV = {b"RIFF": "WAV", b"RIFX": "WAV", b"RF64": "RF64"}
_MAGIC = {b"fLaC": "FLAC", b"OggS": "Ogg", b"NIST": "NIST SPHERE"}


def check(path: Path) -> Layout:
    """Return the container of a file and its parts.

    Raises `AudioError` unless it is a complete audio file.
    """
    try:
        if path.is_dir():
            raise AudioError(path, "a folder, not an audio file", "Give a file")
        if path.exists() and not path.is_file():  # reading a pipe would block
            raise AudioError(path, "a pipe or device, not a file", "Write it into a file first")
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            container = _container(path, file.read(44), size)
            file.seek(0)
            if container in _WALKS:
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                    return _WALKS[container](path, data)
            if container in _CHECKS:
                return _CHECKS[container](path, file, size) or Layout(container)
    except FileNotFoundError as error:
        raise AudioError(path, "no such file", "Check the path") from error
    except PermissionError as error:
        remedy = "Change its permissions (chmod +r) or the user"
        raise AudioError(path, "no permission to read it", remedy) from error
    except OSError as error:
        raise AudioError(path, f"cannot be read ({error.strerror})", "Check the disk") from error
    return Layout(container)


def _container(path: Path, head: bytes, size: int) -> str:
    if size == 0:
        raise AudioError(path, "an empty file (0 bytes)", COPY_AGAIN)
    if head[:4] in _WAV and head[8:12] == b"WAVE":
        return _WAV[head[:4]]
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "AIFF"
    if head[:4] in _MAGIC:
        return _MAGIC[head[:4]]
    # an MPEG frame: 11 bits of sync, a layer other than 0, a bit rate other than 15
    mpeg = len(head) > 3 and head[0] == 0xFF and head[1] & 0xE6 > 0xE0 and head[2] & 0xF0 != 0xF0
    if head[:3] == b"ID3" or mpeg:
        return "MP3"
    if head[:4] in (b"RIFF", b"RF64", b"FORM") or size < 12:
        raise AudioError(path, f"only {size} bytes, a truncated header", COPY_AGAIN)
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        problem = "a web page, not audio: a failed download?"
        raise AudioError(path, problem, "Download the recording again")
    problem = f"unknown audio format: the file begins with {head[:8]!r}"
    raise AudioError(path, problem, f"Convert it to one of {FORMATS}")


def _check_size(path: Path, expected: int, actual: int) -> None:
    if expected > actual:
        problem = f"truncated: {expected} bytes of samples by its header, but {actual} in the file"
        raise AudioError(path, problem, COPY_AGAIN)


def _check_flac(path: Path, file: BinaryIO, size: int) -> None:
    """Check that STREAMINFO holds the length: libsndfile needs it, but streams have 0 there."""
    head = file.read(26)
    if len(head) == 26 and head[4] & 0x7F == 0 and not (head[21] & 0x0F or any(head[22:26])):
        problem = "FLAC without a length in its header, as from a stream"
        raise AudioError(path, problem, "Encode it as a file")


def _check_chunks(path: Path, file: BinaryIO, size: int) -> Layout | None:
    """Walk through the chunks of WAV or AIFF up to the samples, and compare their length."""
    form = file.read(4)
    order = "<" if form in (b"RIFF", b"RF64") else ">"
    file.seek(12)
    long_length = 0
    while len(head := file.read(8)) == 8:
        name, length = struct.unpack(order + "4sI", head)
        start = file.tell()
        if name in (b"data", b"SSND"):
            streamed = name == b"data" and length in UNKNOWN_SIZES
            expected = long_length if streamed else length
            _check_size(path, expected, size - start)
            empty = expected <= 8 * (name == b"SSND")  # which begins with two numbers
            streamed = streamed and form != b"RF64"  # libsndfile reads these to the end
            at = start + expected
            if empty and not streamed and size > at and not _is_chunk(file, at, size):
                return _unfilled(path, file, form, start, size)
            surplus = "" if empty or streamed else _surplus(file, at, size)
            return Layout("AIFF" if form == b"FORM" else _WAV[form], warning=surplus)
        if name == b"ds64":
            body = file.read(length)
            long_length = struct.unpack_from("<Q", body, 8)[0] if len(body) >= 16 else 0
        file.seek(start + length + length % 2)
    raise AudioError(path, f"a header without samples ({size} bytes)", COPY_AGAIN)


def _is_chunk(file: BinaryIO, start: int, size: int) -> bool:
    """Return whether a chunk starts here, rather than samples, which hardly ever look like one."""
    file.seek(start)
    head = file.read(8)
    length = min(int.from_bytes(head[4:], "little"), int.from_bytes(head[4:], "big"))
    named = all(32 <= byte < 127 for byte in head[:4])
    return len(head) == 8 and named and length <= size - start - 8


def _unfilled(path: Path, file: BinaryIO, form: bytes, start: int, size: int) -> Layout:
    """Return a layout with all that follows as samples, whose length was never written."""
    problem = f"its length was never filled in, but {size - start} bytes of samples follow"
    if form == b"FORM":
        remedy = "Convert it with a program that ignores the length, such as ffmpeg"
        raise AudioError(path, problem, remedy)
    file.seek(4)
    head = (b"RIFX" if form == b"RIFX" else b"RIFF") + file.read(start - 8) + b"\xff" * 4
    return Layout("WAV", (Span(start, size, head),), f"{problem}: they are read to the end")


def _surplus(file: BinaryIO, end: int, size: int) -> str:
    """Return a warning if more follows the samples than chunks and zeros."""
    file.seek(end)
    if size - end < 8 or _is_chunk(file, end, size) or _is_chunk(file, end + 1, size):
        return ""
    file.seek(end)
    if not any(file.read(1 << 16)):
        return ""
    return f"{size - end} bytes follow the samples by its header: they are not read"


def _check_sphere(path: Path, file: BinaryIO, size: int) -> Layout | None:
    """Check the text header: fields `name -type value`, padded to the length in its second line."""
    lines = file.read(1024).split(b"\n")
    try:
        header = int(lines[1])
        file.seek(0)
        rows = (line.split() for line in file.read(header).split(b"\n"))
        fields = {row[0]: row[2] for row in rows if len(row) == 3}
        width = int(fields.get(b"sample_n_bytes", b"2")) * int(fields.get(b"channel_count", b"1"))
        expected = int(fields[b"sample_count"]) * width
    except (IndexError, KeyError, ValueError) as error:
        raise AudioError(path, "not a valid NIST SPHERE header", COPY_AGAIN) from error
    if b"shorten" in fields.get(b"sample_coding", b""):
        problem = "NIST SPHERE compressed with shorten"
        raise AudioError(path, problem, "Unpack it with sph2pipe -f wav")
    _check_size(path, expected, size - header)
    if expected == 0 and size > header:
        problem = f"its length was never filled in, but {size - header} bytes of samples follow"
        return Layout("NIST SPHERE", warning=f"{problem}: they are read to the end")
    end = header + expected  # libsndfile would take what follows for samples
    spans = (Span(0, end) if size > end else None,)
    return Layout("NIST SPHERE", spans, _surplus(file, end, size))


_CHECKS: dict[str, Callable[[Path, BinaryIO, int], Layout | None]] = {
    "FLAC": _check_flac, "NIST SPHERE": _check_sphere,
    "WAV": _check_chunks, "RF64": _check_chunks, "AIFF": _check_chunks,
}  # fmt: skip
_WALKS = {"Ogg": ogg.layout, "MP3": mp3.layout}


def text_mode_damage(path: Path) -> str:
    """Return a warning if a file of 16-bit samples was damaged by a copy in text mode.

    Such a copy turns each byte 13 into 10 and drops it before a 10, so that half of the samples are
    assembled from the wrong bytes. The file then contains 12 and 14, but never 13. It also contains
    11 and 15, unlike a quiet recording of even samples.
    """
    with path.open("rb") as file:
        counts = np.bincount(np.frombuffer(file.read(1 << 20), np.uint8), minlength=16)
    if counts[13] or counts[[10, 11, 12, 14, 15]].min() < 40:
        return ""
    return (
        "samples damaged by a copy in text mode (no byte 13 among them, where about "
        f"{(counts[12] + counts[14]) // 2} are expected by chance), perhaps repaired since:"
        " get it again, copied as binary"
    )
