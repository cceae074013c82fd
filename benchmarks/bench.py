"""Measure speed, scaling, memory and accuracy on the same speech, and write a markdown page.

PYTHONPATH=. python benchmarks/bench.py [--out docs/benchmarks.md] [--seconds 30] [--quick]
    [--instructions]
"""

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import accuracy
import numpy as np
import rows
import torch
import wholefiles
from measure import (
    AVX2,
    RATE,
    ROOT,
    Row,
    digits,
    instruction_set,
    load,
    run,
    speech,
    table,
)
from numpy.typing import NDArray

from recipes.provenance import commit, machine
from speechasym.auditory import filterbank

PACKAGES = (
    "numpy", "numba", "llvmlite", "torch", "torchaudio", "scipy", "librosa", "gammatone", "pyfar",
    "brian2hears", "brian2",
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--seconds", type=float, default=30.0, help="of speech")
    parser.add_argument("--quick", action="store_true", help="smoke test: 5 s, few rounds")
    parser.add_argument(
        "--instructions", action="store_true", help=f"only the section {INSTRUCTIONS!r} of --out"
    )
    parser.add_argument("--ratios", action="store_true", help="only the features' ratios, as JSON")
    options = parser.parse_args()
    seconds, quick = (5.0 if options.quick else options.seconds), options.quick
    torch.set_num_threads(1)
    limit = one_thread()
    x = speech(seconds)
    if options.ratios:
        print(json.dumps(ratios(x, quick)))
        return 0
    if options.instructions:
        section = rf"## {INSTRUCTIONS}\n.*?(?=\n## )"
        text, found = re.subn(
            section, lambda _: instructions(seconds, quick), options.out.read_text(), flags=re.S
        )
        options.out.write_text(text)
        return 0 if found else 1
    page = [header(), HOW, f"## Speed on {seconds:g} s of speech\n", speed(x, quick)]
    page.append(instructions(seconds, quick))
    page += ["## Scaling\n", scaling(quick)]
    if wholefiles.available():
        rounds = 1 if quick else 3
        log("files")
        page += ["## Files\n", FILES, wholefiles.hour(2 if quick else 60, rounds)]
        compact = ("--features", "asymmetry", "--compact")
        page += [ASYMMETRY, wholefiles.hour(2 if quick else 60, rounds, *compact)]
        page += [MANY, *(wholefiles.many(n, rounds) for n in ((20,) if quick else (400, 1200)))]
    log("accuracy")
    page += ["## Accuracy\n", ERRORS, accuracy.error_table(x), accuracy.against_pyfar(x) + "\n"]
    page += [RESPONSES, accuracy.responses(x), SLANEY]
    text = "\n".join(page)
    del limit
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text)
    print(text)
    return 0


def log(what: str) -> None:
    """Show the progress."""
    print(f"... {what}", file=sys.stderr)


def one_thread() -> object:
    """Limit numpy's linear algebra to one thread, if possible, as long as the result exists."""
    try:
        from threadpoolctl import threadpool_limits
    except ModuleNotFoundError:
        return None
    return threadpool_limits(1)


def header() -> str:
    """Return the title, with date, machine and versions."""
    versions = ", ".join(f"{name} {installed(name)}" for name in PACKAGES if installed(name))
    return (
        "# Benchmarks\n\nWritten by `python benchmarks/bench.py`; the packages compared are in "
        "`benchmarks/requirements.txt`.\n\n"
        f"- {datetime.date.today()}, commit {commit()}\n"
        f"- {machine()}, {os.cpu_count()} cores, {instruction_set()}; {platform.system()}\n"
        f"- Python {platform.python_version()}; {versions}\n"
    )


def installed(name: str) -> str:
    """Return the version of a package, or "" if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def speed(x: NDArray[np.float32], quick: bool) -> str:
    """Return the main table, and the limits of the machine."""
    limits = rows.limits()
    measured = [*rows.mel(x), *rows.this_package(x, quick), *rows.others(x)]
    shorten([*limits, *measured], quick)
    run([*limits, *measured], log)
    mel = next(row for row in measured if row.name == rows.MEL)
    arithmetic, memory = (row.work / row.best / 1e9 for row in limits)
    body = [cells(row, mel, arithmetic, memory) for row in measured]
    head = ["", "s, median", "min", "x real time", "ratio to mel", "of mins"]
    head += ["GFLOP/s", "GB/s", "what"]
    return (
        table(head, body, notes=True)
        + f"\nLimits of one core, the fastest of its rounds: {arithmetic:.1f} GFLOP/s "
        f"({rows.MATMUL}), {memory:.1f} GB/s read and written ({rows.COPY}).\n{COUNTS}"
        f"\nNoise: the {len(mel.times)} timings of the mel row were between {1e3 * mel.best:.1f} "
        f"and {1e3 * max(mel.times.values()):.1f} ms; load average afterwards: {load()}.\n"
    )


def ratios(x: NDArray[np.float32], quick: bool) -> dict[str, list[str]]:
    """Time the rows of features: {row: [ms, ratio to mel, ratio of the fastest calls]}."""
    measured = [*rows.mel(x), *rows.this_package(x, quick)[: rows.FEATURES]]
    shorten(measured, quick)
    run(measured, log)
    mel = next(row for row in measured if row.name == rows.MEL)
    return {
        row.name: [digits(1e3 * row.median), digits(row.ratio(mel)), digits(row.best / mel.best)]
        for row in measured
        if row.times
    }


def instructions(seconds: float, quick: bool) -> str:
    """Return the section with a table of features for each instruction set of this machine."""
    sets: dict[str, dict[str, str]] = {instruction_set(): {}}
    if instruction_set() == "AVX-512":
        sets["AVX2"] = AVX2
    command = [sys.executable, __file__, "--ratios", "--seconds", str(seconds)]
    command += ["--quick"] if quick else []
    results = {}
    for name, variables in sets.items():
        log(name)
        done = subprocess.run(
            command, env=os.environ | variables, stdout=subprocess.PIPE, text=True, check=True
        )
        results[name] = json.loads(done.stdout)
    head = [""]
    for name in results:
        head += [f"ms, {name}", f"ratio to mel, {name}", f"of mins, {name}"]
    body = [
        [row, *(cell for result in results.values() for cell in result[row])]
        for row in min(results.values(), key=len)
    ]
    when = f"{datetime.date.today()}, commit {commit()}, load average {load()}"
    return f"## {INSTRUCTIONS}\n\n{FORCED}\n{table(head, body)}\n{when}.\n"


def cells(row: Row, mel: Row, arithmetic: float, memory: float) -> list[str]:
    """Return a row of the main table; times of shorter sound are scaled to that of the mel row."""
    if not row.times:
        return [row.name, *"-------", row.note]
    scale = mel.seconds / row.seconds
    rate = row.seconds * RATE * rows.CHANNELS / row.median / 1e9  # 1e9 samples x channels / s
    flops, moved = row.flops * rate, row.moved * rate
    return [
        row.name,
        digits(row.median * scale),
        digits(row.best * scale),
        digits(row.seconds / row.median),
        digits(row.ratio(mel)),
        digits(row.best * scale / mel.best),
        f"{flops:.1f} ({100 * flops / arithmetic / row.threads:.0f} %)" if flops else "-",
        f"{moved:.2f} ({100 * moved / memory / row.threads:.0f} %)" if moved else "-",
        row.note,
    ]


def shorten(measured: list[Row], quick: bool) -> None:
    """Reduce the rounds for a smoke test."""
    for row in measured:
        row.rounds = min(row.rounds, 2) if quick else row.rounds


def scaling(quick: bool) -> str:
    """Return tables of the cost of `cpu`, 1 thread, by length, channels and frame rate."""
    longest = 10 if quick else 100
    sound = speech(longest)

    def row(seconds: float, channels: int, rate: float) -> Row:
        c, part = rows.design(channels, rate), sound[None, : round(seconds * RATE)]
        name = f"{seconds} {channels} {rate}"
        return Row(name, lambda: filterbank.pool(part, c), seconds, 9, flops=float(channels))

    lengths = [s for s in (1, 3, 10, 30, 100) if s <= longest]
    groups = {
        "length, s (64 channels, 100 Hz)": [(f"{s:g}", row(s, 64, 100)) for s in lengths],
        "channels (10 s, 100 Hz)": [(f"{n}", row(10, n, 100)) for n in (16, 32, 64, 128, 256)],
        "frame rate, Hz (10 s, 64 channels)": [(f"{r}", row(10, 64, r)) for r in (100, 500, 1000)],
    }
    measured = [item for group in groups.values() for _, item in group]
    for i, item in enumerate(measured):
        item.name = str(i)
    shorten(measured, quick)
    run(measured, log)
    text = "Pooled, `cpu`, 1 thread; all rows of the three tables were timed in turn.\n"
    for title, group in groups.items():
        body = [
            [label, f"{1e3 * item.median:.3f}", f"{1e3 * item.best:.3f}",
             f"{1e9 * item.median / (item.seconds * RATE * item.flops):.3f}"]
            for label, item in group
        ]  # fmt: skip
        text += "\n" + table([title, "ms, median", "min", "ns per sample and channel"], body)
    return text


INSTRUCTIONS = "Features by instruction set"
FORCED = """\
Each instruction set was measured in a process of its own, its rows in turn. AVX2 is forced on a
machine with AVX-512 by `NUMBA_CPU_NAME`, `NUMBA_CPU_FEATURES`, `NPY_DISABLE_CPU_FEATURES`,
`ATEN_CPU_CAPABILITY` and `MKL_ENABLE_INSTRUCTIONS`. MKL, which has torch's FFT, heeds the last on
Intel's processors only. The other tables of this page use what the first lines say.
"""
HOW = f"""## How to read

Ratios are the figures to quote. Seconds depend on the machine and its load. The rows of a table
were timed in turn, round by round, in one process on the same sound (the recordings of `data/`,
concatenated and repeated, 16 kHz), so that other load affects all rows. Each figure is the median
of its rounds, after one call to warm up; "min" is the fastest. One thread, unless a row says
otherwise. The gammatone rows have {rows.CHANNELS} channels from {rows.LOW:g} to {rows.HIGH:g} Hz.
"Ratio to mel" is the median over the rounds of the time relative to that of torchaudio's mel
spectrogram of the same sound; "of mins" is the ratio of the fastest calls, which other load
disturbs least. Times of rows measured on less sound are scaled, as these rows say. In brackets:
the percentage of what one core can do.
"""
COUNTS = f"""
Counted in the source, per sample and channel at order 4. Pooled `cpu`: 8 multiplications (2 for
the input, 2 to undo the block's growth, 2 for the power, 2 for the lag-1 product) and 14
additions (8 in the four running sums, 2, 4), so {rows.POOLED_FLOPS:g} flops, 16 instructions
where 6 fuse; the ends of blocks and frames, less than 0.5, are not counted. Full rate: 2 + 8 + 6
= {rows.FULL_FLOPS:g}. `scan`: {rows.SCAN_FLOPS:.0f}, nearly all in matrix products. Bytes: the
sample once for 16 channels and 60 per frame, {rows.POOLED_BYTES:.2f} in all; full rate
{rows.FULL_BYTES:.2f}, not counting that new memory is first filled with zeros.
"""
FILES = """\
The command `speechasym extract FILE`, 16-bit WAV to levels in dB at 100 Hz, including the start
of Python, imports and a sha256 of the file. The two files took turns, after a run that compiled
the kernels; peak memory is the process's resident set.
"""
ASYMMETRY = """\
The same with `--features asymmetry --compact`:
"""
MANY = """\
`speechasym extract FOLDER --workers N` on FLAC recordings of 5 to 7 s, in turn:
"""
ERRORS = """\
Relative L2 error over time, |output - reference| / |reference|, for each channel. The reference
is a cascade of four `scipy.signal.lfilter` in float64, independent of `speechasym.ops`. The table
has the maximum over the 64 channels, its centre frequency, and the median.
"""
RESPONSES = """\
Magnitude response against the `gammatone` package, at the same centre frequencies, within 0.25
ERB of each; the largest difference of the channels of each range:
"""
SLANEY = """\
The package computes Slaney's four real second-order sections; with the same bandwidth these are
the real part of the complex cascade here, scaled to gain 1 at the centre, as the last row and the
sound show. The other differences are of definition. A real filter responds to a sine through its
pole and the pole's mirror image; the gain here, 2 (1 - |pole|)^4, and the row "envelope" ignore
the image. That matters only if a centre is within a few bandwidths of 0 Hz or half the sample
rate: 7600 Hz is 800 Hz from its image, and its b is 861 Hz. The bandwidths differ by 0.04 %
(1.019 ERB there, 1.0186 here).
"""

if __name__ == "__main__":
    raise SystemExit(main())
