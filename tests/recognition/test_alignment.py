"""Forced alignment: places by CTC, boundaries by the features, and everything that can go wrong."""

from itertools import pairwise

import numpy as np
import pytest
from helpers import sine
from toy import LEXICON, utterance

from speechasym.annotations.intervals import Interval
from speechasym.errors import AlignmentError, ConfigError, MissingWordError
from speechasym.language.lexicon import Lexicon
from speechasym.recognition import alignment
from speechasym.recognition.alignment import Alignment, align
from speechasym.recognition.pronounced_words import pronouncer


def pronounce(**more):
    return pronouncer(Lexicon(LEXICON | more))


def test_boundaries_lie_where_features_change():
    """Four symbols and a pause, with the places of their peaks wherever inside."""
    edges, rng = [20, 34, 50, 90, 101], np.random.default_rng(0)
    means = rng.normal(size=(5, 8))
    names = np.searchsorted([*edges, 130], np.arange(130), side="right")
    x = means[[0, 1, 2, 0, 3, 0]][names] + 0.1 * rng.normal(size=(130, 8))
    x = x.astype(np.float32)
    spans = alignment.boundaries(x, [25, 45, 97], [0, 0, 1], 100.0)
    np.testing.assert_allclose(spans, [(20, 34), (34, 50), (90, 101)], atol=1)
    assert spans[0][1] == spans[1][0] and spans[1][1] < spans[2][0]
    # within a word there is no pause
    spans = alignment.boundaries(x, [25, 45, 97], [0, 0, 0], 100.0)
    assert spans[1][1] == spans[2][0]
    # nothing to choose from: the middle, in order, inside
    for places in ([0.0], [0.0, 0.5, 0.5], [129.5, 130.0], [3.0, 4.0]):
        spans = alignment.boundaries(x, places, [0] * len(places), 100.0)
        flat = [time for span in spans for time in span]
        assert flat == sorted(flat) and flat[0] >= 0 and flat[-1] <= 130


def test_change_against_a_dumb_loop():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(30, 4)).astype(np.float32)
    costs = {}
    for at in range(5, 21):
        left, right = x[5:at].astype(float), x[at:21].astype(float)
        cost = sum(((part - part.mean(0)) ** 2).sum() for part in (left, right) if len(part))
        costs[at] = cost / 4 + alignment.PRIOR * ((at - 11) / 6) ** 2
    del costs[5]  # the left side would have nothing
    assert alignment._change(x, 5.0, 20.0, 11.0, 6.0) == min(costs, key=costs.get)


def test_cuts_with_their_own_phones(trained, cuts):
    """Words and phones lie where they were put, to some ms."""
    late = {"words": [], "phones": []}
    for cut in cuts:
        found = align(trained, cut)
        assert list(found.tiers) == ["phones", "words", "letters"]
        assert found.seconds == pytest.approx(cut.duration) and found.score < 0
        items = cut.supervisions[0].alignment
        own = {kind: [i.symbol for i in items[kind]] for kind in ("word", "phone")}
        assert [i.label for i in found.tiers["phones"]] == own["phone"]
        assert [i.label for i in found.tiers["words"]] == [word.upper() for word in own["word"]]
        letters = "".join(i.label for i in found.tiers["letters"])
        assert letters == "".join(own["word"]).upper()
        for rows in found.tiers.values():
            assert all(a.end <= b.start for a, b in pairwise(rows))
            assert rows[0].start >= 0 and rows[-1].end <= cut.duration
            assert all(type(time) is float for i in rows for time in i[:2])  # CTM writes repr
        for kind, rows in alignment.deviations(trained, found, cut).items():
            late[kind] += rows
    assert np.mean(np.abs(late["words"]) <= 0.05) > 0.8
    assert np.median(np.abs(late["phones"])) < 0.02
    assert len(late["words"]) == 2 * sum(len(cut.supervisions[0].text.split()) for cut in cuts)


def test_lexicon_chooses_the_pronunciation_that_is_said(trained):
    x, said, sounds = utterance(["am", "mass", "a", "a"])
    x = x.astype(np.float32)
    found = align(trained, x, "Am mass, a a!", pronounce=pronounce())
    assert [i.label for i in found.tiers["phones"]] == [label for *_, label in sounds]
    assert [i.label for i in found.tiers["words"]] == ["AM", "MASS", "A", "A"]
    off = [i.start - start for i, (start, *_) in zip(found.tiers["words"], said, strict=True)]
    assert np.median(np.abs(off)) < 0.03
    again = align(trained, x, ["AM", "MASS", "A", "A"], pronounce=pronounce())
    assert again.tiers["phones"] == found.tiers["phones"]


def test_by_letters(trained, cuts, tmp_path):
    for one in (
        align(trained, cuts[0], head="letters"),
        align(trained, cuts[0], cuts[0].supervisions[0].text),
    ):
        assert list(one.tiers) == ["words", "letters"]
        words, letters = one.tiers["words"], one.tiers["letters"]
        assert words[0].start == letters[0].start and words[-1].end == letters[-1].end
        assert " ".join(i.label for i in words) == cuts[0].supervisions[0].text.upper()


def test_guessed_pronunciations(trained, monkeypatch):
    asked = []

    class Guesser:
        def pronounce(self, word):
            asked.append(word)
            return ("M", "AA1")

    monkeypatch.setattr("speechasym.language.letter_to_sound.learn", lambda words: Guesser())
    x, _, _ = utterance(["mass", "a"])
    x = x.astype(np.float32)
    with pytest.raises(MissingWordError, match="'MA' is not in the lexicon"):
        align(trained, x, "ma a", pronounce=pronounce())
    found = align(trained, x, "ma a", pronounce=pronouncer(Lexicon(LEXICON), guess=True))
    assert asked == ["MA"] and [i.label for i in found.tiers["phones"]] == ["m", "aa", "aa"]
    derived: set[str] = set()
    own = Lexicon({"MASS": [("M", "AE1", "S")], "COLOR": [("K", "AH1", "L", "ER0")]})
    pronounce_any = pronouncer(own, True, derived)
    assert pronounce_any("MASS'S") == [("M", "AE", "S", "IH", "Z")]
    assert pronounce_any("COLOUR") == [("K", "AH", "L", "ER")]
    assert asked == ["MA"] and derived == {"MASS'S", "COLOUR"}


def test_what_cannot_be_aligned(trained, cuts):
    x, _, _ = utterance(["mass", "a"])
    x = x.astype(np.float32)
    with pytest.raises(AlignmentError, match="does not know the phone 'ZH'"):
        align(trained, x, "x", pronounce=pronounce(X=[("ZH", "AA0")]))
    with pytest.raises(AlignmentError, match="200 symbols need 399 steps of the model"):
        align(trained, x, "a " * 200, pronounce=pronounce())
    with pytest.raises(AlignmentError, match="no words"):
        align(trained, x, "")
    with pytest.raises(AlignmentError, match="phones are not known"):
        align(trained, x, "mass a", head="phones")
    with pytest.raises(ConfigError, match="words"):
        align(trained, x)
    plain = trained._replace(inventories={"phones": trained.inventories["phones"]})
    with pytest.raises(AlignmentError, match="no head for letters"):
        align(plain, x, "mass a")
    with pytest.raises(ConfigError, match="no head letters"):
        align(plain, x, "mass a", head="letters")


def test_deviations():
    cut = type("Cut", (), {"supervisions": []})()
    aligned = Alignment(1.0, {"words": [Interval(0, 1, "A")]}, 0.0, "letters")
    assert alignment.deviations(None, aligned, cut) == {}


def manifest(path, cuts):
    from lhotse import CutSet

    CutSet.from_cuts(cuts).to_file(path)
    return path


def test_levels_are_normalised_even_in_silence():
    x = sine(0.5, 16000, 1000).astype(np.float32)
    level = alignment.levels_of(np.r_[0 * x, x], 16000)
    assert level.shape == (200, alignment.CHANNELS)
    assert abs(level.mean()) < 1e-5 and abs((level**2).mean() - 1) < 1e-4
    assert level[110:].max() > level[:90].max()
    assert not alignment.levels_of(0 * x, 16000).any()
