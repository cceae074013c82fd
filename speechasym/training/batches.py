"""Batches, splits and augmentation of cuts: thin functions over lhotse, repeatable by a seed."""

import copy
import itertools
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from speechasym.config import check_seed
from speechasym.errors import ConfigError

if TYPE_CHECKING:
    from lhotse import CutSet
    from lhotse.dataset import DynamicBucketingSampler


def sampler(
    cuts: "CutSet",
    max_seconds: float,
    shuffle: bool = True,
    seed: int = 0,
    buckets: int = 10,
) -> "DynamicBucketingSampler":
    """Batches of cuts of similar duration, as lhotse's sampler: iterate it for one epoch.

    Its `state_dict()`, given to `resume` on a sampler made in the same way, goes on with the rest
    of the epoch. Call `set_epoch(n)` for another order.

    Args:
        cuts: at least one.
        max_seconds: of audio in a batch, padding included: number of cuts times the longest of
            them. lhotse asks whether one more cut like the longest so far would fit; where the one
            it then draws is longer, the batch is over the limit by what that adds.
        shuffle: draw cuts and buckets at random, by `seed`.
        buckets: groups by duration; fewer where there are fewer cuts.

    Raises:
        ConfigError: no cuts, a value that is not positive, or a cut longer than a batch may be
            (checked where the cuts are in memory).
    """
    from lhotse.dataset import DynamicBucketingSampler

    if not (math.isfinite(max_seconds) and max_seconds > 0):
        raise ConfigError("max_seconds", f"{max_seconds} is not a positive number", "Give s > 0")
    if buckets < 1:
        raise ConfigError("buckets", f"{buckets} is less than 1", "Use 1 or more")
    check_seed(seed)
    there = sum(1 for _ in itertools.islice(cuts, buckets))
    if not there:
        raise ConfigError("cuts", "there are none", "Give at least one cut")
    if not cuts.is_lazy:
        longest = max(cuts, key=lambda cut: cut.duration)
        if longest.duration > max_seconds:
            raise ConfigError(
                "max_seconds",
                f"{max_seconds:g} s are less than cut {longest.id} of {longest.duration:g} s",
                "Raise it, or filter such cuts out",
            )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using DynamicBucketingSampler")
        made = DynamicBucketingSampler(
            cuts,
            max_duration=max_seconds,
            shuffle=shuffle,
            seed=seed,
            num_buckets=min(buckets, there),
            duration_bins=[max_seconds] if min(buckets, there) == 1 else None,
        )
    if not made.duration_bins:  # one bucket was estimated; lhotse fails without any boundary
        made.duration_bins = [max_seconds]
    return made


def resume(sampler: "DynamicBucketingSampler", state: Mapping[str, Any]) -> None:
    """Set a new sampler to where another one was, by its `state_dict()`.

    Unlike with lhotse's own method, `state` may come from JSON, and stays as it is. The cuts, and
    the values the sampler was made with, have to be those of the other one.
    """
    own = copy.deepcopy(dict(state))
    epochs = own["diagnostics"]["stats_per_epoch"]  # JSON has made strings of the epochs' numbers
    own["diagnostics"]["stats_per_epoch"] = {int(epoch): epochs[epoch] for epoch in epochs}
    sampler.load_state_dict(own)


def with_noise(
    cuts: "CutSet", noise_cuts: "CutSet", snr: float | tuple[float, float], seed: int
) -> "CutSet":
    """Mix noise into each cut; ids, durations and supervisions stay. Draw anew for each epoch.

    Args:
        cuts: speech; noise_cuts: noise at the same sample rate, repeated where it is shorter.
        snr: signal-to-noise ratio in dB, or the two ends of a range to draw from.
        seed: for the choice of the noise, its place and the ratio.

    Raises:
        ConfigError: no noise, another sample rate, or a ratio that is no number or range.
    """
    from lhotse import CutSet

    ends = list(snr) if isinstance(snr, Sequence) else [snr]
    if len(ends) not in (1, 2) or not all(map(math.isfinite, ends)) or ends != sorted(ends):
        raise ConfigError("snr", f"{snr} is no ratio or range", "Give dB, or (lowest, highest) dB")
    check_seed(seed)
    noise = list(noise_cuts)
    if not noise:
        raise ConfigError("noise_cuts", "there are none", "Give at least one cut of noise")
    rates = {cut.sampling_rate for cut in noise}
    for cut in cuts:
        if rates != {cut.sampling_rate}:
            raise ConfigError(
                "noise_cuts",
                f"{sorted(rates)} Hz, where cut {cut.id} has {cut.sampling_rate} Hz",
                f"Use noise_cuts.resample({cut.sampling_rate})",
            )
    mixed = cuts.mix(
        CutSet.from_cuts(noise),
        snr=snr,
        seed=seed,
        preserve_id="left",
        random_mix_offset=True,
    )
    return CutSet.from_cuts(mixed)  # drawn once: iterating twice gives the same


def with_speeds(cuts: "CutSet", factors: Iterable[float] = (0.9, 1.0, 1.1)) -> "CutSet":
    """Each cut at each speed, times of words and phones with it; ids of the new end in _spFACTOR.

    Args:
        factors: of speed, pitch changing too: 1.1 is faster and shorter. 1 keeps the cut.

    Raises:
        ConfigError: factors outside 0.5 to 2, repeated, or none.
    """
    from lhotse import CutSet

    speeds = list(factors)
    if not speeds or len(set(speeds)) < len(speeds):
        raise ConfigError("factors", f"{speeds} are none or repeated", "Give different factors")
    for speed in speeds:
        if not 0.5 <= speed <= 2:  # NaN too
            raise ConfigError("factors", f"{speed} is not from 0.5 to 2", "Use 0.9, 1.0, 1.1")
    return CutSet.from_cuts(
        cut if speed == 1 else cut.perturb_speed(speed) for speed in speeds for cut in cuts
    )
