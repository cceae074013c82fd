"""Progress of long runs, on stderr: a bar with the time left on a terminal, else plain lines."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LINE_SECONDS = 10.0


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
        yield lambda fraction, text: None
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress, TextColumn

        columns = (*Progress.get_default_columns(), TextColumn("{task.fields[text]}"))
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(what, total=1.0, text="")

            def move(fraction: float, text: str) -> None:
                if fraction < 0:
                    bar.console.print(text, markup=False, highlight=False)
                else:
                    bar.update(task, completed=fraction, text=text)

            yield move
        return
    start = last = time.monotonic()
    first: float | None = None  # not 0 in a resumed run

    def write(fraction: float, text: str) -> None:
        nonlocal last, first
        now = time.monotonic()
        if fraction < 0:
            print(text, file=sys.stderr, flush=True)
            return
        first = fraction if first is None else first
        if fraction > first and (now - last >= LINE_SECONDS or fraction == 1):
            last = now
            left = (now - start) / (fraction - first) * (1 - fraction)
            line = f"{what}: {fraction:.0%}, {left:.0f} s left, {text}"
            print(line, file=sys.stderr, flush=True)

    yield write
