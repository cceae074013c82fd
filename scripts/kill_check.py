"""Check that a training run killed again and again ends with the same bits as an uninterrupted one.

    python scripts/kill_check.py RUN.yaml OUT [--kills 20] [key=value ...]

Trains into OUT/whole, then into OUT/cut, which is killed (SIGKILL) after random numbers of steps
and resumed; then compares all tensors of the last checkpoint, and the metrics. It is not one of the
tests because it takes as long as the run and all the starts. Give steps, not minutes.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TRAIN = """
import sys
from speechasym import read_config, train
config = read_config(sys.argv[1], sys.argv[3:])
train(config, sys.argv[2], resume=True, show_progress=False)
"""
CLOCK = ("seconds", "waited", "audio_hours_per_hour")  # metrics that differ between equal runs


def start(config: str, out: Path, settings: list[str]) -> subprocess.Popen:
    """Start, or resume, training in a process of its own."""
    return subprocess.Popen([sys.executable, "-c", TRAIN, config, str(out), *settings])


def steps(out: Path) -> int:
    """Return the steps written so far; a resumed run drops those after the last checkpoint."""
    try:
        return (out / "metrics.jsonl").read_bytes().count(b'"loss"')
    except OSError:
        return 0


def metrics(out: Path) -> list[dict[str, Any]]:
    """Return the metrics without the times."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [{key: row[key] for key in row if key not in CLOCK} for row in rows]


def main() -> int:
    """Run the check; return 0 if the runs are equal."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config", help="YAML file of the run")
    parser.add_argument("out", type=Path, help="folder for both runs")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="for both runs")
    parser.add_argument("--kills", type=int, default=20, help="number of kills")
    parser.add_argument("--seed", type=int, default=0, help="seed of the steps to kill at")
    options = parser.parse_intermixed_args()
    whole, cut = options.out / "whole", options.out / "cut"
    if start(options.config, whole, options.settings).wait():
        return 1
    total, rng, kills = steps(whole), random.Random(options.seed), 0
    while kills < options.kills:
        process, first = start(options.config, cut, options.settings), steps(cut)
        # the lines after the checkpoint are dropped first, so the file may become shorter
        target = first + rng.randint(-2, max(1, 2 * total // options.kills))
        time.sleep(rng.random())
        while process.poll() is None and steps(cut) < target:
            time.sleep(0.002)
        time.sleep(0.05 * rng.random())
        if process.poll() is not None:  # it ended before it was killed
            print(f"ended by itself with {process.returncode}")
            break
        process.kill()
        process.wait()
        kills += 1
        print(f"kill {kills} at step {steps(cut)} of {total}", flush=True)
    if start(options.config, cut, options.settings).wait():
        return 1
    from speechasym.training import checkpoints

    one, two = checkpoints.load(whole)[0], checkpoints.load(cut)[0]
    other = [name for name in one if name not in two or not bool((one[name] == two[name]).all())]
    same = sorted(one) == sorted(two) and not other and metrics(whole) == metrics(cut)
    print(f"{kills} kills, {len(one)} tensors: {'the same bits' if same else 'DIFFERENT'} {other}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
