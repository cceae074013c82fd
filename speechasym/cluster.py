"""Run tasks on the workers of a dask cluster [1], which share a file system with this process.

[1] M. Rocklin, "Dask: parallel computation with blocked algorithms and task scheduling", Proc.
    14th Python in Science Conference, 2015.
"""

import hashlib
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from speechasym import files
from speechasym.errors import ConfigError, OutputError

if TYPE_CHECKING:
    from distributed import Client

Task = TypeVar("Task")
Result = TypeVar("Result")

PACKAGES = ("speechasym", "numpy", "numba", "torch", "soundfile", "soxr")
ANSWER_SECONDS = 10  # for a scheduler
WAIT_SECONDS = 60  # for its first worker
log = logging.getLogger(__name__)


def run_on_cluster(
    function: Callable[[Task], Result], tasks: Sequence[Task], scheduler: str, *,
    in_order: bool = False, chunk: int = 1,
) -> Iterator[Result]:  # fmt: skip
    """Apply a function to each task on a cluster. Tasks of a worker that dies are run by another.

    Args:
        function: of a module, so that workers can import it.
        scheduler: address of a dask scheduler, tcp://HOST:PORT, or local:N for N worker processes
            on this machine. Workers run in the current folder, so they must share it.
        in_order: yield results in the order of the tasks, else as they are completed.
        chunk: tasks sent to a worker at a time.

    Raises:
        ConfigError: dask is not installed, no scheduler answers or it has no workers, or a worker
            has other versions or does not share the current folder.
        OutputError: a task whose workers died again and again.
    """
    with connect(scheduler) as client:
        from distributed import KilledWorker, as_completed

        parts = [tasks[i : i + chunk] for i in range(0, len(tasks), chunk)]
        futures = [
            client.submit(_run, function, part, os.getcwd(), versions(), pure=False)
            for part in parts
        ]
        try:
            for future in futures if in_order else as_completed(futures):
                yield from future.result()
                future.release()
        except KilledWorker as error:
            problem = f"workers died on the same task: {error.last_worker.address} was the last"
            raise OutputError(scheduler, problem, "Give workers more memory") from error
        except ImportError as error:
            problem = f"a worker cannot import {error.name or error}"
            raise ConfigError("scheduler", problem, "Install the same packages there") from error
        finally:
            client.cancel(futures)


@contextmanager
def connect(scheduler: str) -> "Iterator[Client]":
    """Yield a client of a scheduler, or of N local processes. Raises `ConfigError`."""
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        remedy = "Install speechasym[cluster]"
        raise ConfigError("scheduler", "dask.distributed is not installed", remedy) from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    kind, _, rest = scheduler.partition(":")
    if kind == "local" and rest.isdigit() and int(rest):
        with (
            LocalCluster(
                n_workers=int(rest), threads_per_worker=1, dashboard_address=":0",
                silence_logs=logging.CRITICAL, memory_limit=0,
            ) as cluster,
            Client(cluster) as client,
        ):  # fmt: skip
            yield client
        return
    if "://" not in scheduler:
        remedy = "Use tcp://HOST:PORT, or local:N with a number of processes"
        raise ConfigError("scheduler", f"must be an address, got {scheduler!r}", remedy)
    try:
        client = Client(scheduler, timeout=ANSWER_SECONDS, direct_to_workers=False)
    except (OSError, ValueError) as error:
        remedy = "Start one with `dask scheduler`, and workers with `dask worker`, or use local:N"
        raise ConfigError("scheduler", f"none answers at {scheduler}", remedy) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WAIT_SECONDS)
        except TimeoutError as error:
            problem = f"{scheduler} has had no workers for {WAIT_SECONDS} s"
            remedy = f"Start some with `dask worker {scheduler} --nthreads 1`"
            raise ConfigError("scheduler", problem, remedy) from error
        yield client


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python's packages that results depend on, and of this one's source."""
    digest = hashlib.sha256()
    home = Path(__file__).parent
    for path in sorted(home.rglob("*.py")):
        digest.update(path.read_bytes())
    return files.package_versions(PACKAGES) | {"source": digest.hexdigest()[:12]}


def _run(
    function: Callable[[Task], Result], tasks: Sequence[Task], folder: str, expected: dict[str, Any]
) -> list[Result]:
    """Run tasks on a worker, in a folder that it must share."""
    host = socket.gethostname()
    for name, version in versions().items():
        if version != expected.get(name):
            problem = f"worker {host} has {name} {version}, here it is {expected.get(name)}"
            raise ConfigError("scheduler", problem, "Install the same version on all machines")
    try:
        os.chdir(folder)
    except OSError as error:
        problem = f"worker {host} cannot enter {folder} ({error.strerror})"
        remedy = "Run in a folder that all machines share"
        raise ConfigError("scheduler", problem, remedy) from error
    return [function(task) for task in tasks]
