"""The levels of a trained run as sets of features, and those of a twin that was never trained."""

import numpy as np
import torch

from speechasym.errors import ConfigError
from speechasym.feature_extraction import normalise
from speechasym.levels import hierarchy
from speechasym.recognition import activations, transcription

RATE = 100  # frames a second of all sets
FROZEN = ("log-mel 80", "MFCC 39", "compact 33")  # of `sets.SETS`, beside the levels
TWIN = "untrained "  # begins the names of the twin's sets


def opened(folder: str) -> dict[str, transcription.Trained]:
    """{how names begin: model} of a finished run and its twin: the same shapes, random weights."""
    trained = transcription.open_run(folder)
    config = trained.config.data.features
    if config.rate != RATE or config.sample_rate != 16000:
        raise ConfigError(
            folder,
            f"hears {config.sample_rate} Hz in {config.rate:g} frames a second",
            f"Train on 16000 Hz in {RATE}, as the other sets have",
        )
    sizes = {head: len(symbols) for head, symbols in trained.inventories.items()}
    torch.manual_seed(0)
    twin = hierarchy.build_model(trained.config.model, trained.model.inputs, sizes).eval()
    return {"": trained, TWIN: trained._replace(model=twin)}


def rows(trained: transcription.Trained, sound: dict) -> dict:
    """{file: (F, D)} the features that the run hears."""
    return {file: transcription.features_of(trained, x) for file, x in sound.items()}


def matrices(trained: transcription.Trained, heard: dict, begin: str) -> dict[str, dict]:
    """{set: {file: (F, D)}} of every level: y, units, and what heads there say."""
    made: dict[str, dict] = {}
    for file, features in heard.items():
        for number, level in enumerate(activations.of_features(trained, features)):
            kinds = _kinds(level, bool(begin))
            if not begin:
                kinds["means of features"] = means(features, level.step)
            for kind, matrix in kinds.items():
                made.setdefault(f"{begin}level {number}, {kind}", {})[file] = matrix
    return made


def steps(trained: transcription.Trained, heard: dict) -> list[float]:
    """Steps a second of each level."""
    found = [[o.step[-1] + 1 for o in activations.of_features(trained, x)] for x in heard.values()]
    seconds = sum(map(len, heard.values())) / RATE
    return [round(float(n) / seconds, 2) for n in np.sum(found, 0)]


def means(features: np.ndarray, step: np.ndarray) -> np.ndarray:
    """(F, D) means over the steps that span the frames (F,): what their length alone leaves."""
    sums = np.zeros((step[-1] + 1, features.shape[1]), np.float32)
    np.add.at(sums, step, features)
    return (sums / np.bincount(step)[:, None])[step]


def in_noise(label: str) -> bool:
    """Whether a set is measured in noise too: the frozen ones, y, and what is said of phones."""
    return label in FROZEN or label.endswith((", y", "of phones"))


def _kinds(level: activations.LevelFrames, untrained: bool) -> dict[str, np.ndarray]:
    """Each as it told phones apart best on the speakers in TRAIN (README.md).

    Roots of what sums to 1: their angle is Bhattacharyya's between distributions. Heads without
    training are but maps of y by chance, and left out.
    """
    made = {"y": _normalised(level.y)}
    if level.units is not None:
        made["units"] = np.sqrt(np.maximum(level.units, 0))
    for head, found in level.log_posteriors.items() if not untrained else ():
        roots = np.exp(activations.without_blank(found) / 2)
        made[f"posteriors of {head}"] = roots.reshape(len(roots), -1)
    return made


def _normalised(matrix: np.ndarray) -> np.ndarray:
    """Each column normalised over the recording, as in the other sets."""
    return np.concatenate(list(normalise.normalised([matrix], "utterance", RATE)))
