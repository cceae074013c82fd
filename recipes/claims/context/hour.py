"""Time and memory of an hour of speech, read in segments or at once (C15).

    python -m recipes.claims.context.hour --cuts CUTS --run NAME=FOLDER --minutes 10 60

Each measurement has a process of its own. The recordings of CUTS are repeated until the time is
full. Lines that --out has already are kept.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from recipes.claims.asymmetry.common import log
from recipes.compare.jobs import read_lines
from recipes.provenance import commit, machine
from speechasym import files
from speechasym.corpora.manifests import stream_cuts
from speechasym.feature_extraction.sets import FeatureConfig
from speechasym.recognition.trained_model import open_run
from speechasym.recognition.transcription import transcribe_blocks
from speechasym.training.cuts import load_samples

WAYS = ("segments", "at once")


def blocks(cuts: str, config: FeatureConfig, minutes: float) -> Iterator[NDArray[np.float32]]:
    """Yield the samples of recordings, again and again, until there are so many minutes."""
    left = round(60 * minutes * config.sample_rate)
    for _, cut in cycle(list(stream_cuts(cuts))):
        x = load_samples(cut, config.sample_rate, config.channel)[:left]
        yield x
        left -= len(x)
        if left <= 0:
            return


def peak() -> float:
    """Return the most memory that this process has held, MB (Linux)."""
    status = Path("/proc/self/status").read_text("utf-8").split("VmHWM:")[1]
    return int(status.split()[0]) / 1024


def measure(run: str, cuts: str, minutes: float, way: str) -> dict[str, Any]:
    """Return seconds of the processor, memory in MB, and what each level passes on.

    Memory is that held at most; of it, `before` is what the program, the net and, at once, the
    features of everything hold before the net starts.
    """
    torch.set_num_threads(1)
    trained = open_run(run)
    heads = list(trained.inventories)
    for seconds in (0.05, minutes):  # first, everything is compiled
        began = time.process_time()
        sound = blocks(cuts, trained.feature_config, seconds)
        line: dict[str, Any] = {}
        if way == "segments":
            before = peak()
            transcribe_blocks(trained, sound, heads)
        else:
            rows = np.concatenate(list(trained.feature_config.frames(sound)))
            line["features"] = round(time.process_time() - began, 2)
            before = peak()
            levels = trained.output(rows).levels
            line["frames"] = len(rows)
            line["passed"] = [int(level.passed.mask.sum()) for level in levels]
        line |= {"seconds": round(time.process_time() - began, 2)}
    return line | {"before": round(before), "peak": round(peak())}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--run", action="append", required=True, metavar="NAME=FOLDER")
    add("--cuts", required=True)
    add("--minutes", type=float, nargs="+", default=[10.0, 60.0])
    add("--out", type=Path, default=Path("out/claims/context/hour.jsonl"))
    options = parser.parse_args(arguments)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    lines = read_lines(options.out)
    for word in options.run:
        name, folder = word.split("=", 1)
        for minutes in options.minutes:
            for way in WAYS:
                key = {"system": name, "minutes": minutes, "way": way}
                if any(key.items() <= line.items() for line in lines):
                    continue
                call = (folder, options.cuts, minutes, way)
                code = f"import json; from {__spec__.name} import measure; "
                code += f"print(json.dumps(measure(*{call!r})))"
                done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                                      check=True)  # fmt: skip
                line = key | json.loads(done.stdout.splitlines()[-1])
                lines.append(line | {"commit": commit(), "machine": machine()})
                with files.atomic(options.out) as file:
                    file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
                log(json.dumps(line))


if __name__ == "__main__":
    main()
