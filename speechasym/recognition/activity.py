"""Speech activity: where a recording has speech, noise and silence.

A logistic function of the evidence (`activity_evidence`) gives each frame of 10 ms the probability
that somebody speaks. Hysteresis turns it into segments: speech begins where the probability
exceeds one threshold and ends where it is below a lower one; gaps and sounds that are too short
do not count. What is not speech is silence if its level is low, else noise.

Shapes: T samples, F frames.
"""

import json
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from speechasym import files
from speechasym.annotations.intervals import Interval
from speechasym.audio import sources
from speechasym.audio.sources import Source
from speechasym.config import check_range
from speechasym.errors import AudioError, CheckpointError
from speechasym.ops import scan
from speechasym.recognition import activity_evidence
from speechasym.recognition.activity_evidence import FRAME_RATE, RATE
from speechasym.recognition.segments import Power
from speechasym.recognition.speech import Logistic

FILE = Path(__file__).with_name("activity.json")  # written by scripts/fit_activity.py
LABELS = ("speech", "noise", "silence")
SHORTEST_S = 0.1  # recordings must be longer
LEVEL_S = 0.1  # over which the level is taken
LOUD = 0.95  # the share of frames below the level that counts as that of the recording


@dataclass(frozen=True, kw_only=True)
class ActivityConfig:
    """Where segments begin and end. Raises `ConfigError` for values out of range."""

    # chosen on local-dev: docs/segments.md
    threshold: float = 0.75  # probability at which speech begins
    margin: float = 2.0  # by how much lower, in log odds, it is where speech ends
    shortest_speech: float = 0.2  # s; shorter sounds are not speech
    shortest_gap: float = 0.2  # s; shorter gaps in speech, and shorter noises, do not count
    silence_db: float = -60.0  # level re full scale below which there is silence
    silence_below_db: float = 35.0  # or by how much it is below the level of the recording

    def __post_init__(self) -> None:
        check_range("threshold", self.threshold, "0.75", 0.0, 1.0, above=True, below=True)
        for name in ("margin", "shortest_speech", "shortest_gap", "silence_below_db"):
            check_range(name, getattr(self, name), "0.2", 0.0)
        check_range("silence_db", self.silence_db, "-60", -200.0, 0.0)


class Activity(NamedTuple):
    """What `activity` finds in a recording, frame by frame, and its segments."""

    seconds: float  # length of the recording
    log_odds: NDArray[np.float32]  # (F,) of speech
    level_db: NDArray[np.float32]  # (F,) re full scale 1: mean square, 0 dB for a square wave
    intervals: list[Interval]  # of speech, noise and silence, from 0 to the end without gaps

    def probability(self, interval: Interval) -> float:
        """Return the mean probability of speech within an interval."""
        part = self._frames(self.log_odds, interval)
        return float((1 / (1 + np.exp(-part.astype(np.float64)))).mean())

    def level(self, interval: Interval) -> float:
        """Return the level of an interval in dB re full scale."""
        power = 10 ** (self._frames(self.level_db, interval).astype(np.float64) / 10)
        return float(10 * np.log10(power.mean()))

    def total(self, label: str) -> float:
        """Return the s of all intervals with a label."""
        return sum(i.end - i.start for i in self.intervals if i.label == label)

    def _frames(self, x: NDArray, interval: Interval) -> NDArray:
        first = min(round(interval.start * FRAME_RATE), len(x) - 1)
        return x[first : max(first + 1, round(interval.end * FRAME_RATE))]


def segments(
    source: Source, sample_rate: int | None = None, *, channel: str | int = "mean",
    **options: float,
) -> list[Interval]:  # fmt: skip
    """Find speech, noise and silence in a recording of any length.

    Args:
        source: a file of any sample rate and number of channels, or a recording in memory: see
            `speechasym.load`.
        sample_rate: of samples that do not tell their rate, Hz.
        channel: "mean" or a number from 0.
        options: fields of `ActivityConfig`: threshold, margin, shortest_speech, shortest_gap,
            silence_db, silence_below_db.

    Returns:
        Intervals labelled speech, noise or silence, from 0 to the end, without gaps.

    Raises:
        AudioError: a recording that cannot be read, or is shorter than 0.1 s.
        ConfigError: samples that cannot be used, no such channel, or an option out of range.

    Example:
        >>> for start, end, label in speechasym.segments("speech.wav"):
        ...     print(f"{start:.2f} {end:.2f} {label}")
        0.00 0.31 noise
        0.31 0.99 speech
        0.99 1.19 noise
        1.19 2.99 speech
    """
    config = ActivityConfig(**options)
    return activity(source, sample_rate, channel=channel, config=config).intervals


def activity(
    source: Source, sample_rate: int | None = None, *, channel: str | int = "mean",
    config: ActivityConfig | None = None, logistic: Logistic | None = None,
) -> Activity:  # fmt: skip
    """Return the log odds of speech and the level of each frame, and the intervals.

    Of a file, what is kept is 8 bytes a frame: 3 MB an hour. Args and errors as `segments`.

    Args:
        logistic: of the evidence; default: the one that comes with the package.
    """
    config = ActivityConfig() if config is None else config
    logistic = _logistic() if logistic is None else logistic
    power = Power(RATE // FRAME_RATE)
    blocks = sources.blocks(source, RATE, channel, sample_rate)
    parts, levels = [], []
    for rows in activity_evidence.evidence(power.watch(blocks)):
        parts.append(logistic.log_odds(rows.astype(np.float64)).astype(np.float32))
        levels.append(_decibel(power.take(len(rows))))
    seconds = power.samples / RATE
    if seconds <= SHORTEST_S:
        problem = f"must be longer than {SHORTEST_S:g} s, got {seconds:g} s"
        raise AudioError(sources.name_of(source), problem, "Leave it out")
    log_odds, level_db = np.concatenate(parts), np.concatenate(levels)
    intervals = intervals_of(log_odds, level_db, seconds, config)
    return Activity(seconds, log_odds, level_db, intervals)


def intervals_of(
    log_odds: NDArray, level_db: NDArray, seconds: float, config: ActivityConfig
) -> list[Interval]:
    """Log odds of speech and levels (F,) -> intervals from 0 to the end of the recording."""
    speech, silence = classes(log_odds, level_db, config)
    label = np.where(speech, 0, np.where(silence, 2, 1))
    starts = _starts(label).tolist()
    times = [*(start / FRAME_RATE for start in starts), seconds]
    return [
        Interval(a, b, LABELS[label[start]])
        for (a, b), start in zip(pairwise(times), starts, strict=True)
    ]


def classes(
    log_odds: NDArray, level_db: NDArray, config: ActivityConfig
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Log odds of speech and levels (F,) -> where there is speech, and where silence (F,)."""
    least_speech, least_gap = (
        round(s * FRAME_RATE) for s in (config.shortest_speech, config.shortest_gap)
    )
    up = float(np.log(config.threshold / (1 - config.threshold)))
    speech = _relay(log_odds, up, up - config.margin)
    speech = without_short(~without_short(~speech, least_gap), least_speech)
    width = min(round(LEVEL_S * FRAME_RATE) | 1, len(level_db))
    power = np.convolve(10 ** (level_db / 10), np.ones(width) / width, "same")
    loud = float(np.quantile(level_db, LOUD))
    silent = _decibel(power) < max(config.silence_db, loud - config.silence_below_db)
    silent &= ~speech
    for a, b in pairwise([*_starts(speech).tolist(), len(speech)]):
        gap = silent[a:b]
        if not speech[a] and gap.any():  # short noises first: the end of a word, a click
            gap = without_short(~without_short(~gap, least_gap), least_gap)
            silent[a:b] = gap
    return speech, silent


def without_short(mask: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
    """Return a mask (F,) without the runs of True that are shorter than `least`.

    Example:
        >>> without_short(np.array([True, False, True, True]), 2)
        array([False, False,  True,  True])
    """
    starts = _starts(mask)
    lengths = np.diff(starts, append=len(mask))
    return np.asarray(np.repeat(mask[starts] & (lengths >= least), lengths))


def _starts(labels: NDArray) -> NDArray[np.int64]:
    """Where runs of equal labels (F,) begin."""
    return np.concatenate([[0], np.flatnonzero(labels[1:] != labels[:-1]) + 1])


def _relay(x: NDArray, up: float, down: float) -> NDArray[np.bool_]:
    """Where a relay is on: from x >= up to x <= down."""
    y, _ = scan.relay(torch.from_numpy(x), torch.tensor([up]), torch.tensor([down]))
    return np.asarray(y[0].numpy() > 0)


def _decibel(power: NDArray) -> NDArray[np.float32]:
    return (10 * np.log10(np.maximum(power, 1e-12))).astype(np.float32)


@cache
def _logistic() -> Logistic:
    """The logistic function that comes with the package."""
    return read_logistic(FILE)


def read_logistic(path: Path) -> Logistic:
    """Read a logistic function of the evidence. Raises `CheckpointError` for another file."""
    text = files.read_text(path, CheckpointError)
    try:
        content = json.loads(text)
        weights = content["weights"]
        names = activity_evidence.columns()
        logistic = Logistic(float(content["bias"]), tuple(float(weights[name]) for name in names))
    except (ValueError, KeyError, TypeError) as error:
        problem = f"is not a logistic function of the evidence ({type(error).__name__}: {error})"
        raise CheckpointError(path, problem, "Install the package again") from error
    return logistic
