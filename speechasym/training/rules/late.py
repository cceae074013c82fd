"""Errors of the top that are still to be delivered, because they are late by some steps."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from speechasym.levels.chain import Carry
from speechasym.training.checkpoints import with_prefix
from speechasym.training.rules.errors import TopError


class Kept(NamedTuple):
    """What is needed to compute the stages of a step again."""

    number: int
    carries: dict[int, Carry]  # inputs of the stages, by number
    buffers: dict[int, dict[str, Tensor]]  # of the stages, before the step
    top: TopError | None  # None: to be received from another process


def pack(late: Sequence[Kept]) -> dict[str, Tensor]:
    """Return steps that wait for their error as tensors, for a checkpoint."""
    result: dict[str, Tensor] = {}
    for place, kept in enumerate(late):
        result[f"late.{place}.number"] = torch.tensor(kept.number)
        for stage, carry in kept.carries.items():
            result |= {f"late.{place}.{stage}.x.{n}": t for n, t in carry.pack().items()}
            buffers = kept.buffers[stage].items()
            result |= {f"late.{place}.{stage}.buffer.{n}": t for n, t in buffers}
        if kept.top is not None:
            result |= {f"late.{place}.top.{n}": t for n, t in kept.top.pack().items()}
    return result


def unpack(
    tensors: Mapping[str, Tensor], stages: Sequence[int], slots: Mapping[str, int],
    device: torch.device,
) -> deque[Kept]:  # fmt: skip
    """Return what `pack` has packed, as far as it belongs to the stages."""
    late: deque[Kept] = deque()
    while f"late.{len(late)}.number" in tensors:
        table = {n: t.to(device) for n, t in with_prefix(tensors, f"late.{len(late)}.").items()}
        top = TopError.of(with_prefix(table, "top."), slots)
        carries = {stage: Carry.unpack(with_prefix(table, f"{stage}.x.")) for stage in stages}
        buffers = {stage: with_prefix(table, f"{stage}.buffer.") for stage in stages}
        late.append(Kept(int(table["number"]), carries, buffers, top))
    return late
