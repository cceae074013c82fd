"""Augmentation: variants of recordings, spliced cuts, masked features; all repeatable by a seed.

Shapes: F frames, D columns.

[1] D. S. Park et al., "SpecAugment", Interspeech 2019.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from speechasym.config import check_count
from speechasym.errors import ConfigError
from speechasym.training.config import AugmentConfig

if TYPE_CHECKING:
    from lhotse import CutSet
    from torch import Tensor

Seed = tuple[int, ...]
SPLICED = 1  # in seeds: splices are drawn independently of masks
SHORTEST = 6  # phones in a stretch that is spliced


class Variant(NamedTuple):
    """How a cut is changed before its features are computed."""

    speed: float = 1.0
    noise: int | None = None  # index in the list of noises
    place: float = 0.0  # where in the noise the stretch starts, as a share of what is possible
    snr_db: float = 0.0


class Excerpt(NamedTuple):
    """A stretch of a cut's variant."""

    cut: int  # its index
    variant: int
    frames: slice
    phones: list[int]  # labels


def draw_variant(augment: AugmentConfig, noises: int, name: str, number: int, seed: int) -> Variant:
    """Draw variant `number` of cut `name`: speeds in turn; noise, its place and ratio at random.

    The result depends on the seed, the cut's id and the variant's number only.
    """
    turn = np.random.default_rng(_hashed(seed, name)).integers(len(augment.speeds))
    speed = augment.speeds[(number + int(turn)) % len(augment.speeds)]
    rng = np.random.default_rng(_hashed(seed, name, number))
    noisy, which, place, ratio = rng.random(4)
    if not noises or noisy >= augment.noise_share:
        return Variant(speed)
    low, high = augment.snr_db
    return Variant(speed, int(which * noises), float(place), low + (high - low) * float(ratio))


def _hashed(*parts: Any) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8])


def _mixed_seed(*parts: int) -> int:
    """Return one seed for several numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)


def draw_splice(
    phone_frames: Sequence[Sequence["Tensor"]], cut: int, augment: AugmentConfig, seed: Seed
) -> list[Excerpt]:
    """Draw stretches of a cut and of one or two others, to be joined; none: the cut stays whole.

    `phone_frames`: as of `Dataset`.
    """
    rng = np.random.default_rng(_mixed_seed(*seed, SPLICED))
    if rng.random() >= augment.splice:
        return []
    others = rng.integers(len(phone_frames), size=rng.integers(1, 3)).tolist()
    excerpts = []
    for number in (cut, *others):
        variant = int(rng.integers(len(phone_frames[number])))
        rows = phone_frames[number][variant]
        least = min(SHORTEST, len(rows))
        size = int(rng.integers(least, max(least, len(rows) // 2) + 1))
        first = int(rng.integers(len(rows) - size + 1))
        chosen = rows[first : first + size]
        frames = slice(int(chosen[0, 1]), int(chosen[-1, 2]))
        excerpts.append(Excerpt(number, variant, frames, chosen[:, 0].tolist()))
    return excerpts


def perturb_features(x: "Tensor", augment: AugmentConfig, rate: float, seed: Seed) -> "Tensor":
    """Return features (F, D) with gain and shift by column, and masks of zeros [1].

    Unlike in [1], time is not warped. `rate`: frames a second.
    """
    import torch  # variants of recordings need no torch

    if not (augment.gain or augment.shift or augment.time_masks or augment.column_masks):
        return x
    generator = torch.Generator().manual_seed(_mixed_seed(*seed))
    frames, columns = x.shape
    x = x * torch.exp(augment.gain * torch.randn(columns, generator=generator))
    x = x + augment.shift * torch.randn(columns, generator=generator)
    longest = min(round(augment.time_mask_s * rate), frames)
    widest = round(augment.column_mask_share * columns)
    for count, axis, most, size in (
        (augment.time_masks, 0, longest, frames),
        (augment.column_masks, 1, widest, columns),
    ):
        for width, place in torch.rand(count, 2, generator=generator).tolist():
            length = int(width * (most + 1))
            x.narrow(axis, int(place * (size - length + 1)), length).zero_()
    return x


def with_noise(
    cuts: "CutSet", noise_cuts: "CutSet", snr: float | tuple[float, float], seed: int
) -> "CutSet":
    """Mix noise into each cut; ids, durations and supervisions stay. Raises `ConfigError`.

    Args:
        noise_cuts: noise at the sample rate of the cuts, repeated where it is shorter.
        snr: signal-to-noise ratio in dB, or the two ends of a range to draw from.
        seed: of the choice of the noise, its place and the ratio.
    """
    ends = list(snr) if isinstance(snr, Sequence) else [snr]
    if len(ends) not in (1, 2) or not all(map(math.isfinite, ends)) or ends != sorted(ends):
        raise ConfigError("snr", f"must be a ratio or range in dB, got {snr}", "Use 10, or (5, 30)")
    check_count("seed", seed, 0)
    noise = noise_cuts.to_eager()
    if not len(noise):
        raise ConfigError("noise_cuts", "must not be empty", "Give at least one cut of noise")
    rates = {cut.sampling_rate for cut in noise}
    for cut in cuts:
        if rates != {cut.sampling_rate}:
            problem = f"{sorted(rates)} Hz, but cut {cut.id} has {cut.sampling_rate} Hz"
            remedy = f"Use noise_cuts.resample({cut.sampling_rate})"
            raise ConfigError("noise_cuts", problem, remedy)
    mixed = cuts.mix(noise, snr=snr, seed=seed, preserve_id="left", random_mix_offset=True)
    return mixed.to_eager()  # drawn once: iterating twice gives the same
