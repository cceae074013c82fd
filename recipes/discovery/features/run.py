"""Compare features by phone ABX without training, and by a linear frame classifier.

    python -m recipes.discovery.features.run --timit ROOT --noise ROOT --out out/discovery
    python -m recipes.discovery.features.run --run FOLDER --timit ROOT --noise ROOT --out out/levels

The second compares the levels of a trained run with the frozen features. Results are written to
results.json as they are computed, and a later call continues from there; then report.md.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress

import speechasym
from recipes.discovery.features import levels, linear, report, sets
from recipes.provenance import commit
from speechasym import errors, files
from speechasym.scoring import abx, abx_cells
from speechasym.scoring.abx_cells import Task
from speechasym.scoring.abx_items import timit_items

SNRS = (20, 10, 5, 0)
TASKS = {"within": Task(), "across": Task(across=True), "same": Task(across=True, context=True)}
CHOSEN_ON = "TRAIN"  # the folder of the speakers on whom the compact set was chosen


def plan(noises: list[str]) -> list[tuple[str, float, dict]]:
    """Return (noise, ratio in dB, sets), the most important first.

    Ablations are measured at 5 dB, wide sets in clean sound only.
    """
    clean = [("clean", 0.0)]
    every = [(noise, float(snr)) for snr in SNRS for noise in noises]
    at_5 = [(noise, 5.0) for noise in noises]
    return [
        (noise, snr, group)
        for places, group in (
            (clean + at_5, sets.SETS),
            (clean + at_5, sets.ABLATIONS),
            (every, sets.SETS),
            (clean, sets.FULL),
        )
        for noise, snr in places
    ]


def abx_errors(items: list, matrices: dict, groups: tuple[str, ...] = ("all", "unseen")) -> dict:
    """Return {"GROUP TASK": error, interval, triples and samples}.

    Groups of speakers: all, those that sets were chosen on, and the unseen ones.
    """
    out = {}
    for group in groups:
        chosen = group == "chosen"
        selected = [i for i in items if group == "all" or i.file.startswith(CHOSEN_ON) == chosen]
        tokens = abx.select_tokens(selected, matrices, 100)
        scores = abx_cells.abx_scores(tokens, TASKS.values())
        for task, s in zip(TASKS, scores.values(), strict=True):
            out[f"{group} {task}"] = {
                "error": s.error, "low": s.low, "high": s.high, "triples": s.triples,
                "samples": [round(float(v), 6) for v in s.samples],
            }  # fmt: skip
    return out


def condition(noise: str, snr: float) -> str:
    """Return the name of a condition in the results and after --only."""
    return "clean" if noise == "clean" else f"{noise}-{snr:g}"


class Corpus:
    """TIMIT's sentences, and noises to add to them."""

    def __init__(self, root: Path, noises: dict[str, Path]) -> None:
        self.root, self.noises = root, noises
        self.items = timit_items(root)
        self.stems = sorted({item.file for item in self.items})

    def sounds(self, noise: str, snr: float) -> dict:
        """Return {file: samples} in one condition."""
        n = None if noise == "clean" else speechasym.load(self.noises[noise], 16000)[0]
        return sets.sounds(self.root, self.stems, n, snr)


def measure(corpus: Corpus, known: dict, path: Path, only: list[str] | None) -> str:
    """Measure the features without training; return the report."""
    if "run" in known:
        raise errors.ConfigError(path, "contains the levels of a run", "Choose another --out")
    wanted = [
        (noise, snr, features)
        for noise, snr, features in plan(list(corpus.noises))
        if not only or condition(noise, snr) in only or noise in only
    ]
    with Progress() as bar:
        task = bar.add_task("conditions", total=len(wanted))
        for noise, snr, features in wanted:
            name = condition(noise, snr)
            missing = [s for s in features if f"{name} | {s}" not in known["cells"]]
            if missing:
                sounds = corpus.sounds(noise, snr)
                computed: dict[str, dict] = {}
                for label in missing:
                    options, groups = features[label]
                    key = repr(sorted(options.items()))
                    if key not in computed:
                        computed = {key: sets.matrices(sounds, options)}  # one in memory at a time
                    columns = sets.keep(options, groups)
                    matrices = {
                        file: np.ascontiguousarray(m[:, columns])
                        for file, m in computed[key].items()
                    }
                    cell = {"columns": len(columns), "abx": abx_errors(corpus.items, matrices)}
                    if noise == "clean" or (snr == 5 and label in sets.SETS):
                        cell["linear"] = linear.evaluate(matrices, corpus.root)
                    known["cells"][f"{name} | {label}"] = cell
                    files.write_json(path, known)
            bar.advance(task)
    return report.tables(known, list(corpus.noises), SNRS)


def measure_levels(
    corpus: Corpus, known: dict, path: Path, only: list[str] | None, folder: str
) -> str:
    """Measure frozen features and the levels of a run, clean and at 5 dB; return the report."""
    models = levels.open_models(folder)
    known.setdefault("run", None if known["cells"] else models[""].fingerprint)
    if known["run"] != models[""].fingerprint:
        raise errors.ConfigError(
            path, f"contains another run than {folder}", "Choose another --out"
        )
    every = [("clean", 0.0), *((noise, 5.0) for noise in corpus.noises)]
    wanted = [c for c in every if not only or condition(*c) in only or c[0] in only]
    with Progress() as bar:
        task = bar.add_task("conditions", total=len(wanted))
        for noise, snr in wanted:
            name = condition(noise, snr)
            if name not in known.setdefault("steps", {}):
                sounds = corpus.sounds(noise, snr)
                rows = levels.rows(models[""], sounds)
                measured: dict[str, dict] = {
                    label: sets.matrices(sounds, sets.SETS[label][0]) for label in levels.FROZEN
                }
                steps = {}
                for prefix, model in models.items():
                    if noise == "clean" or not prefix:  # the twin in clean sound only
                        measured |= levels.matrices(model, rows, prefix)
                        steps[prefix.strip() or "trained"] = levels.steps(model, rows)
                if noise != "clean":
                    measured = {k: m for k, m in measured.items() if levels.in_noise(k)}
                for label, matrices in measured.items():
                    known["cells"][f"{name} | {label}"] = {
                        "columns": matrices[corpus.stems[0]].shape[1],
                        "abx": abx_errors(corpus.items, matrices, ("chosen", "unseen")),
                    }
                known["steps"][name] = steps
                files.write_json(path, known)  # once a condition: it is large
            bar.advance(task)
    return report.level_tables(known, [noise for noise, _ in wanted if noise != "clean"])


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m recipes.discovery.features.run", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--timit", default=os.environ.get("TIMIT_ROOT"), help="folder of TRAIN, TEST"
    )
    parser.add_argument("--noise", default=os.environ.get("NOISE_ROOT"), help="folder of noises")
    parser.add_argument("--run", help="a finished run, whose levels are compared with the features")
    parser.add_argument("--out", help="default: out/discovery/features, with --run .../levels")
    parser.add_argument("--only", nargs="*", help="conditions to measure: clean, rain-5 ...")
    options = parser.parse_args(arguments)
    if not options.timit or not options.noise:
        parser.error("give --timit and --noise, or set TIMIT_ROOT and NOISE_ROOT")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    noises = {p.stem: p for p in sorted(Path(options.noise).iterdir()) if p.suffix == ".flac"}
    corpus = Corpus(Path(options.timit), noises)
    out = Path(options.out or f"out/discovery/{'levels' if options.run else 'features'}")
    path = out / "results.json"
    known = json.loads(path.read_text()) if path.exists() else {"cells": {}}
    known |= {"commit": commit(), "tokens": len(corpus.items), "files": len(corpus.stems)}
    if options.run:
        text = measure_levels(corpus, known, path, options.only, options.run)
    else:
        text = measure(corpus, known, path, options.only)
    (out / "report.md").write_text(text, "utf-8")
    print(out / "report.md", f"{time.process_time():.0f} s of processor time", sep="\n")


if __name__ == "__main__":
    try:
        main()
    except errors.SpeechAsymError as error:
        sys.exit(f"run.py: {error}")
