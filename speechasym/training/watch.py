"""Notice within seconds that a process of the run has ended, whatever the others are doing.

Each process keeps a connection to the first one. It closes with a farewell; a connection that
closes without one belongs to a process that was killed, and the first process tells all others.
A machine that loses its power closes nothing: the system's keep-alive probes find that.
"""

import json
import os
import secrets
import selectors
import socket
import sys
from contextlib import suppress
from threading import Event, Thread

from torch.distributed.distributed_c10d import Store

from speechasym.errors import TrainingError

PROBE_SECONDS = 2  # between keep-alive probes; after three without an answer a peer is lost
GREETING = 80  # bytes
GRACE_SECONDS = 6.0  # in which the main thread must have seen a failure
REMEDY = "Look for its error; to continue, start all of them again with --resume"


class Watch:
    """Connections between the first process and all others, and a thread that watches them.

    `failure` is set as soon as a process is lost. A main thread that neither checks nor closes the
    watch within `GRACE_SECONDS` (it may be waiting for a dead process inside a library) is ended.
    """

    def __init__(self, store: Store, rank: int, size: int, parts: int, host: str) -> None:
        self.rank, self.parts = rank, parts
        self.failed, self.stops = Event(), Event()  # whether one is lost; was asked to stop
        self.failure = ""
        self._seen, self._closing = Event(), Event()
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, int] = {}
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        if rank == 0:
            self._accept(store, size)
        else:
            port, token = json.loads(store.get("watch"))
            peer = socket.create_connection((host, port), timeout=30)
            peer.sendall(json.dumps([token, rank]).encode().ljust(GREETING))
            self._add(peer, 0)
        self._thread = Thread(target=self._run, daemon=True, name="watch")
        self._thread.start()

    def name(self, rank: int) -> str:
        """Return how messages name a process."""
        return f"process {rank} (part {rank % self.parts}, replica {rank // self.parts})"

    def check(self) -> None:
        """Raise `TrainingError` if a process of the run is lost."""
        if self.failed.is_set():
            self._seen.set()
            raise TrainingError(self.name(self.rank), self.failure, REMEDY)

    def explain(self, problem: str, seconds: float = 2.0) -> TrainingError:
        """Return the error for a connection that failed; wait for what the watch knows of it."""
        if self.failed.wait(seconds):
            problem = self.failure
        self._seen.set()
        return TrainingError(self.name(self.rank), problem, REMEDY)

    def ask_to_stop(self) -> None:
        """Set `stops` in all processes."""
        if not self.stops.is_set():
            self.stops.set()
            self._send({"stop": True})

    def close(self, error: BaseException | None = None) -> None:
        """End the watch; in case of an error, tell all others of it."""
        self._seen.set()
        self._closing.set()
        if error is not None and not self.failed.is_set():
            self._tell(f"{self.name(self.rank)} failed: {str(error).rstrip('.')}")
        elif error is None:
            self._send({"end": True})
        self._wake.send(b".")
        self._thread.join()
        for peer in [*self._peers, self._wake, self._woken]:
            peer.close()
        self._selector.close()

    def _accept(self, store: Store, size: int) -> None:
        token, dual = secrets.token_hex(16), socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        with socket.create_server(("", 0), family=family, dualstack_ipv6=dual) as server:
            server.settimeout(30)
            store.set("watch", json.dumps([server.getsockname()[1], token]))
            while len(self._peers) < size - 1:
                peer, _ = server.accept()
                peer.settimeout(5)
                with suppress(OSError, ValueError, LookupError, TypeError):
                    text = b""
                    while len(text) < GREETING and (more := peer.recv(GREETING - len(text))):
                        text += more
                    greeting = json.loads(text)
                    if greeting[0] == token:  # not a stranger
                        self._add(peer, int(greeting[1]))
                        continue
                peer.close()

    def _add(self, peer: socket.socket, rank: int) -> None:
        peer.settimeout(5)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in (("TCP_KEEPIDLE", 1), ("TCP_KEEPINTVL", PROBE_SECONDS),
                              ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 7000)):  # fmt: skip
            if hasattr(socket, option):  # macOS has other names
                peer.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        self._peers[peer] = rank
        self._selector.register(peer, selectors.EVENT_READ)

    def _run(self) -> None:
        buffers = {peer: b"" for peer in self._peers}
        while not self._closing.is_set() and not self.failed.is_set():
            for key, _ in self._selector.select():
                peer = key.fileobj
                if peer is self._woken:
                    break
                assert isinstance(peer, socket.socket)
                try:
                    received = peer.recv(65536)
                except OSError:
                    received = b""
                if not received:
                    self._selector.unregister(peer)
                    self._tell(f"{self.name(self._peers[peer])} has ended, or cannot be reached")
                    break
                buffers[peer] += received
                *lines, buffers[peer] = buffers[peer].split(b"\n")
                for message in map(json.loads, lines):
                    if "stop" in message:
                        self.ask_to_stop()
                    elif "end" in message:
                        self._selector.unregister(peer)
                    else:
                        self._tell(message["failure"])
        if self.failed.is_set() and not self._seen.wait(GRACE_SECONDS):
            error = TrainingError(self.name(self.rank), self.failure, REMEDY)
            print(f"speechasym: {error}", file=sys.stderr, flush=True)
            os._exit(1)

    def _tell(self, failure: str) -> None:
        """Note a failure; the first process tells all, the others tell the first one."""
        if not self.failed.is_set():
            self.failure = failure
            self.failed.set()
            self._send({"failure": failure})

    def _send(self, message: dict[str, object]) -> None:
        for peer in self._peers:
            with suppress(OSError):
                peer.sendall(json.dumps(message).encode() + b"\n")
