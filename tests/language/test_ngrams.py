"""N-gram models: Kneser-Ney by hand and by dumb loops, ARPA files and their faults, texts, `lm`."""

import gzip
from collections import Counter, defaultdict

import numpy as np
import pytest
from helpers import called
from helpers import text_manifest as manifest

from speechasym.errors import ArpaError, ConfigError, TextError
from speechasym.language import ngrams
from speechasym.language.ngrams import estimate, read_arpa
from speechasym.language.texts import read_text, words_of_text

ARRAYS = ("word", "first", "suffix", "probability", "backoff")


def zipfian(seed=3, sentences=300, words=150):
    """Sentences with repeated phrases, so that all counts of counts are above 0."""
    rng = np.random.default_rng(seed)
    share = np.arange(1.0, words + 1) ** -1.3
    names = [f"W{n}" for n in range(words)]
    return [
        [str(w) for w in rng.choice(names, rng.integers(0, 9), p=share / share.sum())]
        for _ in range(sentences)
    ]


def oracle(sentences, order, vocabulary=None, least=1):
    """p(word, history) by the formulas, one n-gram after the other."""
    known = {w for s in sentences for w in s} if vocabulary is None else set(vocabulary)
    raw = [Counter() for _ in range(order + 1)]
    for sentence in sentences:
        row = ["<s>", *(w if w in known else "<unk>" for w in sentence), "</s>"]
        for n in range(1, order + 1):
            for i in range(len(row) - n + 1):
                raw[n][tuple(row[i : i + n])] += 1
    counts = [None]
    for n in range(1, order + 1):
        own = {}
        for gram in raw[n]:
            if n == order or gram[0] == "<s>":
                own[gram] = raw[n][gram]
            else:
                own[gram] = len({long[0] for long in raw[n + 1] if long[1:] == gram})
        counts.append(own)
    counts[1][("<s>",)] = 0
    discounts = [None]
    for n in range(1, order + 1):
        n1, n2, n3, n4 = (sum(c == k for c in counts[n].values()) for k in (1, 2, 3, 4))
        discount = [0, 0.5, 1.0, 1.5]
        if n1 and n2 and n3 and n4:
            y = n1 / (n1 + 2 * n2)
            tried = [0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3]
            if all(0 <= d <= k for k, d in enumerate(tried)):
                discount = tried
        discounts.append(discount)
    predicted = known | {"</s>", "<unk>"}
    after = [defaultdict(dict) for _ in range(order + 1)]
    for n in range(1, order + 1):
        for gram, c in counts[n].items():
            after[n][gram[:-1]][gram[-1]] = c

    def p(word, history):
        history = tuple(history)[max(0, len(history) - order + 1) :]
        lower = p(word, history[1:]) if history else 1 / len(predicted)
        n = len(history) + 1
        followers = after[n].get(history, {})
        total = sum(followers.values())
        if not total:
            return lower
        own = given = 0
        for other, c in followers.items():
            pruned = n > 2 and raw[n][(*history, other)] < least
            discount = c if pruned else discounts[n][min(c, 3)]
            given += discount
            if other == word:
                own = c - discount
        return own / total + given / total * lower

    return p, discounts[1:], sorted(predicted)


def histories(words, order, seed=0):
    rng = np.random.default_rng(seed)
    most = max(order, 2)
    some = [[str(w) for w in rng.choice(words, rng.integers(0, most))] for _ in range(12)]
    return [*some, ["<s>"], ["<s>", words[3]], ["NEVER", "HEARD"], ["</s>"]]


# --- estimates -----------------------------------------------------------------------------------


def test_a_unigram_model_by_hand():
    sentence = ["A", "B", "C", "D", "E", "E", "F", "F", "G", "G", "G", "H", "H", "H", "H"]
    model = estimate([sentence], 1)
    # counts: A B C D </s> once, E F twice, G 3, H 4: n1..n4 = 5, 2, 1, 1; Y = 5 / 9
    # D1 = 1 - 2 (5/9) 2/5 = 5/9, D2 = 2 - 3 (5/9) 1/2 = 7/6, D3+ = 3 - 4 (5/9) 1/1 = 7/9
    assert model.discounts[0] == pytest.approx((5 / 9, 7 / 6, 7 / 9))
    # 16 tokens; given to the uniform share: (5 x 5/9 + 2 x 7/6 + 2 x 7/9) / 16 = 5/12,
    # over A to H, </s> and <unk>: 1/24 each
    assert 10 ** model.log10("A") == pytest.approx(4 / 9 / 16 + 1 / 24, rel=1e-6)  # 5/72
    assert 10 ** model.log10("E") == pytest.approx(9 / 96, rel=1e-6)  # (2 - 7/6) / 16 + 1/24
    assert 10 ** model.log10("H", ["B"]) == pytest.approx(35 / 144, rel=1e-6)
    assert 10 ** model.log10("NEVER") == pytest.approx(1 / 24, rel=1e-6)


def test_a_bigram_model_by_hand(caplog):
    model = estimate([["A", "B"], ["A", "C"], ["A", "B"]], 2)
    # no bigram occurs 4 times, no unigram has 3 words before it: fallback, 0.5, 1 and 1.5
    assert model.discounts == (ngrams.FALLBACK, ngrams.FALLBACK)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2
    assert "order 2: n-grams counted 1, 2, 3, 4 times: 2, 2, 1, 0" in caplog.text
    # words before A: <s>; before B: A; before C: A; before </s>: B and C. 5 in all.
    # g() = (3 x 0.5 + 1) / 5 = 0.5, over A, B, C, </s>, <unk>: 0.1 each
    for word, p in {"A": 0.2, "B": 0.2, "C": 0.2, "</s>": 0.3, "<unk>": 0.1}.items():
        assert 10 ** model.log10(word) == pytest.approx(p, rel=1e-6)
    # after A: B twice, C once; g(A) = (1 + 0.5) / 3
    assert 10 ** model.log10("B", ["A"]) == pytest.approx((2 - 1) / 3 + 0.5 * 0.2, rel=1e-6)
    assert 10 ** model.log10("C", ["A"]) == pytest.approx((1 - 0.5) / 3 + 0.5 * 0.2, rel=1e-6)
    assert 10 ** model.log10("</s>", ["A"]) == pytest.approx(0.5 * 0.3, rel=1e-6)
    # <s> begins 3 sentences with A: raw counts
    assert 10 ** model.log10("A", ["<s>"]) == pytest.approx((3 - 1.5) / 3 + 0.5 * 0.2, rel=1e-6)
    # A </s> is not there: g(A) p(</s>); nothing follows </s>, so that its back-off is 1
    assert model.log10("B", ["</s>"]) == model.log10("B")
    assert model.log10("<s>", []) == ngrams.NEVER
    # p(A|<s>) p(C|A) p(</s>|C): (1 - 0.5) / 1 + 0.5 x 0.3
    assert 10 ** model.score(["A", "C"]) == pytest.approx(0.6 * (1 / 6 + 0.1) * 0.65, rel=1e-6)


@pytest.mark.parametrize(
    ("order", "seed", "cut", "least"),
    [(1, 0, False, 1), (2, 0, False, 1), (3, 0, False, 1), (4, 1, True, 1), (4, 1, True, 2),
     (3, 2, False, 3)],
)  # fmt: skip
def test_estimates_equal_the_formulas(order, seed, cut, least):
    sentences = zipfian(seed)
    vocabulary = [*(f"W{n}" for n in range(20)), "UNSEEN"] if cut else None
    model = estimate(sentences, order, vocabulary=vocabulary, least=least)
    p, discounts, predicted = oracle(sentences, order, vocabulary, least)
    np.testing.assert_allclose(model.discounts, [d[1:] for d in discounts], rtol=1e-12)
    if order < 4:
        assert ngrams.FALLBACK not in model.discounts  # else this would test less
    assert sorted(set(model.words)) == sorted([*predicted, "<s>"])
    for history in histories(predicted, order):
        told = [w if w in (*predicted, "<s>") else "<unk>" for w in history]
        wanted = {word: p(word, told) for word in predicted}
        assert sum(wanted.values()) == pytest.approx(1)
        found = {word: 10 ** model.log10(word, history) for word in predicted}
        assert sum(found.values()) == pytest.approx(1, abs=1e-5)
        for word in predicted:
            assert found[word] == pytest.approx(wanted[word], rel=1e-5), (history, word)


@pytest.mark.parametrize("least", [1, 2])
def test_every_history_of_the_model_sums_to_1(least):
    model = estimate(zipfian(), 3, least=least)
    states = set(model.state_of.tolist())
    assert len(states) > 100
    for state in states:
        own = [model.step(state, n)[0] for n in range(len(model.words)) if n != 1]
        assert sum(10**p for p in own) == pytest.approx(1, abs=1e-5)


def test_pruning_drops_rare_ngrams_of_three_words_and_more():
    whole, pruned = (estimate(zipfian(), 4, least=least) for least in (1, 3))
    assert pruned.sizes[:2] == whole.sizes[:2] and pruned.discounts == whole.discounts
    counts = Counter()
    for sentence in zipfian():
        row = ["<s>", *sentence, "</s>"]
        counts.update(tuple(row[i : i + 3]) for i in range(len(row) - 2))
    kept = {gram for gram, _, _ in pruned.ngrams(3)}
    assert kept == {gram for gram, count in counts.items() if count >= 3}
    assert 0 < pruned.sizes[3] < whole.sizes[3]


def test_an_empty_sentence_counts():
    with_empty, without = estimate([["A"], []], 2), estimate([["A"]], 2)
    assert with_empty.log10("</s>", ["<s>"]) > without.log10("</s>", ["<s>"])


@pytest.mark.parametrize(
    ("sentences", "options", "says"),
    [
        ([], {}, "there are none"),
        ([["A"]], {"order": 0}, "order: 0"),
        ([["A"]], {"order": 10}, "order: 10"),
        ([["A"]], {"least": 0}, "least: 0"),
        ([["A B"]], {}, "'A B' is empty or has blanks"),
        ([[""]], {}, "'' is empty"),
        ([["<s>", "A"]], {}, "has <s>"),
        ([["A", "</s>"]], {"vocabulary": ["A"]}, "has <s> or </s>"),
        ([["A"]], {"vocabulary": ["<unk>"]}, "no words"),
    ],
)
def test_what_cannot_be_estimated(sentences, options, says):
    with pytest.raises(ConfigError, match=says):
        estimate(sentences, **options)


# --- use -----------------------------------------------------------------------------------------


def test_states_are_as_good_as_histories():
    model = estimate(zipfian(), 4)
    rng = np.random.default_rng(5)
    state, history = model.start, ["<s>"]
    for number in rng.integers(3, len(model.words), 300):
        word = model.words[number]
        score, state = model.step(state, int(number))
        assert score == pytest.approx(model.log10(word, history), abs=1e-9)
        assert score == pytest.approx(model.log10(word, history[-3:]), abs=1e-9)
        history.append(word)
    assert model.state_of[state] == state
    # a state is the shortest that predicts the same: no trigram begins with these two
    followed = {gram[:2] for gram, _, _ in model.ngrams(3)}
    alone = next(g for g, _, b in model.ngrams(2) if g not in followed and b == 0)
    assert model.state(alone) == model.state(alone[1:])


def test_perplexity():
    model = estimate([["A", "B"], ["A", "C"], ["A", "B"]], 2)
    found = model.perplexity([["A", "X"], []])
    a, x, end = 0.6, 0.5 * 0.1, 0.3  # p(A|<s>), g(A) p(<unk>), p(</s>)
    empty = 0.5 * 0.3  # p(</s>|<s>) = g(<s>) p(</s>)
    assert found[2:] == (2, 2, 1) and found.unknown_rate == 0.5
    assert found.perplexity == pytest.approx((a * end * empty) ** (-1 / 3), rel=1e-6)
    assert found.with_unknown == pytest.approx((a * x * end * empty) ** (-1 / 4), rel=1e-6)
    with pytest.raises(ConfigError, match="there are none"):
        model.perplexity([])


# --- files ---------------------------------------------------------------------------------------


def same(a, b):
    assert (a.words, a.sizes) == (b.words, b.sizes)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz"])
def test_a_file_holds_all(tmp_path, name, order):
    model = estimate(zipfian(), order, vocabulary=[f"W{n}" for n in range(30)], least=2)
    path = tmp_path / name
    model.write_arpa(path)
    again = read_arpa(path)
    same(model, again)
    first = path.read_bytes()
    again.write_arpa(path)
    assert path.read_bytes() == first  # equal models, equal bytes
    assert (first[:2] == b"\x1f\x8b") == name.endswith(".gz")


# p(A) = 0.5, p(</s>) = 0.25, p(B) = 0.25; p(B | A) = 0.5
SMALL = """made by hand
\\data\\
ngram 1=4
ngram 2=2

\\1-grams:
-0.30103 A -0.1
0 <s> -0.2
-0.60206 </s>
-0.60206 B -0.05

\\2-grams:
-0.30103 A B
-0.1 <s> A

\\end\\
"""


def test_a_file_of_others(tmp_path):
    path = tmp_path / "small.arpa"
    path.write_text(SMALL.replace("\n", "\r\n"), newline="")
    model = read_arpa(path)
    assert model.words == ("<unk>", "<s>", "</s>", "A", "B")
    assert model.log10("B", ["A"]) == pytest.approx(-0.30103)
    assert model.log10("A", ["A"]) == pytest.approx(-0.30103 - 0.1)
    assert model.log10("A", ["B", "<s>"]) == pytest.approx(-0.1)
    assert model.log10("B", ["<s>"]) == pytest.approx(-0.60206 - 0.2)
    assert model.log10("<s>") == model.log10("X") == ngrams.NEVER


def test_an_ngram_whose_suffix_lacks(tmp_path):
    text = SMALL.replace("ngram 2=2\n", "ngram 2=2\nngram 3=1\n")
    text = text.replace("-0.1 <s> A\n", "-0.1 <s> A -0.7\n\n\\3-grams:\n-0.2 <s> A A\n")
    path = tmp_path / "x.arpa"
    path.write_text(text)  # A A is no bigram
    model = read_arpa(path)
    assert model.log10("A", ["<s>", "A"]) == pytest.approx(-0.2)
    assert model.log10("B", ["<s>", "A", "A"]) == pytest.approx(-0.30103)
    assert model.log10("</s>", ["<s>", "A"]) == pytest.approx(-0.7 - 0.1 - 0.60206)


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        (SMALL, "", None, "is empty"),
        (SMALL, " \n\n", None, "is empty"),
        ("\\data\\", "data", None, "no line `\\data\\`"),
        ("ngram 1=4\n", "", 3, "`ngram 1=` is expected"),
        ("ngram 1=4\nngram 2=2\n", "", 4, "`ngram 1=COUNT` is expected"),
        ("ngram 1=4", "ngram 1=5", 12, "4 n-grams of order 1, and the header says 5"),
        ("ngram 2=2", "ngram 2=1", 16, "2 n-grams of order 2, and the header says 1"),
        ("-0.30103 A -0.1", "0.3 A -0.1", 7, "log probability 0.3 is above 0"),
        ("-0.30103 A -0.1", "x A -0.1", 7, "'x' is no number"),
        ("-0.30103 A -0.1", "nan A -0.1", 7, "'nan' is no number"),
        ("-0.30103 A -0.1", "-0.30103 A inf", 7, "'inf' is no number"),
        ("-0.30103 A B", "-0.30103 A C", 13, "'C' is no unigram"),
        ("-0.30103 A B", "-0.30103 A", 13, "2 words are expected"),
        ("-0.30103 A B", "-0.30103 A B -0.1", 13, "2 words are expected"),
        ("-0.1 <s> A", "-0.1 A B", 14, "'A B' is there twice"),
        ("-0.60206 B -0.05", "-0.60206 A -0.05", 10, "'A' is there twice"),
        ("0 <s> -0.2", "0 <S> -0.2", None, "no unigram <s>"),
        ("\\2-grams:", "\\3-grams:", 12, "`\\2-grams:` is expected"),
        ("\\end\\\n", "", 14, "the end of the file"),
        ("-0.1 <s> A\n\n\\end\\\n", "", 13, "The file may be cut off"),
    ],
)  # fmt: skip
def test_faults_of_files(tmp_path, old, new, line, says):
    path = tmp_path / "faulty.arpa"
    assert old in SMALL
    path.write_text(SMALL.replace(old, new))
    with pytest.raises(ArpaError) as error:
        read_arpa(path)
    assert says in str(error.value)
    assert str(error.value).startswith(f"{path}:{line}: " if line else f"{path}: ")


def test_a_history_that_lacks(tmp_path):
    text = SMALL.replace("ngram 2=2\n", "ngram 2=2\nngram 3=1\n")
    path = tmp_path / "x.arpa"
    path.write_text(text.replace("\n\\end", "\n\\3-grams:\n-0.2 B A A\n\n\\end"))
    with pytest.raises(ArpaError, match=r"x.arpa:18: the history 'B A' is no n-gram"):
        read_arpa(path)


def test_files_that_are_no_text(tmp_path):
    with pytest.raises(ArpaError, match=r"none.arpa: cannot be read"):
        read_arpa(tmp_path / "none.arpa")
    whole = gzip.compress(SMALL.encode())
    for name, raw, says in (
        ("cut", whole[:-9], "is packed and not whole"),
        ("spoilt", whole[:20] + b"\xff" * 9 + whole[29:], "packed|cannot be read"),
        ("binary", b"\x93\xfe\x00", "is no text"),
    ):
        path = tmp_path / name
        path.write_bytes(raw)
        with pytest.raises(ArpaError, match=says):
            read_arpa(path)


# --- texts ---------------------------------------------------------------------------------------

BOOK = """The Project Gutenberg Etext of X
*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*

CHAPTER I

THE LONG WAY
HOME

Mr. Brown-Smith, M. P., asked Dr. Who: \u2018Can\u2019t _you_ come to-day?\u2019 "Yes!" said
she--James' wife; 'twas
caf\u00e9 & cake, etc. No. In 1801 he died. Part of it I. Then all.

XIV

Part of me wants that. O'Brien's

[The End]

End of the Project Gutenberg Etext of X
No more. Of this.
"""


def test_words_of_a_book():
    assert [" ".join(words) for words in words_of_text(BOOK)] == [
        "MISTER BROWN SMITH M P ASKED DOCTOR WHO CAN'T YOU COME TO DAY",
        "YES SAID SHE JAMES WIFE TWAS CAFE AND CAKE ET CETERA NO",
        "PART OF IT I",
        "THEN ALL",
        "PART OF ME WANTS THAT",
        "O'BRIEN'S",
    ]


def test_words_of_transcripts():
    text = "OH WELL\nIT'S 'TIS\n\nI\nROOM 12\n"
    assert words_of_text(text) == [["OH", "WELL"], ["IT'S", "TIS"], ["I"]]


@pytest.mark.parametrize(
    ("text", "count"),
    [("He said: \u201cGo!\u201d \u201cNo.\u201d", 2), ("Mr. A. B. Cook left.", 1),
     ("Yes... no.", 1), ("What?! Me.", 2), ("Wait... They did.", 2), ("1801", 0),
     ("Chapter the Last\nin which", 0)],
)  # fmt: skip
def test_sentences(text, count):
    assert len(words_of_text(text)) == count


def test_texts_that_cannot_be_read(tmp_path):
    for name, raw, says in (
        ("empty.txt", b"", "no sentences"),
        ("signs.txt", b"... 12!", "no sentences"),
        ("binary.txt", b"He\0", "byte 2 is not text"),
        ("cut.txt.gz", gzip.compress(b"He said so.")[:-9], "cannot be read"),
    ):
        path = tmp_path / name
        path.write_bytes(raw)
        with pytest.raises(TextError, match=f"{name}: .*{says}"):
            read_text(path)
    with pytest.raises(TextError, match=r"none.txt: cannot be read \(No such file"):
        read_text(tmp_path / "none.txt")
    path = tmp_path / "book.txt.gz"
    path.write_bytes(gzip.compress("Ça va. Bien.".encode("latin-1")))
    assert read_text(path) == [["CA", "VA"], ["BIEN"]]


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path):
    (tmp_path / "book.txt").write_text('The sun rose. The sun set. "Oh!" It rained.\n')
    manifest(tmp_path / "train.jsonl", ["it rained", "the sun", "IT SHONE"])
    manifest(tmp_path / "dev.jsonl", ["the rain rained"])
    (tmp_path / "words.txt").write_text("the\nsun 12\nRAIN\n")
    (tmp_path / "lexicon.txt").write_text("THE  DH AH0\nRAINED  R EY1 N D\nMOON  M UW1 N\n")
    return tmp_path


def test_lm(made, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = made / "lm.arpa.gz"
    code, said, _ = called(
        capsys, "lm", made / "book.txt", "--transcripts", made / "train.jsonl", "--out", out,
        "--order", 2, "--test", made / "dev.jsonl", made / "book.txt",
    )  # fmt: skip
    assert code == 0
    rows = dict(line.strip("│ ").split("│") for line in said.splitlines() if line[0] == "│")
    rows = {name.strip(): value.strip() for name, value in rows.items()}
    assert rows["sentences"] == "7" and rows["words"] == "15, of which 0 unknown"
    model = read_arpa(out)
    assert set(model.words[3:]) == {"THE", "SUN", "ROSE", "SET", "OH", "IT", "RAINED", "SHONE"}
    assert rows["2-grams"].startswith(f"{model.sizes[1]}; discounts ")
    wanted = model.perplexity([["THE", "RAIN", "RAINED"]]).perplexity
    assert f"{wanted:.1f} on {made}/dev.jsonl: 1 sentences, 3 words, 33.33% unknown" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--least", 2], {"THE", "SUN"}),
        (["--vocabulary", "words.txt"], {"THE", "SUN", "RAIN"}),
        (["--lexicon", "lexicon.txt"], {"THE", "RAINED"}),
        (["--lexicon", "lexicon.txt", "--vocabulary", "words.txt"], {"THE"}),
    ],
)
def test_vocabularies(made, capsys, monkeypatch, options, words):
    monkeypatch.chdir(made)
    code, _, _ = called(capsys, "lm", "book.txt", "--out", "lm.arpa", *options)
    assert code == 0 and set(read_arpa("lm.arpa").words[3:]) == words


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "no texts to learn from"),
        (["none.txt"], "none.txt: cannot be read"),
        (["book.txt", "--order", "12"], "order: 12"),
        (["book.txt", "--least", "9"], "no word is left"),
        (["book.txt", "--vocabulary", "none"], "none: cannot be read"),
        (["book.txt", "--test", "none.jsonl"], "none.jsonl: no such manifest"),
    ],
)
def test_lm_with_what_cannot_be(made, capsys, monkeypatch, arguments, says):
    monkeypatch.chdir(made)
    code, _, err = called(capsys, "lm", *arguments, "--out", "lm.arpa")
    assert code == 2 and says in err and not (made / "lm.arpa").exists()
