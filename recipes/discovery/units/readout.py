"""Phones of frames by a linear read-out that learns from a few minutes of labels.

    python -m recipes.discovery.units.readout --timit ROOT --runs RUN ... [--minutes 1 3]

Read are, with three frames on either side, the lowest level of each run, of a twin with its initial
weights, and the compact features. The read-out learns from TIMIT's TRAIN and is tested on TEST.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from recipes.discovery.units.corpus import RATE, Corpus, of_timit
from recipes.discovery.units.systems import FRAMES
from speechasym.errors import SpeechAsymError
from speechasym.feature_extraction import normalise
from speechasym.language.phones import TIMIT_39
from speechasym.levels.hierarchy import build_model
from speechasym.recognition.trained_model import TrainedModel, open_run
from speechasym.scoring.units import framewise

AROUND, DECAY, ROUNDS = 3, 3e-3, 60  # frames; weight of the squares; rounds of L-BFGS
Tables = dict[str, NDArray[np.float32]]


def labels(corpus: Corpus, name: str, frames: int) -> NDArray[np.int64]:
    """Return the number of each frame's phone (F,), -1 for none."""
    symbols = framewise(corpus.phones[name], frames)
    return np.array([-1 if s is None else TIMIT_39.index(s) for s in symbols])


def lowest(trained: TrainedModel, features: Tables) -> Tables:
    """Return y (F, D) of the lowest level, each column normalised over its recording."""
    tables = {}
    for name, x in features.items():
        y = trained.activations(x)[0].at_frames().y.numpy()
        tables[name] = np.concatenate(list(normalise.normalised([y], "utterance", FRAMES)))
    return tables


def stacked(x: NDArray) -> NDArray[np.float32]:
    """Return each row (F, D) with those around it, and a one."""
    padded = np.pad(x, ((AROUND, AROUND), (0, 0)), mode="edge")
    parts = [padded[n : n + len(x)] for n in range(2 * AROUND + 1)]
    return np.concatenate([*parts, np.ones((len(x), 1))], 1).astype(np.float32)


def chosen(corpus: Corpus, minutes: float) -> list[str]:
    """Return sentences of so many minutes, the speakers in TRAIN in turn."""
    by_speaker = defaultdict(list)
    for name in sorted(corpus.sounds):
        if name.startswith("TRAIN"):
            by_speaker[corpus.speakers[name]].append(name)
    names, seconds = [], 0.0
    for turn in zip(*by_speaker.values(), strict=False):
        for name in turn:
            if seconds < 60 * minutes:
                names.append(name)
                seconds += len(corpus.sounds[name]) / RATE
    return names


def wrong(corpus: Corpus, tables: Tables, training: list[str]) -> float:
    """Return the share of frames of TEST whose phone the read-out misses."""

    def together(names: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
        x = np.concatenate([stacked(tables[n]) for n in names])
        y = np.concatenate([labels(corpus, n, len(tables[n])) for n in names])
        return torch.from_numpy(x[y >= 0]), torch.from_numpy(y[y >= 0])

    x, y = together(training)
    weight = torch.zeros(x.shape[1], len(TIMIT_39), requires_grad=True)
    optimiser = torch.optim.LBFGS([weight], max_iter=ROUNDS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = torch.nn.functional.cross_entropy(x @ weight, y) + DECAY * weight.square().sum()
        value.backward()
        return value

    optimiser.step(loss)
    x, y = together([n for n in corpus.sounds if n.startswith("TEST")])
    with torch.no_grad():
        return float(((x @ weight).argmax(1) != y).float().mean())


def main(arguments: list[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m recipes.discovery.units.readout")
    parser.add_argument("--timit", type=Path, required=True)
    parser.add_argument("--runs", type=Path, nargs="+", required=True)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 3])
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    corpus = of_timit(options.timit)
    trained = [open_run(run) for run in options.runs]
    features = {name: trained[0].features(x) for name, x in corpus.sounds.items()}
    found: dict[tuple[str, float], list[float]] = defaultdict(list)
    for minutes in options.minutes:
        names = chosen(corpus, minutes)
        found["compact 33", minutes].append(wrong(corpus, features, names))
    for seed, run in enumerate(trained):
        torch.manual_seed(seed)
        model = build_model(run.config.model, run.model.inputs, {}).eval()  # type: ignore[arg-type]
        for label, one in (("level 0", run), ("level 0, untrained", run._replace(model=model))):
            tables = lowest(one, features)
            for minutes in options.minutes:
                value = wrong(corpus, tables, chosen(corpus, minutes))
                found[label, minutes].append(value)
                print(label, minutes, seed, f"{100 * value:.1f}", flush=True)
    print("| read | minutes | frames wrong, % |\n| --- | ---: | --- |")
    for (label, minutes), values in found.items():
        print(f"| {label} | {minutes:g} | {' '.join(f'{100 * v:.1f}' for v in values)} |")


if __name__ == "__main__":
    try:
        main()
    except SpeechAsymError as error:
        sys.exit(f"readout.py: {error}")
