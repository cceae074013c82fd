"""Asymmetry features as a torch module."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speechasym.asymmetry import cepstra as compact
from speechasym.asymmetry import tracks as extractors
from speechasym.auditory.gammatone import flat_rows
from speechasym.errors import ConfigError
from speechasym.feature_extraction.sets import PIECE, FeatureConfig, columns


class AsymmetryState(NamedTuple):
    """Carried from chunk to chunk, one of each for every recording of the batch."""

    tracks: list[extractors.State]
    cepstra: list[NDArray | None]  # of the compact set: those that later frames need


class Asymmetry(nn.Module):
    """Hysteresis on amplitude, frequency and phase of every channel, level by level (C2, C3).

    The tracks, levels and columns are those of `speechasym.extractors`, and of
    `speechasym.compact` with `compact=True`; values equal those of
    `speechasym.features(x, sample_rate, features="asymmetry")`. It is compiled for the CPU and has
    no gradient: sound on another device is fetched, and the result is returned there.

    Args:
        sample_rate: Hz.
        frame_rate: frames a second; must divide the sample rate.
        channels, low_hz, high_hz, align: of the filterbank, as `speechasym.Gammatone`.
        kinds: of "amplitude", "frequency", "phase".
        outputs: of "track", "stop", "asymmetry", "rise", "fall"; not with `compact`.
        compact: 33 columns, decorrelated over channels, `latency` frames late.
        levels: widths and time constants, each greater than the one before.

    Example:
        >>> asymmetry = speechasym.Asymmetry(16000, compact=True)
        >>> y, state = asymmetry(x)      # (..., 33, frames - 5)
        >>> rest = asymmetry.flush(state)   # (..., 33, 5)

    Raises:
        ConfigError: a value outside its range.
    """

    def __init__(
        self,
        sample_rate: int,
        frame_rate: float = 100.0,
        channels: int = 64,
        low_hz: float = 50.0,
        high_hz: float | None = None,
        align: bool = False,
        kinds: Sequence[str] = ("amplitude", "frequency", "phase"),
        outputs: Sequence[str] = ("track", "stop", "asymmetry"),
        compact: bool = False,
        levels: Sequence[extractors.Level] = extractors.LEVELS,
    ) -> None:
        super().__init__()
        self.config = FeatureConfig(
            features="asymmetry", sample_rate=sample_rate, rate=frame_rate, channels=channels,
            low_hz=low_hz, high_hz=high_hz, align=align, kinds=tuple(kinds),
            outputs=tuple(outputs), compact=compact,
            level_ms=tuple(level.time_ms for level in levels),
            level_db=tuple(level.decibel for level in levels),
            level_erb=tuple(level.erb for level in levels),
            level_cycles=tuple(level.cycle for level in levels),
        )  # fmt: skip
        self.design = extractors.design(self.config.asymmetry())
        self.columns = [column["name"] for column in columns(self.config)]

    @property
    def latency(self) -> int:
        """Frames by which the output of the compact set is late: 5; else 0."""
        return compact.LOOKAHEAD if self.config.compact else 0

    def forward(
        self, x: Tensor | NDArray, state: AsymmetryState | None = None
    ) -> tuple[Tensor, AsymmetryState]:
        """Samples (..., T), full scale 1 -> complete frames (..., D, F), and the state.

        Any chunking gives the frames of the whole. Raises `ConfigError` where x is not a signal of
        real numbers, is not finite, asks for a gradient, or does not fit the state.
        """
        x = torch.as_tensor(x)
        flat = _samples(x)
        if state is None:
            state = AsymmetryState(
                [extractors.start(self.design) for _ in flat], [None] * len(flat)
            )
        if len(state.tracks) != len(flat):
            raise ConfigError(
                "state", f"of {len(state.tracks)} recordings, x of {len(flat)}", "Keep the batch"
            )
        made = [self._one(*row) for row in zip(flat, state.tracks, state.cepstra, strict=True)]
        after = AsymmetryState([m[1] for m in made], [m[2] for m in made])
        return self._shaped([m[0] for m in made], x), after

    def flush(self, state: AsymmetryState) -> Tensor:
        """The compact set's last frames (B, D, 5), after the last chunk; else (B, D, 0)."""
        last = []
        for before in state.cepstra:
            rows = compact.end(before, self.config.kinds)
            last.append(np.zeros((0, len(self.columns)), np.float32) if rows is None else rows)
        return torch.from_numpy(np.stack(last)).transpose(-1, -2)

    def _one(
        self, x: NDArray, track: extractors.State, before: NDArray | None
    ) -> tuple[NDArray, extractors.State, NDArray | None]:
        c, parts = self.config, []
        if c.compact:
            wanted = compact.wanted_tracks(c.kinds)
        else:
            wanted = extractors.of_kinds(c.kinds) if set(c.outputs) - {"track"} else ()
        for i in range(0, max(1, len(x)), PIECE):
            frames, track = extractors.pool(x[i : i + PIECE], self.design, track, wanted)
            if c.compact:
                rows, before = compact.slide(compact.static(frames, c.kinds), before, c.kinds)
            else:
                rows = extractors.rows(frames, self.design, c.kinds, c.outputs)
            parts.append(rows)
        return np.concatenate(parts), track, before

    def _shaped(self, rows: list[NDArray], x: Tensor) -> Tensor:
        if not rows:
            return x.new_zeros((*x.shape[:-1], len(self.columns), 0))
        y = torch.from_numpy(np.stack(rows)).transpose(-1, -2)
        return y.reshape(*x.shape[:-1], *y.shape[1:]).to(x.device)

    def extra_repr(self) -> str:
        c = self.config
        return (
            f"sample_rate={c.sample_rate}, frame_rate={c.rate:g}, channels={c.channels}, "
            f"columns={len(self.columns)}"
        )


def _samples(x: Tensor) -> NDArray[np.float32]:
    """(..., T) -> (B, T) in numpy, checked."""
    flat = flat_rows(x)
    if x.requires_grad and torch.is_grad_enabled():
        raise ConfigError(
            "x",
            "asks for a gradient, which these compiled features do not have",
            "Use x.detach(); speechasym.Gammatone and speechasym.hysteresis have gradients",
        )
    samples: NDArray[np.float32] = flat.detach().cpu().float().numpy()
    if not np.isfinite(samples).all():
        raise ConfigError("x", "holds samples that are not finite", "Give finite samples")
    return samples
