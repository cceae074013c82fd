"""Processes that compile at once take turns, and leave an index that leads to the right code."""

import os
import time

import numba
import pytest
from numba.core.caching import IndexDataCacheFile

from speechasym.ops import compiling, folder_lock


def double(x):
    return 2 * x


def in_processes(*functions):
    """Run functions at once, in forked processes; return the exit codes."""
    ids = []
    for function in functions:
        if not (child := os.fork()):
            code = 1
            try:
                function()
                code = 0
            finally:
                os._exit(code)  # without what pytest does at the end
        ids.append(child)
    return [os.waitpid(child, 0)[1] for child in ids]


VALUES = (3, 3.5, 3j)


def test_processes_that_compile_at_once_leave_the_right_code(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    load = IndexDataCacheFile._load_index

    def load_slowly(self):
        index = load(self)
        time.sleep(0.2)  # so that, without turns, each sees an empty index
        return index

    def compile_(value):
        monkeypatch.setattr(IndexDataCacheFile, "_load_index", load_slowly)
        assert compiling.njit()(double)(value) == 2 * value

    def read():
        kernel = compiling.njit()(double)
        for number, value in enumerate(VALUES, 1):
            assert kernel(value) == 2 * value
            assert sum(kernel.stats.cache_hits.values()) == number

    assert numba.njit(double)("a" != "b") == 2  # what processes share is loaded before the fork
    assert in_processes(*(lambda value=value: compile_(value) for value in VALUES)) == [0, 0, 0]
    assert in_processes(read) == [0]  # a process of its own: it could crash


def test_a_package_is_first_used_by_one_process_at_a_time(tmp_path, monkeypatch):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(folder_lock, "_used", set())
    log = tmp_path / "log"

    def use():
        for _ in range(2):
            with folder_lock.first_use("toy", "kernel"), log.open("a", buffering=1) as file:
                file.write("begin\n")
                time.sleep(0.1)
                file.write("end\n")
            monkeypatch.setattr(folder_lock, "locked", None)  # not used again

    assert in_processes(use, use) == [0, 0]
    lines = log.read_text().split()
    assert lines[:2] == ["begin", "end"] and len(lines) == 8


def test_locks(tmp_path, monkeypatch):
    with folder_lock.locked(tmp_path) as first, folder_lock.locked(tmp_path, 0.02) as second:
        assert first and not second
    with folder_lock.locked(tmp_path, shared=True), folder_lock.locked(tmp_path, shared=True) as b:
        assert b
        with folder_lock.locked(tmp_path) as alone:
            assert not alone
    with folder_lock.locked(tmp_path / "missing") as free:
        assert free
    with pytest.raises(OSError, match="of the block"), folder_lock.locked(tmp_path):
        raise OSError("of the block")
    with folder_lock.locked(tmp_path) as free:  # released
        assert free
    import fcntl

    monkeypatch.setattr(fcntl, "flock", lambda *_: os.open(tmp_path / "missing", 0))
    with folder_lock.locked(tmp_path) as free:  # no locks on this disk
        assert free
