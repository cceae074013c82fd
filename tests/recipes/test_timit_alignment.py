"""Boundaries beside hand-made ones: which phones are compared."""

from recipes.timit.alignment import hand_made, matched
from speechasym.annotations.intervals import Interval


def test_closures_belong_to_their_stops():
    labels = ("h#", "bcl", "b", "ax-h", "tcl", "ch", "q", "ae", "kcl", "h#", "dcl", "iy")
    phones = [Interval(n, n + 1, label) for n, label in enumerate(labels)]
    assert hand_made(phones) == [
        (1, 3, "b"), (3, 4, "ah"), (4, 6, "ch"), (7, 8, "ae"), (8, 9, "k"), (10, 11, "d"),
        (11, 12, "iy"),
    ]  # fmt: skip


def test_matched_phones_are_equal_and_in_order():
    assert matched(["b", "ah", "t", "er"], ["b", "dx", "er"]) == [(0, 0), (2, 1), (3, 2)]
    assert matched(["ih", "n"], ["n", "ih", "n", "s"]) == [(0, 1), (1, 2)]
    assert matched(["s"], ["z"]) == [] == matched([], ["z"])
