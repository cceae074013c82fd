"""The model of a run: built from its configuration, initialised by data, or read from a folder."""

import math
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import nn

from speechasym.errors import AudioError, CheckpointError, ConfigError
from speechasym.levels import chain, hierarchy
from speechasym.levels.initialise import initialise_by
from speechasym.training import batches, checkpoints, environment, streaming
from speechasym.training.config import CustomConfig, ModelSettings, TrainConfig, config_from_dict
from speechasym.training.dataset import Dataset
from speechasym.training.labels import Inventory
from speechasym.training.on_device import ON_CPU, DeviceBatches
from speechasym.training.rules import nets

FIRST_BATCHES = 4  # from which a model may set itself before training
FIRST_SECONDS = 300.0  # of training audio, at least, for an initialisation other than drawn
# (config.model, columns of the features, {head: symbols}) -> model
Build = Callable[[ModelSettings, int, dict[str, int]], nn.Module]


def build_model(
    config: TrainConfig, columns: int, inventories: Inventory, build: Build | None = None
) -> nn.Module:
    """Build the model of a configuration, initialised by its seed. Raises `ConfigError`."""
    sizes = {head: len(symbols) for head, symbols in inventories.items()}
    too_large = ConfigError("model", "needs more memory than there is", "Make it smaller")
    try:
        with environment.memory_errors_as(too_large), torch.random.fork_rng(devices=()):
            torch.manual_seed(config.seed)
            if build is not None:
                return build(config.model, columns, sizes)
            if isinstance(config.model, CustomConfig):
                raise ConfigError("model.kind", "a custom model needs a build function", "Pass it")
            return hierarchy.build_model(config.model, columns, sizes)
    except ConfigError as error:
        if error.args[0].startswith("model"):
            raise
        raise ConfigError(f"model: {error.args[0]}", *error.args[1:]) from error


def add_learning_nets(model: nn.Module, config: TrainConfig) -> None:
    """Give a model the nets that it learns with, if its rule needs any (`rules.nets`)."""
    if config.learning.uses_nets:
        assert isinstance(model, hierarchy.Hierarchy)  # `TrainConfig` has checked it
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(config.seed)
            stages = chain.stages(model.config, config.learning.blocks)
            nets.add_nets(model, stages, config.learning)


def initialise_model(
    model: nn.Module, data: Dataset, config: TrainConfig, device: DeviceBatches = ON_CPU
) -> None:
    """Initialise a model by its configuration, from the (features, lengths) of a few batches.

    drawn: calls the model's `initialise`, if it has one. Raises `ConfigError` if another
    initialisation has too little data, and `AudioError` if levels that learn without labels would
    hear only silence.
    """
    initialise = getattr(model, "initialise", None)
    count = FIRST_BATCHES
    if config.initialise != "drawn":
        assert isinstance(model, hierarchy.Hierarchy)  # `TrainConfig` has checked it
        initialise = partial(initialise_by, config.initialise, model)
        count = max(count, math.ceil(FIRST_SECONDS / config.batch_seconds))
    if initialise is None:
        return
    seconds = data.seconds.tolist()
    numbers = batches.epoch_batches(seconds, config.batch_seconds, config.seed, 0)
    groups = islice(numbers, count)
    first = [
        step.batch
        for step in streaming.steps(data, groups, device=device)
        if step.batch is not None
    ]
    if not config.heads.used and all(
        bool((batch.features == batch.features[:, :1]).all()) for batch in first
    ):
        problem = "its recordings hold nothing but digital silence"
        raise AudioError(config.data.train, problem, "Give recordings of speech")
    with torch.no_grad(), torch.random.fork_rng(devices=()):
        torch.manual_seed(config.seed)
        initialise(iter([(batch.features.cpu(), batch.lengths.cpu()) for batch in first]))


def open_model(
    folder: str | Path, build: Build | None = None
) -> tuple[nn.Module, TrainConfig, Inventory]:
    """Return the model of a finished run in evaluation mode, its configuration, and inventories.

    Raises `CheckpointError` if there is none, or it is incomplete or of another version.
    """
    tensors, meta = checkpoints.load_model(folder)
    try:
        config = config_from_dict(meta["config"])
        inventories = {head: tuple(symbols) for head, symbols in meta["inventories"].items()}
        model = build_model(config, int(meta["columns"]), inventories, build)
        checkpoints.restore(model, tensors, folder)
    except (LookupError, TypeError, ValueError, AttributeError, CheckpointError) as error:
        problem = f"it lacks {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
        if isinstance(error, CheckpointError):
            problem = error.args[1]
        packages = meta.get("versions")
        version = packages.get("speechasym") if isinstance(packages, dict) else None
        path = Path(folder) / checkpoints.MODEL_META
        remedy = f"Use version {version or 'unknown'}, which wrote it, or train again"
        raise CheckpointError(path, f"was written by another version: {problem}", remedy) from error
    return model.eval(), config, inventories
