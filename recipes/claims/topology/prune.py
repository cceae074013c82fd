"""Prune a trained run: how many weights can go, without and with training on.

    python -m recipes.claims.topology.prune FOLDER ... --cuts CUTS --out OUT [--steps 60]
        [--shares 0.5 0.7 0.9] [--rules magnitude movement] [--lexicon FILE] [--set KEY=VALUE]

A share of each matrix is set to 0: the smallest weights (magnitude), or those that gradients have
moved towards 0 while training on (movement) [1]. With `--steps` above 0 the run is trained on so
long, with its own data and what is left of the weights; a share of 0 is the control for that.

[1] V. Sanh, T. Wolf, A. M. Rush, "Movement pruning: adaptive sparsity by fine-tuning", NeurIPS,
    2020.
"""

import argparse
import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from recipes.claims.quantisation.measure import answer, utterances
from recipes.claims.quantisation.rounding import matrices
from recipes.claims.topology.lines import Line, append, rate
from recipes.compare.jobs import guarded, publish, read_lines
from recipes.provenance import commit, machine, table
from speechasym.config import override, to_dict
from speechasym.errors import ConfigError
from speechasym.recognition.trained_model import TrainedModel, open_run
from speechasym.training import batches, dataset, losses, optimiser, streaming
from speechasym.training.config import TrainConfig, config_from_dict
from speechasym.training.on_device import Batch

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
RULES = ("magnitude", "movement", "random")
RATE = 0.3  # of the run's highest learning rate, in training on; falls to 0
GROWS = 0.5  # share of the steps in which movement prunes ever more

Masks = Mapping[str, Tensor]


@torch.no_grad()
def kept(scores: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return masks that leave out the share of each matrix with the smallest scores.

    Raises `ConfigError` unless 0 <= share < 1.
    """
    if not 0 <= share < 1:
        raise ConfigError("share", f"must be >= 0 and < 1, got {share}", "Use 0.5")
    masks = {}
    for name, score in scores.items():
        order = score.flatten().argsort()
        mask = torch.ones(score.numel(), dtype=torch.bool)
        mask[order[: round(share * score.numel())]] = False
        masks[name] = mask.view_as(score)
    return masks


def scores_of(model: nn.Module, rule: str, seed: int = 0) -> dict[str, Tensor]:
    """Return the scores of each matrix: magnitudes, or random ones."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name in matrices(model):
        weight = model.get_parameter(name).detach()
        drawn = rule == "random"
        found[name] = torch.rand(weight.shape, generator=generator) if drawn else weight.abs()
    return found


@torch.no_grad()
def apply(model: nn.Module, masks: Masks) -> None:
    """Set what the masks leave out to 0."""
    for name, mask in masks.items():
        model.get_parameter(name).mul_(mask)


def training_batches(net: TrainedModel, config: TrainConfig) -> Iterator[tuple[Batch, dict]]:
    """Yield batches of a run's training cuts, epoch after epoch, and their labels by head."""
    data = dataset.load(
        config.data, config.data.train, list(config.heads.used), inventories=net.written,
        augment=config.data.augment, seed=config.seed, show_progress=False, timed=config.timed,
    )  # fmt: skip
    for epoch in count(1000):  # not those that the run has seen in this order
        groups = batches.epoch_batches(
            data.seconds.tolist(), config.batch_seconds, config.seed, epoch
        )
        for step in streaming.steps(data, groups, epoch, workers=0):
            if step.batch is not None:
                yield step.batch, step.labels


def train_on(
    net: TrainedModel, config: TrainConfig, share: float, rule: str, steps: int
) -> nn.Module:
    """Return a pruned copy of a run's model, after so many steps of training on.

    Movement: weights enter as they would without a mask, and their gradient g there, also where
    they are left out, moves the scores by -g w [1]; the share rises from 0.
    """
    model = copy.deepcopy(net.model)
    if rule != "movement":
        masks = kept(scores_of(model, rule), share)
        apply(model, masks)
        if not steps:
            return model
    else:
        scores = {name: torch.zeros_like(model.get_parameter(name)) for name in matrices(model)}
        masks = kept(scores, 0.0)
    model.train()
    adam = optimiser.adamw(model, RATE * config.learning_rate, config.weight_decay)
    follow = net.follow if config.mmi else {}
    cpu = torch.device("cpu")
    source = training_batches(net, config)
    for step in range(steps):
        batch, labels = next(source)
        torch.manual_seed(config.seed * 1_000_003 + step)
        dense = {}
        if rule == "movement":
            done = min(1.0, step / max(1, GROWS * steps))
            if step <= GROWS * steps:
                masks = kept(scores, share * (1 - (1 - done) ** 3))
            dense = {name: model.get_parameter(name).detach().clone() for name in masks}
            apply(model, masks)
        totals = {head: max(1, n) for head, n in labels.items()}
        loss, *_ = losses.batch_loss(model, batch, config, totals, 1.0, cpu, follow)
        adam.zero_grad()
        loss.backward()
        optimiser.clip_gradients(model.parameters(), config.clip)
        with torch.no_grad():
            for name, weight in dense.items():
                parameter = model.get_parameter(name)
                parameter.copy_(weight)
                assert parameter.grad is not None
                scores[name].sub_(parameter.grad * weight)
        for group in adam.param_groups:
            group["lr"] = RATE * config.learning_rate * (1 - step / steps)
        adam.step()
        if rule != "movement":
            apply(model, masks)
    apply(model, masks)
    return model.eval()


def measure(net: TrainedModel, options: argparse.Namespace, results: Path) -> None:
    """Append the lines of a run that the file lacks."""
    config = config_of(net, options.set)
    sounds = utterances(net, options.cuts, options.lexicon, options.every)
    known = {(n["run"], n["rule"], n["share"], n["steps"]) for n in read_lines(results)}
    name = net.folder.name
    for rule in options.rules:
        for share in dict.fromkeys((0.0, *options.shares)):
            steps = options.steps
            if (name, rule, share, steps) in known or (share == 0 and rule != options.rules[0]):
                continue
            model = train_on(net, config, share, rule, steps)
            found = answer(net, model, sounds)
            line = {
                "run": name, "rule": rule, "share": share, "steps": steps,
                "loss": found.loss, "errors": found.errors,
            }  # fmt: skip
            append(results, line)
            errors = {head: 100 * rate([{"counts": c}]) for head, c in found.errors.items()}
            print(name, rule, share, steps, {h: round(e, 1) for h, e in errors.items()}, flush=True)


def config_of(net: TrainedModel, words: Sequence[str]) -> TrainConfig:
    """Return a run's configuration with some of its keys changed."""
    mapping = to_dict(net.config)
    for word in words:
        override(mapping, word)
    return replace(config_from_dict(mapping), precision="float32")


def report(lines: Sequence[Line]) -> str:
    """Return the tables of errors by head, against the share that is pruned."""
    kinds = list(dict.fromkeys((n["rule"], n["steps"]) for n in lines))
    shares = sorted({n["share"] for n in lines})
    parts = [f"Errors in %: mean over runs (least to greatest). Commit {commit()}, {machine()}.\n"]
    for head in lines[0]["errors"]:
        body = []
        for rule, steps in kinds:
            cells = [rule, str(steps)]
            for share in shares:
                same = (rule, kinds[0][0]) if share == 0 else (rule,)  # nothing is pruned
                each = [
                    100 * rate([{"counts": n["errors"][head]}]) for n in lines
                    if n["rule"] in same and (n["steps"], n["share"]) == (steps, share)
                ]  # fmt: skip
                spread = f" ({min(each):.1f} to {max(each):.1f})" if len(each) > 1 else ""
                cells.append(f"{np.mean(each):.1f}{spread}" if each else "-")
            body.append(cells)
        head_ = ["rule", "steps", *(f"{100 * share:.0f} %" for share in shares)]
        parts += [f"{head}:\n", table(head_, body)]
    return "\n".join(parts)


def draw(lines: Sequence[Line], path: Path, head: str = "phones") -> None:
    """Draw errors against the share that is pruned, one curve for each rule and length."""
    from matplotlib.figure import Figure

    figure = Figure((6, 3.6), layout="constrained")
    axis = figure.subplots()
    for rule, steps in dict.fromkeys((n["rule"], n["steps"]) for n in lines):
        mine = [n for n in lines if (n["rule"], n["steps"]) == (rule, steps)]
        shares = sorted({n["share"] for n in mine})
        middle = [
            np.mean([100 * rate([{"counts": n["errors"][head]}]) for n in mine if n["share"] == s])
            for s in shares
        ]
        label = f"{rule}, {f'{steps} steps more' if steps else 'not trained on'}"
        axis.plot([100 * s for s in shares], middle, "o-" if steps else "o--", label=label)
    axis.set(xlabel="weights set to 0, %", ylabel=f"{head} wrong, %", ylim=(0, 105))
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    figure.savefig(path, dpi=130)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("folders", nargs="+", help="of runs; package: the model of the package")
    add("--cuts", type=Path, required=True)
    add("--lexicon", type=Path, help="for the phones that are said, if the cuts have none")
    add("--out", type=Path, required=True, help="folder")
    add("--every", type=int, default=1, help="read one of so many cuts")
    add("--steps", type=int, default=0, help="of training on")
    add("--shares", type=float, nargs="+", default=list(SHARES))
    add("--rules", nargs="+", choices=RULES, default=["magnitude"])
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="of the run's configuration")
    add("--name", default="prune", help="of the files")
    options = parser.parse_args(arguments)

    def act() -> int:
        torch.set_num_threads(1)
        if "movement" in options.rules and not options.steps:
            raise ConfigError("--rules", "movement needs steps of training on", "Use --steps 60")
        options.out.mkdir(parents=True, exist_ok=True)
        results = options.out / f"{options.name}.jsonl"
        for folder in options.folders:
            measure(open_run(None if folder == "package" else folder), options, results)
        lines = read_lines(results)
        publish(report(lines), options.out / f"{options.name}.md")
        draw(lines, options.out / f"{options.name}.png")
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
