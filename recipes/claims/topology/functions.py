"""Gate against sum, and an input-free block as bias and as mask: what a block may be (C21).

    python -m recipes.claims.topology.functions CONFIG --test CUTS --out OUT [--seeds 3]

Each system is the configuration's level with other functions in its blocks. Run again, it skips
what is in OUT/functions.jsonl.
"""

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from recipes.claims.learning.report import difference
from recipes.claims.topology.lines import append, by_speaker, counts, rate
from recipes.compare.jobs import guarded, publish, read_lines
from recipes.mini.ablations import verdict
from recipes.provenance import commit, machine, table
from speechasym import files
from speechasym.config import check_count
from speechasym.levels import functions
from speechasym.levels.attention import Attention
from speechasym.levels.base import Function, State, hide
from speechasym.training.config import read_config

if TYPE_CHECKING:
    from speechasym.levels.config import BlockConfig

# name -> functions of a block sequence, what they are, and the system to compare with
SYSTEMS = {
    "gate": (("gate", "feedforward"), "u(x) sigmoid(v(x)), v sees neighbours", ""),
    "sum": (("sum", "feedforward"), "u(x) + sigmoid(v(x)): the same maps", "gate"),
    "linear": (("linear", "feedforward"), "a map, step by step", "gate"),
    "attention": (("attention", "feedforward"), "four heads over all steps", "gate"),
    "products": (("products", "feedforward"), "attention without its softmax", "attention"),
    "means": (("means", "feedforward"), "attention without queries and keys", "attention"),
    "attention-sum": (("attention", "sum", "feedforward"), "attention and a sum", "attention"),
    "attention-gate": (("attention", "gate", "feedforward"), "attention and a gate", "attention"),
    "plain": (("convolution", "feedforward"), "a convolution and no constant", ""),
    "bias": (("convolution", "feedforward", "constant"), "a constant c is added", "plain"),
    "mask": (("convolution", "feedforward", "mask"), "the block is c x", "plain"),
    "another": (("convolution", "feedforward", "linear"), "a linear block instead", "plain"),
}  # fmt: skip


class Sum(functions.Gate):
    """y = u(x) + sigmoid(v(x)): a gate that adds instead of multiplying."""

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        u, v = self.inside(x).chunk(2, 2)
        if self.taps is not None:
            v, before = self.taps(hide(v, mask), state[0] if state else None)
            state = (before,)
        return u + torch.sigmoid(v), state or ()


class Mask(functions.Constant):
    """y = c x: a learned vector that weighs channels, the same at every step."""

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        return self.value * x, ()


class Products(Attention):
    """Attention without its softmax: values times (query . key), both of them products.

    What is near counts more, by the same learned slopes, as a mean over what is visible.
    """

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        q, k, v = self._heads(x)
        bias, visible = self._visible(x.shape[1], x.shape[1], x, mask)
        near = bias.masked_fill(~visible, -torch.inf).softmax(-1)
        y = (near * (q @ k.mT / math.sqrt(q.shape[3]))) @ v
        return self.out(y.transpose(1, 2).flatten(2)), ()


class Means(Attention):
    """Attention without queries and keys: means of values, weighed by distance alone."""

    def __init__(self, config: "BlockConfig") -> None:
        super().__init__(config)
        self.inside = nn.Linear(self.width, self.out.in_features)

    def _run(self, x: Tensor, mask: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        v = self.inside(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
        bias, visible = self._visible(x.shape[1], x.shape[1], x, mask)
        near = bias.masked_fill(~visible, -torch.inf).softmax(-1)
        return self.out((near @ v).transpose(1, 2).flatten(2)), ()


OWN = {"sum": Sum, "mask": Mask, "products": Products, "means": Means}


@contextmanager
def more_functions(more: Mapping[str, type[Function]] = OWN) -> Iterator[None]:
    """Let configurations name more functions of a block; default: those of this module."""
    functions.FUNCTIONS |= more
    try:
        yield
    finally:
        for name in more:
            del functions.FUNCTIONS[name]


def run(options: argparse.Namespace) -> int:
    """Train and test what is missing, and write the report."""
    from speechasym.recognition.evaluation import evaluate
    from speechasym.training.loop import train

    check_count("--seeds", options.seeds)
    results = options.out / "functions.jsonl"
    with files.locked_folder(options.out), more_functions():
        known = {(line["system"], line["seed"]) for line in read_lines(results)}
        for seed in range(options.seeds):
            for name in options.only or SYSTEMS:
                if (name, seed) in known:
                    continue
                words = [f"model.every.functions=[{','.join(SYSTEMS[name][0])}]", f"seed={seed}"]
                config = read_config(options.config, [*options.set, *words])
                folder = options.out / f"{name}-seed{seed}"
                done = train(config, folder, resume=True)
                if not done["finished"]:
                    return 130
                score = evaluate(folder, options.test).by_speaker("phones")
                line = {
                    "system": name, "seed": seed, "parameters": done["parameters"],
                    "steps": done["steps"], "seconds": done["seconds"], "counts": counts(score),
                    "commit": commit(), "machine": machine(),
                }  # fmt: skip
                append(results, line)
                print(f"{name}, seed {seed}: {100 * rate([line]):.1f} %", flush=True)
        publish(report(read_lines(results)), options.out / "functions.md")
    return 0


def report(lines: Sequence[dict]) -> str:
    """Return the table of phone errors, and of differences from the system to compare with."""
    body = []
    for name, (_, shows, other) in SYSTEMS.items():
        mine = [line for line in lines if line["system"] == name]
        if not mine:
            continue
        against, paired = "-", "-"
        theirs = [line for line in lines if line["system"] == other]
        if theirs:
            middle, low, high = difference(by_speaker(mine), by_speaker(theirs))
            against = f"{middle:+.1f} [{low:+.1f}, {high:+.1f}] against {other}"
            by_seed = {line["seed"]: line for line in theirs}
            shared = [(line, by_seed[line["seed"]]) for line in mine if line["seed"] in by_seed]
            paired = verdict([100 * (rate([a]) - rate([b])) for a, b in shared])
        each = [100 * rate([line]) for line in mine]
        spread = f"{np.median(each):.1f} ({min(each):.1f} to {max(each):.1f})"
        body.append(
            [name, shows, f"{mine[0]['parameters']:,}", str(len(mine)), spread, against, paired]
        )
    head = [
        "blocks",
        "what they are",
        "parameters",
        "seeds",
        "phone errors, %",
        "points",
        "by seed",
    ]
    about = f"Commit {lines[0]['commit']}, {lines[0]['machine']}, {lines[0]['steps']} steps."
    note = "Median (least to greatest) of the seeds; differences with 95 % intervals over speakers"
    last = "and seeds, and by seed (Student's t), since a seed has the same data in the same order."
    return f"{about} {note} {last}\n\n{table(head, body)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("config", type=Path)
    add("--test", type=Path, required=True, metavar="CUTS")
    add("--out", type=Path, required=True)
    add("--seeds", type=int, default=3)
    add("--only", nargs="+", choices=list(SYSTEMS))
    add("--set", nargs="+", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    return guarded(lambda: run(options))


if __name__ == "__main__":
    raise SystemExit(main())
