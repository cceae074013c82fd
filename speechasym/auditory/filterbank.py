"""The gammatone filterbank: configuration, coefficients and state, and how to run it with numpy.

Configuration (`FilterbankConfig`) -> coefficients (`design`) -> state (`FilterbankState`). `pool`
runs the filterbank on the CPU; `speechasym.Gammatone` is the same filterbank as a torch module.

Shapes: B batch, T samples, C channels, F frames, N order.
"""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from speechasym.auditory import erb
from speechasym.config import check_count, check_range
from speechasym.errors import ConfigError

if TYPE_CHECKING:
    from speechasym.ops import cpu_gammatone

log = logging.getLogger("speechasym")

MOST_OFF = 0.01  # relative change of a frame rate by rounding a frame to whole samples

Array = TypeVar("Array")  # of numpy or torch


@dataclass(frozen=True, kw_only=True)
class FilterbankOptions:
    """The options that feature sets on a filterbank share with it."""

    channels: int = 64
    low_hz: float = 50.0  # lowest centre frequency
    # highest centre frequency; default: lower of 7600 Hz and 0.95 Nyquist
    high_hz: float | None = None
    align: bool = False  # compensate the different delays of the channels


@dataclass(frozen=True, kw_only=True)
class FilterbankConfig(FilterbankOptions):
    """The options of a filterbank. Raises `ConfigError` for values out of range."""

    sample_rate: int  # Hz
    frame_rate: float = 100.0  # frames per second; made exact, see `exact_rate`
    order: int = 4  # equal poles per channel; 4 is the ear's
    bandwidth_factor: float = 1.0  # 1: each filter's ERB is the ear's at its centre frequency

    def __post_init__(self) -> None:
        check_range("sample_rate", self.sample_rate, "16000", above=True)
        check_range("low_hz", self.low_hz, "50", above=True)
        nyquist = self.sample_rate / 2
        if not self.low_hz < nyquist:
            limit = f"{self.sample_rate} Hz holds frequencies below {nyquist:g} Hz only"
            problem = f"{limit}, but the lowest centre frequency is {self.low_hz:g} Hz"
            remedy = f"Use a sample rate above {2 * self.low_hz:g} Hz, or a lower low_hz"
            raise ConfigError("sample_rate", problem, remedy)
        example = "a frequency from low_hz to half the sample rate, or leave it out"
        check_range("high_hz", self.highest, example, self.low_hz, nyquist)
        check_count("channels", self.channels)
        check_count("order", self.order)
        check_range("bandwidth_factor", self.bandwidth_factor, "1, as in the ear", above=True)
        object.__setattr__(self, "frame_rate", exact_rate(self.sample_rate, self.frame_rate))

    @property
    def highest(self) -> float:
        """Highest centre frequency in Hz, with the default resolved."""
        return min(7600.0, 0.475 * self.sample_rate) if self.high_hz is None else self.high_hz


def hop(sample_rate: int, frame_rate: float) -> int:
    """Return the samples per frame, rounded half up.

    Raises `ConfigError` where rounding changes the rate by more than 1 %.
    """
    check_range("rate", frame_rate, "for example 100 frames per second", 1e-3)
    samples = int(sample_rate / frame_rate + 0.5)
    if samples < 1 or abs(samples * frame_rate / sample_rate - 1) > MOST_OFF:
        below = int(sample_rate / frame_rate)
        near = " or ".join(f"{sample_rate / n:.7g}" for n in (below, below + 1) if n > 0)
        problem = f"{frame_rate:g} frames per second do not divide {sample_rate} samples per second"
        remedy = f"Use a rate that does, such as {near}, or another sample rate"
        raise ConfigError("rate", problem, remedy)
    return samples


def exact_rate(sample_rate: int, frame_rate: float) -> float:
    """Return the frames per second of frames that are a whole number of samples long.

    22050 Hz and 100 frames per second give frames of 221 samples, 99.7738 per second. Raises as
    `hop`.
    """
    samples = hop(sample_rate, frame_rate)
    exact = sample_rate / samples
    if abs(frame_rate / exact - 1) > 4e-6:  # 33.3333 stands for 100 / 3
        text = "rate: %g frames per second do not divide %d Hz: used %.7g, frames of %d samples"
        log.warning(text, frame_rate, sample_rate, exact, samples)
    return frame_rate if frame_rate == exact else exact


@dataclass(frozen=True)
class Coefficients:
    """What the recurrences need; computed once by `design`."""

    frequency: NDArray[np.float64]  # (C,) centre frequencies, Hz
    bandwidth: NDArray[np.float64]  # (C,) b in exp(-2 pi b t), Hz
    pole: NDArray[np.complex128]  # (C,) exp((-2 pi b + 2 pi i f) / sample_rate)
    order: int
    hop: int  # samples per frame
    delay: NDArray[np.int64] | None  # (C,) samples that each channel waits for the slowest
    turn: NDArray[np.complex128] | None  # (C,) factors of `sample` that align the carriers

    @property
    def latency(self) -> int:
        """Samples by which alignment delays the output; 0 without alignment."""
        return 0 if self.delay is None else int(self.delay.max())


def align(
    pole: NDArray, bandwidth: NDArray, order: int, sample_rate: int
) -> tuple[NDArray[np.int64], NDArray[np.complex128]]:
    """Return delays in samples (C,) and factors (C,) that let an impulse peak everywhere at once.

    The envelope t^(N-1) exp(-2 pi b t) peaks at t = (N-1) / (2 pi b), in the cascade N / 2 samples
    earlier. The delays align these peaks to the sample; the factors make the phase there 0, so
    that the rounding of the delays does not affect the phase [1].

    [1] V. Hohmann, "Frequency analysis and synthesis using a Gammatone filterbank", Acta Acustica
        united with Acustica 88, 433-442, 2002.
    """
    peak = (order - 1) / (2 * np.pi * bandwidth) * sample_rate
    delay = np.rint(peak.max() - peak).astype(np.int64)
    carrier = pole / np.abs(pole)
    return delay, carrier ** -(peak.max() - order / 2 - delay)


def design(config: FilterbankConfig) -> Coefficients:
    """Return the coefficients of centre frequencies equally spaced on the ERB scale."""
    frequency = erb.erb_space(config.low_hz, config.highest, config.channels)
    bandwidth = config.bandwidth_factor * erb.gammatone_bandwidth(frequency, config.order)
    return derive(config, frequency, bandwidth)


def derive(config: FilterbankConfig, frequency: NDArray, bandwidth: NDArray) -> Coefficients:
    """Return the coefficients of given centre frequencies and bandwidths, each (C,) in Hz."""
    pole = np.exp(2 * np.pi / config.sample_rate * (-bandwidth + 1j * frequency))
    delay = turn = None
    if config.align:
        delay, turn = align(pole, bandwidth, config.order, config.sample_rate)
    samples = hop(config.sample_rate, config.frame_rate)
    return Coefficients(frequency, bandwidth, pole, config.order, samples, delay, turn)


class FilterbankState(NamedTuple):
    """What is carried from chunk to chunk."""

    cascade: "cpu_gammatone.State | None"  # the filters' stages; None: silence
    waiting: NDArray[np.float32]  # (B, n) delayed samples, then those of an incomplete frame


class Frames(NamedTuple, Generic[Array]):
    """The output z of the filterbank, pooled to frames: numpy arrays or tensors (..., C, F)."""

    power: Array  # mean |z|^2: 1 for a full-scale sine at the centre frequency
    lag1: Array  # complex, mean z(t) conj z(t-1): its argument is the frequency
    sample: Array  # complex, z at the frame's last sample


def pool(
    x: NDArray[np.float32], c: Coefficients, state: FilterbankState | None = None, threads: int = 1
) -> tuple[Frames[NDArray], FilterbankState]:
    """Filter x (B, T) and return the frames that it completes, and the state.

    The samples of an incomplete frame wait in the state: however a signal is split into chunks,
    its frames are bit-identical.
    """
    from speechasym.ops import cpu_gammatone  # numba takes 0.4 s to import; `--help` needs none

    if state is None:
        state = FilterbankState(None, np.zeros((len(x), c.latency), np.float32))
    samples = np.concatenate([state.waiting, x], 1) if state.waiting.shape[1] else x
    used = (samples.shape[1] - c.latency) // c.hop * c.hop
    ready = samples[:, : c.latency + used]
    power, lag1, sample, cascade = cpu_gammatone.gammatone_pooled(
        ready, c.pole, c.order, c.hop, state.cascade, c.delay, threads
    )
    if c.turn is not None:
        sample = sample * c.turn[:, None].astype(np.complex64)
    return Frames(power, lag1, sample), FilterbankState(cascade, samples[:, used:].copy())


def channels(
    x: NDArray[np.float32], c: Coefficients, state: FilterbankState | None = None, threads: int = 1
) -> tuple[NDArray[np.complex64], FilterbankState]:
    """Filter x (B, T) and return z (B, C, T) at the full rate, without alignment, and the state."""
    from speechasym.ops import cpu_gammatone

    cascade = None if state is None else state.cascade
    z, cascade = cpu_gammatone.gammatone(x, c.pole, c.order, cascade, threads)
    return z, FilterbankState(cascade, np.zeros((len(x), 0), np.float32))


def frame_count(samples: int, hop: int) -> int:
    """Return the frames of a recording: its length in frames, rounded half up, at least 1.

    This is the convention of Kaldi (snip_edges=False) and lhotse. Frame m covers samples
    [m, m + 1) hop; a recording without samples has no frames.
    """
    return max(1, (samples + hop // 2) // hop) if samples else 0


FLOOR_DB = -120.0  # about the quantisation noise of 16 bits in one narrow channel


def level_db(power: NDArray) -> NDArray:
    """Return mean power in dB re a full-scale sine at the centre frequency, at least -120 dB."""
    decibel = 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10 - 1)))
    return np.maximum(decibel, FLOOR_DB).astype(np.float32)


def frequency_deviation(lag1: NDArray, coefficients: Coefficients, sample_rate: int) -> NDArray:
    """Return the instantaneous frequency minus the centre frequency, in ERBs of the channel.

    The instantaneous frequency is arg(lag1) sample_rate / 2 pi, a mean weighted by energy [1], of
    lag-1 products (..., C, F). Silence gives 0.

    [1] G. W. Lank, I. S. Reed, G. E. Pollon, "A semicoherent detection and Doppler estimation
        statistic", IEEE Trans. AES 9, 151-165, 1973.
    """
    relative = lag1 * np.exp(-1j * np.angle(coefficients.pole))[:, None].astype(np.complex64)
    hz = np.angle(np.where(relative == 0, 1, relative)) * (sample_rate / (2 * np.pi))
    return (hz / erb.erb(coefficients.frequency)[:, None]).astype(np.float32)


def phase_cycles(sample: NDArray) -> NDArray:
    """Return the phase of z (..., C, F) in cycles, in [-0.5, 0.5). Silence gives 0."""
    cycles = np.angle(np.where(sample == 0, 1, sample)) / (2 * np.pi)  # -0 + 0j has phase pi
    return np.where(cycles >= 0.5, cycles - 1, cycles).astype(np.float32)
