"""Samples and features of a cut or a variant of it.

Shapes: T samples, F frames, D columns.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.audio import reading
from speechasym.audio.rooms import in_room
from speechasym.audio.telephone import by_telephone
from speechasym.errors import AudioError, SpeechAsymError
from speechasym.feature_extraction.sets import FeatureConfig
from speechasym.training.augment import Variant
from speechasym.training.cuts import load_samples

if TYPE_CHECKING:
    from lhotse.cut import Cut


class FeatureTask(NamedTuple):
    """Features to compute, of a cut or a variant of it."""

    cut: "Cut"
    config: FeatureConfig
    variant: Variant = Variant()
    noise: "Cut | None" = None


def samples_of(task: FeatureTask) -> NDArray[np.float32]:
    """Return the samples (T,) of a variant at the rate of the features. Raises `AudioError`."""
    cut, variant, rate = task.cut, task.variant, task.config.sample_rate
    x = load_samples(cut, rate / variant.speed, task.config.channel)
    if variant.room is not None:
        seed, seconds, direct_db = variant.room
        rng = np.random.default_rng(seed)
        x = in_room(x, rate, seconds, direct_db, rng).astype(np.float32)
    if task.noise is not None:
        longest = task.noise.duration
        seconds = min(len(x) / rate, longest)
        offset = variant.place * (longest - seconds)
        noise = load_samples(task.noise.truncate(offset=offset, duration=seconds), rate)
        if noise.any() and x.any():  # silence has no ratio
            x = reading.add_noise(x, noise, variant.snr_db)
    if variant.telephone is not None:
        x = by_telephone(x, rate, *variant.telephone).astype(np.float32)
    return x


def features_of(
    task: FeatureTask, samples: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Return the features (F, D) of a task. Raises `AudioError` naming the cut.

    samples: what `samples_of` returned, if it was called.
    """
    cut, x = task.cut, samples_of(task) if samples is None else samples
    try:
        rows = np.concatenate(list(task.config.frames([x])))
    except SpeechAsymError as error:
        raise AudioError(f"cut {cut.id}", str(error).rstrip("."), "Leave it out") from error
    if not np.isfinite(rows).all():
        raise AudioError(f"cut {cut.id}", "its features are not finite", "Leave it out")
    return np.ascontiguousarray(rows, np.float32)
