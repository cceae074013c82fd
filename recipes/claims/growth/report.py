"""Errors and FLOPs of systems that grow, or do not: tables, and a figure beside them.

python -m recipes.claims.growth.report OUT/mini --out OUT/report.md

The folder is one of `recipes.compare`: results.jsonl, and a folder for each run.
"""

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from recipes.claims.learning.report import corpus_report
from recipes.compare.jobs import guarded, publish, read_lines, spread
from recipes.provenance import table
from speechasym.plots.axes import DPI, open_grid, plain_log_ticks, save
from speechasym.training.run_folder import METRICS

BASE, HEAD = "full", "phones"


class Progress(NamedTuple):
    """What a run had reached, and when."""

    errors: list[tuple[float, float]]  # FLOPs, error on dev
    growths: list[tuple[float, list[int]]]  # FLOPs, sizes of the levels since


def progress(folder: Path) -> Progress:
    """Return the errors and growths of a run by its FLOPs."""
    flops, errors, growths = 0.0, [], []
    for text in (folder / METRICS).read_text("utf-8").splitlines():
        line = json.loads(text)
        flops = line.get("flops", flops)
        if f"dev_error_{HEAD}" in line:
            errors.append((flops, line[f"dev_error_{HEAD}"]))
        if "grown" in line:
            growths.append((flops, line["sizes"]))
    return Progress(errors, growths)


def reached(run: Progress, target: float) -> float | None:
    """Return the FLOPs of the first error at or below the target, None if it was never reached."""
    return next((flops for flops, error in run.errors if error <= target), None)


def flops_table(runs: Mapping[str, Sequence[Progress]]) -> str:
    """Return, in Markdown, by how many times fewer FLOPs each system reaches what the base has.

    The target of each seed is the last error on dev of the base's run with that seed; a run that
    does not reach it counts as 0.
    """
    rows = []
    for name, own in runs.items():
        saved = []
        for seed, run in enumerate(own[: len(runs[BASE])]):
            target = runs[BASE][seed].errors[-1][1]
            base, flops = reached(runs[BASE][seed], target), reached(run, target)
            assert base is not None
            saved.append(base / flops if flops else 0.0)
        growths = [f"{g / run.errors[-1][0]:.2f}: {'+'.join(map(str, s))}"
                   for run in own[:1] for g, s in run.growths]  # fmt: skip
        last = [100 * run.errors[-1][1] for run in own]
        ratios = f"{statistics.median(saved):.2f} ({min(saved):.2f} to {max(saved):.2f})"
        rows.append([name, str(len(own)), spread(last), ratios, ", ".join(growths) or "-"])
    head = ["system", "seeds", "PER on dev", "times fewer FLOPs", "grows (share of the run: sizes)"]
    return table(head, rows)


def figure(runs: Mapping[str, Sequence[Progress]]) -> Figure:
    """Return errors on dev against FLOPs, a line a run, with a dot at each growth."""
    drawing = Figure(figsize=(7, 4.2), dpi=DPI, layout="constrained")
    axes = drawing.subplots()
    for number, (name, own) in enumerate(runs.items()):
        colour = f"C{number}"
        for seed, run in enumerate(own):
            x, y = ([point[i] for point in run.errors] for i in (0, 1))
            axes.plot([v / 1e12 for v in x], [100 * v for v in y], color=colour, linewidth=1.1,
                      label=None if seed else name, alpha=0.8)  # fmt: skip
            at = dict(zip(x, y, strict=True))
            marks = [(f, at[f]) for f, _ in run.growths if f in at]
            axes.plot([f / 1e12 for f, _ in marks], [100 * e for _, e in marks], "o",
                      color=colour, markersize=3.5)  # fmt: skip
    axes.set_yscale("log")
    plain_log_ticks(axes)
    axes.set_xlabel("training FLOPs (10¹²)")
    axes.set_ylabel("phone error on dev (%)")
    axes.legend(frameon=False, fontsize="small")
    open_grid(axes)
    return drawing


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.claims.growth.report", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("folder", type=Path, help="of recipes.compare")
    parser.add_argument("--out", type=Path, required=True, help="file, Markdown; a .png beside it")
    options = parser.parse_args(arguments)

    def act() -> int:
        text = corpus_report(options.folder, BASE)
        runs: dict[str, list[Progress]] = {}
        lines = read_lines(options.folder / "results.jsonl")
        for line in sorted(lines, key=lambda line: line["seed"]):
            folder = options.folder / f"{line['system']}-seed{line['seed']}"
            runs.setdefault(line["system"], []).append(progress(folder))
        save(figure(runs), options.out.with_suffix(".png"))
        publish(f"{text}\n\n{flops_table(runs)}\n", options.out)
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
