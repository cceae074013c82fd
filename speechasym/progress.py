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


@contextmanager
def shares(what: str, shown: bool = True) -> Iterator[Callable[[float, str], None]]:
    """Yields a function to call with the share that is done (0 to 1) and a word on how it goes.

    Writes to stderr. What is said with a share below 0 stays as a line of its own.
    """
    if not shown:
        yield lambda share, text: None
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
        from rich.progress import TimeRemainingColumn as TimeLeft

        bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeLeft(),
            TextColumn("{task.fields[text]}"), console=Console(stderr=True),
        )  # fmt: skip
        with bar:
            task = bar.add_task(what, total=1.0, text="")

            def move(share: float, text: str) -> None:
                if share < 0:
                    bar.console.print(text, markup=False, highlight=False)
                else:
                    bar.update(task, completed=share, text=text)

            yield move
        return
    begun = last = time.monotonic()
    first: float | None = None  # a run that goes on begins with a share

    def say(share: float, text: str) -> None:
        nonlocal last, first
        now = time.monotonic()
        if share < 0:
            print(text, file=sys.stderr, flush=True)
            return
        first = share if first is None else first
        if now - last >= LINE_SECONDS and share > first:
            last = now
            left = (now - begun) / (share - first) * (1 - share)
            print(f"{what}: {share:.0%}, {left:.0f} s left, {text}", file=sys.stderr, flush=True)

    yield say
