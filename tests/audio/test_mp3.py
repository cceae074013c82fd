"""MP3 files whose header gives no number of frames, or a wrong one."""

import numpy as np
import pytest
import soundfile as sf
from helpers import sine

import speechasym
from speechasym.audio import mp3, reading

DELAY = 529  # samples of the decoder, left out
TAG = b"TAG" + bytes(125)  # ID3v1
ID3 = b"ID3\4\0\0\0\0\7\x68" + bytes(1000)


def encoded(path, samples, rate=16000, mode="VARIABLE"):
    """The bytes of an MP3 with a Xing or Info header."""
    options = {"bitrate_mode": mode, "compression_level": 0.5}
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with sf.SoundFile(path, "w", rate, channels, format="MP3", **options) as file:
        file.write(samples)
    return path.read_bytes()


def without_header(data):
    """The bytes without the frame of the header."""
    return data[mp3.read_header(data[:4]).size :]


def loud_and_quiet(rate=16000, channels=1):
    """2 s of noise, 2 s of silence: the bit rate of the first frames is not that of the rest."""
    noise = 0.3 * np.random.default_rng(0).standard_normal((2 * rate, channels))
    return np.concatenate([noise.clip(-1, 1), np.zeros((2 * rate, channels))])


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("direction", [1, -1])
def test_frames_are_counted_where_no_header_does(tmp_path, rate, channels, direction):
    path = tmp_path / "x.mp3"
    x = loud_and_quiet(rate, channels)[::direction]
    whole = encoded(path, x, rate)
    expected, _ = speechasym.load(path)
    assert len(expected) == len(x)
    path.write_bytes(without_header(whole))
    actual, _ = speechasym.load(path)
    frames = 1152 if rate >= 32000 else 576
    assert len(actual) == reading.info(path).frames
    assert (len(actual) + DELAY) % frames == 0 and len(x) <= len(actual) < len(x) + 3 * frames
    middle = slice(2400, len(x) - 2400)
    delays = range(frames + 1)  # of the encoder, which only the header gives
    assert any(np.array_equal(actual[n:][middle], expected[middle]) for n in delays)


@pytest.mark.parametrize("rate", [16000, 22050, 44100])
def test_constant_bit_rate_without_a_header(tmp_path, rate):
    """Also where frames differ by a byte of padding, as at 22050 and 44100 Hz."""
    path = tmp_path / "x.mp3"
    data = without_header(encoded(path, sine(3.0, rate), rate, "CONSTANT"))
    for before, after in ((b"", b""), (ID3, TAG), (b"", TAG)):
        path.write_bytes(before + data + after)
        x, _ = speechasym.load(path)
        assert 3 * rate <= len(x) < 3 * rate + 3456
        assert reading.info(path).warning == ""


@pytest.mark.parametrize("between", [b"", TAG, ID3, TAG + ID3, b"rubbish!" * 20])
@pytest.mark.parametrize("header", [True, False])
def test_joined_files_are_read_to_the_end(tmp_path, between, header):
    """The header of the first one gives its own number of frames only."""
    path = tmp_path / "x.mp3"
    data = encoded(path, loud_and_quiet())
    data = data if header else without_header(data)
    path.write_bytes(data + between + data)
    assert 2 * 64000 <= len(speechasym.load(path)[0]) <= 2 * 64000 + 6 * 576


def test_header_that_counts_itself(tmp_path):
    path = tmp_path / "x.mp3"
    data = bytearray(encoded(path, loud_and_quiet()))
    at = data.find(b"Xing") + 8
    count = int.from_bytes(data[at : at + 4], "big")
    data[at : at + 4] = (count + 1).to_bytes(4, "big")
    path.write_bytes(data)
    assert len(speechasym.load(path)[0]) == count * 576 - DELAY
    data[at : at + 4] = bytes(4)  # as written by a stream
    path.write_bytes(data)
    assert len(speechasym.load(path)[0]) == count * 576 - DELAY


def test_truncated_mp3(tmp_path):
    path = tmp_path / "x.mp3"
    data = encoded(path, loud_and_quiet())
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(speechasym.AudioError, match=r"truncated: \d+ frames by its header, but"):
        speechasym.load(path)
    path.write_bytes(without_header(data)[:-10])
    assert "last frame is incomplete" in reading.info(path).warning
    assert len(speechasym.load(path)[0]) > 64000 - 576


@pytest.mark.parametrize(("rate", "channels"), [(24000, 1), (16000, 2)])
def test_mp3_of_several_formats_is_refused(tmp_path, rate, channels):
    path = tmp_path / "x.mp3"
    other = encoded(path, loud_and_quiet(rate, channels), rate)
    path.write_bytes(encoded(path, loud_and_quiet()) + other)
    with pytest.raises(speechasym.AudioError, match=f"16000 Hz, mono to layer 3, {rate} Hz"):
        speechasym.load(path)


def test_unsupported_mpeg_is_named(tmp_path):
    path = tmp_path / "x.mp3"
    data = bytearray(without_header(encoded(path, sine(1.0), mode="CONSTANT")))
    size = mp3.read_header(data[:4]).size
    for at in range(0, len(data), size):
        data[at + 2] &= 0x0F
    path.write_bytes(data)
    with pytest.raises(speechasym.AudioError, match="MP3 in free format"):
        speechasym.load(path)


def test_flac_behind_an_id3_tag(tmp_path):
    sf.write(tmp_path / "x.flac", sine(), 16000)
    path = tmp_path / "y.flac"
    path.write_bytes(ID3 + (tmp_path / "x.flac").read_bytes())
    assert reading.info(path).container == "FLAC"
    assert len(speechasym.load(path)[0]) == len(sine())


def test_headers():
    assert mp3.read_header(b"\xff\xfb\x90\x64") == (417, 44100, False, 3, 0)
    assert mp3.read_header(b"\xff\xf3\x88\xc4") == (288, 16000, True, 3, 1)
    for wrong in (b"", b"\xff\xfb\x90", b"\xff\xfb\xf0\x64", b"\xff\xfb\x9c\x64", b"\xff\xe9\x90d"):
        assert mp3.read_header(wrong) is None
