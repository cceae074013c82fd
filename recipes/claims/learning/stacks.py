"""A stack of residual blocks of fixed shapes, its data, and meters of what training it costs.

Shapes: B batch, F frames, D columns or width, S steps, V classes.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speechasym.config import check_choice, check_count
from speechasym.levels import chain, ctc
from speechasym.levels.chain import Carry
from speechasym.levels.config import (
    BlockOptions,
    HeadConfig,
    HeadsConfig,
    HierarchyConfig,
    LevelConfig,
)
from speechasym.levels.events import Steps
from speechasym.levels.hierarchy import Hierarchy
from speechasym.training.parallel import divide

COLUMNS, SYMBOLS = 33, 39  # of compact features, and phones
STRIDE = 3


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The stack and its batches: what all systems share."""

    function: str = "attention"  # of every other residual block; the rest are feed-forward
    levels: int = 8
    pairs: int = 2  # of residual blocks in a level
    width: int = 84
    batch: int = 16  # utterances
    frames: int = 240  # of each utterance
    labels: int = 24  # of each utterance

    def __post_init__(self) -> None:
        check_choice("function", self.function, ("attention", "convolution", "statespace"))
        for name in ("levels", "pairs", "width", "batch", "frames", "labels"):
            check_count(name, getattr(self, name))

    @property
    def steps(self) -> int:
        """S of every level."""
        return -(-self.frames // STRIDE)

    @property
    def boundary(self) -> int:
        """Bytes of one utterance that pass from a level to the next."""
        return self.steps * self.width * 4


def build(setup: Setup) -> Hierarchy:
    """Return the stack, with the same parameters in each process; its head is on top."""
    levels = tuple(
        LevelConfig(
            width=setup.width, units=0,
            functions=(setup.function, "feedforward"), repeat=setup.pairs,
            block=BlockOptions(norm="pre", expansion=2), stride=STRIDE if number == 0 else 1,
        )
        for number in range(setup.levels)
    )  # fmt: skip
    heads = HeadsConfig(phones=HeadConfig(level=setup.levels - 1))
    torch.manual_seed(0)
    return Hierarchy(HierarchyConfig(levels=levels, heads=heads), COLUMNS, {"phones": SYMBOLS})


def batch(setup: Setup, number: int) -> tuple[Tensor, Tensor]:
    """Draw noise as features (B, F, D), and random labels (B, L), the same in each process."""
    generator = torch.Generator().manual_seed(number)
    features = torch.randn(setup.batch, setup.frames, COLUMNS, generator=generator)
    labels = torch.randint(1, SYMBOLS + 1, (setup.batch, setup.labels), generator=generator)
    return features, labels


def loss(log_probs: Tensor, labels: Tensor) -> Tensor:
    """Return the mean CTC loss of utterances from (B, S, V) and (B, L)."""
    lengths, counts = (torch.full((len(t),), t.shape[1]) for t in (log_probs, labels))
    return ctc.loss(log_probs, lengths, labels, counts)[0] / len(labels)


def split(levels: int, parts: int) -> list[range]:
    """Divide levels, from the lowest up, into parts as equal as can be; the head is on top.

    Raises `ConfigError` for more parts than levels.

    Example:
        >>> split(5, 2)
        [range(0, 3), range(3, 5)]
    """
    return divide([1.0] * (levels - 1) + [1.1], parts)[::-1]


class Part(nn.Module):
    """Consecutive levels of a stack."""

    def __init__(self, model: Hierarchy, own: range) -> None:
        super().__init__()
        self.levels = nn.ModuleList(model.levels[number] for number in own)  # of this process
        self.heads = model.heads if own.stop == len(model.levels) else None
        self.run = [(model, stage) for stage in chain.stages(model.config)[own.start : own.stop]]

    def forward(self, x: Tensor) -> Tensor:
        """Map x, features or what the part below passes on, to the latter or (B, S, V)."""
        carry = Carry(Steps.of_frames(x, torch.ones(x.shape[:2], dtype=torch.bool)))
        for model, stage in self.run:
            output = chain.run(model, stage, carry)
            carry = output.carry
        return output.heads["phones"][0] if output.heads else carry.x.y


class Meter:
    """Seconds in which a process computes, and bytes that it sends."""

    def __init__(self) -> None:
        self.busy, self.sent = 0.0, 0
        self.waited: dict[str, float] = {}  # seconds, by what for

    @contextmanager
    def waiting(self, name: str) -> Iterator[None]:
        """Add the time until the end to what was waited for `name`."""
        began = time.perf_counter()
        yield
        self.waited[name] = self.waited.get(name, 0.0) + time.perf_counter() - began

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Add the time until the end to `busy`."""
        began = time.perf_counter()
        yield
        self.busy += time.perf_counter() - began

    def sends(self, tensors: Iterable[Tensor]) -> None:
        """Add the tensors' bytes to `sent`."""
        self.sent += sum(t.numel() * t.element_size() for t in tensors)
