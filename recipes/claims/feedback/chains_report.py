"""Right answers to chains by length and passes, from what `chains` wrote: a table and a figure.

python -m recipes.claims.feedback.chains_report OUT/chains*.jsonl --out OUT/chains.md
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from recipes.claims.feedback.chains import LONGEST, TRAINED
from recipes.compare.jobs import read_lines
from recipes.provenance import table
from speechasym import files
from speechasym.plots.axes import DPI, open_grid, save

Right = dict[str, dict[int, NDArray[np.float64]]]  # {system: {passes: (seeds, lengths)}}


def read(lines: Sequence[Mapping[str, Any]]) -> Right:
    """Return the share of right answers of each system."""
    right: Right = {}
    for line in lines:
        for passes, shares in line["right"].items():
            own = right.setdefault(line["system"], {})
            own[int(passes)] = np.array([*own.get(int(passes), []), shares])
    return right


def summary(right: Right, lines: Sequence[Mapping[str, Any]]) -> str:
    """Return means over seeds in Markdown, with the extremes if there are several."""
    body = []
    for system, by in right.items():
        own = [line for line in lines if line["system"] == system]
        for passes, shares in sorted(by.items()):
            cells = [f"{m:.2f}" if len(own) == 1 else f"{m:.2f} ({low:.2f} to {high:.2f})"
                     for m, low, high in zip(shares.mean(0), shares.min(0), shares.max(0),
                                             strict=True)]  # fmt: skip
            count = f"{own[0]['parameters']:,}"
            body.append([system, count, str(len(own)), str(passes), *cells])
    head = ["system", "parameters", "seeds", "passes", *(str(n) for n in range(1, LONGEST + 1))]
    return table(head, body)


def drawn(right: Right) -> Figure:
    """Draw right answers of systems with feedback against passes, a line for each length."""
    figure = Figure(figsize=(7.5, 4.2), dpi=DPI, layout="constrained")
    axes = figure.subplots()
    loops = {n: by for n, by in right.items() if len(by) > 1}
    for by in loops.values():
        for length in range(LONGEST):
            colour = colormaps["viridis"](0.95 * length / (LONGEST - 1))
            values = [shares[:, length].mean() for shares in by.values()]
            axes.plot(list(by), values, "-o", markersize=3, color=colour,
                      label=f"{length + 1}")  # fmt: skip
    axes.axvline(TRAINED, color="0.6", linewidth=0.8, linestyle=":")
    axes.annotate("most in training", (TRAINED, 0.02), (3, 0), textcoords="offset points",
                  fontsize="small", color="0.4")  # fmt: skip
    axes.set_xlabel("passes")
    axes.set_ylabel("share of right answers")
    axes.legend(title="links", frameon=False, fontsize="small", bbox_to_anchor=(1, 1),
                loc="upper left")  # fmt: skip
    open_grid(axes)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", help="what chains wrote")
    parser.add_argument("--out", type=Path, required=True, help="file, Markdown; a .png beside it")
    options = parser.parse_args(arguments)
    lines = [line for path in options.files for line in read_lines(path)]
    right = read(lines)
    save(drawn(right), options.out.with_suffix(".png"))
    text = summary(right, lines)
    with files.atomic(options.out) as file:
        file.write(text.encode())
    print(text)


if __name__ == "__main__":
    main()
