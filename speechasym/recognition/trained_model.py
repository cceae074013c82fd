"""The model of a finished run: its features, its output, and what heads and levels compute.

Shapes: T samples, F frames, D columns or the width of a level, S steps of a head or a level, U
units, K slots of a head, V classes (0 is CTC's blank).
"""

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speechasym.errors import CheckpointError, ConfigError
from speechasym.feature_extraction.sets import FeatureConfig, FilterbankFeatures
from speechasym.levels import ctc, hierarchy
from speechasym.levels.events import shared_frames
from speechasym.levels.level import ModelOutput
from speechasym.levels.streaming import StreamState
from speechasym.recognition import installed, pretrained
from speechasym.training import checkpoints, models, run_folder, unit_names
from speechasym.training.config import HEADS, TrainConfig
from speechasym.training.labels import Inventory, read_as
from speechasym.training.unit_names import LevelNames

LANGUAGE_MODELS = (pretrained.LM, "lm.arpa.gz", "lm.arpa")  # beside a model
FILTER_DELAY_S = 0.01  # of features from the filterbank, as measured


class Posteriors(NamedTuple):
    """What a head reads from an utterance."""

    log_probs: Tensor  # (S, V) natural logarithms
    times: NDArray[np.float64]  # (S, 2) start and end of each step, s
    symbols: tuple[str, ...]  # (V,) of the classes; "" is CTC's blank


class LevelActivations(NamedTuple):
    """What a level computes, at its own steps or, after `at_frames`, at every frame (S = F)."""

    y: Tensor  # (S, D) what the level passes on
    units: Tensor | None  # (S, U) activations; None for a level without units
    log_posteriors: dict[str, Tensor]  # {head read from this level: (S, K, V)}
    frames: Tensor  # (S, 2) first frame of each step, and the frame after its last
    times: Tensor  # (S, 2) the same in s
    winner: Tensor | None = None  # (S,) unit that holds; None for a level without events

    def at_frames(self) -> "LevelActivations":
        """Return the same with every step repeated for each frame it spans, as features have."""
        step = torch.repeat_interleave(self.frames[:, 1] - self.frames[:, 0])
        units = None if self.units is None else self.units[step]
        posteriors = {head: log_probs[step] for head, log_probs in self.log_posteriors.items()}
        y, frames, times = self.y[step], self.frames[step], self.times[step]
        winner = None if self.winner is None else self.winner[step]
        return LevelActivations(y, units, posteriors, frames, times, winner)


class TrainedModel(NamedTuple):
    """The model of a finished run."""

    folder: Path
    model: nn.Module
    config: TrainConfig
    inventories: Inventory  # {head: symbols that it is read as}
    written: Inventory  # {head: symbols of its classes}: phones may be in context
    merged: Mapping[str, NDArray[np.int64]]  # {head: class that each is read as (V,)} if they are
    fingerprint: str  # sha256 of the model's tensors
    members: tuple["TrainedModel", ...] = ()  # runs that read together; the first has the folder
    follow: Mapping[str, NDArray[np.float64]] = {}  # {head: as `symbols.follow`}, if by MMI

    @property
    def name(self) -> str:
        """The folder's name, with its parent's if it is just called run; of several, all names."""
        if self.members:
            return " + ".join(member.name for member in self.members)
        folder = self.folder.resolve()
        if folder == pretrained.FOLDER.resolve():
            return "pretrained model"
        return "/".join(folder.parts[-2:]) if folder.name == "run" else folder.name

    @property
    def folders(self) -> list[str]:
        """The folders of the runs that it consists of: one, or several that read together."""
        return [str(member.folder) for member in self.members or (self,)]

    @property
    def lexicon(self) -> Path | None:
        """The lexicon that it was trained with, or else the one beside the model, if any."""
        trained_with = self.config.data.labels.lexicon
        paths = [*([Path(trained_with)] if trained_with else []), self.folder / pretrained.LEXICON]
        return next((path for path in paths if path.is_file()), None)

    @property
    def lm(self) -> Path | None:
        """The language model of words beside the model, if any."""
        paths = [self.folder / name for name in LANGUAGE_MODELS]
        return next((path for path in paths if path.is_file()), None)

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return hierarchy.count_parameters(self.model)

    @property
    def feature_config(self) -> FeatureConfig:
        """Configuration of the features that the model reads."""
        return self.config.data.features

    @property
    def delay(self) -> float:
        """Time in s by which steps lag behind the sound, because of the filters."""
        config = self.members[0].feature_config if self.members else self.feature_config
        late = isinstance(config, FilterbankFeatures) and not config.align
        return FILTER_DELAY_S if late else 0.0

    @property
    def unit_names(self) -> dict[int, LevelNames]:
        """Names of the units of each level, from the training cuts; {} for runs of version 0.1."""
        return unit_names.read(self.folder)

    def check_heads(self, heads: Sequence[str], option: str) -> None:
        """Raise `ConfigError` for a head that the run does not have."""
        for head in heads:
            check_head(head, self.inventories, option, self.folder)

    def features(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the features (F, D) of samples (T,) at the rate that the model expects."""
        return np.concatenate(list(self.feature_config.frames([x])))

    @torch.no_grad()
    def output(self, rows: NDArray[np.float32]) -> ModelOutput:
        """Return the model's output, a batch of one on the CPU, for features (F, D)."""
        device = next(self.model.parameters()).device
        features = torch.from_numpy(np.ascontiguousarray(rows, np.float32))[None].to(device)
        output: ModelOutput = self.model(features, torch.tensor([len(rows)], device=device))
        return output if device.type == "cpu" else _moved(output, "cpu")

    @torch.no_grad()
    def stream(
        self, rows: NDArray[np.float32], state: StreamState | None, last: bool = False
    ) -> tuple[ModelOutput, StreamState]:
        """Return what the next features (F, D) complete, on the CPU; see `Hierarchy.stream`."""
        assert isinstance(self.model, hierarchy.Hierarchy)
        features = torch.from_numpy(np.ascontiguousarray(rows, np.float32))[None]
        device = next(self.model.parameters()).device
        output, state = self.model.stream(features.to(device), state, last)
        return output if device.type == "cpu" else _moved(output, "cpu"), state

    def posteriors(
        self, output: ModelOutput, head: str, offset: float = 0.0, alone: bool = False
    ) -> Posteriors:
        """Return what a head reads, from the output for features that begin at `offset` s.

        alone: as the head writes them, which a search needs: phones in context, and without what
            the run knows of which symbols follow which.
        """
        log_probs, frames = step_frames(output, head)
        if not alone:
            log_probs = self.read(head, log_probs)
        times = np.maximum(0.0, frames / self.feature_config.rate + (offset - self.delay))
        symbols = (self.written if alone else self.inventories)[head]
        return Posteriors(log_probs, times, ("", *symbols))

    def read(self, head: str, log_probs: Tensor) -> Tensor:
        """Return what a head writes (S, V) as it is read: without contexts.

        If it learned by MMI, as posteriors given all steps.
        """
        if (follow := self.follow.get(head)) is not None:
            log_probs = ctc.in_sequence(log_probs, follow)
        return self.without_contexts(head, log_probs)

    def without_contexts(self, head: str, log_probs: Tensor) -> Tensor:
        """Return log_probs (S, V) of the symbols that the head is read as, summed over contexts."""
        return ctc.merge(log_probs, self.merged[head]) if head in self.merged else log_probs

    def activations(self, rows: NDArray[np.float32]) -> list[LevelActivations]:
        """Return what each level computes for features (F, D), lowest first.

        Raises `ConfigError` for features with other columns, or a model without levels.
        """
        if not isinstance(self.model, hierarchy.Hierarchy):
            raise ConfigError(self.name, "its model has no levels", "Use one run of a hierarchy")
        output = self.output(rows)
        levels = []
        for number, level in enumerate(output.levels):
            steps = int(level.mask[0].sum())
            posteriors = {}
            for name, (log_probs, _) in output.heads.items():
                head = getattr(self.model.config.heads, name)
                if head.level == number:
                    row = self.read(name, log_probs[0, : steps * head.slots])
                    posteriors[name] = row.unflatten(0, (steps, head.slots))
            units = None if level.activation is None else level.activation[0, :steps]
            frames = torch.stack([level.start[0, :steps], level.end[0, :steps]], 1)
            times = (frames / self.feature_config.rate - self.delay).clamp(min=0)
            winner = None if level.winner is None else level.winner[0, :steps]
            y = level.y[0, :steps]
            levels.append(LevelActivations(y, units, posteriors, frames, times, winner))
        return levels


def is_run(path: str | Path) -> bool:
    """Return whether this is a folder that `train` wrote, finished or not, or a model's name."""
    path = installed.run_folder(path)
    files = (checkpoints.MODEL, checkpoints.MODEL_META, run_folder.CONFIG)
    return any(os.path.isfile(os.path.join(path, name)) for name in files)  # False for long names


def open_run(run: str | Path | TrainedModel | None) -> TrainedModel:
    """Open the model of a finished run, None: the pretrained one; an open one is left unchanged.

    Where no folder has that name, an installed model may have it (`models`).

    Raises:
        CheckpointError: the run does not exist or is not finished, or its model is damaged or comes
            from an incompatible version of this package.
    """
    if isinstance(run, TrainedModel):
        return run
    folder = pretrained.folder() if run is None else installed.run_folder(run)
    if not (folder / checkpoints.MODEL).is_file():
        problem, remedy = f"holds no {checkpoints.MODEL}", "Give the folder of a finished run"
        if not folder.is_dir():
            problem, remedy = "is not the folder of a run", "Give the folder that train wrote"
            if len(folder.parts) == 1:  # perhaps meant as the name of a model
                problem += (
                    f", nor an installed model; installed: {', '.join(installed.installed())}"
                )
                remedy += ", or install a model: speechasym models --install FILE"
        elif checkpoints.exists(folder) or is_run(folder):
            problem, remedy = "holds an unfinished run", "Resume it first: train --resume"
        raise CheckpointError(folder, problem, remedy)
    model, config, inventories = models.open_model(folder)
    meta = json.loads((folder / checkpoints.MODEL_META).read_text("utf-8"))
    written = {head: inventories[head] for head in HEADS if head in inventories}
    heads, merged = read_as(written, config.data.labels)
    follow = {head: np.array(rows) for head, rows in meta.get("follow", {}).items()}
    return TrainedModel(folder, model, config, heads, written, merged, meta["sha256"], (), follow)


def check_head(head: str, known: Collection[str], option: str, run: object = "the run") -> None:
    """Raise `ConfigError` for a head that the run does not have."""
    if head not in known:
        problem = f"{run} has no head {head}; it has {', '.join(known)}"
        remedy = "Choose one of those, or train with a weight for it (heads)"
        raise ConfigError(option, problem, remedy)


def step_frames(output: ModelOutput, head: str) -> tuple[Tensor, NDArray[np.float64]]:
    """Log-probabilities (S, V) of the first of a batch, and the frames (S, 2) under each step."""
    log_probs, steps = output.heads[head]
    count = int(steps[0])
    first, end = (span[0, :count].numpy() for span in output.spans[head])
    return log_probs[0, :count], shared_frames(first, end)


def _moved(value: Any, device: str) -> Any:
    """The same structure of tuples, lists, dictionaries and dataclasses on another device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {name: _moved(part, device) for name, part in value.items()}
    if isinstance(value, tuple | list):
        parts = [_moved(part, device) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **_moved(vars(value), device))
    return value
