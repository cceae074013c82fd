"""From a recording to phones, letters and words, with times: what a trained run is for.

Long recordings are heard in stretches that end where they are quietest, so that memory does not
grow with their length; features that are normalised over an utterance are so over a stretch.

Shapes: T samples, F frames, D columns, S steps of a head, V classes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from speechasym import alignments, audio, checkpoints, featuresets, hierarchy, training
from speechasym.alignments import Interval
from speechasym.checkpoints import CheckpointError
from speechasym.configs import HEADS, TrainConfig
from speechasym.errors import ConfigError
from speechasym.labels import Inventory
from speechasym.level import Output

LONGEST_S = 30.0  # a stretch
LATEST = 0.95  # share of it in which the quietest place is looked for, so that no crumb is left
QUIET_S = 0.1  # quietness is the mean power over so long
# How far a symbol reaches beyond its steps where no other is near, s: CTC marks a place in a
# symbol, not its extent
REACH_S = {"phones": 0.08, "letters": 0.08, "words": 0.25}


class Trained(NamedTuple):
    """A finished run."""

    folder: Path
    model: nn.Module
    config: TrainConfig
    inventories: Inventory  # {head: symbols}
    fingerprint: str  # sha256 of the model's tensors

    @property
    def parameters(self) -> int:
        """How many numbers were trained."""
        return hierarchy.parameters(self.model)

    def check_heads(self, heads: Sequence[str], option: str) -> None:
        """Raises `ConfigError` for a head that the run does not have."""
        if missing := [head for head in heads if head not in self.inventories]:
            raise ConfigError(
                option,
                f"{self.folder} has no head {missing[0]}; it has {', '.join(self.inventories)}",
                "Choose among those, or train with a weight for it (heads)",
            )


def open_run(run: str | Path | Trained) -> Trained:
    """The model of a finished run, ready for use.

    Raises:
        CheckpointError: no such folder, a run that is not finished, a model that is not whole, or
            one that another version of this package has made.
    """
    if isinstance(run, Trained):
        return run
    folder = Path(run)
    if not (folder / checkpoints.MODEL).is_file():
        if not folder.is_dir():
            raise CheckpointError(folder, "is no folder of a run", "Give what train had as --out")
        if checkpoints.exists(folder):
            raise CheckpointError(
                folder, "holds a run that is not finished", "Go on with it: train --resume"
            )
        raise CheckpointError(
            folder, f"holds no {checkpoints.MODEL}", "Give the folder of a finished run"
        )
    model, config, found = training.open_model(folder)
    inventories = {head: found[head] for head in HEADS if head in found}
    meta = json.loads((folder / checkpoints.MODEL_META).read_text("utf-8"))
    return Trained(folder, model, config, inventories, meta["sha256"])


@torch.no_grad()
def heard(trained: Trained, rows: NDArray[np.float32]) -> Output:
    """What the model says of features (F, D), as a batch of one."""
    features = torch.from_numpy(np.ascontiguousarray(rows, np.float32))[None]
    output: Output = trained.model(features, torch.tensor([features.shape[1]]))
    return output


def features_of(trained: Trained, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples (T,), at the rate that the run's features want -> features (F, D)."""
    return np.concatenate(list(featuresets.frames(iter([x]), trained.config.data.features)))


class Transcript(NamedTuple):
    """What was recognised in a recording."""

    seconds: float  # of the recording
    symbols: dict[str, list[Interval]]  # {head: symbols with their times}; letters: spaces too
    stretches: int  # that it was heard in

    def text(self, head: str) -> str:
        """In one line: letters joined to words, phones and words with spaces between them."""
        labels = [i.label for i in self.symbols[head]]
        return " ".join("".join(labels).split() if head == "letters" else labels)

    def tiers(self) -> dict[str, list[Interval]]:
        """As tiers of a TextGrid: without the spaces among letters."""
        return {
            head: [i for i in intervals if i.label.strip()]
            for head, intervals in self.symbols.items()
        }


def transcribe(
    run: str | Path | Trained,
    path: str | Path,
    *,
    heads: Sequence[str] | None = None,
    longest: float = LONGEST_S,
    channel: str | int | None = None,
) -> Transcript:
    """Recognise what is said in a recording of any sample rate, length and number of channels.

    Times: a symbol holds the steps in which CTC writes it. The gap to the next symbol is shared
    half and half where both reach over it (`REACH_S`: 80 ms for phones and letters, 250 ms for
    words); else each reaches so far, and nothing is said between them. So times are good to some
    tens of ms for phones, and tell of words rather where than how long they are.

    A stretch of digital silence has no symbols, whatever the model makes of it.

    Args:
        run: a finished run's folder, or what `open_run` gave.
        heads: which to read; None: all that the run has.
        longest: s that are heard at a time; what is longer is cut at its quietest 0.1 s in the
            latter half of a stretch, and a letter's word never goes on over a cut.
        channel: of several, "mean" or a number from 0; None: as in training.

    Raises:
        AudioError: a recording that cannot be read or used.
        CheckpointError: see `open_run`; ConfigError: a head that the run does not have.
    """
    trained = open_run(run)
    heads = list(trained.inventories) if heads is None else list(heads)
    trained.check_heads(heads, "heads")
    config = trained.config.data.features
    found: dict[str, list[Interval]] = {head: [] for head in heads}
    blocks = audio.blocks(path, config.sample_rate, config.channel if channel is None else channel)
    count, start = 0, 0
    for x in stretches(blocks, config.sample_rate, longest):
        offset, stop = start / config.sample_rate, (start + len(x)) / config.sample_rate
        if x.any():
            output = heard(trained, features_of(trained, x))
            own = symbols(trained, output, stop - offset, heads)
            for head in heads:
                if head == "letters" and own[head] and found[head]:
                    found[head].append(Interval(offset, offset, " "))
                # two roundings of one time must not overlap
                found[head] += [
                    Interval(min(offset + a, stop), min(offset + b, stop), label)
                    for a, b, label in own[head]
                ]
        count, start = count + 1, start + len(x)
    return Transcript(start / config.sample_rate, found, count)


def stretches(
    blocks: Iterator[NDArray[np.float32]], rate: float, longest: float = LONGEST_S
) -> Iterator[NDArray[np.float32]]:
    """Blocks of samples -> stretches (T,) of at most `longest` s, cut where it is quietest.

    Raises `ConfigError` for a `longest` below 1 s.
    """
    if not 1 <= longest < np.inf:
        raise ConfigError("longest", f"{longest} s is not from 1 s", "30 s are usual")
    most = round(longest * rate)
    kept: list[NDArray[np.float32]] = []
    size = 0
    for block in blocks:
        kept.append(block)
        size += len(block)
        while size > most:
            x = np.concatenate(kept)
            at = _quietest(x, most // 2, round(LATEST * most), max(1, round(QUIET_S * rate)))
            yield x[:at]
            kept, size = [x[at:]], len(x) - at
    if size:
        yield np.concatenate(kept)


def _quietest(x: NDArray, first: int, last: int, width: int) -> int:
    """The middle of the `width` samples of least power whose middle is from `first` to `last`."""
    part = x[first - width // 2 : last + width].astype(np.float64)
    sums = np.concatenate([[0.0], np.cumsum(part**2)])
    power = sums[width:] - sums[:-width]
    return first + int(power[: last - first].argmin())


def symbols(
    trained: Trained, output: Output, seconds: float, heads: Sequence[str]
) -> dict[str, list[Interval]]:
    """{head: symbols of the first of a batch}, which lasts so many s; times as of `transcribe`."""
    rate = trained.config.data.features.rate
    found = {}
    for head in heads:
        log_probs, steps = output.heads[head]
        first, last = (span[0, : int(steps[0])].numpy() for span in output.spans[head])
        runs = _runs(log_probs[0, : int(steps[0])], *_times(first, last))
        named = [(a / rate, b / rate, trained.inventories[head][k - 1]) for a, b, k in runs]
        found[head] = spread(named, REACH_S[head], seconds)
    return found


def _times(first: NDArray, last: NDArray) -> tuple[NDArray, NDArray]:
    """Frames (S,) under each step; those of a head that share their frames have equal parts."""
    if not len(first):
        return first.astype(float), last.astype(float)
    new = np.concatenate([[True], (first[1:] != first[:-1]) | (last[1:] != last[:-1])])
    group = np.cumsum(new) - 1
    sharing = np.bincount(group)[group]
    rank = np.arange(len(first)) - np.flatnonzero(new)[group]
    part = (last - first) / sharing
    return first + rank * part, first + (rank + 1) * part


def _runs(log_probs: Tensor, start: NDArray, end: NDArray) -> list[tuple[float, float, int]]:
    """CTC's best path (S, V) -> start, end and class of each symbol, blanks left out."""
    best = log_probs.argmax(-1).numpy()
    edges = [0, *(np.flatnonzero(best[1:] != best[:-1]) + 1).tolist(), len(best)]
    return [
        (float(start[a]), float(end[b - 1]), int(best[a]))
        for a, b in pairwise(edges)
        if b > a and best[a]
    ]


def spread(
    named: Sequence[tuple[float, float, str]], reach: float, seconds: float
) -> list[Interval]:
    """Symbols in order, in s -> intervals that reach up to `reach` s further, to the midpoint
    between neighbours at most; none before 0 or after `seconds`."""
    # a last frame may begin before the end of the samples and end after it
    rows = [[min(a, seconds), min(b, seconds)] for a, b, _ in named]
    for left, right in pairwise(rows):
        middle = (left[1] + right[0]) / 2
        left[1], right[0] = min(middle, left[1] + reach), max(middle, right[0] - reach)
    if rows:
        rows[0][0] = max(0.0, rows[0][0] - reach)
        rows[-1][1] = min(seconds, rows[-1][1] + reach)
    return [Interval(a, b, label) for (a, b), (_, _, label) in zip(rows, named, strict=True)]


def write_textgrids(folder: str | Path, transcripts: Mapping[str, Transcript]) -> list[Path]:
    """Write STEM.TextGrid of each {stem: transcript}, a tier for each head; returns their paths.

    Raises `OutputError` where it cannot be written.
    """
    paths = []
    for stem, transcript in transcripts.items():
        path = Path(folder) / f"{stem}.TextGrid"
        alignments.write_textgrid(path, transcript.tiers(), transcript.seconds)
        paths.append(path)
    return paths
