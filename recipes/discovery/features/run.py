"""Which features tell phones apart? ABX without training, and a linear frame classifier.

    python recipes/discovery/features/run.py --timit ROOT --noise ROOT --out out/discovery
    python recipes/discovery/features/run.py --run FOLDER --timit ROOT --noise ROOT --out out/levels

The second: the levels of a trained run beside the frozen features. Writes results.json as it goes,
and goes on from there when called again; then report.md.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import levels
import linear
import numpy as np
import report
import sets
import torch
from rich.progress import Progress

import speechasym
from speechasym import errors, files
from speechasym.scoring import abx
from speechasym.scoring.abx_items import timit_items

SNRS = (20, 10, 5, 0)
TASKS = {"within": (False, False), "across": (True, False), "same": (True, True)}
CHOSEN_ON = "TRAIN"  # the folder of the speakers on whom the compact set was chosen


def plan(noises: list[str]) -> list[tuple[str, float, dict]]:
    """(noise, ratio, sets), what matters most first: ablations at 5 dB, wide sets in clean only."""
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
    """{task: [error, low, high, samples]} over all speakers, those chosen on, those not."""
    out = {}
    for group in groups:
        chosen = group == "chosen"
        own = [i for i in items if group == "all" or i.file.startswith(CHOSEN_ON) == chosen]
        tokens = abx.token_distances(own, matrices, 100)
        for task, (across, context) in TASKS.items():
            s = abx.abx_score(tokens, across, context)
            out[f"{group} {task}"] = {
                "error": s.error, "low": s.low, "high": s.high, "triples": s.triples,
                "samples": [round(float(v), 6) for v in s.samples],
            }  # fmt: skip
    return out


def condition(noise: str, snr: float) -> str:
    """As it is called in the results and after --only."""
    return "clean" if noise == "clean" else f"{noise}-{snr:g}"


class Corpus:
    """What is heard: TIMIT's sentences, and noises to add to them."""

    def __init__(self, root: Path, noises: dict[str, Path]) -> None:
        self.root, self.noises = root, noises
        self.items = timit_items(root)
        self.stems = sorted({item.file for item in self.items})

    def sounds(self, noise: str, snr: float) -> dict:
        """{file: samples} in one condition."""
        n = None if noise == "clean" else speechasym.load(self.noises[noise], 16000)[0]
        return sets.sounds(self.root, self.stems, n, snr)


def measure(corpus: Corpus, known: dict, path: Path, only: list[str] | None) -> str:
    """The features without training; returns the report."""
    if "run" in known:
        raise errors.ConfigError(path, "is of the levels of a run", "Give another --out")
    wanted = [
        (noise, snr, own)
        for noise, snr, own in plan(list(corpus.noises))
        if not only or condition(noise, snr) in only or noise in only
    ]
    with Progress() as bar:
        task = bar.add_task("conditions", total=len(wanted))
        for noise, snr, own in wanted:
            name = condition(noise, snr)
            missing = [s for s in own if f"{name} | {s}" not in known["cells"]]
            if missing:
                heard = corpus.sounds(noise, snr)
                made: dict[str, dict] = {}
                for label in missing:
                    chosen, columns = own[label]
                    key = repr(sorted(chosen.items()))
                    if key not in made:
                        made = {key: sets.matrices(heard, chosen)}  # one at a time in memory
                    index = sets.keep(chosen, columns)
                    matrices = {f: np.ascontiguousarray(m[:, index]) for f, m in made[key].items()}
                    cell = {"columns": len(index), "abx": abx_errors(corpus.items, matrices)}
                    if noise == "clean" or (snr == 5 and label in sets.SETS):
                        cell["linear"] = linear.evaluate(matrices, corpus.root)
                    known["cells"][f"{name} | {label}"] = cell
                    files.write_json(path, known)
            bar.advance(task)
    return report.tables(known, list(corpus.noises), SNRS)


def measure_levels(
    corpus: Corpus, known: dict, path: Path, only: list[str] | None, folder: str
) -> str:
    """The frozen features and the levels of a run, clean and at 5 dB; returns the report."""
    models = levels.opened(folder)
    known.setdefault("run", None if known["cells"] else models[""].fingerprint)
    if known["run"] != models[""].fingerprint:
        raise errors.ConfigError(path, f"is not of {folder}", "Give another --out")
    every = [("clean", 0.0), *((noise, 5.0) for noise in corpus.noises)]
    wanted = [c for c in every if not only or condition(*c) in only or c[0] in only]
    with Progress() as bar:
        task = bar.add_task("conditions", total=len(wanted))
        for noise, snr in wanted:
            name = condition(noise, snr)
            if name not in known.setdefault("steps", {}):
                heard = corpus.sounds(noise, snr)
                rows = levels.rows(models[""], heard)
                made = {label: sets.matrices(heard, sets.SETS[label][0]) for label in levels.FROZEN}
                steps = {}
                for begin, model in models.items():
                    if noise == "clean" or not begin:  # the twin in clean sound only
                        made |= levels.matrices(model, rows, begin)
                        steps[begin.strip() or "trained"] = levels.steps(model, rows)
                if noise != "clean":
                    made = {label: m for label, m in made.items() if levels.in_noise(label)}
                for label, matrices in made.items():
                    known["cells"][f"{name} | {label}"] = {
                        "columns": matrices[corpus.stems[0]].shape[1],
                        "abx": abx_errors(corpus.items, matrices, ("chosen", "unseen")),
                    }
                known["steps"][name] = steps
                files.write_json(path, known)  # thousands of drawings: slow for each set
            bar.advance(task)
    return report.level_tables(known, [noise for noise, _ in wanted if noise != "clean"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--timit", default=os.environ.get("TIMIT_ROOT"), help="folder of TRAIN, TEST"
    )
    parser.add_argument("--noise", default=os.environ.get("NOISE_ROOT"), help="folder of noises")
    parser.add_argument("--run", help="a finished run: its levels beside the frozen features")
    parser.add_argument("--out", help="default: out/discovery/features, with --run .../levels")
    parser.add_argument("--only", nargs="*", help="conditions, such as clean or rain-5")
    options = parser.parse_args()
    if not options.timit or not options.noise:
        parser.error("give --timit and --noise, or set TIMIT_ROOT and NOISE_ROOT")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    noises = {p.stem: p for p in sorted(Path(options.noise).iterdir()) if p.suffix == ".flac"}
    corpus = Corpus(Path(options.timit), noises)
    out = Path(options.out or f"out/discovery/{'levels' if options.run else 'features'}")
    path = out / "results.json"
    known = json.loads(path.read_text()) if path.exists() else {"cells": {}}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    known |= {"commit": commit, "tokens": len(corpus.items), "files": len(corpus.stems)}
    if options.run:
        text = measure_levels(corpus, known, path, options.only, options.run)
    else:
        text = measure(corpus, known, path, options.only)
    (out / "report.md").write_text(text)
    print(out / "report.md", f"{time.process_time():.0f} s of processor time", sep="\n")


if __name__ == "__main__":
    try:
        main()
    except errors.SpeechAsymError as error:
        sys.exit(f"run.py: {error}")
