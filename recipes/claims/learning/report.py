"""Compare systems of finished runs, such as learning rules: errors, target, memory, verdict.

python -m recipes.claims.learning.report OUT/mini OUT/timit OUT/librispeech --out OUT/report.md

Each folder is one of `recipes.compare`: results.jsonl, and a folder for each run.
"""

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.compare.intervals import drawn, rates
from recipes.compare.jobs import MEASURES, guarded, publish, read_lines, spread
from recipes.compare.report import counted
from recipes.provenance import table
from speechasym.errors import OutputError
from speechasym.training.run_folder import METRICS

BASE = "backprop-inter"
GOAL_POINTS, GOAL_MEMORY = 0.5, 0.6  # at most so much more error, and so much of the memory
HALF = 0.5  # share of the run after which the base's error is the target
WINDOW = 50  # steps of a running mean


def difference(ours: NDArray[np.float64], base: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return by how many points ours, (K, S, 2), has more errors, with its 95 % interval.

    Both have the same speakers in each drawing; their seeds are drawn separately.
    """
    speakers = drawn(ours.shape[1], 0)
    sides = [rates(c, drawn(len(c), 1, n), speakers) for n, c in enumerate((ours, base))]
    low, high = np.quantile(100 * (sides[0] - sides[1]), [0.025, 0.975])
    whole = [c[..., 0].sum() / c[..., 1].sum() for c in (ours, base)]
    return 100 * (whole[0] - whole[1]), float(low), float(high)


def read_metrics(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the lines of a run's steps, and those of the meter."""
    lines = [json.loads(line) for line in (folder / METRICS).read_text("utf-8").splitlines()]
    return [x for x in lines if "loss" in x or "best" in x or _validates(x)], [
        x for x in lines if "stages" in x
    ]


def _validates(line: Mapping[str, Any]) -> bool:
    return any(key.startswith("dev_error_") for key in line)


def progress(lines: Sequence[Mapping[str, Any]], head: str) -> list[tuple[int, float, float]]:
    """Return (step, seconds, value): errors on dev, or the training loss if there are few.

    The loss is a running mean over steps.
    """
    seconds, found = 0.0, []
    for line in lines:
        seconds = line.get("seconds", seconds)
        if _validates(line):
            found.append((line["step"], seconds, line[f"dev_error_{head}"]))
    if len(found) > 4:
        return found
    steps = [line for line in lines if f"loss_{head}" in line]
    values = [line[f"loss_{head}"] for line in steps]
    return [
        (line["step"], line["seconds"], statistics.fmean(values[max(0, n - WINDOW) : n]))
        for n, line in enumerate(steps, 1)
    ]


def reached(rows: Sequence[tuple[int, float, float]], target: float) -> tuple[int, float] | None:
    """Return step and seconds of the first value at or below the target."""
    return next(((step, seconds) for step, seconds, value in rows if value <= target), None)


def corpus_report(folder: Path, base: str = BASE) -> str:
    """Return the tables of one corpus in Markdown. Raises `OutputError` without a base."""
    lines = read_lines(folder / "results.jsonl")
    names = list(dict.fromkeys(line["system"] for line in lines))
    if base not in names:
        raise OutputError(folder, f"contains no run of {base}", "Run recipes.compare first")
    by = {n: sorted((x for x in lines if x["system"] == n), key=lambda x: x["seed"]) for n in names}
    measures = [m for m in MEASURES.values() if any(m in line["rates"] for line in lines)]
    head = json.loads((folder / f"{base}-seed0" / "config.json").read_text("utf-8"))["config"]
    target_head = head["target"] or next(h for h, w in head["heads"].items() if w)
    runs = {
        (name, line["seed"]): read_metrics(folder / f"{name}-seed{line['seed']}")
        for name in names for line in by[name]
    }  # fmt: skip
    curves = {key: progress(steps, target_head) for key, (steps, _) in runs.items()}
    halves = [c[int(len(c) * HALF)][2] for (name, _), c in curves.items() if name == base]
    target = statistics.median(halves)
    body = []
    for name in names:
        rows: list[str] = [name, str(len(by[name]))]
        for measure in measures:
            values = [100 * x["rates"][measure] for x in by[name] if measure in x["rates"]]
            cell = spread(values)
            if name != base and values:
                ours, theirs = (counted(by[n], measure) for n in (name, base))
                middle, low, high = difference(ours, theirs)
                cell += f"; {middle:+.1f} [{low:+.1f}, {high:+.1f}]"
            rows.append(cell)
        hits = [reached(curves[name, x["seed"]], target) for x in by[name]]
        done = [hit for hit in hits if hit]
        if len(done) == len(hits):
            rows += [f"{statistics.median(h[i] for h in done):.0f}" for i in (0, 1)]
        else:
            rows += [f"{len(done)} of {len(hits)} runs", "-"]
        rows.append(f"{statistics.median(x['seconds'] for x in by[name]):.0f}")
        body.append(rows)
    metered = memory_table(folder, names)
    kind = "error on dev" if len([x for x in runs[base, 0][0] if _validates(x)]) > 4 else "loss"
    return "\n".join([
        f"### {folder.name}\n",
        f"Rates in %: median (least to greatest) over seeds; difference from {base} in points, "
        "all seeds together [95 % interval: speakers drawn alike for both, seeds drawn for each]. "
        f"Target: the {kind} of {target_head} that {base} has after half of its run, {target:.3g} "
        "(median).\n",
        table(["system", "seeds", *measures, "steps to target", "s to target", "s"], body),
        *metered,
    ])  # fmt: skip


def memory_table(folder: Path, names: Sequence[str]) -> list[str]:
    """Return what the meter says, from the runs in `meter` of a folder; nothing without them."""
    body = []
    for name in names:
        path = folder / "meter" / f"{name}-seed0"
        if not (path / METRICS).exists():
            continue
        lines = read_metrics(path)[1]
        if not lines:
            continue
        last = lines[-1]
        ratio = statistics.median(x["memory"] / x["memory_backprop"] for x in lines)
        cosines = [s.get("cosine") for s in last["stages"]]
        body.append([
            name, f"{statistics.median(x['memory'] for x in lines) / 2**20:.0f}",
            f"{100 * ratio:.0f}",
            ", ".join("-" if c is None else f"{c:.2f}" for c in cosines),
        ])  # fmt: skip
    if not body:
        return []
    head = ["rule", "activations, MiB", "% of backprop", "cosine of each stage, last epoch"]
    return ["Peak of the activations held in a step (docs/learning.md, The meter), and the cosine "
            "between a stage's gradient and the true one:\n", table(head, body)]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.claims.learning.report",
        description=(__doc__ or "").split("\n")[0],
    )
    parser.add_argument("folders", type=Path, nargs="+", help="of recipes.compare, one a corpus")
    parser.add_argument("--out", type=Path, required=True, help="file, Markdown")
    parser.add_argument("--base", default=BASE, help="system that the others are compared with")
    options = parser.parse_args(arguments)

    def act() -> int:
        publish(
            "\n".join(corpus_report(folder, options.base) for folder in options.folders),
            options.out,
        )
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
