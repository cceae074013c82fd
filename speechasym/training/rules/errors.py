"""The errors that a stage learns from: its own, and that of the stages above.

Shapes: B batch, F steps, D width, I input channels, S steps of a head, V classes, N pairs.

[1] A. van den Oord, Y. Li, O. Vinyals, "Representation learning with contrastive predictive
    coding", arXiv:1807.03748, 2018.
[2] S. Löwe, P. O'Connor, B. Veeling, "Putting an end to end-to-end: gradient-isolated learning of
    representations", NeurIPS, 2019.
[3] Y. Wang et al., "Revisiting locally supervised learning: an alternative to end-to-end training",
    ICLR, 2021.
[4] A. Nøkland, "Direct feedback alignment provides learning in deep neural networks", NIPS, 2016.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, cast

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from speechasym.levels.chain import Carry, Stage, StageOutput
from speechasym.levels.events import Steps
from speechasym.levels.hierarchy import HeadOutput
from speechasym.training.checkpoints import with_prefix
from speechasym.training.config import TrainConfig
from speechasym.training.distillation import Teacher
from speechasym.training.losses import NOTHING_FOLLOWS, Follow, framewise, head_losses
from speechasym.training.on_device import Batch
from speechasym.training.rules.nets import StageNets
from speechasym.training.rules.views import disagreement

AHEAD = 6  # steps to what `next` and `contrastive` predict
PAIRS, NEGATIVES = 512, 64  # of contrastive learning, a batch
TEMPERATURE = 0.1  # of its similarities


class Task(NamedTuple):
    """A batch to learn from."""

    batch: Batch | None  # None: this process has no share in it
    totals: Mapping[str, int]  # {head: labels} of the whole batch
    share: float  # of this process in the whole batch's seconds
    number: int  # of the step, from 0
    carry: Carry | None = None  # that the lowest stage of this process receives, if not features
    signs: tuple[float, float] = (0.0, 0.0)  # whether to stop; s of training so far
    skipped: Mapping[str, str] = {}  # {cut: why it cannot be read}
    follow: Follow = NOTHING_FOLLOWS  # of the training set, if `mmi` needs it
    teacher: Teacher | None = None


Found = tuple[Tensor, dict[str, Tensor], dict[str, list[str]]]  # as `batch_loss` returns them


def model_errors(output: StageOutput, task: Task, config: TrainConfig) -> Found:
    """Return the losses of the model's own heads and levels at a stage: those of backprop."""
    assert task.batch is not None
    loss, parts, left_out = head_losses(
        output.heads, output.spans, task.batch, config, task.totals, task.share, task.follow
    )
    for value in output.losses.values():
        loss = loss + task.share * value
        parts["local"] = parts.get("local", 0) + task.share * value.detach()
    return loss, parts, left_out


def stage_errors(output: StageOutput, nets: StageNets, task: Task, config: TrainConfig) -> Found:
    """Return the losses of a stage below the top: its own, and those of the imitating net.

    The gradients of the nets beside the stage are added to their parameters at once (`_early`), and
    their graphs do not outlive this call.
    """
    learning, batch, share = config.learning, task.batch, task.share
    loss, parts, left_out = model_errors(output, task, config)
    assert batch is not None
    local = torch.zeros_like(loss)
    steps, weight = output.steps, learning.inter or 1

    def read(heads: Mapping[str, HeadOutput], spans: Mapping[str, HeadOutput]) -> Tensor:
        totals, follow = task.totals, task.follow
        return head_losses(heads, spans, batch, config, totals, share, follow)[0]

    def own_head(y: Tensor) -> Tensor:
        heads, spans = nets.heads(replace(steps, y=y))
        value = torch.zeros_like(loss)
        if "ctc" in learning.local or "phones" not in heads:
            value = value + read(heads, spans)
        if "framewise" in learning.local and "phones" in heads:
            value = value + share * _framewise(heads, spans, batch)
        return weight * value

    def imitated(y: Tensor) -> Tensor:
        heads, spans = nets.imitation(replace(output.carry.steps, y=y))
        value = read(heads, spans)
        parts["global"] = value.detach()
        return learning.weight * value

    def missed(name: str, ahead: int, weight: float) -> Tensor:
        return _early(lambda y: weight * share * _missed(nets, name, output, y, ahead), steps.y)

    if hasattr(nets, "heads"):
        local = local + _early(own_head, steps.y)
    elif "framewise" in learning.local and "phones" in output.heads:
        local = local + weight * share * _framewise(output.heads, output.spans, batch)
    for name, ahead in (("predict", 0), ("next", AHEAD)):
        if name in learning.local:
            local = local + missed(name, ahead, weight)
    if "contrastive" in learning.local:
        within = not config.heads.used

        def contrast(y: Tensor) -> Tensor:
            return weight * share * contrastive(y, steps.mask, nets, within)

        local = local + _early(contrast, steps.y)
    if "views" in learning.local and output.level is not None:
        local = local + weight * share * disagreement(output.level)
    loss = loss + local
    parts["local"] = parts.get("local", 0) + local.detach()
    if hasattr(nets, "imitation"):
        loss = loss + _early(imitated, output.carry.steps.y)
        if learning.keep_input:
            loss = loss + missed("decode", 0, learning.keep_input)
    return loss, parts, left_out


def _early(compute: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
    """Return compute(y), whose graph is not kept: its gradients are computed at once.

    Those of parameters are added to them now; that by y is handed on by the backward pass, which
    must have a weight of 1. Where gradients are off, nothing is added.
    """
    if not torch.is_grad_enabled():
        return compute(y)
    return cast("Tensor", _Early.apply(y, compute))


class _Early(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        leaf = y.detach().requires_grad_()
        with torch.enable_grad():
            value = compute(leaf)
        value.backward()
        ctx.save_for_backward(torch.zeros_like(y) if leaf.grad is None else leaf.grad)
        return value.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return weight * gradient, None


def _framewise(
    heads: Mapping[str, HeadOutput], spans: Mapping[str, HeadOutput], batch: Batch
) -> Tensor:
    assert batch.frame_labels is not None  # loaded for this loss
    log_probs, lengths = heads["phones"]
    return framewise(log_probs, spans["phones"], lengths, batch.frame_labels)


def _missed(nets: StageNets, name: str, output: StageOutput, y: Tensor, ahead: int) -> Tensor:
    """Return the mean square of the normalised input, some steps ahead, that a map of y misses."""
    linear, mask = cast("nn.Linear", getattr(nets, name)), output.steps.mask
    target = output.input.detach()
    target = nnf.rms_norm(target, target.shape[-1:], eps=1e-6)
    predicted = linear(nnf.rms_norm(y, y.shape[-1:], eps=1e-6))
    steps = y.shape[1] - ahead
    known = mask[:, ahead:]
    square = (target[:, ahead:] - predicted[:, : max(0, steps)]).square().mean(-1)
    return (square * known).sum() / known.sum().clamp(min=1)


def contrastive(y: Tensor, mask: Tensor, nets: StageNets, within: bool = False) -> Tensor:
    """Return the InfoNCE loss [1, 2] of y (B, F, D), masked (B, F), against y `AHEAD` steps later.

    Pairs and other steps, as negatives, are drawn by torch's generator from the whole batch; those
    others `within` the pair's own utterance, so that its speaker does not tell them apart.
    """
    y = nnf.rms_norm(y, y.shape[-1:], eps=1e-6)
    frames = y.shape[1]
    pairs = mask[:, AHEAD:].reshape(-1).nonzero().squeeze(1)
    if not len(pairs):
        return y.sum() * 0
    pairs = pairs[torch.randint(len(pairs), (min(PAIRS, len(pairs)),)).to(pairs.device)]
    row, at = pairs // (frames - AHEAD), pairs % (frames - AHEAD)
    real = mask.reshape(-1).nonzero().squeeze(1)
    others = real[torch.randint(len(real), (len(pairs), NEGATIVES)).to(real.device)]
    if within:
        share = torch.rand(len(pairs), NEGATIVES).to(real.device)
        others = row[:, None] * frames + (share * mask.sum(1)[row, None]).long()
    query = nnf.normalize(nets.query(y[row, at]).float(), dim=-1)  # (N, KEY)
    key = nnf.normalize(nets.key(y).float(), dim=-1)
    right = (query * key[row, at + AHEAD]).sum(-1, keepdim=True)
    wrong = torch.einsum("nk,nmk->nm", query, key.flatten(0, 1)[others])
    same = others == (row * frames + at + AHEAD)[:, None]
    scores = torch.cat([right, wrong.masked_fill(same, -torch.inf)], 1) / TEMPERATURE
    return nnf.cross_entropy(scores, scores.new_zeros(len(scores), dtype=torch.long))


FAR = 2**62  # frame beyond all
KINDS = ("error", "log_probs", "start")  # of tensors of a `TopError`


class TopError(NamedTuple):
    """What the top tells the stages below of its output: for each head, at its steps."""

    error: dict[str, Tensor]  # (B, S, V) gradient of the loss by the scores
    log_probs: dict[str, Tensor]  # (B, S, V)
    start: dict[str, Tensor]  # (B, S) first frame of each step; beyond all frames where padded
    slots: dict[str, int]

    def pack(self) -> dict[str, Tensor]:
        """Return its tensors by name, to send or to keep."""
        return {f"{kind}.{h}": t for kind in KINDS for h, t in getattr(self, kind).items()}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], slots: Mapping[str, int]) -> "TopError":
        """Return what `pack` has packed."""
        error, log_probs, start = (with_prefix(tensors, f"{kind}.") for kind in KINDS)
        return cls(error, log_probs, start, {head: slots[head] for head in error})


class Observer(Protocol):
    """Sees what a step does, to measure it (`rules.meter`)."""

    def enters(self, stage: Stage, carry: Carry) -> None:
        """A stage is about to be computed."""

    def broadcasts(self, top: TopError) -> None:
        """The stages below are about to receive the error of the top."""


def top_error(output: StageOutput) -> TopError:
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


def feedback_error(
    steps: Steps, nets: StageNets, top: TopError, config: TrainConfig, share: float = 1.0
) -> Tensor:
    """Return a loss whose gradient by y (B, F, D) is the broadcast error of the top [4].

    Learned weights are the transpose of a linear map, learned beside it, that predicts the output
    of the top from y: the gradient that reaches y through this map is what y needs to know of the
    rest of the stack. What they learn from is a mean, so `share` is that of this process.
    """
    loss = steps.y.new_zeros((), dtype=torch.float32)
    learned = config.learning.feedback_weights == "learned"
    y = nnf.rms_norm(steps.y.float(), steps.y.shape[-1:], eps=1e-6)  # as heads read it
    for name, error in top.error.items():
        linear, slots = cast("nn.Linear", nets.feedback[name]), top.slots[name]
        start = top.start[name][:, ::slots].contiguous()
        middle = (steps.start + steps.end) // 2
        at = (torch.searchsorted(start, middle.contiguous(), right=True) - 1).clamp(min=0)
        # several steps share one of the top's: so do they its error
        count = torch.zeros_like(start).scatter_add_(1, at, steps.mask.long())
        part = 1 / count.gather(1, at).clamp(min=1)

        def at_steps(values: Tensor, slots: int = slots, at: Tensor = at) -> Tensor:
            together = values.unflatten(1, (-1, slots)).flatten(2)  # (B, S / slots, slots V)
            return together.gather(1, at[..., None].expand(-1, -1, together.shape[2]))

        with torch.no_grad():
            back = (at_steps(error) @ linear.weight.float()) * (part * steps.mask)[..., None]
        loss = loss + config.learning.weight * (y * back).sum()
        if learned:
            scores = linear(y.detach())
            log_probs = scores.unflatten(-1, (slots, -1)).log_softmax(-1)
            target = at_steps(top.log_probs[name]).unflatten(-1, (slots, -1)).exp()
            missed = -(target * log_probs).sum(-1).mean(-1) * steps.mask
            loss = loss + share * missed.sum() / steps.mask.sum().clamp(min=1)
    return loss
