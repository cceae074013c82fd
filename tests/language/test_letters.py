"""The 28 letters, and text written in them."""

import pytest

from speechasym.language import letters


def test_inventory():
    assert len(letters.LETTERS) == len(set(letters.LETTERS)) == 28
    assert letters.LETTERS[:3] == (" ", "'", "A")


@pytest.mark.parametrize(
    ("text", "plain", "unwritable"),
    [
        ("HE DIDN'T", "HE DIDN'T", ""),
        ("He didn\u2019t — well-known, café!", "HE DIDN'T WELL KNOWN CAFE", ""),
        ("", "", ""),
        ("...", "", ""),
        ("IN 1812", "IN", "128"),
        ("ПРИВЕТ", "", "ВЕИПРТ"),
    ],
)
def test_normalise(text, plain, unwritable):
    assert letters.normalise(text) == (plain, unwritable)


def test_spell():
    assert letters.spell(["it's", "so"]) == ["i", "t", "'", "s", " ", "s", "o"]
