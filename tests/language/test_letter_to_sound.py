"""Guessed pronunciations: alignment, rules that carry over to new words, `lexicon`."""

import math
from itertools import product

import numpy as np
import pytest
from helpers import called
from helpers import text_manifest as manifest

from speechasym.errors import LexiconError
from speechasym.language import letter_to_sound, lexicon
from speechasym.language.letter_to_sound import Pair, align, complete, learn, pairs_of, restricted
from speechasym.language.lexicon import Lexicon
from speechasym.ops import cpu_letter_to_sound

PLAIN = {
    "A": "AA1", "B": "B", "D": "D", "E": "EH0", "I": "IH1", "M": "M", "N": "N", "O": "OW2",
    "P": "P", "S": "S", "T": "T",
}  # fmt: skip


def said(word: str) -> tuple[str, ...]:
    """A language of rules: C before E and I is S, else K; TH is one phone, X two; last E silent."""
    phones, at = [], 0
    while at < len(word):
        letter, after = word[at], word[at + 1 : at + 2]
        if letter + after == "TH":
            phones.append("TH")
            at += 1
        elif letter == "C":
            phones.append("S" if after in tuple("EI") else "K")
        elif letter == "X":
            phones += ["K", "S"]
        elif letter != "E" or after:
            phones.append(PLAIN[letter])
        at += 1
    return tuple(phones)


def language(count, seed=0):
    rng = np.random.default_rng(seed)
    onsets, vowels = [*"BCDMNPSTCC", "TH", "X"], [*"AEIO"]
    words = set()
    while len(words) < count:
        word = "".join(
            str(rng.choice(onsets)) + str(rng.choice(vowels)) for _ in range(rng.integers(2, 5))
        )
        words.add(word + str(rng.choice([*"BCCDMNPST"])) + str(rng.choice(["", "E"])))
    return sorted(words)


@pytest.fixture(scope="module")
def guesser():
    return learn(Lexicon({word: [said(word)] for word in language(900)}), order=4)


# --- alignment -----------------------------------------------------------------------------------


def test_pairs():
    made = Lexicon(
        {"Be": [("B", "IY1"), ("B", "IY0"), ("B", "EY1")], "4": [("F",)], "A.": [("EY",)]}
    )
    assert pairs_of(made) == [Pair("BE", ("B", "EY")), Pair("BE", ("B", "IY"))]
    some = Lexicon({word: [said(word)] for word in language(50)})
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
    a, p = data.sizes
    probability = rng.uniform(0.01, 0.1, letter_to_sound._units(a, p))
    names = [
        letter_to_sound._name(u, data.alphabet, data.inventory) for u in range(len(probability))
    ]
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
    words = language(300)
    rows = align([Pair(word, tuple(x.rstrip("012") for x in said(word))) for word in words])
    for word, row in zip(words, rows, strict=True):
        parts = [unit.split(":") for unit in row]
        assert "".join(letters for letters, _ in parts) == word
        phones = [phone for _, phones in parts for phone in phones.split("_") if phone]
        assert phones == [phone.rstrip("012") for phone in said(word)]
    units = {unit for row in rows for unit in row}
    assert {"TH:TH", "X:K_S", "A:AA", "E:EH"} <= units
    assert not {"T:TH", "H:", "X:K"} & units


def test_what_cannot_be_aligned_is_left_out():
    made = Lexicon({word: [said(word)] for word in language(60)})
    made["B"] = [("B", "B", "B")]
    assert align(pairs_of(made))[pairs_of(made).index(Pair("B", ("B", "B", "B")))] == []
    assert learn(made).pronounce("BAD") == ("B", "AA", "D")
    with pytest.raises(LexiconError, match="no word to learn from"):
        learn(Lexicon({"B": [("B", "B", "B")]}))
    with pytest.raises(LexiconError, match="no word to learn from"):
        learn(Lexicon({"4": [("F", "AO1", "R")]}))


# --- guessing ------------------------------------------------------------------------------------


def test_rules_carry_over_to_new_words(guesser):
    known = set(language(900))
    new = [word for word in language(400, seed=1) if word not in known]
    assert len(new) > 300
    right = sum(
        guesser.pronounce(word) == tuple(x.rstrip("012") for x in said(word)) for word in new
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
    for letter in guesser.letters:
        if letter not in "H":  # only ever seen in TH
            assert guesser.pronounce(letter)


@pytest.mark.parametrize(
    ("word", "says"),
    [("", "it is empty"), ("BÉ", "'É' is no letter that was learned"), ("B2", "'2' is no"),
     ("H", "nothing to hear")],
)  # fmt: skip
def test_words_that_cannot_be_said(guesser, word, says):
    with pytest.raises(LexiconError, match=says):
        guesser.pronounce(word)


# --- completing ----------------------------------------------------------------------------------

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
    made = Lexicon({w: [said(w)] for w in language(300)} | OWN)
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


def test_restricted():
    made = restricted(Lexicon(OWN), ["tom", "CAT", "DOG", "CAT"])
    assert made == {"CAT": [("K", "AE", "T")], "tom": [("T", "AA", "M"), ("T", "AO", "M")]}


def test_a_lexicon_that_was_written_is_read(tmp_path):
    path = tmp_path / "lexicon.txt"
    made = restricted(Lexicon(OWN), OWN)
    letter_to_sound.write_lexicon(path, made, {"CAT": "", "COLOR": "COLOUR"})
    assert lexicon.read(path) == made
    lines = path.read_text().splitlines()
    assert "CAT  K AE T # guessed" in lines and "COLOR  K AH L ER # from COLOUR" in lines
    assert "TOM(1)  T AO M" in lines


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    rows = [f"{word}  {' '.join(said(word))}\n" for word in language(300)]
    (tmp_path / "own.txt").write_text("".join(rows) + "TOM  T AA1 M\n")
    (tmp_path / "book.txt").write_text("Tom mixed. Bacace said: Tom!\n")
    manifest(tmp_path / "cuts.jsonl", ["tom's than", "tom"])
    return tmp_path


def rows_of(said: str) -> dict[str, str]:
    rows = (line.strip("│ ").split("│") for line in said.splitlines() if line[0] == "│")
    return {name.strip(): value.strip() for name, value in rows}


def test_lexicon(made, capsys):
    call = ["lexicon", "own.txt", "--words", "book.txt", "cuts.jsonl", "--out", "out.txt"]
    code, out, _ = called(capsys, *call, "--missing", "missing.txt")
    assert code == 0 and lexicon.read("out.txt") == {"TOM": [("T", "AA", "M")]}
    rows = rows_of(out)
    assert rows["words"] == "6, 8 times" and rows["in the lexicon"] == "1"
    assert rows["missing"] == "5, 62.50% of the text"
    assert rows["these"] == "BACACE, MIXED, SAID, THAN, TOM'S"
    assert (made / "missing.txt").read_text().split() == rows["these"].split(", ")
    code, out, _ = called(capsys, *call, "--guess")
    found = lexicon.read("out.txt")
    assert code == 0 and found["TOM'S"] == [("T", "AA", "M", "Z")]
    assert found["BACACE"] == [("B", "AA", "K", "AA", "S")] and found["THAN"] == [said2("THAN")]
    text = (made / "out.txt").read_text()
    assert "TOM'S  T AA M Z # from TOM\n" in text and "THAN  TH AA N # guessed\n" in text
    rows = rows_of(out)
    assert rows["derived"].startswith("1,") and rows["guessed"] == "4" and "these" in rows


def said2(word):
    return tuple(phone.rstrip("012") for phone in said(word))


def test_only_frequent_words(made, capsys):
    call = ["lexicon", "own.txt", "--words", "book.txt,cuts.jsonl", "--out", "out.txt"]
    for more in (["--most", 1], ["--least", 3]):
        code, out, _ = called(capsys, *call, *more)
        assert code == 0 and rows_of(out)["missing"] == "0, 0.00% of the text"
        assert set(lexicon.read("out.txt")) == {"TOM"}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--words", "none.txt"], "none.txt: cannot be read"),
        (["--words", "book.txt", "--most", 0], "--most: must be >= 1, got 0"),
        (["--words", "book.txt", "--learn-from", 0], "--learn-from: must be >= 1, got 0"),
        (["--words", "book.txt", "--least", 9], "no word"),
    ],
)
def test_lexicon_with_what_cannot_be(made, capsys, more, says):
    code, _, err = called(capsys, "lexicon", "own.txt", "--out", "out.txt", *more)
    assert code == 2 and says in err and not (made / "out.txt").exists()
