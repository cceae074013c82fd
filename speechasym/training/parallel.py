"""Block-parallel training: the blocks of a model divided among processes (C18).

Part 0 is the top: it sees the final error, and of replica 0 it writes the files. Activations travel
up from part to part. Nobody waits for what comes down: errors of the top, which are late by a fixed
number of steps, and gradients at occasional corrections. What a lower part learns in a step depends
on the step alone, not on the time at which a message arrives.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

from speechasym.errors import ConfigError
from speechasym.training.channels import End, Receiver, Sender, abandon, close
from speechasym.training.distributed import ProcessGroup

UP, ERRORS, BACK, STATE = range(1, 5)  # tags


def divide(costs: Sequence[float], parts: int) -> list[range]:
    """Divide blocks, from the lowest up, into consecutive parts of costs as equal as can be.

    Args:
        costs: of each block, such as its operations in a step.
        parts: how many.

    Returns the blocks of each part, part 0, the top, first. Raises `ConfigError` for more parts
    than blocks.

    Example:
        >>> divide([1, 1, 1, 3], 2)
        [range(3, 4), range(0, 3)]
    """
    blocks = len(costs)
    if parts > blocks:
        problem = f"{parts} parts are more than the {blocks} blocks of the model"
        remedy = f"Use {blocks} or fewer, or smaller blocks (learning.blocks)"
        raise ConfigError("learning.parts", problem, remedy)
    sums = [0.0]
    for cost in costs:
        sums.append(sums[-1] + cost)

    @cache
    def best(blocks: int, parts: int) -> tuple[float, tuple[int, ...]]:
        """Return the cost of the costliest part, and where the parts end."""
        if parts == 1:
            return sums[blocks], (blocks,)
        divisions = ((best(n, parts - 1), n) for n in range(parts - 1, blocks))
        return min((max(c, sums[blocks] - sums[n]), (*ends, blocks)) for (c, ends), n in divisions)

    ends = best(blocks, parts)[1]
    return [range(a, b) for a, b in zip((0, *ends), ends, strict=False)][::-1]


@dataclass
class Links:
    """The channels of a process to the other parts of its replica; None or empty where none is."""

    below: Receiver | None = None  # activations, from the part below
    above: Sender | None = None  # activations, to the part above
    errors: Receiver | None = None  # from the top, to every other part
    lower: list[Sender] = field(default_factory=list)  # errors of the top: to parts 1, 2 ...
    back_from: Receiver | None = None  # gradients, from the part above
    back_to: Sender | None = None  # gradients, to the part below
    to_first: Sender | None = None  # state, to the first process
    states: list[Receiver] = field(default_factory=list)  # of parts 1, 2 ..., in the first process

    @property
    def ends(self) -> list[End]:
        """All of them."""
        single = (self.below, self.above, self.errors, self.back_from, self.back_to, self.to_first)
        return [*(end for end in single if end is not None), *self.lower, *self.states]


@contextmanager
def connect(group: ProcessGroup, queue: int, device: torch.device) -> Iterator[Links]:
    """Open the channels of a process; nothing is left of them afterwards.

    `queue` messages, at least 1, may be on their way in each channel; received tensors go to the
    device, state stays on the CPU.
    """
    links = Links()
    if group.parts > 1:
        assert group.watch is not None
        watch, messages, base = group.watch, group.messages, group.rank * group.parts

        def sender(part: int, tag: int, queue: int = queue) -> Sender:
            return Sender(base + part, tag, queue, messages, watch)

        def receiver(
            part: int, tag: int, queue: int = queue, device: torch.device = device
        ) -> Receiver:
            return Receiver(base + part, tag, queue, messages, watch, device)

        lower = range(1, group.parts)
        if group.part:
            links.above = sender(group.part - 1, UP)
            links.back_from = receiver(group.part - 1, BACK)
            links.errors = receiver(0, ERRORS)
        else:
            links.lower = [sender(part, ERRORS) for part in lower]
        if group.part + 1 < group.parts:
            links.below = receiver(group.part + 1, UP)
            links.back_to = sender(group.part + 1, BACK)
        if group.is_first:
            cpu = torch.device("cpu")
            links.states = [receiver(part, STATE, 1, cpu) for part in lower]
        elif group.rank == 0:
            links.to_first = sender(0, STATE, 1)
    try:
        yield links
        close(links.ends)
    except BaseException:
        abandon(links.ends)
        raise


def gather(links: Links, step: int, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring the tensors that each part of the first replica owns after a step to the first process.

    Returns all of them there; elsewhere, its own. Lower parts do not wait for the others: they send
    a copy, and continue.
    """
    if links.to_first is not None:
        links.to_first.send({"step": step}, {n: t.detach().clone() for n, t in tensors.items()})
    whole = dict(tensors)
    for state in links.states:
        header, part = state.receive()
        assert header["step"] == step  # all parts save after the same steps
        whole |= part
    return whole
