"""Ogg files of several links, and of codecs that libsndfile cannot decode."""

import struct

import numpy as np
import pytest
from helpers import sine, tone

import speechasym
from speechasym.audio import reading

RATE = 16000


def link(path, hertz, seconds=2.0, rate=RATE, channels=1, subtype="VORBIS"):
    samples = np.repeat(sine(seconds, rate, hertz)[:, None], channels, 1)
    return tone(path, samples, rate, format="OGG", subtype=subtype).read_bytes()


def loudest(x):
    return np.abs(np.fft.rfft(x)).argmax() * RATE / len(x)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_all_links_of_a_chain_are_read(tmp_path, subtype):
    pitches = [400, 1000, 2000]
    links = [link(tmp_path / "link.ogg", hertz, subtype=subtype) for hertz in pitches]
    path = tmp_path / "chain.ogg"
    path.write_bytes(b"".join(links))
    assert reading.info(path).frames == 3 * 2 * RATE
    x, _ = speechasym.load(path)
    assert len(x) == 3 * 2 * RATE
    for number, hertz in enumerate(pitches):
        middle = x[number * 2 * RATE :][: 2 * RATE][4000:-4000]
        assert loudest(middle) == pytest.approx(hertz, abs=2)
    for seconds in (0.3, 1.0, 2.0, 4.0):
        parts = list(reading.blocks(path, seconds=seconds))
        assert {len(part) for part in parts[:-1]} <= {round(seconds * RATE)}
        np.testing.assert_array_equal(np.concatenate(parts), x)
    path.write_bytes(b"".join(links)[:-10])
    with pytest.raises(speechasym.AudioError, match="truncated"):
        speechasym.load(path)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (RATE, 2)])
def test_links_of_several_formats_are_refused(tmp_path, rate, channels):
    path = tmp_path / "chain.ogg"
    data = link(path, 400), link(path, 400, rate=rate, channels=channels)
    path.write_bytes(b"".join(data))
    with pytest.raises(speechasym.AudioError, match=f"16000 Hz, 1 channels to {rate} Hz"):
        speechasym.load(path)


@pytest.mark.parametrize(
    ("packet", "codec"),
    [
        (b"\x7fFLAC\x01\0\0\x01fLaC", "FLAC"), (b"Speex   1.2", "Speex"),
        (b"\x80theora\x03\x02\x01", "Theora"), (b"fishead\0\3\0", "Skeleton"),
        (b"something", "an unknown codec"),
    ],
)  # fmt: skip
def test_other_codecs_are_named(tmp_path, packet, codec):
    path = tmp_path / "x.oga"
    head = b"OggS\0\6" + struct.pack("<QIII", 0, 1, 0, 0)
    path.write_bytes(head + bytes([1, len(packet)]) + packet)
    with pytest.raises(speechasym.AudioError, match=f"Ogg with {codec} inside.*ffmpeg"):
        speechasym.load(path)
