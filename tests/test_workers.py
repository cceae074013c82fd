"""The pool of worker processes. Kills and Ctrl-C: tests/feature_extraction/test_extraction.py."""

import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from helpers import run_python

from speechasym.errors import OutputError
from speechasym.feature_extraction import extraction
from speechasym.feature_extraction.sets import feature_config
from speechasym.workers import run_tasks, start_worker


@pytest.mark.parametrize("chunk", [1, 3, 99])
def test_results_of_all_tasks_in_order(chunk):
    numbers = list(range(-10, 0))
    assert list(run_tasks(abs, numbers, 2, in_order=True, chunk=chunk)) == list(range(10, 0, -1))
    assert sorted(run_tasks(abs, numbers, 2, chunk=chunk)) == list(range(1, 11))
    assert list(run_tasks(abs, [], 2)) == []


def test_error_of_a_task():
    results = run_tasks(int, ["1", "x", "3"], 1, in_order=True)
    assert next(results) == 1
    with pytest.raises(ValueError, match="'x'"):
        next(results)


def test_worker_that_dies():
    with pytest.raises(OutputError, match="a worker process died"):
        list(run_tasks(os._exit, [1, 1, 1], 2))


def test_worker_that_dies_while_the_next_one_starts(monkeypatch):
    start, started = ForkServerProcess.start, []

    def slow_start(process):
        if started:
            started[0].join()  # it has died
            time.sleep(0.2)  # and the pool has closed its queue: this process cannot be started
        start(process)
        started.append(process)

    monkeypatch.setattr(ForkServerProcess, "start", slow_start)
    with pytest.raises(OutputError, match="a worker process died"):
        list(run_tasks(os._exit, [1, 1, 1], 2))
    assert len(started) == 1


def test_worker_of_a_broken_pool_ends():
    context = multiprocessing.get_context("forkserver")
    broken, break_ = context.Pipe(duplex=False)
    with ProcessPoolExecutor(1, context, start_worker, (0, None, None, broken)) as pool:
        pool.submit(abs, 1).result()
        break_.close()
        with pytest.raises(BrokenProcessPool):
            pool.submit(time.sleep, 60).result(30)


LOADED = """
from speechasym.workers import run_tasks
expression = "'numba.np.arraymath' in __import__('sys').modules"
print(*run_tasks(eval, [expression], 1, preload=["speechasym.ops.preloaded"]))
"""


def test_workers_start_with_numbas_registries():
    assert run_python("-c", LOADED).out == "True\n"


UNGUARDED = """
from speechasym.workers import run_tasks
print("once")
print(*run_tasks(abs, [-1, -2], 2, in_order=True, preload=["speechasym.errors"]))
"""


def test_a_script_needs_no_guard(tmp_path):
    """Workers do not run the script again that starts them."""
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    assert run_python(script).out == "once\n1 2\n"


def test_extraction_preloads_them(monkeypatch):
    monkeypatch.setattr(extraction, "run_tasks", lambda *_, preload, **__: preload)
    config = feature_config(features="gammatone")
    task = ("a", Path("a.wav"), Path("out"), config, None)
    assert "speechasym.ops.preloaded" in extraction._run([task] * 3, 2, None)
