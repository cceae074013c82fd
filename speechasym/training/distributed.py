"""One run in several processes, as torchrun starts them: each has a share of every batch.

Gradients are summed by hand, in one flat tensor: a parameter that no process used keeps no
gradient, and a flag to stop travels with them. So processes need no wrapper about the model.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn


class Team(NamedTuple):
    """The processes of a run."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0


@contextmanager
def team(device: torch.device) -> Iterator[Team]:
    """The processes that torchrun started: nccl for CUDA devices, gloo for the CPU."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield Team()
        return
    own = not dist.is_initialized()
    if own:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(dist.get_rank(), dist.get_world_size())
    finally:
        if own:
            dist.destroy_process_group()


def share(items: Sequence[int], team: Team) -> list[int]:
    """This process's part of a batch; empty where the batch has fewer than processes."""
    return list(items[team.rank :: team.size])


def same_start(model: nn.Module, team: Team) -> None:
    """Parameters and buffers of the first process in all."""
    if team.size > 1:
        for value in model.state_dict().values():
            dist.broadcast(value, 0)


def same_buffers(model: nn.Module, team: Team) -> None:
    """Buffers of the first process in all."""
    if team.size > 1:
        for value in model.buffers():
            dist.broadcast(value, 0)


def summed(model: nn.Module, numbers: Tensor, team: Team) -> Tensor:
    """Sum gradients over the processes in place, and these numbers (N,) with them -> (N,)."""
    if team.size == 1:
        return numbers
    parameters = [p for p in model.parameters() if p.requires_grad]
    used = torch.tensor([float(p.grad is not None) for p in parameters], device=numbers.device)
    parts = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
    flat = torch.cat([part.flatten().float() for part in parts] + [used, numbers.float()])
    dist.all_reduce(flat)
    count = len(parameters)
    marks = flat[len(flat) - count - len(numbers) : len(flat) - len(numbers)].tolist()
    place = 0
    for parameter, part, mark in zip(parameters, parts, marks, strict=True):
        size = part.numel()
        if mark:
            parameter.grad = flat[place : place + size].view_as(part).to(part.dtype)
        place += size
    return flat[len(flat) - len(numbers) :]


def from_first(numbers: Sequence[float], device: torch.device, team: Team) -> list[float]:
    """Numbers of the first process, in all."""
    if team.size == 1:
        return list(numbers)
    sent = torch.tensor(numbers, dtype=torch.float64, device=device)
    dist.broadcast(sent, 0)
    return sent.tolist()


def wait(team: Team) -> None:
    """Until all are here."""
    if team.size > 1:
        dist.barrier()
