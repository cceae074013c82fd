"""Tables and a figure of `windows` and `hour` (C15).

    python -m recipes.claims.context.report FOLDER --out FOLDER

Shapes: K seeds, S speakers.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recipes.claims.asymmetry.common import COLOURS, Interval, axes, formatted, save
from recipes.compare.intervals import drawn, rates
from recipes.compare.jobs import read_lines
from recipes.provenance import table

ENOUGH = 0.03  # a window is enough if it costs at most so much of the errors, relative


def counts(lines: Sequence[dict[str, Any]], head: str) -> NDArray[np.float64]:
    """Return errors and tokens (K, S, 2) of lines with the same speakers."""
    lines = sorted(lines, key=lambda line: line["seed"])
    return np.array([list(line["counts"][head].values()) for line in lines], float)


def change(
    window: NDArray[np.float64], whole: NDArray[np.float64], paired: bool = True
) -> Interval:
    """Return the difference of two error rates (K, S, 2) with its 95 % interval.

    paired: both are of the same nets, so that seeds are drawn alike for both; so are speakers.
    """
    speakers = drawn(whole.shape[1], 0)
    seeds = [drawn(len(c), 1, 0 if paired else n) for n, c in enumerate((window, whole))]
    a, b = (rates(c, s, speakers) for c, s in zip((window, whole), seeds, strict=True))
    total = [c[..., 0].sum() / c[..., 1].sum() for c in (window, whole)]
    low, high = np.quantile(a - b, [0.025, 0.975])
    return Interval(float(total[0] - total[1]), float(low), float(high))


def rate_of(whole: NDArray[np.float64]) -> Interval:
    """Return an error rate (K, S, 2) with its 95 % interval over seeds and speakers."""
    drawings = rates(whole, drawn(len(whole), 1, 0), drawn(whole.shape[1], 0))
    low, high = np.quantile(drawings, [0.025, 0.975])
    return Interval(float(whole[..., 0].sum() / whole[..., 1].sum()), float(low), float(high))


def groups(lines: Sequence[dict[str, Any]]) -> dict[tuple, dict[int, list[dict[str, Any]]]]:
    """Return {(corpus, system, again): {frames: lines of its seeds}}; 0 frames: no window.

    Windows in which not all seeds were read are left out.
    """
    found: dict[tuple, dict[int, list[dict[str, Any]]]] = {}
    for line in sorted(lines, key=lambda line: line["frames"]):
        key = (line["cuts"].split("_")[0], line["system"])
        for again in (line["again"],) if line["frames"] else (False, True):
            found.setdefault((*key, again), {}).setdefault(line["frames"], []).append(line)
    whole = {key: [n for n in by if len(by[n]) == len(by[0])] for key, by in found.items()}
    return {key: {n: found[key][n] for n in some} for key, some in whole.items() if some[1:]}


def window_tables(lines: Sequence[dict[str, Any]]) -> str:
    """Return what each window costs, and how many events it holds."""
    body = []
    frames: list[int] = sorted({line["frames"] for line in lines} - {0})
    for (corpus, system, again), by in groups(lines).items():
        for head in by[0][0]["counts"]:
            whole = counts(by[0], head)
            costs = {n: change(counts(by[n], head), whole) for n in frames if n in by}
            enough = [
                n for n in costs
                if all(c.value <= ENOUGH * rate_of(whole).value for m, c in costs.items() if m >= n)
            ]  # fmt: skip
            body.append([
                corpus, system + ", normalised in it" * again, str(len(whole)), head,
                formatted(rate_of(whole), 1, 100),
                *(formatted(costs[n], 1, 100) if n in costs else "-" for n in frames),
                str(enough[0]) if enough else "-",
            ])  # fmt: skip
    head = ["corpus", "system", "seeds", "head", "whole, %", *map(str, frames), "enough, frames"]
    return table(head, body)


def event_table(lines: Sequence[dict[str, Any]]) -> str:
    """Return what levels pass on, a second and in windows."""
    body = []
    for (corpus, system, again), by in groups(lines).items():
        if again:
            continue
        kept = np.mean([line["kept"] for line in by[0]], 0)
        body.append([
            corpus, system, ", ".join(f"{k:.1f}" for k in kept),
            ", ".join(f"{100 / k:.1f}" for k in kept),
            *(", ".join(f"{k * n / 100:.0f}" for k in kept) for n in (108, 432, 1992)),
        ])  # fmt: skip
    head = ["corpus", "system", "passed on a second, by level", "frames for each",
            "in 108 frames", "in 432", "in 1992"]  # fmt: skip
    return table(head, body)


def rivals(lines: Sequence[dict[str, Any]], ours: str = "events") -> str:
    """Return differences of other systems of a corpus from `events`, in points, whole and short."""
    found, body = groups(lines), []
    for (corpus, system, again), by in found.items():
        mine = found.get((corpus, ours, again))
        if again or mine is None or system == ours:
            continue
        for head in by[0][0]["counts"]:
            cells = [
                formatted(change(counts(by[n], head), counts(mine[n], head), False), 1, 100)
                for n in (0, 36, 60, 108, 216) if n in by and n in mine
            ]  # fmt: skip
            body.append([corpus, system, head, *cells])
    return table(["corpus", "system", "head", "whole", "36", "60", "108", "216"], body)


def hour_table(lines: Sequence[dict[str, Any]]) -> str:
    """Return time and memory."""
    body = [
        [
            line["system"], f"{line['minutes']:g}", line["way"], f"{line['seconds']:.1f}",
            f"{line['peak'] - line['before']}", f"{line['peak']}",
            ", ".join(map(str, [line["frames"], *line["passed"]])) if "passed" in line else "-",
        ]
        for line in lines
    ]  # fmt: skip
    head = ["system", "minutes", "read", "processor s", "memory of reading, MB", "of all, MB",
            "frames, and what levels pass on"]  # fmt: skip
    return table(head, body)


def picture(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot what a window costs: a panel for each corpus, a colour for each head."""
    found = groups(lines)
    corpora = sorted({corpus for corpus, _, _ in found})
    figure, row = axes(len(corpora), 4.8 * len(corpora), 4.2, sharey=True)
    for axis, corpus in zip(row, corpora, strict=True):
        chosen = [(key, by) for key, by in found.items() if key[0] == corpus]
        systems = list(dict.fromkeys(system for (_, system, _), _ in chosen))
        for (_, system, again), by in chosen:
            at = [n for n in by if n]
            for head, colour in zip(("phones", "letters", "words"), COLOURS, strict=False):
                if head not in by[0][0]["counts"]:
                    continue
                whole = counts(by[0], head)
                costs = [100 * change(counts(by[n], head), whole).value for n in at]
                axis.plot(at, costs, "--" if again else "-", color=colour, lw=1.2, ms=4,
                          marker="os^vD"[systems.index(system) % 5], mfc="none" if again else None,
                          label=f"{system}: {head}" * (not again))  # fmt: skip
        ticks = [36, 108, 432, max(n for _, by in chosen for n in by)]
        axis.set(xscale="log", title=corpus, xlabel="window, frames of 10 ms")
        axis.set_xticks(ticks, [*map(str, ticks)])
        axis.minorticks_off()
        axis.legend(frameon=False, fontsize=7)
    row[0].set_ylim(top=30)  # words of nets that read hardly any go beyond
    row[0].set_ylabel("errors more than with the whole, points\n(dashed: normalised in the window)")
    save(figure, path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="with windows.jsonl, and hour.jsonl if there")
    parser.add_argument("--out", type=Path, default=Path("out/claims/context"))
    options = parser.parse_args(arguments)
    lines = read_lines(options.folder / "windows.jsonl")
    text = "\n".join([window_tables(lines), event_table(lines), rivals(lines)])
    if hours := read_lines(options.folder / "hour.jsonl"):
        text += "\n" + hour_table(hours)
    picture(lines, options.out / "context.png")
    (options.out / "context.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
