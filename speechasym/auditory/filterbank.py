"""The gammatone filterbank as numbers: what a person chooses, what follows from it, what runs on.

Parameters (`BankConfig`) -> coefficients (`design`) -> state (`BankState`). `pool` is the bank on
the CPU in numpy; `speechasym.Gammatone` is the same bank as a torch module.

Shapes: B batch, T samples, C channels, F frames, N order.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.auditory import erb
from speechasym.errors import ConfigError

if TYPE_CHECKING:
    from speechasym.ops import cpu_gammatone


@dataclass(frozen=True, kw_only=True)
class BankConfig:
    """What a person chooses. Raises `ConfigError` on values that make no filterbank."""

    sample_rate: int  # Hz
    channels: int = 64
    low_hz: float = 50.0  # lowest centre frequency
    high_hz: float | None = None  # highest; None: the lower of 7600 Hz and 0.95 Nyquist
    order: int = 4  # equal poles a channel; 4 is the ear's
    bandwidth_factor: float = 1.0  # 1: each filter's ERB is the ear's at its centre
    frame_rate: float = 100.0  # frames a second
    align: bool = False  # delay the faster channels so that all envelopes peak together

    def __post_init__(self) -> None:
        if self.sample_rate <= 0:
            raise ConfigError(
                "sample_rate", f"{self.sample_rate} Hz is not positive", "Give Hz > 0"
            )
        nyquist = self.sample_rate / 2
        if not self.low_hz > 0:
            raise ConfigError("low_hz", f"{self.low_hz} Hz is not above 0", "50 Hz is usual")
        if not self.low_hz < nyquist:
            raise ConfigError(
                "sample_rate",
                f"{self.sample_rate} Hz carries frequencies below {nyquist:g} Hz only, and the "
                f"lowest centre frequency is {self.low_hz:g} Hz",
                f"Use a sample rate above {2 * self.low_hz:g} Hz, or a lower low_hz",
            )
        if not self.low_hz <= self.highest <= nyquist:
            raise ConfigError(
                "high_hz",
                f"{self.highest:g} Hz is not between low_hz = {self.low_hz:g} Hz and half the "
                f"sample rate, {nyquist:g} Hz",
                "Choose it between them, or leave it out",
            )
        for name, value, least in (("channels", self.channels, 1), ("order", self.order, 1)):
            if value < least:
                raise ConfigError(name, f"{value} is less than {least}", f"Use {least} or more")
        if not 0 < self.bandwidth_factor < np.inf:
            raise ConfigError(
                "bandwidth_factor", f"{self.bandwidth_factor} is not positive", "1 is the ear's"
            )
        hop(self.sample_rate, self.frame_rate)

    @property
    def highest(self) -> float:
        """Highest centre frequency in Hz, the default filled in."""
        return min(7600.0, 0.475 * self.sample_rate) if self.high_hz is None else self.high_hz


def hop(sample_rate: int, frame_rate: float) -> int:
    """Samples a frame. Raises `ConfigError` unless that is a whole number >= 1."""
    if frame_rate <= 0:
        raise ConfigError("rate", f"{frame_rate} frames a second is not positive", "Try 100")
    if not 1e-3 <= frame_rate < np.inf:
        raise ConfigError("rate", f"{frame_rate} frames a second is not 0.001 or more", "Try 100")
    samples = round(sample_rate / frame_rate)
    # 33.3333 is meant to be 100 / 3; the difference is at most 15 ms an hour
    if samples < 1 or abs(samples * frame_rate - sample_rate) > 4e-6 * sample_rate:
        below = int(sample_rate / frame_rate)
        near = [sample_rate / n for n in (below, below + 1) if n > 0]
        raise ConfigError(
            "rate",
            f"{frame_rate:g} frames a second do not divide {sample_rate} samples a second",
            "Choose a rate that does, such as "
            + " or ".join(f"{r:.7g}" for r in near)
            + ", or another sample rate",
        )
    return samples


@dataclass(frozen=True)
class Coefficients:
    """What `design` computes once."""

    frequency: NDArray[np.float64]  # (C,) centre frequencies, Hz
    bandwidth: NDArray[np.float64]  # (C,) b in exp(-2 pi b t), Hz
    pole: NDArray[np.complex128]  # (C,) exp((-2 pi b + 2 pi i f) / sample_rate)
    order: int
    hop: int  # samples a frame
    delay: NDArray[np.int64] | None  # (C,) samples each channel waits for the slowest; None: none
    turn: NDArray[np.complex128] | None  # (C,) factor of the sample that aligns the carriers too

    @property
    def latency(self) -> int:
        """Samples by which alignment delays everything: 0 without it."""
        return 0 if self.delay is None else int(self.delay.max())


def poles(frequency: NDArray, bandwidth: NDArray, sample_rate: int) -> NDArray[np.complex128]:
    """(C,) Hz, (C,) Hz -> (C,) exp((-2 pi b + 2 pi i f) / sample_rate)."""
    return np.exp(2 * np.pi / sample_rate * (-bandwidth + 1j * frequency))


def align(
    pole: NDArray, bandwidth: NDArray, order: int, sample_rate: int
) -> tuple[NDArray[np.int64], NDArray[np.complex128]]:
    """(C,) delays in samples and (C,) factors that make an impulse peak everywhere at once.

    The envelope t^(N-1) exp(-2 pi b t) peaks at t = (N-1) / (2 pi b), in the cascade N / 2 samples
    earlier; whole samples of delay bring these together, and the factor makes the phase 0 there,
    so that the rounded delays do not show in the phase [1].

    [1] V. Hohmann, "Frequency analysis and synthesis using a Gammatone filterbank", Acta Acustica
        united with Acustica 88, 433-442, 2002.
    """
    peak = (order - 1) / (2 * np.pi * bandwidth) * sample_rate
    delay = np.rint(peak.max() - peak).astype(np.int64)
    carrier = pole / np.abs(pole)
    return delay, carrier ** -(peak.max() - order / 2 - delay)


def design(config: BankConfig) -> Coefficients:
    """Parameters -> coefficients."""
    frequency = erb.erb_space(config.low_hz, config.highest, config.channels)
    bandwidth = config.bandwidth_factor * erb.gammatone_bandwidth(frequency, config.order)
    return derive(config, frequency, bandwidth)


def derive(config: BankConfig, frequency: NDArray, bandwidth: NDArray) -> Coefficients:
    """The coefficients of these centre frequencies and bandwidths, (C,) each, in Hz."""
    pole = poles(frequency, bandwidth, config.sample_rate)
    delay = turn = None
    if config.align:
        delay, turn = align(pole, bandwidth, config.order, config.sample_rate)
    samples = hop(config.sample_rate, config.frame_rate)
    return Coefficients(frequency, bandwidth, pole, config.order, samples, delay, turn)


class BankState(NamedTuple):
    """What time changes, carried from chunk to chunk."""

    cascade: "cpu_gammatone.State | None"  # the filters' stages
    waiting: NDArray[np.float32]  # (B, n) samples of delay, then of a frame not yet complete


class Tracks(NamedTuple):
    """The bank at the frame rate. All (..., C, F)."""

    power: NDArray[np.float32]  # mean |z|^2: 1 for a full-scale sine at the centre frequency
    lag1: NDArray[np.complex64]  # mean z(t) conj z(t-1): its argument is the frequency
    sample: NDArray[np.complex64]  # z at the frame's last sample


def pool(
    x: NDArray[np.float32],
    coefficients: Coefficients,
    state: BankState | None = None,
    threads: int = 1,
) -> tuple[Tracks, BankState]:
    """x (B, T) -> the complete frames of everything heard so far, and the state.

    Any chunking gives the bits of the whole. Samples of an unfinished frame wait in the state.
    """
    from speechasym.ops import cpu_gammatone  # numba: 0.4 s that `--help` need not pay

    c = coefficients
    if state is None:
        state = BankState(None, np.zeros((len(x), c.latency), np.float32))
    heard = np.concatenate([state.waiting, x], 1) if state.waiting.size else x
    used = (heard.shape[1] - c.latency) // c.hop * c.hop
    ready = heard[:, : c.latency + used]
    power, lag1, sample, cascade = cpu_gammatone.gammatone_pooled(
        ready, c.pole, c.order, c.hop, state.cascade, c.delay, threads
    )
    if c.turn is not None:
        sample = sample * c.turn[:, None].astype(np.complex64)
    return Tracks(power, lag1, sample), BankState(cascade, heard[:, used:].copy())


def channels(
    x: NDArray[np.float32],
    coefficients: Coefficients,
    state: BankState | None = None,
    threads: int = 1,
) -> tuple[NDArray[np.complex64], BankState]:
    """x (B, T) -> the full-rate channels z (B, C, T), without alignment delays, and the state."""
    from speechasym.ops import cpu_gammatone

    cascade = None if state is None else state.cascade
    z, cascade = cpu_gammatone.gammatone(x, coefficients.pole, coefficients.order, cascade, threads)
    return z, BankState(cascade, np.zeros((len(x), 0), np.float32))


def frame_count(samples: int, hop: int) -> int:
    """Frames of a recording: its length in frames, rounded half up, and at least 1.

    The convention of Kaldi (snip_edges=False) and lhotse; frame m covers samples [m, m + 1) hop.
    """
    return max(1, (samples + hop // 2) // hop) if samples else 0


FLOOR_DB = -120.0  # about the noise that 16 bits leave in one narrow channel


def level(power: NDArray) -> NDArray:
    """Mean power -> dB re a full-scale sine at the channel's centre frequency, >= -120 dB."""
    decibel = 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10 - 1)))
    return np.maximum(decibel, FLOOR_DB).astype(np.float32)


def frequency_deviation(lag1: NDArray, coefficients: Coefficients, sample_rate: int) -> NDArray:
    """Lag-1 product (..., C, F) -> instantaneous frequency less the centre frequency, in ERB.

    The frequency is arg(lag1) sample_rate / 2 pi, a mean weighted by energy [1]; the deviation is
    in units of the channel's ERB. Silence gives 0.

    [1] G. W. Lank, I. S. Reed, G. E. Pollon, "A semicoherent detection and Doppler estimation
        statistic", IEEE Trans. AES 9, 151-165, 1973.
    """
    own = lag1 * np.exp(-1j * np.angle(coefficients.pole))[:, None].astype(np.complex64)
    hz = np.angle(np.where(own == 0, 1, own)) * (sample_rate / (2 * np.pi))
    return (hz / erb.erb(coefficients.frequency)[:, None]).astype(np.float32)


def phase_cycles(sample: NDArray) -> NDArray:
    """z (..., C, F) -> its phase in cycles, in [-0.5, 0.5). Silence gives 0."""
    cycles = np.angle(np.where(sample == 0, 1, sample)) / (2 * np.pi)  # -0 + 0j has phase pi
    return np.where(cycles >= 0.5, cycles - 1, cycles).astype(np.float32)
