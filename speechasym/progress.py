"""How far a long run is: a bar with the time left on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LINE_SECONDS = 10.0


@contextmanager
def progress(total: int, what: str, shown: bool = True) -> Iterator[Callable[[], None]]:
    """Yields a function to call after each of `total` steps; writes to stderr."""
    if not shown or total == 0:
        yield lambda: None
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as TimeLeft

        bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeLeft(),
            console=Console(stderr=True),
        )  # fmt: skip
        with bar:
            task = bar.add_task(what, total=total)
            yield lambda: bar.advance(task)
        return
    begun = last = time.monotonic()
    done = 0

    def step() -> None:
        nonlocal done, last
        done += 1
        now = time.monotonic()
        if now - last >= LINE_SECONDS or done == total:
            last = now
            left = (now - begun) / done * (total - done)
            print(f"{what}: {done}/{total}, {left:.0f} s left", file=sys.stderr, flush=True)

    yield step
