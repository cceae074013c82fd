"""Use of n-gram models: states and perplexity."""

import numpy as np
import pytest
from helpers import zipfian_sentences

from speechasym.errors import ConfigError
from speechasym.language.kneser_ney import estimate


def test_states_are_as_good_as_histories():
    model = estimate(zipfian_sentences(), 4)
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
    a, end = 0.6, 0.3  # p(A|<s>), p(</s>)
    empty = 0.5 * 0.3  # p(</s>|<s>) = g(<s>) p(</s>)
    assert found[1:] == (2, 2, 1) and found.unknown_rate == 0.5
    assert found.perplexity == pytest.approx((a * end * empty) ** (-1 / 3), rel=1e-6)
    with pytest.raises(ConfigError, match="expected at least one"):
        model.perplexity([])


def test_what_follows_each_word():
    model = estimate(zipfian_sentences(), 4)
    row = [2, *np.random.default_rng(5).integers(3, len(model.words), 40), 2, 5, 2, 7]
    found = model.following(np.array([row, row[::-1]], np.int32))
    assert found.shape == (2, len(row), len(model.words))
    for numbers, answers in zip((row, row[::-1]), found, strict=True):
        history = []
        for number, answer in zip(numbers, answers, strict=True):
            history = ["<s>"] if number == 2 else [*history, model.words[number]]
            expected = [model.log10(word, history) for word in model.words]
            np.testing.assert_allclose(answer, expected, atol=1e-5)
