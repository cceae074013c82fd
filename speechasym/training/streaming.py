"""Batches of a dataset one after another, computed ahead of time by torch's data loader.

Workers change the time only: which cuts form a batch, and what it holds, is drawn by seed, epoch
and cut (`batches.epoch_batches`, `Dataset.batch`), and batches come in their order.
"""

import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing import get_context
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from speechasym.errors import OutputError, SpeechAsymError
from speechasym.levels.chain import Carry
from speechasym.training import batches
from speechasym.training.dataset import Dataset
from speechasym.training.distributed import ProcessGroup
from speechasym.training.on_device import ON_CPU, Batch, DeviceBatches
from speechasym.workers import interrupts_later, script_left_out, start_worker

log = logging.getLogger("speechasym")
# imported once, by the server that forks the workers
PRELOAD = ("torch", "lhotse", "speechasym.training.streaming")
ALONE = ProcessGroup()
Key = tuple[int | None, Sequence[int]]  # epoch (None: cuts unchanged), numbers of cuts


class Step(NamedTuple):
    """A batch, and what this process gets of it."""

    numbers: Sequence[int]  # of all its cuts
    labels: dict[str, int]  # {head: labels} of all its cuts
    batch: Batch | None  # this process's share, if any
    skipped: dict[str, str]  # {cut: why it cannot be read}
    waited: float = 0.0  # s that this process waited for the batch
    carry: Carry | None = None  # what the part below has made of it, see `parallel`
    signs: tuple[float, float] | None = None  # that came with it, see `Task`


class _Steps(TorchDataset[Step | SpeechAsymError]):
    """Steps by key, as torch's data loader asks for them."""

    def __init__(self, data: Dataset, group: ProcessGroup) -> None:
        self.data = data
        self.group = ProcessGroup(group.rank, group.size)  # workers cannot hold torch's groups

    def __getitem__(self, key: Key) -> Step | SpeechAsymError:
        epoch, numbers = key
        local = numbers[self.group.rank :: self.group.size]
        skipped: dict[str, str] = {}
        skips = skipped if self.data.config.unreadable == "skip" else None
        try:
            batch = self.data.batch(local, epoch, skips) if local else None
            if batch is not None and len(batch.ids) == len(numbers):
                labels = {head: int(counts.sum()) for head, (_, counts) in batch.targets.items()}
            else:
                labels = self.data.count_labels(numbers, epoch)
        except SpeechAsymError as error:  # returned, because torch would lose its arguments
            return error
        return Step(numbers, labels, batch if batch and batch.ids else None, skipped)


def steps(
    data: Dataset,
    groups: Iterable[Sequence[int]],
    epoch: int | None = None,
    *,
    workers: int = 0,
    group: ProcessGroup = ALONE,
    device: DeviceBatches = ON_CPU,
) -> Iterator[Step]:
    """Yield a step for each group of cuts, of which each process of `group` gets its share.

    Args:
        epoch: that batches belong to; None: cuts unchanged.
        workers: processes that compute ahead, two batches each; 0: this process, when asked.
        device: brings batches to a device.

    Raises:
        AudioError: naming the cut; with `unreadable: skip` it is left out instead.
        OutputError: stored features are damaged, or the system ended a worker.
    """
    options: dict[str, Any] = {}
    if workers:
        context = get_context("forkserver" if os.name == "posix" else "spawn")
        if os.name == "posix":
            context.set_forkserver_preload(list(PRELOAD))
        options = {"multiprocessing_context": context, "worker_init_fn": _start_worker}
    loader = DataLoader(
        _Steps(data, group), batch_size=None, sampler=((epoch, list(g)) for g in groups),
        num_workers=workers, collate_fn=_unchanged, generator=torch.Generator(),
        pin_memory=device.stream is not None, **options,
    )  # fmt: skip
    with interrupts_later(), script_left_out():
        iterator = iter(loader)
    try:
        while True:
            start = time.monotonic()
            step = next(iterator, None)
            if step is None:
                return
            if isinstance(step, SpeechAsymError):
                raise step
            batch = None if step.batch is None else device.bring(step.batch)
            yield step._replace(batch=batch, waited=time.monotonic() - start)
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        problem = f"the system ended a process that computes features ({error})"
        remedy = "If memory is short, use fewer workers or lower batch_seconds, and then --resume"
        raise OutputError("data.workers", problem, remedy) from error
    finally:
        del iterator  # ends the workers


def in_order(
    data: Dataset, max_seconds: float, workers: int = 0, device: DeviceBatches = ON_CPU,
    epoch: int | None = None,
) -> Iterator[Batch]:  # fmt: skip
    """Yield batches of all cuts, those of similar length together; unchanged, or as in an epoch.

    Cuts that cannot be read are left out with a warning, or raise `AudioError`: see `steps`.
    """
    groups = batches.group_by_length(data.seconds.tolist(), max_seconds)
    for step in steps(data, groups, epoch, workers=workers, device=device):
        for why in step.skipped.values():
            log.warning("%s; it is left out", why)
        if step.batch is not None:
            yield step.batch


def _start_worker(_: int) -> None:
    start_worker(log.getEffectiveLevel())


def _unchanged(step: Any) -> Any:
    return step
