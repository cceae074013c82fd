"""One head, many heads, and ensembles of one-headed nets (C25), by their errors in phones.

    python -m recipes.claims.heads.measure OUT --test CUTS

OUT is a folder of recipes.compare with systems.yaml. An ensemble answers in two ways: it averages
the nets' probabilities step by step, or finds the answer that they together think most probable. It
writes heads.md and heads.png there.

Shapes: K seeds or ensembles, S speakers, M nets.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from recipes.claims.arbitration import readings
from recipes.claims.arbitration.readings import Condition
from recipes.claims.arbitration.rules import Scene, equal_voices, mean
from recipes.claims.asymmetry.common import COLOURS, axes, save
from recipes.claims.learning.report import difference
from recipes.compare.intervals import speaker_counts
from recipes.compare.jobs import guarded, publish, read_lines
from recipes.compare.systems import read_systems
from recipes.provenance import commit, machine, table
from speechasym.errors import OutputError
from speechasym.levels.arbitration import Labels
from speechasym.recognition.trained_model import open_run

HEAD = "phones"
OURS, MEMBER, SIZE = "heads4", "small1", 4  # many heads; the nets of an ensemble, and how many
SYSTEMS = Path(__file__).with_name("systems.yaml")
NUMBERS = {2: "two", 3: "three", 4: "four"}


# ways of several nets to answer: probabilities of the same step, which blanks win if the nets put a
# phone at different steps, or probabilities of whole answers
RULES: dict[str, Callable[[Scene], Labels]] = {
    "by steps": mean,
    "by answers": equal_voices,
}


class Row(NamedTuple):
    """A system, or an ensemble of nets of one system."""

    name: str
    groups: list[list[str]]  # names of runs that read together, for each seed
    parameters: int  # of all nets together
    rule: str = "by steps"

    def shown(self, words: Mapping[str, str]) -> str:
        """Return what the nets are in words, {system: what it shows}."""
        run, together = self.groups[0][0], len(self.groups[0])
        system = words[run.rpartition("-seed")[0]]
        if together == 1:
            return system
        return f"{NUMBERS.get(together, together)} nets with {system}, {self.rule}"


def rows_of(lines: Sequence[Mapping]) -> list[Row]:
    """Return the systems that were trained, and their ensembles.

    Raises `OutputError` unless many heads are among them.
    """
    by: dict[str, list[Mapping]] = {system.name: [] for system in read_systems(SYSTEMS)}
    for line in sorted(lines, key=lambda line: line["seed"]):
        by.setdefault(line["system"], []).append(line)
    by = {name: runs for name, runs in by.items() if runs}
    if OURS not in by:
        raise OutputError(OURS, "is not among the finished runs", "Run recipes.compare first")
    single, several = [], []
    for system, runs in by.items():
        size = runs[0]["parameters"]
        names = [f"{system}-seed{run['seed']}" for run in runs]
        single.append(Row(system, [[name] for name in names], size))
        together = SIZE if system == MEMBER else len(names)
        groups = [names[i : i + together] for i in range(0, len(names) - together + 1, together)]
        if together > 1 and groups:
            several += [
                Row(f"{together} x {system}, {rule}", groups, size * together, rule)
                for rule in RULES
            ]
    return single + several


def answers(condition: Condition, nets: Sequence[str], rule: str) -> dict[str, list[str]]:
    """Return {utterance: symbols} that nets read together by a rule of `RULES`."""
    symbols = condition.symbols[HEAD]

    def text(labels: Labels) -> list[str]:
        return [symbols[label - 1] for label in labels]

    return {u.name: text(RULES[rule](Scene(u, HEAD, nets, {}))) for u in condition.utterances}


def counted(condition: Condition, rows: Sequence[Row]) -> dict[str, NDArray[np.float64]]:
    """Return {row: errors and tokens (K, S, 2)}."""
    said = {u.name: u.said[HEAD] for u in condition.utterances}
    speakers = {u.name: u.speaker for u in condition.utterances}
    return {
        row.name: np.stack(
            [
                speaker_counts(said, answers(condition, nets, row.rule), speakers)
                for nets in row.groups
            ]
        )
        for row in rows
    }


def report(rows: Sequence[Row], counts: Mapping[str, NDArray[np.float64]]) -> str:
    """Return the table in Markdown."""
    body, words = [], {system.name: system.shows for system in read_systems(SYSTEMS)}
    for row in rows:
        own = counts[row.name]
        each = 100 * own[..., 0].sum(1) / own[..., 1].sum(1)
        gap = "-"
        if row.name != OURS:
            gap = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*difference(own, counts[OURS]))
        middle = f"{statistics.median(each):.1f} ({min(each):.1f} to {max(each):.1f})"
        size = f"{row.parameters:,}"
        body.append([row.shown(words), str(len(row.groups)), size, middle, gap])
    head = [
        "nets",
        "seeds",
        "parameters together",
        "errors in phones, %",
        "minus the first, points",
    ]
    return "\n".join([
        "Phones: median (least to greatest) over seeds; difference [95 % interval: speakers drawn "
        "alike for both, seeds drawn for each].\n",
        table(head, body), f"Commit {commit()}, {machine()}.\n",
    ])  # fmt: skip


def figure(rows: Sequence[Row], counts: Mapping[str, NDArray[np.float64]], out: Path) -> None:
    """Plot the errors of each seed or ensemble, a line of the figure for each system."""
    words = {system.name: system.shows for system in read_systems(SYSTEMS)}
    fig, (axis,) = axes(1, 8.2, 0.3 * len(rows) + 0.9)
    for number, row in enumerate(rows):
        own = counts[row.name]
        each = 100 * own[..., 0].sum(1) / own[..., 1].sum(1)
        together = len(row.groups[0]) > 1
        axis.plot(each, [number] * len(each), "^" if together else "o", color=COLOURS[together],
                  alpha=0.7)  # fmt: skip
    shown = [f"{row.shown(words)}: {row.parameters / 1000:.0f} k" for row in rows]
    axis.set_yticks(range(len(rows)), shown, fontsize="small")
    axis.invert_yaxis()
    axis.set(xlabel="phone errors, %", title="parameters of all nets together, thousands (k)")
    save(fig, out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.claims.heads.measure", description=(__doc__ or "").split("\n")[0]
    )
    add = parser.add_argument
    add("folder", type=Path, help="of recipes.compare")
    add("--test", type=Path, required=True, metavar="CUTS")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)

    def act() -> int:
        rows = rows_of(read_lines(options.folder / "results.jsonl"))
        names = sorted({name for row in rows for group in row.groups for name in group})
        nets = {name: open_run(options.folder / name) for name in names}
        counts = counted(readings.read(nets, options.test, "test"), rows)
        publish(report(rows, counts), options.folder / "heads.md")
        figure(rows, counts, options.folder / "heads.png")
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
