"""The gammatone filterbank as a torch module."""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speechasym.auditory import erb, filterbank
from speechasym.errors import ConfigError
from speechasym.ops import scan


class Frames(NamedTuple):
    """The bank at the frame rate. All (..., C, F)."""

    power: Tensor  # mean |z|^2: 1 for a full-scale sine at the centre frequency
    lag1: Tensor  # complex: mean z(t) conj z(t-1)
    sample: Tensor  # complex: z at the frame's last sample


class GammatoneState(NamedTuple):
    """Carried from chunk to chunk where torch computes; numba carries `bank.BankState`."""

    stages: Tensor | None  # (B, N, C) complex: the cascade's last outputs
    waiting: Tensor  # (B, n) samples of delay, then of a frame not yet complete


class Gammatone(nn.Module):
    """Analytic gammatone filterbank [1], pooled to a frame rate inside the kernel.

    Channel c is z = h * x with h(t) = t^(order-1) exp(-2 pi b t + 2 pi i f t), centre frequencies
    f equally spaced on the ERB scale, and gain such that |z| = A for a sine of amplitude A at f.

    On the CPU without gradients it runs in numba, at about the speed of a mel spectrogram; where
    a gradient is wanted, in float64, or on CUDA it runs in torch with the same values.

    Args:
        sample_rate: Hz.
        channels: number of channels C.
        low_hz, high_hz: lowest and highest centre frequency; high_hz None is the lower of 7600 Hz
            and 0.95 Nyquist.
        order: number of equal poles.
        bandwidth_factor: 1 gives each filter the ear's ERB.
        frame_rate: frames a second; must divide the sample rate.
        align: delay faster channels so that an impulse peaks in all together, `latency` samples
            late, and turn `sample` so that its phase is 0 there. Not for `channels`.
        learnable: make centre frequencies and bandwidths parameters.

    Example:
        >>> x, rate = speechasym.load("speech.wav")
        >>> bank = speechasym.Gammatone(rate)
        >>> y, state = bank(x)          # y.power, y.lag1, y.sample: (64, frames)
        >>> bank.level(y)               # dB re a full-scale sine

    Raises:
        ConfigError: a value outside its range.

    [1] V. Hohmann, "Frequency analysis and synthesis using a Gammatone filterbank", Acta Acustica
        united with Acustica 88, 433-442, 2002.
    """

    def __init__(
        self,
        sample_rate: int,
        channels: int = 64,
        low_hz: float = 50.0,
        high_hz: float | None = None,
        order: int = 4,
        bandwidth_factor: float = 1.0,
        frame_rate: float = 100.0,
        align: bool = False,
        learnable: bool = False,
    ) -> None:
        super().__init__()
        self.config = filterbank.BankConfig(
            sample_rate=sample_rate,
            channels=channels,
            low_hz=low_hz,
            high_hz=high_hz,
            order=order,
            bandwidth_factor=bandwidth_factor,
            frame_rate=frame_rate,
            align=align,
        )
        made = filterbank.design(self.config)
        # as logarithms, a learning step is a ratio, equally large at 50 Hz and at 5 kHz
        log_frequency = torch.from_numpy(np.log(made.frequency))
        log_bandwidth = torch.from_numpy(np.log(made.bandwidth))
        if learnable:
            self.log_frequency: Tensor = nn.Parameter(log_frequency)
            self.log_bandwidth: Tensor = nn.Parameter(log_bandwidth)
        else:
            self.register_buffer("log_frequency", log_frequency)
            self.register_buffer("log_bandwidth", log_bandwidth)
        self._made = made if not learnable else None

    def _apply(self, fn, recurse: bool = True):  # type: ignore[no-untyped-def]
        """Move, but never round: half precision would detune the bank, float32 slightly."""
        for name in ("log_frequency", "log_bandwidth"):
            tensor = getattr(self, name)
            tensor.data = tensor.data.to(fn(torch.empty(0, device=tensor.device)).device)
        return self

    @property
    def frequency(self) -> Tensor:
        """(C,) centre frequencies in Hz, float64."""
        return self.log_frequency.exp()

    @property
    def bandwidth(self) -> Tensor:
        """(C,) bandwidths b in Hz, float64."""
        return self.log_bandwidth.exp()

    @property
    def hop(self) -> int:
        """Samples a frame."""
        return filterbank.hop(self.config.sample_rate, self.config.frame_rate)

    @property
    def latency(self) -> int:
        """Samples by which alignment delays everything: 0 without it."""
        return self.coefficients().latency

    def coefficients(self) -> filterbank.Coefficients:
        """The design as numpy arrays, from the parameters as they are now."""
        if self._made is not None:
            return self._made
        frequency = self.frequency.detach().cpu().numpy()
        bandwidth = self.bandwidth.detach().cpu().numpy()
        return filterbank.derive(self.config, frequency, bandwidth)

    def _pole(self) -> Tensor:
        rate = 2 * math.pi / self.config.sample_rate
        return torch.exp(torch.complex(-self.bandwidth * rate, self.frequency * rate))

    def _in_numba(self, x: Tensor) -> bool:
        wanted = torch.is_grad_enabled() and (x.requires_grad or self.log_frequency.requires_grad)
        return x.device.type == "cpu" and x.dtype == torch.float32 and not wanted

    def forward(
        self,
        x: Tensor | NDArray,
        state: filterbank.BankState | GammatoneState | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Frames, filterbank.BankState | GammatoneState]:
        """Samples -> complete frames.

        Args:
            x: (..., T), full scale 1.
            state: what the call before returned, to go on from there; None starts from silence.
            lengths: (B,) valid samples of each row of x (B, T); what lies behind them is heard as
                silence, and frames that begin behind them are 0.

        Returns:
            Frames of (..., C, F), F = whole frames heard so far less those already returned, and
            the state. Any chunking gives the frames of the whole.

        Raises:
            ConfigError: x is not a floating-point signal, or lengths do not fit it.
        """
        x = torch.as_tensor(x)
        flat = flat_rows(x)
        if lengths is not None:
            _check_lengths(lengths, x)
            inside = torch.arange(x.shape[-1], device=x.device) < lengths.to(x.device)[:, None]
            flat = torch.where(inside, flat, 0)
        c = self.coefficients()
        after: filterbank.BankState | GammatoneState
        if self._in_numba(flat):
            arrays, after = filterbank.pool(
                flat.numpy(), c, _to_numpy(state), torch.get_num_threads()
            )
            tracks = [torch.from_numpy(a) for a in arrays]
        else:
            stages, waiting = _to_torch(state, c, flat)
            heard = torch.cat([waiting, flat], 1)
            used = (heard.shape[1] - c.latency) // c.hop * c.hop
            delay = None if c.delay is None else torch.from_numpy(c.delay)
            *tracks, stages = scan.gammatone_pooled(
                heard[:, : c.latency + used], self._pole(), c.order, c.hop, stages, delay
            )
            if c.turn is not None:
                turn = torch.from_numpy(c.turn).to(tracks[2])
                tracks[2] = tracks[2] * turn[:, None]
            after = GammatoneState(stages, heard[:, used:].clone())
        if lengths is not None:
            begun = torch.arange(tracks[0].shape[-1], device=x.device) * c.hop
            valid = begun < lengths.to(x.device)[:, None]
            tracks = [torch.where(valid[:, None], t, 0) for t in tracks]
        shaped = (t.reshape(*x.shape[:-1], *t.shape[1:]) for t in tracks)
        return Frames(*shaped), after

    def channels(
        self, x: Tensor | NDArray, state: filterbank.BankState | GammatoneState | None = None
    ) -> tuple[Tensor, filterbank.BankState | GammatoneState]:
        """The full-rate complex channels: x (..., T) -> z (..., C, T), and the state.

        Without alignment delays; each is 8 bytes x C x T in float32. Raises as `forward`.
        """
        x = torch.as_tensor(x)
        flat = flat_rows(x)
        c = self.coefficients()
        after: filterbank.BankState | GammatoneState
        if self._in_numba(flat):
            z, after = filterbank.channels(
                flat.numpy(), c, _to_numpy(state), torch.get_num_threads()
            )
            out = torch.from_numpy(z)
        else:
            stages, waiting = _to_torch(state, c, flat)
            out, stages = scan.gammatone(flat, self._pole(), c.order, stages)
            after = GammatoneState(stages, waiting)
        return out.reshape(*x.shape[:-1], *out.shape[1:]), after

    def level(self, frames: Frames) -> Tensor:
        """(..., C, F) dB re a full-scale sine at the channel's centre, floor -120 dB."""
        quietest = 10 ** (filterbank.FLOOR_DB / 10 - 1)
        return (10 * torch.log10(frames.power.clamp(min=quietest))).clamp(min=filterbank.FLOOR_DB)

    def deviation(self, frames: Frames) -> Tensor:
        """(..., C, F) instantaneous frequency less the centre frequency, in ERB; silence gives 0.

        The instantaneous frequency is weighted by energy over the frame.
        """
        turn = torch.exp(torch.complex(0 * self.frequency, -self._pole().angle()))
        own = frames.lag1 * turn[:, None].to(frames.lag1.dtype)
        scale = self.config.sample_rate / (2 * math.pi) / self._erb()
        # silence has no frequency: an argument of exactly 0, and a gradient that is not NaN
        return torch.where(own == 0, 1, own).angle() * scale[:, None].to(frames.power.dtype)

    def _erb(self) -> Tensor:
        return erb.MIN_BANDWIDTH + self.frequency / erb.EAR_Q

    def extra_repr(self) -> str:
        c = self.config
        return (
            f"sample_rate={c.sample_rate}, channels={c.channels}, "
            f"{c.low_hz:g}-{c.highest:g} Hz, order={c.order}, frame_rate={c.frame_rate:g}"
        )


def flat_rows(x: Tensor) -> Tensor:
    """Samples (..., T) -> (B, T). Raises `ConfigError` where they are no floating-point signal."""
    if not x.is_floating_point() or x.ndim == 0:
        raise ConfigError(
            "x",
            f"expected floating-point samples of shape (..., time), got {x.dtype} of shape "
            f"{tuple(x.shape)}",
            "Scale integers to full scale 1: x = x.float() / 32768 for 16 bits",
        )
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _check_lengths(lengths: Tensor, x: Tensor) -> None:
    if x.ndim != 2 or lengths.shape != x.shape[:1] or bool((lengths > x.shape[1]).any()):
        raise ConfigError(
            "lengths",
            f"expected ({x.shape[0]},) values up to {x.shape[-1]} for x of shape "
            f"{tuple(x.shape)}, got {lengths.tolist()}",
            "Give one length in samples for each row of x (batch, time)",
        )


def _to_numpy(state: "filterbank.BankState | GammatoneState | None") -> filterbank.BankState | None:
    """A state of either implementation, for numba."""
    if not isinstance(state, GammatoneState):
        return state
    cascade = None
    if state.stages is not None:
        from speechasym.ops import cpu_gammatone

        cascade = cpu_gammatone.State(state.stages.detach().cpu().numpy().astype(np.complex128), 0)
    return filterbank.BankState(cascade, state.waiting.detach().cpu().float().numpy())


def _to_torch(
    state: "filterbank.BankState | GammatoneState | None", c: filterbank.Coefficients, like: Tensor
) -> GammatoneState:
    """A state of either implementation, for torch, on the device and in the precision of `like`."""
    if state is None:
        return GammatoneState(None, like.new_zeros(len(like), c.latency))
    if isinstance(state, GammatoneState):
        return state
    stages = None
    if state.cascade is not None:
        from speechasym.ops import cpu_gammatone

        stages = torch.from_numpy(cpu_gammatone.settle(state.cascade, c.pole)).to(like.device)
    return GammatoneState(stages, torch.from_numpy(state.waiting).to(like))
