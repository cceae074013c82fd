"""Log-mel spectrogram and MFCC: the usual features, which every claim here is measured against.

Both are computed by torchaudio. Frame m is a window centred on sample (m + 1/2) hop, so that it
covers the same stretch of sound as frame m of the filterbank; silence surrounds the recording.

Shapes: T samples, F frames, M mel channels, K cepstral coefficients.
"""

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray

from speechasym.feature_extraction.mel_scale import LOW_HZ

WINDOW_SECONDS = 0.025
FLOOR = 1e-10  # -100 dB in the summed power of one mel band
DELTA_FRAMES = 5  # regression over two frames on either side


class LogMel:
    """Log-mel spectrogram in dB, chunk by chunk: Hann window of 25 ms, Slaney's mel scale [1].

    Args:
        sample_rate: Hz.
        hop: samples a frame.
        channels: mel bands M.

    [1] M. Slaney, "Auditory Toolbox", Technical Report 1998-010, Interval Research, 1998.
    """

    def __init__(self, sample_rate: int, hop: int, channels: int) -> None:
        window = round(WINDOW_SECONDS * sample_rate)
        self.hop, self.width = hop, 1 << (window - 1).bit_length()
        self.spectrogram = torchaudio.transforms.MelSpectrogram(
            sample_rate, n_fft=self.width, win_length=window, hop_length=hop, center=False,
            f_min=LOW_HZ, n_mels=channels, norm="slaney", mel_scale="slaney",
        )  # fmt: skip

    def start(self) -> NDArray[np.float32]:
        """Return the state before the first sample: half a window of silence."""
        return np.zeros(max(0, (self.width - self.hop) // 2), np.float32)

    def __call__(self, x: NDArray, state: NDArray) -> tuple[NDArray[np.float32], NDArray]:
        """x (T,) -> dB (F, M) of all windows completed by x, and the samples still needed."""
        samples = np.concatenate([state, x])
        frames = max(0, (len(samples) - self.width) // self.hop + 1)
        if not frames:
            return np.zeros((0, self.spectrogram.n_mels), np.float32), samples
        used = samples[: (frames - 1) * self.hop + self.width]
        with torch.no_grad():
            rows = decibel(self.spectrogram(torch.from_numpy(used))).numpy().T
        return rows, samples[frames * self.hop :].copy()


def decibel(power: torch.Tensor) -> torch.Tensor:
    """Return power, summed in mel bands, in dB, at least -100."""
    return 10 * torch.log10(power.clamp(min=FLOOR))


def cosines(count: int, channels: int) -> torch.Tensor:
    """Return the first columns of the orthonormal cosine transform, type II: (M, K)."""
    return torchaudio.functional.create_dct(count, channels, norm="ortho")


def cepstra(log_spectrum: NDArray, count: int) -> NDArray[np.float32]:
    """Log spectrum (F, M) -> its first `count` cosine coefficients (F, K), orthonormal DCT-II."""
    basis = cosines(count, log_spectrum.shape[1])
    return (torch.from_numpy(log_spectrum) @ basis).numpy()


def with_deltas(track: NDArray) -> NDArray[np.float32]:
    """(F, K) -> (F, 3 K): the track, its slope by regression, and the slope's slope.

    The slope of frame m is sum_n n (c(m+n) - c(m-n)) / (2 sum_n n^2), n = 1, 2 [1]; the first and
    last frame are repeated outwards.

    [1] S. Young et al., "The HTK Book", section 5.9, Cambridge University, 2006.
    """
    static = torch.from_numpy(np.ascontiguousarray(track.T))
    slope = torchaudio.functional.compute_deltas(static, DELTA_FRAMES)
    curve = torchaudio.functional.compute_deltas(slope, DELTA_FRAMES)
    return torch.cat([static, slope, curve]).numpy().T
