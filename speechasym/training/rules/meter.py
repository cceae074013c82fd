"""Measures what each stage learns from, and what that costs: `learning.meter`, once an epoch (C18).

At the first step of an epoch, with the parameters before it, the batch is computed again by the
rule of the run and by backpropagation, stage by stage. The run itself is the same to the bit.
A line of metrics.jsonl holds `step`, `epoch`, and

    memory, memory_backprop   bytes, the most at any time of a step (see below)
    allocated, allocated_backprop   on CUDA: the most that torch has allocated beyond what it held
                              before the step: these, gradients and temporary values
    stages: for each one
        stage, level, blocks  its number, its level, and [first, one after the last] of its blocks
        cosine                between the gradient of the rule and the true one
        gradient, gradient_true   their norms, before they are clipped
        update                |change| / |parameters| in this step of the optimiser
        memory, memory_backprop   bytes, the most at any time of what was held first by this stage
        flops, flops_backprop  of its forward and backward pass
        sent                  bytes of its activations for the stage above, None for the top
        sent_back             bytes of their gradients, which only backpropagation sends down
        sent_error            bytes of the top's error that a broadcast brings to it

Gradients and updates are those of the model: the nets beside it do not count. The true gradient is
that of `backprop+inter`, or of `backprop` where that is the rule. The gradient of the rule is that
of its local steps, also where the step itself takes the true one; with a late broadcast it contains
the error that arrives in this step.
Several processes with shares of a batch: the first one measures its own share.

Memory: counted are the storages of tensors that autograd saves for the backward pass, from when
they are saved until autograd lets them go, and of what the rule keeps between stages: inputs of
stages, errors that are to be broadcast. Each storage counts once and as a whole; parameters,
buffers, gradients and temporary values do not. A rule that takes the true gradient now and then
counts with the dearer of both steps. `memory_backprop` is of backpropagation without nets.

FLOPs: two for a multiplication and addition in matrix products, dense convolutions and attention,
by the formulas of torch. Element by element operations, norms, depthwise convolutions, scans, the
competition of units and CTC are not counted.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from speechasym.levels import chain
from speechasym.levels.chain import Carry, Stage
from speechasym.training.rules import nets
from speechasym.training.rules.errors import Task, TopError, model_errors
from speechasym.training.rules.gradients import backward, cosine
from speechasym.training.rules.learner import Learner

_aten = torch.ops.aten
FLOPS = flop_registry | {  # attention on the CPU, for which torch has no formula of its own
    _aten._scaled_dot_product_flash_attention_for_cpu: (
        flop_registry[_aten._scaled_dot_product_flash_attention]
    ),
    _aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        flop_registry[_aten._scaled_dot_product_flash_attention_backward]
    ),
}


class _Saved:
    """A tensor that autograd has saved; its end is seen."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class Held:
    """Counts the bytes of storages that are held, each once, by the stage that held it first.

    `ignored`: tensors whose storages do not count.

    Example:
        >>> held = Held(model.parameters())
        >>> with held.saving():
        ...     loss(model(x)).backward()
        >>> held.most
    """

    def __init__(self, ignored: Iterable[Tensor] = ()) -> None:
        self.stage = 0
        self.now = self.most = 0
        self.most_of: Counter[int] = Counter()
        self._now_of: Counter[int] = Counter()
        self._holders: Counter[int] = Counter()
        self._storages: dict[int, tuple[int, int]] = {}  # address -> stage, bytes
        self._ignored = {tensor.untyped_storage().data_ptr() for tensor in ignored}

    def hold(self, owner: object, tensor: Tensor) -> None:
        """Count a tensor's storage until `owner` ceases to exist."""
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        if not size or address in self._ignored:
            return
        self._holders[address] += 1
        if self._holders[address] == 1:
            stage = self.stage
            self._storages[address] = stage, size
            self.now += size
            self._now_of[stage] += size
            self.most = max(self.most, self.now)
            self.most_of[stage] = max(self.most_of[stage], self._now_of[stage])
        weakref.finalize(owner, self._release, address).atexit = False

    def _release(self, address: int) -> None:
        self._holders[address] -= 1
        if not self._holders[address]:
            stage, size = self._storages.pop(address)
            self.now -= size
            self._now_of[stage] -= size

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Count what autograd saves within the block."""

        def pack(tensor: Tensor) -> _Saved:
            saved = _Saved(tensor)
            self.hold(saved, tensor)
            return saved

        with saved_tensors_hooks(pack, lambda saved: saved.tensor):
            yield


class Flops(TorchDispatchMode):
    """Counts the FLOPs within the block, in `of` by the stage that `held` is at.

    Example:
        >>> with Flops() as flops:
        ...     loss(model(x)).backward()
        >>> flops.of.total()
    """

    def __init__(self, held: Held | None = None) -> None:
        super().__init__()
        self.held, self.of = held or Held(), Counter[int]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if (formula := FLOPS.get(func._overloadpacket)) is not None:
            self.of[self.held.stage] += int(formula(*args, **(kwargs or {}), out_val=out))
        return out


class _Pass:
    """Observes a pass over the stages; `carries`: whether what they receive is kept for them."""

    def __init__(self, learner: Learner, carries: bool) -> None:
        model = learner.model
        self.held = Held([*model.parameters(), *model.buffers()])
        self.flops = Flops(self.held)
        self.carries = carries
        self.error_bytes = 0
        self.allocated: int | None = None

    def enters(self, stage: Stage, carry: Carry) -> None:
        self.held.stage = stage.number
        if self.carries:
            for tensor in carry.pack().values():
                self.held.hold(tensor, tensor)

    def broadcasts(self, top: TopError) -> None:
        received = [top.error, top.start, top.log_probs]
        for values in received:
            for tensor in values.values():
                self.held.hold(tensor, tensor)
        self.error_bytes = sum(_bytes(values.values()) for values in received)


class Boundary(NamedTuple):
    """What backpropagation sends between a stage and the one above it, bytes."""

    sent: int
    sent_back: int


def measure(learner: Learner, task: Task) -> dict[str, Any]:
    """Measure all stages in a step that is still to be taken, as described above.

    `updates` adds the updates. The learner, its model and gradients are as before afterwards.

    Example:
        >>> line = measure(run.learner, task)
        >>> line["stages"][0]["cosine"]
    """

    def by_rule() -> object:
        if learner.by_stages:
            return learner.local_gradient(task)
        if learner.rule.recompute:
            return learner.true_gradient(task)
        return learner.loss(task)[0].backward()

    staged = learner.by_stages or learner.rule.recompute  # one stage at a time
    own, found = _observed(learner, by_rule, carries=staged)
    dearest = [own]
    if learner.by_stages and learner.rule.share != 0:
        dearest.append(_observed(learner, lambda: learner.true_gradient(task), carries=True)[0])
    boundaries: list[Boundary] = []
    plain: _Pass | None = None
    try:
        plain, true = _observed(
            learner, lambda: boundaries.extend(backpropagate(learner, task)), carries=False
        )
    except torch.OutOfMemoryError:  # the rule may well need less than backpropagation
        true = learner.stage_gradients(lambda: learner.true_gradient(task))
    line: dict[str, Any] = {
        "memory": max(each.held.most for each in dearest),
        "memory_backprop": plain and plain.held.most,
    }
    if learner.device.type == "cuda":
        line["allocated"] = max(each.allocated or 0 for each in dearest)
        line["allocated_backprop"] = plain and plain.allocated
    seen = own if staged else plain
    rows = []
    for stage in learner.stages:
        n, top = stage.number, stage == learner.stages[-1]
        boundary = boundaries[n] if boundaries and not top else None
        rows.append({
            "stage": n, "level": stage.level, "blocks": [stage.first, stage.last],
            "cosine": cosine(found[n], true[n]),
            "gradient": _norm(found[n]), "gradient_true": _norm(true[n]),
            "memory": seen and seen.held.most_of[n],
            "memory_backprop": plain and plain.held.most_of[n],
            "flops": seen and seen.flops.of[n],
            "flops_backprop": plain and plain.flops.of[n],
            "sent": boundary and boundary.sent,
            "sent_back": boundary and boundary.sent_back,
            "sent_error": 0 if top else own.error_bytes,
        })  # fmt: skip
    return line | {"stages": rows}


@contextmanager
def updates(learner: Learner, line: Mapping[str, Any] | None) -> Iterator[None]:
    """Add to the stages of a line how much the block changes their parameters, if there is one."""
    if line is None:
        yield
        return
    before = [
        {name: tensor.detach().clone() for name, tensor in nets.without_nets(own).items()}
        for own in learner.own
    ]
    yield
    for row, own, old in zip(line["stages"], learner.own, before, strict=True):
        change = _norm({name: own[name].detach() - tensor for name, tensor in old.items()})
        row["update"] = change / (_norm(old) or 1.0)


def backpropagate(learner: Learner, task: Task) -> list[Boundary]:
    """Add the true gradient with the graphs of all stages held at once, as backpropagation does.

    Returns what crosses each boundary between stages.
    """
    assert task.batch is not None
    probes = [] if learner.by_stages else learner.probes
    carry = chain.first_carry(learner.hierarchy, task.batch.features, task.batch.lengths)
    graphs: list[tuple[Carry, Carry, Tensor]] = []
    boundaries: list[Boundary] = []
    for stage in learner.stages:
        below = carry.detached()
        for tensor, sent in zip(below.tensors(), carry.tensors(), strict=True):
            tensor.requires_grad_(sent.requires_grad)
        output = learner.run_stage(stage, below, task.number, probes)
        carry = output.carry
        graphs.append((below, carry, model_errors(output, task, learner.config)[0]))
        del output
    gradients: list[Tensor | None] = []
    for stage in reversed(learner.stages):
        below, above, loss = graphs.pop()
        if learner.observer is not None:
            learner.observer.enters(stage, below)
        gradients = backward(below, above, loss, gradients)
        sent_back = _bytes(g for g in gradients if g is not None)
        boundaries.insert(0, Boundary(_bytes(below.pack().values()), sent_back))
    return boundaries[1:]  # without the features


def _observed(
    learner: Learner, compute: Callable[[], object], carries: bool
) -> tuple[_Pass, list[dict[str, Tensor]]]:
    """Return what was seen while gradients were computed, and the gradients by stage."""
    seen = _Pass(learner, carries)
    cuda = learner.device.type == "cuda"

    def watched() -> None:
        before = 0
        if cuda:
            torch.cuda.reset_peak_memory_stats(learner.device)
            before = torch.cuda.memory_allocated(learner.device)
        for kept in learner.late:
            for tensor in [t for carry in kept.carries.values() for t in carry.pack().values()]:
                seen.held.hold(tensor, tensor)
            assert kept.top is not None  # this process computes all stages
            seen.broadcasts(kept.top)
        with seen.held.saving(), seen.flops:
            compute()
        if cuda:
            seen.allocated = torch.cuda.max_memory_allocated(learner.device) - before

    learner.observer = seen
    try:
        return seen, learner.stage_gradients(watched)
    finally:
        learner.observer = None


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)


def _norm(tensors: Mapping[str, Tensor]) -> float:
    return sum(float(tensor.square().sum()) for tensor in tensors.values()) ** 0.5
