"""A training run's folder and state: what is written, and how a run that was cut goes on.

config.json: the whole configuration. metrics.jsonl: a line for each step and validation, cut back
to the checkpoint when a run goes on. Checkpoints and the model: see `checkpoints`.
"""

import dataclasses
import json
import math
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any, NamedTuple

import torch
from torch import nn

from speechasym import config as settings
from speechasym import files
from speechasym.errors import (
    CheckpointError,
    ConfigError,
    OutputError,
    SpeechAsymError,
    TrainingError,
)
from speechasym.training import checkpoints
from speechasym.training import config as configs
from speechasym.training.config import TrainConfig
from speechasym.training.dataset import Dataset
from speechasym.training.distributed import Team
from speechasym.training.optimiser import Average, moments, set_moments

CONFIG, METRICS = "config.json", "metrics.jsonl"
PACKAGES = ("speechasym", "torch", "numpy", "lhotse", "safetensors")
# what may change between a run and its continuation: it is not meant to change results
FREE = ("save_every", "threads", "device", "data.cache", "data.workers")
Note = Callable[[Mapping[str, Any]], int]


@dataclasses.dataclass
class Place:
    """Where a run is."""

    step: int = 0
    epoch: int = 0
    batch: int = 0  # batches of this epoch that are done
    cuts: int = 0  # and their cuts
    seconds: float = 0.0  # of training so far
    best: float | None = None  # error of the target head on dev
    best_loss: float = 0.0  # which decides where errors are equal
    best_step: int = 0
    stale: int = 0  # validations since then
    last: dict[str, float] = dataclasses.field(default_factory=dict)  # validation
    left_out: dict[str, list[str]] = dataclasses.field(default_factory=dict)  # by head
    metrics: int = 0  # bytes of metrics.jsonl
    done: str = ""  # why the run is over

    def share(self, config: TrainConfig, cuts: int) -> float:
        """How much of the run is done, 0 to 1 and above, where an epoch has so many cuts."""
        if config.minutes is not None:
            return self.seconds / (60 * config.minutes)
        if config.steps is not None:
            return self.step / config.steps
        return (self.epoch + self.cuts / cuts) / config.epochs


class Run(NamedTuple):
    """What stays during a run."""

    config: TrainConfig
    out: Path
    train: Dataset
    dev: Dataset
    model: nn.Module
    optimiser: torch.optim.Optimizer
    average: Average
    device: torch.device
    team: Team


def begin(config: TrainConfig, out: Path, resume: bool) -> None:
    """Write config.json. Raises `OutputError` where the folder holds another run."""
    path = out / CONFIG
    new = checkpoints.plain(configs.to_dict(config))
    if path.exists():
        try:
            old = json.loads(path.read_text("utf-8"))["config"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise OutputError(
                path, "is no configuration of a run", "Restore it, or choose another folder"
            ) from error
        told = [f"{k} {a} -> {b}" for k, a, b in _differences(old, new) if k not in FREE]
        if told and (resume or checkpoints.exists(out)):
            raise OutputError(
                out,
                f"holds a run of another configuration ({', '.join(told[:3])})",
                "Choose another folder, or give the same configuration",
            )
        if not resume and checkpoints.exists(out):
            raise OutputError(
                out, "holds a run already", "Go on with it (--resume), or choose another folder"
            )
    elif checkpoints.exists(out) or (out / checkpoints.MODEL).exists():
        raise OutputError(out, "holds a run without its config.json", "Choose another folder")
    files.write_json(path, {"config": new, "versions": versions()})


@cache
def versions() -> dict[str, str]:
    """Versions of what results depend on."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except Exception:  # not installed as a package
            found[name] = "unknown"
    return found


def _differences(old: Any, new: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(n for n in new if n not in old)]:
            inner = f"{key}.{name}" if key else name
            yield from _differences(old.get(name), new.get(name), inner)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from _differences(one, other, f"{key}.{number}")
    elif old != new:
        yield key, old, new


def _meta(run: Run) -> dict[str, Any]:
    """What belongs to the tensors of a checkpoint, and of the model."""
    return {
        "config": configs.to_dict(run.config),
        "inventories": {head: list(symbols) for head, symbols in run.train.inventories.items()},
        "columns": run.train.columns,
        "versions": versions(),
        "manifests": {"train": run.train.fingerprint, "dev": run.dev.fingerprint},
    }


def save(run: Run, place: Place, best: bool) -> None:
    """Write a checkpoint. Raises `TrainingError` rather than keep what is not finite."""
    if not run.team.first:
        return
    tensors = checkpoints.module_state(run.model, "model.")
    tensors |= {f"average.{name}": value for name, value in run.average.values.items()}
    tensors |= {f"adamw.{n}": t for n, t in moments(run.model, run.optimiser).items()}
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise TrainingError(
                f"step {place.step}",
                f"{name} is not finite; no checkpoint of it is written",
                "Lower learning_rate; the checkpoint before it is whole",
            )
    meta = _meta(run) | {"place": dataclasses.asdict(place), "processes": run.team.size}
    checkpoints.save(run.out, place.step, tensors, checkpoints.plain(meta), best)


def finished(out: Path) -> dict[str, Any] | None:
    """The summary of a run that is over; None for one that is not. Raises `CheckpointError`."""
    place = _place(out, checkpoints.load(out)[1])
    if not place.done:
        return None
    try:
        checkpoints.load_model(out)
    except CheckpointError:  # killed just before it was whole, or spoilt since: made again
        return None
    return summary(out, place)


def restore(run: Run) -> Place:
    """Set model, averages and optimiser to the last checkpoint. Raises `CheckpointError`."""
    tensors, meta = checkpoints.load(run.out)
    place = _place(run.out, meta)
    if checkpoints.exists(run.out, checkpoints.BEST):  # needed at the end: better known now
        checkpoints.load(run.out, checkpoints.BEST)
    for name, data in (("train", run.train), ("dev", run.dev)):
        if meta.get("manifests", {}).get(name) != data.fingerprint:
            raise CheckpointError(
                getattr(run.config.data, name),
                "is another manifest than the run was begun with",
                "Restore it, or train anew in another folder",
            )
    checkpoints.restore(run.model, tensors, run.out, "model.")
    for name, value in run.average.values.items():
        if (kept := tensors.get(f"average.{name}")) is None or kept.shape != value.shape:
            raise CheckpointError(
                run.out, f"its checkpoint has no fitting average.{name}", "Train anew"
            )
        value.copy_(kept)
    own = {n.removeprefix("adamw."): t for n, t in tensors.items() if n.startswith("adamw.")}
    set_moments(run.model, run.optimiser, own)
    return place


def _place(out: Path, meta: Mapping[str, Any]) -> Place:
    try:
        place = dict(meta["place"])
        if place["best_loss"] is None:  # JSON has no infinity
            place["best_loss"] = math.inf
        return settings.build(Place, place)
    except (LookupError, TypeError, ValueError) as error:
        raise CheckpointError(
            out,
            f"its checkpoint does not say where the run was ({str(error).rstrip('.')})",
            "Train anew",
        ) from error


def export(run: Run, place: Place) -> None:
    """Write model.safetensors and model.json: the best averaged parameters, or else the last."""
    if not run.team.first:
        return
    tensors = checkpoints.module_state(run.model)
    step = place.step
    if checkpoints.exists(run.out, checkpoints.BEST):
        kept, meta = checkpoints.load(run.out, checkpoints.BEST)
        tensors = {n.removeprefix("model."): t for n, t in kept.items() if n[:6] == "model."}
        averages = {n.removeprefix("average."): t for n, t in kept.items() if n[:8] == "average."}
        step = meta["step"]
    else:
        averages = {name: value.cpu() for name, value in run.average.values.items()}
    meta = _meta(run) | {"step": step, "error": place.best, "target": run.config.chosen}
    checkpoints.save_model(run.out, tensors | averages, checkpoints.plain(meta))


def summary(out: Path, place: Place) -> dict[str, Any]:
    """What a run came to."""
    again = f"stopped at step {place.step}; the same command with --resume goes on from there"
    return {
        "folder": str(out),
        "finished": bool(place.done),
        "reason": place.done or again,
        "steps": place.step,
        "epochs": place.epoch,
        "seconds": round(place.seconds, 3),
        "best": place.best,
        "best_step": place.best_step,
        "dev": place.last,
        "left_out": place.left_out,
    }


@contextmanager
def metrics(out: Path, place: Place) -> Iterator[Note]:
    """Yields a function that writes a line and returns the file's size in bytes.

    Lines after the place are cut off first. Raises `OutputError` where it cannot be written.
    """
    path = out / METRICS
    with _writing(path):
        file = path.open("ab")
    with file:
        with _writing(path):
            file.truncate(min(place.metrics, path.stat().st_size))

        def note(line: Mapping[str, Any]) -> int:
            with _writing(path):
                file.write((json.dumps(checkpoints.plain(line)) + "\n").encode())
                file.flush()
                return file.seek(0, os.SEEK_END)

        yield note


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            path, f"cannot be written ({error.strerror})", "Free space there, and go on (--resume)"
        ) from error


def no_note(line: Mapping[str, Any]) -> int:
    """In place of `metrics` in processes that write nothing."""
    return 0


@contextmanager
def stoppable() -> Iterator[list[int]]:
    """Yields a list that a first SIGTERM or Ctrl-C is put into; a second one ends as ever."""
    told: list[int] = []
    if current_thread() is not main_thread():
        yield told
        return
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}

    def tell(number: int, _: Any) -> None:
        told.append(number)
        for one, handler in before.items():
            signal.signal(one, handler or signal.SIG_DFL)

    for number in before:
        signal.signal(number, tell)
    try:
        yield told
    finally:
        for one, handler in before.items():
            signal.signal(one, handler or signal.SIG_DFL)


@contextmanager
def repeatable(threads: int | None) -> Iterator[None]:
    """Deterministic algorithms where there are such (CTC on CUDA has none), and so many threads."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA begins
    memory: Any = torch.utils.deterministic
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        memory.fill_uninitialized_memory,
        torch.get_num_threads(),
    )
    torch.use_deterministic_algorithms(True, warn_only=True)
    memory.fill_uninitialized_memory = False  # costs time
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have a deterministic.*")
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        memory.fill_uninitialized_memory = before[2]
        torch.set_num_threads(before[3])


def device_of(name: str) -> torch.device:
    """`auto`: CUDA where there is one. Raises `ConfigError` for none."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError("device", f"{name!r} is none", "Use auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device", "there is no CUDA device here", "Use auto or cpu")
    return device


@contextmanager
def enough_memory(error: SpeechAsymError) -> Iterator[None]:
    """Raises `error` where memory is short in here."""
    try:
        yield
    except (RuntimeError, MemoryError) as fault:  # on the CPU, torch has no type of its own for it
        short = isinstance(fault, MemoryError | torch.OutOfMemoryError)
        if not short and "allocate memory" not in str(fault):
            raise
        raise error from fault
