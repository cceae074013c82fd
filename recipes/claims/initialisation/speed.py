"""How many steps earlier than Kaiming? Curves of finished runs, and when they reach a target (C17).

python -m recipes.claims.initialisation.speed OUT/mini OUT/timit --out OUT/speed.md

Each folder is one of `recipes.compare`. Writes a table for each, and a figure of the same name as
the file, .png. Targets are those of the base with the same seed, which has the same batches, after
half of its run. The loss is that of the first head: of the higher ones, cuts do not count while a
level has fewer events than they have symbols, so that their losses begin near 0.

Shapes: T steps.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recipes.claims.block.depth_report import COLOURS
from recipes.claims.learning.report import HALF, read_metrics
from recipes.compare.jobs import guarded, publish, read_lines, spread
from recipes.provenance import table
from speechasym.errors import OutputError
from speechasym.training.config import HEADS

BASE = "kaiming"


class Curve(NamedTuple):
    """Losses of a run, and its errors on dev."""

    steps: NDArray[np.int64]  # (T,)
    loss: NDArray[np.float64]  # (T,) of the first head, mean over an epoch's steps
    validated: list[int]  # steps
    errors: list[float]


def curve(folder: Path) -> Curve:
    """Read the curve of a run. Raises `OutputError` if it cannot be read."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))["config"]
        lines, _ = read_metrics(folder)
    except (OSError, ValueError, LookupError) as error:
        raise OutputError(folder, f"cannot be read ({error})", "Run recipes.compare") from error
    first_head = next(head for head in HEADS if config["heads"].get(head))
    target = config["target"] or first_head
    steps = [line for line in lines if f"loss_{first_head}" in line]
    loss = np.array([line[f"loss_{first_head}"] for line in steps])
    window = max(1, sum(line["epoch"] == steps[0]["epoch"] for line in steps))
    total = np.cumsum(np.concatenate([np.zeros(1), loss]))
    last = np.arange(1, len(loss) + 1)
    first = np.maximum(0, last - window)
    dev: list[dict[str, Any]] = [line for line in lines if f"dev_error_{target}" in line]
    return Curve(
        np.array([line["step"] for line in steps]), (total[last] - total[first]) / (last - first),
        [line["step"] for line in dev], [line[f"dev_error_{target}"] for line in dev],
    )  # fmt: skip


def speed(ours: Curve, base: Curve) -> float:
    """Return how many times fewer steps we take to the loss that the base has at half of its run.

    0 if it is never reached.
    """
    half = int(len(base.loss) * HALF) - 1
    hit = np.flatnonzero(ours.loss <= base.loss[half])
    return float(base.steps[half] / ours.steps[hit[0]]) if len(hit) else 0.0


def speed_by_error(ours: Curve, base: Curve) -> float:
    """Return the same for the error on dev, whose steps are as coarse as validations."""
    half = int(len(base.errors) * HALF) - 1
    first = next((s for s, e in zip(ours.validated, ours.errors, strict=True)
                  if e <= base.errors[half]), None)  # fmt: skip
    return base.validated[half] / first if first else 0.0


def corpus(folder: Path) -> tuple[str, dict[str, list[Curve]]]:
    """Return the table of a corpus, and curves. Raises `OutputError` without runs of the base."""
    lines = read_lines(folder / "results.jsonl")
    curves: dict[str, dict[int, Curve]] = {}
    for line in lines:
        place = folder / f"{line['system']}-seed{line['seed']}"
        curves.setdefault(line["system"], {})[line["seed"]] = curve(place)
    if BASE not in curves:
        raise OutputError(folder, f"contains no run of {BASE}", "Run recipes.compare first")
    body = []
    for name, runs in curves.items():
        pairs = [(run, curves[BASE][seed]) for seed, run in runs.items() if seed in curves[BASE]]
        if not pairs:
            continue
        quarter, half = ([run.loss[int(len(run.loss) * s) - 1] for run, _ in pairs]
                         for s in (0.25, 0.5))  # fmt: skip
        validates = len(pairs[0][1].errors) > 4
        body.append([
            name, str(len(pairs)), spread([speed(*pair) for pair in pairs], 2),
            spread([speed_by_error(*pair) for pair in pairs], 2) if validates else "-",
            spread(quarter, 3), spread(half, 3), spread([run.loss[-1] for run, _ in pairs], 3),
        ])  # fmt: skip
    head = [
        "system",
        "seeds",
        "times fewer steps",
        "by error on dev",
        "loss at 1/4",
        "at 1/2",
        "end",
    ]
    return f"### {folder.name}\n\n{table(head, body)}", {
        name: list(runs.values()) for name, runs in curves.items()
    }


def figure(corpora: dict[str, dict[str, list[Curve]]], path: Path) -> None:
    """Draw the loss by step, a panel for each corpus, and the base's at half of its run."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, ScalarFormatter

    columns = min(2, len(corpora))
    rows = -(-len(corpora) // columns)
    drawing, grid = plt.subplots(
        rows,
        columns,
        figsize=(5.2 * columns + 1.3, 3.8 * rows),
        layout="constrained",
        squeeze=False,
    )
    axes = grid.flat
    for axis in axes[len(corpora) :]:
        axis.remove()
    systems = list(dict.fromkeys(system for curves in corpora.values() for system in curves))
    lines = {}
    for axis, (name, curves) in zip(axes, corpora.items(), strict=False):
        for system, runs in curves.items():
            number = systems.index(system)
            length = min(len(run.loss) for run in runs)
            middle = np.median([run.loss[:length] for run in runs], 0)
            (lines[system],) = axis.plot(
                runs[0].steps[:length], middle, lw=2.2 if number == 0 else 1.3,
                color=COLOURS[number % len(COLOURS)], ls="-" if number < len(COLOURS) else "--",
            )  # fmt: skip
            if system == BASE:
                half = int(length * HALF) - 1
                axis.axhline(middle[half], color="#777777", lw=0.8, ls=":")
        axis.set(title=name, xlabel="step", ylabel="training loss of the first head", yscale="log")
        axis.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
        for ticks in (axis.yaxis.set_major_formatter, axis.yaxis.set_minor_formatter):
            ticks(ScalarFormatter())
        axis.spines[["top", "right"]].set_visible(False)
    drawing.legend(lines.values(), lines, loc="outside right center", fontsize=8, frameon=False)
    drawing.savefig(path, dpi=110)
    plt.close(drawing)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.claims.initialisation.speed",
        description=(__doc__ or "").split("\n")[0],
    )
    parser.add_argument("folders", type=Path, nargs="+", help="of recipes.compare, one a corpus")
    parser.add_argument("--out", type=Path, required=True, help="file, Markdown")
    options = parser.parse_args(arguments)

    def act() -> int:
        texts, curves = [], {}
        for folder in options.folders:
            text, curves[folder.name] = corpus(folder)
            texts.append(text)
        publish("\n".join(texts), options.out)
        figure(curves, options.out.with_suffix(".png"))
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
