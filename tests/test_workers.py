"""The pool of worker processes. Kills and Ctrl-C: tests/feature_extraction/test_extraction.py."""

import os

import pytest

from speechasym.errors import OutputError
from speechasym.workers import run_tasks


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
