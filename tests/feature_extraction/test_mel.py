import librosa
import numpy as np
import pytest

from speechasym.feature_extraction.mel import LogMel, cepstra, with_deltas

RATE = 16000
X = (np.random.default_rng(2).standard_normal(8000) * 0.1).astype(np.float32)


def test_a_frame_is_centred_on_its_stretch_of_sound():
    mel = LogMel(RATE, 160, 80)
    for m in (0, 7, 20):
        x = np.zeros(8000, np.float32)
        x[m * 160 + 80] = 1
        decibel, _ = mel(np.pad(x, (0, 1000)), mel.start())
        assert int(decibel.sum(1).argmax()) == m


def test_log_mel_equals_librosa():
    mel = LogMel(RATE, 160, 80)
    decibel, _ = mel(X, mel.start())
    padded = np.concatenate([mel.start(), X])
    power = librosa.feature.melspectrogram(
        y=padded, sr=RATE, n_fft=512, win_length=400, hop_length=160, center=False,
        fmin=20, n_mels=80,
    )  # fmt: skip
    want = 10 * np.log10(np.maximum(power, 1e-10)).T
    # torchaudio's weights are float32 differences of frequencies, hence not closer
    np.testing.assert_allclose(decibel, want, atol=2e-3)


@pytest.mark.parametrize("size", [1, 100, 160, 511, 3000])
def test_log_mel_in_chunks_is_the_whole(size):
    mel = LogMel(RATE, 160, 80)
    whole, _ = mel(X, mel.start())
    state, parts = mel.start(), []
    for start in range(0, len(X), size if size > 1 else 1000):
        stop = start + (size if size > 1 else 1000)
        decibel, state = mel(X[start:stop], state)
        parts.append(decibel)
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-4)


def test_cepstra_equal_librosa():
    decibel = np.random.default_rng(3).standard_normal((4, 80)).astype(np.float32)
    want = librosa.feature.mfcc(S=decibel.T, n_mfcc=13, norm="ortho").T
    np.testing.assert_allclose(cepstra(decibel, 13), want, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 9])
def test_deltas_equal_librosa(frames):
    track = np.random.default_rng(4).standard_normal((frames, 13)).astype(np.float32)
    slope = librosa.feature.delta(track, width=5, axis=0, mode="nearest")
    curve = librosa.feature.delta(slope, width=5, axis=0, mode="nearest")
    np.testing.assert_allclose(with_deltas(track), np.hstack([track, slope, curve]), atol=1e-5)
