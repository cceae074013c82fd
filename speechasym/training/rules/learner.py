"""The gradients of a step by the learning rule of a run (C18).

By stages: each stage is computed from what the one below has handed on, without its gradient, and
its error is backpropagated through it at once, so that only one stage's activations are held at a
time. In the steps that take the true gradient, the inputs of all stages are kept, and stages are
computed again from the top down; likewise where the broadcast error of the top arrives. All that
is drawn at random depends on the seed, the step and the stage only, so that a stage computed again
is the same.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor, nn

from speechasym.levels import chain
from speechasym.levels.chain import Carry, Stage, StageOutput
from speechasym.levels.hierarchy import Hierarchy
from speechasym.training import distributed, losses, optimiser
from speechasym.training.config import TrainConfig
from speechasym.training.distributed import ProcessGroup
from speechasym.training.rules import nets
from speechasym.training.rules.errors import (
    Found,
    Task,
    TopError,
    feedback_error,
    model_errors,
    stage_errors,
)
from speechasym.training.rules.gradients import backward, cosine, gradients_aside
from speechasym.training.rules.nets import StageNets

FIRST_MIX, INERTIA = 0.5, 0.8  # of `mix: auto`: its start, and weight of what was measured before
LEAST_MIX = 1 / 64
ALONE = ProcessGroup()
FAR = 2**62  # frame beyond all


class Kept(NamedTuple):
    """What is needed to compute the stages of a step again."""

    number: int
    carries: list[Carry]  # inputs of the stages
    buffers: list[dict[str, Tensor]]  # of the stages, before the step
    top: TopError


class Observer(Protocol):
    """Sees what a step does, to measure it (`rules.meter`)."""

    def enters(self, stage: Stage, carry: Carry) -> None:
        """A stage is about to be computed."""

    def broadcasts(self, top: TopError) -> None:
        """The stages below are about to receive the error of the top."""


class Learner:
    """Computes the gradients of a run's steps.

    Args:
        model: on its device; by stages, with the nets of `nets.add_nets`.
        config: of the run.
        device: that the model is on.
        group: the processes that share each batch.
    """

    def __init__(
        self, model: nn.Module, config: TrainConfig, device: torch.device,
        group: ProcessGroup = ALONE,
    ) -> None:  # fmt: skip
        self.model, self.config, self.device, self.group = model, config, device, group
        self.rule = config.learning
        self.by_stages = self.rule.by_stages
        self.stages: tuple[Stage, ...] = ()
        self.probes: list[str] = []
        self.mix, self.due = FIRST_MIX, 0.0  # of `mix: auto`
        self.late: deque[Kept] = deque()
        self.observer: Observer | None = None
        if not isinstance(model, Hierarchy):
            return
        top = max(nets.level_of(model, name) for name in model.heads)
        if self.rule.rule == "backprop":
            self.probes = [name for name in model.heads if nets.level_of(model, name) < top]
        if self.rule.divides or self.rule.meter:
            self.stages = chain.stages(model.config, self.rule.blocks)
            if self.by_stages and not {"ctc", "framewise"} & set(self.rule.local):
                last = len(model.config.levels) - 1
                self.probes = [n for n in model.heads if nets.level_of(model, n) < last]
            self.own = self._tensors_by_stage(model.named_parameters())
            self.buffers = self._tensors_by_stage(model.named_buffers())

    def _tensors_by_stage(self, named: object) -> list[dict[str, Tensor]]:
        result: list[dict[str, Tensor]] = [{} for _ in self.stages]
        for name, tensor in cast("Iterator[tuple[str, Tensor]]", named):
            kind, _, rest = name.partition(".")
            config = self.hierarchy.config
            at = int(rest.partition(".")[0]) if kind == nets.NAME else (
                chain.stage_of(name, self.stages, config)
            )  # fmt: skip
            result[at][name] = tensor
        return result

    @property
    def hierarchy(self) -> Hierarchy:
        """The model, where it can be divided."""
        return cast("Hierarchy", self.model)

    def parts(self) -> list[str]:
        """Return the names of the parts of the loss, in the order of the metrics."""
        config = self.config
        names = [*config.heads.used, "local", *(["frames"] if config.framewise else [])]
        return [*names, *(["global"] if self.by_stages else [])]

    def backward(self, task: Task) -> Found:
        """Add the gradients of a step to the parameters.

        Returns the loss, its parts and the cuts left out, as `losses.batch_loss` does.
        """
        if self.rule.recompute:
            return self.true_gradient(task)
        if not self.by_stages:
            loss, parts, left_out = self.loss(task)
            if loss.requires_grad:
                loss.backward()
            return loss.detach(), parts, left_out
        if self._is_true(task.number):
            return self._true_step(task)
        return self.local_gradient(task)

    def loss(self, task: Task) -> Found:
        """Return the loss of a step with its graph."""
        config = self.config
        if not self.rule.divides:
            torch.manual_seed((config.seed * 1_000_003 + task.number) * 4096 + self.group.rank)
            options = {"probes": self.probes} if self.probes else {}
            return losses.batch_loss(
                self.model, task.batch, config, task.totals, task.share, self.device, **options
            )
        total, parts, left_out = self._nothing()
        if task.batch is None:
            return total, parts, left_out
        for _, _, loss, found, left in self._stage_errors(task):
            total = total + loss
            _add(parts, found)
            left_out |= left
        return total, parts, left_out

    def clip(self, most: float) -> Tensor:
        """Scale gradients to a norm of at most `most`, by stages that of each; return the norm."""
        if not self.by_stages:
            return optimiser.clip_gradients(self.model.parameters(), most)
        learned = [own for own in self.own if any(p.grad is not None for p in own.values())]
        norms = [optimiser.clip_gradients(own.values(), most) for own in learned or self.own]
        return torch.stack(norms).square().sum().sqrt()

    def local_gradient(self, task: Task) -> Found:
        """Add the gradients of the stages' own errors, and of the broadcast error if it is due."""
        broadcast = self.rule.rule == "local+global" and self.rule.feedback == "broadcast"
        total, parts, left_out = self._nothing()
        if task.batch is None:
            return total, parts, left_out
        kept: list[tuple[Carry, dict[str, Tensor]]] | None = [] if broadcast else None
        top = None
        for stage, output, loss, found, left in self._stage_errors(task, kept):
            if broadcast and stage == self.stages[-1]:
                for log_probs, _ in output.heads.values():
                    log_probs.retain_grad()
            if loss.requires_grad:
                loss.backward()
            if broadcast and stage == self.stages[-1]:
                top = _top_error(output)
            del output  # else it is held while the next stage is computed
            total = total + loss.detach()
            _add(parts, found)
            left_out |= left
        if top is not None and kept is not None:
            if self.observer is not None:
                self.observer.broadcasts(top)
            carries, buffers = zip(*kept, strict=True)
            self.late.append(Kept(task.number, list(carries), list(buffers), top))
            if len(self.late) > self.rule.staleness:
                self._deliver(self.late.popleft())
        return total, parts, left_out

    def true_gradient(self, task: Task) -> Found:
        """Add the gradient of the loss of backpropagation, holding one stage at a time."""
        total, parts, left_out = self._nothing()
        if task.batch is None:
            return total, parts, left_out
        carries, buffers = [], []
        probes = [] if self.by_stages else self.probes
        carry = chain.first_carry(self.hierarchy, task.batch.features, task.batch.lengths)
        with torch.no_grad():
            for stage in self.stages[:-1]:
                carries.append(carry)
                buffers.append(self._kept_buffers(stage))
                carry = self.run_stage(stage, carry, task.number, probes).carry
        carries.append(carry)
        gradients: list[Tensor | None] = []
        for stage in reversed(self.stages):
            carry = carries[stage.number].detached()
            for tensor in carry.tensors():
                tensor.requires_grad_(stage.number > 0)
            if stage != self.stages[-1]:
                self._set_buffers(stage, buffers[stage.number])
            output = self.run_stage(stage, carry, task.number, probes)
            loss, found, left = self._errors(stage, output, task, not self.by_stages)
            gradients = backward(carry, output.carry, loss, gradients)
            total = total + loss.detach()
            _add(parts, found)
            left_out |= left
        return total, parts, left_out

    def stage_gradients(self, compute: Callable[[], object]) -> list[dict[str, Tensor]]:
        """Return the gradients that `compute` adds to the model's parameters, by stage.

        Parameters of the nets are left out; gradients, buffers and late errors are as before
        afterwards.
        """
        before, late = [self._kept_buffers(stage) for stage in self.stages], self.late.copy()
        try:
            with gradients_aside(self.model):
                compute()
                return [
                    {
                        name: p.grad.clone()
                        for name, p in nets.without_nets(own).items()
                        if p.grad is not None
                    }
                    for own in self.own
                ]
        finally:
            for stage in self.stages:
                self._set_buffers(stage, before[stage.number])
            self.late = late

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint must keep, besides the model: the mix, and late errors.

        Late errors of several replicas are lost: one writes, and each has those of its own cuts.
        """
        if not self.by_stages:
            return {}
        result = {"mix": torch.tensor([self.mix, self.due], dtype=torch.float64)}
        if self.group.size > 1:
            return result
        for place, kept in enumerate(self.late):
            result[f"late.{place}.number"] = torch.tensor(kept.number)
            for stage, (carry, buffers) in enumerate(zip(kept.carries, kept.buffers, strict=True)):
                result |= {f"late.{place}.{stage}.x.{n}": t for n, t in carry.pack().items()}
                result |= {f"late.{place}.{stage}.buffer.{n}": t for n, t in buffers.items()}
            for kind in ("error", "log_probs", "start"):
                values = getattr(kept.top, kind)
                result |= {f"late.{place}.top.{kind}.{h}": t for h, t in values.items()}
        return result

    def set_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the result of `state`."""
        if not self.by_stages:
            return
        device = next(self.model.parameters()).device
        self.mix, self.due = tensors["mix"].tolist()
        self.late.clear()
        for place in range(self.rule.staleness):
            if f"late.{place}.number" not in tensors:
                break
            table: dict[str, Tensor] = {
                name.removeprefix(f"late.{place}."): tensor.to(device)
                for name, tensor in tensors.items()
                if name.startswith(f"late.{place}.")
            }

            def under(prefix: str, table: dict[str, Tensor] = table) -> dict[str, Tensor]:
                return {n.removeprefix(prefix): t for n, t in table.items() if n.startswith(prefix)}

            stages = range(len(self.stages))
            slots = {name: self._slots(name) for name in under("top.error.")}
            top = TopError(under("top.error."), under("top.log_probs."), under("top.start."), slots)
            carries = [Carry.unpack(under(f"{stage}.x.")) for stage in stages]
            buffers = [under(f"{stage}.buffer.") for stage in stages]
            self.late.append(Kept(int(table["number"]), carries, buffers, top))

    def _slots(self, head: str) -> int:
        return int(getattr(self.hierarchy.config.heads, head).slots)

    def _nothing(self) -> Found:
        zero = torch.zeros((), device=self.device)
        return zero, dict.fromkeys(self.parts(), zero), {}

    def _is_true(self, number: int) -> bool:
        """Return whether a step takes the true gradient; counts a step of `mix: auto`."""
        share = self.rule.share
        if share is not None:
            return int((number + 1) * share) > int(number * share)
        self.due += self.mix
        if self.due < 1:
            return False
        self.due -= 1
        return True

    def _true_step(self, task: Task) -> Found:
        if self.rule.share is None:  # the better local agrees with true, the less true is needed
            local = self.stage_gradients(lambda: self.local_gradient(task))
            found = self.true_gradient(task)
            true = [{n: p.grad for n, p in own.items() if p.grad is not None} for own in self.own]
            agreement = [cosine(a, b) for a, b in zip(local[:-1], true[:-1], strict=True)]
            now = 1 - max(0.0, sum(agreement) / max(1, len(agreement)))
            mix = max(LEAST_MIX, INERTIA * self.mix + (1 - INERTIA) * now)
            # all processes must take the true gradient in the same steps
            self.mix = distributed.broadcast_numbers([mix], self.device, self.group)[0]
            return found
        return self.true_gradient(task)

    def _stage_errors(
        self, task: Task, kept: list[tuple[Carry, dict[str, Tensor]]] | None = None
    ) -> Iterator[tuple[Stage, StageOutput, Tensor, dict[str, Tensor], dict[str, list[str]]]]:
        """Yield each stage, its output and its losses; keep its input and buffers in `kept`."""
        assert task.batch is not None
        carry = chain.first_carry(self.hierarchy, task.batch.features, task.batch.lengths)
        for stage in self.stages:
            if kept is not None:
                kept.append((carry, self._kept_buffers(stage)))
            output = self.run_stage(stage, carry, task.number, self.probes)
            carry = output.carry.detached() if self.by_stages else output.carry
            found = self._errors(stage, output, task)
            yield stage, output, *found
            del output, found  # the graph of a stage is not held while the next one is computed

    def _errors(self, stage: Stage, output: StageOutput, task: Task, own: bool = True) -> Found:
        """Return the errors at a stage: the model's, and those of its nets, if it has any."""
        if own and self.rule.uses_nets and stage != self.stages[-1]:
            with losses.autocast(self.device, self.config.precision):
                return stage_errors(output, self._nets(stage), task, self.config)
        return model_errors(output, task, self.config)

    def _nets(self, stage: Stage) -> StageNets:
        return cast("StageNets", getattr(self.model, nets.NAME)[stage.number])

    def run_stage(self, stage: Stage, carry: Carry, number: int, probes: list[str]) -> StageOutput:
        """Compute a stage; what it draws at random depends on it and the step's number only."""
        if self.observer is not None:
            self.observer.enters(stage, carry)
        seed = (self.config.seed * 1_000_003 + number) * 4096 + self.group.rank
        torch.manual_seed((seed * 1024 + stage.number + 1) % 2**63)
        with losses.autocast(carry.x.y.device, self.config.precision):
            return chain.run(self.hierarchy, stage, carry, probes)

    def _deliver(self, kept: Kept) -> None:
        """Add the gradient of the broadcast error, at the stages as they are now."""
        for stage in self.stages[:-1]:
            now = self._kept_buffers(stage)
            self._set_buffers(stage, kept.buffers[stage.number])
            output = self.run_stage(stage, kept.carries[stage.number], kept.number, self.probes)
            own, share = self._nets(stage), 1 / self.group.size
            feedback_error(output.carry.steps, own, kept.top, self.config, share).backward()
            self._set_buffers(stage, now)

    def _kept_buffers(self, stage: Stage) -> dict[str, Tensor]:
        return {name: b.clone() for name, b in self.buffers[stage.number].items()}

    @torch.no_grad()
    def _set_buffers(self, stage: Stage, values: Mapping[str, Tensor]) -> None:
        for name, buffer in self.buffers[stage.number].items():
            buffer.copy_(values[name])


def _top_error(output: StageOutput) -> TopError:
    """Return what the top tells the stages below, after the backward pass of its loss."""
    error, log_probs, start, slots = {}, {}, {}, {}
    for name, (values, lengths) in output.heads.items():
        first = output.spans[name][0]
        error[name] = torch.zeros_like(values) if values.grad is None else values.grad
        log_probs[name] = values.detach()
        step = torch.arange(first.shape[1], device=first.device)
        start[name] = torch.where(step < lengths[:, None], first, FAR)
        slots[name] = first.shape[1] // max(1, output.steps.mask.shape[1])
    return TopError(error, log_probs, start, slots)


def _add(parts: dict[str, Tensor], found: Mapping[str, Tensor]) -> None:
    for name, value in found.items():
        parts[name] = parts[name] + value
