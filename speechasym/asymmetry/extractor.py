"""Asymmetry features as a torch module."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speechasym.asymmetry import cepstra, columns, tracks
from speechasym.asymmetry.tracks import DEFAULT_OUTPUTS, KINDS, SCALES, AsymmetryConfig, Scale
from speechasym.auditory.filterbank import FilterbankConfig
from speechasym.auditory.gammatone import flat_rows
from speechasym.errors import ConfigError


class AsymmetryState(NamedTuple):
    """Carried from chunk to chunk, one of each for every recording of the batch."""

    tracks: list[tracks.State]
    cepstra: list[NDArray | None]  # of the compact set: those that later frames need


class Asymmetry(nn.Module):
    """Hysteresis on amplitude, frequency and phase of every channel, by scale (C2, C3).

    Values equal those of `speechasym.features(x, sample_rate, features="asymmetry")`. The module is
    compiled for the CPU and has no gradient: samples on another device are copied, and the result
    is returned there.

    Args:
        sample_rate: Hz.
        kinds: any of "amplitude", "frequency", "phase".
        outputs: any of "track", "stop", "asymmetry", "rise", "fall"; not with `compact`.
        compact: 33 columns, decorrelated over channels, `latency` frames late.
        scales: widths and time constants, each greater than the one before.
        options: of the filterbank: frame_rate, channels, ..., as for `speechasym.Gammatone`.

    Raises:
        ConfigError: a value out of range.

    Example:
        >>> asymmetry = speechasym.Asymmetry(16000, compact=True)
        >>> y, state = asymmetry(torch.from_numpy(x))
        >>> y.shape
        torch.Size([33, 294])
        >>> rest = asymmetry.flush(state)  # the last 5 frames
    """

    def __init__(
        self, sample_rate: int, *, kinds: Sequence[str] = tuple(KINDS),
        outputs: Sequence[str] = DEFAULT_OUTPUTS, compact: bool = False,
        scales: Sequence[Scale] = SCALES, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        self.config = AsymmetryConfig(
            bank=FilterbankConfig(sample_rate=sample_rate, **options), scales=tuple(scales),
            kinds=tuple(kinds), outputs=tuple(outputs), compact=compact,
        )  # fmt: skip
        self.design = tracks.design(self.config)
        self.columns = [column["name"] for column in columns.columns(self.design)]

    @property
    def latency(self) -> int:
        """Frames by which the output is late: 5 for the compact set, otherwise 0."""
        return cepstra.LOOKAHEAD if self.config.compact else 0

    def forward(
        self, x: Tensor | NDArray, state: AsymmetryState | None = None
    ) -> tuple[Tensor, AsymmetryState]:
        """Samples (..., T), full scale 1 -> complete frames (..., D, F), and the state.

        The result does not depend on the chunking. Raises `ConfigError` where x is not a
        real-valued signal, is not finite, requires a gradient, or does not match the state.
        """
        x = torch.as_tensor(x)
        batch = _samples(x)
        if state is None:
            state = AsymmetryState([tracks.start(self.design) for _ in batch], [None] * len(batch))
        if len(state.tracks) != len(batch):
            problem = f"is of {len(state.tracks)} recordings, x of {len(batch)}"
            raise ConfigError("state", problem, "Use the same batch for all chunks")
        parts: list[NDArray] = []
        after = AsymmetryState([], [])
        for samples, track_state, before in zip(batch, *state, strict=True):
            rows, track_state = columns.rows(samples, self.design, track_state)
            if self.config.compact:
                rows, before = cepstra.slide(rows, before, self.config.kinds)
            parts.append(rows)
            after.tracks.append(track_state)
            after.cepstra.append(before)
        if not parts:
            return x.new_zeros((*x.shape[:-1], len(self.columns), 0), dtype=torch.float32), after
        y = torch.from_numpy(np.stack(parts)).transpose(-1, -2)
        return y.reshape(*x.shape[:-1], *y.shape[1:]).to(x.device), after

    def flush(self, state: AsymmetryState) -> Tensor:
        """Return the compact set's last frames (B, D, 5), after the last chunk; else (B, D, 0)."""
        parts = []
        for before in state.cepstra:
            rows = cepstra.flush(before, self.config.kinds)
            parts.append(np.zeros((0, len(self.columns)), np.float32) if rows is None else rows)
        if not parts:
            return torch.zeros(0, len(self.columns), self.latency)
        return torch.from_numpy(np.stack(parts)).transpose(-1, -2)

    def extra_repr(self) -> str:
        bank = self.config.bank
        return (
            f"sample_rate={bank.sample_rate}, frame_rate={bank.frame_rate:g}, "
            f"channels={bank.channels}, columns={len(self.columns)}"
        )


def _samples(x: Tensor) -> NDArray[np.float32]:
    """(..., T) -> (B, T) in numpy, checked."""
    batch = flat_rows(x)
    if x.requires_grad and torch.is_grad_enabled():
        problem = "requires a gradient, which these compiled features do not have"
        remedy = "Use x.detach(); speechasym.Gammatone and speechasym.hysteresis have them"
        raise ConfigError("x", problem, remedy)
    samples = batch.detach().cpu().float().numpy()
    if not np.isfinite(samples).all():
        raise ConfigError("x", "contains samples that are not finite", "Use finite samples")
    return samples
