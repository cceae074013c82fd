"""Augmentation: variants of recordings, spliced cuts, masked features; all repeatable by a seed.

Shapes: F frames, D columns.

[1] D. S. Park et al., "SpecAugment", Interspeech 2019.
"""

import hashlib
import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from speechasym.config import check_count
from speechasym.errors import ConfigError
from speechasym.training.augment_config import AugmentConfig

if TYPE_CHECKING:
    from lhotse import CutSet
    from torch import Tensor

SHORTEST = 6  # phones in a stretch that is spliced
LOWEST_HZ, HIGHEST_HZ = (200.0, 400.0), (3000.0, 3800.0)  # ranges of the ends of a telephone's band


class Variant(NamedTuple):
    """How a cut is changed before its features are computed."""

    speed: float = 1.0
    noise: int | None = None  # index in the list of noises
    place: float = 0.0  # where in the noise the stretch starts, as a share of what is possible
    snr_db: float = 0.0
    room: tuple[int, float, float] | None = None  # seed, reverberation in s, direct sound in dB
    telephone: tuple[float, float] | None = None  # ends of its band, Hz


class Excerpt(NamedTuple):
    """A cut's variant, or a stretch of it."""

    cut: int  # its number
    variant: int  # see `draw_variant`
    phones: slice = slice(None)  # which of its phones


def draw_variant(augment: AugmentConfig, noises: int, name: str, number: int, seed: int) -> Variant:
    """Draw variant `number` of cut `name`: speeds in turn; noise, room and telephone at random.

    The result depends on the seed, the cut's id and the variant's number only.
    """
    turn = hashed_seed(seed, name)  # so that neighbours are not all at one speed
    variant = Variant(augment.speeds[(number + turn) % len(augment.speeds)])
    if noises:
        rng = np.random.default_rng(hashed_seed(seed, name, number))
        noisy, which, place, ratio = rng.random(4).tolist()
        if noisy < augment.noise_share:
            snr_db = _between(augment.snr_db, ratio)
            variant = variant._replace(noise=int(which * noises), place=place, snr_db=snr_db)
    if augment.room_share:
        rng = np.random.default_rng(hashed_seed(seed, name, number, "room"))
        share, time, direct = rng.random(3).tolist()
        if share < augment.room_share:
            times = _between(augment.reverberation_s, time), _between(augment.direct_db, direct)
            variant = variant._replace(room=(int(rng.integers(1 << 31)), *times))
    if augment.telephone_share:
        rng = np.random.default_rng(hashed_seed(seed, name, number, "telephone"))
        share, low, high = rng.random(3).tolist()
        if share < augment.telephone_share:
            band = _between(LOWEST_HZ, low), _between(HIGHEST_HZ, high)
            variant = variant._replace(telephone=band)
    return variant


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * share


def recurring_variants(
    augment: AugmentConfig, noises: int, name: str, seed: int
) -> tuple[Variant, ...]:
    """Return the variants of a cut that come again in later epochs, so that they can be stored."""
    if augment.copies:
        return tuple(draw_variant(augment, noises, name, n, seed) for n in range(augment.copies))
    return _at_speeds(augment.speeds)


@cache
def _at_speeds(speeds: tuple[float, ...]) -> tuple[Variant, ...]:
    return tuple(map(Variant, speeds))  # one tuple for all cuts


def hashed_seed(*parts: Any) -> int:
    """Return a seed (63 bits) for numbers and names."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8]) >> 1


def draw_splice(ends: "Tensor", cut: int, augment: AugmentConfig, seed: int) -> list[Excerpt]:
    """Draw stretches of a cut and of one or two others, to be joined; none: the cut stays whole.

    `ends`: (cuts + 1,) the first phone of each cut among those of all.
    """
    rng = np.random.default_rng(seed)
    if rng.random() >= augment.splice:
        return []
    others = rng.integers(len(ends) - 1, size=rng.integers(1, 3)).tolist()
    excerpts = []
    for number in (cut, *others):
        variant = int(rng.integers(augment.copies or 1 << 31))
        count = int(ends[number + 1] - ends[number])
        least = min(SHORTEST, count)
        size = int(rng.integers(least, max(least, count // 2) + 1))
        first = int(rng.integers(count - size + 1))
        excerpts.append(Excerpt(number, variant, slice(first, first + size)))
    return excerpts


class Perturbation(NamedTuple):
    """How the features of an utterance, or of each of a batch, are changed."""

    gain: "Tensor"  # (..., D) factors
    shift: "Tensor"  # (..., D)
    frames: "Tensor"  # (..., F) False where masked
    columns: "Tensor"  # (..., D) likewise
    jitter: "Tensor"  # (..., F, D) noise; (..., F, 1) zeros if there is none


def draw_perturbation(
    frames: int, columns: int, augment: AugmentConfig, rate: float, seed: int
) -> Perturbation | None:
    """Draw gain and shift by column, masks [1] and noise; None if there are none.

    Unlike in [1], time is not warped. `rate`: frames a second.
    """
    import torch  # variants of recordings need no torch

    a = augment
    if not (a.gain or a.shift or a.time_masks or a.column_masks or a.jitter):
        return None
    generator = torch.Generator().manual_seed(seed)
    gain = torch.exp(augment.gain * torch.randn(columns, generator=generator))
    shift = augment.shift * torch.randn(columns, generator=generator)
    kept = torch.ones(frames, dtype=torch.bool), torch.ones(columns, dtype=torch.bool)
    longest = min(round(augment.time_mask_s * rate), frames)
    widest = round(augment.column_mask_share * columns)
    for count, axis, most, size in (
        (augment.time_masks, 0, longest, frames),
        (augment.column_masks, 1, widest, columns),
    ):
        for width, place in torch.rand(count, 2, generator=generator).tolist():
            length = int(width * (most + 1))
            kept[axis].narrow(0, int(place * (size - length + 1)), length).zero_()
    noise = torch.randn(frames, columns if augment.jitter else 1, generator=generator)
    return Perturbation(gain, shift, *kept, augment.jitter * noise)


def perturb(x: "Tensor", by: Perturbation) -> "Tensor":
    """Return features (..., F, D) with gain, shift and noise, and zeros where they are masked."""
    x = x * by.gain[..., None, :] + by.shift[..., None, :] + by.jitter
    return x.masked_fill(~(by.frames[..., None] & by.columns[..., None, :]), 0)


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
