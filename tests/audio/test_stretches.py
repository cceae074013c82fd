"""A stretch of a recording is what reading it as a whole gives."""

import numpy as np
import pytest
import soundfile

import speechasym
from speechasym.audio import stretches as stretches_module
from speechasym.audio.stretches import Stretches
from speechasym.errors import AudioError, ConfigError

RATE = 16000


def sound(seconds: float, channels: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(0, 0.1, (round(seconds * RATE), channels)).cumsum(0).clip(-1, 1)


@pytest.mark.parametrize(
    ("suffix", "subtype", "channels", "in_memory"),
    [("wav", "PCM_16", 2, 1), ("wav", "IMA_ADPCM", 1, 1), ("flac", "PCM_24", 1, 1),
     ("aiff", "FLOAT", 1, 1), ("ogg", "VORBIS", 2, 99999), ("opus", "OPUS", 1, 1),
     ("mp3", "MPEG_LAYER_III", 1, 1)],
)  # fmt: skip
def test_a_stretch_is_that_of_the_whole(
    tmp_path, monkeypatch, suffix, subtype, channels, in_memory
):
    monkeypatch.setattr(stretches_module, "_IN_MEMORY", in_memory)
    path = tmp_path / f"a.{suffix}"
    container = "OGG" if suffix == "opus" else suffix.upper()
    soundfile.write(path, sound(3.0, channels), RATE, subtype, format=container)
    x, rate = speechasym.load(path)
    stretches = Stretches(path)
    assert (stretches.samples, stretches.sample_rate) == (len(x), rate)
    end = len(x)
    for start, stop in ((0, 99), (2 * rate, 2 * rate + 1234), (77, 7777), (end - 5, end + 5)):
        got = stretches.read(start, stop)
        assert len(got) == min(stop, len(x)) - start
        assert np.array_equal(got, x[start:stop])
    assert len(stretches.read(len(x), len(x) + 9)) == len(stretches.read(5, 5)) == 0
    stretches.close()


def test_parts_joined_in_one_file_and_a_channel(tmp_path):
    for name, channels in (("a", 1), ("b", 1)):
        soundfile.write(tmp_path / f"{name}.ogg", sound(1.0, channels), RATE, format="OGG")
    joined = tmp_path / "joined.ogg"
    joined.write_bytes((tmp_path / "a.ogg").read_bytes() + (tmp_path / "b.ogg").read_bytes())
    x, _ = speechasym.load(joined)
    stretches = Stretches(joined)
    assert np.abs(stretches.read(RATE - 500, RATE + 500) - x[RATE - 500 : RATE + 500]).max() < 1e-6
    soundfile.write(tmp_path / "c.wav", sound(1.0, 2), RATE)
    x, _ = speechasym.load(tmp_path / "c.wav", channel=1)
    assert np.array_equal(Stretches(tmp_path / "c.wav", 1).read(10, 20), x[10:20])
    with pytest.raises(ConfigError, match="has 2 channels"):
        Stretches(tmp_path / "c.wav", 2)


def test_samples_that_are_not_finite_are_refused_where_they_are(tmp_path):
    x = sound(1.0, 1)
    x[5000] = np.nan
    soundfile.write(tmp_path / "a.wav", x, RATE, "FLOAT")
    stretches = Stretches(tmp_path / "a.wav")
    assert len(stretches.read(0, 5000)) == 5000
    with pytest.raises(AudioError, match="sample 5000 "):
        stretches.read(4000, 6000)
