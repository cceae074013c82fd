"""The frames of an MP3 file, counted, where its header does not give their number.

libsndfile takes the length from a Xing or Info header, or estimates it from the first frame, and
decodes no further. Where it would be wrong, it is given a header with the right number here. The
delay of the encoder is unknown then; the decoder leaves out its own, 529 samples.

References: ISO/IEC 11172-3:1993 and 13818-3:1998, 2.4.1.3 (frame header); G. Bouvigne, "MP3 Info
Tag", 2005 (Xing and Info).
"""

import mmap
import struct
from pathlib import Path
from typing import NamedTuple

from speechasym.audio.parts import COPY_AGAIN, Layout, Span
from speechasym.errors import AudioError

_RATES = (44100, 48000, 32000)  # Hz, of MPEG 1; half of it in MPEG 2, a quarter in MPEG 2.5
# kbit/s by index, for MPEG 1 and MPEG 2, each for layers I, II, III
_BIT_RATES = (
    (
        (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
        (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
        (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    ),
    (
        (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
        (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
        (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    ),
)
_XING_SIZE = 120  # bytes: tag, flags, frames, bytes, 100 positions to seek, quality
_VBRI = 36  # bytes before a VBRI header


class Frame(NamedTuple):
    """What the four bytes of a frame's header say."""

    size: int  # bytes, with the header; 0: free format, whose size no header gives
    rate: int  # Hz
    mono: bool
    layer: int
    version: int  # 0: MPEG 1, 1: MPEG 2, 2: MPEG 2.5


def read_header(head: bytes) -> Frame | None:
    """Return what a frame's header says; None: these are not the bytes of one."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version = {3: 0, 2: 1, 0: 2}.get(head[1] >> 3 & 3)
    layer = 4 - (head[1] >> 1 & 3)
    bits, rates, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version is None or layer == 4 or bits == 15 or rates == 3:
        return None
    rate = _RATES[rates] >> version
    kilobits = _BIT_RATES[version > 0][layer - 1][bits]
    if layer == 1:
        size = (12000 * kilobits // rate + padding) * 4
    else:
        size = (72000 if layer == 3 and version else 144000) * kilobits // rate + padding
    return Frame(size if kilobits else 0, rate, head[3] >> 6 == 3, layer, version)


def layout(path: Path, data: mmap.mmap) -> Layout:
    """Count the frames of a file, and give it a header with their number if it has none.

    Raises `AudioError` if frames are missing, in free format, or of several sample rates.
    """
    start = _skip_tags(data, 0)
    if data[start : start + 4] == b"fLaC":
        return Layout("FLAC")
    at = _next_frame(data, start)
    first = read_header(data[at : at + 4]) if at >= 0 else None
    if first is None:
        free = read_header(data[start : start + 4])
        if free is None or free.size:
            return Layout("MP3")  # libsndfile says what is wrong
        problem = "MP3 in free format (frames without a bit rate), which is not supported"
        raise AudioError(path, problem, "Convert it with ffmpeg")
    count, end, even, complete = _walk(path, data, at, first)
    warning = ""
    if not complete:
        warning = "truncated? Its last frame is incomplete: compare it with its source"
    has_header, promised, length = _promise(data, at, first)
    if has_header:
        count -= 1
        if promised == count and data[at + _VBRI : at + _VBRI + 4] != b"VBRI":
            return Layout("MP3", warning=warning)
        # some encoders count the header as a frame, and joined files have the count of the first
        short = length > len(data) - at if length else promised > count + 1
        if promised > count and short:
            problem = f"truncated: {promised} frames by its header, but {count} in the file"
            raise AudioError(path, problem, COPY_AGAIN)
        at += first.size
    elif even:  # the estimate is right
        return Layout("MP3", (Span(at, end) if (at, end) != (0, len(data)) else None,), warning)
    if first.layer != 3:
        problem = f"MPEG audio of layer {first.layer} with frames of several sizes and no header"
        raise AudioError(path, problem, "Convert it with ffmpeg")
    head = _xing(data[at : at + 4], first, count, end - at)
    return Layout("MP3", (Span(at, end, head),), warning)


def _walk(path: Path, data: mmap.mmap, at: int, first: Frame) -> tuple[int, int, bool, bool]:
    """Walk through all frames from the first one.

    Returns their number, the end of the last one, whether all are of one size without anything
    between them, and whether the last one is complete.
    """
    count, end, even = 0, at, True
    while at >= 0:
        frame = read_header(data[at : at + 4])
        if frame is not None and frame[1:4] != first[1:4] and _confirmed(data, at, frame):
            problem = f"MP3 that changes from {_form(first)} to {_form(frame)} within the file"
            raise AudioError(path, problem, "Split it into files of one format each")
        if frame is None or not frame.size or frame[1:4] != first[1:4]:
            tags = _skip_tags(data, at)
            at = tags if tags > at else _next_frame(data, at + 1, first)
        elif at + frame.size > len(data):
            return count, end, even, False
        else:
            count += 1
            even = even and frame.size == first.size and at == end
            end = at = at + frame.size
    return count, end, even, True


def _form(frame: Frame) -> str:
    return f"layer {frame.layer}, {frame.rate} Hz, {'mono' if frame.mono else 'stereo'}"


def _skip_tags(data: mmap.mmap, at: int) -> int:
    """Return where ID3 tags end that begin here."""
    while True:
        head = data[at : at + 10]
        if head[:3] == b"ID3" and len(head) == 10:
            size = 0
            for byte in head[6:]:
                size = size << 7 | byte & 0x7F
            at += 10 + size + 10 * (head[5] >> 4 & 1)
        elif head[:3] == b"TAG":
            at += 128
        else:
            return at


def _next_frame(data: mmap.mmap, at: int, like: Frame | None = None) -> int:
    """Return where the next frame begins (of the form of another), or -1 if there is none."""
    while (at := data.find(b"\xff", at)) >= 0:
        frame = read_header(data[at : at + 4])
        alike = frame is not None and (like is None or frame[1:4] == like[1:4])
        if frame is not None and alike and _confirmed(data, at, frame):
            return at
        at += 1
    return -1


def _confirmed(data: mmap.mmap, at: int, frame: Frame) -> bool:
    """Return whether another frame, a tag, or the end of the file follows a frame."""
    end = at + frame.size
    after = read_header(data[end : end + 4])
    if after is not None:
        return frame.size > 0 and after[1:4] == frame[1:4]
    return frame.size > 0 and (end == len(data) or _skip_tags(data, end) > end)


def _promise(data: mmap.mmap, at: int, first: Frame) -> tuple[bool, int, int]:
    """Return whether the first frame is a header, and its numbers of frames and bytes, or 0."""
    xing = at + 4 + _side_size(first)
    if data[xing : xing + 4] in (b"Xing", b"Info"):
        flags = data[xing + 7]
        frames = _number(data, xing + 8) if flags & 1 else 0
        return True, frames, _number(data, xing + 8 + 4 * (flags & 1)) if flags & 2 else 0
    if data[at + _VBRI : at + _VBRI + 4] == b"VBRI":
        return True, _number(data, at + 50), _number(data, at + 46)
    return False, 0, 0


def _number(data: mmap.mmap, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "big")


def _side_size(frame: Frame) -> int:
    """Return the bytes between a header and the data of layer III."""
    return (17 if frame.mono else 32) if frame.version == 0 else (9 if frame.mono else 17)


def _xing(head: bytes, first: Frame, count: int, size: int) -> bytes:
    """Return a frame that gives the number of frames after it, and of all bytes."""
    before = 4 + _side_size(first)
    for bits in range(1, 15):
        new = bytes([0xFF, head[1] | 1, bits << 4 | head[2] & 0x0C, head[3]])
        frame = read_header(new)
        if frame is not None and frame.size >= before + _XING_SIZE:
            break
    assert frame is not None
    tag = b"Xing" + struct.pack(">III", 15, count, frame.size + size)
    return (new.ljust(before, b"\0") + tag).ljust(frame.size, b"\0")
