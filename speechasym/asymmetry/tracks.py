"""Tracks of amplitude, frequency and phase in every channel, and hysteresis on them by scale.

A scale is what one stage of hysteresis ignores and how long it remembers. Columns of features
number the scales from 1, as in `amplitude_asymmetry1_00`.

The analytic channels are pooled to an inner rate (500 Hz unless the frame rate requires another).
At that rate, every channel has

- amplitude: level in dB re a full-scale sine, never below the floor, which is `MARGIN_DB` above the
  noise that is followed online, and at least `QUIET_DB`;
- frequency: energy-weighted instantaneous frequency minus the centre frequency, in ERB;
- carrier: phase in cycles minus what the channel itself predicted 1 inner sample before, from its
  phase and its instantaneous frequency;
- lead: phase in cycles by which a channel leads its lower neighbour, from the mean direction of
  z_(c+1) conj z_c over `LEAD_S` of sound.

Silence carries no information: with w = 1 - floor / power, which is 0 at the floor, each move of
frequency and carrier is weighted by the lesser w of its two ends. Moves of amplitude and lead count
in full, because weights would let a track that returns to where it was move on balance:

- amplitude moves above the floor; on the floor, it has fallen as far as it rose. A sound raises its
  floor and would otherwise rise more than it falls. (In the compact set each move is weighted by
  the greater w of its two ends, and plays start in the middle.)
- the mean direction of the lead advances by w, rests in silence, and is read where it is at least
  `DIRECT` long.

Phases move the shorter way round. Each scale applies its own half-width and time constant to all
four tracks: the stop output, and the rise and fall work of the play, forgotten with the scale's
time constant.

Shapes: T samples, C channels, F frames, H inner samples a frame, S scales.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.auditory import erb, filterbank
from speechasym.config import check_choices, check_rising
from speechasym.errors import ConfigError

INNER_RATE = 500.0  # inner samples a second, approximately
QUIET_DB = -100.0  # the floor is never lower: what 16 bits leave lies below
MARGIN_DB = 6.0  # of the floor above the noise: in noise, 1 inner sample in 50 is louder
SMOOTH_S = 0.05  # smoothing of the power whose minimum is followed
RISE_S = 5.0  # time constant with which the noise estimate rises
SETTLE_S = 0.1  # the beginning of a recording counts as noise
LEAD_S = 0.02  # time constant of the mean lead: a few periods of a voice
DIRECT = 0.5  # least length of its direction, which is 1 if neighbours keep step

TRACKS = {"amplitude": "dB", "frequency": "ERB", "carrier": "cycle", "lead": "cycle"}
KINDS = {"amplitude": ("amplitude",), "frequency": ("frequency",), "phase": ("carrier", "lead")}
OUTPUTS = ("track", "stop", "asymmetry", "rise", "fall")
DEFAULT_OUTPUTS = OUTPUTS[:3]


class Scale(NamedTuple):
    """A time constant, and the half-width of hysteresis for each kind of track."""

    time_ms: float  # time constant with which work is forgotten
    decibel: float  # half-width for amplitude
    erb: float  # for frequency
    cycle: float  # for carrier and lead

    def width(self, track: str) -> float:
        """Return the half-width for a track, in the track's unit."""
        return {"dB": self.decibel, "ERB": self.erb, "cycle": self.cycle}[TRACKS[track]]


SCALES = (
    Scale(5.0, 1.5, 0.05, 0.02),
    Scale(25.0, 3.0, 0.1, 0.04),
    Scale(100.0, 6.0, 0.2, 0.08),
    Scale(500.0, 12.0, 0.4, 0.16),
)


@dataclass(frozen=True, kw_only=True)
class AsymmetryConfig:
    """Options of the asymmetry features. Raises `ConfigError` on values out of range."""

    bank: filterbank.FilterbankConfig
    scales: tuple[Scale, ...] = SCALES
    kinds: tuple[str, ...] = tuple(KINDS)
    outputs: tuple[str, ...] = DEFAULT_OUTPUTS
    compact: bool = False  # few decorrelated columns instead of `outputs` in each channel

    def __post_init__(self) -> None:
        for name, known in (("kinds", tuple(KINDS)), ("outputs", OUTPUTS)):
            object.__setattr__(self, name, check_choices(name, getattr(self, name), known))
        if self.compact and self.outputs != DEFAULT_OUTPUTS:
            problem = "cannot be chosen for the compact set"
            raise ConfigError("outputs", problem, "Use either outputs or compact")
        if not self.scales:
            raise ConfigError("scales", "is empty", "Give at least one Scale")
        for name in Scale._fields:
            check_rising(f"scales: {name}", [getattr(scale, name) for scale in self.scales])
        if self.bank.channels < 2:
            raise ConfigError("channels", "a single channel has no neighbour", "Use 2 or more")

    @property
    def tracks(self) -> tuple[str, ...]:
        """The tracks of the chosen kinds."""
        return tuple(track for kind in self.kinds for track in KINDS[kind])


def inner_per_frame(hop: int, sample_rate: int) -> int:
    """Return H: the divisor of `hop` whose inner rate is nearest to `INNER_RATE`, as a ratio."""
    divisors = [h for h in range(1, hop + 1) if hop % h == 0]
    return min(divisors, key=lambda h: abs(np.log(h * sample_rate / (hop * INNER_RATE))))


@dataclass(frozen=True)
class Design:
    """What follows from the config, computed once."""

    config: AsymmetryConfig
    inner: filterbank.Coefficients  # the filterbank at the inner rate
    per_frame: int  # H
    sample_rate: int
    centre_cycles: NDArray[np.float32]  # (C,) cycles a sample at the centre frequency
    erb_per_cycle: NDArray[np.float32]  # (C,) ERB for each cycle a sample
    mid_lead: NDArray[np.complex64]  # (C - 1,) z_(c+1) over z_c, size 1, for a tone midway
    decay: NDArray[np.float64]  # (S,) of past work, by frame
    width: dict[str, NDArray[np.float64]]  # (S,) half-widths for each track

    @property
    def hop(self) -> int:
        """Samples a frame."""
        return self.inner.hop * self.per_frame

    @property
    def latency(self) -> int:
        """Samples by which alignment delays everything."""
        return self.inner.latency

    @property
    def late(self) -> int:
        """Frames that alignment leaves out at the beginning, from before the recording."""
        return -(-self.latency // self.hop)


def design(config: AsymmetryConfig) -> Design:
    """Compute the coefficients of a config."""
    scales, rate = config.scales, config.bank.sample_rate
    hop = filterbank.hop(rate, config.bank.frame_rate)
    per_frame = inner_per_frame(hop, rate)
    inner = filterbank.design(replace(config.bank, frame_rate=rate * per_frame / hop))
    time = np.array([scale.time_ms for scale in scales]) / 1000
    return Design(
        config, inner, per_frame, rate,
        centre_cycles=(np.angle(inner.pole) / (2 * np.pi)).astype(np.float32),
        erb_per_cycle=(rate / erb.erb(inner.frequency)).astype(np.float32),
        mid_lead=_mid_lead(inner, rate),
        decay=np.exp(-hop / rate / time),
        width={track: np.array([scale.width(track) for scale in scales]) for track in TRACKS},
    )  # fmt: skip


def _mid_lead(c: filterbank.Coefficients, sample_rate: int) -> NDArray[np.complex64]:
    """Return the (C - 1,) phase factors of a channel over its lower neighbour, tone midway."""
    middle = np.exp(2j * np.pi / sample_rate * (c.frequency[1:] + c.frequency[:-1]) / 2)

    def response(channels: slice) -> NDArray:
        out = (1 - c.pole[channels] / middle) ** -float(c.order)
        if c.delay is None or c.turn is None:
            return out
        return out * c.turn[channels] * middle ** -c.delay[channels]

    ratio = response(slice(1, None)) / response(slice(0, -1))
    return (ratio / np.abs(ratio)).astype(np.complex64)


class State(NamedTuple):
    """What changes over time, carried from chunk to chunk."""

    bank: filterbank.FilterbankState
    waiting: NDArray[np.float32]  # samples of an incomplete frame
    frames: int  # complete frames so far, with those left out
    noise: NDArray | None  # of `ops.cpu_asymmetry.noise_floor`
    levels: NDArray | None  # (2, C) weight and level in dB at the last inner sample
    moves: NDArray | None  # of `ops.cpu_asymmetry.moves`
    lead: NDArray | None  # of `ops.cpu_asymmetry.direction_moves`
    height: NDArray | None  # of `ops.cpu_asymmetry.grounded_moves`
    stops: dict[str, NDArray]  # of `ops.cpu_asymmetry.stop_pooled`, for each track


class Tracks(NamedTuple):
    """The tracks at the frame rate, (F, C) unless noted; hysteresis by track, (S, F, C)."""

    power: NDArray[np.float32]  # mean |z|^2
    floor: NDArray[np.float32]  # dB
    weight: NDArray[np.float32]  # 1 - floor / power, 0 to 1
    amplitude: NDArray[np.float32]  # dB, not below the floor
    frequency: NDArray[np.float32]  # ERB, energy-weighted, times the weight
    carrier: NDArray[np.float32]  # cycles, mean of weight times deviation from the prediction
    lead: NDArray[np.float32]  # (F, C - 1) cycles, times the weight
    coherence: NDArray[np.float32]  # (F, C - 1) of neighbours: 1 in step, 0 unrelated, -1 opposed
    stop: dict[str, NDArray[np.float32]]  # of each track, mean weighted s / r, -1 to 1
    rise: dict[str, NDArray[np.float32]]  # work upward, in the track's unit, >= 0
    fall: dict[str, NDArray[np.float32]]  # work downward, >= 0
    # (rise - fall) / (rise + fall + r), -1 to 1: work much smaller than the width r hardly counts
    asymmetry: dict[str, NDArray[np.float32]]


def start(d: Design) -> State:
    """Return the state before any sound.

    Plays of the amplitude are at rest, as after a fall into silence: from the middle of its play
    the first rise would count more than the fall that ends the sound. Those of the compact set,
    whose scale is 3 dB wide in all, start in the middle.
    """
    bank = filterbank.FilterbankState(None, np.zeros((1, d.latency), np.float32))
    rest = d.late * d.hop - d.latency  # so that frames are late by whole frames
    stops = {}
    if not d.config.compact:
        stops["amplitude"] = np.zeros((3, len(d.decay), len(d.inner.frequency)), np.float32)
        stops["amplitude"][0] = -d.width["amplitude"][:, None]
    return State(bank, np.zeros(rest, np.float32), 0, None, None, None, None, None, stops)


class Inner(NamedTuple):
    """The tracks at the inner rate, (F H, C) unless noted."""

    lag1: NDArray[np.complex64]
    sample: NDArray[np.complex64]
    frame_power: NDArray[np.float32]  # (F, C)
    floor: NDArray[np.float32]  # (F, C) dB
    level_db: NDArray[np.float32]  # not below the floor
    weight: NDArray[np.float32]  # w
    pair_weight: NDArray[np.float32]  # lesser w of a channel and its upper neighbour; last column 0
    moves: dict[str, NDArray[np.float32]]  # weighted, of each track; of lead, last column 0


def inner(
    x: NDArray[np.float32], d: Design, state: State, lean: bool = False
) -> tuple[Inner, State]:
    """Return the frames completed by x (T,) at the inner rate, and the state except its stops.

    With alignment the first `late` frames, in which delayed channels have no sound yet, are left
    out: the end of that silence would count as a rise. Lean: without moves other than amplitude's.
    """
    from speechasym.ops import cpu_asymmetry as cpu

    samples = np.concatenate([state.waiting, x])
    used = len(samples) // d.hop * d.hop
    pooled, bank = filterbank.pool(samples[None, :used], d.inner, state.bank)
    # contiguous rows, for which loops are vectorised: six times as fast, copies included
    power, lag1, sample = (np.ascontiguousarray(part[0].T) for part in pooled)
    frames = state.frames + used // d.hop
    first = min(max(0, d.late - state.frames) * d.per_frame, len(power))
    power, lag1, sample = power[first:], lag1[first:], sample[first:]
    rate = d.sample_rate / d.hop
    frame_power = cpu.means(power, d.per_frame)
    smooth, rise = (1 - np.exp(-1 / (seconds * rate)) for seconds in (SMOOTH_S, RISE_S))
    settle, past = int(np.ceil(SETTLE_S * rate)), max(0, state.frames - d.late)
    noise_db, noise = cpu.noise_floor(
        np.maximum(frame_power, np.float32(10 ** (QUIET_DB / 10 - 1))), smooth, rise,
        settle, state.noise, past,
    )  # fmt: skip
    floor = np.maximum(noise_db + np.float32(MARGIN_DB), np.float32(QUIET_DB))
    least = np.exp2(floor * np.float32(np.log2(10) / 10))
    weights, levels, either, climb = cpu.levels(power, least, state.levels)
    weight, level_db, height = weights[1:], levels[1:], state.height
    if d.config.compact:
        climb *= either
    else:
        climb[: max(0, settle - past) * d.per_frame] = 0
        climb, height = cpu.grounded_moves(climb, either, height)
    moves, both, last_moves, last_lead = {"amplitude": climb}, climb[:0], state.moves, state.lead
    if not lean:
        (both, frequency, carrier), last_moves = cpu.moves(
            lag1, sample, weights, d.centre_cycles, d.erb_per_cycle, d.inner.hop, state.moves
        )
        share = 1 - np.exp(-d.inner.hop / d.sample_rate / LEAD_S)
        lead, last_lead = cpu.direction_moves(sample, both, share, DIRECT, state.lead)
        moves |= {"frequency": frequency, "carrier": carrier, "lead": lead}
    after = State(
        bank, samples[used:].copy(), frames,
        noise if len(power) else state.noise,
        np.stack([weights[-1], levels[-1]]) if len(power) else state.levels,
        last_moves, last_lead, height, state.stops,
    )  # fmt: skip
    return Inner(lag1, sample, frame_power, floor, level_db, weight, both, moves), after


def pool(
    x: NDArray[np.float32], d: Design, state: State, tracks: tuple[str, ...] = tuple(TRACKS),
    lean: bool = False,
) -> tuple[Tracks, State]:  # fmt: skip
    """Return the frames completed by samples x (T,), and the state.

    Hysteresis runs on `tracks` only. The result does not depend on the chunking, to the bit.
    Lean: only what the compact set needs, thus no carrier, no lead, and of hysteresis the first
    scale of the amplitude.
    """
    from speechasym.ops import cpu_asymmetry as cpu

    i, state = inner(x, d, state, lean)
    h, scales = d.per_frame, slice(1 if lean else None)
    weights = {"amplitude": np.ones_like(i.level_db), "lead": i.pair_weight}
    stop, rise, fall, asymmetry, stops = {}, {}, {}, {}, {}
    for track in tracks:
        *work, stops[track] = cpu.stop_pooled(
            i.moves[track], weights.get(track, i.weight), d.width[track][scales],
            d.decay[scales], h, state.stops.get(track),
        )  # fmt: skip
        if track == "lead":  # one column fewer than the array is wide
            work = [part[..., :-1] for part in work]
        stop[track], rise[track], fall[track], asymmetry[track] = work
    weight = cpu.means(i.weight, h)
    lag1 = cpu.means(i.lag1.view(np.float32), h)
    deviation = cpu.cycles(lag1[:, 1::2], lag1[:, ::2]) - d.centre_cycles
    deviation -= np.rint(deviation)  # the shorter way round
    along, across, size = cpu.neighbours(i.sample, h)
    turned = along * d.mid_lead.real + across * d.mid_lead.imag
    amplitude = carrier = lead = weight[:0]
    if not lean:
        amplitude, carrier = cpu.means(i.level_db, h), cpu.means(i.moves["carrier"], h)
        lead = cpu.cycles(across * d.mid_lead.real - along * d.mid_lead.imag, turned)
        lead *= cpu.means(i.pair_weight, h)[:, :-1]
    size = np.sqrt(np.maximum(size[:, 1:] * size[:, :-1], np.float32(1e-30)))
    result = Tracks(
        power=i.frame_power, floor=i.floor, weight=weight, amplitude=amplitude,
        frequency=deviation * d.erb_per_cycle * weight, carrier=carrier, lead=lead,
        coherence=turned / size, stop=stop, rise=rise, fall=fall, asymmetry=asymmetry,
    )  # fmt: skip
    return result, state._replace(stops=stops)
