"""Other detectors of speech, for comparison: samples (T,) at 16 kHz -> a score (F,) every 10 ms.

Higher is more speech. All look at the whole recording; smoothing windows are centred.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from activity_recordings import FRAME, RATE, frame_db
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

Score = Callable[[NDArray[np.float32]], NDArray[np.float64]]


def energy(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Level over 0.31 s, above the recording's tenth percentile, in dB."""
    power = uniform_filter1d(10 ** (frame_db(x) / 10), 31)
    level = 10 * np.log10(np.maximum(power, 1e-12))
    return np.asarray(level - np.percentile(level, 10))


def _spectra(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Powers (F, 101) at 0 to 8 kHz of Hann windows of 20 ms."""
    size = len(x) // FRAME
    padded = np.concatenate([x, np.zeros(2 * FRAME, np.float32)])
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * FRAME)[: size * FRAME : FRAME]
    spectra = np.fft.rfft(frames * np.hanning(2 * FRAME), axis=1)
    return np.asarray(np.abs(spectra) ** 2 + 1e-10)


def flatness(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Long-term spectral flatness: mean over time against geometric mean, 500 to 4000 Hz, 0.3 s."""
    power = uniform_filter1d(_spectra(x)[:, 10:81], 10, axis=0)
    mean = np.log10(uniform_filter1d(power, 31, axis=0))
    return np.asarray((mean - uniform_filter1d(np.log10(power), 31, axis=0)).mean(1))


def modulation(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log power of the level's modulation at 2 to 8 Hz in 20 bands, over 0.5 s."""
    bands = np.array_split(_spectra(x)[:, 4:], 20, axis=1)
    level = np.log(np.stack([band.mean(1) for band in bands], 1))
    moving = uniform_filter1d(level, 6, axis=0) - uniform_filter1d(level, 25, axis=0)
    return np.asarray(np.log(uniform_filter1d((moving**2).mean(1), 51) + 1e-9))


def webrtc() -> Score:
    """The number of WebRTC's four modes that hear speech (package webrtcvad-wheels)."""
    import webrtcvad

    def score(x: NDArray[np.float32]) -> NDArray[np.float64]:
        raw = (np.clip(x, -1, 1) * 32767).astype("<i2")
        votes = np.zeros(len(x) // FRAME)
        for mode in range(4):
            detector: Any = webrtcvad.Vad(mode)
            votes += [
                detector.is_speech(raw[i * FRAME : (i + 1) * FRAME].tobytes(), RATE)
                for i in range(len(votes))
            ]
        return votes

    return score


def silero() -> Score:
    """Log odds of Silero's network (package silero-vad), each for 32 ms."""
    import torch
    from silero_vad import load_silero_vad

    torch.set_num_threads(1)
    model = load_silero_vad()

    def score(x: NDArray[np.float32]) -> NDArray[np.float64]:
        with torch.no_grad():
            p = model.audio_forward(torch.from_numpy(x)[None], sr=RATE)[0].double().numpy()
        p = p.clip(1e-6, 1 - 1e-6)
        middles = (np.arange(len(x) // FRAME) + 0.5) * FRAME // 512
        return np.asarray(np.log(p / (1 - p))[middles.astype(int).clip(0, len(p) - 1)])

    return score
