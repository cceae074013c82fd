"""The output of a model, and the mask of its input.

Shapes: B batch, F frames of features, S steps of a head, V classes (blank and symbols).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from speechasym.errors import ConfigError
from speechasym.levels.level import LevelOutput


class ModelOutput(NamedTuple):
    """The output of a model for a batch."""

    heads: dict[str, tuple[Tensor, Tensor]]  # log-probabilities (B, S, V) and lengths (B,)
    losses: dict[str, Tensor]  # other than the heads', weighted
    spans: dict[str, tuple[Tensor, Tensor]]  # start and end (B, S) of each head's steps, frames
    levels: list[LevelOutput]


def frame_mask(features: Tensor, lengths: Tensor, columns: int) -> Tensor:
    """Return the mask (B, F) of real frames. Raises `ConfigError` unless the shapes fit."""
    if features.ndim != 3 or features.shape[2] != columns:
        problem = f"must have shape (batch, frames, {columns} columns), got {tuple(features.shape)}"
        raise ConfigError("features", problem, "Extract them with the model's configuration")
    longest = int(lengths.max())
    if lengths.shape != features.shape[:1] or longest > features.shape[1]:
        shapes = f"{tuple(lengths.shape)} up to {longest} do not fit {tuple(features.shape)}"
        raise ConfigError("lengths", shapes, "Give the number of frames of each row of features")
    return torch.arange(features.shape[1], device=features.device) < lengths[:, None]
