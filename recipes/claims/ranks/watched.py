"""What the monitor saw in runs NAME-seedN: dead units and residual structure by level (C6, C9)."""

import argparse
from pathlib import Path

import numpy as np

from speechasym.plots.curves import read_metrics
from speechasym.plots.watched import LevelHistory, level_histories

COLUMNS = (
    "dead at the first validation, %", "dead at last, %", "entropy of wins", "selectivity",
    "input explained", "labels by the error", "beyond the units", "next step by the error",
    "beyond the units",
)  # fmt: skip


def values(history: LevelHistory) -> list[float]:
    """Return what the columns show of a level."""
    use, left = history.use, list(history.left.values())
    return [
        100 * use["dead units"][0], 100 * use["dead units"][-1], use["entropy of wins"][-1],
        use["selectivity"][-1], *(curve[-1] for curve in left),
    ]  # fmt: skip


def report(runs: list[Path]) -> str:
    """Return a table: mean over seeds, least and greatest of the dead units at last."""
    groups: dict[tuple[str, str], list[list[float]]] = {}
    for run in runs:
        for history in level_histories(read_metrics(run)):
            key = run.name.rsplit("-seed", 1)[0], history.title.split(":")[0]
            groups.setdefault(key, []).append(values(history))
    lines = ["| run | level | seeds | " + " | ".join(COLUMNS) + " |"]
    lines.append("|" + " --- |" * (3 + len(COLUMNS)))
    for (name, level), rows in groups.items():
        table = np.array(rows)
        mean = table.mean(0)
        cells = [
            f"{mean[0]:.0f}",
            f"{mean[1]:.0f} ({table[:, 1].min():.0f}-{table[:, 1].max():.0f})",
        ]
        cells += [f"{value:.2f}" for value in mean[2:]]
        lines.append(f"| {name} | {level} | {len(rows)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    print(report(parser.parse_args(arguments).runs))


if __name__ == "__main__":
    main()
