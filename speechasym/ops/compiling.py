"""Compile with numba, and keep the result on disk where there is a folder for it.

numba's own `cache=True` raises if it can write neither beside the sources, nor to the user's cache
folder, nor to NUMBA_CACHE_DIR, and if the disk is full or another user owns the files. Here each of
these only costs the time to compile again.
"""

import hashlib
import pickle
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core import event
from numba.core.caching import FunctionCache

from speechasym.ops import compile_events, folder_lock


class _CompileListener(event.Listener):
    """Pass on that a kernel of this package is compiled: no folder has it for this processor."""

    def on_start(self, event: Any) -> None:
        if event.data["dispatcher"].py_func.__module__.startswith("speechasym."):
            compile_events.compiling()

    def on_end(self, event: Any) -> None:
        pass


event.register("numba:compile", _CompileListener())


TURN_S = 10.0  # reading and writing take milliseconds
SHARED = ("cpu_elementary.py", "cpu_lanes.py")  # compiled into kernels of other files


@cache
def _shared() -> str:
    """Return the sha256 of the shared sources."""
    sources = [Path(__file__).with_name(name).read_bytes() for name in SHARED]
    return hashlib.sha256(b"".join(sources)).hexdigest()


class KernelCache(FunctionCache):
    """A cache that never fails: what it cannot read or write is compiled again.

    Processes take turns in a folder, see `folder_lock`. numba compiles a kernel again if its own
    file has changed; here also if a shared one has.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file._source_stamp = (self._cache_file._source_stamp, _shared())

    def load_overload(self, *args: Any) -> Any:
        """Return the compiled function, or None if there is none that can be read."""
        try:
            with folder_lock.locked(self.cache_path, TURN_S, shared=True) as free:
                return super().load_overload(*args) if free else None
        except OSError:
            return None
        except (EOFError, pickle.UnpicklingError):  # damaged: start a new index
            with suppress(OSError), folder_lock.locked(self.cache_path, TURN_S):
                self.flush()
            return None

    def save_overload(self, *args: Any) -> None:
        """Save the compiled function if possible."""
        try:
            with folder_lock.locked(self.cache_path, TURN_S) as free:
                if free:
                    super().save_overload(*args)
        except OSError:
            self.disable()


def _cache(function: Callable[..., Any]) -> KernelCache | None:
    try:
        return KernelCache(function)
    except (OSError, RuntimeError):  # no writable folder; sources that are not files
        return None


def njit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator that compiles as `numba.njit(**options)`, cached on disk if possible."""

    def compile_(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(**options)(function)
        kept = _cache(function)
        if kept is not None:
            dispatcher._cache = kept  # what `cache=True` does
        return dispatcher

    return compile_


def cache_folder() -> str | None:
    """Return the folder of the compiled kernels; None: each process compiles its own."""
    kept = _cache(njit)
    return None if kept is None else str(kept.cache_path)
