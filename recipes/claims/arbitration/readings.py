"""What nets read in cuts, clean and in noise, kept in a file for each condition.

Shapes: S steps of a net, V classes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from speechasym.corpora.manifests import stream_cuts
from speechasym.errors import ConfigError
from speechasym.levels.arbitration import Reading, reading
from speechasym.recognition.recogniser import Recogniser
from speechasym.recognition.references import reference_phones
from speechasym.recognition.trained_model import TrainedModel
from speechasym.training import cut_features, dataset
from speechasym.training.augment import Variant, hashed_seed
from speechasym.training.cuts import read_noises

OF_DEV = ("city", "rain", "train")  # noises that rules may be chosen in


class Utterance(NamedTuple):
    """What is said in an utterance, and what nets read in it."""

    name: str
    speaker: str
    said: dict[str, list[str]]  # {head: symbols}
    readings: dict[str, dict[str, Reading]]  # {head: {net: what it reads}}
    errors: dict[str, dict[str, float]]  # {head: {net: mean error with which units predict}}


class Condition(NamedTuple):
    """Utterances of one set of cuts in one noise."""

    symbols: dict[str, list[str]]  # {head: symbols}
    utterances: list[Utterance]


def check_plain(net: TrainedModel) -> None:
    """Raise `ConfigError` for a net with phones in context: its steps are compared as written."""
    if net.merged:
        remedy = "Give one trained with data.labels.context: false"
        raise ConfigError(net.folder, "its phones are learned in context", remedy)


def labelled(
    net: TrainedModel, cuts: str | Path, lexicon: str | Path | None = None
) -> dataset.Dataset:
    """Return cuts with what is said in them, by the symbols of a net.

    lexicon: for the phones that are said, if the cuts and the run have none.
    """
    labels = replace(net.config.data.labels, lexicon=None, context=False)
    config = replace(net.config.data, workers=0, cache=None, labels=labels)
    recogniser = Recogniser(net, lexicon=lexicon)
    spelled = reference_phones(recogniser, (cut for _, cut in stream_cuts(cuts)))
    return dataset.load(
        config, str(cuts), list(net.inventories), inventories=net.inventories,
        show_progress=False, pronunciations=spelled.entries,
    )  # fmt: skip


def changed_cuts(
    net: TrainedModel, cuts: str | Path, part: str, noise: Path | None = None,
    snr_db: float | None = None, masked_s: float | None = None, every: int = 1,
) -> Iterator[tuple[int, Any, NDArray[np.float32]]]:  # fmt: skip
    """Yield number, cut and features (F, D) of a net, in noise or with stretches masked.

    The arguments are those of `read`.
    """
    recordings = []
    if noise is not None and snr_db is not None:
        recordings = [
            n for n in read_noises(noise) if (Path(n.id).stem in OF_DEV) == (part == "dev")
        ]
    for number, (_, cut) in enumerate(stream_cuts(cuts)):
        if number % every:
            continue
        task = cut_features.FeatureTask(cut, net.feature_config)
        if recordings:
            place = hashed_seed(0, cut.id, part) % 1000 / 1000
            task = task._replace(
                noise=recordings[number // every % len(recordings)],
                variant=Variant(noise=0, place=place, snr_db=float(snr_db or 0.0)),
            )
        if masked_s is None:
            yield number, cut, cut_features.features_of(task)
        else:
            x, seed = cut_features.samples_of(task), hashed_seed(0, cut.id, masked_s)
            x = masked(x, net.feature_config.sample_rate, masked_s, seed)
            yield number, cut, net.features(x)


def read(
    nets: Mapping[str, TrainedModel], cuts: str | Path, part: str, *, noise: Path | None = None,
    snr_db: float | None = None, masked_s: float | None = None, every: int = 1,
    lexicon: str | Path | None = None,
) -> Condition:  # fmt: skip
    """Read cuts with each net.

    Args:
        nets: {name: run}, with the same features and symbols.
        part: dev or test; the noises of one are not heard in the other.
        noise: folder of recordings of noise; each cut has one of them, in turn.
        snr_db: of the noise; None: as recorded.
        masked_s: length of the stretch of each second that white noise replaces; None: none is.
        every: reads one of so many cuts.
        lexicon: for the phones that are said, if the cuts and the run have none.
    """
    for net in nets.values():
        check_plain(net)
    first = next(iter(nets.values()))
    data = labelled(first, cuts, lexicon)
    heads = list(first.inventories)
    utterances = []
    for number, cut, rows in changed_cuts(first, cuts, part, noise, snr_db, masked_s, every):
        readings: dict[str, dict[str, Reading]] = {head: {} for head in heads}
        errors: dict[str, dict[str, float]] = {head: {} for head in heads}
        for name, net in nets.items():
            output = net.output(rows)
            for head in heads:
                readings[head][name] = reading(output, head)
                depths: Any = net.config.model
                level = output.levels[getattr(depths.heads, head).level]
                if level.error is not None:
                    errors[head][name] = float(level.error.sum() / level.mask.sum())
        said = {head: data.reference(head, number) for head in heads}
        utterances.append(Utterance(cut.id, data.speakers[number], said, readings, errors))
    return Condition({h: list(first.inventories[h]) for h in heads}, utterances)


def masked(x: NDArray[np.float32], rate: float, seconds: float, seed: int) -> NDArray[np.float32]:
    """Return samples (T,) with a stretch of each second replaced by white noise of its level."""
    rng, x = np.random.default_rng(seed), x.copy()
    size, second = round(seconds * rate), round(rate)
    for begin in range(0, len(x) - second // 2, second):
        first = begin + int(rng.integers(max(1, min(second, len(x) - begin) - size)))
        stretch = x[first : first + size]
        stretch[:] = rng.normal(0, np.sqrt(np.square(stretch).mean()), len(stretch))
    return x


def save(path: Path, condition: Condition) -> None:
    """Write a condition as .npz."""
    arrays, about = {}, []
    for n, u in enumerate(condition.utterances):
        about.append([u.name, u.speaker, u.said, u.errors])
        for head, by_net in u.readings.items():
            for net, r in by_net.items():
                arrays[f"{n}|{head}|{net}|p"] = r.log_probs.numpy().astype(np.float16)
                arrays[f"{n}|{head}|{net}|t"] = r.frames.astype(np.float32)
    text = json.dumps([condition.symbols, about])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, about=np.array(text), **arrays)  # type: ignore[arg-type]


def load(path: Path, nets: Sequence[str], heads: Sequence[str] | None = None) -> Condition:
    """Read what `save` wrote, of these nets and heads only."""
    with np.load(path) as file:
        symbols, about = json.loads(str(file["about"]))
        utterances = []
        for n, (name, speaker, said, errors) in enumerate(about):
            readings = {
                head: {net: _reading(file, f"{n}|{head}|{net}") for net in nets}
                for head in heads or symbols
            }
            utterances.append(Utterance(name, speaker, said, readings, errors))
    return Condition(symbols, utterances)


def _reading(file: Mapping[str, np.ndarray], key: str) -> Reading:
    log_probs = torch.from_numpy(file[f"{key}|p"].astype(np.float32)).log_softmax(-1)
    return Reading(log_probs, file[f"{key}|t"].astype(np.float64))
