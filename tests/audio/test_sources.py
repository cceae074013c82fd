"""Recordings in memory: what is understood, and what is refused with which remedy."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import ROOT, sine, tone
from lhotse import CutSet

import speechasym
from speechasym.audio import sources

X = np.round(sine(0.25) * 32767).astype(np.int16)
FLOAT = X.astype(np.float32) / 32768


def test_every_form_of_a_recording_is_the_same_sound(tmp_path):
    path = tone(tmp_path / "x.wav", X)
    stereo = np.stack([FLOAT, FLOAT])
    decoded = SimpleNamespace(data=torch.from_numpy(stereo), sample_rate=16000)
    forms = {
        "file": path,
        "samples and rate": (FLOAT, 16000),
        "scipy": (16000, X),
        "soundfile stereo": (stereo.T, 16000),
        "torchaudio": (torch.from_numpy(FLOAT)[None].requires_grad_(), 16000),
        "float64 list": (FLOAT.tolist(), np.int64(16000)),
        "datasets": {"array": FLOAT, "sampling_rate": 16000, "path": "clip.mp3"},
        "datasets in torch": {
            "array": torch.from_numpy(stereo), "sampling_rate": torch.tensor(16000), "path": None,
        },
        "torchcodec": SimpleNamespace(get_all_samples=lambda: decoded),
        "32 bits": (X.astype(np.int32) << 16, 16000),
    }  # fmt: skip
    for name, form in forms.items():
        x, rate = speechasym.load(form)
        assert (rate, x.dtype) == (16000, np.float32), name
        np.testing.assert_array_equal(x, FLOAT, name)
        assert speechasym.load(form, 8000)[0].shape == (2000,), name
    level = speechasym.features(path)
    for name in ("datasets", "torchaudio", "scipy"):
        np.testing.assert_array_equal(speechasym.features(forms[name]), level, name)
    np.testing.assert_array_equal(speechasym.features(X, 16000), level)
    named = forms["datasets"]
    assert (sources.name_of(named), sources.name_of(path)) == ("clip.mp3", str(path))


def test_a_rate_of_its_own_is_resampled_as_that_of_a_file(tmp_path):
    x = sine(0.5, 44100)
    path = tone(tmp_path / "x.wav", x, 44100, subtype="FLOAT")
    own = speechasym.features({"array": x, "sampling_rate": 44100.0})
    assert own.shape == (50, 64)
    np.testing.assert_allclose(own, speechasym.features(path), atol=1e-2)
    assert speechasym.features((x, 44100), sample_rate=8000).shape == (50, 64)


def test_example_of_the_documentation():
    page = (ROOT / "docs" / "features.md").read_text()
    (code,) = [c for c in re.findall(r"```python\n(.*?)```", page, re.S) if "example = {" in c]
    names = {"speechasym": speechasym}
    exec(code, names)
    assert (names["matrix"].shape, names["x"].shape, names["rate"]) == ((20, 64), (1600,), 8000)


def test_lhotse_cuts(tmp_path):
    from lhotse import Recording

    stereo = np.stack([sine(0.5), np.zeros(8000)], 1)
    path = tone(tmp_path / "x.wav", stereo, subtype="FLOAT")
    recording = Recording.from_file(path)
    for cut in (recording, recording.to_cut()):
        np.testing.assert_allclose(speechasym.load(cut)[0], stereo.mean(1), atol=1e-7)
        x = speechasym.load(cut, channel=1)[0]
        assert not x.any() and len(x) == 8000
    cut = recording.to_cut()
    path.unlink()
    with pytest.raises(speechasym.AudioError, match=r"^cut x.*: its recording cannot be read"):
        speechasym.load(cut)


def test_bytes_around_128_and_half_precision():
    eight = np.round(FLOAT * 127 + 128).astype(np.uint8)
    np.testing.assert_allclose(sources.mono(eight), FLOAT, atol=0.01)
    for kind in (torch.bfloat16, torch.float16):
        half = torch.from_numpy(FLOAT).to(kind)
        np.testing.assert_array_equal(sources.mono(half), half.float().numpy())


def test_live_blocks_of_a_recording_in_memory():
    parts = list(sources.blocks((X, 16000), 16000, seconds=0.1))
    assert [len(part) for part in parts] == [1600, 1600, 800]
    np.testing.assert_array_equal(np.concatenate(parts), FLOAT)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"path": "a.wav", "bytes": b"RIFF"}, r"^a.wav: .* got a dict with path, bytes\. Decode"),
        ({"audio": {}, "text": ""}, r'example\["audio"\]'),
        ({}, "got a dict with nothing"),
        ({"array": FLOAT}, "no sampling_rate"),
        ({"array": FLOAT, "sampling_rate": "fast"}, "must be whole Hz > 0, got 'fast'"),
        ((FLOAT, 0), "must be whole Hz > 0, got 0"),
        ((FLOAT, np.nan), "must be whole Hz > 0"),
        (FLOAT, "sample_rate: is required with samples"),
        ((np.zeros((16, 800)), 16000), r"shape \(16, 800\) .* one row of a batch"),
        ((np.zeros((2, 2)), 16000), r"shape \(2, 2\)"),
        ((np.zeros((2, 3, 4)), 16000), r"shape \(2, 3, 4\)"),
        ((np.zeros((2, 0)), 16000), r"shape \(2, 0\)"),
        ((np.zeros(0), 16000), r"shape \(0,\)"),
        ((np.array([0.0, 1.0, np.nan]), 16000), "sample 2 is nan"),
        ((np.zeros(9, np.int64), 16000), "int16, int32 or uint8, got int64.* x / 32768"),
        ((X.astype(np.int32), 16000), "look like 16 bits.*int16"),
        ((np.zeros(9, complex), 16000), "must be a recording, got complex128"),
        (([[0.1], [0.2, 0.3]], 16000), "must be a recording, got list"),
        ((None, 16000), "must be a recording, got NoneType. Use a file, samples"),
        (CutSet.from_cuts([]), "must be one recording, got CutSet. Give its cuts"),
        ((np.zeros(2), 16000), "too short: 2 samples at 16000 Hz are less than one at 200 Hz"),
    ],
)
def test_what_is_not_a_recording(source, says):
    with pytest.raises(speechasym.ConfigError, match=says):
        speechasym.load(source, 200 if "too short" in says else None)
    with pytest.raises(speechasym.ConfigError, match=r"^channel 3: source has 2 channels"):
        speechasym.load((np.zeros((2, 99)), 16000), channel=3)


def test_another_rate_than_that_of_the_recording():
    with pytest.raises(speechasym.ConfigError, match="8000 Hz was given, but x has 16000 Hz"):
        sources.blocks({"array": X, "sampling_rate": 16000, "path": "x"}, own_rate=8000)
