"""Tables and a figure of language models.

    python -m recipes.language.report measured.jsonl --out report.md

Bits per character, lower is better, of all test books together; their differences from `levels`,
with 95 % intervals over stretches of 2000 characters and over seeds. What corrects an n-gram model
is compared with the levels that do, and these with the n-gram model alone. The figure, of the same
name as the report, .png, has the bits by the number of characters before each.

Shapes: K seeds, N stretches.
"""

import argparse
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.claims.block.depth_report import COLOURS
from recipes.compare.intervals import drawn
from recipes.compare.jobs import guarded, publish, read_lines, spread
from recipes.language.measure import CONTEXTS
from recipes.language.ngram import NAME
from recipes.provenance import table
from speechasym.errors import OutputError

CORRECTS = "corrects"
Lines = Mapping[str, list[dict[str, Any]]]  # {system: a line a seed}


def bits(lines: Sequence[Mapping[str, Any]], context: int, books: Sequence[str]) -> NDArray:
    """Return the bits (K, N) of stretches of these books."""
    return np.array(
        [np.concatenate([line["bits"][book][str(context)] for book in books]) for line in lines]
    )


def difference(ours: NDArray, base: NDArray) -> tuple[float, float, float]:
    """Return by how many bits ours, (K, N), has more, with its 95 % interval.

    Both have the same stretches in each drawing; their seeds are drawn separately.
    """
    stretches = drawn(ours.shape[1], 0)
    stretches = stretches / stretches.sum(1, keepdims=True)
    sides = []
    for number, values in enumerate((ours, base)):
        seeds = drawn(len(values), 1, number) / len(values)
        sides.append(np.einsum("rk,rn,kn->r", seeds, stretches, values, optimize=True))
    low, high = np.quantile(sides[0] - sides[1], [0.025, 0.975])
    return float(ours.mean() - base.mean()), float(low), float(high)


def base_of(name: str) -> str:
    """Return the system that one is compared with."""
    if name == CORRECTS:
        return NAME
    return CORRECTS if name.startswith(CORRECTS) else "levels"


def _compared(systems: Lines, books: Sequence[str]) -> str:
    body = []
    for name, lines in systems.items():
        values = bits(lines, CONTEXTS[-1], books)
        cell = spread(list(values.mean(1)), 3)
        if (base := base_of(name)) in systems and name != base:
            points, low, high = difference(values, bits(systems[base], CONTEXTS[-1], books))
            cell += f"; {points:+.3f} [{low:+.3f}, {high:+.3f}] from {base}"
        row = [
            f"{np.mean([bits([line], CONTEXTS[-1], [b]).mean() for line in lines]):.3f}"
            for b in books
        ]
        body.append([
            name, str(len(lines)), f"{lines[0]['parameters']:,}", f"{lines[0]['flops'] / 1e6:.1f}",
            f"{np.median([line['seconds'] for line in lines]):.0f}", cell, *row,
        ])  # fmt: skip
    head = ["system", "seeds", "parameters", "MFLOP a symbol", "processor s", "bits per character"]
    return table([*head, *books], body)


def _by_context(systems: Lines, books: Sequence[str]) -> str:
    body = [
        [name, *(spread(list(bits(lines, c, books).mean(1)), 3) for c in CONTEXTS)]
        for name, lines in systems.items()
    ]
    return table(["system", *(str(c) for c in CONTEXTS)], body)


def _events(systems: Lines) -> str:
    body = []
    for name, lines in systems.items():
        for number in range(len(lines[0]["events"])):
            rows = [line["events"][number] for line in lines]
            body.append([
                name, str(number), spread([row["symbols"] for row in rows], 1),
                spread([row["precision"] for row in rows], 2),
                spread([row["recall"] for row in rows], 2), f"{rows[0]['chance']:.2f}",
            ])  # fmt: skip
    head = ["system", "level", "letters an event", "begin with a word", "words found", "chance"]
    return table(head, body)


def figure(systems: Lines, books: Sequence[str], path: Path) -> None:
    """Draw the bits by context."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    drawing, axis = plt.subplots(figsize=(7.5, 4), layout="constrained")
    for (name, lines), colour in zip(systems.items(), itertools.cycle(COLOURS), strict=False):
        values = np.array([bits(lines, c, books).mean(1) for c in CONTEXTS])
        style = ":" if name == NAME else "--" if name.startswith(CORRECTS) else "-"
        median = np.median(values, 1)
        axis.plot(CONTEXTS, median, style, marker="o", color=colour, label=name, lw=1.5, ms=4)
        axis.fill_between(CONTEXTS, values.min(1), values.max(1), color=colour, alpha=0.2, lw=0)
    axis.set_xscale("log", base=2)
    axis.set_xticks(CONTEXTS, [str(c) for c in CONTEXTS])
    axis.set(xlabel="least number of letters before", ylabel="bits per character")
    axis.spines[["top", "right"]].set_visible(False)
    drawing.legend(frameon=False, loc="outside right upper")
    drawing.savefig(path, dpi=130)
    plt.close(drawing)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("lines", type=Path, help="file of recipes.language.measure")
    parser.add_argument("--out", type=Path, required=True, help="file, Markdown")
    options = parser.parse_args(arguments)

    def act() -> int:
        systems = defaultdict(list)
        for line in read_lines(options.lines):
            systems[line["system"]].append(line)
        if not systems:
            remedy = "Run recipes.language.measure"
            raise OutputError(options.lines, "contains no measured run", remedy)
        books = list(next(iter(systems.values()))[0]["bits"])
        parts = [_compared(systems, books), _by_context(systems, books), _events(systems)]
        for name, lines in systems.items():
            if not lines[0]["text"]:
                continue
            samples = [f"level {n}: `{e['sample']!r}`" for n, e in enumerate(lines[0]["events"])]
            parts.append("\n".join([f"{name} writes:\n\n> {lines[0]['text']}", *samples]))
        publish("\n\n".join(parts), options.out)
        figure(systems, books, options.out.with_suffix(".png"))
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
