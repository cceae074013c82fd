"""Ways of training the same stack in one or several processes, and what each of them costs.

Each class is one process of a system.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from itertools import repeat
from typing import Any

import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

from recipes.claims.learning import stacks
from recipes.claims.learning.processes import Server
from recipes.claims.learning.stacks import Meter, Part, Setup
from speechasym.training import models, parallel
from speechasym.training.config import DataConfig, LearningConfig, TrainConfig
from speechasym.training.distributed import ProcessGroup, sum_gradients
from speechasym.training.on_device import Batch
from speechasym.training.rules.errors import Task
from speechasym.training.rules.learner import Learner
from speechasym.training.rules.meter import Held
from speechasym.training.streaming import Step

BATCHES = 4  # that take turns
RATE = 1e-3
SCHEDULES = {"1F1B": Schedule1F1B, "GPipe": ScheduleGPipe}


class Trainer(Server, ABC):
    """A process that trains some parameters: those of the stack, or of a part of it."""

    def __init__(self, group: ProcessGroup, setup: Setup, parameters: Iterable[Tensor]) -> None:
        self.group, self.setup, self.parameters = group, setup, list(parameters)
        self.optimiser = torch.optim.AdamW(self.parameters, RATE)
        self.batches = [stacks.batch(setup, number) for number in range(BATCHES)]
        self.meter = Meter()
        self.losses: list[float] = []

    @abstractmethod
    def backward(self, features: Tensor, labels: Tensor) -> None:
        """Add the gradients of a batch (B, F, D), (B, L)."""

    def run(self, steps: int) -> list[float]:
        """Train, and return the losses that this process has seen."""
        self.losses = []
        for number in range(steps):
            self.backward(*self.batches[number % BATCHES])
            with self._computing():
                self.optimiser.step()
                self.optimiser.zero_grad()
        return self.losses

    def timed(self, steps: int) -> dict[str, Any]:
        """Return seconds of some steps, those of computing and waiting, and bytes sent a step."""
        self._meet()
        self.run(1)  # to have the caches and the other processes awake
        # from here on by the process's own clock: it may be ahead of others by the same time at the
        # end as at the beginning, and so the filling of a queue does not count
        self.meter = Meter()
        began = time.perf_counter()
        self.run(steps)
        seconds = time.perf_counter() - began
        self._meet()
        meter = self.meter
        return {
            "seconds": seconds, "busy": meter.busy, "waited": meter.waited,
            "sent": meter.sent / steps,
        }  # fmt: skip

    def memory(self) -> int:
        """Return the peak of saved activations in a step, in bytes."""
        held = Held(self.parameters)
        with held.saving():
            self.run(1)
        return held.most

    def gradients(self) -> list[NDArray]:
        """Return the gradients of the first batch."""
        self.backward(*self.batches[0])
        found = [p.grad.clone().numpy() for p in self.parameters if p.grad is not None]
        self.optimiser.zero_grad()
        return found

    def _computing(self) -> AbstractContextManager[None]:
        return self.meter.computing()

    def _meet(self) -> None:
        if not self.group.alone:
            dist.barrier()


class Backprop(Trainer):
    """Backpropagation through the whole stack; several processes share each batch."""

    def __init__(self, group: ProcessGroup, setup: Setup) -> None:
        self.module = Part(stacks.build(setup), range(setup.levels))
        super().__init__(group, setup, self.module.parameters())

    def backward(self, features: Tensor, labels: Tensor) -> None:
        """Add the gradients of this process's share of a batch, and sum over processes."""
        with self._computing():
            own = slice(self.group.rank, None, self.group.size)
            loss = stacks.loss(self.module(features[own]), labels[own])
            (loss / self.group.size).backward()
        self.losses.append(loss.item())
        sum_gradients(self.parameters, torch.zeros(0), self.group)
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if not self.group.alone:  # a ring sends each part of the sum almost twice
            self.meter.sends(gradients * 2)
            self.meter.sent = round(self.meter.sent * (self.group.size - 1) / self.group.size)


class Pipelined(Trainer):
    """Backpropagation in which each process has a part of the stack, by torch's pipelining.

    Args:
        schedule: one of SCHEDULES.
        microbatches: into which a batch is divided.
    """

    def __init__(self, group: ProcessGroup, setup: Setup, schedule: str, microbatches: int) -> None:
        part = Part(stacks.build(setup), stacks.split(setup.levels, group.size)[group.rank])
        super().__init__(group, setup, part.parameters())
        stage = _Stage(part, group.rank, group.size, torch.device("cpu"))
        stage.trainer = self

        def loss(log_probs: Tensor, labels: Tensor) -> Tensor:
            with self._computing():
                return stacks.loss(log_probs, labels)

        make: Callable[..., Any] = SCHEDULES[schedule]
        self.schedule = make(stage, microbatches, loss)

    def backward(self, features: Tensor, labels: Tensor) -> None:
        """Add the gradients: the first process reads features, the last one labels."""
        losses: list[Tensor] = []
        inputs = (features,) if self.group.rank == 0 else ()
        outputs: dict[str, Any] = {}
        if self.group.rank == self.group.size - 1:
            outputs = {"target": labels, "losses": losses}
        self.schedule.step(*inputs, return_outputs=False, **outputs)
        if losses:
            self.losses.append(torch.stack(losses).mean().item())


class Local(Trainer):
    """Levels that learn by a rule without backpropagation through the stack, as `train` does it.

    Args:
        rule: keys of `LearningConfig`.
    """

    divided = True

    def __init__(self, group: ProcessGroup, setup: Setup, rule: Mapping[str, Any]) -> None:
        model, device = stacks.build(setup), torch.device("cpu")
        learning = LearningConfig(parts=group.parts, **rule)
        config = TrainConfig(
            data=DataConfig(train="", dev=""), model=model.config, learning=learning
        )
        models.add_learning_nets(model, config)
        self.open = ExitStack()
        links = self.open.enter_context(parallel.connect(group, learning.queue, learning.staleness))
        self.learner = Learner(model, config, device, group, links)
        super().__init__(group, setup, self.learner.trained)
        self.number = 0
        self.below: Iterator[Step] | None = None
        if links.below is not None:
            self._times("below", links.below, "receive")
            self.below = parallel.steps_from_below(links.below, repeat(range(setup.batch)), device)
        if links.errors is not None:
            self._times("error", links.errors, "receive")
        for end in (links.above, *links.lower):
            if end is not None:
                self._times("queue", end, "send")

    def backward(self, features: Tensor, labels: Tensor) -> None:
        """Add the gradients of the levels' own errors."""
        if self.below is None:
            lengths, counts = (torch.full((len(t),), t.shape[1]) for t in (features, labels))
            names = [str(number) for number in range(len(features))]
            batch = Batch(names, features, lengths, {"phones": (labels, counts)})
            task = Task(batch, {"phones": labels.numel()}, 1.0, self.number)
        else:
            step = next(self.below)
            task = Task(step.batch, step.labels, 1.0, self.number, step.carry)
        self.number += 1
        waited = sum(self.meter.waited.values())
        with self._computing():
            loss, _, _ = self.learner.backward(task)
        self.meter.busy -= sum(self.meter.waited.values()) - waited
        self.losses.append(loss.item())

    def _times(self, name: str, end: Any, method: str) -> None:
        """Let a channel's method add the time that it takes, and the bytes that it sends."""
        call = getattr(end, method)

        def timed(*arguments: Any) -> Any:
            if method == "send":
                self.meter.sends(arguments[1].values())
            with self.meter.waiting(name):
                return call(*arguments)

        setattr(end, method, timed)


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
