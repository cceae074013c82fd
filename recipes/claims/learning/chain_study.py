"""Does what a stage learns from fade along a chain where backpropagation does (C18)?

Chains of 24 and 96 residual blocks learn the task of `recipes.claims.block.task` by each rule. A
stage is 4 blocks with the nets of `training.rules`. All seeds and learning rates of a chain run as
one (`torch.func.vmap`), so the errors are written once more here, for steps that all stages share;
a test compares their gradients with those of `Learner`.

Shapes: N nets (rates x seeds), R rates, S seeds, G stages, B batch, F frames, D width, V classes.
"""

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.claims.block.lines import append, number, read
from recipes.claims.block.task import FRAMES, SYMBOLS, Adam, symbols
from recipes.claims.learning.chain_report import report
from recipes.compare.jobs import publish
from speechasym.levels import chain
from speechasym.levels.block import Block
from speechasym.levels.chain import StageOutput
from speechasym.levels.hierarchy import Hierarchy
from speechasym.levels.level import Level
from speechasym.training.config import LearningConfig, TrainConfig, read_config
from speechasym.training.losses import SMOOTHING
from speechasym.training.rules import nets
from speechasym.training.rules.nets import StageNets

STEPS = {24: 200, 96: 150}  # of training, by blocks
NORMS = ("none", "post", "theory", "pre")
BLOCKS, WIDTH = 4, 16  # residual blocks of a stage, and their width
RATES, SEEDS = [1e-3, 4e-3, 1.6e-2], 5
LEAST = 1e-9  # weight of CTC, which this task does without, but which heads must have
RULES: dict[str, list[str]] = {
    "backprop": ["learning.rule=backprop+inter"],
    "backprop+inter": ["learning.rule=backprop+inter", "learning.inter=0.3"],
    "local": ["learning.rule=local"],
    "imitation": ["learning.rule=local+global", "learning.feedback=imitation"],
    "broadcast": ["learning.rule=local+global", "learning.feedback=broadcast"],
    "correction": ["learning.rule=local+global", "learning.feedback=correction"],
}


def settings(depth: int, norm: str, rule: str) -> TrainConfig:
    """Return the configuration of a run whose gradients are those of this study."""
    level = (
        f"{{width: {WIDTH}, units: 0, events: none, repeat: {depth // BLOCKS}, functions: "
        f"[convolution, feedforward, feedforward, feedforward], block: {{norm: {norm}}}}}"
    )
    return read_config(None, [
        "data.train=none", "data.dev=none", f"heads={{phones: {LEAST}}}", "framewise=1",
        f"model={{levels: [{level}], heads: {{phones: {{level: 0}}}}}}",
        f"learning.blocks={BLOCKS}", "learning.weight=1", "learning.head_layers=0", *RULES[rule],
    ])  # fmt: skip


class Errors(NamedTuple):
    """What a batch gives a net to learn from."""

    loss: Tensor  # of the rule, or that of backpropagation
    feedback: Tensor  # the part of it that speaks of the top: imitation's or broadcast's
    top: Tensor  # cross-entropy of the top, nats per frame
    wrong: Tensor  # share of the frames that the top gets wrong


class Chain(nn.Module):
    """A hierarchy of one level, and the nets of its stages."""

    def __init__(self, config: TrainConfig, seed: int) -> None:
        super().__init__()
        self.learning: LearningConfig = config.learning
        torch.manual_seed(seed)
        self.model = Hierarchy(config.model, 2, {"phones": SYMBOLS})  # type: ignore[arg-type]
        self.stages = chain.stages(self.model.config, BLOCKS)
        self._strengthen(symbols(torch.Generator().manual_seed(seed))[0])
        if config.learning.uses_nets:
            nets.add_nets(self.model, self.stages, config.learning)

    @torch.no_grad()
    def _strengthen(self, x: Tensor) -> None:
        """Scale each block's last map so that its function returns as much as it receives.

        With torch's initial values it returns a tenth, and 96 blocks are hardly deep.
        """
        level = cast("Level", self.model.levels[0])
        y = level.enter(x.transpose(1, 2)).transpose(1, 2)
        for block in level.blocks.blocks:
            assert isinstance(block, Block)
            received = block.scale_in(y)
            scale = received.std() / block.function(received).std()
            for parameter in cast("nn.Linear", block.function.out).parameters():
                parameter.mul_(scale)
            y = block(y)

    def forward(self, x: Tensor, y: Tensor, true: bool) -> Errors:
        """Return the errors at x (B, F, 2) with classes y (B, F); `true`: of backpropagation."""
        rule, zero = self.learning, x.new_zeros(())
        carry = chain.first_carry(self.model, x, torch.full((len(y),), FRAMES))
        outputs: list[StageOutput] = []
        local, imitated = zero, zero
        for stage in self.stages:
            output = chain.run(self.model, stage, carry)
            outputs.append(output)
            carry = output.carry
            if true or stage == self.stages[-1] or not rule.uses_nets:
                continue
            own = self._nets(stage.number)
            local = local + cross_entropy(own.heads(output.steps)[0]["phones"][0], y)
            if hasattr(own, "imitation"):
                value = cross_entropy(own.imitation(carry.steps)[0]["phones"][0], y)
                imitated = imitated + rule.weight * value
                missed = normalised(output.input.detach()) - own.decode(normalised(output.steps.y))
                imitated = imitated + rule.keep_input * missed.square().mean()
            if rule.by_stages:
                carry = carry.detached()
        scores = outputs[-1].heads["phones"][0]
        error = cross_entropy(scores, y)
        feedback = imitated
        if not true and rule.rule == "local+global" and rule.feedback == "broadcast":
            feedback = self._broadcast(outputs[:-1], scores.detach(), y)
        loss = error + (rule.inter or 1) * local + feedback
        top = functional.nll_loss(scores[..., 1:].log_softmax(-1).flatten(0, 1), y.flatten())
        wrong = (scores[..., 1:].argmax(-1) != y).float().mean()
        return Errors(loss, feedback, top.detach(), wrong)

    def _nets(self, stage: int) -> StageNets:
        return cast("StageNets", cast("nn.ModuleList", self.model.learning)[stage])

    def _broadcast(self, outputs: Sequence[StageOutput], scores: Tensor, y: Tensor) -> Tensor:
        """Return the loss of `errors.feedback_error`: top and stages have the same steps here."""
        target = functional.one_hot(y, SYMBOLS) * (1 - SMOOTHING) + SMOOTHING / SYMBOLS
        error = (scores[..., 1:].softmax(-1) - target) / y.numel()
        error = functional.pad(error, (1, 0))  # none of the blank
        loss = scores.new_zeros(())
        for number_, output in enumerate(outputs):
            linear = cast("nn.Linear", self._nets(number_).feedback["phones"])
            back = self.learning.weight * (error @ linear.weight).detach()
            y_ = normalised(output.steps.y)
            loss = loss + (y_ * back).sum()
            log_probs = linear(y_.detach()).log_softmax(-1)
            loss = loss - (scores.exp() * log_probs).sum(-1).mean()
        return loss


def cross_entropy(scores: Tensor, y: Tensor) -> Tensor:
    """Return the loss of `losses.framewise`: scores (B, F, V), y (B, F) from 0."""
    flat = scores[..., 1:].flatten(0, 1)
    return functional.cross_entropy(flat, y.flatten(), label_smoothing=SMOOTHING)


def normalised(y: Tensor) -> Tensor:
    """Return y (B, F, D) as heads read it."""
    return functional.rms_norm(y, y.shape[-1:], eps=1e-6)


class Nets:
    """N chains that learn as one."""

    def __init__(self, config: TrainConfig, rates: list[float], seeds: int) -> None:
        chains = [Chain(config, seed) for seed in range(seeds)]
        self.one, self.learning, self.copies = chains[0], config.learning, len(rates)
        single, _ = torch.func.stack_module_state(cast("list[nn.Module]", chains))
        self.weights = {
            key: w.detach().repeat(self.copies, *(1,) * (w.ndim - 1)).requires_grad_()
            for key, w in single.items()
        }
        parts: list[list[Tensor]] = [[], []]
        self.own: list[list[Tensor]] = [[] for _ in self.one.stages]  # of the model, by stage
        for key, w in self.weights.items():
            name = key.removeprefix("model.")
            helps = name.startswith(f"{nets.NAME}.")
            parts[helps].append(w)
            if not helps:
                stage = chain.stage_of(name, self.one.stages, self.one.model.config)
                self.own[stage].append(w)
        rate = torch.tensor(rates).repeat_interleave(seeds)
        self.optimisers = [Adam(part, rate) for part in parts if part]
        self.generators = [torch.Generator().manual_seed(1000 + seed) for seed in range(seeds)]

    def batch(self) -> tuple[Tensor, Tensor]:
        """Draw a batch for each net: the same for all rates."""
        drawn = [symbols(g) for g in self.generators]
        x, y = (torch.stack(t) for t in zip(*drawn, strict=True))
        return x.repeat(self.copies, 1, 1, 1), y.repeat(self.copies, 1, 1)

    def errors(self, x: Tensor, y: Tensor, true: bool) -> Errors:
        """Return the errors of all nets, (N,) each."""

        def run(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Errors:
            return torch.func.functional_call(self.one, weights, (x, y, true))

        return Errors(*torch.func.vmap(run)(self.weights, x, y))

    def step(self, at: int, x: Tensor, y: Tensor) -> Errors:
        """Learn from a batch."""
        share = self.learning.share or 0.0
        true = self.learning.by_stages and int((at + 1) * share) > int(at * share)
        errors = self.errors(x, y, true)
        errors.loss.sum().backward()
        for optimiser in self.optimisers[: 1 if true else None]:
            optimiser.step()
        return errors

    def by_stage(self, loss: Tensor) -> list[Tensor]:
        """Return the gradient of a loss (N,) by the parameters of each stage, (N, P) each."""
        all_own = [w for own in self.own for w in own]
        found = iter(torch.autograd.grad(loss.sum(), all_own, retain_graph=True, allow_unused=True))
        result = []
        for own in self.own:
            pairs = [(w, next(found)) for w in own]
            parts = [flat(torch.zeros_like(w) if g is None else g) for w, g in pairs]
            result.append(torch.cat(parts, 1))
        return result

    def measured(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Return (N, G): the gradient over the parameters, and its cosine with the true one.

        `global` is the part of it that speaks of the top; with correction, the true gradient times
        its share of the steps, and the gradient is the mean over steps.
        """
        true = self.by_stage(self.errors(x, y, True).loss)
        errors = self.errors(x, y, False)
        rule = self.by_stage(errors.loss)
        if share := self.learning.share:
            above = [share * t for t in true]
            rule = [(1 - share) * r + a for r, a in zip(rule, above, strict=True)]
        elif errors.feedback.requires_grad:
            above = self.by_stage(errors.feedback)
        else:
            above = [torch.zeros_like(t) for t in true]
        sizes = [torch.cat([flat(w.detach()) for w in own], 1).norm(dim=1) for own in self.own]
        kinds = {"rule": rule, "global": above, "true": true}
        result = {
            f"norm_{kind}": torch.stack(
                [g.double().norm(dim=1) / s for g, s in zip(gradients, sizes, strict=True)], 1
            )
            for kind, gradients in kinds.items()
        }
        for kind in ("rule", "global"):
            pairs = zip(kinds[kind], true, strict=True)
            result[f"cosine_{kind}"] = torch.stack([cosine(g, t) for g, t in pairs], 1)
        return result


def flat(w: Tensor) -> Tensor:
    """Return the parameters w (N, ...) of nets as (N, P)."""
    return w.reshape(len(w), -1)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return (N,) cosines of a and b (N, P), however small; NaN where one of them is 0."""
    a, b = a.double(), b.double()
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))


def train(
    depth: int, norm: str, rule: str, steps: int, rates: list[float], seeds: int
) -> list[dict[str, Any]]:
    """Return a line for each rate and seed."""
    began = time.process_time()
    all_nets = Nets(settings(depth, norm, rule), rates, seeds)
    x, y = all_nets.batch()
    before = all_nets.measured(x, y)
    tops, wrongs = [], []
    for at in range(steps):
        errors = all_nets.step(at, x, y)
        tops.append(errors.top)
        wrongs.append(errors.wrong)
        x, y = all_nets.batch()
    after = all_nets.measured(x, y)
    last = max(1, steps // 10)
    top, wrong = (torch.stack(values[-last:]).double().mean(0) for values in (tops, wrongs))
    return [
        {
            "depth": depth, "norm": norm, "rule": rule, "steps": steps,
            "rate": rates[n // seeds], "seed": n % seeds,
            "end": number(top[n].item()), "wrong": number(wrong[n].item()),
            "before": {key: [number(v) for v in t[n].tolist()] for key, t in before.items()},
            "after": {key: [number(v) for v in t[n].tolist()] for key, t in after.items()},
            "seconds": round((time.process_time() - began) / len(tops[0]), 2),
        }
        for n in range(len(tops[0]))
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the chains that are missing in --out, then report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("out/claims/learning/chain.jsonl"))
    parser.add_argument("--depths", type=int, nargs="+", default=list(STEPS), help="in blocks")
    parser.add_argument("--norms", nargs="+", default=list(NORMS), choices=NORMS)
    parser.add_argument("--rules", nargs="+", default=list(RULES), choices=RULES)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    parser.add_argument("--steps", type=int, help="for every depth (default: by depth)")
    parser.add_argument("--report", action="store_true", help="only report finished runs")
    args = parser.parse_args(arguments)
    if min(args.depths) < 2 * BLOCKS or any(depth % BLOCKS for depth in args.depths):
        parser.error(f"--depths takes multiples of {BLOCKS}, at least {2 * BLOCKS}")
    if args.seeds < 2 or (args.steps or 1) < 1:
        parser.error("--seeds takes 2 or more, --steps 1 or more")
    torch.set_num_threads(1)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for depth in () if args.report else args.depths:
        near = min(STEPS, key=lambda d: abs(math.log(d / depth)))
        steps = args.steps or STEPS[near]
        for norm in args.norms:
            for rule in args.rules:
                kind = (depth, norm, rule, steps)
                done = {
                    (line["rate"], line["seed"]) for line in read(args.out)
                    if (line["depth"], line["norm"], line["rule"], line["steps"]) == kind
                }  # fmt: skip
                if done >= {(rate, seed) for rate in args.rates for seed in range(args.seeds)}:
                    continue
                lines = train(*kind, args.rates, args.seeds)
                append(args.out, lines)
                best = min((line["end"] for line in lines if line["end"] is not None), default=None)
                spent = sum(line["seconds"] for line in lines)
                print(f"{depth} blocks, {norm}, {rule}: {best} nats at best, {spent:.0f} s")
    if lines := read(args.out):
        text = report(lines, args.out.parent, NORMS, list(RULES))
        publish(text, args.out.with_suffix(".md"))
    else:
        parser.error(f"{args.out} contains no results; run without --report")


if __name__ == "__main__":
    main()
