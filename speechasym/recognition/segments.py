"""Segments of long recordings, so that memory does not grow with their length.

Features are one stream over the whole recording. The model reads them in segments that end where
it is quietest, each with a margin before and after, so that a symbol near a boundary is recognised
with its context. Features that are normalised over an utterance are normalised over a segment with
its margins.

Shapes: T samples, F frames, D columns.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.auditory import filterbank
from speechasym.errors import ConfigError
from speechasym.feature_extraction import normalise
from speechasym.feature_extraction.sets import FeatureConfig

LONGEST_S = 30.0  # of a segment, without margins
# A segment ends between half and this share of the longest, so that no crumb is left for the next
LATEST_SHARE = 0.95
# Segments begin with a frame number divisible by this: strides of 2, 3, 4 keep their steps
GRID = 12
MARGIN_S = 2.0  # read before and after a segment; half of it may be needed for symbols' times
QUIET_S = 0.1  # quietness is the mean power over this time
# mean power of noise, full scale 1: what is assumed first (-50 dB), the least (below 16 bits), by
# how many dB it may rise in a second, and the factor by which sound is louder
LOUDEST_NOISE, SOFTEST_NOISE, RISE_DB, ABOVE = 1e-5, 1e-9, 5.0, 4.0


class Segment(NamedTuple):
    """A part of a recording that the model reads at once."""

    rows: NDArray[np.float32]  # (F, D) features with margins, not yet normalised over the segment
    first: int  # frame of the recording at which the rows begin
    start: int  # frame at which the segment itself begins
    end: int  # frame after its last
    silent: bool  # digital silence, apart from the margins
    until: float  # s of the recording at its end


def segments(
    blocks: Iterable[NDArray[np.float32]], config: FeatureConfig, longest: float = LONGEST_S
) -> Iterator[Segment]:
    """Cut blocks of samples (T,) into segments of at most `longest` s where it is quietest.

    Rows are those of the whole recording, except for the normalisation over an utterance, which is
    left to `normalised`. Raises `ConfigError` for a `longest` below 1 s.
    """
    if not 1 <= longest < np.inf:
        raise ConfigError("longest", f"must be at least 1 s, got {longest}", "Use 30")
    rate = config.rate
    most, margin = max(2, round(longest * rate)), round(MARGIN_S * rate)
    width = max(1, round(QUIET_S * rate))
    power = Power(filterbank.hop(config.sample_rate, rate))
    plain = replace(config, normalise="none") if config.normalise == "utterance" else config
    kept: list[NDArray[np.float32]] = []
    first = start = size = 0  # size: frames kept, from `first` on

    def segment(end: int, until: float) -> Segment:
        nonlocal kept
        kept = kept if len(kept) == 1 else [np.concatenate(kept)]
        silent = not power.frames[start - first : end - first].any()
        return Segment(kept[0][: end + margin - first], first, start, end, silent, until)

    for part in chain(plain.frames(power.watch(blocks)), [None]):
        if part is not None:
            kept.append(part)
            size += len(part)
        # wait for the margin after a segment, or for the end of the recording
        while first + size - start > most + (margin if part is not None else 0):
            near = power.frames[start - first : start - first + most]
            last = max(most // 2 + 1, int(LATEST_SHARE * most))
            boundary = start + _quietest(near, most // 2, last, width)
            yield segment(boundary, boundary / rate)
            start, dropped = boundary, max(0, boundary - margin) // GRID * GRID - first
            first, size, kept = first + dropped, size - dropped, [kept[0][dropped:]]
            power.frames = power.frames[dropped:]
    if size:
        yield segment(first + size, power.samples / config.sample_rate)


def normalised(rows: NDArray[np.float32], config: FeatureConfig) -> NDArray[np.float32]:
    """Rows (F, D) of a segment, normalised as the model expects."""
    if config.normalise != "utterance":
        return rows
    return np.concatenate(list(normalise.normalised([rows], "utterance", config.rate)))


class Power:
    """Mean power of the frames in a stream of samples."""

    def __init__(self, hop: int) -> None:
        self.hop, self.samples = hop, 0
        self.frames = np.zeros(0)

    def watch(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Yield the same blocks."""
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

    def take(self, count: int) -> NDArray:
        """Return the power of the next `count` frames, and forget it."""
        power, self.frames = self.frames[:count], self.frames[count:]
        return power

    def _add(self, frames: NDArray[np.float32]) -> None:
        self.frames = np.concatenate([self.frames, np.square(frames, dtype=np.float64).mean(1)])


class Onset:
    """Whether a part of a stream is louder than the noise before it, which is followed."""

    def __init__(self, rate: float) -> None:
        self._rise = 10 ** (RISE_DB / 10 / rate)  # a frame
        self._floor = LOUDEST_NOISE

    def __call__(self, power: NDArray) -> bool:
        """Return whether sound begins in frames with this mean power (F,), or continues."""
        mean = float(power.mean()) if len(power) else 0.0
        loud = mean > ABOVE * self._floor
        self._floor = max(SOFTEST_NOISE, min(self._floor * self._rise ** len(power), mean))
        return loud


def _quietest(power: NDArray, first: int, last: int, width: int) -> int:
    """The middle, from `first` to `last`, of the `width` frames with the least power."""
    begin = max(0, first - width // 2)
    sums = np.concatenate([[0.0], np.cumsum(power[begin : last + width])])
    width = min(width, len(sums) - 1)
    means = sums[width:] - sums[:-width]
    return first + int(means[: last - first].argmin())
