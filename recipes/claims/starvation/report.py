"""Errors by size of the net and amount of data; the best size, and whether it moves (C19).

    python -m recipes.claims.starvation.report OUT

OUT has shares.json of `shares`, and for each share a folder sentencesN of `recipes.compare`. It
writes report.md and starvation.png there.

Shapes: W sizes, K seeds, S speakers, R drawings.
"""

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from recipes.claims.asymmetry.common import COLOURS, axes, save
from recipes.claims.learning.report import difference
from recipes.claims.starvation.shares import SHARES
from recipes.compare.intervals import drawn, rates
from recipes.compare.jobs import guarded, publish, read_lines
from recipes.compare.report import counted
from recipes.provenance import table
from speechasym import files
from speechasym.errors import OutputError

MEASURE, DEV = "PER", "dev_error_phones"


class Share(NamedTuple):
    """What nets of several sizes do after training on one share of the data."""

    minutes: float
    sizes: list[int]  # (W,) parameters, ascending
    names: list[str]  # (W,) of the systems
    counts: list[NDArray[np.float64]]  # (W,) of (K, S, 2) errors and tokens of the test
    training: list[list[float]]  # (W,) of (K,) errors on what was trained on

    def drawings(self) -> NDArray[np.float64]:
        """Return (W, 1 + R) errors: of all, then of seeds and speakers drawn."""
        speakers = drawn(self.counts[0].shape[1], 0)
        rows = []
        for number, counts in enumerate(self.counts):
            whole = counts[..., 0].sum() / counts[..., 1].sum()
            rows.append([whole, *rates(counts, drawn(len(counts), 1, number), speakers)])
        return np.array(rows)


def read(out: Path) -> list[Share]:
    """Read the shares of which there are results. Raises `OutputError` if there is none."""
    try:
        lengths: Mapping[str, Any] = json.loads(files.read_text(out / SHARES, OutputError))
    except ValueError as error:
        raise OutputError(out / SHARES, f"is not JSON ({error})", "Write it again") from error
    found = []
    for n, length in lengths.items():
        by: dict[str, list[Mapping[str, Any]]] = {}
        for line in read_lines(out / f"sentences{n}" / "results.jsonl"):
            by.setdefault(line["system"], []).append(line)
        if by:
            order = sorted(by, key=lambda name: by[name][0]["parameters"])
            found.append(Share(
                length["seconds"] / 60, [by[name][0]["parameters"] for name in order], order,
                [counted(by[name], MEASURE) for name in order],
                [[line["dev"][DEV] for line in by[name]] for name in order],
            ))  # fmt: skip
    if not found:
        raise OutputError(out, "has no results of a share", "Run recipes.compare first, as run.sh")
    return sorted(found, key=lambda share: share.minutes)


def best(share: Share) -> tuple[int, NDArray[np.float64]]:
    """Return the number of the best size, and for each size how often it is when drawn (W,)."""
    samples = share.drawings()
    picks = samples[:, 1:].argmin(0)
    often = np.bincount(picks, minlength=len(share.sizes)) / len(picks)
    return int(samples[:, 0].argmin()), often


def moved(one: Share, other: Share) -> tuple[float, float, float]:
    """Return by how many octaves of parameters the best size moves from one share to another."""
    sizes = np.log2(one.sizes)
    a, b = (sizes[share.drawings().argmin(0)] for share in (one, other))
    low, high = np.quantile((b - a)[1:], [0.025, 0.975])
    return float((b - a)[0]), float(low), float(high)


def report(shares: Sequence[Share]) -> str:
    """Return the tables in Markdown."""
    body, gaps = [], []
    for share in shares:
        cells = []
        for counts, training in zip(share.counts, share.training, strict=True):
            own = 100 * counts[..., 0].sum(1) / counts[..., 1].sum(1)
            cells.append(f"{statistics.median(own):.1f} ({min(own):.1f} to {max(own):.1f}); "
                         f"{100 * statistics.median(training):.0f}")  # fmt: skip
        number, often = best(share)
        size = f"{share.sizes[number]:,} ({100 * often[number]:.0f} %)"
        body.append([f"{share.minutes:.1f}", *cells, size])
        largest = difference(share.counts[-1], share.counts[number])
        text = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*largest)
        gaps.append([f"{share.minutes:.1f}", "the largest is best"
                     if number == len(share.sizes) - 1 else text])  # fmt: skip
    seeds = sorted({len(counts) for share in shares for counts in share.counts})
    parts = [
        f"Errors in phones, % of the test: median (least to greatest) over seeds "
        f"({', '.join(map(str, seeds))}); after the semicolon those on what was trained on. The "
        "best size, and in how many % of drawings of seeds and speakers it is best.\n",
        table(["minutes", *(f"{size:,}" for size in shares[0].sizes), "best size"], body),
        "Points by which the largest net has more errors than the best [95 % interval]:\n",
        table(["minutes", "largest - best"], gaps),
    ]
    if len(shares) > 1:
        way = "{:+.1f} (95 % interval {:+.1f} to {:+.1f})".format(*moved(shares[0], shares[-1]))
        parts.append(
            f"From {shares[0].minutes:.1f} to {shares[-1].minutes:.1f} minutes the best size moves "
            f"by {way} octaves of parameters.\n"
        )
    return "\n".join(parts)


def figure(shares: Sequence[Share], out: Path) -> None:
    """Plot the errors of each share against parameters, of the test and of the training set."""
    fig, row = axes(2, 9, 3.8, sharey=True)
    for number, share in enumerate(shares):
        style = {"color": COLOURS[number % len(COLOURS)], "label": f"{share.minutes:.1f} min"}
        samples = 100 * share.drawings()
        low, high = np.quantile(samples[:, 1:], [0.025, 0.975], axis=1)
        shift = np.array(share.sizes) * 1.03 ** (number - 1.5)
        row[0].errorbar(shift, samples[:, 0], yerr=[samples[:, 0] - low, high - samples[:, 0]],
                        fmt="o-", ms=4, lw=1.2, capsize=2, **style)  # fmt: skip
        middle = [100 * statistics.median(own) for own in share.training]
        row[1].plot(share.sizes, middle, "o--", ms=4, lw=1.2, **style)
    for axis, title in zip(row, ("unseen speakers", "what was trained on"), strict=True):
        axis.set(xscale="log", xlabel="parameters, thousands", title=title)
        axis.set_xticks(shares[-1].sizes, [f"{size / 1000:.0f}" for size in shares[-1].sizes])
        axis.set_xticks([], minor=True)
    row[0].set(ylabel="phone errors, %", ylim=(0, None))
    row[0].legend(frameon=False, fontsize="small")
    save(fig, out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.claims.starvation.report",
        description=(__doc__ or "").split("\n")[0],
    )
    parser.add_argument("out", type=Path, help="folder with shares.json and sentencesN")
    options = parser.parse_args(arguments)

    def act() -> int:
        shares = read(options.out)
        publish(report(shares), options.out / "report.md")
        figure(shares, options.out / "starvation.png")
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
