"""The gradients of a step by the learning rule of a run (C18).

By stages: each stage is computed from what the one below has handed on, without its gradient, and
its error is backpropagated through it at once, so that only one stage's activations are held at a
time. In the steps that take the true gradient, the inputs of all stages are kept, and stages are
computed again from the top down; likewise where the broadcast error of the top arrives. All that
is drawn at random depends on the seed, the step and the stage only, so that a stage computed again
is the same.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain as chained
from typing import cast

import torch
from torch import Tensor, nn

from speechasym.levels import chain
from speechasym.levels.chain import Carry, Stage, StageOutput
from speechasym.levels.events import HysteresisScale
from speechasym.levels.hierarchy import Hierarchy
from speechasym.training import distributed, losses, optimiser, parallel
from speechasym.training.config import TrainConfig
from speechasym.training.distributed import ProcessGroup
from speechasym.training.parallel import Links
from speechasym.training.rules import late, nets
from speechasym.training.rules.errors import (
    Found,
    Observer,
    Task,
    feedback_error,
    model_errors,
    stage_errors,
    top_error,
)
from speechasym.training.rules.gradients import backward, cosine, gradients_aside
from speechasym.training.rules.late import Kept
from speechasym.training.rules.nets import StageNets

FIRST_MIX, INERTIA = 0.5, 0.8  # of `mix: auto`: its start, and weight of what was measured before
LEAST_MIX = 1 / 64
ALONE = ProcessGroup()


class Learner:
    """Computes the gradients of a run's steps.

    Args:
        model: on its device; by stages, with the nets of `nets.add_nets`.
        config: of the run.
        device: that the model is on.
        group: the processes that share each batch, and perhaps the stages.
        links: to the processes with the other stages.
    """

    def __init__(
        self, model: nn.Module, config: TrainConfig, device: torch.device,
        group: ProcessGroup = ALONE, links: Links | None = None,
    ) -> None:  # fmt: skip
        self.model, self.config, self.device, self.group = model, config, device, group
        self.rule = config.learning
        self.by_stages = self.rule.by_stages
        self.links, self.handed_on = links or Links(), -1  # the step whose carry has been sent
        self.stages: tuple[Stage, ...] = ()
        self.mine: Sequence[Stage] = ()  # those that this process computes
        self.probes: list[str] = []
        self.mix, self.due = FIRST_MIX, 0.0  # of `mix: auto`
        self.late: deque[Kept] = deque()
        self.trial = False  # whether gradients are only looked at
        self.observer: Observer | None = None
        if not isinstance(model, Hierarchy):
            return
        top = max((nets.level_of(model, name) for name in model.heads), default=0)
        if self.rule.rule == "backprop":
            self.probes = [name for name in model.heads if nets.level_of(model, name) < top]
        if self.rule.divides or self.rule.meter:
            self.stages = chain.stages(model.config, self.rule.blocks)
            if self.by_stages and not {"ctc", "framewise"} & set(self.rule.local):
                last = len(model.config.levels) - 1
                self.probes = [n for n in model.heads if nets.level_of(model, n) < last]
            self.own = self._tensors_by_stage(model.named_parameters())
            self.buffers = self._tensors_by_stage(model.named_buffers())
            sizes = [sum(p.numel() for p in own.values()) for own in self.own]
            costs = parallel.costs(model.config, self.stages, sizes)
            mine = parallel.divide(costs, group.parts)[group.part]
            self.mine = self.stages[mine.start : mine.stop]

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
        return [*self.config.loss_parts, *(["global"] if self.by_stages else [])]

    @property
    def trained(self) -> list[Tensor]:
        """The parameters that this process trains."""
        parts = [self.own[stage.number].values() for stage in self.mine]
        own = chained(*parts) if self.group.parts > 1 else self.model.parameters()
        return [p for p in own if p.requires_grad]

    @property
    def names(self) -> set[str]:
        """Names of the parameters and buffers of the stages that this process computes."""
        tables = (self.own, self.buffers)
        return {name for stage in self.mine for table in tables for name in table[stage.number]}

    @property
    def widths(self) -> Tensor:
        """Scales of the hysteresis of these stages, on the device."""
        levels = [self.hierarchy.levels[stage.level] for stage in self.mine if stage.exits]
        holds = [m for level in levels for m in level.modules() if isinstance(m, HysteresisScale)]
        return torch.stack([m.scale for m in holds]) if holds else self.rows.new_zeros(0)

    def backward(self, task: Task) -> Found:
        """Add the gradients of a step to the parameters.

        Returns the loss, its parts and the cuts left out, as `losses.batch_loss` does; those of
        each stage are in `rows`.
        """
        if self.rule.recompute:
            return self.true_gradient(task)
        if not self.by_stages:
            loss, parts, left_out = self.loss(task)
            if loss.requires_grad:
                loss.backward()
            return loss.detach(), parts, left_out
        if task.batch is None:
            self._hand_on(self.mine[-1], None, task)
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
                self.model, task.batch, config, task.totals, task.share, self.device, task.follow,
                task.teacher, **options,
            )  # fmt: skip
        total, parts, left_out = self._nothing()
        if task.batch is None:
            return total, parts, left_out
        for _, _, (loss, found, left) in self._stage_errors(task):
            total = total + loss
            _add(parts, found)
            left_out |= left
        return total, parts, left_out

    def clip(self, most: float) -> Tensor:
        """Scale gradients to a norm of at most `most`, by stages that of each; return the norm."""
        if not self.by_stages:
            return optimiser.clip_gradients(self.model.parameters(), most)
        mine = [self.own[stage.number] for stage in self.mine]
        learned = [own for own in mine if any(p.grad is not None for p in own.values())]
        norms = [optimiser.clip_gradients(own.values(), most) for own in learned or mine]
        self.norms = torch.stack(norms)
        return self.norms.square().sum().sqrt()

    def local_gradient(self, task: Task) -> Found:
        """Add the gradients of the stages' own errors, and of the broadcast error if it is due."""
        broadcast = self.rule.rule == "local+global" and self.rule.feedback == "broadcast"
        if task.batch is None:
            return self._sum({})
        carries: dict[int, Carry] | None = {} if broadcast else None
        buffers: dict[int, dict[str, Tensor]] = {}
        results: dict[int, Found] = {}
        top = None
        for stage, output, (loss, found, left) in self._stage_errors(task, carries, buffers):
            last = broadcast and stage == self.stages[-1]
            if last:
                for log_probs, _ in output.heads.values():
                    log_probs.retain_grad()
            if loss.requires_grad:
                loss.backward()
            if last:
                top = top_error(output)
            del output  # else it is held while the next stage is computed
            results[stage.number] = loss.detach(), found, left
        if top is not None:
            if self.observer is not None:
                self.observer.broadcasts(top)
            if not (self.trial and self.rule.staleness):  # a trial's would not be received
                parallel.send_error(self.links, task.number, top)
        if carries is not None:
            self.late.append(Kept(task.number, carries, buffers, top))
            if len(self.late) > self.rule.staleness:
                self._deliver(self.late.popleft())
        return self._sum(results)

    def true_gradient(self, task: Task) -> Found:
        """Add the gradient of the loss of backpropagation, holding one stage at a time."""
        if task.batch is None:
            return self._sum({})
        carries, buffers, results = {}, {}, {}
        probes = [] if self.by_stages else self.probes
        carry = self._first_carry(task)
        with torch.no_grad():
            for stage in self.mine:
                carries[stage.number] = carry
                if stage != self.stages[-1]:
                    buffers[stage.number] = self._kept_buffers(stage)
                    carry = self.run_stage(stage, carry, task.number, probes).carry
                    self._hand_on(stage, carry, task)
        gradients = parallel.receive_back(self.links, self.device)
        for stage in reversed(self.mine):
            carry = carries[stage.number].detached()
            for tensor in carry.tensors():
                tensor.requires_grad_(stage.number > 0)
            if stage != self.stages[-1]:
                self._set_buffers(stage, buffers[stage.number])
            output = self.run_stage(stage, carry, task.number, probes)
            loss, found, left = self._errors(stage, output, task, not self.by_stages)
            gradients = backward(carry, output.carry, loss, gradients)
            results[stage.number] = loss.detach(), found, left
        parallel.send_back(self.links, gradients)
        return self._sum(results)

    def stage_gradients(self, compute: Callable[[], object]) -> list[dict[str, Tensor]]:
        """Return the gradients that `compute` adds to the model's parameters, by stage.

        Those of the nets are left out; gradients, buffers and late errors stay as they were.
        """
        before, kept = [self._kept_buffers(stage) for stage in self.stages], self.late.copy()
        self.trial = True
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
            self.late, self.trial = kept, False

    def state(self) -> dict[str, Tensor]:
        """Return what a checkpoint must keep, besides the model: the mix, and late errors.

        Late errors of several replicas are lost: one writes, and each has those of its own cuts.
        """
        if not self.by_stages:
            return {}
        mix = torch.tensor([self.mix, self.due], dtype=torch.float64)
        return {"mix": mix, **(late.pack(self.late) if self.group.size == 1 else {})}

    def set_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the result of `state`."""
        if not self.by_stages:
            return
        device = next(self.model.parameters()).device
        self.mix, self.due = tensors["mix"].tolist()
        slots = {name: self._slots(name) for name in self.hierarchy.heads}
        self.late = late.unpack(tensors, [stage.number for stage in self.mine], slots, device)

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
            mine = [stage.number for stage in self.mine if stage != self.stages[-1]]
            agreement = [cosine(local[number], true[number]) for number in mine]
            agreement = parallel.gather_numbers(self.links, agreement)
            now = 1 - max(0.0, sum(agreement) / max(1, len(agreement)))
            mix = max(LEAST_MIX, INERTIA * self.mix + (1 - INERTIA) * now)
            # all processes must take the true gradient in the same steps
            self.mix = distributed.broadcast_numbers([mix], self.device, self.group)[0]
            return found
        return self.true_gradient(task)

    def _stage_errors(
        self, task: Task, carries: dict[int, Carry] | None = None,
        buffers: dict[int, dict[str, Tensor]] | None = None,
    ) -> Iterator[tuple[Stage, StageOutput, Found]]:  # fmt: skip
        """Yield each stage, its output and its losses; keep its input and buffers if asked to."""
        carry = self._first_carry(task)
        for stage in self.mine:
            if carries is not None and buffers is not None:
                carries[stage.number], buffers[stage.number] = carry, self._kept_buffers(stage)
            output = self.run_stage(stage, carry, task.number, self.probes)
            carry = output.carry.detached() if self.by_stages else output.carry
            self._hand_on(stage, carry, task)
            found = self._errors(stage, output, task)
            yield stage, output, found
            del output, found  # the graph of a stage is not held while the next one is computed

    def _errors(self, stage: Stage, output: StageOutput, task: Task, own: bool = True) -> Found:
        """Return the errors at a stage: the model's, and those of its nets."""
        top = stage == self.stages[-1] and self.config.heads.used  # which needs no nets
        if own and self.rule.uses_nets and not top:
            with losses.autocast(self.device, self.config.precision):
                return stage_errors(output, self._nets(stage), task, self.config)
        return model_errors(output, task, self.config)

    def _first_carry(self, task: Task) -> Carry:
        """Return what the lowest stage of this process receives."""
        assert task.batch is not None
        if task.carry is not None:
            return task.carry
        return chain.first_carry(self.hierarchy, task.batch.features, task.batch.lengths)

    def _hand_on(self, stage: Stage, carry: Carry | None, task: Task) -> None:
        """Send the output of the last stage of this process to the next part, once in a step."""
        if stage == self.mine[-1] and self.handed_on != task.number:
            parallel.hand_on(self.links, carry, task)
            self.handed_on = task.number

    def _sum(self, results: Mapping[int, Found]) -> Found:
        """Add up the losses of stages from the lowest, and keep them in `rows`."""
        total, parts, left_out = self._nothing()
        zero, rows = total, []
        for _, (loss, found, left) in sorted(results.items()):
            total = total + loss
            rows.append(torch.stack([loss, *(found.get(name, zero) for name in parts)]))
            _add(parts, found)
            left_out |= left
        self.rows = torch.stack(rows or [zero.expand(1 + len(parts))] * len(self.mine))
        return total, parts, left_out

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
        top = kept.top
        if top is None:
            slots = {name: self._slots(name) for name in self.hierarchy.heads}
            top = parallel.receive_error(self.links, kept.number, slots, self.device)
        for stage in self.mine:
            if stage == self.stages[-1]:
                continue
            now = self._kept_buffers(stage)
            self._set_buffers(stage, kept.buffers[stage.number])
            output = self.run_stage(stage, kept.carries[stage.number], kept.number, self.probes)
            own, share = self._nets(stage), 1 / self.group.size
            feedback_error(output.carry.steps, own, top, self.config, share).backward()
            self._set_buffers(stage, now)

    def _kept_buffers(self, stage: Stage) -> dict[str, Tensor]:
        return {name: b.clone() for name, b in self.buffers[stage.number].items()}

    @torch.no_grad()
    def _set_buffers(self, stage: Stage, values: Mapping[str, Tensor]) -> None:
        for name, buffer in self.buffers[stage.number].items():
            buffer.copy_(values[name])


def _add(parts: dict[str, Tensor], found: Mapping[str, Tensor]) -> None:
    for name, value in found.items():
        parts[name] = parts[name] + value
