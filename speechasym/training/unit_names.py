"""What each unit of a model is named after: the symbol of the training cuts that excites it most.

Silence is a symbol like the others. The names are kept in units.json, beside the model.

Shapes: F frames, S steps, U units.
"""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from speechasym import files
from speechasym.annotations.intervals import Interval
from speechasym.corpora.manifests import stream_cuts
from speechasym.errors import CheckpointError
from speechasym.language import contexts, lexicon
from speechasym.language.phones import SILENCE, SILENCES
from speechasym.levels import ctc
from speechasym.training import labels
from speechasym.training.config import HEADS, TrainConfig
from speechasym.training.cuts import load_samples
from speechasym.training.labels import Inventory

if TYPE_CHECKING:
    from lhotse.cut import Cut

FILE, FORMAT = "units.json", 1
MOST_S = 600.0  # of the training cuts that are heard, evenly spread over the manifest
PRIOR_FRAMES = 10  # without activation, added to each symbol: one rare sound names no unit
REACH_S = {"phones": 0.06, "letters": 0.06, "words": 0.3}  # of a symbol around its CTC steps


class LevelNames(NamedTuple):
    """The names of a level's units."""

    head: str  # phones, letters or words
    names: list[str]  # (U,); "" for a unit that is never active


class Favourites:
    """Sums the activation of units by symbol, recording by recording."""

    def __init__(self, prior_frames: float = PRIOR_FRAMES) -> None:
        self.prior_frames = prior_frames
        self.sums: dict[str, NDArray[np.float64]] = {}
        self.frames: dict[str, int] = {}

    def add(self, activation: NDArray, intervals: Iterable[Interval], frame_rate: float) -> None:
        """Add activations (F, U), NaN between steps; frames without a symbol count as silence."""
        symbols = frame_symbols(intervals, len(activation), frame_rate)
        filled = np.nan_to_num(activation)
        for symbol in dict.fromkeys(symbols):
            part = filled[[s == symbol for s in symbols]]
            self.sums[symbol] = self.sums.get(symbol, 0.0) + part.sum(0)
            self.frames[symbol] = self.frames.get(symbol, 0) + len(part)

    def names(self) -> list[str]:
        """Return for each unit the symbol of the greatest mean activation; "" for none at all."""
        means = np.array([s / (self.frames[k] + self.prior_frames) for k, s in self.sums.items()])
        symbols = list(self.sums)
        return [symbols[n] if means[n, u] > 0 else "" for u, n in enumerate(means.argmax(0))]


def frame_symbols(intervals: Iterable[Interval], frames: int, frame_rate: float) -> list[str]:
    """Return the symbol of each frame (F,); silence between intervals and in silent ones."""
    symbols = [SILENCE] * frames
    for i in intervals:
        if i.label.strip() and i.label not in SILENCES:
            first, last = round(i.start * frame_rate), min(frames, round(i.end * frame_rate))
            symbols[first:last] = [i.label] * max(0, last - first)
    return symbols


def head_of_level(number: int, levels: int, known: Iterable[str]) -> str | None:
    """Return which head's symbols name a level's units: words on top, phones below, if known."""
    order = ("words", "phones", "letters") if 0 < number == levels - 1 else HEADS
    return next((head for head in order if head in set(known)), None)


def held(
    values: NDArray, start: Sequence[int] | NDArray, end: Sequence[int] | NDArray, frames: int
) -> NDArray[np.float64]:
    """Hold values (S, U) of steps over their frames -> (F, U); NaN between steps."""
    out = np.full((frames, values.shape[1]), np.nan)
    for value, first, last in zip(values, start, end, strict=True):
        out[first:last] = value
    return out


@torch.no_grad()
def name_units(
    model: nn.Module, config: TrainConfig, inventories: Inventory, train: str | Path
) -> dict[int, LevelNames]:
    """Return the names of the units of each level of a model, from cuts that it was trained on.

    Symbols are where the cuts' annotation has them, or else where the head aligns them.

    Args:
        model: in evaluation mode.
        train: manifest of cuts; `MOST_S` of them are heard.

    Raises:
        AudioError, ConfigError, LabelError: the cuts or the lexicon cannot be used.
    """
    path = config.data.labels.lexicon
    words = None if path is None else lexicon.read_lexicon(path)
    every = max(1, round(sum(cut.duration for _, cut in stream_cuts(train)) / MOST_S))
    heard = itertools.islice(stream_cuts(train), None, None, every)
    device = next(model.parameters()).device
    favourites: dict[int, tuple[str, Favourites]] = {}
    for _, cut in heard:
        x = load_samples(cut, config.data.features.sample_rate, config.data.features.channel)
        rows = np.concatenate(list(config.data.features.frames([x])))
        output: Any = model(torch.from_numpy(rows)[None].to(device), torch.tensor([len(rows)]))
        levels = getattr(output, "levels", [])
        timed: dict[str, list[Interval]] = {}
        for number, level in enumerate(levels):
            head = head_of_level(number, len(levels), inventories)
            if level.activation is None or head is None:
                continue
            if head not in timed:
                timed[head] = _timed(cut, head, config, inventories, words, output)
            if not timed[head]:
                continue
            mask = level.mask[0].cpu()
            values, start, end = (
                part[0].cpu()[mask].numpy() for part in (level.activation, level.start, level.end)
            )
            _, sums = favourites.setdefault(number, (head, Favourites()))
            sums.add(held(values, start, end, len(rows)), timed[head], config.data.features.rate)
    return {n: LevelNames(head, sums.names()) for n, (head, sums) in favourites.items()}


def _timed(
    cut: "Cut", head: str, config: TrainConfig, inventories: Inventory,
    words: lexicon.Lexicon | None, output: Any,
) -> list[Interval]:  # fmt: skip
    """Return a cut's symbols with times in s: annotated, or aligned by the head; [] for neither."""
    if head == "phones" and (phones := labels.timed_phones(cut, config.data.labels)):
        return phones
    if head == "words" and (spoken := labels.aligned(cut, "word")):
        return [i._replace(label=i.label.upper()) for i in spoken]
    known = labels.classes(inventories[head])
    said = labels.tokens(cut, head, config.data.labels, words, inventories.get("phones"))
    row = labels.encode(said, known)
    log_probs, steps = output.heads[head]
    log_probs = log_probs[0, : int(steps[0])].cpu()
    if not row or ctc.steps_needed(row) > len(log_probs):
        return []
    first, end = (part[0].cpu().numpy() / config.data.features.rate for part in output.spans[head])
    names = inventories[head]
    if head == "phones" and config.data.labels.context:
        names = tuple(map(contexts.plain, names))
    spans = [(first[a], end[b - 1]) for a, b in ctc.align(log_probs, row)]
    before = [0.0, *(stop for _, stop in spans[:-1])]
    after = [*(start for start, _ in spans[1:]), cut.duration]
    return [
        Interval(
            float(max(start - REACH_S[head], (earlier + start) / 2)),
            float(min(stop + REACH_S[head], (stop + later) / 2)),
            names[label - 1],
        )
        for label, (start, stop), earlier, later in zip(row, spans, before, after, strict=True)
    ]


def write(folder: Path, names: Mapping[int, LevelNames]) -> None:
    """Write units.json. Raises `OutputError`."""
    levels = {str(number): level._asdict() for number, level in names.items()}
    files.write_json(folder / FILE, {"format": FORMAT, "levels": levels})


def read(folder: Path) -> dict[int, LevelNames]:
    """Return the names of each level's units; {} for a run of before they were kept.

    Raises `CheckpointError` for a damaged file.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}")
        return {
            int(number): LevelNames(str(level["head"]), [str(name) for name in level["names"]])
            for number, level in content["levels"].items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        problem = f"does not hold names of units ({error})"
        remedy = "Remove it: units are then named by each recording"
        raise CheckpointError(path, problem, remedy) from error
