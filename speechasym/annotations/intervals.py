"""Timed symbols, and the checks that all annotation formats share.

A tier is a list of intervals, sorted by start.
"""

from collections.abc import Sequence
from typing import NamedTuple

from speechasym.errors import AnnotationError


class Interval(NamedTuple):
    """A label and when it is spoken."""

    start: float  # s from the beginning of the recording
    end: float  # s, not before the start
    label: str  # "" for silence


class SampleInterval(NamedTuple):
    """An interval whose times are exact."""

    start: int  # samples from the beginning of the recording
    end: int  # samples; the first one after the interval
    label: str


def check_times(where: str, start: float, end: float, unit: str) -> None:
    """Raise `AnnotationError` unless 0 <= start <= end."""
    if start < 0:
        problem = f"start must be >= 0, got {start:g} {unit}"
        raise AnnotationError(where, problem, "Count from the recording's start")
    if end < start:
        problem = f"end {end:g} {unit} is before the start at {start:g}"
        raise AnnotationError(where, problem, "Swap them, or align the recording again")


def check_order(where: str, intervals: Sequence[Interval], duration: float) -> None:
    """Raise `AnnotationError` unless intervals are in order and end within the duration in s."""
    previous = 0.0
    for start, end, label in intervals:
        if not previous <= start <= end <= duration:
            raise AnnotationError(
                where,
                f"{label!r} from {start:g} to {end:g} s is not within {previous:g} s, where the "
                f"previous interval ends, and {duration:g} s, where the recording ends",
                "Give intervals in order, without overlap",
            )
        previous = end
