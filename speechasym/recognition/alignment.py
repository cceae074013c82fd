"""Forced alignment: when each known word, phone and letter of a recording is said.

CTC's best path through the known symbols tells in which steps each is written [1]. That marks a
point within a symbol, not where it begins and ends, and a step lasts 30 ms in the presets. So
- the model reads the features `SHIFTS` times, each time from one frame later on, and a symbol's
  point is the mean over these;
- a boundary is put where the spectrum changes most between two points: the split of the levels of
  auditory channels, 200 times a second, into two parts with the least squared distance to the
  parts' means, kept near the middle by a weak prior.
docs/alignment.md shows what each of these contributes.

Shapes: T samples, F frames, D columns, C channels, S steps of a head, V classes, L symbols.

[1] L. Kürzinger et al., "CTC-segmentation of large corpora for German end-to-end speech
    recognition", SPECOM 2020: known text on CTC's posteriors.
"""

from collections.abc import Sequence
from functools import cache
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechasym.annotations.intervals import Interval
from speechasym.auditory.gammatone import Gammatone
from speechasym.errors import AlignmentError, ConfigError
from speechasym.language.letters import SPACE, spell
from speechasym.levels import ctc
from speechasym.recognition import pronounced_words
from speechasym.recognition.pronounced_words import Pronounce, Word
from speechasym.recognition.text_fit import TextFit, text_fit
from speechasym.recognition.trained_model import TrainedModel, step_frames
from speechasym.training import cut_features, labels

if TYPE_CHECKING:
    from lhotse.cut import Cut

SHIFTS = 3  # frames by which the features are shifted: 0, 1, 2, as the presets' stride is 3
CHANNELS, LOW_HZ = 32, 100.0  # of the levels that boundaries are found in,
LEVEL_RATE = 200.0  # their frames per second,
LEVEL_RANGE_DB = 60.0  # and how far below the loudest they are told apart
LEVEL_DELAY_S = 0.005  # by which they are late
PRIOR = 0.1  # on a boundary half-way between points, in mean squared distance a column
PAUSE_S = 0.15  # words whose nearest symbols' points are further apart have a pause between them
EDGE_S = 0.25  # a symbol extends at most so far into a pause,
USUAL_S, USUAL_SPREAD_S, USUAL_PRIOR = 0.02, 0.2, 2.0  # and usually so far
ADJACENT_S = 1e-3  # phones that are so near are neighbours
MOST = 1 << 28  # steps times symbols that can be aligned at once: 30 min of speech

AlignmentHead = Literal["phones", "letters"]
_Steps = tuple[Tensor, NDArray[np.float64]]  # log p (S, V); (S,) frame in the middle of each step


class Alignment(NamedTuple):
    """When each known symbol is said."""

    seconds: float  # length of the recording
    tiers: dict[str, list[Interval]]  # phones, words, letters, as far as they are known
    score: float  # mean log posterior of the symbols at their best steps: near 0 is certain
    head: str  # phones or letters: whichever gave the times of the words
    fit: TextFit | None = None  # of the text to the sound, if its phones are aligned


def align(
    trained: TrainedModel,
    source: "NDArray[np.float32] | Cut",
    words: str | Sequence[str] | None = None,
    *,
    pronounce: Pronounce | None = None,
    head: AlignmentHead | None = None,
    name: str = "samples",
) -> Alignment:
    """Find when the words of a recording are said.

    Words get their times from their phones if those are known, from the cut or `pronounce`;
    otherwise from their letters. Of several pronunciations the most likely one is taken, word by
    word while the others keep their first one.

    Args:
        source: a cut, or samples (T,) at the rate that the model expects.
        words: what is said; default: the cut's own text, with the phones of its alignment if it
            has one (the symbols only, not their times).
        pronounce: returns the pronunciations of a word; default: words that come without phones
            are aligned by letters.
        head: the head that determines the times of words; default: phones if they are known.
        name: of the samples, for errors.

    Raises:
        MissingWordError: a word without pronunciation.
        AlignmentError: a symbol unknown to the run, too few steps for the symbols, or no words.
        AudioError, LabelError: a recording or a text that cannot be read.
        ConfigError: a head that the run does not have, several runs, or no words for samples.
    """
    if trained.members:
        raise ConfigError("run", f"{trained.name} cannot align together", "Give one run")
    config = trained.feature_config
    if isinstance(source, np.ndarray):
        if words is None:
            raise ConfigError("words", "needed with samples", "Give the words")
        seconds, x, rows = len(source) / config.sample_rate, source, trained.features(source)
    else:
        name, seconds = f"cut {source.id}", source.duration
        task = cut_features.FeatureTask(source, config)
        x = cut_features.samples_of(task)
        rows = cut_features.features_of(task, x)
    if words is not None:
        known_words = pronounced_words.words_of_text(trained, words, pronounce, head, name)
    else:
        known_words = pronounced_words.words_of_cut(trained, source, pronounce, head)
    if not known_words:
        raise AlignmentError(name, "its text has no words", "Give what is said, or leave it out")
    main = _head_for(trained, known_words, head, name)
    texts = [word.text for word in known_words if word.text is not None]
    heads = [main]
    if "letters" in trained.inventories and main != "letters" and texts:
        heads.append("letters")
    shifted = _shifted_posteriors(trained, rows, heads)
    level = levels_of(x, config.sample_rate)
    tiers: dict[str, list[Interval]] = {}
    score, fit = 0.0, None
    for which in heads:
        inventory, posteriors = trained.inventories[which], shifted[which]
        if which == "phones":
            chosen = _likeliest_pronunciations(inventory, posteriors[0][0], known_words)
            symbols = [symbol for row in chosen for symbol in row]
            numbers = [number for number, row in enumerate(chosen) for _ in row]
        else:
            symbols = spell(texts)
            numbers = np.cumsum([symbol == SPACE for symbol in symbols]).tolist()
        try:
            points, mean, spans = _points(posteriors, inventory, symbols, name)
        except AlignmentError:
            if which == main:
                raise
            continue  # letters are optional: too few steps for them are not an error
        heard = points / config.rate - trained.delay + LEVEL_DELAY_S
        points = np.clip(heard * LEVEL_RATE, 0, len(level))
        edges = np.array(boundaries(level, points, numbers, LEVEL_RATE)) / LEVEL_RATE
        limited = np.minimum(edges, seconds).tolist()
        timed = [Interval(a, b, s) for (a, b), s in zip(limited, symbols, strict=True)]
        tiers[which] = [i for i in timed if i.label != SPACE]
        if which == "phones":
            row = labels.encode(symbols, labels.classes(inventory))
            fit = text_fit(posteriors[0][0].numpy(), spans, row, seconds)
        if which == main:
            score = mean
            texts_by_number = [word.text for word in known_words] if main == "phones" else texts
            tiers["words"] = _words_around(timed, numbers, texts_by_number)
    order = ("phones", "words", "letters")
    known = {tier: tiers[tier] for tier in order if tier in tiers}
    return Alignment(seconds, known, score, main, fit)


def _head_for(
    trained: TrainedModel, words: Sequence[Word], head: AlignmentHead | None, name: str
) -> AlignmentHead:
    """Return the head that determines the times."""
    if head is not None:
        trained.check_heads([head], "head")
    known = all(word.pronunciations for word in words)
    if head != "letters" and known and "phones" in trained.inventories:
        return "phones"
    problem, remedy = "its phones are not known", "Give a lexicon"
    if head == "phones":
        raise AlignmentError(name, problem, f"{remedy}, or align by letters")
    if "letters" not in trained.inventories:
        raise AlignmentError(name, f"{problem}, and the run has no head for letters", remedy)
    return "letters"


def _words_around(
    symbols: Sequence[Interval], numbers: Sequence[int], texts: Sequence[str | None]
) -> list[Interval]:
    """Return words from the start of their first symbol to the end of their last."""
    words = []
    for number, pairs in groupby(zip(numbers, symbols, strict=True), key=itemgetter(0)):
        row, text = [s for _, s in pairs if s.label != SPACE], texts[number]
        if row and text is not None:
            words.append(Interval(row[0].start, row[-1].end, text))
    return words


def _shifted_posteriors(
    trained: TrainedModel, rows: NDArray[np.float32], heads: Sequence[str]
) -> dict[str, list[_Steps]]:
    """Return what each head reads, step by step, from each of the first `SHIFTS` frames on."""
    steps: dict[str, list[_Steps]] = {head: [] for head in heads}
    for shift in range(min(SHIFTS, len(rows))):
        output = trained.output(rows[shift:])
        for head in heads:
            log_probs, frames = step_frames(output, head)
            log_probs = trained.without_contexts(head, log_probs)
            steps[head].append((log_probs, (frames[:, 0] + frames[:, 1]) / 2 + shift))
    return steps


def _likeliest_pronunciations(
    inventory: Sequence[str], log_probs: Tensor, words: Sequence[Word]
) -> list[tuple[str, ...]]:
    """Return the most likely pronunciation of each word while all others have their first one."""
    chosen = [word.pronunciations[0] for word in words]
    others = [(number, row) for number, word in enumerate(words) for row in word.pronunciations[1:]]
    if not others:
        return chosen
    sequences = [chosen, *([*chosen[:n], row, *chosen[n + 1 :]] for n, row in others)]
    known = labels.classes(inventory)
    classes = [labels.encode([p for row in rows for p in row], known) for rows in sequences]
    first, *scores = ctc.log_likelihoods(log_probs, classes)
    best = [first] * len(words)
    for (number, row), score in zip(others, scores, strict=True):
        if score > best[number]:
            chosen[number], best[number] = row, score
    return chosen


def _points(
    shifted: Sequence[_Steps], inventory: Sequence[str], symbols: Sequence[str], name: str
) -> tuple[NDArray[np.float64], float, list[tuple[int, int]]]:
    """Mean point of each symbol (L,) in frames, mean log posterior at their best steps, and their
    steps without a shift.
    """
    row = labels.encode(symbols, labels.classes(inventory))
    needed, steps = ctc.steps_needed(row), len(shifted[0][0])
    if needed > steps:
        problem = f"{len(row)} symbols need {needed} steps of the model, and it has {steps}"
        raise AlignmentError(name, problem, "Check that this text is what is said, or leave it out")
    if steps * len(row) > MOST:
        problem = f"{len(row)} symbols in {steps} steps are too many at once"
        raise AlignmentError(name, problem, "Cut it at pauses")
    points, scores, spans = [], [], []
    for log_probs, centre in shifted:
        if needed > len(log_probs):
            continue  # a shifted one may have a step less
        values = log_probs.exp().numpy()
        point, score = np.empty(len(row)), 0.0
        spans.append(ctc.align(log_probs, row))
        for number, (a, b) in enumerate(spans[-1]):
            weight = values[a:b, row[number]].astype(np.float64) + 1e-9
            point[number] = (weight * centre[a:b]).sum() / weight.sum()
            score += float(np.log(weight.max()))
        points.append(point)
        scores.append(score / len(row))
    return np.mean(points, 0), float(np.mean(scores)), spans[0]


def levels_of(x: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Return the levels (F, C) of auditory channels, `LEVEL_RATE` frames a second, normalised.

    Mean 0 and mean square 1 over channels and frames, so that a loud channel counts for more.

    Args:
        x: (T,) samples.
    """
    with torch.no_grad():
        bank = _filterbank(sample_rate)
        level = bank.level_db(bank(torch.from_numpy(x))[0]).numpy().T.astype(np.float32)
    level = np.maximum(level, level.max(initial=-np.inf) - LEVEL_RANGE_DB)
    level -= level.mean()
    return level / (level.std() or 1.0)


@cache
def _filterbank(sample_rate: int) -> Gammatone:
    return Gammatone(sample_rate, channels=CHANNELS, low_hz=LOW_HZ, frame_rate=LEVEL_RATE)


def boundaries(
    x: NDArray[np.float32], points: Sequence[float] | NDArray, words: Sequence[int], rate: float
) -> list[tuple[float, float]]:
    """Return where each symbol begins and ends, in frames.

    Neighbours share a boundary where the levels change most between their points. Between words
    whose points are more than `PAUSE_S` apart there is a pause, and each extends into it up to the
    greatest change within `EDGE_S`, as at the beginning and the end.

    Args:
        x: (F, C), see `levels_of`.
        points: (L,) frames, in order.
        words: (L,) number of the word that each symbol belongs to.
        rate: frames per second.
    """
    at = np.asarray(points, np.float64)
    edge, usual, spread = EDGE_S * rate, USUAL_S * rate, USUAL_SPREAD_S * rate

    def begins(point: float, least: float) -> float:
        expected = max(least, point - usual)
        return _change(x, max(least, point - edge), point, expected, spread, USUAL_PRIOR)

    def ends(point: float, most: float) -> float:
        expected = min(most, point + usual)
        return _change(x, point, min(most, point + edge), expected, spread, USUAL_PRIOR)

    starts, stops = [begins(at[0], 0.0)], []
    for (a, b), (left, right) in zip(pairwise(at), pairwise(words), strict=True):
        middle = (a + b) / 2
        if left != right and b - a > PAUSE_S * rate:
            stops.append(ends(a, middle))
            starts.append(begins(b, middle))
        else:
            stops.append(_change(x, a, b, middle, max(2.0, (b - a) / 2)))
            starts.append(stops[-1])
    stops.append(ends(at[-1], float(len(x))))
    return [(float(a), float(b)) for a, b in zip(starts, stops, strict=True)]


def _change(
    x: NDArray, first: float, last: float, expected: float, spread: float, prior: float = PRIOR
) -> float:
    """The frame from `first` to `last` at which the rows on either side differ most.

    Minimises the sum of squared distances to the means of both sides, as mean square a column,
    plus `prior` times the squared distance from `expected`, in units of `spread`.
    """
    low, high = max(0, int(np.floor(first))), min(len(x), int(np.ceil(last)) + 1)
    frames = np.arange(max(low + 1, int(np.ceil(first))), min(high, int(np.floor(last)) + 1))
    if len(frames) < 2:
        return expected
    part = x[low:high].astype(np.float64)
    sums, squares = part.cumsum(0), (part**2).sum()
    n = (frames - low)[:, None]
    left = sums[frames - low - 1]
    right = sums[-1] - left
    between = (left**2 / n + right**2 / (len(part) - n)).sum(1)
    cost = (squares - between) / x.shape[1] + prior * ((frames - expected) / spread) ** 2
    return float(frames[cost.argmin()])


def deviations(trained: TrainedModel, alignment: Alignment, cut: "Cut") -> dict[str, list[float]]:
    """Return by how many s boundaries are late, where the cut has times of the same symbols.

    words: starts and ends. phones: starts of those that begin where the previous one ends, without
    a dropped silence between them; if the cut's own phones were aligned.
    """
    late: dict[str, list[float]] = {}
    reference, words = labels.aligned(cut, "word"), alignment.tiers.get("words", [])
    if len(reference) == len(words):
        pairs = zip(words, reference, strict=True)
        late["words"] = [t for a, b in pairs for t in (a.start - b.start, a.end - b.end)]
    sounds = alignment.tiers.get("phones", [])
    row = labels.timed_phones(cut, trained.config.data.labels) if sounds else []
    if [phone.label for phone in row] == [i.label for i in sounds]:
        late["phones"] = [
            sound.start - b.start
            for sound, (a, b) in zip(sounds[1:], pairwise(row), strict=True)
            if b.start - a.end < ADJACENT_S
        ]
    return {kind: times for kind, times in late.items() if times}
