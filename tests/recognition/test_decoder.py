"""Words from posteriors: against all alignments of all short word sequences, by dumb loops."""

import itertools
import math

import numpy as np
import pytest
import torch

from speechasym.errors import ArpaError, ConfigError, DecodingError
from speechasym.language import kneser_ney
from speechasym.language.arpa import write_arpa
from speechasym.language.lexicon import Lexicon, write_lexicon
from speechasym.levels import ctc
from speechasym.recognition import search
from speechasym.recognition.decoder import Decoder, open_decoder
from speechasym.recognition.search import DecodingConfig, WordSearch, config_of
from speechasym.recognition.spellings import pronunciations, spellings
from speechasym.recognition.tuning import tune

TEXT = ["A AB BA", "B AB", "AB A A", "BA B A", "A", "BA AB B"]
SOUNDS = Lexicon(
    {
        "A": [("AA",), ("AH0",)],
        "AB": [("AA1", "B"), ("AA", "B", "B")],
        "BA": [("B", "AA")],
        "B": [("B", "AA"), ("B", "IY")],  # sounds like BA
    }
)
WIDE = {"beam": 3000, "width": 1e9, "symbol_width": 1e9, "histories": 3000, "nbest": 3000}
INVENTORY = ("AA", "AH", "B", "IY", "sil")


@pytest.fixture(scope="module")
def lm():
    return kneser_ney.estimate([line.split() for line in TEXT], 3)


def posteriors(steps: int, classes: int, seed: int, sharp: float = 2.0) -> np.ndarray:
    z = np.random.default_rng(seed).normal(size=(steps, classes)) * sharp
    return (z - np.log(np.exp(z).sum(1, keepdims=True))).astype(np.float32)


# --- oracle ---------------------------------------------------------------------------------------


def collapsed(path) -> tuple[int, ...]:
    row = [k for i, k in enumerate(path) if i == 0 or path[i - 1] != k]
    return tuple(k for k in row if k)


def derivations(row, written, separator, obliged, start=True):
    """Every word sequence that may be written so, as often as there are ways."""
    stripped = list(row)
    gap = False
    while stripped and separator and stripped[0] == separator:
        stripped.pop(0)
        gap = True
    if not stripped:
        yield ()
        return
    if obliged and not start and not gap:
        return
    for word, ways in written.items():
        for way in ways:
            if tuple(stripped[: len(way)]) == way:
                rest = stripped[len(way) :]
                for tail in derivations(rest, written, separator, obliged, False):
                    yield (word, *tail)


def oracle(log_probs, written, separator=0, obliged=False) -> dict[tuple[str, ...], float]:
    """{words: p by the head}: the sum over every path of classes."""
    sums: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        p = math.exp(sum(float(log_probs[s, k]) for s, k in enumerate(path)))
        row = collapsed(path)
        sums[row] = sums.get(row, 0.0) + p
    found: dict[tuple[str, ...], float] = {}
    for row, p in sums.items():
        for words in derivations(row, written, separator, obliged):
            found[words] = found.get(words, 0.0) + p
    return found


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
@pytest.mark.parametrize("silent", [True, False])
def test_search_is_all_paths_of_all_sequences(lm, seed, silent):
    inventory = INVENTORY if silent else INVENTORY[:4]
    written = pronunciations(SOUNDS, SOUNDS, inventory)
    separator = 5 if silent else 0
    log_probs = posteriors(5, len(inventory) + 1, seed)
    exact = oracle(log_probs, written, separator)
    config = config_of("phones", lm_weight=0.8, word_score=0.4, **WIDE)
    search = WordSearch(written, lm, separator=separator)
    found = {words: (p, told) for words, p, told in search.nbest(log_probs, config)}
    assert set(found) == set(exact) and len(exact) > 50
    for words, p in exact.items():
        assert found[words][0] == pytest.approx(math.log(p), abs=1e-4)
        assert found[words][1] == pytest.approx(lm.score(words) * math.log(10), abs=1e-3)

    def score(words):
        told = lm.score(words) * math.log(10)
        return math.log(exact[words]) + 0.8 * told + 0.4 * len(words)

    assert search.nbest(log_probs, config)[0][0] == max(exact, key=score)
    for words in list(exact)[::7]:
        assert search.likelihood(log_probs, words) == pytest.approx(
            math.log(exact[words]), abs=1e-4
        )


@pytest.mark.parametrize("seed", [4, 5])
def test_letters_need_spaces_between_words(lm, seed):
    inventory = (" ", "A", "B")
    written = spellings(["A", "B", "AB", "BA"], inventory)
    log_probs = posteriors(6, 4, seed)
    exact = oracle(log_probs, written, 1, obliged=True)
    search = WordSearch(written, lm, separator=1, obliged=True)
    found = {words: p for words, p, _ in search.nbest(log_probs, config_of("letters", **WIDE))}
    assert set(found) == set(exact) and ("A", "B") in exact and ("AB",) in exact
    for words, p in exact.items():
        assert found[words] == pytest.approx(math.log(p), abs=1e-4)
        assert search.likelihood(log_probs, words) == pytest.approx(math.log(p), abs=1e-4)


def test_narrow_beams_lose_little(lm):
    written = pronunciations(SOUNDS, SOUNDS, INVENTORY)
    search = WordSearch(written, lm, separator=5)
    agreed = 0
    for seed in range(20):
        log_probs = posteriors(12, 6, seed, 3.0)
        wide = config_of("phones", **(WIDE | {"beam": 2000, "histories": 2000}))
        narrow = config_of("phones", beam=50, histories=2)
        best, few = search.nbest(log_probs, wide)[0], search.nbest(log_probs, narrow)
        agreed += best[0] == few[0][0]
        assert few[0][1] <= best[1] + 1e-3 or few[0][0] != best[0]
    assert agreed >= 17


def test_lists_have_what_was_left_out_for_another_with_the_same_future(lm):
    """One history is kept of those with the same two last words, but the list has the others."""
    search = WordSearch(pronunciations(SOUNDS, SOUNDS, INVENTORY), lm, separator=5)
    few = config_of("phones", **(WIDE | {"histories": 1, "nbest": 20}))
    shared = 0
    for seed in range(10):
        log_probs = posteriors(6, 6, seed, 3.0)
        exact = search.nbest(log_probs, config_of("phones", **WIDE))
        found = search.nbest(log_probs, few)
        assert found[0][0] == exact[0][0]
        assert len({words for words, *_ in found}) == len(found) == 20
        scores = [p + 0.7 * told for _, p, told in found]
        assert scores == sorted(scores, reverse=True)
        every = {words: scores for words, *scores in exact}
        for words, *told in found:
            assert told == pytest.approx(every[words], abs=1e-4)
        shared += len({words for words, *_ in exact[:10]} & {words for words, *_ in found})
    assert shared >= 90


def test_long_lists(lm):
    """4645 pairs of histories with the same future, where there is room for 4096 at first."""
    search = WordSearch(pronunciations(SOUNDS, SOUNDS, INVENTORY), lm, separator=5)
    config = config_of("phones", **(WIDE | {"histories": 1, "nbest": 100}))
    found = search.nbest(posteriors(400, 6, 3, 0.5), config)
    assert len({words for words, *_ in found}) == 100


@pytest.mark.parametrize("sharp", [1.0, 8.0, 20.0])
def test_likelihood_of_a_long_sequence(lm, sharp):
    """Hundreds of nats, and alignments of which most have no weight at all."""
    words = ("BA", "AB", "A", "BA", "B") * 12
    written = spellings(["A", "B", "AB", "BA"], ("A", "B"))
    log_probs = posteriors(300, 3, 1, sharp)
    classes = [k for word in words for k in written[word][0]]
    reference = ctc.log_likelihoods(torch.from_numpy(log_probs).double(), [classes])[0]
    found = WordSearch(written, lm).likelihood(log_probs, words)
    assert found == pytest.approx(reference, rel=1e-9) and found < -50


def test_unfinished_words_are_left_out(lm):
    """Nothing but BA is likely, and the recording ends in it."""
    written = {"BA": [(1, 2)]}
    log_probs = np.log(np.array([[0.01, 0.98, 0.01]] * 3, np.float32))
    found = WordSearch(written, lm).nbest(log_probs, config_of("phones", width=2.0))
    assert [words for words, _, _ in found] == [()]


def test_all_of_a_list_can_be_said(lm, monkeypatch):
    """Also where the search says that a recording ends within a word."""
    real = search.cpu_search.search
    monkeypatch.setattr(search.cpu_search, "search", lambda *args: (False, *real(*args)[1:]))
    words = WordSearch(pronunciations(SOUNDS, SOUNDS, INVENTORY), lm, separator=5)
    config = config_of("phones", **(WIDE | {"histories": 1, "nbest": 50}))
    for seed in range(10):
        log_probs = posteriors(6, 6, seed, 3.0)
        for found, _, _ in words.nbest(log_probs, config):
            assert words.spans(log_probs, found) is not None


# --- times ----------------------------------------------------------------------------------------


def spiky(row: str, symbols: str) -> np.ndarray:
    """Posteriors that say a path, '-' for blanks."""
    log_probs = np.full((len(row), len(symbols) + 1), math.log(0.01), np.float32)
    for step, sign in enumerate(row):
        log_probs[step, symbols.find(sign) + 1] = math.log(1 - 0.01 * len(symbols))
    return log_probs


def test_times_of_words(lm):
    written = spellings(["A", "AB", "BA"], (" ", "A", "B"))
    search = WordSearch(written, lm, separator=1, obliged=True)
    log_probs = spiky("--AAB-- -BA- -A", " AB")
    assert search.nbest(log_probs, config_of("letters"))[0][0] == ("AB", "BA", "A")
    spans = search.spans(log_probs, ("AB", "BA", "A"))
    assert [span[:2] for span in spans] == [(2, 4), (9, 10), (14, 14)]
    assert [span.score for span in spans] == pytest.approx([0.97] * 3)
    assert search.spans(log_probs[:3], ("AB", "BA")) is None
    assert search.spans(log_probs, ()) == []
    # of several ways to say a word the one that was said counts
    sounds = pronunciations(SOUNDS, SOUNDS, INVENTORY)
    said = WordSearch(sounds, lm, separator=5)
    log_probs = spiky("---bi--s-h-", "ahbis")
    assert [span[:2] for span in said.spans(log_probs, ("B", "A"))] == [(3, 4), (9, 9)]


# --- several heads --------------------------------------------------------------------------------

HEADS = {"phones": INVENTORY, "letters": (" ", "A", "B"), "words": ("A", "AB", "<unk>")}
SAID = {
    "phones": spiky("-b-a-s-a-", "ahbis"),  # BA or B, then A
    "letters": spiky("BA-- A", " AB"),
    "words": spiky("--u--a", "Abu".replace("A", "a")),
}


def test_other_heads_decide_between_words_that_sound_alike(lm):
    def best(**options):
        decoder = Decoder(
            HEADS, SOUNDS, lm, config_of("phones", lm_weight=0.0, blank_penalty=0.0, **options)
        )
        return decoder.decode(SAID)

    alone = best()
    assert {alone[0].words, alone[1].words} == {("BA", "A"), ("B", "A")}
    assert alone[0].total == pytest.approx(alone[1].total, abs=0.05)
    assert set(alone[0].heads) == {"phones"}
    assert best(letters_weight=0.5)[0].words == ("BA", "A")
    other = Decoder(HEADS, SOUNDS, lm, config_of("phones", lm_weight=0.0, letters_weight=0.5))
    assert other.decode(SAID | {"letters": spiky("B--- A", " AB")})[0].words == ("B", "A")
    weighed = best(letters_weight=0.5, words_weight=0.25)[0]
    assert weighed.words == ("BA", "A")
    expected = [1.0, 0.5, 0.25]
    assert weighed.total == pytest.approx(
        sum(w * weighed.heads[h] for w, h in zip(expected, HEADS, strict=True))
    )
    # log p of the other heads is that of CTC: the only likely path has nearly all of it
    assert weighed.heads["letters"] > -1 and weighed.heads["words"] > -1


def test_both_heads_are_searched(lm):
    config = config_of("both", lm_weight=0.5, blank_penalty=0.0)
    decoder = Decoder(HEADS, SOUNDS, lm, config)
    found = decoder.decode(SAID)
    assert found[0].words == ("BA", "A") and set(found[0].heads) == {"phones", "letters"}
    for h in found[:3]:
        phones = decoder.searches["phones"].likelihood(SAID["phones"], h.words)
        assert h.heads["phones"] == pytest.approx(phones, abs=0.05)
    head, spans = decoder.spans(SAID, ("BA", "A"))
    assert head == "phones" and [span[:2] for span in spans] == [(1, 3), (7, 7)]
    only = Decoder(HEADS, None, lm, config_of("letters"))
    assert only.decode(SAID)[0].words == ("BA", "A") and only.vocabulary.known == 4


def test_what_a_head_cannot_have_written_is_no_error(lm):
    """A head without steps says nothing; one with too few for some candidates is against these."""
    decoder = Decoder(HEADS, SOUNDS, lm, config_of("phones", letters_weight=1.0))
    found = decoder.decode(SAID | {"letters": SAID["letters"][:0]})
    assert found[0].words in {("BA", "A"), ("B", "A")} and math.isfinite(found[0].total)
    assert all(h.heads["letters"] == 0 for h in found)
    few = decoder.decode(SAID | {"letters": SAID["letters"][:1]})
    assert all(math.isfinite(h.total) for h in few) and few[0].words == ("B",)


def test_silence_has_no_words(lm):
    decoder = Decoder(HEADS, SOUNDS, lm, config_of("both"))
    quiet = {"phones": spiky("--s--s-", "ahbis"), "letters": spiky("-- --", " AB")}
    assert decoder.decode(quiet)[0].words == ()
    empty = {head: np.zeros((0, len(HEADS[head]) + 1), np.float32) for head in HEADS}
    assert decoder.decode(empty)[0].words == () and decoder.spans(quiet, ())[1] == []


def test_blank_penalty(lm):
    """Less of the blank: what is faint is written."""
    decoder = Decoder(HEADS, SOUNDS, lm, config_of("phones", lm_weight=0.1, blank_penalty=0.0))
    faint = np.log(np.array([[0.9, 0.1, 1e-4, 1e-4, 1e-4, 1e-4]] * 3, np.float32))
    assert decoder.decode({"phones": faint})[0].words == ()
    bold = Decoder(HEADS, SOUNDS, lm, config_of("phones", lm_weight=0.1, blank_penalty=4.0))
    assert bold.decode({"phones": torch.from_numpy(faint)})[0].words == ("A",)


# --- weights --------------------------------------------------------------------------------------


def test_tune_finds_what_helps(lm):
    """Phones say B or BA, the letters which: they get a weight, the errors go."""
    decoder = Decoder(HEADS, SOUNDS, lm, config_of("phones", letters_weight=0.001, lm_weight=2.0))
    said = {"letters": spiky("B--- A", " AB")}
    utterances = [SAID, SAID | said, SAID]
    references = [["BA", "A"], ["B", "A"], ["BA", "A"]]
    tuned = tune(decoder, utterances, references, lm_weights=(0.1, 2.0))
    assert tuned.before > tuned.after == 0 and tuned.config.letters_weight > 0
    assert decoder.config.letters_weight == 0.001  # only told, not changed
    assert Decoder(HEADS, SOUNDS, lm, tuned.config).decode(SAID | said)[0].words == ("B", "A")
    again = tune(decoder, utterances, references, lm_weights=(0.1, 2.0))
    assert again == tuned
    with pytest.raises(ConfigError, match="references"):
        tune(decoder, [], [])


# --- what does not fit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lm_weight": -1}, "lm_weight: must be >= 0, got -1"),
        ({"letters_weight": math.nan}, "letters_weight: must be >= 0, got nan"),
        ({"word_score": math.inf}, "word_score: must be finite, got inf"),
        ({"beam": 0}, "beam: must be an integer >= 1, got 0"),
        ({"beam": 10**7}, "beam: must be >= 1 and <= 100000, got 10000000"),
        ({"width": 0}, "width: must be > 0, got 0"),
        ({"source": "words"}, "source: must be one of phones, letters, both, got 'words'"),
        ({"phones_weight": 0}, "weights: at least one for phones"),
    ],
)
def test_configurations_that_are_none(options, message):
    with pytest.raises(ConfigError, match=message):
        DecodingConfig(**options)


def test_words_that_only_one_of_them_has(lm):
    fewer = Lexicon({"A": SOUNDS["A"], "BA": SOUNDS["BA"], "IY": [("IY",)]})
    decoder = Decoder(HEADS, fewer, lm, config_of("phones"))
    assert decoder.vocabulary == (2, ["AB", "B"], 1, 0)
    assert {w for h in decoder.decode(SAID) for w in h.words} <= {"A", "BA"}


def test_a_lexicon_in_small_letters(lm, tmp_path):
    small = Lexicon({word.lower(): rows for word, rows in SOUNDS.items()})
    write_lexicon(tmp_path / "small.txt", small)
    write_arpa(tmp_path / "lm.arpa", lm)
    config = config_of("phones")
    decoder = open_decoder(HEADS, tmp_path / "small.txt", tmp_path / "lm.arpa", config)
    assert decoder.vocabulary.only_lm == []
    words = [h.words for h in Decoder(HEADS, SOUNDS, lm, config).decode(SAID)]
    assert [h.words for h in decoder.decode(SAID)] == words


def test_lexicon_and_model_that_are_strangers(lm):
    with pytest.raises(DecodingError, match=r"has 0 \(in capitals 4\).*same case"):
        small = kneser_ney.estimate([line.lower().split() for line in TEXT], 2)
        Decoder(HEADS, SOUNDS, small, config_of("phones"))
    with pytest.raises(DecodingError, match="none of its words, such as 'a'"):
        Decoder(HEADS, None, small, config_of("letters"))
    with pytest.raises(DecodingError, match="'YYY', the lexicon has 0; one of its 4 is 'A'"):
        other = kneser_ney.estimate([["XXX", "YYY", "ZZZ"]], 2)
        Decoder(HEADS, SOUNDS, other, config_of("phones"))


def test_phones_that_the_run_does_not_write(lm):
    heads = {"phones": ("aa", "b", "sil")}
    with pytest.raises(DecodingError, match=r"does not write ah, iy; it writes aa b sil"):
        Decoder(heads, SOUNDS, lm, config_of("phones"))
    known = ("aa", "dx", "sh", "sil")
    folded = Lexicon({"A": [("AO1", "ZH")]})
    assert pronunciations(folded, ["A"], known) == {"A": [(1, 3)]}
    with pytest.raises(DecodingError, match="AO, ZH"):
        pronunciations(folded, ["A"], ("AA", "SH"))
    heads = {"phones": ("aa", "ah", "b", "iy", "sil")}
    decoder = Decoder(heads, SOUNDS, lm, config_of("phones"))
    assert decoder.decode(SAID)[0].words in {("BA", "A"), ("B", "A")}
    flaps = Lexicon({"BETTER": [("B", "EH1", "T", "ER0")], "RED": [("R", "EH", "D")]})
    known = ("b", "d", "dx", "eh", "er", "r", "t")
    assert pronunciations(flaps, flaps, known) == {
        "BETTER": [(1, 4, 7, 5), (1, 4, 3, 5)],
        "RED": [(6, 4, 2), (6, 4, 3)],
    }
    silent = Lexicon({"A": [("SIL", "AA", "SIL"), ("SIL",)]})
    assert pronunciations(silent, ["A"], INVENTORY) == {"A": [(1,)]}


def test_heads_that_the_run_does_not_have(lm):
    with pytest.raises(ConfigError, match="from: the run has no head letters; it has phones"):
        Decoder({"phones": INVENTORY}, SOUNDS, lm, config_of("letters"))
    with pytest.raises(ConfigError, match="words_weight: the run has no head words"):
        Decoder({"phones": INVENTORY}, SOUNDS, lm, config_of("phones", words_weight=1.0))
    with pytest.raises(ConfigError, match="lexicon: needed to read phones"):
        Decoder(HEADS, None, lm, config_of("both"))


def test_from_files(lm, tmp_path, caplog):
    lexicon, arpa = tmp_path / "lexicon.txt", tmp_path / "lm.arpa"
    lexicon.write_text("A AA1\nA(1) AH0\nBA  B AA0\n")
    write_arpa(arpa, lm)
    decoder = open_decoder(HEADS, lexicon, arpa, config_of("phones"))
    assert decoder.decode(SAID)[0].words == ("BA", "A")
    content = decoder.as_json()
    assert content["settings"]["source"] == "phones" and len(content["lm_sha256"]) == 64
    assert content["words"] == {"known": 2, "only_in_lm": 2, "only_in_lexicon": 0, "guessed": 0}
    (warning,) = caplog.messages
    assert warning.startswith("2 words of the language model") and "such as AB, B;" in warning
    rates = decoder.unknown_rates([["A", "AB"], ["X", "BA"]])
    assert rates == {"lm": 0.25, "lexicon": 0.5, "either": 0.5}
    assert decoder.unknown_rates([[]])["lm"] is None
    letters = open_decoder(HEADS, None, arpa, config_of("letters"))
    assert len(caplog.messages) == 1 and letters.as_json()["lexicon"] is None
    for text in ("", "\\data\\\nngram 1=7\n"):
        arpa.write_text(text)
        with pytest.raises(ArpaError):
            open_decoder(HEADS, lexicon, arpa, config_of("phones"))
