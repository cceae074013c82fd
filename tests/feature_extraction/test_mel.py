import numpy as np
import oracle
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


def test_log_mel_of_a_frame_by_the_book():
    mel = LogMel(RATE, 160, 80)
    decibel, _ = mel(X, mel.start())
    m = 20
    first = m * 160 + 80 - 256
    window = np.zeros(512)
    window[56:456] = np.hanning(401)[:400]  # periodic Hann of 25 ms in the middle of the transform
    power = np.abs(np.fft.rfft(X[first : first + 512] * window)) ** 2
    # triangles on Slaney's mel scale with unit area, written out
    f = np.linspace(0, RATE / 2, 257)

    def to_mel(hz):
        return np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(hz / 1000) / np.log(6.4))

    def to_hz(m):
        return np.where(m < 15, m * 200 / 3, 1000 * np.exp((m - 15) * np.log(6.4) / 27))

    edge = to_hz(np.linspace(to_mel(np.float64(20)), to_mel(np.float64(8000)), 82))
    for band in (0, 30, 79):
        low, mid, high = edge[band : band + 3]
        weight = np.maximum(0, np.minimum((f - low) / (mid - low), (high - f) / (high - mid)))
        value = 10 * np.log10(max(1e-10, float(weight @ power) * 2 / (high - low)))
        assert decibel[m, band] == pytest.approx(value, abs=2e-2)


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


def test_cepstra_are_the_orthonormal_cosine_transform():
    decibel = np.random.default_rng(3).standard_normal((4, 80)).astype(np.float32)
    got = cepstra(decibel, 13)
    assert got.shape == (4, 13)
    for m in range(4):
        want = oracle.dct_orthonormal(decibel[m].tolist(), 13)
        np.testing.assert_allclose(got[m], want, atol=1e-4)


@pytest.mark.parametrize("frames", [1, 2, 9])
def test_deltas_are_regression_slopes(frames):
    track = np.random.default_rng(4).standard_normal((frames, 13)).astype(np.float32)
    got = with_deltas(track)
    assert got.shape == (frames, 39)
    for k in range(13):
        slope = oracle.slope(track[:, k].tolist())
        np.testing.assert_allclose(got[:, 13 + k], slope, atol=1e-5)
        np.testing.assert_allclose(got[:, 26 + k], oracle.slope(slope), atol=1e-5)
