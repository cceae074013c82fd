"""Errors of a level's roles, clean and in unseen noise: each path never trained, or cut afterwards.

    python -m recipes.claims.roles.measure OUT/mini ... --test CUTS --noise FOLDER --out OUT

Each folder is one of `recipes.compare`. What a net reads is kept in OUT/readings and used again.
"""

import argparse
import copy
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from recipes.claims.arbitration import readings
from recipes.claims.arbitration.readings import Condition
from recipes.claims.learning.report import difference
from recipes.compare.intervals import speaker_counts
from recipes.compare.jobs import MEASURES, guarded, publish, read_lines
from recipes.provenance import commit, machine, table
from speechasym.errors import OutputError
from speechasym.recognition.trained_model import TrainedModel, open_run

OURS = "roles"
HEADS = ("phones", "words")  # that are compared
# path -> parameters that are its only way to act; 0 cuts it
CUTS = {
    "decision to units": "units.following", "gain": "gain_of_state", "context": "context.weight",
    "error": "units.value_of_error.weight", "units": "units.value.weight",
}  # fmt: skip


@dataclass(frozen=True)
class Net:
    """A run, whole or with a path cut."""

    folder: Path
    system: str
    seed: int
    path: str = ""  # that is cut

    @property
    def row(self) -> str:
        """Name of the system in tables."""
        return f"{self.system}, {self.path} cut" if self.path else self.system

    @property
    def name(self) -> str:
        """Name of the run in files."""
        end = f"-without-{self.path.replace(' ', '-')}" if self.path else ""
        return f"{self.system}-seed{self.seed}{end}"

    def opened(self) -> TrainedModel:
        """Return the run, with the path cut."""
        run = open_run(self.folder)
        return run._replace(model=cut(run.model, CUTS[self.path])) if self.path else run


def cut(model: torch.nn.Module, end: str) -> torch.nn.Module:
    """Return a copy of a model with the parameters at 0 whose names end so."""
    model = copy.deepcopy(model)
    names = [name for name, _ in model.named_parameters() if name.endswith(end)]
    if not names:
        raise OutputError(end, "no level of the model has it", "Cut another path")
    with torch.no_grad():
        for name in names:
            model.get_parameter(name).zero_()
    return model


def nets_of(folders: Iterable[Path]) -> list[Net]:
    """Return the finished runs of `recipes.compare`, and those of `roles` with each path cut."""
    nets = []
    for folder in folders:
        for line in read_lines(folder / "results.jsonl"):
            system, seed = line["system"], line["seed"]
            place = folder / f"{system}-seed{seed}"
            cuts = ["", *CUTS] if system == OURS else [""]
            nets += [Net(place, system, seed, path) for path in cuts]
    if not any(net.system == OURS for net in nets):
        raise OutputError(OURS, "is not among the finished runs", "Run recipes.compare first")
    return nets


def read_all(
    nets: Sequence[Net], cuts: Path, noise: Path | None, snr_db: float | None, out: Path
) -> dict[str, Condition]:
    """Return {name: what it reads} in one condition; only those without a file are computed."""
    where = "clean" if snr_db is None else f"{snr_db:g} dB"
    paths = {net.name: out / "readings" / where / f"{net.name}.npz" for net in nets}
    if new := {net.name: net.opened() for net in nets if not paths[net.name].exists()}:
        everything = readings.read(new, cuts, "test", noise=noise, snr_db=snr_db)
        for name in new:
            readings.save(paths[name], _only(everything, name))
    return {name: readings.load(path, [name]) for name, path in paths.items()}


def _only(condition: Condition, name: str) -> Condition:
    rows = []
    for u in condition.utterances:
        read = {head: {name: by[name]} for head, by in u.readings.items()}
        errors = {head: {name: by[name]} for head, by in u.errors.items() if name in by}
        rows.append(u._replace(readings=read, errors=errors))
    return condition._replace(utterances=rows)


def counted(condition: Condition, name: str, head: str) -> NDArray[np.float64]:
    """Return errors and tokens (S, 2) of the speakers, by name."""
    symbols = condition.symbols[head]
    answers = {
        u.name: [symbols[label - 1] for label in u.readings[head][name].labels]
        for u in condition.utterances
    }
    said = {u.name: u.said[head] for u in condition.utterances}
    speakers = {u.name: u.speaker for u in condition.utterances}
    return speaker_counts(said, answers, speakers)


def missed(condition: Condition, name: str, head: str) -> float:
    """Return the share of its input that the units of a head's level do not predict, or NaN."""
    rows = [u.errors[head][name] for u in condition.utterances if u.errors.get(head)]
    return statistics.fmean(rows) if rows else float("nan")


def report(nets: Sequence[Net], read: Mapping[str, Mapping[str, Condition]]) -> str:
    """Return the tables in Markdown; `read` is {condition: {name: what it reads}}."""
    by = defaultdict(list)
    for net in sorted(nets, key=lambda net: net.seed):
        by[net.row].append(net.name)
    parts = [
        "Rates in %: median of the seeds; difference from `roles` in points, all seeds together "
        "[95 % interval: speakers drawn alike for both, seeds drawn for each].\n"
    ]
    for head in HEADS:
        counts = {
            (row, where): np.stack([counted(conditions[n], n, head) for n in names])
            for row, names in by.items() for where, conditions in read.items()
        }  # fmt: skip
        body = []
        for row, names in by.items():
            cells = [row, str(len(names))]
            for where in read:
                mine = counts[row, where]
                cell = f"{100 * statistics.median(mine[..., 0].sum(1) / mine[..., 1].sum(1)):.1f}"
                if row != OURS:
                    cell += "; {:+.1f} [{:+.1f}, {:+.1f}]".format(
                        *difference(mine, counts[OURS, where])
                    )
                cells.append(cell)
            body.append(cells)
        parts.append(f"{MEASURES[head]}:\n\n{table(['system', 'seeds', *read], body)}")
    body = [
        [row, *(" / ".join(
            f"{statistics.median(missed(conditions[n], n, head) for n in names):.3f}"
            for head in HEADS) for conditions in read.values())]
        for row, names in by.items()
    ]  # fmt: skip
    parts.append(
        "Share of their input that units do not predict, at the levels of "
        f"{' and '.join(HEADS)}:\n\n{table(['system', *read], body)}"
    )
    return "\n".join([*parts, f"Commit {commit()}, {machine()}.\n"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("folders", type=Path, nargs="+", help="of recipes.compare")
    add("--test", type=Path, required=True, metavar="CUTS")
    add("--noise", type=Path, help="folder of noises; default: only as recorded")
    add("--snr", type=float, nargs="*", default=[10.0, 0.0], metavar="DB")
    add("--out", type=Path, required=True, help="folder")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)

    def act() -> int:
        nets, noise = nets_of(options.folders), options.noise
        read = {
            "clean" if snr is None else f"{snr:g} dB": read_all(
                nets, options.test, noise, snr, options.out
            )
            for snr in [None, *(options.snr if noise else [])]
        }
        publish(report(nets, read), options.out / "report.md")
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
