"""Words that a lexicon lacks: derived from others, or guessed."""

import pytest
from helpers import rule_phones, rule_words

from speechasym.language.completion import complete
from speechasym.language.letter_to_sound import learn
from speechasym.language.lexicon import Lexicon

OWN = {
    "COLOR": [("K", "AH1", "L", "ER0")],
    "CAT": [("K", "AE1", "T")],
    "MIX": [("M", "IH1", "K", "S")],
    "TOM": [("T", "AA1", "M"), ("T", "AO1", "M"), ("T", "AA0", "M")],
    "REALIZED": [("R", "IY1", "L", "AY2", "Z", "D")],
    "CENTER": [("S", "EH1", "N", "ER0")],
    "TRAVELING": [("T", "R", "AE1", "V", "L", "IH0", "NG")],
}


@pytest.mark.parametrize(
    ("word", "phones", "source"),
    [
        ("COLOUR", ["K AH L ER"], "COLOR"),
        ("COLOUR'S", ["K AH L ER Z"], "COLOR"),
        ("CAT'S", ["K AE T S"], "CAT"),
        ("MIX'S", ["M IH K S IH Z"], "MIX"),
        ("TOM'S", ["T AA M Z", "T AO M Z"], "TOM"),
        ("REALIS'D", None, ""),
        ("REALIZ'D", ["R IY L AY Z D"], "REALIZED"),
        ("REALISED", ["R IY L AY Z D"], "REALIZED"),
        ("CENTRE", ["S EH N ER"], "CENTER"),
        ("TRAVELLING", ["T R AE V L IH NG"], "TRAVELING"),
        ("DIME'S", ["D IH M Z"], ""),
    ],
)
def test_words_are_derived(word, phones, source):
    made = Lexicon({w: [rule_phones(w)] for w in rule_words(300)} | OWN)
    made["'"] = [("S",)]
    guesser = learn(Lexicon(made | {"RLVZUG": [("R", "L", "V", "Z", "UW", "G")]}), order=3)
    found, added = complete(made, [word, "CAT"], guesser)
    assert set(found) == {*made, word} and added == {word: source}
    assert found["TOM"] == OWN["TOM"]  # what was there stays as it was
    if phones is not None:
        assert [" ".join(way) for way in found[word]] == phones


def test_words_that_cannot_be_said_are_left_out(caplog):
    letters = learn(Lexicon({letter: [("AE",)] for letter in "AB"}), order=1)
    found, added = complete(Lexicon(OWN), ["A\u00c9", "BAB", "C'S"], letters)
    assert set(found) == {*OWN, "BAB"} and added == {"BAB": ""}
    assert "2 words cannot be guessed: A\u00c9, C'S" in caplog.text


@pytest.mark.parametrize("word", ["FLOUR", "REFILLED", "BALLED", "F'D", "ACRE"])
def test_words_that_only_look_alike(word):
    alike = ["FLOR", "REFILED", "BALED", "FED", "ACER"]
    made = Lexicon({name: [("Z", "Z")] for name in alike})
    letters = learn(Lexicon({letter: [("AE",)] for letter in "'ABCDEFILORU"}), order=1)
    _, added = complete(made, [word], letters)
    assert added == {word: ""}
