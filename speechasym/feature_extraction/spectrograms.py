"""Spectrograms of samples as plain arrays, for figures of one's own: gammatone, FFT, constant-Q.

Shapes: T samples, F frames, C channels.
"""

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from speechasym.audio import sources
from speechasym.audio.sources import Source
from speechasym.auditory import filterbank
from speechasym.config import check_choice, check_range
from speechasym.errors import ConfigError
from speechasym.feature_extraction.sets import GammatoneFeatures
from speechasym.ops import folder_lock

Kind = Literal["gammatone", "fft", "constant-q"]
FRAME_RATES = {"gammatone": 100.0, "fft": 500.0, "constant-q": 100.0}  # by default
# constant-Q: lowest frequency in Hz, channels per octave, and length of the filters relative to
# those that would just separate neighbouring channels
LOWEST_HZ, PER_OCTAVE, FILTER_SCALE = 55.0, 24, 0.5


class Spectrogram(NamedTuple):
    """Levels over time and frequency."""

    level_db: NDArray[np.float32]  # (C, F) dB re full-scale sine, lowest frequency first
    times: NDArray[np.float64]  # (F,) s, of the middles of the frames
    frequencies: NDArray[np.float64]  # (C,) Hz, rising
    kind: str

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        if len(self.times) < 2:
            return FRAME_RATES[self.kind]
        return float((len(self.times) - 1) / (self.times[-1] - self.times[0]))


def spectrogram(
    source: Source,
    sample_rate: int | None = None,
    *,
    kind: Kind = "gammatone",
    frame_rate: float | None = None,
    window_ms: float = 10.0,
) -> Spectrogram:
    """Return the spectrogram of a recording: levels (C, F), times (F,) and frequencies (C,).

    Args:
        source: a file or another recording, see `speechasym.load`, or samples (T,) alone.
        sample_rate: of samples alone, Hz; of a recording: the rate to convert it to; default: its
            own.
        kind: gammatone (64 channels spaced evenly in ERB), fft (short-time Fourier transform with a
            Hann window), or constant-q (24 channels per octave from 55 Hz, by librosa).
        frame_rate: frames per second, rounded so that a frame is a whole number of samples;
            default: 100, of an FFT 500.
        window_ms: length of the FFT's window in ms: 10 shows formants, 40 harmonics.

    Raises:
        AudioError: a file that cannot be read.
        ConfigError: samples that cannot be used or come without a rate; an option that is
            out of range.

    Example:
        >>> s = speechasym.spectrogram("speech.wav")
        >>> s.level_db.shape, s.times.shape, s.frequencies.shape
        ((64, 299), (299,), (64,))
        >>> picture = librosa.display.specshow(
        ...     s.level_db, x_coords=s.times, y_coords=s.frequencies, x_axis="time", y_axis="mel"
        ... )
    """
    check_choice("kind", kind, get_args(Kind))
    if sources.is_recording(source):
        x, rate = sources.load(source, sample_rate)
    else:
        x = sources.mono(source)
        if sample_rate is None:
            raise ConfigError("sample_rate", "is missing", "Give the rate of the samples in Hz")
        rate = sample_rate
        check_range("sample_rate", rate, "16000", above=True)
    wanted = FRAME_RATES[kind] if frame_rate is None else frame_rate
    check_range("frame_rate", wanted, "100", high=rate, above=True)
    hop = max(1, round(rate / wanted))
    if kind == "gammatone":
        return _gammatone(x, rate, hop)
    if kind == "fft":
        check_range("window_ms", window_ms, "10", above=True)
        return _fft(x, rate, hop, window_ms)
    return _constant_q(x, rate, hop)


def _gammatone(x: NDArray[np.float32], rate: int, hop: int) -> Spectrogram:
    config = GammatoneFeatures(sample_rate=rate, rate=rate / hop)
    level_db = np.concatenate(list(config.frames([x]))).T
    times = (np.arange(level_db.shape[1]) + 0.5) * hop / rate
    return Spectrogram(level_db, times, filterbank.design(config.bank()).frequency, "gammatone")


def _fft(x: NDArray[np.float32], rate: int, hop: int, window_ms: float) -> Spectrogram:
    size = max(4, round(rate * window_ms / 1000))
    count = 2 ** int(np.ceil(np.log2(2 * size)))  # twice the window: smooth to look at
    window = np.hanning(size + 2)[1:-1].astype(np.float32)
    padded = np.pad(x, (size // 2, size))
    starts = np.arange(0, len(x), hop)
    # in parts: all windows of a minute at once would take 300 MB
    parts = [
        np.abs(np.fft.rfft(padded[some[:, None] + np.arange(size)] * window, count)).T
        for some in np.array_split(starts, 1 + len(starts) // 2000)
    ]
    level_db = _decibel(np.concatenate(parts, 1) * (2 / window.sum()))
    frequencies = np.arange(count // 2 + 1) * rate / count
    return Spectrogram(level_db, starts / rate, frequencies, "fft")


def _constant_q(x: NDArray[np.float32], rate: int, hop: int) -> Spectrogram:
    highest = min(7600.0, 0.45 * rate)
    channels = 1 + int(PER_OCTAVE * np.log2(highest / LOWEST_HZ)) if highest > LOWEST_HZ else 0
    if channels < 2:
        raise ConfigError("sample_rate", f"{rate} Hz is too low for constant-q", "Use fft")
    frames = 1 + (len(x) - 1) // hop
    bins: dict[str, Any] = {"fmin": LOWEST_HZ, "n_bins": channels, "bins_per_octave": PER_OCTAVE}
    with folder_lock.first_use("librosa", "cqt"):
        import librosa

        frequencies = np.asarray(librosa.cqt_frequencies(**bins), np.float64)
        lengths, _ = librosa.filters.wavelet_lengths(
            freqs=frequencies, sr=rate, filter_scale=FILTER_SCALE
        )
        padded = np.pad(x, (0, int(2 * lengths.max())))  # librosa warns of less than a filter
        values = librosa.cqt(
            padded, sr=rate, hop_length=hop, filter_scale=FILTER_SCALE, tuning=0.0, **bins
        )
    values = np.abs(values[:, :frames])
    level_db = _decibel(values * (2 / np.sqrt(lengths))[:, None])
    return Spectrogram(level_db, np.arange(frames) * hop / rate, frequencies, "constant-q")


def _decibel(amplitude: NDArray) -> NDArray[np.float32]:
    """Return the level in dB re a full-scale sine, down to the floor of the filterbank's."""
    floor = 10 ** (filterbank.FLOOR_DB / 20)
    return (20 * np.log10(np.maximum(amplitude, floor))).astype(np.float32)
