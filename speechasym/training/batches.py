"""Which cuts form a batch: lhotse's sampler, repeatable by a seed and resumable in mid-epoch."""

import copy
import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from speechasym.config import check_count, check_range
from speechasym.errors import ConfigError

if TYPE_CHECKING:
    from lhotse import CutSet
    from lhotse.dataset import DynamicBucketingSampler


def sampler(
    cuts: "CutSet", max_seconds: float, shuffle: bool = True, seed: int = 0, buckets: int = 10
) -> "DynamicBucketingSampler":
    """Return lhotse's sampler of batches of similar duration; iterate it for one epoch.

    Pass its `state_dict()` to `resume` on an equal sampler for the rest of the epoch. Call
    `set_epoch(n)` for another order.

    Args:
        cuts: at least one.
        max_seconds: of audio in a batch, padding included. lhotse checks that one more cut like
            the longest so far would fit: if it draws a longer one, the batch exceeds the limit.
        shuffle: draw cuts and buckets at random, by `seed`.
        buckets: groups by duration; fewer if there are fewer cuts.

    Raises:
        ConfigError: no cuts, an invalid value, or (if cuts are in memory) one longer than a batch.
    """
    from lhotse.dataset import DynamicBucketingSampler

    check_range("max_seconds", max_seconds, "60", above=True)
    check_range("buckets", buckets, "1 or more", low=1)
    check_count("seed", seed, 0)
    buckets = sum(1 for _ in itertools.islice(cuts, buckets))
    if not buckets:
        raise ConfigError("cuts", "must not be empty", "Give at least one cut")
    if not cuts.is_lazy:
        check_longest(cuts, max_seconds, "max_seconds")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using DynamicBucketingSampler")
        batches = DynamicBucketingSampler(
            cuts, max_duration=max_seconds, shuffle=shuffle, seed=seed, num_buckets=buckets,
            duration_bins=[max_seconds] if buckets == 1 else None,
        )  # fmt: skip
    if not batches.duration_bins:  # one bucket was estimated; lhotse fails without any boundary
        batches.duration_bins = [max_seconds]
    return batches


def check_longest(cuts: "CutSet", max_seconds: float, key: str) -> None:
    """Raise `ConfigError` about `key` if a cut is longer than a batch."""
    longest = max(cuts, key=lambda cut: cut.duration)
    if longest.duration > max_seconds:
        problem = f"{max_seconds:g} s is shorter than cut {longest.id} of {longest.duration:g} s"
        raise ConfigError(key, problem, "Raise it, or leave such cuts out")


def resume(sampler: "DynamicBucketingSampler", state: Mapping[str, Any]) -> None:
    """Set a new sampler to where another one was, by its `state_dict()`.

    Unlike with lhotse's own method, `state` may come from JSON, and is not changed. The cuts and
    the arguments of the sampler must be those of the other one.
    """
    state = copy.deepcopy(dict(state))
    epochs = state["diagnostics"]["stats_per_epoch"]  # whose keys JSON has turned into strings
    state["diagnostics"]["stats_per_epoch"] = {int(epoch): epochs[epoch] for epoch in epochs}
    sampler.load_state_dict(state)


def epoch_batches(
    cuts: "CutSet", max_seconds: float, seed: int, epoch: int, first: int = 0
) -> Iterator[list[int]]:
    """Yield the indices of the cuts of each batch of an epoch, from batch `first` on.

    They are drawn from the seed and the epoch alone, so that an interrupted run resumes at the same
    batch. All processes of a run see the same batches, and share each among themselves.
    """
    batches = sampler(cuts, max_seconds, seed=seed)
    batches.world_size, batches.rank = 1, 0  # lhotse would give each process batches of its own
    batches.set_epoch(epoch)
    indices = {cut.id: index for index, cut in enumerate(cuts)}
    for batch in itertools.islice(batches, first, None):
        yield [indices[cut.id] for cut in batch]


def group_by_length(seconds: Sequence[float], max_seconds: float) -> list[list[int]]:
    """Return indices in batches, longest first: as many as fit with padding, at least one."""
    groups: list[list[int]] = []
    for number in sorted(range(len(seconds)), key=lambda n: (-seconds[n], n)):
        last = groups[-1] if groups else []
        if last and (len(last) + 1) * seconds[last[0]] <= max_seconds:
            last.append(number)
        else:
            groups.append([number])
    return groups


def pad_labels(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return labels (B, L) padded with 0, L at least 1, and their numbers (B,)."""
    lengths = torch.tensor([len(row) for row in rows])
    padded = torch.zeros(len(rows), max([1, *map(len, rows)]), dtype=torch.int64)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return padded, lengths
