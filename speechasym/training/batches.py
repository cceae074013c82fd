"""Which cuts form a batch, repeatable by a seed; and padded labels."""

import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from speechasym.errors import ConfigError

BUCKETS = 10  # groups of cuts by duration; fewer if there are fewer cuts
BUFFER = 20_000  # cuts from which batches are drawn


@dataclass
class _StandIn:
    """What lhotse's sampler needs of a cut; it sets attributes of its own, too."""

    id: int
    duration: float


def check_longest(ids: Sequence[str], seconds: Sequence[float], max_seconds: float) -> None:
    """Raise `ConfigError` if a cut is longer than a batch."""
    longest = int(np.argmax(seconds))
    if seconds[longest] > max_seconds:
        cut = f"cut {ids[longest]} of {seconds[longest]:g} s"
        problem = f"{max_seconds:g} s is shorter than {cut}"
        raise ConfigError("batch_seconds", problem, "Raise it, or leave such cuts out")


def epoch_batches(
    seconds: Sequence[float], max_seconds: float, seed: int, epoch: int, first: int = 0
) -> Iterator[list[int]]:
    """Yield the numbers of the cuts of each batch of an epoch, from batch `first` on.

    lhotse's sampler draws cuts of similar duration from the seed and the epoch alone, so that an
    interrupted run resumes at the same batch. All processes of a run see the same batches, and
    share each among themselves. `max_seconds` includes padding. lhotse checks that one more cut
    like the longest so far would fit: if it draws a longer one, the batch exceeds the limit.
    """
    from lhotse.dataset import DynamicBucketingSampler

    order = np.arange(len(seconds))
    if len(order) > BUFFER:  # the sampler mixes only the cuts that are in its buffer
        np.random.default_rng((seed, epoch)).shuffle(order)
    cuts = _Lazy(order.tolist(), seconds)
    buckets = min(BUCKETS, len(order))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Your 'buffer_size' setting")
        sampler = DynamicBucketingSampler(
            cuts, max_duration=max_seconds, shuffle=True, seed=seed, num_buckets=buckets,
            buffer_size=BUFFER,
            duration_bins=[max_seconds] if buckets == 1 else None,
            world_size=1, rank=0,  # else lhotse would give each process batches of its own
        )  # fmt: skip
        if not sampler.duration_bins:  # one bucket was estimated; lhotse fails without any boundary
            sampler.duration_bins = [max_seconds]
        sampler.set_epoch(epoch)
        iterator = iter(sampler)
    for batch in itertools.islice(iterator, first, None):
        yield [cut.id for cut in batch]


@dataclass(frozen=True)
class _Lazy:
    order: Sequence[int]
    seconds: Sequence[float]

    def __iter__(self) -> Iterator[_StandIn]:
        return (_StandIn(number, self.seconds[number]) for number in self.order)


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
