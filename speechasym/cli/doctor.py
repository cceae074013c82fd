"""`speechasym doctor`: check the installation, and say how to fix it."""

import os
import platform
import sys
from argparse import Namespace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from speechasym.cli.options import print_rich

NEEDED = ("torch", "torchaudio", "numpy", "numba", "soundfile", "soxr", "matplotlib", "rich")
FORMATS = ("WAV", "RF64", "FLAC", "OGG", "MP3", "AIFF", "NIST")


class Check(NamedTuple):
    """Outcome of one check."""

    what: str
    result: str
    remedy: str = ""  # how to fix it; empty if the check passed


def add_parser(commands: Any) -> None:
    """Add the command's parser."""
    commands.add_parser(
        "doctor",
        help="check the installation",
        description="Check versions, libraries, formats and folders, and say how to fix what is"
        " wrong. Exit code 1 if a check fails.",
    )


def run(options: Namespace) -> int:
    """Print the checks as a table. Exit code 1 if a check fails."""
    from rich.table import Table

    import speechasym

    rows = speechasym.check_installation()
    table = Table("", "what", "result", "how to fix it")
    table.columns[2].overflow = table.columns[3].overflow = "fold"
    for row in rows:
        table.add_row("FAIL" if row.remedy else "ok", row.what, row.result, row.remedy or "-")
    print_rich(table)
    failed = sum(1 for row in rows if row.remedy)
    print(f"{failed} of {len(rows)} checks failed" if failed else f"All {len(rows)} checks passed")
    return 1 if failed else 0


def check_installation() -> list[Check]:
    """Check Python, packages, audio formats, processor, GPU and the kernel cache; never raise.

    Example:
        >>> for check in speechasym.check_installation():
        ...     print(check.what, check.result, check.remedy)
        Python 3...
        torch 2...
        ...
    """
    return [
        _python(), *(_package(name) for name in NEEDED), _pair(), _formats(), _cores(), _gpu(),
        _cache(),
    ]  # fmt: skip


def _python() -> Check:
    old = sys.version_info < (3, 11)
    remedy = "Install Python 3.11 or newer" if old else ""
    return Check("Python", platform.python_version(), remedy)


def _package(name: str) -> Check:
    try:
        return Check(name, version(name))
    except PackageNotFoundError:
        return Check(name, "not installed", f"pip install {name} (tested: constraints.txt)")


def _pair() -> Check:
    """Check the pair: torchaudio is built for one torch, and fails to import with another."""
    what = "torch and torchaudio together"
    remedy = "pip install torch==2.11.0 torchaudio==2.11.0"
    if not (find_spec("torch") and find_spec("torchaudio")):
        return Check(what, "not both installed", remedy)
    try:
        import torchaudio

        torchaudio.functional.create_dct(13, 40, norm=None)
    except Exception as error:  # whatever a mismatched binary raises
        lines = str(error).splitlines() or [""]  # an error may have no text
        return Check(what, f"{type(error).__name__}: {lines[0]}", remedy)
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
    readable = f"{library}: " + ", ".join(f for f in (*FORMATS, "Opus") if f not in missing)
    remedy = f"Cannot read {', '.join(missing)}: pip install -U soundfile" if missing else ""
    return Check("libsndfile", readable, remedy)


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
    """Check the folder of compiled kernels: the one that numba chooses, as far as it may write."""
    what, wanted = "cache for compiled kernels", os.environ.get("NUMBA_CACHE_DIR")
    try:
        from speechasym.ops.compiling import cache_folder

        folder = cache_folder()
    except Exception as error:  # a broken numba: the package's own row says so
        return Check(what, str(error), "pip install --force-reinstall numba llvmlite")
    if folder is None:
        remedy = "Set NUMBA_CACHE_DIR to a writable folder; without it each start compiles again"
        return Check(what, "no writable folder", remedy)
    if wanted and not Path(folder).is_relative_to(wanted):
        problem = f"NUMBA_CACHE_DIR={wanted} is not writable; {folder} is used"
        return Check(what, problem, "Set NUMBA_CACHE_DIR to a writable folder, or unset it")
    return Check(what, folder)
