"""Discovered units against phones: PNMI, many-to-one phone error, rate of segments, bit rate.

Units and phones are compared frame by frame, or as sequences. With few frames and many units, units
share information with phones by chance alone; `chance` says how much, with the same units and
phones moved against each other in time.

Shapes: P phones, U units, S speakers.

[1] W.-N. Hsu et al., "HuBERT: self-supervised speech representation learning by masked prediction
    of hidden units", IEEE/ACM TASLP 29, 2021: phone-normalised mutual information.
[2] E. Dunbar et al., "The Zero Resource Speech Challenge 2019: TTS without T", Interspeech 2019:
    the bit rate.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from speechasym.annotations.intervals import Interval
from speechasym.config import check_range
from speechasym.errors import ScoringError
from speechasym.scoring.error_rates import Speakers

RATE = 100.0  # frames a second that are compared
SHIFTS = (0.25, 0.4, 0.6, 0.75)  # of the length, for chance
NONE = -1  # unit of a frame outside of all segments
Segments = Mapping[str, Sequence[Interval]]  # {utterance: in order of time}


class UnitMeasure(NamedTuple):
    """A measure, with a 95 % interval over speakers; NaN for fewer than two.

    Intervals are the jackknife's: each speaker is left out once. Drawing speakers with replacement
    would not do, because fewer different frames make the information of units larger.
    """

    value: float
    low: float
    high: float


class UnitScores(NamedTuple):
    """How discovered units go with phones; see `score_units`."""

    pnmi: UnitMeasure  # I(phone; unit) / H(phone), 0 to 1 [1]
    chance: UnitMeasure  # the same, with phones moved in time against the units
    purity: UnitMeasure  # share of frames with the phone that their unit has most often
    phone_error: UnitMeasure  # of sequences, each unit read as its phone
    segments: UnitMeasure  # a second
    bits: UnitMeasure  # a second: entropy of the units times segments [2]
    used: int  # units that occur
    seconds: float
    speakers: int


class _Counts(NamedTuple):
    """What is summed over the utterances of a speaker."""

    together: NDArray[np.float64]  # (P, U) frames
    moved: NDArray[np.float64]  # (P, U) frames, with phones moved
    tokens: NDArray[np.float64]  # (U,) segments
    seconds: float


def score_units(
    references: Segments,
    units: Segments,
    speakers: Speakers,
    *,
    rate: float = RATE,
) -> UnitScores:
    """Score discovered units against phones with times.

    A frame has the phone and the unit that hold its middle; frames without a phone are left out.
    For the phone error each unit is read as the phone that it has most often with the other
    speakers (with a single speaker: with this one), and repetitions are merged, in the reference
    too.

    Args:
        references: phones of each utterance.
        units: units of each utterance.
        speakers: the speaker of an utterance, by a function or mapping.
        rate: frames a second.

    Raises:
        ScoringError: nothing to score, an utterance without units, or one without a speaker.

    Example:
        >>> phones = {"a": [Interval(0, 0.1, "s"), Interval(0.1, 0.3, "iy")]}
        >>> units = {"a": [Interval(0, 0.1, "4"), Interval(0.1, 0.3, "7")]}
        >>> score_units(phones, units, {"a": "one"}).pnmi.value
        1.0
    """
    check_range("rate", rate, "100", above=True)
    if not any(references.values()):
        raise ScoringError("references", "hold no phones", "Give phones with times")
    symbols = _numbered(references)
    known = _numbered(units)
    who: dict[str, list[str]] = {}
    for name in references:
        if name not in units:
            raise ScoringError(f"utterance {name}", "has no units", "Find its units first")
        who.setdefault(_speaker(speakers, name), []).append(name)
    rows = {
        speaker: _counted(names, references, units, symbols, known, rate)
        for speaker, names in who.items()
    }
    total = np.sum([row.together for row in rows.values()], 0)
    wrong = np.array([
        _errors(names, references, units, known, symbols, rate,
                total - rows[speaker].together if len(rows) > 1 else total)
        for speaker, names in who.items()
    ], float)  # fmt: skip
    counts = list(rows.values())
    weights = np.ones((1, len(counts)))  # of all speakers, then of all but one
    if len(counts) > 1:
        weights = np.concatenate([weights, 1 - np.eye(len(counts))])
    together, moved, tokens = (
        np.stack(parts) for parts in zip(*(row[:3] for row in counts), strict=True)
    )
    seconds = np.array([row.seconds for row in counts])
    values = np.array([
        [
            normalised_information(frames := np.tensordot(w, together, 1)),
            normalised_information(np.tensordot(w, moved, 1)),
            frames.max(0).sum() / frames.sum(),
            (w @ wrong[:, 0]) / max(1.0, w @ wrong[:, 1]),
            (segments := w @ tokens).sum() / (w @ seconds),
            entropy(segments) / np.log(2) * segments.sum() / (w @ seconds),
        ]
        for w in weights
    ])  # fmt: skip
    pnmi, chance, purity, phone_error, rate_of, bits = map(_measure, values.T)
    return UnitScores(
        pnmi, chance, purity, phone_error, rate_of, bits, int((total.sum(0) > 0).sum()),
        float(seconds.sum()), len(counts),
    )  # fmt: skip


def normalised_information(counts: NDArray) -> float:
    """Return I(P; U) / H(P) of counts (P, U), 0 to 1; 0 where P is certain."""
    phones = entropy(counts.sum(1))
    if phones <= 0:
        return 0.0
    return (phones + entropy(counts.sum(0)) - entropy(counts.ravel())) / phones


def entropy(counts: NDArray) -> float:
    """Return the entropy in nats of counts (N,)."""
    share = counts[counts > 0] / max(1e-300, counts.sum())
    return float(-(share * np.log(share)).sum())


def framewise(intervals: Sequence[Interval], frames: int, rate: float = RATE) -> list[str | None]:
    """Return the label (F,) of the interval that holds the middle of each frame; None outside."""
    labels: list[str | None] = [None] * frames
    for interval in intervals:
        first, end = (
            min(frames, max(0, int(np.ceil(time * rate - 0.5 - 1e-9))))
            for time in (interval.start, interval.end)
        )
        labels[first:end] = [interval.label] * (end - first)
    return labels


def _measure(row: NDArray[np.float64]) -> UnitMeasure:
    from scipy.stats import t

    value, count = float(row[0]), len(row) - 1
    if count < 2:
        return UnitMeasure(value, np.nan, np.nan)
    reach = t.ppf(0.975, count - 1) * np.sqrt((count - 1) * row[1:].var())
    return UnitMeasure(value, value - float(reach), value + float(reach))


def _numbered(intervals: Segments) -> dict[str, int]:
    labels = {interval.label for row in intervals.values() for interval in row}
    return {label: number for number, label in enumerate(sorted(labels))}


def _speaker(speakers: Speakers, name: str) -> str:
    try:
        return speakers(name) if callable(speakers) else speakers[name]
    except KeyError as error:
        raise ScoringError(f"utterance {name}", "has no speaker", "Give it one") from error


def _frames(
    name: str, references: Segments, units: Segments, symbols: Mapping[str, int],
    known: Mapping[str, int], rate: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
    """Return the numbers of phone and unit of each frame that has a phone."""
    rows = references[name], units[name]
    frames = int(np.floor(max((i.end for row in rows for i in row), default=0.0) * rate + 0.5))
    phones, found = (framewise(row, frames, rate) for row in rows)
    kept = [n for n, phone in enumerate(phones) if phone is not None]
    return (
        np.array([symbols[str(phones[n])] for n in kept], np.int64),
        np.array([known[str(found[n])] if found[n] is not None else NONE for n in kept], np.int64),
    )


def _counted(
    names: Sequence[str], references: Segments, units: Segments, symbols: Mapping[str, int],
    known: Mapping[str, int], rate: float,
) -> _Counts:  # fmt: skip
    pairs = [_frames(name, references, units, symbols, known, rate) for name in names]
    phones, found = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    found = np.where(found == NONE, len(known), found)
    shape = len(symbols), len(known) + 1  # the last one for frames without a unit
    together, moved = np.zeros(shape), np.zeros(shape)
    np.add.at(together, (phones, found), 1)
    for shift in SHIFTS:
        np.add.at(moved, (np.roll(phones, int(shift * len(phones))), found), 1 / len(SHIFTS))
    tokens = np.zeros(shape[1])
    for name in names:
        for interval in units[name]:
            tokens[known[interval.label]] += 1
    return _Counts(together, moved, tokens, len(phones) / rate)


def _errors(
    names: Sequence[str], references: Segments, units: Segments, known: Mapping[str, int],
    symbols: Mapping[str, int], rate: float, counts: NDArray,
) -> tuple[int, int]:  # fmt: skip
    """Return the errors of a speaker's sequences, and how many phones there are."""
    phone_of = counts.argmax(0)
    wrong = length = 0
    for name in names:
        phones, found = _frames(name, references, units, symbols, known, rate)
        right, heard = ([key for key, _ in groupby(r)] for r in (phones, phone_of[found]))
        wrong, length = wrong + Levenshtein.distance(right, heard), length + len(right)
    return wrong, length
