"""Who is told when kernels are compiled. It imports no numba, so that every command may use it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

listeners: list[Callable[[], None]] = []  # the last is told


@contextmanager
def listening(listener: Callable[[], None]) -> Iterator[None]:
    """Call a function when a kernel is about to be compiled inside the block, and no other."""
    listeners.append(listener)
    try:
        yield
    finally:
        listeners.remove(listener)


def compiling() -> None:
    """Tell the innermost listener that a kernel is about to be compiled."""
    if listeners:
        listeners[-1]()
