"""What the levels of a trained run compute for a recording, step by step or frame by frame.

A level works on steps, which get longer from level to level. `at_frames` repeats them at the rate
of the features, so that levels can be measured like features, and compared with one another.

Shapes: F frames, S steps of a level, D its width, U units, K slots of a head, V classes (blank
first, then symbols).
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechasym.errors import ConfigError
from speechasym.levels.hierarchy import Hierarchy
from speechasym.recognition.trained_model import TrainedModel


class LevelActivations(NamedTuple):
    """One level, at its own steps or, after `at_frames`, at every frame (S = F)."""

    y: Tensor  # (S, D) what the level passes on
    units: Tensor | None  # (S, U) activations; None for a level without units
    log_posteriors: dict[str, Tensor]  # {head read from this level: (S, K, V)}
    frames: Tensor  # (S, 2) first frame of each step, and the frame after its last
    times: Tensor  # (S, 2) the same in s

    def at_frames(self) -> "LevelActivations":
        """Return the same with every step repeated for each frame that it spans."""
        step = torch.repeat_interleave(self.frames[:, 1] - self.frames[:, 0])
        return LevelActivations(
            self.y[step],
            None if self.units is None else self.units[step],
            {head: log_probs[step] for head, log_probs in self.log_posteriors.items()},
            self.frames[step],
            self.times[step],
        )


def activations_of(trained: TrainedModel, rows: NDArray[np.float32]) -> list[LevelActivations]:
    """Return the activations of each level, lowest first, for features (F, D) of the run's kind.

    Raises:
        ConfigError: the features have other columns, or the model has no levels.
    """
    model = trained.model
    if not isinstance(model, Hierarchy):
        raise ConfigError(trained.folder, "its model has no levels", "Use a run of a hierarchy")
    output = trained.output(rows)
    levels = []
    for number, level in enumerate(output.levels):
        steps = int(level.mask[0].sum())
        posteriors = {}
        for name, (log_probs, _) in output.heads.items():
            head = getattr(model.config.heads, name)
            if head.level == number:
                row = log_probs[0, : steps * head.slots]
                posteriors[name] = row.unflatten(0, (steps, head.slots))
        units = None if level.activation is None else level.activation[0, :steps]
        frames = torch.stack([level.start[0, :steps], level.end[0, :steps]], 1)
        times = (frames / trained.feature_config.rate - trained.delay).clamp(min=0)
        levels.append(LevelActivations(level.y[0, :steps], units, posteriors, frames, times))
    return levels
