"""Parts of a model in several processes: messages, failures, and who belongs to whom."""

import multiprocessing
import socket

import processes
import pytest
import torch

from speechasym.errors import ConfigError
from speechasym.training import distributed
from speechasym.training.channels import Message, pack, unpack
from speechasym.training.parallel import divide


def test_a_message_survives_packing():
    tensors = processes.odd_tensors(2)
    message = unpack(pack(Message({"step": 2, "stop": False, "name": "ü"}, tensors)))
    assert message.header == {"step": 2, "stop": False, "name": "ü"}
    assert processes.wrong_tensors(message, 2) == []
    assert unpack(pack(Message({}, {}))) == ({}, {})


def test_blocks_are_divided_evenly_the_top_first():
    assert divide([1, 1, 1, 3], 2) == [range(3, 4), range(3)]
    assert divide([1] * 5, 3) == [range(3, 5), range(1, 3), range(1)]
    assert divide([5, 1, 1], 3) == [range(2, 3), range(1, 2), range(1)]
    assert divide([2.0], 1) == [range(1)]
    with pytest.raises(ConfigError, match=r"learning\.parts: 4 parts are more than the 3 blocks"):
        divide([1, 1, 1], 4)


def test_messages_travel_up_down_and_back():
    found = processes.run(processes.exchange, 3, 5)
    assert {rank: wrong for rank, (wrong, _) in found.items()} == {0: [], 1: [], 2: []}
    assert found[0][1] == {"tensor0": [0, 2], "tensor1": [1, 2], "tensor2": [2, 2]}
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("queue", [1, 2, 3])
def test_a_lower_part_runs_ahead_by_the_queue_only(queue):
    sent = processes.CONTEXT.Value("i", 0)
    ahead = processes.run(processes.run_ahead, 2, queue, sent, 8)[0]
    assert ahead[0] == queue and max(ahead) <= queue + 1


@pytest.mark.parametrize("dead", [0, 1, 2])
def test_all_processes_notice_a_killed_one(dead, tmp_path):
    codes = [-9 if rank == dead else 0 for rank in range(3)]
    found = processes.run(processes.lose, 3, dead, 6.0, tmp_path, codes=codes)
    for rank in {0, 1, 2} - {dead}:
        lost = f"process {dead} (part {dead}, replica 0) has ended, or cannot be reached"
        assert found[rank].startswith(f"process {rank} (part {rank}, replica 0): {lost}")


def test_a_process_that_waits_inside_a_library_is_ended(tmp_path):
    processes.run(processes.lose, 3, 1, 0.1, tmp_path, codes=[1, -9, 1])
    for rank in (0, 2):
        error = f"process {rank} (part {rank}, replica 0): process 1 (part 1, replica 0) has ended"
        assert (tmp_path / str(rank)).read_text().startswith(f"speechasym: {error}")


def test_an_error_is_told_to_all_processes():
    found = processes.run(processes.fail, 3)
    assert found[2] == "step 3: loss nan. Lower it."
    for rank in (0, 1):
        assert "process 2 (part 2, replica 0) failed: step 3: loss nan" in found[rank]


def test_only_replicas_of_the_same_part_are_summed():
    found = processes.run(processes.sum_among_replicas, 4)
    assert found[0] == ([[2.0, 101.0]], [2.0], [0.0], [0.0], (0, 2, 0, 2))
    assert found[3] == ([[2.0, 1010.0]], [4.0], [1.0], [0.0], (1, 2, 1, 2))


@pytest.mark.parametrize(
    "name, values",
    [
        ("configuration learning_rate", (0.002, 0.001)),
        ("version of source", ("abc", "abd")),
        ("sha256 of data.train", ("0a", "0b")),
    ],
)
def test_processes_that_differ_are_refused(name, values):
    facts = [{"same": 1, name: value} for value in values]
    found = processes.run(_join_with, 2, facts)
    expected = f"process 1: {name} is {values[1]}, but {values[0]} in process 0."
    assert [text.startswith(expected) for text in found.values()] == [True, True], found


def _join_with(rank, facts):
    return processes.join(rank, 1, facts[rank])


def test_a_missing_process_is_named():
    found = processes.run(processes.join, 3, 3, {}, 1.0, ranks=[0, 2])
    for rank in (0, 2):
        assert "process 1 of 3 did not come within 1 s" in found[rank]
    found = processes.run(processes.join, 2, 2, {}, 1.0, ranks=[1])
    assert found[1].startswith("process 1: process 0 has not come: nothing answers at 127.0.0.1:")


def test_a_port_in_use_is_named():
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        found = processes.run(processes.join, 2, 1, {}, 1.0, ranks=[0], port=port)
    assert found[0].startswith(f"port {port}: is in use by another program")


def test_a_number_of_processes_that_does_not_fit_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with (
        pytest.raises(ConfigError, match="2 parts need a multiple of 2 processes, but there are 3"),
        distributed.process_group(torch.device("cpu"), 2),
    ):
        pass
