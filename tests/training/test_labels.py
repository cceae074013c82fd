"""Labels: symbols read from the words and phones of cuts."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import pytest

from speechasym.errors import LabelError
from speechasym.language import lexicon
from speechasym.training import labels
from speechasym.training.config import LabelConfig


def cut(text=None, symbols=None, name="c"):
    items = [
        SimpleNamespace(symbol=symbol, start=at / 10, end=(at + 1) / 10)
        for at, symbol in enumerate(symbols or ())
    ]
    alignment = {"phone": items} if symbols is not None else None
    return SimpleNamespace(
        id=name, supervisions=[SimpleNamespace(start=0, text=text, alignment=alignment)]
    )


@pytest.mark.parametrize(
    ("silence", "want"),
    [
        ("drop", "aa b"),
        ("merge", "sil aa sil b sil"),
        ("keep", "sil aa sil sil b sil sil"),
    ],
)
def test_silences(silence, want):
    config = LabelConfig(silence=silence)
    spoken = cut(symbols=["SIL", "aa", "sil", "pau", "", "b", "h#", "sil"])
    assert labels.tokens(spoken, "phones", config, None) == want.split()


def test_times_of_phones_follow_merging_and_folding():
    config = LabelConfig(fold="timit39", silence="merge")
    spoken = cut(symbols=["h#", "bcl", "b", "q", "ix", "kcl", "h#"])
    rows = labels.timed_phones(spoken, config)
    assert [(label, round(start, 3), round(end, 3)) for start, end, label in rows] == [
        ("sil", 0.0, 0.2), ("b", 0.2, 0.3), ("ih", 0.4, 0.5), ("sil", 0.5, 0.7),
    ]  # fmt: skip
    assert labels.timed_phones(cut(text="A"), config) == []


def test_folding_of_timit():
    config = LabelConfig(fold="timit39", silence="merge")
    spoken = cut(symbols=["h#", "sh", "ix", "q", "dcl", "d", "ux", "h#"])
    assert labels.tokens(spoken, "phones", config, None) == [
        "sil",
        "sh",
        "ih",
        "sil",
        "d",
        "uw",
        "sil",
    ]
    with pytest.raises(LabelError, match="cut c: 'xx' is not a symbol of TIMIT"):
        labels.tokens(cut(symbols=["xx"]), "phones", config, None)


def test_phones_from_a_lexicon():
    known = lexicon.Lexicon({"CAT": [("K", "AE1", "T"), ("K", "AH0")]})
    result = labels.tokens(cut("Cat, cat!"), "phones", LabelConfig(), known)
    assert result == ["K", "AE", "T", "K", "AE", "T"]
    with pytest.raises(LabelError, match="'DOG' is not in the lexicon"):
        labels.tokens(cut("dog"), "phones", LabelConfig(), known)
    with pytest.raises(LabelError, match="it has no phones"):
        labels.tokens(cut("cat"), "phones", LabelConfig(), None)


def test_phones_in_context():
    """They are those of the lexicon, word by word, whatever the cut's own."""
    known = lexicon.Lexicon({"CAT": [("K", "AE1", "T")], "A": [("AH0",)]})
    config = LabelConfig(lexicon="lexicon.txt", context=True)
    spoken = cut("a cat", symbols=["ah", "k"])
    row = ["AH+#", "K+V", "AE+C", "T+#"]
    assert labels.tokens(spoken, "phones", config, known) == row
    heard = ("AE+C", "AH+C", "K+V", "T+V")
    want = ["AH+C", "K+V", "AE+C", "T+V"]
    assert labels.tokens(spoken, "phones", config, known, heard) == want
    inventories = {"phones": tuple(sorted(row)), "letters": ("A",)}
    plain, classes = labels.read_as(inventories, config)
    assert plain == {"phones": ("AE", "AH", "K", "T"), "letters": ("A",)}
    assert list(classes) == ["phones"] and classes["phones"].tolist() == [0, 1, 2, 3, 4]
    assert labels.read_as(inventories, LabelConfig()) == (inventories, {})
    folded = replace(config, fold="timit39")
    assert labels.tokens(spoken, "phones", folded, known) == ["ah+#", "k+V", "ae+C", "t+#"]
    with pytest.raises(LabelError, match=r"phones in context need a lexicon\. Set data\.labels"):
        labels.tokens(spoken, "phones", config, None)


def test_text_becomes_letters_and_words():
    spoken = cut("Don’t -- ask 'em: well-known!")  # noqa: RUF001
    want = ["DON'T", "ASK", "'EM", "WELL", "KNOWN"]
    assert labels.tokens(spoken, "words", LabelConfig(), None) == want
    assert labels.tokens(spoken, "letters", LabelConfig(), None) == list(" ".join(want))
    with pytest.raises(LabelError, match="'7'"):
        labels.tokens(cut("room 7"), "words", LabelConfig(), None)
    with pytest.raises(LabelError, match="it has no text"):
        labels.tokens(cut(), "letters", LabelConfig(), None)


def test_rare_words_are_unknown_and_unknown_phones_left_out():
    config = LabelConfig(word_least=2, word_most=2)
    counts = Counter("BAACCCDDA")
    assert labels.inventory("words", counts, config) == ("A", "C", "<unk>")
    known = labels.classes(("A", "C", "<unk>"))
    assert labels.encode(["C", "X", "A"], known) == [2, 3, 1]
    assert labels.encode(["aa", "zh"], labels.classes(("aa", "b"))) == [1]
