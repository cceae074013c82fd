"""Memory and processor time of a command and all its processes, second by second.

    python benchmarks/memory.py record OUT.jsonl [--most MB] COMMAND ...
    python benchmarks/memory.py draw OUT.png TITLE=FILE.jsonl ...

Memory is the proportional set size (Linux): pages shared by several processes count once.
With --most, a command that takes more fails.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
EVERY = 1.0  # s between samples


def processes_below(root: int) -> Iterator[int]:
    """Yield a process and all its descendants."""
    waiting = [root]
    while waiting:
        yield (process := waiting.pop())
        for path in Path(f"/proc/{process}/task").glob("*/children"):
            with suppress(OSError):
                waiting += map(int, path.read_text().split())


def megabytes_of(process: int) -> float:
    """Return the proportional set size of a process, MB; 0 if it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def cpu_of(process: int) -> float:
    """Return the processor time of a process, s."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / TICKS


def record(out: Path, command: Sequence[str], most: float = float("inf")) -> int:
    """Run a command; return its exit code, 1 if it takes more MB than `most`.

    Writes a line {seconds, cpu, mb, processes} for each sample.
    """
    start = time.monotonic()
    cpu: dict[int, float] = {}
    peak, seconds = 0.0, 0.0
    with subprocess.Popen(command) as running, out.open("w", encoding="utf-8") as file:
        while running.poll() is None:
            below = list(processes_below(running.pid))
            for process in below:
                with suppress(OSError, ValueError, IndexError):
                    cpu[process] = max(cpu.get(process, 0.0), cpu_of(process))
            mb = sum(map(megabytes_of, below))
            peak, seconds = max(peak, mb), time.monotonic() - start
            row = {"seconds": seconds, "cpu": sum(cpu.values()), "mb": mb, "processes": len(below)}
            file.write(json.dumps({k: round(v, 2) for k, v in row.items()}) + "\n")
            file.flush()
            time.sleep(EVERY)
        code = running.returncode
    print(f"{out.stem}: {seconds:.1f} s, processor {sum(cpu.values()):.1f} s, peak {peak:.0f} MB")
    return code if peak <= most else code or 1


def read(path: Path) -> list[dict[str, Any]]:
    """Return the samples of a file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def draw(out: Path, files: Sequence[str]) -> None:
    """Draw memory over processor time, one line for each TITLE=FILE."""
    from matplotlib.figure import Figure

    figure = Figure((8, 4), layout="constrained")
    axes = figure.add_subplot()
    for word in files:
        title, _, path = word.rpartition("=")
        rows = read(Path(path))
        axes.plot([r["cpu"] for r in rows], [r["mb"] / 1000 for r in rows], label=title, lw=1.2)
    axes.set_xlabel("processor time of all processes (s)")
    axes.set_ylabel("memory of all processes (GB)")
    axes.set_ylim(0)
    axes.set_xlim(0)
    axes.legend(frameon=False, fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(out, dpi=130)


def main(arguments: Sequence[str]) -> int:
    """Run the command line."""
    if len(arguments) > 2 and arguments[0] == "record":
        out, command, most = Path(arguments[1]), arguments[2:], "inf"
        if command[0] == "--most":
            most, *command = command[1:]
        return record(out, command, float(most))
    if len(arguments) > 2 and arguments[0] == "draw":
        draw(Path(arguments[1]), arguments[2:])
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
