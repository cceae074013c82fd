"""One run in several processes, as torchrun starts them; each takes its share of every batch.

Gradients are summed by hand in one flat tensor: a parameter that no process used keeps no gradient,
and the request to stop travels along. So the model needs no wrapper.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from speechasym.errors import TrainingError


class ProcessGroup(NamedTuple):
    """The processes of a run, as seen from one of them."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0


@contextmanager
def process_group(device: torch.device) -> Iterator[ProcessGroup]:
    """Join the processes that torchrun started, by nccl for CUDA devices and gloo for the CPU.

    After a failure torchrun starts all processes again, but by default it keeps its store, with the
    addresses of the dead ones. On one machine each attempt has keys of its own here; several
    machines count attempts differently and need TORCH_SHARE_RDZV_TCP_STORE=0 (recipes/cluster).
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield ProcessGroup()
        return
    joins = not dist.is_initialized()
    if joins:
        backend = "nccl" if device.type == "cuda" else "gloo"
        store, rank, size = next(rendezvous("env://"))
        if os.environ.get("GROUP_WORLD_SIZE") == "1":
            attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            store = PrefixStore(f"attempt {attempt}", store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size)
    try:
        yield ProcessGroup(dist.get_rank(), dist.get_world_size())
    finally:
        if joins:
            dist.destroy_process_group()


def broadcast(tensors: Iterable[Tensor], group: ProcessGroup) -> None:
    """Copy tensors of the first process to all, in place."""
    if group.size > 1:
        with _losses_named(group):
            for tensor in tensors:
                dist.broadcast(tensor, 0)


def broadcast_numbers(
    numbers: Sequence[float], device: torch.device, group: ProcessGroup
) -> list[float]:
    """Return the numbers of the first process in all."""
    sent: list[float] = list(numbers)
    if group.size > 1:
        with _losses_named(group):
            dist.broadcast_object_list(sent, 0, device=device)
    return sent


def sum_gradients(model: nn.Module, numbers: Tensor, group: ProcessGroup) -> Tensor:
    """Sum gradients over the processes in place, and return the sums of `numbers` (N,)."""
    if group.size == 1:
        return numbers
    parameters = [p for p in model.parameters() if p.requires_grad]
    used = torch.tensor([float(p.grad is not None) for p in parameters], device=numbers.device)
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([part.flatten().float() for part in gradients] + [used, numbers.float()])
    with _losses_named(group):
        dist.all_reduce(flat)
    *summed, used, numbers = flat.split([*(g.numel() for g in gradients), len(used), len(numbers)])
    for parameter, gradient, total, count in zip(
        parameters, gradients, summed, used.tolist(), strict=True
    ):
        if count:
            parameter.grad = total.view_as(gradient).to(gradient.dtype)
    return numbers


def barrier(group: ProcessGroup) -> None:
    """Wait until all processes are here."""
    if group.size > 1:
        with _losses_named(group):
            dist.barrier()


@contextmanager
def _losses_named(group: ProcessGroup) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        problem = "another process of the run has ended, or cannot be reached"
        remedy = "Look for its error; to continue, start all of them again with --resume"
        raise TrainingError(f"process {group.rank}", problem, remedy) from error
