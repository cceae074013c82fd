"""Is everything here that is needed? A table, and what to do where something is off."""

import os
import platform
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from speechasym import ops

NEEDED = ("torch", "torchaudio", "numpy", "numba", "soundfile", "soxr", "matplotlib", "rich")
FORMATS = ("WAV", "RF64", "FLAC", "OGG", "MP3", "AIFF", "NIST")


class Check(NamedTuple):
    """One row: what was looked at, what was found, and, where it is off, what to do."""

    what: str
    found: str
    remedy: str = ""  # empty: all is well


def checks() -> list[Check]:
    """Look at everything; never raises."""
    return [
        _python(),
        *(_package(name) for name in NEEDED),
        _pair(),
        _formats(),
        _cores(),
        _gpu(),
        _cache(),
    ]


def report() -> int:
    """Print the checks as a table. Returns 1 if something is off, else 0."""
    from rich.console import Console
    from rich.table import Table

    rows = checks()
    table = Table("", "what", "found", "what to do")
    table.columns[2].overflow = table.columns[3].overflow = "fold"
    for row in rows:
        table.add_row("off" if row.remedy else "ok", row.what, row.found, row.remedy or "-")
    Console().print(table, markup=False)
    bad = sum(1 for row in rows if row.remedy)
    print(f"{bad} of {len(rows)} checks are off" if bad else f"All {len(rows)} checks are well")
    return 1 if bad else 0


def _python() -> Check:
    found = platform.python_version()
    old = sys.version_info < (3, 11)
    return Check("Python", found, "Install Python 3.11 or newer" if old else "")


def _package(name: str) -> Check:
    try:
        return Check(name, version(name))
    except PackageNotFoundError:
        return Check(name, "not installed", f"pip install {name} (tested: constraints.txt)")


def _pair() -> Check:
    """torchaudio is built for one torch; another imports with an error or not at all."""
    what = "torch and torchaudio together"
    if not (find_spec("torch") and find_spec("torchaudio")):
        return Check(what, "not both installed", "pip install torch==2.11.0 torchaudio==2.11.0")
    try:
        import torchaudio

        torchaudio.functional.create_dct(13, 40, norm=None)
    except Exception as error:  # whatever a mismatched binary raises
        return Check(
            what, f"{type(error).__name__}: {str(error).splitlines()[0]}",
            "pip install torch==2.11.0 torchaudio==2.11.0",
        )  # fmt: skip
    return Check(what, "work")


def _formats() -> Check:
    try:
        import soundfile

        missing = [f for f in FORMATS if f not in soundfile.available_formats()]
        if "OPUS" not in soundfile.available_subtypes("OGG"):
            missing.append("Opus")
        library = soundfile.__libsndfile_version__
    except Exception as error:
        return Check("libsndfile", str(error), "pip install --force-reinstall soundfile")
    found = f"{library}: " + ", ".join(f for f in (*FORMATS, "Opus") if f not in missing)
    remedy = f"Cannot read {', '.join(missing)}: pip install -U soundfile" if missing else ""
    return Check("libsndfile", found, remedy)


def _cores() -> Check:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        import llvmlite.binding

        features = llvmlite.binding.get_host_cpu_features()
        vector = next((f for f in ("avx512f", "avx2", "neon", "sse2") if features.get(f)), "plain")
    except Exception as error:
        return Check("processor", str(error), "pip install --force-reinstall numba llvmlite")
    return Check("processor", f"{usable} cores usable, {vector}")


def _gpu() -> Check:
    try:
        import torch

        if torch.cuda.is_available():
            return Check("GPU", torch.cuda.get_device_name())
    except Exception as error:
        return Check("GPU", str(error), "Not needed; pip install torch==2.11.0 if wanted")
    return Check("GPU", "none (not needed)")


def _cache() -> Check:
    """Compiled kernels are kept beside the sources, or where NUMBA_CACHE_DIR says."""
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or Path(ops.__file__).parent / "__pycache__")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return Check("cache for compiled kernels", str(folder))
    except OSError as error:
        return Check(
            "cache for compiled kernels",
            f"{folder}: {error.strerror}",
            "Set NUMBA_CACHE_DIR to a folder you may write to; without it each start compiles 2 s",
        )
