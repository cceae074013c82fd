"""What trained oscillators turned into: their periods and time constants before and after (C26).

    python -m recipes.claims.oscillators.frequencies RUN ... --out OUT

Writes frequencies.md and frequencies.png.

Shapes: J oscillators.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from recipes.claims.asymmetry.common import COLOURS, axes, save
from recipes.compare.jobs import guarded, publish
from recipes.provenance import table
from speechasym.corpora.manifests import check_writable
from speechasym.errors import ConfigError
from speechasym.levels.block import Block
from speechasym.levels.oscillator import Oscillator
from speechasym.recognition.trained_model import open_run


class Bank(NamedTuple):
    """The oscillators of a block, in steps of its level."""

    run: str  # its folder and the one above: mini/oscillator-seed0
    level: int
    block: int
    before: NDArray[np.float64]  # (J,) periods
    after: NDArray[np.float64]
    lasting: NDArray[np.float64] | None  # (J,) steps to 1 / e; None: undamped

    @property
    def moved(self) -> NDArray[np.float64]:
        """Octaves by which training has raised each frequency, (J,)."""
        return np.log2(self.before / self.after)


def banks(folder: Path) -> list[Bank]:
    """Return the oscillators of a finished run. Raises `ConfigError` if it has none."""
    model: Any = open_run(folder).model
    found = []
    for number, level in enumerate(getattr(model, "levels", [])):
        for place, block in enumerate(level.blocks.blocks):
            assert isinstance(block, Block)
            if isinstance(own := block.function, Oscillator):
                first = Oscillator(level.config.blocks()[place])
                before, after = (_period(bank) for bank in (first, own))
                lasting = None
                if own.log_rate is not None:
                    lasting = (-own.log_rate).exp().double().detach().numpy()
                name = f"{folder.absolute().parent.name}/{folder.name}"
                found.append(Bank(name, number, place, before, after, lasting))
    if not found:
        problem = "has no block of oscillators"
        raise ConfigError(folder, problem, "Train with functions: [oscillator, feedforward]")
    return found


def _period(bank: Oscillator) -> NDArray[np.float64]:
    return (2 * math.pi / bank.angle.double()).detach().numpy()


def report(found: Sequence[Bank]) -> str:
    """Return the table in Markdown."""
    body = []
    for bank in found:
        low, middle, high = np.quantile(bank.after, [0.1, 0.5, 0.9])
        size = np.abs(bank.moved)
        lasting = "undamped"
        if bank.lasting is not None:
            cycles = bank.lasting / bank.after
            lasting = "{:.1f} ({:.1f} to {:.1f})".format(*np.quantile(cycles, [0.5, 0.1, 0.9]))
        body.append([
            bank.run, f"{bank.level}.{bank.block}", f"{middle:.0f} ({low:.1f} to {high:.0f})",
            f"{np.median(size):.3f}, at most {size.max():.2f}", lasting,
        ])  # fmt: skip
    head = ["run", "level.block", "periods, steps", "octaves moved", "cycles to 1 / e"]
    return f"Median (10 to 90 % of the oscillators).\n\n{table(head, body)}"


def shown(run: str) -> str:
    """Return a run's name in words: mini, damped, seed 0."""
    corpus, _, name = run.rpartition("/")
    system, _, seed = name.rpartition("-seed")
    kind = {"oscillator": "undamped", "oscillator-damped": "learned damping"}.get(system, system)
    return f"{corpus}, {kind}, seed {seed}"


def figure(found: Sequence[Bank], out: Path) -> None:
    """Plot how far each frequency has moved against its period before training."""
    names = list(dict.fromkeys(bank.run for bank in found))
    fig, row = axes(len(names), 3.2 * len(names) + 1.8, 3.4, sharey=True)
    for axis, name in zip(row, names, strict=True):
        own = [bank for bank in found if bank.run == name]
        for number, bank in enumerate(own):
            axis.semilogx(bank.before, bank.moved, ".", ms=4, alpha=0.7,
                          color=COLOURS[number % len(COLOURS)],
                          label=f"level {bank.level}, block {bank.block}")  # fmt: skip
        axis.axhline(0, color="0.4", lw=1)
        axis.set_title(shown(name), fontsize="medium")
        axis.set_xlabel("period before training, steps")
    row[0].set_ylabel("frequency raised by training, octaves")
    marks, labels = row[-1].get_legend_handles_labels()
    fig.legend(marks, labels, frameon=False, fontsize="small", loc="outside right upper")
    save(fig, out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.claims.oscillators.frequencies",
        description=(__doc__ or "").split("\n")[0],
    )
    add = parser.add_argument
    add("runs", type=Path, nargs="+", metavar="RUN", help="folders of finished runs")
    add("--out", type=Path, required=True, help="folder of the table and the figure")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)

    def act() -> int:
        check_writable(options.out).mkdir(parents=True, exist_ok=True)
        found = [bank for run in options.runs for bank in banks(run)]
        publish(report(found), options.out / "frequencies.md")
        figure(found, options.out / "frequencies.png")
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
