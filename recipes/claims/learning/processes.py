"""Groups of processes that wait for requests, so that systems can take turns on one machine."""

import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import wait
from typing import Any

from speechasym.errors import TrainingError

# imported once, before processes are forked: else each of them would import it for seconds
PRELOADED = ["recipes.claims.learning.costs", "recipes.compare.jobs"]
SECONDS = 300.0  # for an answer; a process that dies is noticed at once


class Server:
    """One process of a system, which answers requests: `(method, arguments...)`."""

    divided = False  # whether the processes share the levels of one model, as `train` does it

    def __call__(self, request: Any) -> Any:
        """Answer a request with what the method returns."""
        method, *arguments = request
        return getattr(self, method)(*arguments)


class Processes:
    """Processes of one system, joined by gloo if there are several; they end with this object.

    While no request is under way they sleep.

    Args:
        make: a class of a module, called with the process group and `arguments`.
        threads: of each process. Where there are enough cores, processes have cores of their own.

    Example:
        >>> with Processes(systems.Backprop, 2, arguments=(setup,)) as processes:
        ...     answers = processes.ask(("timed", 10))
    """

    def __init__(
        self, make: type[Server], size: int = 1, threads: int = 1,
        arguments: Sequence[Any] = (),
    ) -> None:  # fmt: skip
        context = get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self._links, self._running = [], []
        for rank in range(size):
            own = cores[rank * threads :][:threads] if size * threads <= len(cores) else []
            here, there = context.Pipe()
            process = context.Process(
                target=_serve, args=(there, make, rank, size, port, threads, own, arguments),
                daemon=True,
            )  # fmt: skip
            process.start()
            there.close()
            self._links.append(here)
            self._running.append(process)

    def ask(self, request: Any) -> list[Any]:
        """Return the answer of each process. Raises `TrainingError` if one of them fails."""
        for link in self._links:
            with suppress(BrokenPipeError):  # it has died, which is noticed below
                link.send(request)
        answers: dict[int, Any] = {}
        while waiting := [link for n, link in enumerate(self._links) if n not in answers]:
            ready = wait(waiting, SECONDS)
            problem = f"does not answer for {SECONDS:g} s" if not ready else ""
            for rank, link in enumerate(self._links):
                if rank in answers or (ready and link not in ready):
                    continue
                try:
                    answers[rank] = link.recv() if not problem else None
                except (EOFError, ConnectionResetError):
                    problem = "has died"
                if not problem and isinstance(answers[rank], Exception):
                    problem = f"failed: {answers[rank]}"
                if problem:
                    self.close()
                    remedy = "Run the command again, which continues"
                    raise TrainingError(f"process {rank}", problem, remedy)
        return [answers[rank] for rank in range(len(self._links))]

    def close(self) -> None:
        """End the processes."""
        for link in self._links:
            link.close()
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.join()

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _serve(
    link: Any, make: type[Server], rank: int, size: int, port: int, threads: int,
    cores: list[int], arguments: Sequence[Any],
) -> None:  # fmt: skip
    """Answer requests until the other end is closed."""
    import torch

    from speechasym.training.distributed import process_group

    if cores:
        os.sched_setaffinity(0, cores)
    torch.set_num_threads(threads)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size)}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    try:
        with process_group(torch.device("cpu"), size if make.divided else 1) as group:
            answer: Server = make(group, *arguments)  # type: ignore[call-arg]
            while True:
                link.send(answer(link.recv()))
    except EOFError:
        pass
    except Exception as error:
        link.send(RuntimeError(f"{type(error).__name__}: {error}"))
