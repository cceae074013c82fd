"""From a recording to phones, letters and words, with times: what a trained run is for.

Features are one stream over the whole recording. The model hears them in stretches that end where
it is quietest, each with a margin of what is before and after, so that memory does not grow with
the recording, and a symbol near a cut is heard with what surrounds it. Features that are
normalised over an utterance are so over a stretch and its margins.

Shapes: T samples, F frames, D columns, S steps of a head, V classes.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from speechasym.annotations.intervals import Interval
from speechasym.annotations.textgrid import write_textgrid
from speechasym.audio import reading
from speechasym.auditory import filterbank
from speechasym.errors import CheckpointError, ConfigError
from speechasym.feature_extraction import normalise
from speechasym.feature_extraction.sets import FeatureConfig, FilterbankFeatures
from speechasym.levels import ctc, hierarchy
from speechasym.levels.output import ModelOutput
from speechasym.recognition.decoder import BY_LEXICON, Opened
from speechasym.training import checkpoints, models
from speechasym.training.config import HEADS, TrainConfig
from speechasym.training.labels import Inventory

LONGEST_S = 30.0  # a stretch, without margins
LATEST = 0.95  # share of it in which the quietest place is looked for, so that no crumb is left
# Stretches begin with a frame of which this is a divisor: steps of strides 2, 3, 4 stay the same
GRID = 12
MARGIN_S = 2.0  # heard before and after a stretch; half of it may be needed for symbols' times
QUIET_S = 0.1  # quietness is the mean power over so long
# How far a symbol reaches beyond its steps where no other is near, s: CTC marks a place in a
# symbol, not its extent
REACH_S = {"phones": 0.08, "letters": 0.08, "words": 0.25, BY_LEXICON: 0.08}
DELAY_S = 0.01  # of what the filterbank gives


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
        return hierarchy.count_parameters(self.model)

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
    model, config, found = models.open_model(folder)
    inventories = {head: found[head] for head in HEADS if head in found}
    meta = json.loads((folder / checkpoints.MODEL_META).read_text("utf-8"))
    return Trained(folder, model, config, inventories, meta["sha256"])


@torch.no_grad()
def heard(trained: Trained, rows: NDArray[np.float32]) -> ModelOutput:
    """What the model says of features (F, D), as a batch of one."""
    features = torch.from_numpy(np.ascontiguousarray(rows, np.float32))[None]
    output: ModelOutput = trained.model(features, torch.tensor([features.shape[1]]))
    return output


def features_of(trained: Trained, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples (T,), at the rate that the run's features want -> features (F, D)."""
    return np.concatenate(list(trained.config.data.features.frames([x])))


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


class Stretch(NamedTuple):
    """A part of a recording that is heard at once."""

    rows: NDArray[np.float32]  # (F, D) features, with margins, not normalised over the stretch
    first: int  # frame of the recording that they begin with
    start: int  # frame at which the stretch itself begins,
    end: int  # and the one after its last
    silent: bool  # digital silence, without its margins
    until: float  # s of the recording at its end


def transcribe(
    run: str | Path | Trained,
    path: str | Path,
    *,
    heads: Sequence[str] | None = None,
    longest: float = LONGEST_S,
    channel: str | int | None = None,
    words: Opened | None = None,
) -> Transcript:
    """Recognise what is said in a recording of any sample rate, length and number of channels.

    Times: a symbol holds the steps in which CTC writes it. The gap to the next symbol is shared
    half and half where both reach over it (`REACH_S`: 80 ms for phones and letters, 250 ms for
    words); else each reaches so far, and nothing is said between them. So times are good to some
    tens of ms for phones, and tell of words rather where than how long they are.

    A stretch of digital silence has no symbols, whatever the model makes of it. Nothing else is
    refused: music and noise are heard as if they were speech, and give some symbols.

    Args:
        run: a finished run's folder, or what `open_run` gave.
        heads: which to read; None: all that the run has.
        longest: s that are heard at a time, with `MARGIN_S` on either side; what is longer is cut
            at its quietest 0.1 s in the latter half of a stretch.
        channel: of several, "mean" or a number from 0; None: as in training.
        words: what `word_decoding.open_decoder` gave for this run: words by a lexicon and a
            language model too, `BY_LEXICON`, stretch by stretch.

    Raises:
        AudioError: a recording that cannot be read or used.
        CheckpointError: see `open_run`; ConfigError: a head that the run does not have.
    """
    trained = open_run(run)
    heads = list(trained.inventories) if heads is None else list(heads)
    trained.check_heads(heads, "heads")
    config = trained.config.data.features
    blocks = reading.blocks(
        path, config.sample_rate, config.channel if channel is None else channel
    )
    names = heads if words is None else [*heads, BY_LEXICON]
    found: dict[str, list[Interval]] = {name: [] for name in names}
    count, seconds, alone = 0, 0.0, True
    for stretch in stretches(blocks, config, longest):
        own: dict[str, list[Interval]] = {name: [] for name in names}
        begin = stretch.start / config.rate
        if not stretch.silent:
            rows = _normalised(stretch.rows, config)
            output, offset = heard(trained, rows), stretch.first / config.rate
            own = _places(trained, output, heads, offset)
            if words is not None:
                own[BY_LEXICON] = words_by_lexicon(trained, output, words, offset)
        for head in names:
            reach = 0.0 if alone or stretch.silent else MARGIN_S / 2
            join(found[head], own[head], begin, reach)
            if stretch.silent and head == "letters" and found[head]:
                found[head].append(Interval(begin, begin, " "))  # no word goes on over silence
        count, seconds, alone = count + 1, stretch.until, stretch.silent
    timed = {head: spread(found[head], REACH_S[head], seconds) for head in names}
    return Transcript(seconds, timed, count)


def stretches(
    blocks: Iterable[NDArray[np.float32]], config: FeatureConfig, longest: float = LONGEST_S
) -> Iterator[Stretch]:
    """Blocks of samples -> stretches of at most `longest` s, cut where it is quietest.

    Filters and extractors go on over the cuts: rows are those of the whole recording, but for the
    normalisation over an utterance, which is left to do. No more than a stretch with its margins,
    and a block, is in memory. Raises `ConfigError` for a `longest` below 1 s.
    """
    if not 1 <= longest < np.inf:
        raise ConfigError("longest", f"{longest} s is not from 1 s", "30 s are usual")
    rate = config.rate
    most, margin = max(2, round(longest * rate)), round(MARGIN_S * rate)
    width = max(1, round(QUIET_S * rate))
    power = _Power(filterbank.hop(config.sample_rate, rate))
    plain = replace(config, normalise="none") if config.normalise == "utterance" else config
    kept: list[NDArray[np.float32]] = []
    first = start = size = 0  # size: frames kept, from `first` on

    def stretch(end: int, until: float) -> Stretch:
        nonlocal kept
        kept = kept if len(kept) == 1 else [np.concatenate(kept)]
        silent = not power.frames[start - first : end - first].any()
        return Stretch(kept[0][: end + margin - first], first, start, end, silent, until)

    for part in chain(plain.frames(power.of(blocks)), [None]):
        if part is not None:
            kept.append(part)
            size += len(part)
        # the margin after a stretch has to be there, or the end of the recording
        while first + size - start > most + (margin if part is not None else 0):
            offset = start - first
            near = power.frames[offset : offset + most]
            at = start + _quietest(near, most // 2, max(most // 2 + 1, int(LATEST * most)), width)
            yield stretch(at, at / rate)
            start, gone = at, max(0, at - margin) // GRID * GRID - first
            first, size, kept = first + gone, size - gone, [kept[0][gone:]]
            power.frames = power.frames[gone:]
    if size:
        yield stretch(first + size, power.samples / config.sample_rate)


class _Power:
    """Mean power of the frames that go by."""

    def __init__(self, hop: int) -> None:
        self.hop, self.samples = hop, 0
        self.frames = np.zeros(0)

    def of(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """The same blocks."""
        rest = np.zeros(0, np.float32)
        for x in blocks:
            self.samples += len(x)
            rest = np.concatenate([rest, x])
            whole = len(rest) // self.hop * self.hop
            self._add(rest[:whole].reshape(-1, self.hop))
            rest = rest[whole:]
            yield x
        if len(rest):
            self._add(rest[None])

    def _add(self, frames: NDArray[np.float32]) -> None:
        self.frames = np.concatenate([self.frames, np.square(frames, dtype=np.float64).mean(1)])


def _quietest(power: NDArray, first: int, last: int, width: int) -> int:
    """The middle of the `width` frames of least power whose middle is from `first` to `last`."""
    begin = max(0, first - width // 2)
    sums = np.concatenate([[0.0], np.cumsum(power[begin : last + width])])
    width = min(width, len(sums) - 1)
    means = sums[width:] - sums[:-width]
    return first + int(means[: last - first].argmin())


def _normalised(rows: NDArray[np.float32], config: FeatureConfig) -> NDArray[np.float32]:
    """Rows (F, D) of a stretch, as the model wants them."""
    if config.normalise != "utterance":
        return rows
    return np.concatenate(list(normalise.normalised([rows], "utterance", config.rate)))


def join(before: list[Interval], after: list[Interval], cut: float, reach: float) -> None:
    """Add the symbols of a stretch to those before it, which ended at `cut` s; both have margins.

    They change over at one time within `reach` s of the cut: in the middle of the widest gap
    between symbols, of whichever side, so that none is lost or doubled where both sides hear it a
    little earlier or later.
    """
    near = sorted(
        m for i in (*_since(before, cut - reach), *after) if abs((m := _middle(i)) - cut) < reach
    )
    edges = [cut - reach, *near, cut + reach]
    _, at = max(((b - a, (a + b) / 2) for a, b in pairwise(edges)), default=(0.0, cut))
    while before and _middle(before[-1]) >= at:
        before.pop()
    if before:
        before[-1] = before[-1]._replace(end=min(before[-1].end, at))
    later = [i for i in after if _middle(i) >= at]
    before += [i._replace(start=max(i.start, at)) for i in later[:1]] + later[1:]


def _since(intervals: Sequence[Interval], time: float) -> Iterator[Interval]:
    """The last ones, from `time` on."""
    for interval in reversed(intervals):
        if _middle(interval) < time:
            return
        yield interval


def _middle(interval: Interval) -> float:
    return (interval.start + interval.end) / 2


def symbols(
    trained: Trained, output: ModelOutput, seconds: float, heads: Sequence[str]
) -> dict[str, list[Interval]]:
    """{head: symbols of the first of a batch}, which lasts so many s; times as of `transcribe`."""
    found = _places(trained, output, heads)
    return {head: spread(own, REACH_S[head], seconds) for head, own in found.items()}


def _places(
    trained: Trained, output: ModelOutput, heads: Sequence[str], offset: float = 0.0
) -> dict[str, list[Interval]]:
    """{head: where CTC's best path writes each symbol}, of features that begin at `offset` s."""
    config = trained.config.data.features
    offset -= delay_of(config)
    found = {}
    for head in heads:
        log_probs, steps = output.heads[head]
        first, last = (span[0, : int(steps[0])].numpy() for span in output.spans[head])
        start, end = (times.tolist() for times in step_times(first, last))
        found[head] = [
            Interval(
                max(0.0, start[a] / config.rate + offset),
                max(0.0, end[b - 1] / config.rate + offset),
                trained.inventories[head][k - 1],
            )
            for a, b, k in ctc.runs(log_probs[0, : int(steps[0])].argmax(-1))
        ]
    return found


def words_by_lexicon(
    trained: Trained, output: ModelOutput, words: Opened, offset: float = 0.0
) -> list[Interval]:
    """The best words by lexicon and language model of the first of a batch, from their first to
    their last step, of features that begin at `offset` s."""
    config, decoder = trained.config.data.features, words.decoder
    offset -= delay_of(config)
    heads = {h: output.heads[h] for h in decoder.config.heads}
    posteriors = {h: log_probs[0, : int(steps[0])] for h, (log_probs, steps) in heads.items()}
    said = decoder.decode(posteriors)[0].words
    head, spans = decoder.spans(posteriors, said)
    count = len(posteriors[head])
    start, end = step_times(*(span[0, :count].numpy() for span in output.spans[head]))
    return [
        Interval(
            max(0.0, start[a] / config.rate + offset),
            max(0.0, end[b] / config.rate + offset),
            word,
        )
        for word, (a, b) in zip(said, spans, strict=True)
    ]


def delay_of(config: FeatureConfig) -> float:
    """s by which steps are later than what is heard in them: the filters' delay, as measured."""
    return DELAY_S if isinstance(config, FilterbankFeatures) and not config.align else 0.0


def step_times(first: NDArray, last: NDArray) -> tuple[NDArray, NDArray]:
    """Frames (S,) under each step; those of a head that share their frames have equal parts."""
    if not len(first):
        return first.astype(float), last.astype(float)
    new = np.concatenate([[True], (first[1:] != first[:-1]) | (last[1:] != last[:-1])])
    group = np.cumsum(new) - 1
    sharing = np.bincount(group)[group]
    rank = np.arange(len(first)) - np.flatnonzero(new)[group]
    part = (last - first) / sharing
    return first + rank * part, first + (rank + 1) * part


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
        write_textgrid(path, transcript.tiers(), transcript.seconds)
        paths.append(path)
    return paths
