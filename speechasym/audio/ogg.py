"""The pages of an Ogg file: its links, their codecs, and whether the last page is complete.

A physical Ogg stream may hold several logical ones in a row ("links", as recorded from Icecast or
joined with `cat`), each of which begins with pages marked as a beginning. libsndfile decodes the
first link only, so each is opened as a file of its own.

Reference: S. Pfeiffer, "The Ogg Encapsulation Format Version 0", RFC 3533, 2003.
"""

import mmap
from pathlib import Path

from speechasym.audio.parts import COPY_AGAIN, Layout, Span
from speechasym.errors import AudioError

_FIRST, _LAST = 2, 4  # marks of a page
# how the first packet of a stream begins
_CODECS = {
    b"\x01vorbis": "Vorbis", b"OpusHead": "Opus", b"\x7fFLAC": "FLAC", b"fLaC": "FLAC",
    b"Speex   ": "Speex", b"PCM     ": "PCM", b"CELT    ": "CELT", b"\x80theora": "Theora",
    b"BBCD": "Dirac", b"\x80daala": "Daala", b"fishead\0": "Skeleton", b"CMML": "CMML",
    b"\x01video": "OGM video", b"\x80kate": "Kate", b"\x4fVP80": "VP8",
}  # fmt: skip


def layout(path: Path, data: mmap.mmap) -> Layout:
    """Return the links of an Ogg file. Raises `AudioError` if it is truncated or of other codecs.

    libsndfile takes a truncated file for a whole one.
    """
    starts, at, marks = [], data.find(b"OggS"), 0
    last = at
    while at >= 0:
        before, marks, last = marks, data[at + 5] if at + 5 < len(data) else 0, at
        packet = at + 27 + (data[at + 26] if at + 26 < len(data) else 0)
        if marks & _FIRST and not before & _FIRST:
            starts.append(at)
            _check_codec(path, data[packet : packet + 8])
        end = packet + sum(data[at + 27 : packet])
        at = data.find(b"OggS", min(end, len(data)))
    page = data[last:]
    sizes = page[27 : 27 + page[26]] if len(page) > 27 else b""
    if not sizes or len(sizes) < page[26] or len(page) < 27 + page[26] + sum(sizes):
        raise AudioError(path, "truncated: its last page is incomplete", COPY_AGAIN)
    warning = ""
    if not marks & _LAST:
        warning = "truncated? Its last page is not marked as the end: compare it with its source"
    if len(starts) < 2:
        return Layout("Ogg", warning=warning)
    spans = zip(starts, [*starts[1:], len(data)], strict=True)
    return Layout("Ogg", tuple(Span(start, end) for start, end in spans), warning)


def _check_codec(path: Path, packet: bytes) -> None:
    codec = next((name for head, name in _CODECS.items() if packet.startswith(head)), None)
    if codec in ("Vorbis", "Opus"):
        return
    problem = f"Ogg with {codec or 'an unknown codec'} inside, which is not supported"
    remedy = "Convert it to FLAC, for example with `ffmpeg -i IN.ogg OUT.flac`"
    if codec == "FLAC":
        remedy = (
            "Store it as FLAC without Ogg, for example with `ffmpeg -i IN.oga -c copy OUT.flac`"
        )
    raise AudioError(path, problem, remedy)
