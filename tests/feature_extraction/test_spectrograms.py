"""Spectrograms as arrays: levels, axes, odd input, and what librosa draws of them."""

import numpy as np
import pytest
from helpers import ROOT, sine, tone
from matplotlib.figure import Figure

import speechasym
from speechasym.errors import ConfigError
from speechasym.feature_extraction.pitch import pitch


@pytest.mark.parametrize("kind", ["gammatone", "fft", "constant-q"])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_full_scale_sine_has_0_db_at_its_frequency(kind, rate):
    x = sine(0.4, rate, 1000.0, 1.0)
    s = speechasym.spectrogram(x, rate, kind=kind)
    assert s.level_db.shape == (len(s.frequencies), len(s.times))
    middle = s.level_db[:, len(s.times) // 2]
    # 24 channels per octave: the nearest centre may be 1.4 % away
    assert middle.max() == pytest.approx(0, abs=0.4)
    assert s.frequencies[middle.argmax()] == pytest.approx(1000, rel=0.02)
    assert (np.diff(s.frequencies) > 0).all()
    assert s.times[-1] == pytest.approx(0.4, abs=1.1 / s.frame_rate)
    short = speechasym.spectrogram(x[:50], rate, kind=kind)
    assert len(short.times) >= 1 and np.isfinite(short.level_db).all()
    silent = speechasym.spectrogram(np.zeros(800), rate, kind=kind)
    assert silent.level_db.max() < -110


def test_librosa_draws_it_with_right_axes():
    import librosa.display

    s = speechasym.spectrogram(ROOT / "data" / "cards-001.wav")
    axes = Figure().subplots()
    mesh = librosa.display.specshow(
        s.level_db, x_coords=s.times, y_coords=s.frequencies, x_axis="time", y_axis="mel", ax=axes
    )
    assert np.array_equal(np.asarray(mesh.get_array()).reshape(s.level_db.shape), s.level_db)
    corners = np.asarray(mesh.get_coordinates())  # of the cells around the given middles
    assert (corners[0, :-1, 0] <= s.times).all() and (s.times <= corners[0, 1:, 0]).all()
    inside = corners[:-1, 0, 1] <= s.frequencies
    assert inside.all() and (s.frequencies <= corners[1:, 0, 1]).all()
    low, high = axes.get_ylim()
    assert low < 60 and high > 7000


@pytest.mark.parametrize(
    ("source", "options", "says"),
    [
        (np.zeros(100), {}, "sample_rate: is missing"),
        (np.zeros((2, 3, 100)), {"sample_rate": 16000}, "must be samples of one sound"),
        (np.zeros(100), {"sample_rate": 16000, "kind": "mel"}, "kind: must be one of gammatone"),
        (np.zeros(100), {"sample_rate": 16000, "frame_rate": 0}, "frame_rate: must be > 0"),
        (np.zeros(100), {"sample_rate": 16000, "kind": "fft", "window_ms": -1}, "window_ms"),
        (np.zeros(100), {"sample_rate": 100, "kind": "constant-q"}, "too low for constant-q"),
    ],
)
def test_bad_input(source, options, says):
    with pytest.raises(ConfigError, match=says):
        speechasym.spectrogram(source, **options)


def test_a_file_is_converted(tmp_path):
    path = tone(tmp_path / "x.wav", sine(0.2, 44100, 500.0), 44100)
    s = speechasym.spectrogram(path, 16000, kind="fft")
    assert s.frequencies[-1] == 8000


def test_pitch():
    x = np.sign(sine(0.3, hertz=150.0)) * 0.1
    found = pitch(x.astype(np.float32), 16000)
    assert np.nanmedian(found.hz) == pytest.approx(150, rel=0.02)
    assert np.isnan(pitch(np.zeros(4000, np.float32), 16000).hz).all()
    assert len(pitch(x[:100].astype(np.float32), 16000).hz) == 1
