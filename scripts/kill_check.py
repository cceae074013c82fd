"""Does a training run that is killed again and again end with the same bits as one that is not?

    python scripts/kill_check.py RUN.yaml OUT [--kills 20] [key=value ...]

Trains into OUT/whole, then into OUT/cut, which is killed (SIGKILL) after random numbers of steps
and gone on with; then compares all tensors of the last checkpoint, and the metrics. It is not part
of the tests because it takes the time of the run and of so many starts. Steps, not minutes.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
TRAIN = """
import sys
from speechasym import read_config, train
config = read_config(sys.argv[1], sys.argv[3:])
train(config, sys.argv[2], resume=True, show_progress=False)
"""
CLOCK = ("seconds", "audio_hours_per_hour")


def start(config: str, out: Path, words: list[str]) -> subprocess.Popen:
    root = str(Path(__file__).resolve().parents[1])
    command = [sys.executable, "-c", TRAIN, config, str(out), *words]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": root})


def steps(out: Path) -> int:
    """Written so far; lines after the last checkpoint will be cut off when the run goes on."""
    try:
        return (out / "metrics.jsonl").read_bytes().count(b'"loss"')
    except OSError:
        return 0


def lines(out: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    return [{key: row[key] for key in row if key not in CLOCK} for row in rows]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("out", type=Path)
    parser.add_argument("words", nargs="*", metavar="key=value")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_intermixed_args()
    whole, cut = given.out / "whole", given.out / "cut"
    if start(given.config, whole, given.words).wait():
        return 1
    total, rng, kills = steps(whole), random.Random(given.seed), 0
    while kills < given.kills:
        process, begun = start(given.config, cut, given.words), steps(cut)
        # the lines behind the checkpoint go first: wait for another file than there was
        wanted = begun + rng.randint(-2, max(1, 2 * total // given.kills))
        time.sleep(rng.random())
        while process.poll() is None and steps(cut) < wanted:
            time.sleep(0.002)
        time.sleep(0.05 * rng.random())
        if process.poll() is not None:  # over before it was killed
            print(f"ended by itself with {process.returncode}")
            break
        process.kill()
        process.wait()
        kills += 1
        print(f"kill {kills} at step {steps(cut)} of {total}", flush=True)
    if start(given.config, cut, given.words).wait():
        return 1
    from speechasym.training import checkpoints

    one, two = checkpoints.load(whole)[0], checkpoints.load(cut)[0]
    other = [name for name in one if name not in two or not bool((one[name] == two[name]).all())]
    same = sorted(one) == sorted(two) and not other and lines(whole) == lines(cut)
    print(f"{kills} kills, {len(one)} tensors: {'the same bits' if same else 'DIFFERENT'} {other}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
