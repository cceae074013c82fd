"""What an audio file is, by its bytes: its container, and whether it is all there.

libsndfile reads a cut file in silence; its header, compared with its size, tells.
"""

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from speechasym.errors import AudioError

# What streaming writers give as the size of samples to come: the standard's, sox's, arecord's
UNKNOWN_SIZES = (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000)
FORMATS = "WAV, RF64, FLAC, Ogg (Vorbis, Opus), MP3, AIFF and NIST SPHERE"


def check(path: Path) -> str:
    """Container by its first bytes. Raises `AudioError` for what is not a whole audio file."""
    try:
        if path.is_dir():
            raise AudioError(path, "a folder, not an audio file", "Give a file")
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise AudioError(path, "a pipe or device, not a file", "Write it into a file first")
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            head = file.read(44)
            container = _container(path, head, size)
            if container == "FLAC":
                _check_flac(path, head)
            elif container in ("WAV", "RF64"):
                _check_riff(path, file, size)
            elif container == "AIFF":
                _check_aiff(path, file, size)
            elif container == "Ogg":
                _check_ogg(path, file, size)
            elif container == "NIST SPHERE":
                _check_sphere(path, file, size)
    except FileNotFoundError as error:
        raise AudioError(path, "no such file", "Check the path") from error
    except PermissionError as error:
        raise AudioError(
            path, "no permission to read it", "Change its permissions (chmod +r) or the user"
        ) from error
    except OSError as error:
        raise AudioError(path, f"cannot be read ({error.strerror})", "Check the disk") from error
    return container


def _container(path: Path, head: bytes, size: int) -> str:
    if size == 0:
        raise AudioError(path, "an empty file (0 bytes)", "Copy it again from its source")
    if head[:4] in (b"RIFF", b"RF64", b"RIFX") and head[8:12] == b"WAVE":
        return "RF64" if head[:4] == b"RF64" else "WAV"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "AIFF"
    # an MPEG frame: 11 bits of sync, a layer that is not 0, a bit rate that is not 15
    mpeg = len(head) > 3 and head[0] == 0xFF and head[1] & 0xE6 > 0xE0 and head[2] & 0xF0 != 0xF0
    known = {b"fLaC": "FLAC", b"OggS": "Ogg", b"NIST": "NIST SPHERE"}
    if head[:4] in known:
        return known[head[:4]]
    if head[:3] == b"ID3" or mpeg:
        return "MP3"
    if head[:4] in (b"RIFF", b"RF64", b"FORM") or size < 12:
        raise AudioError(
            path, f"only {size} bytes, a header cut short", "Copy it again from its source"
        )
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise AudioError(
            path, "a web page, not audio: a download that failed?", "Download the recording again"
        )
    raise AudioError(
        path,
        f"not an audio file known here: it begins with {head[:8]!r}",
        f"Convert it to one of {FORMATS}",
    )


def _cut(path: Path, promised: int, there: int) -> AudioError:
    return AudioError(
        path,
        f"cut short: the header promises {promised} bytes of samples, {there} are there",
        "Copy it again from its source",
    )


def _check_flac(path: Path, head: bytes) -> None:
    """STREAMINFO has 36 bits for the length; writers of streams leave 0, libsndfile needs it."""
    if len(head) >= 26 and head[4] & 0x7F == 0 and not (head[21] & 0x0F or any(head[22:26])):
        raise AudioError(
            path,
            "FLAC that does not say how long it is, as from a stream",
            "Encode it as a file",
        )


def _check_riff(path: Path, file: BinaryIO, size: int) -> None:
    """Walk the chunks up to `data`, and compare its size with what is there."""
    file.seek(0)
    order = ">" if file.read(4) == b"RIFX" else "<"
    file.seek(12)
    long_size = None
    while True:
        head = file.read(8)
        if len(head) < 8:
            raise AudioError(
                path,
                f"no samples: a WAV header and then nothing ({size} bytes)",
                "Copy it again from its source",
            )
        name, length = struct.unpack(order + "4sI", head)
        if name == b"ds64":
            body = file.read(length)
            long_size = struct.unpack_from("<Q", body, 8)[0] if len(body) >= 16 else None
            file.seek(length % 2, 1)
            continue
        if name == b"data":
            there = size - file.tell()
            promised = (long_size or 0) if length in UNKNOWN_SIZES else length
            if promised > there:
                raise _cut(path, promised, there)
            return
        file.seek(length + length % 2, 1)


def _check_aiff(path: Path, file: BinaryIO, size: int) -> None:
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, length = struct.unpack(">4sI", head)
        if name == b"SSND":
            there = size - file.tell()
            if length > there:
                raise _cut(path, length, there)
            return
        file.seek(length + length % 2, 1)
    raise AudioError(path, "no samples in this AIFF file", "Copy it again from its source")


def _check_ogg(path: Path, file: BinaryIO, size: int) -> None:
    """libsndfile takes what is there of a cut file for the whole; its last page tells."""
    page = _last_page(file, size)
    sizes = page[27 : 27 + page[26]] if len(page) > 27 else b""
    if not sizes or len(sizes) < page[26] or len(page) < 27 + page[26] + sum(sizes):
        raise AudioError(
            path, "cut short: its last page is not whole", "Copy it again from its source"
        )


def _check_sphere(path: Path, file: BinaryIO, size: int) -> None:
    """A text header of fields `name -type value`, padded to the length its second line gives."""
    file.seek(0)
    lines = file.read(1024).split(b"\n")
    try:
        header = int(lines[1])
        file.seek(0)
        rows = (line.split() for line in file.read(header).split(b"\n"))
        fields = {row[0]: row[2] for row in rows if len(row) == 3}
        width = int(fields.get(b"sample_n_bytes", b"2")) * int(fields.get(b"channel_count", b"1"))
        promised = int(fields[b"sample_count"]) * width
    except (IndexError, KeyError, ValueError) as error:
        raise AudioError(
            path, "a NIST SPHERE header that cannot be read", "Copy it again from its source"
        ) from error
    if b"shorten" in fields.get(b"sample_coding", b""):
        raise AudioError(
            path, "NIST SPHERE compressed with shorten", "Unpack it with sph2pipe -f wav"
        )
    if promised > size - header:
        raise _cut(path, promised, size - header)


def no_end(path: Path) -> str:
    """The last page of a whole Ogg file says that it is the last; libsndfile does not look."""
    with path.open("rb") as file:
        page = _last_page(file, path.stat().st_size)
    if page and page[5] & 4:
        return ""
    return "cut short? Its last page is not marked as the end: compare it with its source"


def _last_page(file: BinaryIO, size: int) -> bytes:
    """From the beginning of an Ogg file's last page, of 65307 bytes at most, to the file's end."""
    file.seek(max(0, size - (1 << 16)))
    tail = file.read()
    return tail[tail.rfind(b"OggS") :] if b"OggS" in tail else b""


def text_mode(path: Path) -> str:
    """A copy in text mode turns each byte 13 into 10 and drops it before a 10: then half of the
    samples are put together from the wrong bytes. Such a file holds 12 and 14 but never 13. It
    holds 11 and 15 too, where a quiet recording of even samples only lacks all three."""
    with path.open("rb") as file:
        counts = np.bincount(np.frombuffer(file.read(1 << 20), np.uint8), minlength=16)
    if counts[13] == 0 and counts[[10, 11, 12, 14, 15]].min() >= 40:
        return (
            "samples damaged by a copy in text mode (no byte 13 among them, where chance gives "
            f"about {(counts[12] + counts[14]) // 2}), perhaps mended since: get it again, copied"
            " as binary"
        )
    return ""
