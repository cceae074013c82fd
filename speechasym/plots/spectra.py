"""The spectrum that features hold: over the channels of the filterbank, or over mel bands.

Shapes: F frames, D columns of the features, K of them about the spectrum, C channels or bands.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.asymmetry import cepstra
from speechasym.auditory import filterbank
from speechasym.feature_extraction import mel_scale
from speechasym.feature_extraction.sets import (
    CEPSTRA,
    MEL_CHANNELS,
    AsymmetryFeatures,
    FeatureConfig,
)
from speechasym.plots.features import column_groups
from speechasym.plots.recognised import RecognisedRecording


class Spectrum(NamedTuple):
    """How to read a spectrum out of features that are not normalised."""

    about: str  # which columns it is from, in words
    columns: slice  # K of D
    centre_hz: NDArray[np.float64]  # (C,)
    decibel: Callable[[NDArray], NDArray]  # (F, K) -> (F, C)


def spectrum_of(config: FeatureConfig) -> Spectrum | None:
    """Return how to read a spectrum out of these features; None if they hold none.

    The cosine transform of cepstra is inverted: with few of them, the spectrum is smooth.
    """
    groups = {group.name: group for group in column_groups(config.columns())}
    for name in ("level", "logmel", "amplitude"):
        if name in groups and (centre_hz := groups[name].centre_hz) is not None:
            return Spectrum(f"its {name} columns", groups[name].part, centre_hz, lambda x: x)
    if isinstance(config, AsymmetryFeatures) and "power" in groups:
        centres = filterbank.design(config.bank()).frequency
        inverse = cepstra.basis(len(centres), cepstra.STATIC).T

        def decibel(x: NDArray) -> NDArray:
            return filterbank.level_db(np.maximum(x @ inverse, 0) ** (1 / cepstra.ROOT))

        about = f"the spectrum of its {cepstra.STATIC} power cepstra"
        return Spectrum(about, groups["power"].part, centres, decibel)
    if "mfcc" in groups:
        transform = cepstra.basis(MEL_CHANNELS, CEPSTRA).T
        centres = mel_scale.band_centres(MEL_CHANNELS, config.sample_rate)
        about = f"the spectrum of its {CEPSTRA} cepstra"
        return Spectrum(about, groups["mfcc"].part, centres, lambda x: x @ transform)
    return None


def units_of_columns(
    config: FeatureConfig, recording: RecognisedRecording
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return factor and offset (D,) of each column that undo the normalisation of a recording.

    They are exact for normalisation by the utterance; by the past, those that fit best.
    """
    count = recording.features.shape[1]
    if config.normalise == "none":
        return np.ones(count), np.zeros(count)
    x = recording.samples
    if recording.sample_rate != config.sample_rate:
        import soxr

        x = soxr.resample(x, recording.sample_rate, config.sample_rate, quality="HQ")
    raw = np.concatenate(list(replace(config, normalise="none").frames([x]))).astype(np.float64)
    frames = min(len(raw), len(recording.features))
    y, raw = recording.features[:frames].astype(np.float64), raw[:frames]
    centred = y - y.mean(0)
    factor = (centred * raw).sum(0) / np.maximum((centred**2).sum(0), 1e-12)
    return factor, raw.mean(0) - factor * y.mean(0)
