"""Feature sets: from blocks of samples to a matrix of named columns, frame by frame.

A set is a class of options that knows its columns and computes its frames. In every set, frame m
covers samples [m, m + 1) hop, and there are as many frames as the recording is long, rounded half
up (`filterbank.frame_count`), at least one.

Shapes: T samples, F frames, D columns.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from speechasym.asymmetry import cepstra, columns, tracks
from speechasym.asymmetry.tracks import SCALES, AsymmetryConfig, Scale
from speechasym.audio import sources
from speechasym.audio.sources import Source
from speechasym.auditory import filterbank
from speechasym.auditory.filterbank import FilterbankConfig, FilterbankOptions
from speechasym.config import check_choice, check_choices, check_count, check_rising, suggest
from speechasym.errors import ConfigError
from speechasym.feature_extraction import normalise
from speechasym.feature_extraction.mel_scale import band_centres

UNITS = {"level": "dB", "frequency": "ERB", "phase": "cycle"}  # of the gammatone tracks
LEVELS = ("level_ms", "level_db", "level_erb", "level_cycles")  # options, in `Scale`'s order
MEL_CHANNELS = 80
CEPSTRA = 13

Columns = list[dict[str, Any]]  # name, unit and meaning of each column
Blocks = Iterable[NDArray]
Frames = Iterator[NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class FeatureConfig(ABC):
    """Options that all feature sets share; a set is a subclass, see `feature_config`.

    Raises `ConfigError` on values out of range.
    """

    features: str  # feature set: gammatone, asymmetry, logmel or mfcc
    rate: float = 100.0  # frames per second; made exact: a frame is a whole number of samples
    sample_rate: int = 16000  # Hz; recordings are resampled to it
    channel: str | int = "mean"  # channel of multichannel recordings: mean, or a number from 0
    normalise: str = "none"  # normalise columns: none, over the utterance, or running

    def __post_init__(self) -> None:
        if SETS.get(self.features) is not type(self):
            raise ConfigError("features", f"{self.features!r} is another set", "Use its class")
        check_choice("normalise", self.normalise, normalise.CHOICES)
        channel = str(self.channel)
        if channel != "mean" and not (channel.isascii() and channel.isdigit()):
            problem = f"must be mean or a number from 0, got {self.channel!r}"
            raise ConfigError("channel", problem, "Use mean or 0")
        object.__setattr__(self, "channel", int(channel) if channel != "mean" else channel)
        object.__setattr__(self, "rate", self.bank().frame_rate)

    def bank(self) -> FilterbankConfig:
        """Return the filterbank's options; sets without one use their check of the rates only."""
        return FilterbankConfig(sample_rate=self.sample_rate, frame_rate=self.rate)

    @abstractmethod
    def columns(self) -> Columns:
        """Return name, unit and meaning of each of the D columns, in order."""

    @abstractmethod
    def _frames(self, blocks: Blocks) -> Frames:
        """As `frames`, not normalised."""

    def frames(self, blocks: Blocks) -> Frames:
        """Blocks of samples (T,) at `sample_rate` -> blocks of frames (n, D)."""
        return normalise.normalised(self._frames(blocks), self.normalise, self.rate)

    @staticmethod
    def subclass_for(options: Mapping[str, Any], base: Any = None) -> "type[FeatureConfig]":
        """Return the class of the set that `options` name, by default that of `base`, or gammatone.

        Raises `ConfigError` for an unknown set, or an option that only other sets have.
        """
        name = options.get("features", base.features if base else GammatoneFeatures.features)
        check_choice("features", name, SETS)
        for option in options:
            having = [key for key, c in SETS.items() if option in c.__dataclass_fields__]
            if having and name not in having:
                problem = f"is an option of {' and '.join(having)} features, not of {name}"
                raise ConfigError(option, problem, f"Remove it, or use features {having[0]}")
        return SETS[name]


def feature_config(**options: Any) -> FeatureConfig:
    """Create the options of the set named by `features` (default: gammatone)."""
    chosen = FeatureConfig.subclass_for(options)
    known = chosen.__dataclass_fields__
    for name in options:
        if name not in known:
            problem = f"is not an option of {known['features'].default} features"
            raise ConfigError(name, problem, suggest(name, known).replace("keys", "options"))
    return chosen(**options)


@dataclass(frozen=True, kw_only=True)
class FilterbankFeatures(FilterbankOptions, FeatureConfig):
    """Options of the feature sets that use the gammatone filterbank."""

    def bank(self) -> FilterbankConfig:
        return FilterbankConfig(
            sample_rate=self.sample_rate, channels=self.channels, low_hz=self.low_hz,
            high_hz=self.high_hz, frame_rate=self.rate, align=self.align,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GammatoneFeatures(FilterbankFeatures):
    """Level, frequency and phase of the channels of the gammatone filterbank."""

    features: Literal["gammatone"] = "gammatone"
    tracks: tuple[str, ...] = ("level",)  # any of level, frequency, phase

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "tracks", check_choices("tracks", self.tracks, tuple(UNITS)))

    def columns(self) -> Columns:
        centres = filterbank.design(self.bank()).frequency
        return [
            {"name": f"{track}_{c:02d}", "unit": UNITS[track], "track": track, "channel": c,
             "centre_hz": round(float(hz), 3)}
            for track in self.tracks for c, hz in enumerate(centres)
        ]  # fmt: skip

    def _frames(self, blocks: Blocks) -> Frames:
        c = filterbank.design(self.bank())
        # alignment makes everything late: by whole frames, so that these can be dropped
        late = -(-c.latency // c.hop)
        state = filterbank.FilterbankState(None, np.zeros((1, late * c.hop), np.float32))

        def rows(x: NDArray, state: Any) -> tuple[NDArray[np.float32], Any]:
            pooled, state = filterbank.pool(x[None], c, state)
            parts = []
            if "level" in self.tracks:
                parts.append(filterbank.level_db(pooled.power[0]))
            if "frequency" in self.tracks:
                parts.append(filterbank.frequency_deviation(pooled.lag1[0], c, self.sample_rate))
            if "phase" in self.tracks:
                parts.append(filterbank.phase_cycles(pooled.sample[0]))
            return np.concatenate(parts).T, state

        return _whole_frames(blocks, c.hop, rows, state, late, c.latency)


@dataclass(frozen=True, kw_only=True)
class AsymmetryFeatures(FilterbankFeatures):
    """Hysteresis on amplitude, frequency and phase of the channels, by scale."""

    features: Literal["asymmetry"] = "asymmetry"
    kinds: tuple[str, ...] = AsymmetryConfig.kinds  # any of amplitude, frequency, phase
    outputs: tuple[str, ...] = AsymmetryConfig.outputs  # any of track, stop, asymmetry, rise, fall
    compact: bool = AsymmetryConfig.compact  # 33 decorrelated columns instead of all
    level_ms: tuple[float, ...] = tuple(scale.time_ms for scale in SCALES)  # time constants, ms
    level_db: tuple[float, ...] = tuple(scale.decibel for scale in SCALES)  # half-widths, dB
    level_erb: tuple[float, ...] = tuple(scale.erb for scale in SCALES)  # half-widths, ERB
    level_cycles: tuple[float, ...] = tuple(scale.cycle for scale in SCALES)  # half-widths
    noise_test: int = 0  # in `extract`: noises to compare each recording with

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in LEVELS:
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
            check_rising(name, getattr(self, name))
        check_count("noise_test", self.noise_test, 0)
        config = self.asymmetry()
        object.__setattr__(self, "kinds", config.kinds)
        object.__setattr__(self, "outputs", config.outputs)

    def asymmetry(self) -> AsymmetryConfig:
        """Return the options in the form of `speechasym.asymmetry`."""
        lists = [getattr(self, name) for name in LEVELS]
        if len(set(map(len, lists))) > 1:
            counts = ", ".join(str(len(values)) for values in lists)
            problem = f"must have the same length, got {counts} values"
            raise ConfigError(", ".join(LEVELS), problem, "Give one value for each scale")
        return AsymmetryConfig(
            bank=self.bank(), scales=tuple(map(Scale, *lists)), kinds=self.kinds,
            outputs=self.outputs, compact=self.compact,
        )  # fmt: skip

    def columns(self) -> Columns:
        return columns.columns(tracks.design(self.asymmetry()))

    def _frames(self, blocks: Blocks) -> Frames:
        d = tracks.design(self.asymmetry())
        size = columns.CHUNK  # also here, so that few rows are in memory at a time
        chunks = (x[i : i + size] for x in blocks for i in range(0, len(x), size))
        rows, start = partial(columns.rows, d=d), tracks.start(d)
        parts = _whole_frames(chunks, d.hop, rows, start, tail=d.late * d.hop)
        if not self.compact:
            yield from parts
            return
        before: NDArray | None = None
        for part in parts:
            part, before = cepstra.slide(part, before, self.kinds)
            yield part
        last = cepstra.flush(before, self.kinds)
        if last is not None:
            yield last


@dataclass(frozen=True, kw_only=True)
class LogMelFeatures(FeatureConfig):
    """Log-mel spectrogram: a baseline."""

    features: Literal["logmel"] = "logmel"

    def columns(self) -> Columns:
        return [
            {"name": f"logmel_{c:02d}", "unit": "dB", "track": "logmel", "channel": c,
             "centre_hz": round(float(hz), 3)}
            for c, hz in enumerate(band_centres(MEL_CHANNELS, self.sample_rate))
        ]  # fmt: skip

    def _frames(self, blocks: Blocks) -> Frames:
        from speechasym.feature_extraction import mel  # torch

        hop = filterbank.hop(self.sample_rate, self.rate)
        log_mel = mel.LogMel(self.sample_rate, hop, MEL_CHANNELS)
        return _whole_frames(blocks, hop, log_mel, log_mel.start(), tail=log_mel.width)


@dataclass(frozen=True, kw_only=True)
class MfccFeatures(FeatureConfig):
    """Mel-frequency cepstral coefficients with slopes: a baseline."""

    features: Literal["mfcc"] = "mfcc"

    def columns(self) -> Columns:
        return [
            {"name": f"{track}_{k:02d}", "unit": unit, "track": track, "coefficient": k}
            for track, unit in (("mfcc", "dB"), ("delta", "dB/frame"), ("delta2", "dB/frame^2"))
            for k in range(CEPSTRA)
        ]

    def _frames(self, blocks: Blocks) -> Frames:
        from speechasym.feature_extraction import mel

        log_mel = LogMelFeatures(rate=self.rate, sample_rate=self.sample_rate)
        # 13 numbers a frame of a whole recording are small: 19 MB for an hour
        static = [mel.cepstra(part, CEPSTRA) for part in log_mel.frames(blocks) if len(part)]
        yield mel.with_deltas(np.concatenate(static))


SETS: dict[str, type[FeatureConfig]] = {
    config.features: config
    for config in (GammatoneFeatures, AsymmetryFeatures, LogMelFeatures, MfccFeatures)
}


def _whole_frames(
    blocks: Blocks, hop: int, rows: Callable[..., tuple[NDArray[np.float32], Any]], state: Any,
    late: int = 0, tail: int = 0,
) -> Frames:  # fmt: skip
    """Blocks of samples -> blocks of rows, as many as the recording has frames.

    Args:
        rows: from samples x and `state` to the rows of the frames completed by x, and the state.
        state: before the first sample.
        late: rows at the beginning to drop.
        tail: samples of silence that complete a frame whose own samples are complete.
    """
    samples, done = 0, -late
    for x in chain(blocks, [None]):
        if x is None:
            count = filterbank.frame_count(samples, hop)
            x = np.zeros(hop + tail, np.float32)
        else:
            samples += len(x)
            count = samples + 1  # no limit yet
        part, state = rows(x, state=state)
        yield part[max(0, -done) : max(0, count - done)]
        done += len(part)


def features(source: Source, sample_rate: int | None = None, **options: Any) -> NDArray[np.float32]:
    """Compute the features of one recording, in memory: (F, D).

    Args:
        source: a file, samples (T,) at `sample_rate` Hz, or a recording in memory that knows its
            rate, see `speechasym.load`.
        sample_rate: of samples; for a recording that knows its rate, the one it is resampled to
            (default: 16000).
        options: of the feature set: features="gammatone", rate=100, tracks=("level",), ...

    Raises:
        AudioError: the recording cannot be read.
        ConfigError: samples or options out of range.

    Example:
        >>> level = speechasym.features("speech.wav", rate=100)  # (frames, 64) in dB
        >>> mfcc = speechasym.features(x, 16000, features="mfcc")
        >>> level.shape, mfcc.shape
        ((299, 64), (299, 39))
    """
    if sample_rate is not None:
        options["sample_rate"] = sample_rate
    config = feature_config(**options)
    own_rate = None if sources.is_recording(source) else sample_rate
    blocks = sources.blocks(source, config.sample_rate, config.channel, own_rate)
    return np.concatenate(list(config.frames(blocks)))
