"""The asymmetry features for lhotse: `AsymmetryExtractor`, registered as "speechasym-asymmetry".

>>> from speechasym.feature_extraction.lhotse import AsymmetryExtractor
>>> cuts = cuts.compute_and_store_features(AsymmetryExtractor(), "feats", num_jobs=2)
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from lhotse.features.base import FeatureExtractor, register_extractor
from numpy.typing import NDArray

from speechasym.audio.sources import mono
from speechasym.config import build, to_dict
from speechasym.errors import ConfigError
from speechasym.feature_extraction.sets import AsymmetryFeatures


@dataclass
class AsymmetryExtractorConfig:
    """Options of `AsymmetryFeatures` under lhotse's names, in types that YAML has."""

    sampling_rate: int = AsymmetryFeatures.sample_rate
    frame_rate: float = AsymmetryFeatures.rate
    channels: int = AsymmetryFeatures.channels
    low_hz: float = AsymmetryFeatures.low_hz
    high_hz: float | None = AsymmetryFeatures.high_hz
    align: bool = AsymmetryFeatures.align
    compact: bool = True
    kinds: tuple[str, ...] = AsymmetryFeatures.kinds
    outputs: tuple[str, ...] = AsymmetryFeatures.outputs
    normalise: str = AsymmetryFeatures.normalise
    level_ms: tuple[float, ...] = AsymmetryFeatures.level_ms
    level_db: tuple[float, ...] = AsymmetryFeatures.level_db
    level_erb: tuple[float, ...] = AsymmetryFeatures.level_erb
    level_cycles: tuple[float, ...] = AsymmetryFeatures.level_cycles

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, lists for tuples."""
        return to_dict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "AsymmetryExtractorConfig":
        """The inverse of `to_dict`."""
        return build(cls, data)


@register_extractor
class AsymmetryExtractor(FeatureExtractor):
    """Asymmetry features of lhotse cuts: the values of `speechasym.features`, (frames, columns).

    There are as many frames as lhotse expects: the duration in frames, rounded half up. Default:
    the compact set. Raises `ConfigError` where a cut's sampling rate is not the configured one:
    resample the cuts first.
    """

    name = "speechasym-asymmetry"
    config_type = AsymmetryExtractorConfig

    def _features(self) -> AsymmetryFeatures:
        options = self.config.to_dict()
        options["sample_rate"] = options.pop("sampling_rate")
        options["rate"] = options.pop("frame_rate")
        return AsymmetryFeatures(**options)

    @property
    def frame_shift(self) -> float:
        """Seconds from frame to frame."""
        return 1 / self._features().rate

    def feature_dim(self, sampling_rate: int) -> int:
        """Return the number of columns."""
        return len(self._features().columns())

    def extract(self, samples: Any, sampling_rate: int) -> NDArray[np.float32]:
        """Samples (T,) or (channels, T), of which the mean is used -> (F, D)."""
        features = self._features()
        if sampling_rate != features.sample_rate:
            problem = f"must be {features.sample_rate} Hz, as configured, got {sampling_rate} Hz"
            remedy = f"Use cuts.resample({features.sample_rate}), or set sampling_rate"
            raise ConfigError("sampling_rate", problem, remedy)
        x = mono(samples, name="samples", channels_first=True)
        return np.concatenate(list(features.frames([x])))
