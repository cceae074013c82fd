"""Guessed pronunciations: alignment, and rules that carry over to new words."""

import math
from itertools import product

import numpy as np
import pytest
from helpers import rule_phones, rule_words

from speechasym.errors import LexiconError
from speechasym.language import letter_to_sound
from speechasym.language.letter_to_sound import Pair, align, learn, pairs_of
from speechasym.language.lexicon import Lexicon
from speechasym.ops import cpu_letter_to_sound


@pytest.fixture(scope="module")
def guesser():
    return learn(Lexicon({word: [rule_phones(word)] for word in rule_words(900)}), order=4)


def test_pairs():
    made = Lexicon(
        {"Be": [("B", "IY1"), ("B", "IY0"), ("B", "EY1")], "4": [("F",)], "A.": [("EY",)]}
    )
    assert pairs_of(made) == [Pair("BE", ("B", "EY")), Pair("BE", ("B", "IY"))]
    some = Lexicon({word: [rule_phones(word)] for word in rule_words(50)})
    drawn = pairs_of(some, 10, seed=1)
    assert len(drawn) == 10 and set(drawn) < set(pairs_of(some)) and drawn == sorted(drawn)
    assert drawn == pairs_of(some, 10, seed=1) != pairs_of(some, 10, seed=2)


def alignments(word, phones):
    """All ways to part a word and its phones into units, one after the other."""
    found = []
    for lengths in product(letter_to_sound.KINDS.tolist(), repeat=len(word)):
        units, i, j = [], 0, 0
        for letters, count in lengths:
            if i == len(word):
                break
            units.append((word[i : i + letters], phones[j : j + count], (letters, count)))
            i, j = i + letters, j + count
        full = i == len(word) and j == len(phones)
        if full and all((len(a), len(b)) == kind for a, b, kind in units):
            found.append(tuple((a, b) for a, b, _ in units))
    return sorted(set(found))


def test_expected_counts_equal_a_sum_over_all_alignments():
    pairs = [Pair("AXE", ("AE", "K", "S")), Pair("THE", ("DH", "AH")), Pair("A", ("EY", "K", "S"))]
    data = letter_to_sound._corpus(pairs)
    rng = np.random.default_rng(0)
    a, p = len(data.alphabet), len(data.inventory)
    names = letter_to_sound._unit_names(data.alphabet, data.inventory)
    probability = rng.uniform(0.01, 0.1, len(names))
    assert len(set(names)) == len(names)
    by_name = dict(zip(names, probability, strict=True))
    wanted, total = dict.fromkeys(names, 0.0), 0.0
    for pair in pairs[:2]:  # the last has too many phones
        ways = [[f"{x}:{'_'.join(y)}" for x, y in way] for way in alignments(*pair)]
        assert len(ways) > 3
        shares = [math.prod(by_name[unit] for unit in way) for way in ways]
        total += math.log(sum(shares))
        for way, share in zip(ways, shares, strict=True):
            for unit in way:
                wanted[unit] += share / sum(shares)
    arrays = (data.letters, data.phones, data.letter_begins, data.phone_begins)
    counts, found = cpu_letter_to_sound.expected_counts(
        *arrays, probability, a, p, letter_to_sound.KINDS
    )
    np.testing.assert_allclose(counts, [wanted[name] for name in names], rtol=1e-9)
    assert found == pytest.approx(total)


def test_alignments_find_the_rules():
    words = rule_words(300)
    rows = align([Pair(word, tuple(x.rstrip("012") for x in rule_phones(word))) for word in words])
    for word, row in zip(words, rows, strict=True):
        parts = [unit.split(":") for unit in row]
        assert "".join(letters for letters, _ in parts) == word
        phones = [phone for _, phones in parts for phone in phones.split("_") if phone]
        assert phones == [phone.rstrip("012") for phone in rule_phones(word)]
    units = {unit for row in rows for unit in row}
    assert {"TH:TH", "X:K_S", "A:AA", "E:EH"} <= units
    assert not {"T:TH", "H:", "X:K"} & units


def test_what_cannot_be_aligned_is_left_out():
    made = Lexicon({word: [rule_phones(word)] for word in rule_words(60)})
    made["B"] = [("B", "B", "B")]
    assert align(pairs_of(made))[pairs_of(made).index(Pair("B", ("B", "B", "B")))] == []
    assert learn(made).pronounce("BAD") == ("B", "AA", "D")
    with pytest.raises(LexiconError, match="no word to learn from"):
        learn(Lexicon({"B": [("B", "B", "B")]}))
    with pytest.raises(LexiconError, match="no word to learn from"):
        learn(Lexicon({"4": [("F", "AO1", "R")]}))


def test_rules_carry_over_to_new_words(guesser):
    known = set(rule_words(900))
    new = [word for word in rule_words(400, seed=1) if word not in known]
    assert len(new) > 300
    right = sum(
        guesser.pronounce(word) == tuple(x.rstrip("012") for x in rule_phones(word)) for word in new
    )
    assert right / len(new) > 0.98
    assert guesser.pronounce("thace") == ("TH", "AA", "S")  # capitals or not


def test_the_search_finds_the_likeliest_units(guesser):
    """Against all ways to spell short words, one by one."""
    model = guesser.model
    spelling = {}
    for unit in model.words[3:]:
        spelling.setdefault(unit.split(":")[0], []).append(unit)

    def ways(word):
        if not word:
            yield []
        for length in (1, 2):
            for unit in spelling.get(word[:length], []) if len(word) >= length else []:
                yield from ([unit, *rest] for rest in ways(word[length:]))

    def phones(way):
        return tuple(x for unit in way for x in unit.split(":")[1].split("_") if x)

    for word in ("CE", "THEX", "XAC", "TCI", "E", "OTHE"):
        all_ways = [way for way in ways(word) if phones(way)]
        assert all_ways
        assert guesser.pronounce(word) == phones(max(all_ways, key=model.score)), word


def test_something_is_heard(guesser):
    assert guesser.model.score(["E:"]) != guesser.model.score(["E:EH"])
    for letter in guesser.alphabet:
        if letter not in "H":  # only ever seen in TH
            assert guesser.pronounce(letter)


@pytest.mark.parametrize(
    ("word", "says"),
    [("", "it is empty"), ("BÉ", "'É' is not among the letters learned"), ("B2", "'2' is not"),
     ("H", "all its letters are silent")],
)  # fmt: skip
def test_words_that_cannot_be_said(guesser, word, says):
    with pytest.raises(LexiconError, match=says):
        guesser.pronounce(word)
