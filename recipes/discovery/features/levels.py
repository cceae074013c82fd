"""The levels of a trained run as sets of features, and those of an untrained twin."""

from typing import Any

import numpy as np
import torch

from speechasym.errors import ConfigError
from speechasym.feature_extraction import normalise
from speechasym.levels import hierarchy
from speechasym.recognition.trained_model import LevelActivations, TrainedModel, open_run

RATE = 100  # frames a second of all sets
FROZEN = ("log-mel 80", "MFCC 39", "compact 33")  # of `sets.SETS`, compared with the levels
TWIN = "untrained "  # prefix of the names of the twin's sets


def open_models(folder: str) -> dict[str, TrainedModel]:
    """Return {prefix of names: model} of a finished run and its twin with random weights."""
    trained = open_run(folder)
    config = trained.config.data.features
    if config.rate != RATE or config.sample_rate != 16000:
        raise ConfigError(
            folder,
            f"uses {config.sample_rate} Hz and {config.rate:g} frames a second",
            f"Train with 16000 Hz and {RATE} frames a second, as in the other sets",
        )
    sizes = {head: len(symbols) for head, symbols in trained.written.items()}
    torch.manual_seed(0)
    model: Any = trained.model
    twin = hierarchy.build_model(model.config, model.inputs, sizes).eval()
    return {"": trained, TWIN: trained._replace(model=twin)}


def rows(trained: TrainedModel, sound: dict) -> dict:
    """Return {file: (F, D)} the features that the run computes."""
    return {file: trained.features(x) for file, x in sound.items()}


def matrices(trained: TrainedModel, rows: dict, prefix: str) -> dict[str, dict]:
    """Return {set: {file: (F, D)}} of every level: y, units, and the posteriors of its heads."""
    sets: dict[str, dict] = {}
    for file, features in rows.items():
        for number, level in enumerate(trained.activations(features)):
            kinds = _kinds(level, bool(prefix))
            if not prefix:
                kinds["means of features"] = means(features, step_of_frames(level))
            for kind, matrix in kinds.items():
                sets.setdefault(f"{prefix}level {number}, {kind}", {})[file] = matrix
    return sets


def steps(trained: TrainedModel, rows: dict) -> list[float]:
    """Return the steps a second of each level."""
    counts = [[len(level.y) for level in trained.activations(x)] for x in rows.values()]
    seconds = sum(map(len, rows.values())) / RATE
    return [round(float(n) / seconds, 2) for n in np.sum(counts, 0)]


def step_of_frames(level: LevelActivations) -> np.ndarray:
    """Return the step (F,) that spans each frame."""
    first, end = level.frames.T.numpy()
    return np.repeat(np.arange(len(first)), end - first)


def means(features: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Return (F, D) means over the steps (F,) of the frames: the effect of their length alone."""
    sums = np.zeros((step[-1] + 1, features.shape[1]), np.float32)
    np.add.at(sums, step, features)
    return (sums / np.bincount(step)[:, None])[step]


def in_noise(label: str) -> bool:
    """Return whether a set is measured in noise too: frozen sets, y, and posteriors of phones."""
    return label in FROZEN or label.endswith((", y", "of phones"))


def without_blank(log_posteriors: np.ndarray) -> np.ndarray:
    """Return log-posteriors (..., V) of the symbols alone (..., V - 1), renormalised.

    CTC predicts the blank almost everywhere; the rest holds what it would predict otherwise.
    """
    rest = log_posteriors[..., 1:]
    most = rest.max(-1, keepdims=True)
    return rest - most - np.log(np.exp(rest - most).sum(-1, keepdims=True))


def _kinds(level: LevelActivations, untrained: bool) -> dict[str, np.ndarray]:
    """Return each set as it told phones apart best on the speakers in TRAIN (README.md).

    Distributions become their roots, whose angle is Bhattacharyya's. Untrained heads are random
    maps of y, and left out.
    """
    level = level.at_frames()
    kinds = {"y": _normalised(level.y.numpy())}
    if level.units is not None:
        kinds["units"] = np.sqrt(np.maximum(level.units.numpy(), 0))
    for head, log_p in level.log_posteriors.items() if not untrained else ():
        roots = np.exp(without_blank(log_p.numpy()) / 2)
        kinds[f"posteriors of {head}"] = roots.reshape(len(roots), -1)
    return kinds


def _normalised(matrix: np.ndarray) -> np.ndarray:
    """Normalise each column over the recording, as in the other sets."""
    return np.concatenate(list(normalise.normalised([matrix], "utterance", RATE)))
