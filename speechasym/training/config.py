"""What a training run is made from: a YAML file and `key=value` words -> frozen dataclasses.

Every value has a default but the manifests and the model. Keys are written with dots:
`data.features.rate=50`, `model.levels.0.units=48`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from speechasym import config as settings
from speechasym.errors import ConfigError
from speechasym.feature_extraction.sets import FeatureConfig

HEADS = ("phones", "letters", "words")


def _positive(name: str, value: float | None, least: float = 0.0) -> None:
    """A finite number above 0 (or from `least`); None passes."""
    if value is None:
        return
    good = math.isfinite(value) and (value >= least if least else value > 0)
    if not good:
        expected = f"from {least:g}" if least else "above 0"
        raise ConfigError(name, f"{value} is no number {expected}", f"Give one {expected}")


def _share(name: str, value: float, end: bool = False) -> None:
    if not (0 <= value < 1 or (end and value == 1)):
        raise ConfigError(name, f"{value} is not from 0 to {'' if end else 'below '}1", "Use 0.1")


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How training recordings are varied; by default not at all.

    Each cut has a fixed number of variants, computed once; epoch by epoch it takes the next one.
    Masks, gain and shift are drawn anew in each step.
    """

    copies: int = 0  # variants of each cut; 0: one for each speed, twice that with noise
    speeds: tuple[float, ...] = (1.0,)  # 1.1 is faster; pitch changes too
    noise: str | None = None  # folder of recordings, or a manifest of cuts, to mix in
    noise_share: float = 0.5  # of the variants that have noise
    snr_db: tuple[float, float] = (5.0, 30.0)  # range of the ratio of signal to noise
    time_masks: int = 0  # stretches of frames set to 0
    time_mask_s: float = 0.1  # longest of them, s
    column_masks: int = 0  # ranges of neighbouring columns set to 0
    column_mask_share: float = 0.15  # widest of them, as a share of the columns
    gain: float = 0.0  # standard deviation of log gain, by utterance and column
    shift: float = 0.0  # standard deviation of an offset, by utterance and column
    splice: float = 0.0  # share of cuts put together anew from stretches of two or three

    def __post_init__(self) -> None:
        for name in ("copies", "time_masks", "column_masks"):
            if getattr(self, name) < 0:
                raise ConfigError(name, f"{getattr(self, name)} is less than 0", "Use 0 or more")
        if not self.speeds or len(set(self.speeds)) < len(self.speeds):
            raise ConfigError("speeds", f"{self.speeds} are none or repeated", "Use 0.9, 1.0, 1.1")
        if bad := [speed for speed in self.speeds if not 0.5 <= speed <= 2]:
            raise ConfigError("speeds", f"{bad[0]} is not from 0.5 to 2", "Use 0.9, 1.0, 1.1")
        low, high = self.snr_db
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise ConfigError("snr_db", f"{self.snr_db} is no range", "Use 5, 30")
        _share("noise_share", self.noise_share, end=True)
        _share("column_mask_share", self.column_mask_share, end=True)
        _share("splice", self.splice, end=True)
        _positive("time_mask_s", self.time_mask_s)
        for name in ("gain", "shift"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(name, f"{getattr(self, name)} is not from 0", "Use 0 or 0.1")

    @property
    def variants(self) -> int:
        """How many variants each cut has."""
        return self.copies or len(self.speeds) * (2 if self.noise else 1)


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """How symbols are read from the cuts."""

    silence: Literal["drop", "merge", "keep"] = "drop"  # among phones; merge: neighbours are one
    fold: Literal["none", "timit39"] = "none"  # TIMIT's 61 or 48 phones to 39
    lexicon: str | None = None  # of pronunciations, for cuts without phones
    word_least: int = 2  # words seen less often are <unk>
    word_most: int = 10000  # words, the most frequent ones

    def __post_init__(self) -> None:
        for name in ("word_least", "word_most"):
            if getattr(self, name) < 1:
                raise ConfigError(name, f"{getattr(self, name)} is less than 1", "Use 1 or more")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Manifests, features and labels."""

    train: str  # manifest of cuts, as `speechasym prepare` writes
    dev: str
    features: FeatureConfig = field(
        default_factory=lambda: FeatureConfig(features="logmel", normalise="utterance")
    )
    labels: LabelConfig = LabelConfig()
    augment: AugmentConfig = AugmentConfig()
    cache: str | None = None  # folder that keeps features between runs
    workers: int = 1  # processes that compute features

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigError("workers", f"{self.workers} is less than 1", "Use 1 or more")


@dataclass(frozen=True, kw_only=True)
class HeadWeights:
    """Weight of each head's CTC loss; a head of weight 0 is not there."""

    phones: float = 1.0
    letters: float = 0.0
    words: float = 0.0

    def __post_init__(self) -> None:
        values = [getattr(self, head) for head in HEADS]
        if not all(0 <= value < math.inf for value in values) or not any(values):
            raise ConfigError("heads", f"weights {values} are not from 0, one above", "Use 1")

    @property
    def used(self) -> dict[str, float]:
        """Heads with a weight above 0."""
        return {head: getattr(self, head) for head in HEADS if getattr(self, head)}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A training run. It lasts `epochs`, or `steps`, or `minutes`, whichever is given last."""

    data: DataConfig
    model: Mapping[str, Any] = field(default_factory=dict)  # read by `hierarchy.build_model`
    heads: HeadWeights = HeadWeights()
    framewise: float = 0.0  # weight of the loss of each step's phone, where cuts have their times
    start: str | None = None  # a finished run, whose parameters it begins with where they fit
    epochs: int = 30
    steps: int | None = None  # in place of epochs
    minutes: float | None = None  # in place of both; such a run is not repeatable to the bit
    batch_seconds: float = 60.0  # in a batch, padding included; of cuts at their own speed
    learning_rate: float = 2e-3  # highest
    warm_up: float = 0.05  # share of the run in which it rises
    schedule: Literal["cosine", "linear", "constant"] = "cosine"  # how it falls to 0
    weight_decay: float = 0.01
    clip: float = 5.0  # greatest norm of the gradient
    averaging: float = 0.998  # of parameters, exponential, by step; 0: none
    validate_every: int | None = None  # steps; none: once an epoch
    save_every: int = 500  # steps; and at each validation
    target: str | None = None  # head whose dev error chooses the best; none: the first with weight
    patience: int | None = None  # validations without improvement before it stops early
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 on CUDA
    device: str = "auto"
    threads: int | None = None  # of torch on the CPU

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "validate_every", "save_every", "patience", "threads"):
            _positive(name, getattr(self, name), least=1)
        for name in ("minutes", "batch_seconds", "learning_rate", "clip"):
            _positive(name, getattr(self, name))
        _share("warm_up", self.warm_up)
        _share("averaging", self.averaging)
        if not 0 <= self.weight_decay < math.inf:
            raise ConfigError("weight_decay", f"{self.weight_decay} is not from 0", "Use 0.01")
        if not 0 <= self.framewise < math.inf:
            raise ConfigError("framewise", f"{self.framewise} is not from 0", "Use 0 or 1")
        if self.framewise and not self.heads.phones:
            raise ConfigError("framewise", "there is no head phones", "Set heads.phones to 1")
        if self.data.augment.splice and list(self.heads.used) != ["phones"]:
            raise ConfigError(
                "data.augment.splice",
                f"the heads are {', '.join(self.heads.used)}, and only phones have times",
                "Set it to 0, or heads.letters and heads.words to 0",
            )
        if not 0 <= self.seed < 2**31:
            raise ConfigError("seed", f"{self.seed} is not from 0 to 2^31", "Use 0, 1, 2 ...")
        if self.target is not None and self.target not in self.heads.used:
            known = ", ".join(self.heads.used)
            raise ConfigError("target", f"{self.target!r} is no head in use", f"Use {known}")

    @property
    def chosen(self) -> str:
        """The head whose error on dev chooses the best parameters."""
        return self.target or next(iter(self.heads.used))


def read(path: str | Path | None, overrides: Iterable[str] = ()) -> TrainConfig:
    """A run's configuration from a YAML file (or none) and words `key=value`, which win.

    Raises `ConfigError`, naming file and key, for what cannot be read, an unknown key, a value of
    the wrong type or outside its range.
    """
    mapping = settings.read_yaml(Path(path)) if path is not None else {}
    given = [settings.override(mapping, word) for word in overrides]
    where = str(path) if path is not None else "command line"

    def place(key: str) -> str:
        said = any(key == name or name.startswith(f"{key}.") for name in given)
        return f"{key} (key=value)" if said else f"{where}: {key}"

    return settings.build(TrainConfig, mapping, place)


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """As JSON and YAML know it; `of_dict` takes it back."""
    return settings.to_dict(config)


def of_dict(mapping: Mapping[str, Any]) -> TrainConfig:
    """A configuration from what `to_dict` gave. Raises `ConfigError`."""
    return settings.build(TrainConfig, mapping)
