"""Where a run computes: device, determinism, memory, signals, and versions of the libraries."""

import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import Any

import torch

from speechasym.errors import ConfigError, SpeechAsymError
from speechasym.files import package_versions

PACKAGES = ("speechasym", "torch", "numpy", "lhotse", "safetensors")


def versions() -> dict[str, str]:
    """Return the versions of the packages that results depend on."""
    return package_versions(PACKAGES)


def select_device(name: str) -> torch.device:
    """Return the device of this name; `auto` is CUDA if available. Raises `ConfigError`."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError("device", f"{name!r} is not a device", "Use auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device", "CUDA is not available on this machine", "Use auto or cpu")
    return device


def own_gpu(device: torch.device) -> torch.device:
    """Make CUDA use this process's GPU, of which torchrun gives each its own, and return it.

    Other devices are returned as they are.
    """
    if device.type != "cuda":
        return device
    index = os.environ.get("LOCAL_RANK", str(device.index or 0))  # torchrun comes first
    device = torch.device("cuda", int(index))
    torch.cuda.set_device(device)
    return device


@contextmanager
def deterministic(threads: int | None) -> Iterator[None]:
    """Use so many threads, and deterministic algorithms where they exist (not for CTC on CUDA)."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    memory: Any = torch.utils.deterministic
    enabled = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    fills, threads_before = memory.fill_uninitialized_memory, torch.get_num_threads()
    torch.use_deterministic_algorithms(True, warn_only=True)
    memory.fill_uninitialized_memory = False  # costs time
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have a deterministic.*")
            yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warns)
        memory.fill_uninitialized_memory = fills
        torch.set_num_threads(threads_before)


@contextmanager
def memory_errors_as(error: SpeechAsymError) -> Iterator[None]:
    """Raise `error` if the block runs out of memory."""
    try:
        yield
    except (RuntimeError, MemoryError) as fault:  # torch has no type of its own for it on the CPU
        short = isinstance(fault, MemoryError | torch.OutOfMemoryError)
        if not short and "allocate memory" not in str(fault):
            raise
        raise error from fault


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Collect a first SIGTERM or Ctrl-C in the yielded list; a second one acts as usual."""
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM) if current_thread() is main_thread() else ()
    before = {number: signal.getsignal(number) for number in numbers}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def receive(number: int, _: Any) -> None:
        received.append(number)
        restore()

    for number in before:
        signal.signal(number, receive)
    try:
        yield received
    finally:
        restore()
