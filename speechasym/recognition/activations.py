"""What the levels of a trained run hold, frame by frame: to be measured like features.

A level works on steps of its own, longer the higher it is. Here each frame of the features has the
values of the step that spans it, so that levels stand beside features, and beside one another.

Shapes: F frames, S steps of a level, D its width, U units, K slots of a head, V classes (blank
first, then symbols).
"""

from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechasym.errors import ConfigError
from speechasym.feature_extraction import sets
from speechasym.levels.hierarchy import Hierarchy
from speechasym.recognition.transcription import Trained, heard, open_run


class LevelFrames(NamedTuple):
    """One level, at the rate of the features."""

    y: NDArray[np.float32]  # (F, D) what the level makes
    units: NDArray[np.float32] | None  # (F, U) activations; None: a level without units
    log_posteriors: dict[str, NDArray[np.float32]]  # {head read there: (F, K, V)}
    step: NDArray[np.int64]  # (F,) which step of the level spans each frame


def activations(
    run: str | Path | Trained, source: str | Path | ArrayLike, sample_rate: int | None = None
) -> list[LevelFrames]:
    """What each level of a finished run holds during a recording, from the lowest level up.

    The recording is heard as a whole, as in training: seconds to minutes of it, not hours.

    Args:
        run: a finished run's folder, or what `transcription.open_run` gave.
        source: a file of any sample rate, or samples (T,) at the rate that the run hears.
        sample_rate: of the samples, Hz; checked.

    Raises:
        AudioError: a recording that cannot be read or used.
        CheckpointError: see `open_run`.
        ConfigError: samples at another rate or not (T,); a run without levels, see `of_features`.

    Example:
        >>> levels = activations("out/mini/run", "speech.wav")
        >>> levels[0].units.shape  # frames at 100 Hz, units
    """
    trained = open_run(run)
    config = trained.config.data.features
    if sample_rate not in (None, config.sample_rate):
        raise ConfigError(
            "sample_rate",
            f"{sample_rate} Hz where the run hears {config.sample_rate} Hz",
            "Resample, or give a file",
        )
    options = {f.name: getattr(config, f.name) for f in fields(config)}
    return of_features(trained, sets.features(source, **options))


def of_features(trained: Trained, rows: NDArray[np.float32]) -> list[LevelFrames]:
    """The same of features (F, D) that were made as the run's were.

    Raises `ConfigError` for features of other columns, and for a run whose model has no levels.
    """
    model = trained.model
    if not isinstance(model, Hierarchy):
        raise ConfigError(
            str(trained.folder), "its model has no levels", "Give a run of a hierarchy"
        )
    output = heard(trained, rows)
    found = []
    for number, level in enumerate(output.levels):
        steps = int(level.mask[0].sum())
        step = _step_of_frames(level.start[0, :steps].numpy(), level.end[0, :steps].numpy())
        posteriors = {}
        for name, (log_probs, _) in output.heads.items():
            head = getattr(model.config.heads, name)
            if head.level == number:
                own = log_probs[0, : steps * head.slots].unflatten(0, (steps, head.slots))
                posteriors[name] = own.numpy()[step]
        units = None if level.activation is None else level.activation[0].numpy()[step]
        found.append(LevelFrames(level.y[0].numpy()[step], units, posteriors, step))
    return found


def _step_of_frames(start: NDArray, end: NDArray) -> NDArray[np.int64]:
    """(F,) the step that spans each frame, of steps (S,) that follow one another without gaps."""
    return np.repeat(np.arange(len(start)), end - start)


def without_blank(log_posteriors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-posteriors (..., V) -> those of the symbols alone (..., V - 1), renormalised.

    CTC says blank almost everywhere; what it would say otherwise is in the rest.
    """
    rest = log_posteriors[..., 1:]
    most = rest.max(-1, keepdims=True)
    return rest - most - np.log(np.exp(rest - most).sum(-1, keepdims=True))
