"""Channels from one process to another: messages of named tensors, sent and received ahead.

A thread at each end moves messages while the main thread computes. At most `queue` messages are
between the two main threads, so that a fast sender cannot run far ahead: it waits in `send`.

Messages travel by gloo, those from CUDA through host memory: nccl would occupy the device while it
waits for a message, hang if the peer is killed, and cannot connect two processes on one device.
"""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from queue import Empty, Queue
from threading import Semaphore, Thread
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from speechasym.training.watch import Watch

ALIGNMENT = 16  # bytes; views of a buffer as another type must be aligned
POLL_SECONDS = 0.2  # between looks at the watch
GIVE_UP_SECONDS = 2.0  # for a thread after a failure
ABANDONED = 9999  # a tag that nobody sends by
DTYPES = {str(t): t for t in (torch.float32, torch.float64, torch.bfloat16, torch.float16,
                              torch.int64, torch.int32, torch.uint8, torch.bool)}  # fmt: skip


class Message(NamedTuple):
    """What a process tells another."""

    header: Mapping[str, Any]  # JSON values
    tensors: Mapping[str, Tensor]


def pack(message: Message) -> Tensor:
    """Return a message as bytes (N,) on the CPU.

    They are the number of bytes of a description in JSON, that, and the tensors' values.
    """
    parts = {name: value.detach().cpu().contiguous() for name, value in message.tensors.items()}
    described = [[name, str(value.dtype), list(value.shape)] for name, value in parts.items()]
    text = json.dumps([dict(message.header), described]).encode()
    start = _aligned(8 + len(text))
    buffer = torch.zeros(
        start + sum(_aligned(value.nbytes) for value in parts.values()), dtype=torch.uint8
    )
    buffer[:8].view(torch.int64)[0] = len(text)
    buffer[8 : 8 + len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8)
    for value in parts.values():
        buffer[start : start + value.nbytes] = value.reshape(-1).view(torch.uint8)
        start += _aligned(value.nbytes)
    return buffer


def unpack(buffer: Tensor) -> Message:
    """Return the message of the bytes that `pack` made; its tensors share their memory."""
    length = int(buffer[:8].view(torch.int64)[0])
    header, described = json.loads(bytes(buffer[8 : 8 + length].numpy()))
    start, tensors = _aligned(8 + length), {}
    for name, kind, shape in described:
        dtype = DTYPES[kind]
        size = math.prod(shape) * dtype.itemsize
        tensors[name] = buffer[start : start + size].view(dtype).view(shape)
        start += _aligned(size)
    return Message(header, tensors)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


class End(ABC):
    """A thread that moves messages between a queue and a peer."""

    def __init__(self, peer: int, tag: int, group: Any, watch: Watch) -> None:
        self.peer, self.tag, self.group, self.watch = peer, tag, group, watch
        self.moved, self.broken = 0, False  # bytes; whether the channel is abandoned
        self._error: Exception | None = None
        self._thread = Thread(target=self._run, daemon=True, name=f"channel {peer} {tag}")
        self._thread.start()

    @abstractmethod
    def finish(self) -> None:
        """Let the thread end."""

    @abstractmethod
    def _work(self) -> None:
        """Move messages until the channel ends, in the thread."""

    def join(self, checks: bool = True) -> None:
        """Wait for the end of the channel. Raises `TrainingError` if a process is lost."""
        while self._thread.is_alive() and checks:
            self._check()
            self._thread.join(POLL_SECONDS)
        if checks:
            self._check()
        self._thread.join(GIVE_UP_SECONDS)

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:
            self._error = error

    def _check(self) -> None:
        """Raise `TrainingError` if a process of the run is lost, or this channel failed."""
        self.watch.check()
        if self._error is not None:
            problem = f"its connection to {self.watch.name(self.peer)} failed"
            if not isinstance(self._error, RuntimeError):
                problem = f"{problem} ({type(self._error).__name__}: {self._error})"
            raise self.watch.explain(problem) from self._error


class Sender(End):
    """The end of a channel that sends.

    Args:
        peer: rank of the process at the other end.
        tag: of the channel, the same at both ends and different from other channels' of the two.
        queue: messages that may be on their way, at least 1.
        group: torch's group for the messages.
        watch: of the run.
    """

    def __init__(self, peer: int, tag: int, queue: int, group: Any, watch: Watch) -> None:
        self._waiting: Queue[Message | None] = Queue()
        self._free = Semaphore(max(1, queue - queue // 2))
        super().__init__(peer, tag, group, watch)

    def send(self, header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Send a message; wait while too many are on their way.

        The tensors must not be changed afterwards. Raises `TrainingError` if a process is lost.
        """
        self._check()
        while not self._free.acquire(timeout=POLL_SECONDS):
            self._check()
        if any(value.is_cuda for value in tensors.values()):
            tensors = {name: value.detach().cpu() for name, value in tensors.items()}
        self._waiting.put(Message(header, tensors))

    def finish(self) -> None:
        """End the channel, once all messages are sent."""
        self._waiting.put(None)

    def _work(self) -> None:
        while (message := self._waiting.get()) is not None:
            buffer = pack(message)
            self._transfer(torch.tensor([len(buffer)]))
            self._transfer(buffer)
            self.moved += len(buffer)
            self._free.release()
        if not self.broken:
            self._transfer(torch.tensor([0]))

    def _transfer(self, tensor: Tensor) -> None:
        dist.send(tensor, self.peer, group=self.group, tag=self.tag)


class Receiver(End):
    """The end of a channel that receives, on the CPU; arguments as those of `Sender`."""

    def __init__(self, peer: int, tag: int, queue: int, group: Any, watch: Watch) -> None:
        self._received: Queue[Message | None] = Queue()
        self._free, self._ends = Semaphore(queue // 2), False
        super().__init__(peer, tag, group, watch)

    def receive(self) -> Message:
        """Wait for the next message, and return it. Raises `TrainingError` if a process is lost."""
        self._free.release()
        while True:
            try:
                message = self._received.get(timeout=POLL_SECONDS)
                break
            except Empty:
                self._check()
        if message is None:
            problem = f"expected a message, but {self.watch.name(self.peer)} has ended"
            raise self.watch.explain(problem)
        return message

    def finish(self) -> None:
        """Leave out messages that have not been received."""
        self._ends = True
        self._free.release()

    def _work(self) -> None:
        size = torch.zeros(1, dtype=torch.int64)
        while True:
            if not self._ends:
                self._free.acquire()
            self._transfer(size)
            if not int(size):
                self._received.put(None)
                return
            buffer = torch.empty(int(size), dtype=torch.uint8)
            self._transfer(buffer)
            self.moved += len(buffer)
            self._received.put(unpack(buffer))

    def _transfer(self, tensor: Tensor) -> None:
        dist.recv(tensor, self.peer, group=self.group, tag=self.tag)


def close(ends: Sequence[End]) -> None:
    """End channels, once all messages are sent; both processes of each must do it.

    Raises `TrainingError` if a process is lost.
    """
    for end in ends:
        end.finish()
    for end in ends:
        end.join()


def abandon(ends: Sequence[End]) -> None:
    """Break channels, and all others of their group, so that no thread waits for ever.

    gloo has no other way to end what waits: a transfer that times out closes all connections.
    """
    for end in ends:
        end.broken = True
        with suppress(RuntimeError):  # at once, where the peer is lost
            work = dist.irecv(torch.zeros(1), end.peer, group=end.group, tag=ABANDONED)
            if work is not None:
                work.wait(timedelta(milliseconds=1))
    for end in ends:
        end.finish()
    for end in ends:
        end.join(checks=False)
