"""The gammatone filterbank as a torch module."""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speechasym.auditory import erb, filterbank
from speechasym.auditory.filterbank import Frames
from speechasym.errors import ConfigError
from speechasym.ops import scan


class GammatoneState(NamedTuple):
    """What torch carries from chunk to chunk; numba carries a `filterbank.FilterbankState`."""

    stages: Tensor | None  # (B, N, C) complex, the cascade's last outputs; None: silence
    waiting: Tensor  # (B, n) delayed samples, then those of an incomplete frame


State = filterbank.FilterbankState | GammatoneState


class Gammatone(nn.Module):
    """Analytic gammatone filterbank [1], pooled to a frame rate inside the kernel.

    Channel c is z = h * x with h(t) = t^(order-1) exp(-2 pi b t + 2 pi i f t), centre frequencies
    f equally spaced on the ERB scale, and gain such that |z| = A for a sine of amplitude A at f.

    On the CPU without gradients it runs in numba, about as fast as a mel spectrogram; with
    gradients, in float64, or on CUDA it runs in torch, with the same values.

    Args:
        sample_rate: Hz.
        learnable: make centre frequencies and bandwidths parameters, kept as their logarithms.
        options: the other fields of `filterbank.FilterbankConfig`: channels=64, low_hz=50,
            high_hz=None, order=4, bandwidth_factor=1, frame_rate=100, align=False. With `align`
            an impulse peaks in all channels at once, `latency` samples late, where the phase of
            `sample` is 0; `channels` is not aligned.

    Raises:
        ConfigError: an option out of range.

    Example:
        >>> filterbank = speechasym.Gammatone(16000)
        >>> frames, state = filterbank(torch.from_numpy(x))
        >>> filterbank.level_db(frames).shape  # dB re a full-scale sine
        torch.Size([64, 299])
        >>> more, state = filterbank(torch.from_numpy(x), state)  # continues

    [1] V. Hohmann, "Frequency analysis and synthesis using a Gammatone filterbank", Acta Acustica
        united with Acustica 88, 433-442, 2002.
    """

    def __init__(self, sample_rate: int, *, learnable: bool = False, **options: Any) -> None:
        super().__init__()
        self.config = filterbank.FilterbankConfig(sample_rate=sample_rate, **options)
        design = filterbank.design(self.config)
        # as logarithms, a learning step is a ratio, equally large at 50 Hz and at 5 kHz
        log_frequency = torch.from_numpy(np.log(design.frequency))
        log_bandwidth = torch.from_numpy(np.log(design.bandwidth))
        if learnable:
            self.log_frequency: Tensor = nn.Parameter(log_frequency)
            self.log_bandwidth: Tensor = nn.Parameter(log_bandwidth)
        else:
            self.register_buffer("log_frequency", log_frequency)
            self.register_buffer("log_bandwidth", log_bandwidth)
        self._derived = (self._logarithms(), design)

    def _apply(self, fn, recurse: bool = True):  # type: ignore[no-untyped-def]
        """Move, but never round: half precision would detune the filters, float32 slightly."""
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
    def latency(self) -> int:
        """Samples by which alignment delays the output; 0 without alignment."""
        return self.coefficients().latency

    def coefficients(self) -> filterbank.Coefficients:
        """Return the coefficients as numpy arrays, from the current parameters or buffers."""
        logarithms, coefficients = self._derived
        current = self._logarithms()
        # by value: training, state dicts and averages of weights change them in place
        if not np.array_equal(current, logarithms):
            coefficients = filterbank.derive(self.config, *np.exp(current))
            self._derived = current, coefficients
        return coefficients

    def _logarithms(self) -> NDArray[np.float64]:
        """Return a copy of log frequency and log bandwidth, (2, C)."""
        both = torch.stack([self.log_frequency.detach(), self.log_bandwidth.detach()])
        return both.to("cpu", torch.float64, copy=True).numpy()

    def _pole(self) -> Tensor:
        rate = 2 * math.pi / self.config.sample_rate
        return torch.exp(torch.complex(-self.bandwidth * rate, self.frequency * rate))

    def _in_numba(self, x: Tensor) -> bool:
        gradient = torch.is_grad_enabled() and (x.requires_grad or self.log_frequency.requires_grad)
        return x.device.type == "cpu" and x.dtype == torch.float32 and not gradient

    def forward(
        self, x: Tensor | NDArray, state: State | None = None, lengths: Tensor | None = None
    ) -> tuple[Frames[Tensor], State]:
        """Filter samples and return the frames that they complete, and the state.

        However a signal is split into chunks, the frames are those of the whole.

        Args:
            x: (..., T), full scale 1. Half precision is computed in float32, also under autocast.
            state: returned by the previous call, to continue from there; None: silence before.
            lengths: (B,) valid samples of each row of x (B, T). Those beyond count as silence, and
                frames that begin there are 0.

        Returns:
            Frames (..., C, F), and the state.

        Raises:
            ConfigError: x is not a floating-point signal, or `lengths` do not fit it.
        """
        x = torch.as_tensor(x)
        flat = flat_rows(x)
        if lengths is not None:
            _check_lengths(lengths, x)
            inside = torch.arange(x.shape[-1], device=x.device) < lengths.to(x.device)[:, None]
            flat = torch.where(inside, flat, 0)
        c = self.coefficients()
        after: State
        if self._in_numba(flat):
            threads = torch.get_num_threads()
            arrays, after = filterbank.pool(flat.numpy(), c, _to_numpy(state), threads)
            frames = [torch.from_numpy(a) for a in arrays]
        else:
            stages, waiting = _to_torch(state, c, flat)
            samples = torch.cat([waiting, flat], 1)
            used = (samples.shape[1] - c.latency) // c.hop * c.hop
            delay = None if c.delay is None else torch.from_numpy(c.delay)
            *frames, stages = scan.gammatone_pooled(
                samples[:, : c.latency + used], self._pole(), c.order, c.hop, stages, delay
            )
            if c.turn is not None:
                turn = torch.from_numpy(c.turn).to(frames[2])
                frames[2] = frames[2] * turn[:, None]
            after = GammatoneState(stages, samples[:, used:].clone())
        if lengths is not None:
            begun = torch.arange(frames[0].shape[-1], device=x.device) * c.hop
            valid = begun < lengths.to(x.device)[:, None]
            frames = [torch.where(valid[:, None], f, 0) for f in frames]
        return Frames(*(f.reshape(*x.shape[:-1], *f.shape[1:]) for f in frames)), after

    def channels(self, x: Tensor | NDArray, state: State | None = None) -> tuple[Tensor, State]:
        """Filter x (..., T) and return complex z (..., C, T) at the full rate, and the state.

        The channels are not aligned. They take 8 C T bytes in float32. Raises as `forward`.
        """
        x = torch.as_tensor(x)
        flat = flat_rows(x)
        c = self.coefficients()
        after: State
        if self._in_numba(flat):
            threads = torch.get_num_threads()
            z, after = filterbank.channels(flat.numpy(), c, _to_numpy(state), threads)
            out = torch.from_numpy(z)
        else:
            stages, waiting = _to_torch(state, c, flat)
            out, stages = scan.gammatone(flat, self._pole(), c.order, stages)
            after = GammatoneState(stages, waiting)
        return out.reshape(*x.shape[:-1], *out.shape[1:]), after

    def level_db(self, frames: Frames[Tensor]) -> Tensor:
        """Return levels (..., C, F) in dB re a full-scale sine at the centre, floor -120 dB."""
        quietest = 10 ** (filterbank.FLOOR_DB / 10 - 1)
        return (10 * torch.log10(frames.power.clamp(min=quietest))).clamp(min=filterbank.FLOOR_DB)

    def deviation(self, frames: Frames[Tensor]) -> Tensor:
        """Return the instantaneous frequency minus the centre frequency (..., C, F), in ERBs.

        It is weighted by energy over the frame. Silence gives 0.
        """
        turn = torch.exp(torch.complex(0 * self.frequency, -self._pole().angle()))
        relative = frames.lag1 * turn[:, None].to(frames.lag1.dtype)
        scale = (self.config.sample_rate / (2 * math.pi) / self._erb()).to(frames.power.dtype)
        # for silence, an argument of exactly 0 and a gradient that is not NaN
        return torch.where(relative == 0, 1, relative).angle() * scale[:, None]

    def _erb(self) -> Tensor:
        return erb.MIN_BANDWIDTH + self.frequency / erb.EAR_Q

    def extra_repr(self) -> str:
        c = self.config
        return (
            f"sample_rate={c.sample_rate}, channels={c.channels}, "
            f"{c.low_hz:g}-{c.highest:g} Hz, order={c.order}, frame_rate={c.frame_rate:g}"
        )


def flat_rows(x: Tensor) -> Tensor:
    """Reshape samples (..., T) to (B, T), in float32 or float64.

    Raises `ConfigError` unless they are floating point.
    """
    if not isinstance(x, Tensor):
        remedy = "Make one: torch.as_tensor(x)"
        raise ConfigError(
            "x", f"must be a tensor of samples (..., T), got {type(x).__name__}", remedy
        )
    if not x.is_floating_point() or x.ndim == 0:
        problem = f"must be floating-point samples (..., T), got {x.dtype} {tuple(x.shape)}"
        remedy = "Scale integers to full scale 1: x = x.float() / 32768 for 16 bits"
        raise ConfigError("x", problem, remedy)
    flat = x[None] if x.ndim == 1 else x.flatten(0, -2)
    return flat if x.dtype == torch.float64 else flat.float()


def _check_lengths(lengths: Tensor, x: Tensor) -> None:
    if x.ndim != 2 or lengths.shape != x.shape[:1] or bool((lengths > x.shape[1]).any()):
        problem = f"do not fit x of shape {tuple(x.shape)}: {lengths.tolist()}"
        remedy = "Give one length in samples, at most T, for each row of x (B, T)"
        raise ConfigError("lengths", problem, remedy)


def _to_numpy(state: State | None) -> filterbank.FilterbankState | None:
    """Convert the state of either implementation for numba."""
    if not isinstance(state, GammatoneState):
        return state
    cascade = None
    if state.stages is not None:
        from speechasym.ops import cpu_gammatone

        cascade = cpu_gammatone.State(state.stages.detach().cpu().numpy().astype(np.complex128), 0)
    return filterbank.FilterbankState(cascade, state.waiting.detach().cpu().float().numpy())


def _to_torch(state: State | None, c: filterbank.Coefficients, like: Tensor) -> GammatoneState:
    """Convert the state of either implementation for torch, with device and dtype of `like`."""
    if state is None:
        return GammatoneState(None, like.new_zeros(len(like), c.latency))
    if isinstance(state, GammatoneState):
        return state
    stages = None
    if state.cascade is not None:
        from speechasym.ops import cpu_gammatone

        stages = torch.from_numpy(cpu_gammatone.settle(state.cascade, c.pole)).to(like.device)
    return GammatoneState(stages, torch.from_numpy(state.waiting).to(like))
