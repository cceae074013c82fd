"""Several feature sets of one recording side by side, for models that read together.

Shapes: T samples, F frames, D columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise, tee, zip_longest

import numpy as np
from numpy.typing import NDArray

from speechasym.errors import ConfigError
from speechasym.feature_extraction.sets import Blocks, Columns, FeatureConfig, Frames

SAME = ("rate", "sample_rate", "channel", "normalise")


@dataclass(frozen=True, kw_only=True)
class JoinedFeatures(FeatureConfig):
    """Feature sets with the same frames, as columns of one. See `join`."""

    features: str = "joined"
    parts: tuple[FeatureConfig, ...] = field()

    def __post_init__(self) -> None:
        """Let the whole be normalised instead of its parts: that is done by column."""
        plain = tuple(replace(part, normalise="none") for part in self.parts)
        object.__setattr__(self, "parts", plain)

    def columns(self) -> Columns:
        return [column for part in self.parts for column in part.columns()]

    @property
    def slices(self) -> list[slice]:
        """The columns of each part."""
        ends = np.cumsum([0, *(len(part.columns()) for part in self.parts)]).tolist()
        return [slice(first, end) for first, end in pairwise(ends)]

    def _frames(self, blocks: Blocks) -> Frames:
        copies = tee(blocks, len(self.parts))
        streams = [part.frames(copy) for part, copy in zip(self.parts, copies, strict=True)]
        return _side_by_side(streams)


def _side_by_side(streams: list[Frames]) -> Iterator[NDArray[np.float32]]:
    """Yield frames (n, D) with the columns of all streams as soon as each has them."""
    waiting: list[list[NDArray]] = [[] for _ in streams]
    for blocks in zip_longest(*streams):
        for rows, block in zip(waiting, blocks, strict=True):
            rows += [] if block is None else [block]
        joined = [np.concatenate(rows) if rows else None for rows in waiting]
        if any(rows is None for rows in joined):
            continue
        ready = min(len(rows) for rows in joined if rows is not None)
        yield np.concatenate([rows[:ready] for rows in joined if rows is not None], axis=1)
        waiting = [[rows[ready:]] for rows in joined if rows is not None]


def join(parts: list[FeatureConfig], names: list[str]) -> JoinedFeatures:
    """Return feature sets side by side.

    Args:
        names: of what the sets belong to, for the error.

    Raises `ConfigError` for other rates, channels or normalisations.
    """
    for option in SAME:
        values = [getattr(part, option) for part in parts]
        for name, value in zip(names, values, strict=True):
            if value != values[0]:
                problem = f"{names[0]} has {option} {values[0]}, {name} has {option} {value}"
                remedy = "Give runs whose features have the same one"
                raise ConfigError(f"data.features.{option}", problem, remedy)
    first = parts[0]
    return JoinedFeatures(
        parts=tuple(parts), rate=first.rate, sample_rate=first.sample_rate,
        channel=first.channel, normalise=first.normalise,
    )  # fmt: skip
