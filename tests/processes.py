"""Several processes that form a group, for the tests of parts: each runs a function and answers."""

import multiprocessing
import os
import signal
import socket
import sys
import time

import tiny
import torch

from speechasym.errors import SpeechAsymError
from speechasym.training import distributed, loop, parallel, watch
from speechasym.training.rules.learner import Learner

CONTEXT = multiprocessing.get_context("forkserver")
JOIN = 200  # s; a machine may be busy
CPU = torch.device("cpu")
LEVELS = ("model.every={width: 8, units: 6, block: {heads: 2, dropout: 0.1}}", "epochs=2",
          "model.levels.0.stride=1", "heads={phones: 1, letters: 0.5, words: 0.3}",
          "learning_rate=1e-2", "learning.blocks=1", "save_every=3")  # fmt: skip


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def run(target, size, *arguments, ranks=None, port=None, codes=None):
    """Run target(rank, *arguments) in each process; return {rank: what it returned}.

    A SpeechAsymError is returned as its text. Every process must end by itself, with its code.
    """
    answers, port = CONTEXT.SimpleQueue(), port or free_port()
    ranks = [*range(size)] if ranks is None else ranks
    processes = [
        CONTEXT.Process(target=_answer, args=(answers, rank, size, port, target, arguments))
        for rank in ranks
    ]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(JOIN)
        assert [process.exitcode for process in processes] == (codes or [0] * len(ranks))
    finally:
        for process in processes:
            process.kill()
    found = {}
    while not answers.empty():
        found |= answers.get()
    return found


def _answer(answers, rank, size, port, target, arguments):
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "OMP_NUM_THREADS": "1"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    try:
        answers.put({rank: target(rank, *arguments)})
        assert not tiny.threads_of_groups()
    except SpeechAsymError as error:
        answers.put({rank: str(error)})


def join(rank, parts, facts, timeout_s=20.0):
    with distributed.process_group(CPU, parts, lambda: facts, timeout_s) as group:
        return group[:4]


def odd_tensors(step):
    """Tensors of every type and of odd shapes, the same in all processes."""
    generator = torch.Generator().manual_seed(step)
    real = torch.randn(3, 1 + step, 5, generator=generator)
    return {
        "real": real,
        "turned": real.transpose(0, 2)[:, ::2],
        "half": real.bfloat16(),
        "mask": real > 0,
        "labels": torch.randint(-(2**40), 2**40, (step, 7), generator=generator),
        "none": torch.zeros(0, 4),
        "single": torch.tensor(float(step)),
        "sharing": real[1],
    }


def wrong_tensors(message, step):
    expected = odd_tensors(step)
    same = message.header["step"] == step and list(message.tensors) == list(expected)
    assert same, message.header
    return [
        name
        for name, value in expected.items()
        if value.dtype != message.tensors[name].dtype
        or not torch.equal(value, message.tensors[name])
    ]


def exchange(rank, steps):
    """Send messages up, down to all, and back; returns the names of tensors that came otherwise."""
    wrong = []
    with distributed.process_group(CPU, 3) as group, parallel.connect(group, 2) as links:
        for step in range(steps):
            if links.below is not None:
                wrong += wrong_tensors(links.below.receive(), step)
            if links.above is not None:
                links.above.send({"step": step, "loss": float("nan")}, odd_tensors(step))
            for lower in links.lower:
                lower.send({"step": step}, odd_tensors(step))
            if links.errors is not None:
                wrong += wrong_tensors(links.errors.receive(), step)
            if links.back_from is not None:
                wrong += wrong_tensors(links.back_from.receive(), step)
            if links.back_to is not None:
                links.back_to.send({"step": step}, odd_tensors(step))
        whole = parallel.gather(links, steps, {f"tensor{rank}": torch.full((rank, 2), 1.0 + rank)})
        for lower in links.lower:
            lower.send({"unread": 1}, {})
        return wrong, {name: list(value.shape) for name, value in whole.items()}


def run_ahead(rank, queue, sent, steps):
    """The lower part counts what it has sent; the upper one notes how far it is ahead."""
    with (
        distributed.process_group(CPU, 2) as group,
        parallel.connect(group, queue) as links,
    ):
        if links.above is not None:
            for step in range(steps):
                links.above.send({"step": step}, {"x": torch.zeros(100_000)})
                sent.value = step + 1
            return None
        while sent.value < queue:
            time.sleep(0.01)
        time.sleep(0.3)
        ahead = []
        for step in range(steps):
            ahead.append(sent.value - step)
            assert links.below.receive().header["step"] == step
            time.sleep(0.02)
        return ahead


def lose(rank, dead, grace, folder):
    """One process is killed; the others wait for messages, or compute; when do they notice?"""
    watch.GRACE_SECONDS = grace
    with distributed.process_group(CPU, 3) as group, parallel.connect(group, 1) as links:
        distributed.barrier(group)
        if rank == dead:
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)
        if grace < 1:
            sys.stderr = (folder / str(rank)).open("w")
            time.sleep(60)  # as if inside a library
        if rank == (dead + 1) % 3:  # next to the dead one, or the top: waits
            (links.below or links.errors).receive()
        while links.above is not None and rank == 2:  # waits for its messages to be received
            links.above.send({}, {"x": torch.zeros(10)})
        while True:  # computes
            torch.ones(100, 100) @ torch.ones(100, 100)
            group.watch.check()


def fail(rank):
    """One process ends with an error of its own."""
    with distributed.process_group(CPU, 3) as group, parallel.connect(group, 1) as links:
        if rank == 2:
            raise SpeechAsymError("step 3", "loss nan", "Lower it")
        (links.below or links.errors).receive()


def sum_among_replicas(rank):
    with distributed.process_group(CPU, 2) as group:
        model = torch.nn.Linear(2, 1, bias=False)
        model.weight.grad = torch.tensor([[1.0, 10.0**rank]])
        total = distributed.sum_gradients([model.weight], torch.tensor([float(rank)]), group)
        copied = torch.tensor([float(rank)])
        distributed.broadcast([copied], group)
        first = distributed.broadcast_numbers([float(rank)], CPU, group)
        return model.weight.grad.tolist(), total.tolist(), copied.tolist(), first, group[:4]


def train(rank, words, out, more, end=None):
    """Train the real levels, alone or as a part; `end`: (rank, step, signal) to get once."""
    backward = Learner.backward

    def backward_or_end(self, task):
        if end is not None and end[:2] == (rank, task.number):
            os.kill(os.getpid(), end[2])
        return backward(self, task)

    Learner.backward = backward_or_end
    config = tiny.config(words, *LEVELS, *more)
    result = loop.train(config, out, show_progress=False, resume=True)
    return result["steps"], result["finished"]
