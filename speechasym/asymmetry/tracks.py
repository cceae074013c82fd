"""Asymmetry extractors (C2, C3): four tracks of every channel, and hysteresis on them by level.

The analytic channels are pooled to an inner rate (500 Hz unless the frame rate asks otherwise). On
it run, for every channel,

- amplitude: level in dB re a full-scale sine, never below the floor: `MARGIN_DB` above the noise
  that is followed online, and `bank.QUIET_DB` at least;
- frequency: energy-weighted instantaneous frequency less the centre frequency, in ERB;
- carrier: phase in cycles less what the channel itself predicted 1 inner sample before, from its
  phase and its instantaneous frequency;
- lead: phase in cycles by which a channel leads its lower neighbour.

Where there is nothing to hear, nothing is known: with w = 1 - floor / power, which is 0 at the
floor, each move of frequency, carrier and lead counts by the lesser w of its two ends, and each
move of amplitude by the greater. Phases move the shorter way round. Neighbours that follow two
harmonics turn against each other for ever, which says nothing of either: moves of the lead count by
1 - |difference of their instantaneous frequencies| / `SAME_HZ` besides, 0 at least. Level l of the
hierarchy looks at all four with its own width and time scale: the stop output, and the rise and
fall work of the play, forgotten with the level's time constant.

Shapes: T samples, C channels, F frames, H inner samples a frame, L levels.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.auditory import erb
from speechasym.auditory import filterbank as bank
from speechasym.auditory.filterbank import FilterbankConfig
from speechasym.errors import ConfigError

TRACKS = {"amplitude": "dB", "frequency": "ERB", "carrier": "cycle", "lead": "cycle"}
KINDS = {"amplitude": ("amplitude",), "frequency": ("frequency",), "phase": ("carrier", "lead")}
INNER_RATE = 500.0  # inner samples a second, about
QUIET_DB = -100.0  # the floor is never lower: below is what 16 bits leave
MARGIN_DB = 6.0  # of the floor above the noise: in noise 1 inner sample of 50 is louder
SMOOTH_S = 0.05  # of the power whose minimum is followed
RISE_S = 5.0  # time constant with which the noise estimate rises
SETTLE_S = 0.1  # what is heard first counts as noise
SAME_HZ = 30.0  # neighbours that differ by this in frequency follow two components


class Level(NamedTuple):
    """What a level ignores, and how long it remembers."""

    time_ms: float  # time constant of its work
    decibel: float  # half-widths: of amplitude
    erb: float  # of frequency
    cycle: float  # of carrier and lead

    def width(self, track: str) -> float:
        """Half-width of a track, in its unit."""
        return {"dB": self.decibel, "ERB": self.erb, "cycle": self.cycle}[TRACKS[track]]


LEVELS = (
    Level(5.0, 1.5, 0.05, 0.02),
    Level(25.0, 3.0, 0.1, 0.04),
    Level(100.0, 6.0, 0.2, 0.08),
    Level(500.0, 12.0, 0.4, 0.16),
)


@dataclass(frozen=True, kw_only=True)
class AsymmetryConfig:
    """What a person chooses. Raises `ConfigError` on values that cannot be."""

    bank: FilterbankConfig
    levels: tuple[Level, ...] = LEVELS

    def __post_init__(self) -> None:
        if not self.levels:
            raise ConfigError("levels", "none is given", "Give at least one Level")
        for name in Level._fields:
            values = [getattr(level, name) for level in self.levels]
            steps = np.diff(values)
            if not np.isfinite(values).all() or min(values) <= 0 or (steps <= 0).any():
                raise ConfigError(
                    f"levels: {name}",
                    f"{values} is not positive and strictly rising",
                    "A level has greater widths and a longer time than the one below",
                )
        if self.bank.channels < 2:
            raise ConfigError(
                "channels", "1 channel has no neighbour to lead or follow", "Use 2 or more"
            )


def inner_per_frame(hop: int, sample_rate: int) -> int:
    """H: the divisor of the frame's samples that comes nearest to `INNER_RATE`, as a ratio."""
    fits = [h for h in range(1, hop + 1) if hop % h == 0]
    return min(fits, key=lambda h: abs(np.log(h * sample_rate / (hop * INNER_RATE))))


@dataclass(frozen=True)
class Design:
    """What follows from the config, computed once."""

    config: AsymmetryConfig
    inner: bank.Coefficients  # the filterbank at the inner rate
    per_frame: int  # H
    sample_rate: int
    own: NDArray[np.float32]  # (C,) cycles a sample at the centre frequency
    scale: NDArray[np.float32]  # (C,) ERB per cycle a sample
    mid_lead: NDArray[np.complex64]  # (C - 1,) z_(c+1) over z_c, size 1, for a tone midway
    decay: NDArray[np.float64]  # (L,) of past work, a frame
    width: dict[str, NDArray[np.float64]]  # (L,) of each track

    @property
    def hop(self) -> int:
        """Samples a frame."""
        return self.inner.hop * self.per_frame

    @property
    def latency(self) -> int:
        """Samples by which alignment delays everything."""
        return self.inner.latency


def design(config: AsymmetryConfig) -> Design:
    """Parameters -> coefficients."""
    b = config.bank
    hop = bank.hop(b.sample_rate, b.frame_rate)
    count = inner_per_frame(hop, b.sample_rate)
    inner = FilterbankConfig(
        sample_rate=b.sample_rate, channels=b.channels, low_hz=b.low_hz, high_hz=b.high_hz,
        order=b.order, bandwidth_factor=b.bandwidth_factor,
        frame_rate=b.sample_rate * count / hop, align=b.align,
    )  # fmt: skip
    c = bank.design(inner)
    time = np.array([level.time_ms for level in config.levels]) / 1000
    return Design(
        config,
        c,
        count,
        b.sample_rate,
        (np.angle(c.pole) / (2 * np.pi)).astype(np.float32),
        (b.sample_rate / erb.erb(c.frequency)).astype(np.float32),
        _mid_lead(c, b.sample_rate),
        np.exp(-hop / b.sample_rate / time),
        {track: np.array([level.width(track) for level in config.levels]) for track in TRACKS},
    )


def _mid_lead(c: bank.Coefficients, sample_rate: int) -> NDArray[np.complex64]:
    """(C - 1,) phase factor of a channel over its lower neighbour for a tone midway."""
    middle = np.exp(2j * np.pi / sample_rate * (c.frequency[1:] + c.frequency[:-1]) / 2)

    def answer(which: slice) -> NDArray:
        out: NDArray = (1 - c.pole[which] / middle) ** -float(c.order)
        if c.delay is not None and c.turn is not None:
            out = out * c.turn[which] * middle ** -c.delay[which]
        return out

    upper, lower = answer(slice(1, None)), answer(slice(0, -1))
    ratio = upper / lower
    return (ratio / np.abs(ratio)).astype(np.complex64)


class State(NamedTuple):
    """What time changes, carried from chunk to chunk."""

    cascade: bank.FilterbankState
    waiting: NDArray[np.float32]  # samples of a frame not yet complete
    heard: int  # frames
    noise: NDArray | None
    last: NDArray | None  # of `ops.cpu_asymmetry.moves`
    level: NDArray | None  # (1, C) dB, at the last inner sample
    stops: dict[str, NDArray]


class Frames(NamedTuple):
    """The tracks at the frame rate, (F, C) but those of lead; and the levels, (L, F, C)."""

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
    asymmetry: dict[str, NDArray[np.float32]]  # (rise - fall) / (rise + fall + r), -1 to 1: work of
    # much less than the width r counts for nothing


def of_kinds(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """The tracks of these kinds."""
    return tuple(track for kind in kinds for track in KINDS[kind])


def columns(d: Design, kinds: tuple[str, ...], outputs: tuple[str, ...]) -> list[dict[str, Any]]:
    """Name, unit and meaning of each column of `rows`, in order."""
    out: list[dict[str, Any]] = []

    def add(kind: str, name: str, unit: str, channels: int, **more: Any) -> None:
        for c in range(channels):
            hz = round(float(d.inner.frequency[c]), 3)
            about = {"name": f"{name}_{c:02d}", "unit": unit, "kind": kind}
            out.append(about | more | {"channel": c, "centre_hz": hz})

    count = len(d.inner.frequency)
    for kind in kinds:
        for track in KINDS[kind]:
            size = count - (track == "lead")
            if "track" in outputs:
                add(kind, track, TRACKS[track], size, track=track)
                if track == "lead":
                    add(kind, "coherence", "1", size, track="coherence")
            for output in outputs:
                for number, level in enumerate(d.config.levels, 1):
                    if output != "track":
                        unit = TRACKS[track] if output in ("rise", "fall") else "1"
                        add(
                            kind, f"{track}_{output}{number}", unit, size, track=track,
                            output=output, level=number, width=level.width(track),
                            time_ms=level.time_ms,
                        )  # fmt: skip
    return out


def rows(
    f: Frames, d: Design, kinds: tuple[str, ...], outputs: tuple[str, ...]
) -> NDArray[np.float32]:
    """The columns of these kinds and outputs, (F, D). Outputs: track, stop, asymmetry, rise, fall.

    `columns` names them.
    """
    parts: list[NDArray] = []
    for track in of_kinds(kinds):
        if "track" in outputs:
            parts.append(getattr(f, track))
            if track == "lead":
                parts.append(f.coherence)
        for output in outputs:
            if output != "track":
                work = getattr(f, output)[track].transpose(1, 0, 2)
                parts.append(work.reshape(len(work), work.shape[1] * work.shape[2]))
    return np.concatenate(parts, 1)


def start(d: Design) -> State:
    """Before any sound."""
    late = -(-d.latency // d.hop) * d.hop - d.latency  # so that frames are late by whole frames
    cascade = bank.FilterbankState(None, np.zeros((1, d.latency), np.float32))
    return State(cascade, np.zeros(late, np.float32), 0, None, None, None, {})


def _turns(x: NDArray) -> NDArray:
    """Cycles -> the same the shorter way round, -0.5 to 0.5."""
    x -= np.rint(x)
    return x


class Inner(NamedTuple):
    """The tracks at the inner rate: what they are made of, and how they move. (F H, C) each."""

    lag1: NDArray[np.complex64]
    sample: NDArray[np.complex64]
    frame_power: NDArray[np.float32]  # (F, C)
    floor: NDArray[np.float32]  # (F, C) dB
    level: NDArray[np.float32]  # dB, not below the floor
    weight: NDArray[np.float32]  # w
    both: NDArray[np.float32]  # the lesser w of a channel and its upper neighbour; last column 0
    steps: dict[str, NDArray[np.float32]]  # weighted moves of each track; of lead, last column 0


def inner(x: NDArray[np.float32], d: Design, state: State) -> tuple[Inner, State]:
    """Samples x (T,) -> the complete frames at the inner rate, and the state but for the stops."""
    from speechasym.ops import cpu_asymmetry as cpu

    heard = np.concatenate([state.waiting, x])
    used = len(heard) // d.hop * d.hop
    found, cascade = bank.pool(heard[None, :used], d.inner, state.cascade)
    # rows without gaps, for which loops are vectorised: six times as fast, copies included
    power, lag1, sample = (np.ascontiguousarray(part[0].T) for part in found)
    rate = d.sample_rate / d.hop
    frame_power = cpu.means(power, d.per_frame)
    under, noise = cpu.noise_floor(
        np.maximum(frame_power, np.float32(10 ** (QUIET_DB / 10 - 1))),
        1 - np.exp(-1 / (SMOOTH_S * rate)),
        1 - np.exp(-1 / (RISE_S * rate)),
        int(np.ceil(SETTLE_S * rate)),
        state.noise,
        state.heard,
    )
    floor = np.maximum(under + np.float32(MARGIN_DB), np.float32(QUIET_DB))
    least = np.exp2(floor * np.float32(np.log2(10) / 10))
    m, last = cpu.moves(
        power, lag1, sample, least, d.own, d.scale, d.inner.hop, SAME_HZ / d.sample_rate, state.last
    )
    level = np.log10(m.above, out=m.above)
    level *= np.float32(10)
    before = level[:1] if state.level is None else state.level
    climb = np.diff(level, axis=0, prepend=before)
    climb *= m.either
    steps = {"amplitude": climb, "frequency": m.frequency, "carrier": m.carrier, "lead": m.lead}
    if len(level):
        state = state._replace(noise=noise, level=level[-1:].copy())
    state = state._replace(
        cascade=cascade,
        waiting=heard[used:].copy(),
        heard=state.heard + len(frame_power),
        last=last,
    )
    return Inner(lag1, sample, frame_power, floor, level, m.weight, m.both, steps), state


def pool(
    x: NDArray[np.float32], d: Design, state: State, tracks: tuple[str, ...] = tuple(TRACKS)
) -> tuple[Frames, State]:
    """Samples x (T,) -> the complete frames of everything heard so far, and the state.

    Hysteresis runs on `tracks` only. Any chunking gives the whole's bits.
    """
    from speechasym.ops import cpu_asymmetry as cpu

    i, state = inner(x, d, state)
    h = d.per_frame
    counts = {"amplitude": np.ones_like(i.level), "lead": i.both}
    stop, rise, fall, index, stops = {}, {}, {}, {}, {}
    for track in tracks:
        *work, stops[track] = cpu.stop_pooled(
            i.steps[track], counts.get(track, i.weight), d.width[track], d.decay, h,
            state.stops.get(track),
        )  # fmt: skip
        if track == "lead":  # a channel less than the array is wide
            work = [part[..., :-1] for part in work]
        stop[track], rise[track], fall[track], index[track] = work
    weight, both = cpu.means(i.weight, h), cpu.means(i.both, h)[:, :-1]
    lag1 = cpu.means(i.lag1.view(np.float32), h)
    along, across, size = cpu.neighbours(i.sample, h)
    along, across = (
        along * d.mid_lead.real + across * d.mid_lead.imag,
        across * d.mid_lead.real - along * d.mid_lead.imag,
    )
    size = np.sqrt(np.maximum(size[:, 1:] * size[:, :-1], np.float32(1e-30)))
    made = Frames(
        i.frame_power,
        i.floor,
        weight,
        cpu.means(i.level, h),
        _turns(cpu.cycles(lag1[:, 1::2], lag1[:, ::2]) - d.own) * d.scale * weight,
        cpu.means(i.steps["carrier"], h),
        cpu.cycles(across, along) * both,
        along / size,
        stop,
        rise,
        fall,
        index,
    )
    return made, state._replace(stops=stops)
