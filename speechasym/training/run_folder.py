"""A training run's folder and state: what is written, and how an interrupted run resumes.

config.json: the whole configuration. metrics.jsonl: a line for each step and validation, truncated
to the checkpoint when a run resumes. Checkpoints and the model: see `checkpoints`; names of its
units: see `unit_names`.
"""

import copy
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from speechasym import files
from speechasym.config import build, leaves, to_dict
from speechasym.errors import (
    CheckpointError,
    ConfigError,
    OutputError,
    SpeechAsymError,
    TrainingError,
)
from speechasym.training import checkpoints, models, parallel, unit_names
from speechasym.training.config import ModelSettings, TrainConfig, config_from_dict
from speechasym.training.dataset import Dataset
from speechasym.training.distillation import Teacher
from speechasym.training.distributed import ProcessGroup
from speechasym.training.environment import versions
from speechasym.training.on_device import DeviceBatches
from speechasym.training.optimiser import Average, moments, set_moments
from speechasym.training.rules import nets
from speechasym.training.rules.learner import Learner

CONFIG, METRICS = "config.json", "metrics.jsonl"
# keys that may change when a run is resumed: they are not meant to change results
FREE = (
    "save_every", "threads", "device", "data.cache", "data.workers", "data.features_on",
    "data.unreadable", "learning.meter", "learning.parts", "learning.queue", "learning.timeout_s",
)  # fmt: skip
log = logging.getLogger(__name__)
WriteMetrics = Callable[[Mapping[str, Any]], int]


@dataclass
class RunState:
    """How far a run is; a checkpoint keeps it as `place`."""

    step: int = 0
    epoch: int = 0
    batch: int = 0  # batches of this epoch that are done
    cuts: int = 0  # cuts in these
    seconds: float = 0.0  # of training so far
    best: float | None = None  # error of the target head on dev
    best_loss: float = 0.0  # breaks ties between equal errors
    best_step: int = 0
    stale: int = 0  # validations since then
    last: dict[str, float] = field(default_factory=dict)  # validation
    left_out: dict[str, list[str]] = field(default_factory=dict)  # {head: cuts}
    metrics: int = 0  # bytes of metrics.jsonl
    done: str = ""  # why the run is over
    parameters: int = 0  # of the model
    flops: int = 0  # of training so far, if they are counted
    flops_rate: float = 0.0  # FLOPs for each frame of a batch
    grown: int = 0  # times that the model has grown
    falls: tuple[tuple[float, float], ...] = ()  # (FLOPs, dev loss) since then, see `growing`
    structure: tuple[float, ...] = ()  # of the error of each level at the last validation

    def share(self, config: TrainConfig, cuts: int) -> float:
        """Return the share of the run that is done (1: all), if an epoch has so many cuts."""
        if config.minutes is not None:
            return self.seconds / (60 * config.minutes)
        if config.flops is not None:
            return self.flops / config.flops
        if config.steps is not None:
            return self.step / config.steps
        return (self.epoch + self.cuts / cuts) / config.epochs


class Run(NamedTuple):
    """A run's configuration, folder, data, model and optimiser."""

    config: TrainConfig  # with the model as it is now
    out: Path
    train: Dataset
    dev: Dataset
    model: nn.Module
    optimiser: torch.optim.Optimizer
    average: Average
    to_device: DeviceBatches
    group: ProcessGroup
    learner: Learner
    bound: ModelSettings  # the configured model, which is larger as long as the model grows
    teacher: Teacher | None = None

    @property
    def device(self) -> torch.device:
        """What the model is trained on."""
        return self.to_device.device


def write_config(config: TrainConfig, out: Path, resume: bool) -> None:
    """Write config.json. Raises `OutputError` if the folder holds another run."""
    path = out / CONFIG
    new = to_dict(config)
    if path.exists():
        try:
            old = json.loads(path.read_text("utf-8"))["config"]
            with suppress(ConfigError):  # as this version writes it, if it can read it
                old = to_dict(config_from_dict(old))
        except (OSError, ValueError, LookupError, TypeError) as error:
            remedy = "Restore it, or choose another folder"
            raise OutputError(path, "is not the configuration of a run", remedy) from error
        started = checkpoints.exists(out)
        changes = [f"{k} {a} -> {b}" for k, a, b in _differences(old, new) if k not in FREE]
        if changes and (resume or started):
            problem = f"holds a run of another configuration ({', '.join(changes[:3])})"
            raise OutputError(out, problem, "Choose another folder, or use the same configuration")
        if started and not resume:
            remedy = "Resume it (--resume), or choose another folder"
            raise OutputError(out, "already holds a run", remedy)
    elif checkpoints.exists(out) or (out / checkpoints.MODEL).exists():
        raise OutputError(out, "holds a run without its config.json", "Choose another folder")
    files.write_json(path, {"config": new, "versions": versions()})


def _differences(old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    before, after = dict(leaves(old)), dict(leaves(new))
    for key in before | after:
        if before.get(key) != after.get(key):
            yield key, before.get(key), after.get(key)


def _meta(run: Run) -> dict[str, Any]:
    """Return what describes the tensors of a checkpoint, and of the model."""
    follow = run.train.follow if run.config.mmi else {}
    known: dict[str, Any] = {}
    if follow:
        known["follow"] = {head: table.tolist() for head, table in follow.items()}
    if run.teacher is not None:
        known["teacher"] = run.teacher.fingerprint
    return known | {
        "config": to_dict(run.config),
        "inventories": {head: list(symbols) for head, symbols in run.train.inventories.items()},
        "columns": run.train.columns,
        "versions": versions(),
        "manifests": {"train": run.train.fingerprint, "dev": run.dev.fingerprint},
    }


def _model_tensors(run: Run) -> dict[str, Tensor]:
    state = {f"model.{name}": value for name, value in run.model.state_dict().items()}
    return state | {f"average.{name}": value for name, value in run.average.values.items()}


def gather(run: Run, state: RunState) -> dict[str, Tensor]:
    """Return what a checkpoint keeps: model, averages, optimiser and learner.

    In the first process they are those of all parts, and it takes the model and its averages over.
    """
    tensors = _model_tensors(run)
    tensors |= {f"adamw.{n}": t for n, t in moments(run.model, run.optimiser).items()}
    tensors |= {f"learner.{n}": t for n, t in run.learner.state().items()}
    if run.group.parts == 1:
        return tensors
    mine = run.learner.names

    def owned(key: str) -> bool:
        kind, _, name = key.partition(".")
        return kind == "learner" or (name.rpartition(".")[0] if kind == "adamw" else name) in mine

    tensors = {name: tensor for name, tensor in tensors.items() if owned(name)}
    tensors = parallel.gather(run.learner.links, state.step, tensors)
    if run.group.is_first:
        run.model.load_state_dict(checkpoints.with_prefix(tensors, "model."), strict=False)
        for name, value in run.average.values.items():
            value.copy_(tensors[f"average.{name}"])
    return tensors


def save(run: Run, state: RunState, best: bool, tensors: Mapping[str, Tensor]) -> None:
    """Write a checkpoint of the result of `gather`.

    Raises `TrainingError` if a tensor is not finite.
    """
    if not run.group.is_first:
        return
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            problem = f"{name} is not finite; no checkpoint of it is written"
            remedy = "Lower learning_rate; the previous checkpoint is intact"
            raise TrainingError(f"step {state.step}", problem, remedy)
    meta = _meta(run) | {"place": asdict(state), "processes": run.group.size * run.group.parts}
    checkpoints.save(run.out, state.step, tensors, meta, best)


def finished(out: Path, target: str) -> dict[str, Any] | None:
    """Return the summary of a finished run, None for another. Raises `CheckpointError`."""
    state = _read_state(out, checkpoints.load(out)[1])
    if not state.done:
        return None
    try:
        checkpoints.load_model(out)
    except CheckpointError:  # the run was killed while writing it, or it is damaged: write it again
        return None
    return summary(out, state, target)


def restore(run: Run) -> RunState:
    """Set model, averages and optimiser to the last checkpoint. Raises `CheckpointError`."""
    tensors, meta = checkpoints.load(run.out)
    state = _read_state(run.out, meta)
    if checkpoints.exists(run.out, checkpoints.BEST):  # needed at the end: check it now
        checkpoints.load(run.out, checkpoints.BEST)
    for name, data in (("train", run.train), ("dev", run.dev)):
        if meta.get("manifests", {}).get(name) != data.fingerprint:
            problem = "is not the manifest that the run was started with"
            remedy = "Restore it, or train again in another folder"
            raise CheckpointError(getattr(run.config.data, name), problem, remedy)
    if run.teacher is not None and meta.get("teacher") != run.teacher.fingerprint:
        problem = "is not the teacher that the run was started with"
        remedy = "Restore it, or train again in another folder"
        raise CheckpointError(str(run.config.teacher.run), problem, remedy)
    checkpoints.restore(run.model, tensors, run.out, "model.")
    for name, value in run.average.values.items():
        if (kept := tensors.get(f"average.{name}")) is None or kept.shape != value.shape:
            problem = f"its checkpoint has no matching average.{name}"
            raise CheckpointError(run.out, problem, "Train again")
        value.copy_(kept)
    set_moments(run.model, run.optimiser, checkpoints.with_prefix(tensors, "adamw."))
    run.learner.set_state(checkpoints.with_prefix(tensors, "learner."))
    return state


def _read_state(out: Path, meta: Mapping[str, Any]) -> RunState:
    try:
        values = dict(meta["place"])
        if values["best_loss"] is None:  # JSON has no infinity
            values["best_loss"] = math.inf
        return build(RunState, values)
    except (LookupError, TypeError, ValueError) as error:
        problem = f"its checkpoint has no valid state of the run ({str(error).rstrip('.')})"
        raise CheckpointError(out, problem, "Train again") from error


def export(run: Run, state: RunState) -> None:
    """Write model.safetensors and model.json: the best averaged parameters, or else the last.

    Before them, units.json: what each unit is named after.
    """
    if not run.group.is_first:
        return
    tensors, step = _model_tensors(run), state.step
    if checkpoints.exists(run.out, checkpoints.BEST):
        tensors, best = checkpoints.load(run.out, checkpoints.BEST)
        step = best["step"]
        config = replace(run.config, model=config_from_dict(best["config"]).model)
        if config.model != run.config.model:  # it has grown since
            data = run.train
            model = models.build_model(config, data.columns, data.inventories)
            run = run._replace(config=config, model=model)
    result = checkpoints.with_prefix(tensors, "model.")
    result |= checkpoints.with_prefix(tensors, "average.")
    result = nets.without_nets(result)
    _name_units(run, result)
    meta = _meta(run) | {"step": step, "error": state.best, "target": run.config.target_head}
    checkpoints.save_model(run.out, result, meta)


def _name_units(run: Run, tensors: Mapping[str, Tensor]) -> None:
    """Write units.json. Where the training cuts can no longer be read, warn and write none."""
    model = copy.deepcopy(run.model)
    nets.remove_nets(model)
    model.load_state_dict(tensors)
    try:
        names = unit_names.name_units(
            model.eval(), run.config, run.train.inventories, run.config.data.train
        )
    except SpeechAsymError as error:
        log.warning("units are not named by the training cuts: %s", error)
        return
    if names:
        unit_names.write(run.out, names)


def summary(out: Path, state: RunState, target: str) -> dict[str, Any]:
    """Return the result of a run, finished or not."""
    stopped = f"stopped at step {state.step}; run the same command with --resume to continue"
    return {
        "folder": str(out),
        "finished": bool(state.done),
        "reason": state.done or stopped,
        "steps": state.step,
        "epochs": state.epoch,
        "seconds": round(state.seconds, 3),
        "best": state.best,
        "best_step": state.best_step,
        "target": target,
        "dev": state.last,
        "left_out": state.left_out,
        "parameters": state.parameters,
    }


@contextmanager
def metrics(out: Path, size: int, group: ProcessGroup) -> Iterator[WriteMetrics]:
    """Yield a function that writes a line to metrics.jsonl and returns the file's size in bytes.

    The file is truncated to `size` bytes first. All processes but the first write nothing. Raises
    `OutputError` if it cannot be written.
    """
    if not group.is_first:
        yield lambda line: 0
        return
    path = out / METRICS
    with _writing(path):
        file = path.open("ab")
        file.truncate(min(size, file.tell()))
    with file:

        def write(line: Mapping[str, Any]) -> int:
            with _writing(path):
                file.write((json.dumps(to_dict(line)) + "\n").encode())
                file.flush()
                return file.tell()

        yield write


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise OutputError(path, problem, "Free space there, and use --resume") from error
