"""Feature sets: from blocks of samples to a matrix of named columns, frame by frame.

Every set has frame m for samples [m, m + 1) hop, and as many frames as the recording is long,
rounded half up (`bank.frame_count`), at least one.

Shapes: T samples, F frames, D columns.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechasym.asymmetry import cepstra as compact
from speechasym.asymmetry import tracks as extractors
from speechasym.audio import reading
from speechasym.auditory import filterbank as bank
from speechasym.errors import ConfigError
from speechasym.feature_extraction import normalise

SETS = ("gammatone", "asymmetry", "logmel", "mfcc")
UNITS = {"level": "dB", "frequency": "ERB", "phase": "cycle"}
OUTPUTS = ("track", "stop", "asymmetry", "rise", "fall")
_BANK = ("gammatone", "asymmetry")
SAY_SOMETHING_OF = {  # the sets that each option concerns; the others concern all
    "tracks": ("gammatone",),
    "channels": _BANK,
    "low_hz": _BANK,
    "high_hz": _BANK,
    "align": _BANK,
} | dict.fromkeys(
    (
        "kinds",
        "outputs",
        "compact",
        "level_ms",
        "level_db",
        "level_erb",
        "level_cycles",
        "noise_test",
    ),
    ("asymmetry",),
)
MEL_CHANNELS = 80
PIECE = 16000  # samples that the asymmetry extractors take at a time
CEPSTRA = 13


@dataclass(frozen=True, kw_only=True)
class FeatureConfig:
    """What to extract. Raises `ConfigError` on values that cannot be."""

    features: str = "gammatone"  # gammatone, asymmetry, logmel or mfcc
    rate: float = 100.0  # frames a second
    tracks: tuple[str, ...] = ("level",)  # of gammatone: level, frequency, phase
    sample_rate: int = 16000  # Hz; recordings at other rates are resampled to it
    channel: str | int = "mean"  # of recordings with several: mean, or a number from 0
    channels: int = 64  # of the gammatone filterbank
    low_hz: float = 50.0  # lowest and
    high_hz: float | None = None  # highest centre frequency of the gammatone filterbank
    align: bool = False  # remove the channels' different delays
    kinds: tuple[str, ...] = ("amplitude", "frequency", "phase")  # of asymmetry
    outputs: tuple[str, ...] = ("track", "stop", "asymmetry")  # of asymmetry; also rise, fall
    compact: bool = False  # of asymmetry: few decorrelated columns in place of all
    level_ms: tuple[float, ...] = tuple(level.time_ms for level in extractors.LEVELS)
    level_db: tuple[float, ...] = tuple(level.decibel for level in extractors.LEVELS)
    level_erb: tuple[float, ...] = tuple(level.erb for level in extractors.LEVELS)
    level_cycles: tuple[float, ...] = tuple(level.cycle for level in extractors.LEVELS)
    noise_test: int = 0  # of asymmetry, in `extract`: noises to compare each recording with
    normalise: str = "none"  # each column: none; over the recording: utterance; so far: running

    def __post_init__(self) -> None:
        _choice("features", self.features, SETS)
        _choice("normalise", self.normalise, normalise.CHOICES)
        for name, known in (("tracks", UNITS), ("kinds", extractors.KINDS), ("outputs", OUTPUTS)):
            chosen = getattr(self, name)
            if isinstance(chosen, str) or not chosen or set(chosen) - set(known) or _twice(chosen):
                raise ConfigError(
                    name,
                    f"{chosen!r} is not a choice of {', '.join(known)}, each at most once",
                    f"Use for example {','.join(list(known)[:2])}",
                )
            object.__setattr__(self, name, tuple(k for k in known if k in chosen))
        channel = str(self.channel)
        if channel != "mean" and not (channel.isascii() and channel.isdigit()):
            raise ConfigError(
                "channel", f"{self.channel!r} is not known", "Use mean, or a number from 0"
            )
        object.__setattr__(self, "channel", int(channel) if channel != "mean" else channel)
        changed = [
            name
            for name, sets in SAY_SOMETHING_OF.items()
            if self.features not in sets and _as_tuple(getattr(self, name)) != _default(name)
        ]
        if changed:
            raise ConfigError(
                ", ".join(changed),
                f"says nothing of {self.features}",
                f"Leave it out, or choose features {SAY_SOMETHING_OF[changed[0]][0]}",
            )
        if self.compact and self.outputs != _default("outputs"):
            raise ConfigError(
                "outputs", "the compact set has its own", "Leave out either outputs or compact"
            )
        for name in ("level_ms", "level_db", "level_erb", "level_cycles"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        if self.noise_test < 0:
            raise ConfigError("noise_test", f"{self.noise_test} is less than 0", "39 is usual")
        self.bank()
        if self.features == "asymmetry":
            self.asymmetry()

    def bank(self) -> bank.FilterbankConfig:
        """The filterbank's own parameters."""
        return bank.FilterbankConfig(
            sample_rate=self.sample_rate, channels=self.channels, low_hz=self.low_hz,
            high_hz=self.high_hz, frame_rate=self.rate, align=self.align,
        )  # fmt: skip

    def asymmetry(self) -> extractors.AsymmetryConfig:
        """The asymmetry extractors' own parameters."""
        lists = (self.level_ms, self.level_db, self.level_erb, self.level_cycles)
        if len({len(values) for values in lists}) > 1:
            raise ConfigError(
                "level_ms, level_db, level_erb, level_cycles",
                f"{', '.join(str(len(values)) for values in lists)} values",
                "Give each as many values as there are levels",
            )
        levels = tuple(map(extractors.Level, *lists))
        return extractors.AsymmetryConfig(bank=self.bank(), levels=levels)

    def as_json(self) -> dict[str, Any]:
        """The values that concern its features, as JSON knows them."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if self.features in SAY_SOMETHING_OF.get(name, SETS)
        }


def _choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ConfigError(name, f"{value!r} is not known", f"Use one of {', '.join(known)}")


def _default(name: str) -> Any:
    return FeatureConfig.__dataclass_fields__[name].default


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _twice(names: tuple[str, ...]) -> bool:
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
    if config.features == "asymmetry" and config.compact:
        return compact.columns(config.asymmetry(), config.kinds)
    if config.features == "asymmetry":
        return extractors.columns(
            extractors.design(config.asymmetry()), config.kinds, config.outputs
        )
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
    make = {
        "gammatone": _gammatone,
        "asymmetry": _compact if config.compact else _asymmetry,
        "logmel": _logmel,
        "mfcc": _mfcc,
    }[config.features]
    return normalise.normalised(make(blocks, config), config.normalise, config.rate)


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
        parts = reading.blocks(source, config.sample_rate, config.channel)
    else:
        if sample_rate is None:
            raise ConfigError("sample_rate", "needed with samples", "Say sample_rate=16000")
        config = FeatureConfig(**options)
        x = reading.check_samples(source)
        parts = iter([x])
    return np.concatenate(list(frames(parts, config)))


def _gammatone(blocks: Iterable[NDArray], config: FeatureConfig) -> Iterator[NDArray[np.float32]]:
    c = bank.design(config.bank())
    # alignment makes everything late; rounded up to whole frames, these are left out again
    late = -(-c.latency // c.hop)
    state = bank.FilterbankState(None, np.zeros((1, late * c.hop), np.float32))

    def made(x: NDArray) -> NDArray[np.float32]:
        nonlocal state
        found, state = bank.pool(x[None], c, state)
        parts = []
        if "level" in config.tracks:
            parts.append(bank.level_db(found.power[0]))
        if "frequency" in config.tracks:
            parts.append(bank.frequency_deviation(found.lag1[0], c, config.sample_rate))
        if "phase" in config.tracks:
            parts.append(bank.phase_cycles(found.sample[0]))
        return np.concatenate(parts).T

    return _in_frames(blocks, c.hop, c.latency, made)


def _in_frames(
    blocks: Iterable[NDArray],
    hop: int,
    latency: int,
    made: Callable[[NDArray], NDArray[np.float32]],
) -> Iterator[NDArray[np.float32]]:
    """Rows of `made`, which come late by `latency` in whole frames, as many as frames are due."""
    heard, done = 0, -latency // hop  # minus the late frames, rounded up
    for x in chain(blocks, [None]):
        if x is None:
            wanted = bank.frame_count(heard, hop)
            x = np.zeros(max(0, wanted * hop + latency - heard), np.float32)
        else:
            heard += len(x)
            wanted = heard + 1
        rows = made(x)
        done, first = done + len(rows), done
        yield rows[max(0, -first) : max(0, wanted - first)]


def _pieces(blocks: Iterable[NDArray], size: int) -> Iterator[NDArray]:
    """Blocks cut into at most `size` samples: what is computed at a time should fit the cache."""
    for x in blocks:
        for i in range(0, len(x), size):
            yield x[i : i + size]


def _asymmetry(blocks: Iterable[NDArray], config: FeatureConfig) -> Iterator[NDArray[np.float32]]:
    d = extractors.design(config.asymmetry())
    state = extractors.start(d)
    wanted = extractors.of_kinds(config.kinds) if set(config.outputs) - {"track"} else ()

    def made(x: NDArray) -> NDArray[np.float32]:
        nonlocal state
        frames, state = extractors.pool(x, d, state, wanted)
        return extractors.rows(frames, d, config.kinds, config.outputs)

    return _in_frames(_pieces(blocks, PIECE), d.hop, d.latency, made)


def _compact(blocks: Iterable[NDArray], config: FeatureConfig) -> Iterator[NDArray[np.float32]]:
    d = extractors.design(config.asymmetry())
    state = extractors.start(d)

    def made(x: NDArray) -> NDArray[np.float32]:
        nonlocal state
        frames, state = extractors.pool(x, d, state, compact.wanted_tracks(config.kinds))
        return compact.static(frames, config.kinds)

    before: NDArray | None = None
    for rows in _in_frames(_pieces(blocks, PIECE), d.hop, d.latency, made):
        columns, before = compact.slide(rows, before, config.kinds)
        yield columns
    last = compact.end(before, config.kinds)
    if last is not None:
        yield last


def _logmel(blocks: Iterable[NDArray], config: FeatureConfig) -> Iterator[NDArray[np.float32]]:
    from speechasym.feature_extraction import mel as baselines

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
    from speechasym.feature_extraction import mel as baselines

    # 13 numbers a frame of a whole recording are small: 19 MB for an hour
    static = [baselines.cepstra(d.T, CEPSTRA) for d in _logmel(blocks, config) if len(d)]
    yield baselines.with_deltas(np.concatenate(static, 1)).T
