"""PNMI, phone error, rates: known values, chance, intervals by speakers."""

import math

import numpy as np
import pytest

from speechasym.annotations.intervals import Interval
from speechasym.errors import ConfigError, ScoringError
from speechasym.scoring.units import framewise, normalised_information, score_units


def row(*labels, length=0.1):
    return [Interval(n * length, (n + 1) * length, x) for n, x in enumerate(labels)]


PHONES = {f"{s}-{n}": row(*"aebdaeb"[n:], *"dbaee") for s in "xyz" for n in range(3)}
SPEAKER = lambda name: name.split("-")[0]  # noqa: E731
NAMES = {"a": "1", "e": "2", "b": "3", "d": "4"}


def test_units_that_are_the_phones():
    units = {k: [i._replace(label=NAMES[i.label]) for i in v] for k, v in PHONES.items()}
    found = score_units(PHONES, units, SPEAKER)
    assert found.pnmi.value == pytest.approx(1) and found.phone_error.value == 0
    assert found.purity.value == 1 and found.used == 4 and found.speakers == 3
    assert found.segments.value == pytest.approx(10, rel=0.01)
    assert found.pnmi.low <= found.pnmi.value <= found.pnmi.high
    assert found.chance.value < 0.5


def test_one_unit_for_everything_says_nothing():
    units = {name: row("7", length=0.1 * len(phones)) for name, phones in PHONES.items()}
    found = score_units(PHONES, units, SPEAKER)
    assert found.pnmi.value == pytest.approx(0, abs=1e-9) and found.bits.value == 0
    assert 0.5 < found.phone_error.value < 1


def test_information_of_a_table():
    counts = np.array([[8.0, 2.0], [2.0, 8.0]])
    bits = 1 - (-0.8 * math.log2(0.8) - 0.2 * math.log2(0.2))
    assert normalised_information(counts) == pytest.approx(bits)
    assert normalised_information(np.array([[3.0, 4.0]])) == 0


def test_bits_are_entropy_times_rate():
    units = {"x-0": row("1", "2", "1", "2", length=0.25)}
    found = score_units({"x-0": row("a", length=1.0)}, units, {"x-0": "x"})
    assert found.bits.value == pytest.approx(4.0) and found.segments.value == pytest.approx(4.0)
    assert math.isnan(found.pnmi.low)  # one speaker


def test_the_map_to_phones_comes_from_other_speakers():
    phones = {"x-0": row("a", "b"), "y-0": row("a", "b")}
    units = {"x-0": row("1", "2"), "y-0": row("2", "1")}  # each speaker the other way round
    found = score_units(phones, units, SPEAKER)
    assert found.phone_error.value == 1 and found.purity.value == 0.5


def test_frames_have_what_holds_their_middle():
    assert framewise([Interval(0.0, 0.015, "a"), Interval(0.02, 0.031, "b")], 4) == [
        "a", None, "b", None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("phones", "units", "speakers", "error", "words"),
    [
        ({}, {}, {}, ScoringError, "no phones"),
        ({"a": row("s")}, {}, {"a": "x"}, ScoringError, "has no units"),
        ({"a": row("s")}, {"a": row("1")}, {}, ScoringError, "has no speaker"),
    ],
)
def test_bad_input(phones, units, speakers, error, words):
    with pytest.raises(error, match=words):
        score_units(phones, units, speakers)
    with pytest.raises(ConfigError):
        score_units(PHONES, PHONES, SPEAKER, rate=0)


def test_intervals_are_those_of_the_jackknife():
    rates = [4, 5, 9]  # segments in a second of each speaker
    phones = {f"{n}-0": row("a", length=1.0) for n in range(3)}
    units = {
        f"{n}-0": row(*(str(k % 2) for k in range(r)), length=1 / r) for n, r in enumerate(rates)
    }
    found = score_units(phones, units, SPEAKER).segments
    deviation = np.std(rates, ddof=1) / math.sqrt(3)
    assert found.value == pytest.approx(6)
    assert found.high - found.value == pytest.approx(4.302653 * deviation)
