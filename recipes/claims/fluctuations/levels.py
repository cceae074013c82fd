"""Errors, clean and in noise, of nets whose units fluctuate (C22).

    python -m recipes.claims.fluctuations.levels --runs FOLDER --cuts CUTS --noise NOISE

FOLDER has runs NAME-seedN of levels.yaml. What is measured is kept in OUT/levels.json.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from recipes.claims.asymmetry.common import formatted
from recipes.claims.context.report import change, rate_of
from recipes.claims.loop.measure import errors
from recipes.claims.loop.report import ordered
from recipes.claims.ranks import watched
from recipes.provenance import table
from speechasym import files
from speechasym.errors import ConfigError
from speechasym.recognition.trained_model import open_run

RIVAL = "none"


def finished(folder: Path) -> dict[str, dict[str, Path]]:
    """Return {system: {seed: run}} of the finished runs in a folder, with seeds that all have."""
    runs: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.glob("*-seed*/model.safetensors")):
        name, seed = path.parent.name.rsplit("-seed", 1)
        runs.setdefault(name, {})[seed] = path.parent
    shared = set.intersection(*(set(seeds) for seeds in runs.values())) if runs else set()
    if RIVAL not in runs or not shared:
        raise ConfigError(folder, f"has no runs {RIVAL}-seedN", "Train levels.yaml first")
    return {name: {s: run for s, run in sorted(seeds.items()) if s in shared}
            for name, seeds in runs.items()}  # fmt: skip


def report(measured: dict, runs: dict[str, dict[str, Path]]) -> str:
    """Return error rates, and differences from no noise at all, of all systems."""
    seeds = list(runs[RIVAL])

    def counts(system: str, condition: str, head: str) -> NDArray:
        by_seed = [measured[condition][f"{system}-seed{seed}"][head] for seed in seeds]
        return np.array([list(by_speaker.values()) for by_speaker in by_seed], float)

    body = []
    for condition in ordered(measured):
        for head in ordered(next(iter(measured[condition].values()))):
            none = counts(RIVAL, condition, head)
            for system in [RIVAL, *(name for name in runs if name != RIVAL)]:
                own = counts(system, condition, head)
                cost = change(own, none, paired=False)
                body.append([condition, head, system, formatted(rate_of(own), 1, 100),
                             "" if system == RIVAL else formatted(cost, 1, 100)])  # fmt: skip
    errors_ = table(["condition", "head", "system", "errors, %", "more than none, points"], body)
    every = [run for system in runs.values() for run in system.values()]
    return f"{errors_}\n{watched.report(every)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--runs", type=Path, required=True, help="folder of runs NAME-seedN")
    add("--cuts", required=True, help="test utterances")
    add("--noise", type=Path, help="folder of noises; default: as recorded only")
    add("--snr", type=float, nargs="*", default=[5.0], help="dB")
    add("--every", type=int, default=1, help="reads one of so many utterances")
    add("--out", type=Path, default=Path("out/claims/fluctuations"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    runs = finished(options.runs)
    path = options.out / "levels.json"
    if not path.exists():
        nets = {f"{n}-seed{s}": open_run(r) for n, by in runs.items() for s, r in by.items()}
        options.out.mkdir(parents=True, exist_ok=True)
        measured = errors(nets, options.cuts, options.noise, options.snr, options.every)
        files.write_json(path, measured)
    text = report(json.loads(path.read_text("utf-8")), runs)
    (options.out / "levels.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
