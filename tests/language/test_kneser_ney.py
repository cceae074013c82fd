"""Kneser-Ney estimates by hand and by dumb loops."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from helpers import zipfian_sentences

from speechasym.errors import ConfigError
from speechasym.language import kneser_ney, ngrams
from speechasym.language.kneser_ney import estimate


def oracle(sentences, order, vocabulary=None, least=1, pairs=1):
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
            pruned = raw[n][(*history, other)] < {1: 0, 2: pairs}.get(n, least)
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
    assert model.discounts == (kneser_ney.FALLBACK, kneser_ney.FALLBACK)
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
    ("order", "seed", "cut", "least", "pairs"),
    [(1, 0, False, 1, 1), (2, 0, False, 1, 3), (3, 0, False, 1, 1), (4, 1, True, 1, 1),
     (4, 1, True, 2, 2), (3, 2, False, 3, 2)],
)  # fmt: skip
def test_estimates_equal_the_formulas(order, seed, cut, least, pairs):
    sentences = zipfian_sentences(seed)
    vocabulary = [*(f"W{n}" for n in range(20)), "UNSEEN"] if cut else None
    model = estimate(sentences, order, vocabulary=vocabulary, least=least, least_bigram=pairs)
    p, discounts, predicted = oracle(sentences, order, vocabulary, least, pairs)
    np.testing.assert_allclose(model.discounts, [d[1:] for d in discounts], rtol=1e-12)
    if order < 4:
        assert kneser_ney.FALLBACK not in model.discounts  # else this would test less
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
    model = estimate(zipfian_sentences(), 3, least=least)
    states = set(model.state_of.tolist())
    assert len(states) > 100
    for state in states:
        own = [model.step(state, n)[0] for n in range(len(model.words)) if n != 1]
        assert sum(10**p for p in own) == pytest.approx(1, abs=1e-5)


def test_pruning_drops_rare_ngrams_of_three_words_and_more():
    whole, pruned = (estimate(zipfian_sentences(), 4, least=least) for least in (1, 3))
    assert pruned.sizes[:2] == whole.sizes[:2] and pruned.discounts == whole.discounts
    counts = Counter()
    for sentence in zipfian_sentences():
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
        ([], {}, "expected at least one"),
        ([["A"]], {"order": 0}, "order: must be from 1 to 9, got 0"),
        ([["A"]], {"order": 10}, "order: must be from 1 to 9, got 10"),
        ([["A"]], {"least": 0}, "least: must be an integer >= 1, got 0"),
        ([["A"]], {"least": 2, "least_bigram": 3}, "least_bigram: must be at most least, 2"),
        ([["A B"]], {}, "'A B' is empty or contains spaces"),
        ([[""]], {}, "'' is empty"),
        ([["<s>", "A"]], {}, "contains <s>"),
        ([["A", "</s>"]], {"vocabulary": ["A"]}, "contains <s> or </s>"),
        ([["A"]], {"vocabulary": ["<unk>"]}, "no words"),
    ],
)
def test_what_cannot_be_estimated(sentences, options, says):
    with pytest.raises(ConfigError, match=says):
        estimate(sentences, **options)
