"""Tasks on a cluster of two processes: the same results, also if a worker dies; clear errors."""

import os
import signal
from pathlib import Path

import pytest
from helpers import contents, sine, tone

import speechasym
from speechasym import cluster
from speechasym.errors import ConfigError, OutputError

distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")


@pytest.fixture(scope="module")
def scheduler():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0
    ) as local:
        yield local.scheduler_address


def square(number):
    return number * number, os.getpid()


def die_once(task):
    """Kill the worker when its task is run for the first time."""
    number, folder = task
    mark = Path(folder) / f"{number}.tried"
    if number == 7 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def give_up_at_once(dask_scheduler):
    dask_scheduler.allowed_failures = 0


def fail(number):
    raise OutputError("disk", "is full", "Free space")


def test_results_in_order_from_both_workers(scheduler):
    results = list(cluster.run_on_cluster(square, range(40), scheduler, in_order=True, chunk=3))
    assert [result for result, _ in results] == [n * n for n in range(40)]
    processes = {pid for _, pid in results}
    assert len(processes) == 2 and os.getpid() not in processes
    results = list(cluster.run_on_cluster(square, range(40), scheduler))
    assert sorted(result for result, _ in results) == [n * n for n in range(40)]


def test_tasks_of_a_killed_worker_are_run_by_another(scheduler, tmp_path):
    tasks = [(n, str(tmp_path)) for n in range(30)]
    assert list(cluster.run_on_cluster(die_once, tasks, scheduler, in_order=True)) == [*range(30)]
    assert (tmp_path / "7.tried").exists()


def test_errors_of_tasks_and_of_workers(scheduler, monkeypatch, tmp_path):
    with pytest.raises(OutputError, match="disk: is full"):
        list(cluster.run_on_cluster(fail, [1], scheduler))
    with distributed.Client(scheduler) as client:
        client.run_on_scheduler(give_up_at_once)
    with pytest.raises(OutputError, match=r"workers died on the same task.*Give workers more mem"):
        list(cluster.run_on_cluster(die, [1], scheduler))
    other = cluster.versions() | {"numpy": "0.1"}
    monkeypatch.setattr(cluster, "versions", lambda: other)
    with pytest.raises(ConfigError, match=r"worker \S+ has numpy \d\S*, here it is 0.1. Install"):
        list(cluster.run_on_cluster(square, [1], scheduler))
    monkeypatch.undo()
    monkeypatch.setattr(os, "getcwd", lambda: str(tmp_path / "elsewhere"))
    with pytest.raises(ConfigError, match=r"cannot enter \S+elsewhere.*Run in a folder that all"):
        list(cluster.run_on_cluster(square, [1], scheduler))


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("tcp://127.0.0.1:9", "none answers at tcp://127.0.0.1:9. Start one with `dask scheduler`"),
        ("here", "must be an address, got 'here'. Use tcp://HOST:PORT, or local:N"),
        ("local:0", "must be an address"),
        ("local:two", "must be an address"),
    ],
)
def test_schedulers_that_cannot_be_used(address, says, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 0.5)
    with pytest.raises(ConfigError, match=says):
        list(cluster.run_on_cluster(square, [1], address))


def test_a_scheduler_without_workers(monkeypatch):
    monkeypatch.setattr(cluster, "WAIT_SECONDS", 0.1)
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0") as empty,
        pytest.raises(ConfigError, match=r"no workers for 0.1 s. Start some with `dask worker tcp"),
    ):
        list(cluster.run_on_cluster(square, [1], empty.scheduler_address))


def test_extraction_gives_the_same_folder(scheduler, tmp_path, monkeypatch):
    for n in range(5):
        tone(tmp_path / "in" / f"{n}.wav", sine(1.0 + 0.5 * n))
    (tmp_path / "in" / "bad.wav").write_bytes(b"RIFF")
    monkeypatch.chdir(tmp_path)
    for out, address in (("one", None), ("many", scheduler), ("local", "local:2")):
        result = speechasym.extract("in", out, features="gammatone", scheduler=address)
        assert result.written == [*"01234"] and list(result.failed) == ["bad"]
    assert contents(tmp_path / "one") == contents(tmp_path / "many") == contents(tmp_path / "local")
