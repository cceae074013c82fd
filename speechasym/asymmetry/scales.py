"""Options of the asymmetry features: which tracks, which outputs, and the scales of hysteresis.

A scale is what one stage of hysteresis ignores and how long it remembers. Columns of features
number the scales from 1, as in `amplitude_asymmetry1_00`.
"""

from dataclasses import dataclass
from typing import NamedTuple

from speechasym.auditory.filterbank import FilterbankConfig
from speechasym.config import check_choices, check_rising
from speechasym.errors import ConfigError

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

    bank: FilterbankConfig
    scales: tuple[Scale, ...] = SCALES
    kinds: tuple[str, ...] = tuple(KINDS)
    outputs: tuple[str, ...] = DEFAULT_OUTPUTS
    compact: bool = False  # few decorrelated columns instead of `outputs` in each channel

    def __post_init__(self) -> None:
        for name, known in (("kinds", tuple(KINDS)), ("outputs", OUTPUTS)):
            object.__setattr__(self, name, check_choices(name, getattr(self, name), known))
        if self.compact and self.outputs != DEFAULT_OUTPUTS:
            raise ConfigError(
                "outputs", "the compact set has its own", "Use either outputs or compact"
            )
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
