"""One run in several processes, as torchrun starts them; each takes its share of every batch.

Gradients are summed by hand in one flat tensor: a parameter that no process used keeps no gradient,
and the request to stop travels along. So the model needs no wrapper.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import Store

from speechasym.errors import ConfigError, TrainingError
from speechasym.training import handshake
from speechasym.training.handshake import Facts
from speechasym.training.watch import REMEDY, Watch

LONG = timedelta(days=7)


class ProcessGroup(NamedTuple):
    """The processes of a run, as seen from one of them.

    Each replica, which takes a share of every batch, consists of `parts` processes, each with some
    blocks of the model (see `parallel`); processes of one replica have neighbouring ranks.
    """

    rank: int = 0  # of the replica
    size: int = 1  # replicas
    part: int = 0  # 0 is the top
    parts: int = 1
    replicas: Any = None  # torch's group of the processes with the same part; None: of all
    messages: Any = None  # torch's group for messages between parts
    watch: Watch | None = None  # over the processes, if there are parts

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0 and self.part == 0

    @property
    def alone(self) -> bool:
        """Whether this is the only process."""
        return self.size * self.parts == 1

    @property
    def position(self) -> int:
        """Rank among all processes."""
        return self.rank * self.parts + self.part


@contextmanager
def process_group(
    device: torch.device, parts: int = 1, facts: Callable[[], Facts] = dict, timeout_s: float = 60.0
) -> Iterator[ProcessGroup]:
    """Join the processes that torchrun started, by nccl for CUDA devices and gloo for the CPU.

    Args:
        device: that gradients are on.
        parts: processes that share the blocks of one replica of the model.
        facts: returns what must be the same in all processes.
        timeout_s: for all processes to come.

    Raises:
        ConfigError: a number of processes that is not a multiple of `parts`, a port in use, or
            facts that differ.
        TrainingError: a process does not come, or ends.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world % parts:
        problem = f"{parts} parts need a multiple of {parts} processes, but there are {world}"
        remedy = f"Use torchrun --nproc-per-node {parts}, or learning.parts=1"
        raise ConfigError("learning.parts", problem, remedy)
    if world < 2:
        yield ProcessGroup()
        return
    if dist.is_initialized():
        if parts > 1:
            problem = "processes of several parts must be joined by `train`"
            raise ConfigError("learning.parts", problem, "Do not call init_process_group before")
        yield ProcessGroup(dist.get_rank(), dist.get_world_size())
        return
    # Default arguments in this module are the group that exists when it is imported, and torch
    # imports it late, for deterministic algorithms: they would keep the group, and its threads.
    # A thread that is not done with its tensors when Python ends makes the process abort.
    from torch.distributed.nn import functional  # noqa: F401

    rank = int(os.environ["RANK"])
    store = handshake.open_store(rank, world, timeout_s)
    handshake.agree(store, rank, world, facts(), timeout_s)
    backend = "nccl" if device.type == "cuda" else "gloo"
    timeout = LONG if parts > 1 else None  # the watch notices what a timeout would
    dist.init_process_group(backend, timeout=timeout, store=store, rank=rank, world_size=world)
    group, failure = ProcessGroup(rank, world), None
    try:
        if parts > 1:
            group = _divided(store, rank, world, parts)
        yield group
    except BaseException as error:
        failure = error
        raise
    finally:
        if group.watch is not None:
            group.watch.close(failure)
        dist.destroy_process_group()


def _divided(store: Store, rank: int, world: int, parts: int) -> ProcessGroup:
    """Return the group of a process that has a part of a replica."""
    replicas: Any = None
    for part in range(parts):  # torch wants all processes to create all groups
        made = dist.new_group([*range(part, world, parts)], timeout=LONG)
        replicas = made if part == rank % parts else replicas
    messages = dist.new_group(backend="gloo", timeout=LONG)
    watch = Watch(store, rank, world, parts, os.environ.get("MASTER_ADDR", "localhost"))
    return ProcessGroup(
        rank // parts, world // parts, rank % parts, parts, replicas, messages, watch
    )


def broadcast(tensors: Iterable[Tensor], group: ProcessGroup) -> None:
    """Copy tensors of the first replica to all others, in place."""
    if group.size > 1:
        with _losses_named(group):
            for tensor in tensors:
                dist.broadcast(tensor, group.part, group.replicas)


def broadcast_numbers(
    numbers: Sequence[float], device: torch.device, group: ProcessGroup
) -> list[float]:
    """Return the numbers of the first process in all."""
    sent: list[float] = list(numbers)
    if not group.alone:
        with _losses_named(group):
            dist.broadcast_object_list(sent, 0, device=device)
    return sent


def sum_gradients(parameters: Sequence[Tensor], numbers: Tensor, group: ProcessGroup) -> Tensor:
    """Sum gradients over the replicas in place, and return the sums of `numbers` (N,)."""
    if group.size == 1:
        return numbers
    used = torch.tensor([float(p.grad is not None) for p in parameters], device=numbers.device)
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([part.flatten().float() for part in gradients] + [used, numbers.float()])
    with _losses_named(group):
        dist.all_reduce(flat, group=group.replicas)
    *summed, used, numbers = flat.split([*(g.numel() for g in gradients), len(used), len(numbers)])
    for parameter, gradient, total, count in zip(
        parameters, gradients, summed, used.tolist(), strict=True
    ):
        if count:
            parameter.grad = total.view_as(gradient).to(gradient.dtype)
    return numbers


def barrier(group: ProcessGroup) -> None:
    """Wait until all processes are here."""
    if not group.alone:
        with _losses_named(group):
            dist.barrier()


@contextmanager
def _losses_named(group: ProcessGroup) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        problem = "another process of the run has ended, or cannot be reached"
        if group.watch is not None:
            raise group.watch.explain(problem) from error
        raise TrainingError(f"process {group.position}", problem, REMEDY) from error
