"""Feature sets: from blocks of samples to a matrix of named columns, frame by frame.

Every set has frame m for samples [m, m + 1) hop, and as many frames as the recording is long,
rounded half up (`bank.frame_count`), at least one.

Shapes: T samples, F frames, D columns.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechasym import audio, bank
from speechasym.errors import ConfigError

SETS = ("gammatone", "logmel", "mfcc")
UNITS = {"level": "dB", "frequency": "ERB", "phase": "cycle"}
OF_GAMMATONE = ("tracks", "channels", "low_hz", "high_hz", "align")
MEL_CHANNELS = 80
CEPSTRA = 13


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """What to extract. Raises `ConfigError` on values that cannot be."""

    features: str = "gammatone"  # gammatone, logmel or mfcc
    rate: float = 100.0  # frames a second
    tracks: tuple[str, ...] = ("level",)  # of gammatone: level, frequency, phase
    sample_rate: int = 16000  # Hz; recordings at other rates are resampled to it
    channel: str | int = "mean"  # of recordings with several: mean, or a number from 0
    channels: int = 64  # of the gammatone filterbank
    low_hz: float = 50.0  # lowest and
    high_hz: float | None = None  # highest centre frequency of the gammatone filterbank
    align: bool = False  # remove the channels' different delays

    def __post_init__(self) -> None:
        if self.features not in SETS:
            raise ConfigError("features", f"{self.features!r} is not known", f"Use one of {SETS}")
        tracks = self.tracks
        if isinstance(tracks, str) or not tracks or set(tracks) - set(UNITS) or _doubled(tracks):
            raise ConfigError(
                "tracks",
                f"{tracks!r} is not a choice of {', '.join(UNITS)}, each at most once",
                "Use for example level,frequency",
            )
        object.__setattr__(self, "tracks", tuple(t for t in UNITS if t in tracks))
        channel = str(self.channel)
        if channel != "mean" and not (channel.isascii() and channel.isdigit()):
            raise ConfigError(
                "channel", f"{self.channel!r} is not known", "Use mean, or a number from 0"
            )
        object.__setattr__(self, "channel", int(channel) if channel != "mean" else channel)
        self.bank()
        if self.features != "gammatone":
            changed = [name for name in OF_GAMMATONE if getattr(self, name) != _default(name)]
            if changed:
                raise ConfigError(
                    ", ".join(changed),
                    f"says something of the gammatone filterbank, not of {self.features}",
                    "Leave it out, or choose features gammatone",
                )

    def bank(self) -> bank.BankConfig:
        """The filterbank's own parameters."""
        return bank.BankConfig(
            sample_rate=self.sample_rate, channels=self.channels, low_hz=self.low_hz,
            high_hz=self.high_hz, frame_rate=self.rate, align=self.align,
        )  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Its values as JSON knows them."""
        return asdict(self) | {"tracks": list(self.tracks)}


def _default(name: str) -> Any:
    return FeatureConfig.__dataclass_fields__[name].default


def _doubled(names: tuple[str, ...]) -> bool:
    return len(set(names)) < len(names)


def columns(config: FeatureConfig) -> list[dict[str, Any]]:
    """Name, unit and meaning of each of the D columns, in order."""
    if config.features == "gammatone":
        centres = bank.design(config.bank()).frequency
        return [
            {"name": f"{track}_{c:02d}", "unit": UNITS[track], "track": track, "channel": c,
             "centre_hz": round(float(hz), 3)}
            for track in config.tracks for c, hz in enumerate(centres)
        ]  # fmt: skip
    if config.features == "logmel":
        return [
            {"name": f"logmel_{c:02d}", "unit": "dB", "track": "logmel", "channel": c}
            for c in range(MEL_CHANNELS)
        ]
    return [
        {"name": f"{track}_{k:02d}", "unit": unit, "track": track, "coefficient": k}
        for track, unit in (("mfcc", "dB"), ("delta", "dB/frame"), ("delta2", "dB/frame^2"))
        for k in range(CEPSTRA)
    ]


def frames(blocks: Iterable[NDArray], config: FeatureConfig) -> Iterator[NDArray[np.float32]]:
    """Blocks of samples (T,) at config.sample_rate -> blocks of frames (n, D)."""
    if config.features == "gammatone":
        return _gammatone(blocks, config)
    if config.features == "logmel":
        return _logmel(blocks, config)
    return _mfcc(blocks, config)


def features(
    source: str | Path | ArrayLike, sample_rate: int | None = None, **options: Any
) -> NDArray[np.float32]:
    """Features of one recording, in memory: (F, D).

    Args:
        source: a file, or samples (T,) at `sample_rate` Hz.
        sample_rate: of the samples; for a file, the rate it is resampled to (default 16000).
        options: fields of `FeatureConfig`: features="gammatone", rate=100, tracks=("level",), ...

    Raises:
        AudioError, ConfigError: see `load` and `FeatureConfig`.

    Example:
        >>> level = speechasym.features("speech.wav", rate=100)   # (frames, 64) in dB
    """
    if sample_rate is not None:
        options["sample_rate"] = sample_rate
    if isinstance(source, str | Path):
        config = FeatureConfig(**options)
        parts = audio.blocks(source, config.sample_rate, config.channel)
    else:
        if sample_rate is None:
            raise ConfigError("sample_rate", "needed with samples", "Say sample_rate=16000")
        config = FeatureConfig(**options)
        x = np.asarray(source)
        if x.dtype.kind != "f":
            raise ConfigError(
                "source",
                f"samples of type {x.dtype}; floating point is expected",
                "Scale integers to full scale 1: x = x / 32768 for 16 bits",
            )
        if x.ndim != 1 or not x.size:
            raise ConfigError(
                "source", f"shape {x.shape}; mono samples (T,) are expected", "Mix it down"
            )
        x = x.astype(np.float32)
        if not np.isfinite(x).all():
            first = int(np.isfinite(x).argmin())
            raise ConfigError("source", f"sample {first} is {x[first]}", "Give finite samples")
        parts = iter([x])
    return np.concatenate(list(frames(parts, config)))


def _gammatone(blocks: Iterable[NDArray], config: FeatureConfig) -> Iterator[NDArray[np.float32]]:
    c = bank.design(config.bank())
    # alignment makes everything late; rounded up to whole frames, these are left out again
    late = -(-c.latency // c.hop)
    state = bank.BankState(None, np.zeros((1, late * c.hop), np.float32))
    heard, made = 0, -late
    for x in chain(blocks, [None]):
        if x is None:
            wanted = bank.frame_count(heard, c.hop)
            x = np.zeros(max(0, wanted * c.hop + c.latency - heard), np.float32)
        else:
            heard += len(x)
            wanted = heard + 1
        tracks, state = bank.pool(x[None], c, state)
        made, first = made + tracks.power.shape[2], made
        keep = slice(max(0, -first), max(0, wanted - first))
        parts = []
        if "level" in config.tracks:
            parts.append(bank.level(tracks.power[0]))
        if "frequency" in config.tracks:
            parts.append(bank.frequency_deviation(tracks.lag1[0], c, config.sample_rate))
        if "phase" in config.tracks:
            parts.append(bank.phase_cycles(tracks.sample[0]))
        yield np.concatenate(parts).T[keep]


def _logmel(blocks: Iterable[NDArray], config: FeatureConfig) -> Iterator[NDArray[np.float32]]:
    from speechasym import baselines

    mel = baselines.LogMel(config.sample_rate, bank.hop(config.sample_rate, config.rate))
    state, heard, made = mel.start(), 0, 0
    for x in chain(blocks, [None]):
        if x is None:
            wanted = bank.frame_count(heard, mel.hop)
            x = np.zeros(mel.width + mel.hop, np.float32)
        else:
            heard += len(x)
            wanted = heard + 1
        decibel, state = mel(x, state)
        yield decibel.T[: wanted - made]
        made += decibel.shape[1]


def _mfcc(blocks: Iterable[NDArray], config: FeatureConfig) -> Iterator[NDArray[np.float32]]:
    from speechasym import baselines

    # 13 numbers a frame of a whole recording are small: 19 MB for an hour
    static = [baselines.cepstra(d.T, CEPSTRA) for d in _logmel(blocks, config) if len(d)]
    yield baselines.with_deltas(np.concatenate(static, 1)).T
