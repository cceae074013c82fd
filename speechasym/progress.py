"""Progress of long runs, on stderr: a bar with the time left on a terminal, else plain lines.

Kernels are compiled when they are first needed on a computer. This is announced, and the time left
is estimated from the steps afterwards.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from speechasym.ops.compile_events import listening

LINE_SECONDS = 10.0
COMPILING = "compiling (once)"


@contextmanager
def announce_compiling() -> Iterator[None]:
    """Print one line if kernels are compiled inside the block, but not within its progress bars."""
    with listening(_Announcement(lambda text: print(f"speechasym: {text}", file=sys.stderr))):
        yield


class _Announcement:
    """Announce the first of several compilations."""

    done = False  # in this process

    def __init__(self, write: Callable[[str], object]) -> None:
        self.write = write

    def __call__(self) -> None:
        if not _Announcement.done:
            _Announcement.done = True
            self.write(COMPILING)


class _TimeLeft:
    """The time left, by the rate of the steps after the last that compiled."""

    def __init__(self, announce: Callable[[], None]) -> None:
        self.announce = announce
        self.start, self.first = 0.0, -1.0  # time and fraction from which the rate is computed

    def compiling(self) -> None:
        self.announce()
        self.first = -1.0

    def __call__(self, fraction: float) -> float | None:
        """Return s, or None before the end of the first step that did not compile."""
        now = time.monotonic()
        if self.first < 0:
            self.start, self.first = now, fraction
        if fraction <= self.first:
            return None
        return (now - self.start) / (fraction - self.first) * (1 - fraction)


@contextmanager
def progress(total: int, what: str, show_progress: bool = True) -> Iterator[Callable[[], None]]:
    """Yield a function to call after each of `total` steps."""
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        report(done / total, f"{done}/{total}")

    with progress_bar(what, show_progress and total > 0) as report:
        report(0.0, f"0/{total}")
        yield step


@contextmanager
def progress_bar(what: str, show_progress: bool = True) -> Iterator[Callable[[float, str], None]]:
    """Yield a function to call with the fraction done (0 to 1) and a short text.

    With a fraction below 0, the text becomes a line that stays.
    """
    if not show_progress:
        with listening(lambda: None):
            yield lambda fraction, text: None
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress, TextColumn

        columns = [TextColumn(f"{{task.fields[{name}]}}") for name in ("left", "text")]
        console = Console(stderr=True)
        with Progress(*Progress.get_default_columns()[:-1], *columns, console=console) as bar:
            task = bar.add_task(what, total=1.0, left="", text="")

            def keep(text: str) -> None:
                bar.console.print(text, markup=False, highlight=False)

            time_left = _TimeLeft(_Announcement(keep))

            def move(fraction: float, text: str) -> None:
                if fraction < 0:
                    keep(text)
                    return
                left = time_left(fraction)
                shown = "" if left is None else str(timedelta(seconds=round(left)))
                bar.update(task, completed=fraction, left=shown, text=text)

            with listening(time_left.compiling):
                yield move
        return

    def line(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    last, beginning = time.monotonic(), -1.0  # not 0 in a resumed run
    time_left = _TimeLeft(_Announcement(line))

    def write(fraction: float, text: str) -> None:
        nonlocal last, beginning
        if fraction < 0:
            line(text)
            return
        left, now = time_left(fraction), time.monotonic()
        beginning = fraction if beginning < 0 else beginning
        if fraction > beginning and (now - last >= LINE_SECONDS or fraction == 1):
            last = now
            estimate = "" if left is None else f"{left:.0f} s left, "
            line(f"{what}: {fraction:.0%}, {estimate}{text}")

    with listening(time_left.compiling):
        yield write
