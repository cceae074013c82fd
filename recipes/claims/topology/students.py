"""Errors of students as recorded and in noise, and differences from labels alone.

    python -m recipes.claims.topology.students FOLDER --test CUTS --noise FOLDER --out OUT

FOLDER is one of `recipes.compare` with a system `labels`. Noises of the test are not those that
students were trained in, if these were synthetic.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from recipes.claims.arbitration import readings
from recipes.claims.learning.report import difference
from recipes.claims.quantisation.measure import Utterance, answer
from recipes.claims.topology.lines import Line, append, by_speaker, rate
from recipes.compare.jobs import guarded, publish, read_lines
from recipes.provenance import commit, machine, table
from speechasym.errors import OutputError
from speechasym.recognition.trained_model import TrainedModel, open_run

LABELS, HEAD = "labels", "phones"


def heard(
    net: TrainedModel, cuts: Path, noise: Path | None, snr_db: float | None
) -> list[Utterance]:
    """Return cuts as recorded, or in noise, each with one of the noises in turn."""
    data = readings.labelled(net, cuts)
    rows = readings.changed_cuts(net, cuts, "test", noise, snr_db)
    return [
        Utterance(data.speakers[n], torch.from_numpy(x).float(), {HEAD: data.reference(HEAD, n)})
        for n, _, x in rows
    ]


def report(lines: Sequence[Line]) -> str:
    """Return the table of phone errors by condition, with differences from labels alone."""
    conditions = list(dict.fromkeys(n["condition"] for n in lines))
    body = []
    for system in dict.fromkeys(n["system"] for n in lines):
        cells = [system, str(len({n["seed"] for n in lines if n["system"] == system}))]
        for condition in conditions:
            mine, base = (
                [n for n in lines if (n["system"], n["condition"]) == (name, condition)]
                for name in (system, LABELS)
            )
            each = [100 * rate([n]) for n in mine]
            cell = f"{np.median(each):.1f} ({min(each):.1f} to {max(each):.1f})"
            if system != LABELS:
                cell += "; {:+.1f} [{:+.1f}, {:+.1f}]".format(
                    *difference(by_speaker(mine), by_speaker(base))
                )
            cells.append(cell)
        body.append(cells)
    about = (
        "Phone errors in %: median (least to greatest) of the seeds; difference from labels alone "
        f"in points [95 % interval over speakers and seeds]. Commit {commit()}, {machine()}."
    )
    return f"{about}\n\n{table(['student', 'seeds', *conditions], body)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("folder", type=Path, help="of recipes.compare")
    add("--test", type=Path, required=True, metavar="CUTS")
    add("--noise", type=Path, help="folder of noises; default: only as recorded")
    add("--snr", type=float, nargs="*", default=[10.0, 0.0], metavar="DB")
    add("--out", type=Path, required=True, help="folder")
    options = parser.parse_args(arguments)

    def act() -> int:
        torch.set_num_threads(1)
        options.out.mkdir(parents=True, exist_ok=True)
        results = options.out / "students.jsonl"
        runs = [(n["system"], n["seed"]) for n in read_lines(options.folder / "results.jsonl")]
        if not any(system == LABELS for system, _ in runs):
            raise OutputError(LABELS, "is not among the finished runs", "Run recipes.compare first")
        nets = {run: open_run(options.folder / "{}-seed{}".format(*run)) for run in sorted(runs)}
        for snr in [None, *(options.snr if options.noise else [])]:
            condition = "as recorded" if snr is None else f"{snr:g} dB"
            known = {
                (n["system"], n["seed"]) for n in read_lines(results) if n["condition"] == condition
            }
            sounds: list[Utterance] = []
            for run in (run for run in nets if run not in known):
                sounds = sounds or heard(nets[run], options.test, options.noise, snr)
                found = answer(nets[run], nets[run].model, sounds)
                line = {"system": run[0], "seed": run[1], "condition": condition}
                append(results, {**line, "counts": found.errors[HEAD], "loss": found.loss[HEAD]})
        publish(report(read_lines(results)), options.out / "students.md")
        return 0

    return guarded(act)


if __name__ == "__main__":
    raise SystemExit(main())
