"""Measure how training data streams: speed of each source, and memory of all processes over time.

python benchmarks/streaming.py CONFIG [KEY=VALUE ...] [--sources OUT] [--steps N --curve FILE]

`--sources FOLDER` reads the training set with 0, 1 and 2 workers, and from features stored in
FOLDER. `--steps N` trains for N steps, and writes memory against time to FILE (.tsv). Memory is
the proportional set size of the process tree, in which what processes share counts once.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import torch
from measure import commit, load, processor, table

from speechasym.training import batches, dataset, loop, streaming
from speechasym.training.config import TrainConfig, read_config

EVERY = 1.0  # s between two looks at memory


def tree() -> Iterator[Path]:
    """Yield /proc's folders of this process and all that it started."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:  # it has ended
            continue
        children.setdefault(parent, []).append(int(path.name))
    waiting = [os.getpid()]
    while waiting:
        number = waiting.pop()
        yield Path(f"/proc/{number}")
        waiting += children.get(number, [])


def spent() -> tuple[float, float]:
    """Return memory in MB, and CPU seconds, of the process tree."""
    memory, ticks = 0, 0
    for path in tree():
        try:
            rollup = (path / "smaps_rollup").read_text()
            fields = (path / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        memory += int(next(x for x in rollup.splitlines() if x.startswith("Pss:")).split()[1])
        ticks += int(fields[11]) + int(fields[12])
    return memory / 1024, ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def watched(rows: list[tuple[float, float]]) -> Iterator[None]:
    """Append (s, MB) to rows until the block ends."""
    start, over = time.monotonic(), Event()

    def watch() -> None:
        while not over.wait(EVERY):
            rows.append((time.monotonic() - start, spent()[0]))

    thread = Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def source(config: TrainConfig, workers: int, cache: Path | None, steps: int | None) -> list[str]:
    """Read an epoch, or some steps of it, and return a row of the table."""
    data_config = replace(config.data, workers=workers, cache=str(cache) if cache else None)
    heads = list(config.heads.used)
    start = time.monotonic()
    data = dataset.load(
        data_config, data_config.train, heads, augment=config.data.augment, seed=config.seed,
        timed=config.framewise > 0 or config.data.augment.splice > 0,
    )  # fmt: skip
    loaded = time.monotonic() - start
    groups = list(batches.epoch_batches(data.seconds.tolist(), config.batch_seconds, 0, 0))[:steps]
    hours = sum(float(data.seconds[group].sum()) for group in groups) / 3600
    rows: list[tuple[float, float]] = []
    before, start, first, most = spent()[1], time.monotonic(), 0.0, 0.0
    with watched(rows):
        for number, _ in enumerate(streaming.steps(data, groups, 0, workers=workers)):
            first = first or time.monotonic() - start
            if number == len(groups) - 1:  # before the workers end
                most = max(spent()[0], *(mb for _, mb in rows), 0)
                cost = spent()[1] - before
    wall = time.monotonic() - start
    disk = sum(path.stat().st_size for path in cache.rglob("*.tar")) / 1e6 if cache else 0
    name = "stored" if cache else f"computed, {workers} workers"
    return [
        name, f"{loaded:.1f}", f"{first:.1f}", f"{hours / wall * 3600:,.0f}",
        f"{cost / hours:.1f}", f"{most:.0f}", f"{disk:.0f}",
    ]  # fmt: skip


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("config", type=Path)
    add("overrides", nargs="*", metavar="KEY=VALUE")
    add("--sources", type=Path, metavar="FOLDER", help="for stored features")
    add("--steps", type=int)
    add("--curve", type=Path, metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = read_config(options.config, options.overrides)
    print(f"Commit {commit()}; {processor()}, {os.cpu_count()} cores, load average {load()}.\n")
    if options.sources:
        sources = [(0, None), (1, None), (2, None), (0, options.sources)]
        rows = [source(config, workers, cache, options.steps) for workers, cache in sources]
        names = [
            "source", "index, s", "first batch, s", "hours an hour", "CPU s an hour",
            "memory, MB", "disk, MB",
        ]  # fmt: skip
        print(table(names, rows))
    if options.curve:
        curve: list[tuple[float, float]] = []
        config = replace(config, steps=options.steps, validate_every=10**9, save_every=10**9)
        with tempfile.TemporaryDirectory() as out, watched(curve):
            result = loop.train(config, out)
        lines = ["seconds\tMB", *(f"{s:.1f}\t{mb:.1f}" for s, mb in curve)]
        options.curve.write_text("\n".join(lines) + "\n", "utf-8")
        print(f"{result['steps']} steps, {result['seconds']:.0f} s; {options.curve}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
