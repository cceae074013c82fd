"""Two processes train as one."""

import multiprocessing
import os
import socket
from pathlib import Path

import elastic
import pytest
import tiny
import torch
from helpers import environment, run_python

from speechasym.training import checkpoints


def in_two_processes(target, *arguments):
    """Run target(rank, 2, port, *arguments) for both ranks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=target, args=(r, 2, port, *arguments)) for r in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)  # s; a machine may be busy
    assert [process.exitcode for process in processes] == [0, 0]


def test_a_process_may_have_no_share_of_a_batch(tmp_path, words):
    in_two_processes(tiny.train_levels_in_group, words, tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert sum('"loss"' in line for line in lines) > 12  # batches of one or two cuts
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_a_process_says_that_another_has_ended(tmp_path):
    in_two_processes(tiny.end_in_group, tmp_path / "said")
    said = (tmp_path / "said").read_text()
    assert said.startswith("process 0: another process of the run has ended")


def test_two_processes_train_as_one(tmp_path, words):
    more = ["epochs=2", "model.options.drop=0"]
    one = tiny.run(words, tmp_path / "one", *more)
    in_two_processes(tiny.train_in_group, words, tmp_path / "two", more)
    first, second = (torch.load(tmp_path / f"two-{rank}.pt") for rank in range(2))
    assert first[:2] == second[:2] and first[0] == one["steps"]
    assert all(torch.equal(first[2][name], second[2][name]) for name in first[2])
    alone = checkpoints.load(tmp_path / "one")[0]
    for name, value in first[2].items():
        if name != "steps":
            torch.testing.assert_close(value, alone[f"model.{name}"], rtol=1e-3, atol=2e-5)
    for a, b in zip(tiny.lines(tmp_path / "one"), tiny.lines(tmp_path / "two"), strict=True):
        assert a.get("loss", 0) == pytest.approx(b.get("loss", 0), rel=1e-3)


def torchrun(*arguments):
    """Run tests/elastic.py in two processes."""
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = Path(__file__).parents[1] / "elastic.py"
    path = os.pathsep.join(map(str, [script.parent, script.parents[1]]))
    done = run_python(
        *command, "--max-restarts", "1", script, *arguments, timeout=240,
        env=environment() | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.code == 0, done.err


def test_torchrun_restarts_a_killed_process_from_the_last_checkpoint(tmp_path):
    words = tiny.corpus(tmp_path / "data")
    in_two_processes(elastic.train_whole, words, tmp_path / "whole")
    torchrun(tmp_path / "restarted", tmp_path / "data", "8")
    assert (tmp_path / "killed").exists()
    steps = [
        [line["step"] for line in tiny.lines(tmp_path / run) if "loss" in line]
        for run in ("whole", "restarted")
    ]
    assert steps[0] == steps[1] == [*range(1, len(steps[0]) + 1)] and len(steps[0]) > 12
    whole, restarted = (
        (tmp_path / run / "model.safetensors").read_bytes() for run in ("whole", "restarted")
    )
    assert whole == restarted
