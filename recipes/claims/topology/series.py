"""Is a stack of residual blocks a series of terms? Drop blocks, and permute them, after training.

    python -m recipes.claims.topology.series FOLDER ... --cuts CUTS --out OUT

FOLDER: runs of one level of blocks, SYSTEM-seedN, as recipes.compare writes them. Nothing is
trained. A sum of terms that hardly depend on each other loses little if one is missing or two
change places, and what two cost together is what each costs alone.
"""

import argparse
import copy
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import nn

from recipes.claims.quantisation.measure import Utterance, answer, utterances
from recipes.claims.topology.lines import Line, append, rate
from recipes.compare.jobs import guarded, publish, read_lines
from recipes.provenance import commit, machine, table
from speechasym.errors import ConfigError
from speechasym.levels.hierarchy import Hierarchy
from speechasym.levels.level import Level
from speechasym.recognition.trained_model import TrainedModel, open_run

DROPS, SHUFFLES, DRAWS = (2, 3, 4, 6), (2, 3, 4, 6, 12), 4
HEAD = "phones"


def blocks_of(net: TrainedModel) -> int:
    """Return how many blocks a run has. Raises `ConfigError` unless it is one level of several."""
    model = net.model
    if not isinstance(model, Hierarchy) or len(model.levels) != 1:
        problem = "is not a single level of residual blocks"
        raise ConfigError(net.name, problem, "Train one by stacks.yaml")
    if (count := len(list(_level(net).blocks.blocks))) < 2:
        raise ConfigError(net.name, f"has {count} blocks", "Use 2 or more")
    return count


def _level(net: TrainedModel) -> Level:
    return cast("Level", cast("Hierarchy", net.model).levels[0])


def rearranged(net: TrainedModel, order: Sequence[int]) -> nn.Module:
    """Return a copy of a model with these of its blocks, in this order; it shares their weights."""
    model = copy.copy(net.model)
    level, stack = copy.copy(_level(net)), copy.copy(_level(net).blocks)
    blocks = [_level(net).blocks.blocks[n] for n in order]
    for module, name, part in (
        (stack, "blocks", nn.ModuleList(blocks)), (level, "blocks", stack),
        (model, "levels", nn.ModuleList([level])),
    ):  # fmt: skip
        module._modules = {**module._modules, name: part}
    return model


def orders(count: int) -> Iterator[tuple[str, list[int], list[int]]]:
    """Yield what is done to `count` blocks, to which, and what remains in which order."""
    whole = list(range(count))
    yield "whole", [], whole
    for n in whole:
        yield "drop 1", [n], [m for m in whole if m != n]
    for n, m in pairwise(whole):
        yield "swap neighbours", [n, m], [*whole[:n], m, n, *whole[m + 1 :]]
    rng = np.random.default_rng(0)
    for size in DROPS:
        for _ in range(DRAWS if size < count else 0):
            gone = sorted(rng.choice(count, size, replace=False).tolist())
            yield f"drop {size}", gone, [m for m in whole if m not in gone]
    for size in SHUFFLES:
        for _ in range(DRAWS if size <= count else 0):
            first = int(rng.integers(count - size + 1))
            part = list(range(first, first + size))
            while (mixed := rng.permutation(part).tolist()) == part:
                pass
            yield f"permute {size}", part, [*whole[:first], *mixed, *whole[first + size :]]


@torch.no_grad()
def branches(net: TrainedModel, sounds: Sequence[Utterance]) -> list[float]:
    """Return the size of each block's branch beside its input: rms of y - x over rms of x."""
    blocks = list(_level(net).blocks.blocks)
    sums = torch.zeros(len(blocks), 2, dtype=torch.float64)
    hooks = []
    for n, block in enumerate(blocks):

        def note(_: nn.Module, inputs: tuple, y: torch.Tensor, n: int = n) -> None:
            sums[n, 0] += (y - inputs[0]).square().sum()
            sums[n, 1] += inputs[0].square().sum()

        hooks.append(block.register_forward_hook(note))
    answer(net, net.model, sounds)
    for hook in hooks:
        hook.remove()
    return (sums[:, 0] / sums[:, 1]).sqrt().tolist()


def measure(net: TrainedModel, sounds: Sequence[Utterance], results: Path) -> None:
    """Append the lines of a run that the file lacks."""
    name = net.folder.name
    known = {(n["run"], n["what"], str(n["blocks"])) for n in read_lines(results)}
    for what, blocks, order in orders(blocks_of(net)):
        if (name, what, str(blocks)) in known:
            continue
        found = answer(net, rearranged(net, order), sounds)
        line = {
            "run": name, "system": name.rpartition("-seed")[0], "what": what, "blocks": blocks,
            "order": order, "loss": found.loss[HEAD], "counts": found.errors[HEAD],
        }  # fmt: skip
        if what == "whole":
            line["branches"] = branches(net, sounds)
        append(results, line)


def additivity(lines: Sequence[Line]) -> list[tuple[float, float]]:
    """Return, for drops of several blocks, what they cost in nats, and the sum of each alone."""
    pairs = []
    for run in sorted({n["run"] for n in lines}):
        mine = [n for n in lines if n["run"] == run]
        whole = next(n["loss"] for n in mine if n["what"] == "whole")
        alone = {n["blocks"][0]: n["loss"] - whole for n in mine if n["what"] == "drop 1"}
        pairs += [
            (n["loss"] - whole, sum(alone[b] for b in n["blocks"]))
            for n in mine if n["what"] in ("drop 2", "drop 3")
        ]  # fmt: skip
    return pairs


def report(lines: Sequence[Line]) -> str:
    """Return the tables in Markdown."""
    systems = list(dict.fromkeys(n["system"] for n in lines))
    whats = list(dict.fromkeys(n["what"] for n in lines))
    body = []
    for what in whats:
        cells = [what]
        for system in systems:
            by_run: dict[str, list[Line]] = {}
            for n in lines:
                if n["system"] == system and n["what"] == what:
                    by_run.setdefault(n["run"], []).append(n)
            means = [100 * rate(rows) for rows in by_run.values()]
            each = [100 * rate([n]) for rows in by_run.values() for n in rows]
            cells.append(
                f"{np.mean(means):.1f} ({min(means):.1f} to {max(means):.1f})"
                + (f"; {min(each):.1f} to {max(each):.1f}" if len(each) > len(means) else "")
            )
        body.append(cells)
    parts = [
        "Phone errors in %: mean over seeds of the mean over draws (least to greatest seed); least "
        f"to greatest single case. Commit {commit()}, {machine()}.\n",
        table(["blocks", *systems], body),
    ]
    body = []
    for system in systems:
        mine = [n for n in lines if n["system"] == system]
        pairs = np.array(additivity(mine))
        size = np.mean([n["branches"] for n in mine if n["what"] == "whole"], 0)
        body.append([
            system, f"{pairs[:, 0].mean():.2f}", f"{pairs[:, 1].mean():.2f}",
            f"{np.corrcoef(pairs.T)[0, 1]:.2f}", ", ".join(f"{x:.2f}" for x in size),
        ])  # fmt: skip
    head = ["stack", "cost, nats", "sum of each alone", "correlation", "branch / stream, by block"]
    parts += ["Two or three blocks dropped together, loss of phones:\n", table(head, body)]
    return "\n".join(parts)


def draw(lines: Sequence[Line], path: Path) -> None:
    """Draw errors against blocks dropped and permuted, one curve a system."""
    from matplotlib.figure import Figure

    figure = Figure((9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for system in dict.fromkeys(n["system"] for n in lines):
        mine = [n for n in lines if n["system"] == system]
        for axis, verb in ((left, "drop"), (right, "permute")):
            points = [(0, [n for n in mine if n["what"] == "whole"])]
            sizes = sorted({int(n["what"].split()[1]) for n in mine if n["what"].startswith(verb)})
            for size in sizes:
                points.append((size, [n for n in mine if n["what"] == f"{verb} {size}"]))
            x = [size for size, rows in points for _ in rows]
            y = [100 * rate([n]) for _, rows in points for n in rows]
            (curve,) = axis.plot(
                [size for size, _ in points], [100 * rate(rows) for _, rows in points], "o-",
                label=system,
            )  # fmt: skip
            axis.plot(np.array(x) + 0.1, y, ".", color=curve.get_color(), alpha=0.35)
    left.set(xlabel="blocks dropped", ylabel="phone errors, %", ylim=(0, None))
    right.set(xlabel="neighbouring blocks in another order")
    left.legend(frameon=False)
    for axis in (left, right):
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=130)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("folders", type=Path, nargs="+")
    add("--cuts", type=Path, required=True)
    add("--out", type=Path, required=True, help="folder")
    add("--every", type=int, default=1, help="read one of so many cuts")
    options = parser.parse_args(arguments)

    def act() -> int:
        torch.set_num_threads(1)
        options.out.mkdir(parents=True, exist_ok=True)
        results = options.out / "series.jsonl"
        for folder in options.folders:
            net = open_run(folder)
            blocks_of(net)
            measure(net, utterances(net, options.cuts, None, options.every), results)
        lines = read_lines(results)
        publish(report(lines), options.out / "series.md")
        draw(lines, options.out / "series.png")
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
