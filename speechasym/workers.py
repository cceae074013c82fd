"""Run tasks in worker processes, which end with the process that started them."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from threading import Thread, current_thread, main_thread
from types import ModuleType
from typing import Any, TypeVar

from speechasym.errors import OutputError
from speechasym.ops import compile_events

Task = TypeVar("Task")
Result = TypeVar("Result")

_log = logging.getLogger("speechasym")
_ended: Any = None  # in a worker: the end of a pipe that is readable once the run has ended


def run_tasks(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int, *,
    in_order: bool = False, chunk: int = 1, preload: Sequence[str] = (),
) -> Iterator[Result]:  # fmt: skip
    """Apply a function to each task in worker processes.

    Args:
        function: of a module, so that workers can import it.
        workers: processes, at most one per task.
        in_order: yield results in the order of the tasks, else as they are completed.
        chunk: tasks sent to a worker at a time.
        preload: modules to import once, before the workers are forked.

    Raises `OutputError` if a worker process dies.
    """
    if not tasks:
        return
    # A server that has imported everything once forks the workers: they start at once, and no lock
    # or thread of this process is copied.
    context = get_context("forkserver" if os.name == "posix" else "spawn")
    if os.name == "posix" and preload:
        context.set_forkserver_preload(list(preload))
    workers = min(workers, len(tasks))
    ended, end = context.Pipe(duplex=False)
    compiling, compile_ = context.Pipe(duplex=False)
    broken, break_ = context.Pipe(duplex=False)
    arguments = (_log.getEffectiveLevel(), ended, compile_, broken)
    Thread(target=_relay, args=(compiling,), daemon=True).start()
    with (
        ended, end, compile_, broken, break_,
        ProcessPoolExecutor(workers, context, start_worker, arguments) as pool,
    ):  # fmt: skip
        futures: list[Future[list[Result]]] = []
        try:
            with interrupts_later(), script_left_out():
                for i in range(0, len(tasks), chunk):
                    futures.append(pool.submit(_run, function, tasks[i : i + chunk]))
            if in_order:
                futures.reverse()
                while futures:  # popped, so that results can be freed
                    yield from futures.pop().result()
            else:
                for future in as_completed(futures):
                    yield from future.result()
        except (BrokenProcessPool, OSError) as error:
            if not any(future.done() and _is_broken(future) for future in futures):
                raise
            # A pool that breaks while it starts a process forgets that process, then waits for it.
            break_.close()
            problem = "a worker process died, perhaps because memory was short"
            raise OutputError("workers", problem, "Use fewer workers") from error
        finally:
            end.close()
            for future in futures:
                future.cancel()


def _is_broken(future: Future[Any]) -> bool:
    return isinstance(future.exception(), BrokenProcessPool)


def stop_if_ended() -> None:
    """Raise `KeyboardInterrupt` in a worker whose run has ended; for use within long tasks."""
    if _ended is not None and _ended.poll():
        raise KeyboardInterrupt


def _run(function: Callable[[Task], Result], tasks: Sequence[Task]) -> list[Result]:
    results = []
    for task in tasks:
        stop_if_ended()
        results.append(function(task))
    return results


def _relay(compiling: Any) -> None:
    """Tell the listener in this process when kernels are compiled in workers."""
    with compiling, suppress(EOFError, OSError):  # until its other ends are closed
        while compiling.recv_bytes():
            compile_events.compiling()


def start_worker(
    level: int, ended: Any = None, compile_: Any = None, broken: Any = None
) -> None:  # fmt: skip
    """Prepare a new process that is to end with the one that started it, or with a broken pool."""
    global _ended
    _ended = ended
    if compile_ is not None:
        compile_events.listeners.append(lambda: compile_.send_bytes(b"compiling"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where `interrupts_later` could not
    Thread(target=_end_with, args=(broken,), daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = "1"  # for libraries not loaded yet: torch, if it is needed
    logging.basicConfig(level=level, format="speechasym: %(message)s")


def _end_with(broken: Any) -> None:
    """End a worker whose parent was killed: it would wait forever, or write beside the next run."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel] if broken is None else [parent.sentinel, broken])
        os._exit(1)


@contextmanager
def script_left_out() -> Iterator[None]:
    """Start processes inside the block that do not run the script again that starts them.

    Python does so for functions of the script, which needs `if __name__ == "__main__":` then. What
    our workers run is in modules.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


@contextmanager
def interrupts_later() -> Iterator[None]:
    """Hold back Ctrl-C inside the block, also from the processes started inside.

    So no process is left half-started, and none prints a traceback: a terminal sends Ctrl-C to all.
    """
    if os.name != "posix":
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # first, because it unblocks the signal when it starts
    # Processes started inside inherit the mask. It does not help here, where a thread of numpy may
    # get the signal; but Python's own handler runs in the main thread only.
    waiting: list[int] = []
    in_main = current_thread() is main_thread()
    handler = signal.signal(signal.SIGINT, lambda n, _: waiting.append(n)) if in_main else None
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if in_main:
            signal.signal(signal.SIGINT, handler or signal.default_int_handler)
        if waiting:
            signal.raise_signal(signal.SIGINT)
