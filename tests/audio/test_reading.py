"""Recordings come in as they are: every format, channel and rate, whole or in blocks."""

import logging
import os
import struct

import numpy as np
import pytest
import soundfile as sf
from helpers import sine, tone
from hypothesis import given, settings
from hypothesis import strategies as st

import speechasym
from speechasym.audio import reading

RATE = 16000
NOISE = np.random.default_rng(1).uniform(-0.9, 0.9, 4801)

# ending, libsndfile's format and subtype, container, greatest error
LOSSLESS = [
    ("wav", "WAV", "PCM_U8", "WAV", 2**-7),
    ("wav", "WAV", "PCM_16", "WAV", 2**-15),
    ("wav", "WAV", "PCM_24", "WAV", 2**-23),
    ("wav", "WAV", "PCM_32", "WAV", 2**-24),
    ("wav", "WAV", "FLOAT", "WAV", 2**-24),
    ("wav", "WAV", "DOUBLE", "WAV", 2**-24),
    ("wav", "WAV", "ULAW", "WAV", 2**-5),
    ("wav", "WAV", "ALAW", "WAV", 2**-5),
    ("wav", "WAVEX", "PCM_24", "WAV", 2**-23),
    ("wav", "WAVEX", "FLOAT", "WAV", 2**-24),
    ("wav", "RF64", "PCM_16", "RF64", 2**-15),
    ("flac", "FLAC", "PCM_16", "FLAC", 2**-15),
    ("flac", "FLAC", "PCM_24", "FLAC", 2**-23),
    ("aiff", "AIFF", "PCM_16", "AIFF", 2**-15),
    ("aiff", "AIFF", "FLOAT", "AIFF", 2**-24),
    ("sph", "NIST", "PCM_16", "NIST SPHERE", 2**-15),
    ("sph", "NIST", "ULAW", "NIST SPHERE", 2**-5),
]
LOSSY = [
    ("ogg", "OGG", "VORBIS", "Ogg"),
    ("opus", "OGG", "OPUS", "Ogg"),
    ("mp3", "MP3", "MPEG_LAYER_III", "MP3"),
]


@pytest.mark.parametrize(("ending", "form", "subtype", "container", "error"), LOSSLESS)
def test_samples_of_a_lossless_format(tmp_path, ending, form, subtype, container, error):
    path = tone(tmp_path / f"x.{ending}", NOISE, format=form, subtype=subtype)
    x, rate = speechasym.load(path)
    assert (rate, x.dtype, x.shape) == (RATE, np.float32, NOISE.shape)
    assert np.abs(x - NOISE).max() <= error
    info = reading.info(path)
    assert info == (RATE, 1, len(NOISE), container, subtype, "")


def test_samples_of_a_big_endian_wav(tmp_path):
    path = tone(tmp_path / "x.wav", NOISE, endian="BIG", subtype="PCM_16")
    assert path.read_bytes()[:4] == b"RIFX"
    assert np.abs(speechasym.load(path)[0] - NOISE).max() <= 2**-15


@pytest.mark.parametrize(("ending", "form", "subtype", "container"), LOSSY)
def test_samples_of_a_lossy_format(tmp_path, ending, form, subtype, container):
    wanted = sine(2.0) + sine(2.0, hertz=1234, amplitude=0.2)
    path = tone(tmp_path / f"x.{ending}", wanted, format=form, subtype=subtype)
    x, rate = speechasym.load(path)
    assert (rate, x.shape) == (RATE, wanted.shape)
    assert np.corrcoef(x, wanted)[0, 1] > 0.99
    assert np.std(x) == pytest.approx(np.std(wanted), rel=0.02)
    info = reading.info(path)
    assert (info.container, info.warning) == (container, "")


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_cut_ogg_of_many_pages(tmp_path, subtype, caplog):
    """libsndfile takes the pages that are there for the whole recording."""
    noise = np.random.default_rng(2).uniform(-0.5, 0.5, 20 * RATE)
    whole = tone(tmp_path / "whole.ogg", noise, format="OGG", subtype=subtype).read_bytes()
    path = tmp_path / "cut.ogg"
    page = whole.rfind(b"OggS", 0, len(whole) // 2)
    for end in (page + 10, page + 40, page + 400, len(whole) - 1):
        path.write_bytes(whole[:end])
        with pytest.raises(speechasym.AudioError, match="truncated"):
            speechasym.load(path)
    for end in (page, page + 3):  # between two pages: perhaps a recorder that was stopped there
        path.write_bytes(whole[:end])
        assert "truncated?" in reading.info(path).warning
        caplog.clear()
        assert len(speechasym.load(path)[0]) < len(noise)
        assert f"{path}: truncated?" in caplog.text


@pytest.mark.parametrize("channels", [2, 6])
def test_channels(tmp_path, channels, caplog):
    x = np.random.default_rng(channels).uniform(-0.5, 0.5, (1000, channels))
    path = tone(tmp_path / "x.wav", x, subtype="FLOAT")
    with caplog.at_level(logging.INFO, "speechasym"):
        mean = speechasym.load(path)[0]
    assert f"mean of {channels} channels" in caplog.text
    np.testing.assert_allclose(mean, x.mean(1), atol=1e-7)
    for number in range(channels):
        for name in (number, str(number)):
            one = speechasym.load(path, channel=name)[0]
            np.testing.assert_array_equal(one, x[:, number].astype(np.float32))


@pytest.mark.parametrize("channel", [2, "2", -1, "left", "", None])
def test_wrong_channel(tmp_path, channel):
    path = tone(tmp_path / "x.wav", np.zeros((10, 2)))
    with pytest.raises(speechasym.ConfigError, match=r"2 channels\. Use mean, or .* 0 to 1"):
        speechasym.load(path, channel=channel)


@pytest.mark.parametrize(
    ("rate", "wanted"),
    [(44100, 16000), (48000, 16000), (8000, 16000), (11025, 16000), (16000, 22050), (96000, 8000)],
)
def test_resampling_keeps_a_sine(tmp_path, rate, wanted):
    path = tone(tmp_path / "x.wav", sine(1.0, rate, 1000.0), rate, subtype="FLOAT")
    x, got = speechasym.load(path, wanted)
    assert (got, len(x), x.dtype) == (wanted, wanted, np.float32)
    t = np.arange(wanted)[wanted // 10 : -wanted // 10] / wanted  # away from the abrupt ends
    basis = np.exp(2j * np.pi * 1000.0 * t)
    middle = x[wanted // 10 : -wanted // 10]
    amplitude = 2 * np.mean(middle * basis.conj())
    assert abs(amplitude) == pytest.approx(0.5, rel=1e-3)
    assert np.angle(amplitude) == pytest.approx(-np.pi / 2, abs=0.01)  # not late either
    assert np.abs(middle - (amplitude * basis).real).max() < 1e-3  # nothing but the sine


@pytest.mark.parametrize("samples", [2, 3, 10, 997, 44100])
@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100])
def test_resampled_length(tmp_path, samples, rate):
    path = tone(tmp_path / "x.wav", np.zeros(samples), rate)
    assert len(speechasym.load(path, RATE)[0]) == round(samples * RATE / rate)


def test_resampling_leaves_out_what_the_new_rate_cannot_carry(tmp_path):
    path = tone(tmp_path / "x.wav", sine(0.5, 44100, 12000.0), 44100, subtype="FLOAT")
    assert np.abs(speechasym.load(path, RATE)[0][400:-400]).max() < 1e-4


@pytest.mark.parametrize("rate", [None, 16000, 22050, 44100])
@pytest.mark.parametrize("seconds", [0.0, 1e-3, 0.0137, 0.1, 0.25, 7.0])
def test_blocks_of_any_size_equal_the_whole(tmp_path, rate, seconds):
    noise = np.random.default_rng(3).uniform(-0.5, 0.5, (8000, 2))
    path = tone(tmp_path / "x.wav", noise, 16000)
    whole, _ = speechasym.load(path, rate)
    if seconds == 0:
        noise = noise[:100]
        path = tone(tmp_path / "short.wav", noise, 16000)
        whole, _ = speechasym.load(path, rate)
    parts = list(reading.blocks(path, rate, seconds=seconds))
    assert all(part.dtype == np.float32 and part.ndim == 1 and len(part) for part in parts)
    if seconds == 0.1 and rate is None:
        assert [len(part) for part in parts] == [1600] * 5
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("rate", [0, -16000, float("nan")])
def test_sample_rate_out_of_range(tmp_path, rate):
    with pytest.raises(speechasym.ConfigError, match=r"sample_rate: must be > 0, got"):
        speechasym.load(tone(tmp_path / "x.wav"), rate)


def test_recording_of_less_than_one_sample_at_the_new_rate(tmp_path):
    path = tone(tmp_path / "x.wav", np.ones(1) / 2, 48000)
    assert speechasym.load(path)[0] == pytest.approx(0.5)
    with pytest.raises(speechasym.AudioError, match="too short: 1 samples at 48000 Hz"):
        speechasym.load(path, 16000)


def test_name_that_is_no_utf8(tmp_path):
    path = tone(tmp_path / "x.wav", NOISE)
    odd = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    try:
        os.rename(path, odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert len(speechasym.load(os.fsdecode(odd))[0]) == len(NOISE)


def streamed(size: int) -> bytes:
    """A WAV of NOISE whose header says that its data are `size` bytes long."""
    body = np.round(NOISE * 32767).astype("<i2").tobytes()
    form = struct.pack("<IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    head = b"RIFF" + struct.pack("<I", size) + b"WAVEfmt " + form
    return head + b"LIST" + struct.pack("<I", 3) + b"abc\0data" + struct.pack("<I", size) + body


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000])
def test_wav_from_a_stream_has_no_length(tmp_path, size):
    path = tmp_path / "x.wav"
    path.write_bytes(streamed(size))
    x, _ = speechasym.load(path)
    np.testing.assert_allclose(x, NOISE, atol=2**-14)
    assert reading.info(path).warning == ""
    path.write_bytes(streamed(2 * len(NOISE) + 2))
    with pytest.raises(
        speechasym.AudioError, match="9604 bytes of samples by its header, but 9602"
    ):
        speechasym.load(path)


@pytest.mark.parametrize("riff", [0, 36, 2 * len(NOISE) + 36, 0xFFFFFFFF])
def test_wav_whose_length_was_never_filled_in(tmp_path, riff, caplog):
    path = tmp_path / "x.wav"
    for order, form in (("<", b"RIFF"), (">", b"RIFX")):
        body = np.round(NOISE * 32767).astype(order + "i2").tobytes()
        head = struct.pack(order + "IHHIIHH", 16, 1, 1, RATE, 2 * RATE, 2, 16)
        head = form + struct.pack(order + "I", riff) + b"WAVEfmt " + head + b"data\0\0\0\0"
        path.write_bytes(head + body)
        caplog.clear()
        np.testing.assert_allclose(speechasym.load(path)[0], NOISE, atol=2**-14)
        assert "never filled in, but 9602 bytes of samples follow" in caplog.text
        path.write_bytes(head + b"LIST" + struct.pack(order + "I", 4) + b"abcd")  # really empty
        with pytest.raises(speechasym.AudioError, match="0 samples"):
            speechasym.load(path)


def test_other_containers_whose_length_was_never_filled_in(tmp_path):
    path = tone(tmp_path / "x.wav", NOISE, format="RF64")
    data = bytearray(path.read_bytes())
    at = data.find(b"ds64")
    data[at + 8 : at + 32] = bytes(24)
    path.write_bytes(data)
    np.testing.assert_allclose(speechasym.load(path)[0], NOISE, atol=2**-14)
    path = tone(tmp_path / "x.aiff", NOISE, format="AIFF")
    data = bytearray(path.read_bytes())
    at = data.find(b"SSND")
    for length in (0, 8):
        data[at + 4 : at + 8] = struct.pack(">I", length)
        path.write_bytes(data)
        with pytest.raises(speechasym.AudioError, match=r"never filled in, but 96\d\d bytes"):
            speechasym.load(path)
    path = tone(tmp_path / "x.sph", NOISE, format="NIST")
    path.write_bytes(path.read_bytes().replace(b"-i 4801", b"-i 0000"))
    assert len(speechasym.load(path)[0]) == len(NOISE)
    assert "never filled in, but 9602 bytes" in reading.info(path).warning


@pytest.mark.parametrize("form", ["WAV", "AIFF", "NIST"])
def test_what_follows_the_samples_is_not_read(tmp_path, form):
    path = tone(tmp_path / "x", NOISE, format=form)
    whole = path.read_bytes()
    for rest, warning in ((b"\1\2\3\4" * 500, "2000 bytes follow"), (bytes(2000), "")):
        path.write_bytes(whole + rest)
        assert reading.info(path).frames == len(NOISE)
        found = reading.info(path).warning
        assert found.startswith(warning) and bool(found) == bool(warning)
        np.testing.assert_allclose(speechasym.load(path)[0], NOISE, atol=2**-14)


def test_chunks_after_the_samples_are_no_fault(tmp_path):
    path = tone(tmp_path / "x.wav", np.append(NOISE, 0), subtype="PCM_U8")
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 4) + b"abcd")
    assert reading.info(path).warning == ""


def test_flac_from_a_stream_is_named(tmp_path):
    # libsndfile would fail with an internal error on its first seek
    path = tone(tmp_path / "x.flac", NOISE)
    whole = bytearray(path.read_bytes())
    assert speechasym.load(path)[0].shape == NOISE.shape
    whole[21] &= 0xF0
    whole[22:26] = bytes(4)
    path.write_bytes(whole)
    with pytest.raises(speechasym.AudioError, match="without a length"):
        speechasym.load(path)


def test_text_mode_damage_is_named(tmp_path, caplog):
    noise = np.random.default_rng(4).integers(-(2**15), 2**15, 20000).astype("<i2")
    path = tone(tmp_path / "whole.wav", noise)
    assert reading.info(path).warning == ""
    damaged = noise.tobytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    path = tone(tmp_path / "text.wav", np.frombuffer(damaged[: len(damaged) // 2 * 2], "<i2"))
    assert "damaged by a copy in text mode" in reading.info(path).warning
    speechasym.load(path)
    assert f"{path}: samples damaged by a copy in text mode" in caplog.text


@pytest.mark.parametrize("step", [2, 4])
def test_quiet_recording_of_even_samples_is_not_damaged(tmp_path, step):
    """Doubled samples have no byte 13 either, as long as the upper byte stays below it."""
    noise = np.random.default_rng(5).integers(-3000 // step, 3000 // step, 20000) * step
    assert reading.info(tone(tmp_path / "x.wav", noise.astype(np.int16))).warning == ""


SIGNAL = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).normal(0, 0.1, 400 + seed % 700)
)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(SIGNAL, SIGNAL, st.floats(-30, 40), st.none() | st.integers(0, 99), st.floats(1e-3, 1e3))
def test_add_noise_has_the_ratio(x, noise, snr_db, seed, gain):
    mixed = speechasym.add_noise(x, gain * noise, snr_db, seed)
    assert mixed.dtype == np.float32 and mixed.shape == x.shape
    added = mixed - x
    assert 10 * np.log10(np.mean(x**2) / np.mean(added**2)) == pytest.approx(snr_db, abs=1e-3)


def test_add_noise_repeats_and_draws():
    x, noise = np.ones(10), np.array([1.0, 0.0, 0.0])
    added = speechasym.add_noise(x, noise, 0.0) - x
    assert added.nonzero()[0].tolist() == [0, 3, 6, 9]
    starts = {speechasym.add_noise(x, noise, 0.0, seed).tobytes() for seed in range(20)}
    assert len(starts) == 3
    first, again = (speechasym.add_noise(x, noise, 0.0, seed=7) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize(
    ("x", "noise", "name"),
    [
        (np.zeros(9), np.ones(9), "x"),
        (np.ones(0), np.ones(9), "x"),
        (np.ones(9), np.zeros(9), "noise"),
        (np.ones(9), np.ones(0), "noise"),
        (np.ones(2), np.array([0.0, 0.0, 0.0, 1.0]), "noise"),  # silent where it is taken
    ],
)
def test_add_noise_needs_sound(x, noise, name):
    with pytest.raises(speechasym.ConfigError, match=f"^{name}: silent"):
        speechasym.add_noise(x, noise, 10)


def test_formats_are_those_that_libsndfile_reads():
    """A folder is searched for these endings only: none may be one that cannot be read."""
    assert {"WAV", "RF64", "FLAC", "OGG", "MP3", "AIFF", "NIST"} <= set(sf.available_formats())
    assert {f".{row[0]}" for row in LOSSLESS + LOSSY} < reading.EXTENSIONS
