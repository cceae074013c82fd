"""Stitch the lower part of one net to the upper part of another by an affine map (C19).

    python -m recipes.claims.starvation.stitch --pair A B --train CUTS --test CUTS --out OUT

The net reads with the blocks of A up to a depth, then a map that least squares fit on the training
cuts, then the blocks of B. Controls: no map, A untrained, B with itself.

Shapes: S steps, D, E widths, N speakers.
"""

import argparse
import copy
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recipes.claims.arbitration import readings
from recipes.claims.asymmetry.common import COLOURS, axes, log, save
from recipes.claims.learning.report import difference
from recipes.compare.intervals import speaker_counts
from recipes.compare.jobs import guarded, publish
from recipes.provenance import commit, machine, table
from speechasym import files
from speechasym.corpora.manifests import check_writable
from speechasym.errors import ConfigError
from speechasym.levels import chain, ctc, hierarchy
from speechasym.levels.chain import Carry, Stage
from speechasym.recognition.trained_model import TrainedModel, open_run

HEAD = "phones"
RIDGE = 1e-4  # of the mean square of a column, so that columns that never move do no harm
KINDS = ("affine", "no map", "untrained below", "same net")


class Sentences(NamedTuple):
    """Cuts as features, with what is said."""

    rows: list[Tensor]  # (1, F, D)
    said: dict[str, list[str]]
    speakers: dict[str, str]


def sentences(net: TrainedModel, cuts: Path) -> Sentences:
    """Return the cuts with the features of a net."""
    data = readings.labelled(net, cuts)
    out = Sentences([], {}, {})
    for number, cut, x in readings.changed_cuts(net, cuts, "test"):
        out.rows.append(torch.as_tensor(np.asarray(x))[None])
        out.said[cut.id] = data.reference(HEAD, number)
        out.speakers[cut.id] = data.speakers[number]
    return out


def stages_of(net: TrainedModel) -> tuple[Stage, ...]:
    """Return the blocks of a net as stages. Raises `ConfigError` unless all keep their steps."""
    model: Any = net.model
    if not isinstance(model, hierarchy.Hierarchy) or any(
        level.events != "none" for level in model.config.levels
    ):
        problem = "has levels whose steps differ from net to net"
        raise ConfigError(net.folder, problem, "Stitch hierarchies with events=none")
    return chain.stages(model.config, 1)


def carried(net: TrainedModel, x: Tensor, depth: int) -> Carry:
    """Return what the first blocks of a net hand on, for features (1, F, D)."""
    model: Any = net.model
    carry = chain.first_carry(model, x, torch.tensor([x.shape[1]]))
    for stage in stages_of(net)[:depth]:
        carry = chain.run(model, stage, carry).carry
    return carry


def crossing(net: TrainedModel, carry: Carry, depth: int) -> Tensor:
    """Return all that crosses from the blocks below to those above, (S, D), except features."""
    below_first = stages_of(net)[depth].level == 0
    tensors = carry.tensors()[1:] if below_first else carry.tensors()
    return torch.cat([t[0] for t in tensors], 1)


def least_squares(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the matrix (D, E) and vector (E,) of the affine map from x (S, D) to y (S, E)."""
    x, y = x.double(), y.double()
    centre, target = x.mean(0), y.mean(0)
    x, y = x - centre, y - target
    gram = x.T @ x
    ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    matrix = torch.linalg.solve(gram + ridge, x.T @ y)
    return matrix.float(), (target - centre @ matrix).float()


@torch.no_grad()
def fit(
    a: TrainedModel, b: TrainedModel, depth: int, rows: Iterable[Tensor]
) -> tuple[Tensor, Tensor, float]:
    """Fit the map from what A hands on at a depth to what B does; also the share it explains."""
    pairs = [[crossing(net, carried(net, x, depth), depth) for net in (a, b)] for x in rows]
    x, y = (torch.cat(column) for column in zip(*pairs, strict=True))
    matrix, shift = least_squares(x, y)
    left = (x @ matrix + shift - y).square().sum() / (y - y.mean(0)).square().sum()
    return matrix, shift, 1 - left.item()


@torch.no_grad()
def read(
    a: TrainedModel, b: TrainedModel, depth: int, affine: tuple[Tensor, Tensor] | None, x: Tensor
) -> list[int]:
    """Return the labels of the best path of the stitched net, for features (1, F, D).

    affine: the map; None: what A hands on enters B as it is.
    """
    model: Any = b.model
    from_a, stages = carried(a, x, depth), stages_of(b)
    own = carried(b, x, depth)  # whose masks and times are those of A
    crossed = crossing(a, from_a, depth)
    if affine is not None:
        crossed = crossed @ affine[0] + affine[1]
    level = stages[depth].level
    parts = list(crossed[None].split([t.shape[2] for t in own.tensors()[level == 0 :]], 2))
    steps = own.x if level == 0 else replace(own.x, y=parts.pop(0))
    carry = Carry(steps, parts[0] if parts else None)
    for stage in stages[depth:]:
        output = chain.run(model, stage, carry)
        carry = output.carry
    log_probs, lengths = output.heads[HEAD]
    best = log_probs[0, : int(lengths[0])].argmax(-1)
    return [label for _, _, label in ctc.runs(best)]


def counted(
    net: TrainedModel, test: Sentences, answers: Sequence[Sequence[int]]
) -> NDArray[np.float64]:
    """Return errors and tokens (N, 2) of the speakers, by name."""
    symbols = net.inventories[HEAD]
    read = dict(zip(test.said, ([symbols[k - 1] for k in one] for one in answers), strict=True))
    return speaker_counts(test.said, read, test.speakers)


def untrained(net: TrainedModel) -> TrainedModel:
    """Return a net of the same configuration with random weights."""
    model: Any = copy.deepcopy(net.model)
    sizes = {head: len(symbols) for head, symbols in net.written.items()}
    torch.manual_seed(0)
    return net._replace(model=hierarchy.build_model(model.config, model.inputs, sizes).eval())


def measure(
    a: TrainedModel, b: TrainedModel, train: Sentences, test: Sentences
) -> list[dict[str, Any]]:
    """Return a line for each depth and kind: counts of the speakers, share that is explained."""
    depths = len(stages_of(b))
    if len(stages_of(a)) != depths:
        problem = f"has {len(stages_of(a))} blocks, and {b.folder} {depths}"
        raise ConfigError(a.folder, problem, "Stitch nets of equal depth")
    pairs = {"affine": a, "untrained below": untrained(a), "same net": b}
    lines = []
    for depth in range(1, depths):
        for kind, below in pairs.items():
            matrix, shift, explained = fit(below, b, depth, train.rows)
            answers = [read(below, b, depth, (matrix, shift), x) for x in test.rows]
            lines.append({"depth": depth, "kind": kind, "explained": explained,
                          "counts": counted(b, test, answers).tolist()})  # fmt: skip
        if same_widths(a, b):
            answers = [read(a, b, depth, None, x) for x in test.rows]
            lines.append({"depth": depth, "kind": "no map", "explained": None,
                          "counts": counted(b, test, answers).tolist()})  # fmt: skip
        log(f"{a.folder.name} to {b.folder.name}: after block {depth}")
    return lines


def same_widths(a: TrainedModel, b: TrainedModel) -> bool:
    """Return whether two nets have the same widths, so that one can enter the other as it is."""
    models: list[Any] = [a.model, b.model]
    one, two = ([level.width for level in model.config.levels] for model in models)
    return one == two


def whole(net: TrainedModel, test: Sentences) -> NDArray[np.float64]:
    """Return errors and tokens (N, 2) of a net by itself."""
    return counted(net, test, [read(net, net, 1, None, x) for x in test.rows])


def report(pairs: Sequence[dict[str, Any]]) -> str:
    """Return the tables in Markdown."""
    parts = [
        "Errors in phones, %: of the upper net by itself, then stitched after so many of its "
        "blocks; points more than by itself [95 % interval over speakers].\n"
    ]
    for pair in pairs:
        own = np.array(pair["own"])
        depths = sorted({line["depth"] for line in pair["lines"]})
        body = []
        for kind in KINDS:
            lines = {x["depth"]: x for x in pair["lines"] if x["kind"] == kind}
            if not lines:
                continue
            cells = []
            for depth in depths:
                counts = np.array(lines[depth]["counts"])
                gap = difference(counts[None], own[None])
                rate = 100 * counts[:, 0].sum() / counts[:, 1].sum()
                cells.append(f"{rate:.1f}; {gap[0]:+.1f} [{gap[1]:+.1f}, {gap[2]:+.1f}]")
            body.append([kind, *cells])
            if kind != "no map":
                shares = [f"{lines[d]['explained']:.2f}" for d in depths]
                body.append([f"{kind}: explained", *shares])
        rate = 100 * own[:, 0].sum() / own[:, 1].sum()
        parts.append(f"{pair['a']} below, {pair['b']} above, which has {rate:.1f} by itself:\n")
        parts.append(table(["", *(f"after {d}" for d in depths)], body))
    return "\n".join([*parts, f"Commit {commit()}, {machine()}.\n"])


def shown(run: str) -> str:
    """Return a run's name in words: width 64, seed 0."""
    system, _, seed = run.rpartition("-seed")
    return f"{re.sub(r'^w(?=[0-9])', 'width ', system)}, seed {seed}"


def figure(pairs: Sequence[dict[str, Any]], out: Path) -> None:
    """Plot the errors by depth, up to as many as symbols."""
    fig, row = axes(len(pairs), 3.2 * len(pairs) + 0.6, 3.4, sharey=True)
    for axis, pair in zip(row, pairs, strict=True):
        own = np.array(pair["own"])
        axis.axhline(100 * own[:, 0].sum() / own[:, 1].sum(), color="0.4", lw=1, ls=":")
        for number, kind in enumerate(KINDS):
            lines = sorted((x["depth"], np.array(x["counts"])) for x in pair["lines"]
                           if x["kind"] == kind)  # fmt: skip
            if lines:
                rates = [100 * c[:, 0].sum() / c[:, 1].sum() for _, c in lines]
                axis.plot([d for d, _ in lines], rates, ".-", color=COLOURS[number], label=kind)
        title = f"below: {shown(pair['a'])}\nabove: {shown(pair['b'])}"
        axis.set_title(title, fontsize="small")
        axis.set_xlabel("stitched after block")
    row[0].set(ylabel="phone errors, %", ylim=(None, 100))
    row[0].legend(frameon=False, fontsize="small")
    save(fig, out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.claims.starvation.stitch",
        description=(__doc__ or "").split("\n")[0],
    )
    add = parser.add_argument
    text = "finished runs: the lower blocks of A, the upper ones of B; may be repeated"
    add(
        "--pair", nargs=2, type=Path, action="append", required=True, metavar=("A", "B"), help=text
    )  # fmt: skip
    add("--train", type=Path, required=True, metavar="CUTS", help="cuts to fit the map on")
    add("--test", type=Path, required=True, metavar="CUTS")
    add("--out", type=Path, required=True, help="folder of stitched.json, stitched.md and .png")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)

    def act() -> int:
        check_writable(options.out).mkdir(parents=True, exist_ok=True)
        pairs = []
        for a, b in options.pair:
            nets = open_run(a), open_run(b)
            train, test = (sentences(nets[1], cuts) for cuts in (options.train, options.test))
            lines = measure(*nets, train, test)
            own = whole(nets[1], test).tolist()
            pairs.append({"a": a.name, "b": b.name, "own": own, "lines": lines})
        files.write_json(options.out / "stitched.json", pairs)
        publish(report(pairs), options.out / "stitched.md")
        figure(pairs, options.out / "stitched.png")
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
