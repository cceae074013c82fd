"""The feature sets for lhotse: `AsymmetryExtractor`, registered as "speechasym-asymmetry".

>>> from speechasym.lhotse_features import AsymmetryExtractor
>>> cuts = cuts.compute_and_store_features(AsymmetryExtractor(), "feats", num_jobs=2)
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from lhotse.features.base import FeatureExtractor, register_extractor
from numpy.typing import NDArray

from speechasym.errors import ConfigError
from speechasym.feature_extraction import sets


@dataclass
class AsymmetryExtractorConfig:
    """What `FeatureConfig` says of asymmetry features, in types that YAML knows."""

    sampling_rate: int = 16000
    frame_rate: float = 100.0
    channels: int = 64
    low_hz: float = 50.0
    high_hz: float | None = None
    align: bool = False
    compact: bool = True
    kinds: tuple[str, ...] = ("amplitude", "frequency", "phase")
    outputs: tuple[str, ...] = ("track", "stop", "asymmetry")
    normalise: str = "none"
    level_ms: tuple[float, ...] = sets.FeatureConfig.level_ms
    level_db: tuple[float, ...] = sets.FeatureConfig.level_db
    level_erb: tuple[float, ...] = sets.FeatureConfig.level_erb
    level_cycles: tuple[float, ...] = sets.FeatureConfig.level_cycles

    def to_dict(self) -> dict[str, Any]:
        """Plain values, lists for tuples."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "AsymmetryExtractorConfig":
        """The inverse of `to_dict`."""
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in data.items()
        }
        return cls(**values)


@register_extractor
class AsymmetryExtractor(FeatureExtractor):
    """Asymmetry features of lhotse cuts: the values of `speechasym.features`, (frames, columns).

    As many frames as lhotse expects: the duration in frames, rounded half up. The compact set by
    default. Raises `ConfigError` where a cut's sampling rate is not the configured one: resample
    the cuts first.
    """

    name = "speechasym-asymmetry"
    config_type = AsymmetryExtractorConfig

    def _config(self) -> sets.FeatureConfig:
        values = self.config.to_dict()
        values["sample_rate"] = values.pop("sampling_rate")
        values["rate"] = values.pop("frame_rate")
        return sets.FeatureConfig(features="asymmetry", **values)

    @property
    def frame_shift(self) -> float:
        """Seconds from frame to frame."""
        return 1 / float(self.config.frame_rate)

    def feature_dim(self, sampling_rate: int) -> int:
        """Number of columns."""
        return len(sets.columns(self._config()))

    def extract(self, samples: Any, sampling_rate: int) -> NDArray[np.float32]:
        """Samples (T,) or (1, T) -> (F, D)."""
        config = self._config()
        if sampling_rate != config.sample_rate:
            raise ConfigError(
                "sampling_rate",
                f"the sound has {sampling_rate} Hz, the extractor {config.sample_rate} Hz",
                f"Use cuts.resample({config.sample_rate}), or set sampling_rate",
            )
        x = np.asarray(samples, np.float32)
        if x.ndim == 2 and len(x) == 1:
            x = x[0]
        if x.ndim != 1 or not x.size or not np.isfinite(x).all():
            raise ConfigError(
                "samples", f"shape {x.shape}; finite mono samples are expected", "Mix it down"
            )
        return np.concatenate(list(sets.frames(iter([x]), config)))
