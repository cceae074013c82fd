"""Block-parallel training: the blocks of a model divided among processes (C18).

Part 0 is the top: it sees the final error, and of replica 0 it writes the files. Activations travel
up from part to part. Nobody waits for what comes down: errors of the top, which are late by a fixed
number of steps, and gradients at occasional corrections. What a lower part learns in a step depends
on the step alone, not on the time at which a message arrives.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from speechasym.errors import ConfigError
from speechasym.levels.chain import Carry, Stage
from speechasym.levels.config import HierarchyConfig
from speechasym.training.channels import End, Receiver, Sender, abandon, close
from speechasym.training.checkpoints import with_prefix
from speechasym.training.distributed import ProcessGroup
from speechasym.training.on_device import Batch
from speechasym.training.rules.errors import Task, TopError
from speechasym.training.streaming import Step

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


def costs(
    config: HierarchyConfig, stages: Sequence[Stage], parameters: Sequence[int]
) -> list[float]:
    """Return about how long stages take, from their parameters and their steps a frame."""
    steps, rate = [], 1.0
    for level in config.levels:
        steps.append(rate := rate / level.stride)
        rate *= level.keep if level.events != "none" else 1.0
    return [size * steps[stage.level] for stage, size in zip(stages, parameters, strict=True)]


@dataclass
class Links:
    """The channels of a process to the other parts of its replica; None or empty where none is."""

    below: Receiver | None = None  # activations, from the part below
    above: Sender | None = None  # activations, to the part above
    errors: Receiver | None = None  # from the top, to every other part
    lower: list[Sender] = field(default_factory=list)  # errors of the top: to parts 1, 2 ...
    received: dict[int, TopError] = field(default_factory=dict)  # by step; may be needed again
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
def connect(group: ProcessGroup, queue: int, staleness: int = 0) -> Iterator[Links]:
    """Open the channels of a process; nothing is left of them afterwards.

    `queue` messages of activations, at least 1, may be on their way from part to part. Errors are
    `staleness` steps late: as many must fit, or parts would wait for each other.
    """
    links = Links()
    if group.parts > 1:
        assert group.watch is not None
        watch, messages, base = group.watch, group.messages, group.rank * group.parts

        def sender(part: int, tag: int, queue: int = queue) -> Sender:
            return Sender(base + part, tag, queue, messages, watch)

        def receiver(part: int, tag: int, queue: int = queue) -> Receiver:
            return Receiver(base + part, tag, queue, messages, watch)

        errors, states = queue + staleness + 1, 2 + queue * group.parts
        lower = range(1, group.parts)
        if group.part:
            links.above = sender(group.part - 1, UP)
            links.back_from = receiver(group.part - 1, BACK)
            links.errors = receiver(0, ERRORS, errors)
        else:
            links.lower = [sender(part, ERRORS, errors) for part in lower]
        if group.part + 1 < group.parts:
            links.below = receiver(group.part + 1, UP)
            links.back_to = sender(group.part + 1, BACK)
        if group.is_first:
            links.states = [receiver(part, STATE, states) for part in lower]
        elif group.rank == 0:
            links.to_first = sender(0, STATE, states)
    try:
        yield links
        close(links.ends)
    except BaseException:
        abandon(links.ends)
        raise


def hand_on(links: Links, carry: Carry | None, task: Task) -> None:
    """Send a batch and what its first stages have made of it to the part above, if there is one.

    `carry` is None for a process that has no share in the batch.
    """
    if links.above is None:
        return
    header = {"number": task.number, "labels": dict(task.totals), "signs": task.signs,
              "skipped": dict(task.skipped), "ids": None}  # fmt: skip
    tensors: dict[str, Tensor] = {}
    if carry is not None and (batch := task.batch) is not None:
        header["ids"] = batch.ids
        tensors = {f"carry.{name}": value for name, value in carry.pack().items()}
        tensors["lengths"] = batch.lengths
        for head, (labels, counts) in batch.targets.items():
            tensors |= {f"labels.{head}": labels, f"counts.{head}": counts}
        if batch.frame_labels is not None:
            tensors["frame_labels"] = batch.frame_labels
    links.above.send(header, tensors)


def steps_from_below(
    below: Receiver, groups: Iterable[Sequence[int]], device: torch.device
) -> Iterator[Step]:
    """Yield a step for each group of cuts, as the part below hands it on; see `hand_on`."""
    for numbers in groups:
        start = time.monotonic()
        header, tensors = below.receive()
        batch = carry = None
        if header["ids"] is not None:
            carry = Carry.unpack(moved(with_prefix(tensors, "carry."), device))
            labels, counts = with_prefix(tensors, "labels."), with_prefix(tensors, "counts.")
            frames = tensors.get("frame_labels")
            batch = Batch(
                header["ids"], torch.zeros(len(header["ids"]), 0, 0, device=device),
                tensors["lengths"].to(device), {h: (labels[h], counts[h]) for h in labels},
                None if frames is None else frames.to(device),
            )  # fmt: skip
        waited = time.monotonic() - start
        yield Step(
            numbers, header["labels"], batch, header["skipped"], waited, carry, header["signs"]
        )


def moved(tensors: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Return tensors on a device."""
    return {name: value.to(device) for name, value in tensors.items()}


def send_error(links: Links, number: int, top: TopError) -> None:
    """Send the error of the top after a step to all other parts."""
    for lower in links.lower:
        lower.send({"number": number}, top.pack())


def receive_error(
    links: Links, number: int, slots: Mapping[str, int], device: torch.device
) -> TopError:
    """Wait for the error of the top after a step."""
    assert links.errors is not None
    while number not in links.received:
        header, tensors = links.errors.receive()
        links.received[header["number"]] = TopError.of(moved(tensors, device), slots)
    for earlier in [n for n in links.received if n < number]:
        del links.received[earlier]
    return links.received[number]


def send_back(links: Links, gradients: Sequence[Tensor | None]) -> None:
    """Send the gradient of what the part below has handed on, if there is one."""
    if links.back_to is not None:
        links.back_to.send(
            {"number": len(gradients)},
            {str(n): value for n, value in enumerate(gradients) if value is not None},
        )


def receive_back(links: Links, device: torch.device) -> list[Tensor | None]:
    """Wait for the gradient of what was handed on; empty at the top."""
    if links.back_from is None:
        return []
    header, tensors = links.back_from.receive()
    tensors = moved(tensors, device)
    return [tensors.get(str(n)) for n in range(header["number"])]


def gather_numbers(links: Links, numbers: Sequence[float]) -> list[float]:
    """Return the numbers of all parts in the first process, the lowest first; elsewhere its own."""
    if links.to_first is not None:
        links.to_first.send({"numbers": list(numbers)}, {})
    parts = [state.receive().header["numbers"] for state in links.states]
    return [number for part in [*reversed(parts), numbers] for number in part]


class Report(NamedTuple):
    """What a step has given at the stages of a process, from the lowest."""

    rows: Tensor  # (stages, 1 + parts of the loss): loss and its parts
    norms: Tensor  # (N,) of the gradients
    widths: Tensor  # (N,) scales of hysteresis
    left_out: dict[str, list[str]]  # {head: cuts}


def gather_report(links: Links, report: Report) -> Report:
    """Return the report of all stages in the first process; elsewhere its own."""
    if links.to_first is not None:
        tensors = {"rows": report.rows, "norms": report.norms, "widths": report.widths}
        links.to_first.send({"left_out": report.left_out}, tensors)
    if not links.states:
        return report
    messages = [state.receive() for state in reversed(links.states)]
    left_out: dict[str, list[str]] = {}
    for cuts in [*(message.header["left_out"] for message in messages), report.left_out]:
        left_out |= cuts
    device = report.rows.device
    rows, norms, widths = (
        torch.cat([*(message.tensors[name].to(device) for message in messages), mine])
        for name, mine in zip(("rows", "norms", "widths"), report[:3], strict=True)
    )
    return Report(rows, norms, widths, left_out)


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
