"""Ways of training the same stack in one or several processes, and what each of them costs.

Each class is one process of a system.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

from recipes.claims.learning import stacks
from recipes.claims.learning.processes import Server
from recipes.claims.learning.stacks import Meter, Part, SavedMemory, Setup
from speechasym.training.distributed import ProcessGroup, sum_gradients

BATCHES = 4  # that take turns
RATE = 1e-3
SCHEDULES = {"1F1B": Schedule1F1B, "GPipe": ScheduleGPipe}


class Trainer(Server):
    """A process that trains a part of the stack.

    Args:
        own: levels of this process.
    """

    def __init__(self, rank: int, size: int, setup: Setup, own: range) -> None:
        self.rank, self.size, self.setup = rank, size, setup
        self.part = Part(stacks.build(setup), own)
        self.optimiser = torch.optim.AdamW(self.part.parameters(), RATE)
        self.batches = [stacks.batch(setup, number) for number in range(BATCHES)]
        self.meter = Meter()
        self.losses: list[float] = []

    def backward(self, features: Tensor, labels: Tensor) -> None:
        """Add the gradients of a batch (B, F, D), (B, L)."""
        raise NotImplementedError

    def run(self, steps: int) -> list[float]:
        """Train, and return the losses that this process has seen."""
        self.losses = []
        for number in range(steps):
            self.backward(*self.batches[number % BATCHES])
            with self._computing():
                self.optimiser.step()
                self.optimiser.zero_grad()
        return self.losses

    def timed(self, steps: int) -> dict[str, float]:
        """Return seconds of some steps, those of computing, and bytes sent a step."""
        self.run(1)  # to have the caches and the other processes awake
        self.meter = Meter()
        self._meet()
        began = time.perf_counter()
        self.run(steps)
        self._meet()
        seconds = time.perf_counter() - began
        return {
            "seconds": seconds, "busy": self.meter.busy, "sent": self.meter.sent / steps
        }  # fmt: skip

    def memory(self) -> int:
        """Return the peak of saved activations in a step, in bytes."""
        with SavedMemory(self.part.parameters()) as memory:
            self.run(1)
        return memory.peak

    def gradients(self) -> list[NDArray]:
        """Return the gradients of the first batch."""
        self.backward(*self.batches[0])
        found = [p.grad.clone().numpy() for p in self.part.parameters() if p.grad is not None]
        self.optimiser.zero_grad()
        return found

    def _computing(self) -> AbstractContextManager[None]:
        return self.meter.computing()

    def _meet(self) -> None:
        if self.size > 1:
            dist.barrier()


class Backprop(Trainer):
    """Backpropagation through the whole stack; several processes share each batch."""

    def __init__(self, rank: int, size: int, setup: Setup) -> None:
        super().__init__(rank, size, setup, range(setup.levels))

    def backward(self, features: Tensor, labels: Tensor) -> None:
        """Add the gradients of this process's share of a batch, and sum over processes."""
        with self._computing():
            own = slice(self.rank, None, self.size)
            loss = stacks.loss(self.part(features[own]), labels[own])
            (loss / self.size).backward()
        self.losses.append(loss.item())
        group = ProcessGroup(self.rank, self.size)
        sum_gradients(self.part, torch.zeros(0), group)
        gradients = [p.grad for p in self.part.parameters() if p.grad is not None]
        if self.size > 1:  # a ring sends each part of the sum almost twice
            self.meter.sends(gradients * 2)
            self.meter.sent = round(self.meter.sent * (self.size - 1) / self.size)


class Pipelined(Trainer):
    """Backpropagation in which each process has a part of the stack, by torch's pipelining.

    Args:
        schedule: one of SCHEDULES.
        microbatches: into which a batch is divided.
    """

    def __init__(
        self, rank: int, size: int, setup: Setup, schedule: str, microbatches: int
    ) -> None:
        super().__init__(rank, size, setup, stacks.split(setup.levels, size)[rank])
        stage = _Stage(self.part, rank, size, torch.device("cpu"))
        stage.trainer = self

        def loss(log_probs: Tensor, labels: Tensor) -> Tensor:
            with self._computing():
                return stacks.loss(log_probs, labels)

        make: Callable[..., Any] = SCHEDULES[schedule]
        self.schedule = make(stage, microbatches, loss)

    def backward(self, features: Tensor, labels: Tensor) -> None:
        """Add the gradients: the first process reads features, the last one labels."""
        losses: list[Tensor] = []
        inputs = (features,) if self.rank == 0 else ()
        outputs: dict[str, Any] = {}
        if self.rank == self.size - 1:
            outputs = {"target": labels, "losses": losses}
        self.schedule.step(*inputs, return_outputs=False, **outputs)
        if losses:
            self.losses.append(torch.stack(losses).mean().item())


class _Stage(PipelineStage):
    """A stage whose process measures computing and sending."""

    trainer: Pipelined

    def forward_one_chunk(self, *arguments: Any, **options: Any) -> Any:
        with self.trainer._computing():
            return super().forward_one_chunk(*arguments, **options)

    def backward_one_chunk(self, *arguments: Any, **options: Any) -> Any:
        with self.trainer._computing():
            return super().backward_one_chunk(*arguments, **options)

    def get_fwd_send_ops(self, fwd_chunk_id: int) -> Any:
        ops = super().get_fwd_send_ops(fwd_chunk_id)
        self.trainer.meter.sends(op.tensor for op in ops)
        return ops

    def get_bwd_send_ops(self, bwd_chunk_id: int) -> Any:
        ops = super().get_bwd_send_ops(bwd_chunk_id)
        self.trainer.meter.sends(op.tensor for op in ops)
        return ops
