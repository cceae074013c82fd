"""Time the command on files: an hour of speech in one file, and hundreds of short files."""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from measure import RATE, ROOT, recordings, speech, table

# The peak memory of a process includes that of the process that started it. This one is large, so
# a small process starts the command.
WAIT = (
    "import json, os, subprocess, sys, time; start = time.perf_counter();"
    "child = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL);"
    "_, status, usage = os.wait4(child.pid, 0);"
    "print(json.dumps([time.perf_counter() - start, usage.ru_maxrss / 1024,"
    " os.waitstatus_to_exitcode(status)]))"
)


def extract(source: Path, out: Path, workers: int = 1, *options: str) -> tuple[float, float]:
    """Run `speechasym extract` into a new folder; return wall s, and peak memory in MiB."""
    command = [sys.executable, "-m", "speechasym", "extract", str(source), "--out", str(out)]
    wrapped = [sys.executable, "-S", "-c", WAIT, *command, "--workers", str(workers), *options]
    done = subprocess.run(wrapped, capture_output=True, text=True, check=True, cwd=ROOT)
    wall, peak, code = json.loads(done.stdout)
    shutil.rmtree(out, ignore_errors=True)
    if code:
        raise RuntimeError(f"{' '.join(command)} returned {code}")
    return wall, peak


def hour(minutes: int, rounds: int, *options: str) -> str:
    """Return a table: a file of `minutes` against one of a minute, extracted with `options`."""
    with tempfile.TemporaryDirectory() as folder:
        files = {1: Path(folder, "short.wav"), minutes: Path(folder, "long.wav")}
        x = speech(60)
        for length, path in files.items():
            with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
                for _ in range(length):
                    file.write(x)
        extract(files[1], Path(folder, "warm"), 1, *options)
        measured: dict[int, list[tuple[float, float]]] = {length: [] for length in files}
        for _ in range(rounds):
            for length, path in files.items():
                measured[length].append(extract(path, Path(folder, "out"), 1, *options))
    body = []
    for length, runs in measured.items():
        wall, peak = np.median(runs, 0)
        best = min(seconds for seconds, _ in runs)
        body.append([f"{length} min, {length * 60 * RATE * 2 / 1e6:.1f} MB", f"{wall:.2f}",
                     f"{best:.2f}", f"{length * 60 / wall:,.0f}", f"{peak:.0f}"])  # fmt: skip
    return table(["file", "wall s, median", "min", "x real time", "peak MiB"], body)


def many(count: int, rounds: int) -> str:
    """Return a table: `count` recordings of about 6 s with one and with two processes, in turn."""
    chosen = [p for p in recordings() if 4 < soundfile.info(p).duration < 8]
    with tempfile.TemporaryDirectory() as folder:
        clips = Path(folder, "clips")
        clips.mkdir()
        seconds = 0.0
        for i in range(count):
            source = chosen[i % len(chosen)]
            shutil.copy(source, clips / f"{i:04d}-{source.name}")
            seconds += soundfile.info(source).duration
        walls: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(rounds):
            for workers, each in walls.items():
                each.append(extract(clips, Path(folder, "out"), workers)[0])
    one = statistics.median(walls[1])
    body = [
        [f"{count} files, {seconds / 60:.1f} min, --workers {workers}",
         f"{statistics.median(each):.2f}", f"{min(each):.2f}", f"{max(each):.2f}",
         f"{seconds / statistics.median(each):,.0f}", f"{one / statistics.median(each):.2f}"]
        for workers, each in walls.items()
    ]  # fmt: skip
    head = ["files", "wall s, median", "min", "max", "x real time", "times as fast as one"]
    return table(head, body)


def available() -> bool:
    """Return whether the system reports peak memory as POSIX systems do."""
    return os.name == "posix"
