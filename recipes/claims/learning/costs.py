"""What the scaling model is given: seconds of levels and head, and the connection's speed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from recipes.claims.learning import stacks
from recipes.claims.learning.processes import Server
from recipes.claims.learning.stacks import Part
from recipes.claims.learning.systems import RATE
from speechasym.training.distributed import ProcessGroup

REPEATS = 3
ROUND_TRIPS = 30


class Levels(Server):
    """One process that times each level of the stack by itself."""

    def __init__(self, group: ProcessGroup, setup: stacks.Setup) -> None:
        model = stacks.build(setup)
        self.setup, self.batch = setup, stacks.batch(setup, 0)
        self.optimiser = torch.optim.AdamW(model.parameters(), RATE)
        self.parts = [Part(model, range(n, n + 1)) for n in range(setup.levels)]

    def measure(self) -> dict[str, Any]:
        """Return seconds by batch size: `{n: {"first": [forward, backward], ...}}`, and updates."""
        sizes = sorted({self.setup.batch, *(max(1, self.setup.batch // k) for k in (2, 4, 8, 16))})
        seconds: dict[str, Any] = {}
        update = []
        for n in sizes:
            repeats = [self._pass(n) for _ in range(REPEATS + 1)][1:]  # the first to warm up
            seconds[str(n)] = {
                name: [median(r[name][k] for r in repeats) for k in (0, 1)] for name in repeats[0]
            }
        for _ in range(REPEATS):
            began = time.perf_counter()
            self.optimiser.step()
            update.append(time.perf_counter() - began)
        parameters = sum(p.numel() * p.element_size() for p in self.parts[1].parameters())
        return {
            "seconds": seconds, "update": median(update) / self.setup.levels,
            "parameters": parameters,
        }  # fmt: skip

    def _pass(self, n: int) -> dict[str, list[float]]:
        """Time one pass forward and backward of n utterances."""
        features, labels = (t[:n] for t in self.batch)
        inputs, outputs = [], []
        times: list[float] = []
        x = features
        for number, part in enumerate(self.parts):
            x = x.detach().requires_grad_(number > 0)
            inputs.append(x)
            with _timed(times):
                x = part(x)
            outputs.append(x)
        with _timed(times):
            loss = stacks.loss(x, labels)
        with _timed(times):
            (gradient,) = torch.autograd.grad(loss, x)
        loss_times = times[-2:]
        times, forward = [], times[:-2]
        for x, y in zip(reversed(inputs), reversed(outputs), strict=True):
            with _timed(times):
                torch.autograd.backward(y, gradient)
            if x.grad is not None:
                gradient = x.grad
        both = (forward, times[::-1])
        level = [median(one[1:-1]) for one in both]
        # the last level computes the head too
        head = [
            max(0.0, one[-1] - usual) + extra
            for one, usual, extra in zip(both, level, loss_times, strict=True)
        ]
        return {"first": [one[0] for one in both], "level": level, "head": head}


@contextmanager
def _timed(times: list[float]) -> Iterator[None]:
    """Append the seconds until the end."""
    began = time.perf_counter()
    yield
    times.append(time.perf_counter() - began)


class Connection(Server):
    """Two processes that send to and fro."""

    def __init__(self, group: ProcessGroup, setup: stacks.Setup) -> None:
        self.rank, self.numbers = group.rank, setup.boundary * setup.batch // 4

    def measure(self) -> dict[str, float]:
        """Return the latency in seconds, and bytes a second of what passes between two levels."""
        tiny, whole = torch.zeros(1), torch.zeros(self.numbers)
        latency = self._one_way(tiny)
        seconds = max(1e-9, self._one_way(whole) - latency)
        return {"latency": latency, "bandwidth": whole.numel() * 4 / seconds}

    def _one_way(self, tensor: Tensor) -> float:
        times = []
        for _ in range(ROUND_TRIPS):
            began = time.perf_counter()
            for sender in (0, 1):
                if self.rank == sender:
                    dist.send(tensor, 1 - sender)
                else:
                    dist.recv(tensor, sender)
            times.append((time.perf_counter() - began) / 2)
        return median(times)
