"""Which features tell phones apart? ABX without training, and a linear frame classifier.

    python recipes/discovery/features/run.py --timit ROOT --noise ROOT --out out/discovery

Writes results.json as it goes, and goes on from there when called again; then report.md.
"""

import argparse
import json
import os
import subprocess
from pathlib import Path

import linear
import numpy as np
import report
import sets
import torch
from rich.progress import Progress

import speechasym
from speechasym import abx, files

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


def abx_errors(items: list, matrices: dict) -> dict:
    """{task: [error, low, high, samples]} over all speakers, and over those not chosen on."""
    out = {}
    for group, own in (
        ("all", items),
        ("unseen", [i for i in items if not i.file.startswith(CHOSEN_ON)]),
    ):
        tokens = abx.compare(own, matrices, 100)
        for task, (across, context) in TASKS.items():
            s = abx.score(tokens, across, context)
            out[f"{group} {task}"] = {
                "error": s.error, "low": s.low, "high": s.high, "triples": s.triples,
                "samples": [round(float(v), 6) for v in s.samples],
            }  # fmt: skip
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--timit", default=os.environ.get("TIMIT_ROOT"), help="folder of TRAIN, TEST"
    )
    parser.add_argument("--noise", default=os.environ.get("NOISE_ROOT"), help="folder of noises")
    parser.add_argument("--out", default="out/discovery/features")
    parser.add_argument("--only", nargs="*", help="conditions, such as clean or rain-5")
    options = parser.parse_args()
    if not options.timit or not options.noise:
        parser.error("give --timit and --noise, or set TIMIT_ROOT and NOISE_ROOT")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    root, out = Path(options.timit), Path(options.out)
    noises = {p.stem: p for p in sorted(Path(options.noise).iterdir()) if p.suffix == ".flac"}
    items = abx.timit_items(root)
    stems = sorted({item.file for item in items})
    path = out / "results.json"
    known = json.loads(path.read_text()) if path.exists() else {"cells": {}}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    known |= {"commit": commit, "tokens": len(items), "files": len(stems)}
    wanted = [
        (noise, snr, own)
        for noise, snr, own in plan(list(noises))
        if not options.only or f"{noise}-{snr:g}" in options.only or noise in options.only
    ]
    with Progress() as bar:
        task = bar.add_task("conditions", total=len(wanted))
        for noise, snr, own in wanted:
            name = "clean" if noise == "clean" else f"{noise}-{snr:g}"
            missing = [s for s in own if f"{name} | {s}" not in known["cells"]]
            if missing:
                n = None if noise == "clean" else speechasym.load(noises[noise], 16000)[0]
                heard = sets.sounds(root, stems, n, snr)
                made: dict[str, dict] = {}
                for label in missing:
                    chosen, columns = own[label]
                    key = repr(sorted(chosen.items()))
                    if key not in made:
                        made = {key: sets.matrices(heard, chosen)}  # one at a time in memory
                    index = sets.keep(chosen, columns)
                    matrices = {f: np.ascontiguousarray(m[:, index]) for f, m in made[key].items()}
                    cell = {"columns": len(index), "abx": abx_errors(items, matrices)}
                    if noise == "clean" or (snr == 5 and label in sets.SETS):
                        cell["linear"] = linear.evaluate(matrices, root)
                    known["cells"][f"{name} | {label}"] = cell
                    files.write_json(path, known)
            bar.advance(task)
    (out / "report.md").write_text(report.tables(known, list(noises), SNRS))
    print(out / "report.md")


if __name__ == "__main__":
    main()
