"""Measure the sources of training features: computed in 0, 1 or 2 workers, or stored.

    python benchmarks/streaming.py CONFIG FOLDER [KEY=VALUE ...] [--batches N]

Reads an epoch of a training set, or N batches of it, without a model. Features are stored in
FOLDER. Memory and processor time of all processes: see memory.py, which also records them over
time, of any command.
"""

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

import torch
from measure import load, table
from memory import cpu_of, megabytes_of, processes_below

from speechasym.training import batches, dataset, streaming
from speechasym.training.config import TrainConfig, read_config

HEAD = (
    "source", "index, s", "first batch, s", "hours an hour", "CPU s an hour", "memory, MB",
    "disk, MB",
)  # fmt: skip


def source(config: TrainConfig, workers: int, folder: Path | None, most: int | None) -> list[str]:
    """Read the training set and return a row of the table."""
    data_config = replace(config.data, workers=workers, cache=str(folder) if folder else None)
    start = time.monotonic()
    data = dataset.load(
        data_config, data_config.train, list(config.heads.used), augment=config.data.augment,
        seed=config.seed, timed=config.framewise > 0 or config.data.augment.splice > 0,
    )  # fmt: skip
    loaded = time.monotonic() - start
    groups = list(batches.epoch_batches(data.seconds.tolist(), config.batch_seconds, 0, 0))[:most]
    hours = sum(float(data.seconds[group].sum()) for group in groups) / 3600
    before, start, first, memory = cpu(), time.monotonic(), 0.0, 0.0
    for _ in streaming.steps(data, groups, 0, workers=workers):
        first = first or time.monotonic() - start
        memory = max(memory, sum(map(megabytes_of, processes_below(os.getpid()))))
        spent = cpu() - before  # before the workers end
    wall = time.monotonic() - start
    disk = sum(path.stat().st_size for path in folder.rglob("*.tar")) / 1e6 if folder else 0
    name = "stored" if folder else f"computed, {workers} workers"
    numbers = (loaded, first, hours / wall * 3600, spent / hours, memory, disk)
    return [name, *(f"{n:,.1f}" if n < 100 else f"{n:,.0f}" for n in numbers)]


def cpu() -> float:
    """Return the processor time in s of this process and all that it started."""
    return sum(map(cpu_of, processes_below(os.getpid())))


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--batches", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = read_config(options.config, options.overrides)
    sources = [(0, None), (1, None), (2, None), (0, options.folder)]
    rows = [source(config, workers, folder, options.batches) for workers, folder in sources]
    print(f"Load average {load()}.\n\n{table(HEAD, rows)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
