"""Locks of folders between processes, and turns of those that compile into one folder.

numba reads the index of a function, then writes it with one more entry. Processes that do so at
once may leave an index that leads to the wrong code: results are wrong, or later processes crash.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

WAIT_S = 120.0  # for another process to compile; one that is suspended is not waited for any longer
_used: set[str] = set()


@contextmanager
def locked(folder: str | Path, wait_s: float = 0.0, *, shared: bool = False) -> Iterator[bool]:
    """Hold a folder locked against other processes that call this; it need not be writable.

    Yields False if another one still holds it after `wait_s`. Where folders cannot be locked
    (Windows, some network drives), nothing is. `shared`: others may hold it in the same way.
    """
    handle = None
    with suppress(ImportError, OSError):
        import fcntl

        handle = os.open(folder, os.O_RDONLY)
    if handle is None:
        yield True
        return
    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    end = time.monotonic() + wait_s
    try:
        while not (free := _free(lambda: fcntl.flock(handle, kind))) and time.monotonic() < end:
            time.sleep(0.01)
        yield free
    finally:
        os.close(handle)  # releases the lock, like the end of the process


def _free(lock: Callable[[], None]) -> bool:
    try:
        lock()
    except BlockingIOError:
        return False
    except OSError:  # not on this kind of disk
        pass
    return True


@contextmanager
def first_use(package: str, what: str) -> Iterator[None]:
    """Let one process at a time compile what a package keeps in numba's cache.

    Only the first block of a process that names `what` waits for others; import the package in it.
    """
    spec = None if what in _used else find_spec(package)
    folder = os.environ.get("NUMBA_CACHE_DIR") or (spec and os.path.dirname(str(spec.origin)))
    if spec is None or not folder:
        yield
        return
    with suppress(OSError):
        os.makedirs(folder, exist_ok=True)
    with locked(folder, WAIT_S):
        yield
    _used.add(what)
