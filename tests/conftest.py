"""What several test files share: recordings to make, the command to run, tests to skip."""

import os
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile as sf

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch: threads only wait on small tensors
ROOT = Path(__file__).resolve().parents[1]
CORPORA = ("TIMIT_ROOT", "LIBRISPEECH_ROOT", "NOISE_ROOT")


def pytest_runtest_setup(item):
    if mark := item.get_closest_marker("corpus"):
        # mark.corpus("TIMIT_ROOT") needs that one, mark.corpus any of them
        if missing := [name for name in mark.args if not os.environ.get(name)]:
            pytest.skip(f"set {', '.join(missing)} to the corpus to run this")
        if not mark.args and not any(map(os.environ.get, CORPORA)):
            pytest.skip(f"set one of {', '.join(CORPORA)} to a corpus to run this")
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def environment() -> dict[str, str]:
    """For subprocesses: this checkout is importable, tables are wide enough not to fold paths."""
    return os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "400", "PYTHONIOENCODING": "utf-8"}


def run_python(*args, timeout=60, **options) -> Done:
    """Run `python ARGS` on this checkout. No command may ever show a traceback."""
    options = {"env": environment(), "cwd": ROOT} | options
    command = [sys.executable, *map(str, args)]
    done = subprocess.run(
        command, capture_output=True, text=True, encoding="utf-8", timeout=timeout, **options
    )
    assert "Traceback" not in done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def run_cli(*args, **options) -> Done:
    """Run the command with these arguments."""
    return run_python("-m", "speechasym", *args, **options)


def sine(
    seconds: float = 0.3, rate: int = 16000, hertz: float = 440.0, amplitude: float = 0.5
) -> np.ndarray:
    """(T,) samples of a sine."""
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def tone(path: Path, samples=None, rate: int = 16000, **options) -> Path:
    """Write samples, or a short sine, as a recording; `options` go to `soundfile.write`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, sine(rate=rate) if samples is None else samples, rate, **options)
    return path


def leftovers(folder: Path) -> list[Path]:
    """Temporary files, and .npy files that numpy cannot read whole."""
    left = list(folder.rglob("*.part"))
    for path in folder.rglob("*.npy"):
        try:
            np.load(path)
        except (ValueError, OSError, EOFError):
            left.append(path)
    return left


def contents(folder: Path) -> dict[str, bytes]:
    """{name in the folder: bytes} of every file."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def let_go(pipe: Path, reader: threading.Thread) -> None:
    """End a thread that reads a named pipe, whether it waits for a writer or has left already.

    To open the pipe as usual would wait for ever where the thread has left.
    """
    while reader.is_alive():
        with suppress(OSError):  # nobody reads just now
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        reader.join(0.01)
