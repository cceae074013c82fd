"""Time the features of two checkouts in turn, to see what a change brings on a busy machine.

python benchmarks/paired.py OLD [--new NEW] [--avx2] [--rounds 200]

Each checkout runs in a process of its own. In each round, one call of each row is timed in both, by
turns first in the one and in the other. Printed: the fastest calls, and the median over the rounds
of new / old with its 95 % interval (bootstrap).
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from measure import AVX2, ROOT, digits, speech, table
from rows import by_blocks, design

WORKER = "--worker"


def calls() -> dict[str, Callable[[], Any]]:
    """Return the rows: name -> call, all of 4 s of speech."""
    import torch
    import torchaudio

    from speechasym.auditory import filterbank

    torch.set_num_threads(1)
    x = speech(4.0)
    slow, fast = design(), design(rate=500.0)
    mel = torchaudio.transforms.MelSpectrogram(16000, n_fft=400, hop_length=160, n_mels=80)
    return {
        "torchaudio MelSpectrogram 80": lambda: mel(torch.from_numpy(x)),
        "filterbank, 100 Hz": lambda: filterbank.pool(x[None], slow),
        "filterbank, 500 Hz": lambda: filterbank.pool(x[None, :32000], fast),
        "asymmetry features, compact": lambda: by_blocks(x, compact=True),
        "asymmetry features, full": lambda: by_blocks(x),
    }


def work() -> None:
    """For each line read, time the row of that number, and print the seconds."""
    rows = list(calls().values())
    for row in rows:
        row()
    print(json.dumps(list(calls())), flush=True)
    for line in sys.stdin:
        rows[int(line)]()  # what the other process has pushed out of the caches comes back
        start = time.perf_counter()
        rows[int(line)]()
        print(time.perf_counter() - start, flush=True)


def interval(ratios: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the median of ratios."""
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, (1000, len(ratios))), 1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return float(low), float(high)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("--new", type=Path, default=ROOT)
    parser.add_argument("--avx2", action="store_true", help="as if there were no AVX-512")
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    workers = []
    for folder in (options.old, options.new):
        env = os.environ | (AVX2 if options.avx2 else {}) | {"PYTHONPATH": str(folder.resolve())}
        workers.append(
            subprocess.Popen(
                [sys.executable, __file__, WORKER], env=env, cwd=folder, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
        )  # fmt: skip

    def ask(worker: Any, line: str = "") -> Any:
        if line:
            print(line, file=worker.stdin, flush=True)
        return json.loads(worker.stdout.readline())

    names, _ = (ask(worker) for worker in workers)
    times = np.empty((options.rounds, len(names), 2))
    for turn in range(options.rounds):
        for row in range(len(names)):
            for k in (0, 1) if turn % 2 else (1, 0):
                times[turn, row, k] = ask(workers[k], str(row))
    for worker in workers:
        worker.communicate()
    body = []
    for name, (old, new) in zip(names, times.transpose(1, 2, 0), strict=True):
        low, high = interval(new / old)
        median = digits(float(np.median(new / old)))
        fastest = [digits(1e3 * float(part.min())) for part in (old, new)]
        body.append([name, *fastest, f"{median} ({digits(low)}-{digits(high)})"])
    print(table(["fastest call, ms", "old", "new", "new / old, median"], body))
    return 0


if __name__ == "__main__":
    if sys.argv[1:] == [WORKER]:
        work()
    else:
        raise SystemExit(main())
