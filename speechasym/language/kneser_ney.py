"""Estimation of n-gram models: interpolated modified Kneser-Ney [1].

Conventions, those of common estimators [2]:
- Each sentence is wrapped in <s> and </s>; n-grams do not cross its ends.
- Counts of the highest order are raw; a lower order counts the different words that precede an
  n-gram. N-grams that begin with <s> have none before them: their counts stay raw.
- <s> is never predicted: its log probability is -99, and it has no share in any distribution.
- Words outside the vocabulary count as <unk>. Unigrams are interpolated with a uniform
  distribution over the vocabulary with <unk> and </s>: this share is all that unseen words have.

[1] S. F. Chen, J. Goodman, "An empirical study of smoothing techniques for language modeling",
    Computer Speech & Language 13, 359-394, 1999: section 3.
[2] K. Heafield et al., "Scalable modified Kneser-Ney language model estimation", ACL 2013.
"""

import logging
from array import array
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.config import check_count
from speechasym.errors import ConfigError
from speechasym.language.ngrams import (
    END,
    MAX_ORDER,
    NEVER,
    SPECIAL,
    START,
    NgramModel,
    Order,
    build_model,
)

FALLBACK = (0.5, 1.0, 1.5)  # discounts of counts 1, 2, 3 and more, for texts that are too small

_log = logging.getLogger(__name__)


class NumberedText(NamedTuple):
    """Sentences as numbers of words, which take a fraction of the memory of words."""

    words: tuple[str, ...]  # in order of their first occurrence
    numbers: NDArray[np.int32]  # of the words of all sentences in a row, -1 after each sentence


def number_words(sentences: Iterable[Sequence[str]]) -> NumberedText:
    """Number the words of sentences, which are read one after the other and not kept."""
    seen: dict[str, int] = {}
    row = array("i")
    for sentence in sentences:
        row.extend([seen.setdefault(word, len(seen)) for word in sentence])
        row.append(-1)
    return NumberedText(tuple(seen), np.array(row, np.int32))


def estimate(
    sentences: NumberedText | Iterable[Sequence[str]],
    order: int = 3,
    *,
    vocabulary: Collection[str] | None = None,
    least: int = 1,
    least_bigram: int = 1,
) -> NgramModel:
    """Estimate an n-gram model.

    With c the count of an n-gram h w, and D(c) the discount D1, D2 or D3+ of its order,

        p(w | h) = (c(h w) - D(c)) / sum_v c(h v) + g(h) p(w | h without its first word)
        g(h) = sum_v D(c(h v)) / sum_v c(h v)
        Dk = k - (k + 1) Y n_{k+1} / n_k,  Y = n1 / (n1 + 2 n2),  n_k n-grams counted k times

    If one of n1 to n4 is 0, as in tiny texts, or a discount is outside 0 to k, the order gets the
    discounts 0.5, 1 and 1.5, and a warning is logged.

    Args:
        sentences: each a sequence of words, without <s> and </s>, or these with their words
            numbered; empty ones count.
        order: length of the longest n-grams, 1 to 9.
        vocabulary: the words to know, seen or not; all others count as <unk>. None: all seen.
        least: n-grams of three words and more that occur less often are pruned: their mass goes to
            the back-off. Discounts are computed before.
        least_bigram: likewise for two words; at most `least`, as three words need their first two.

    Raises:
        ConfigError: no sentences, an option out of range, an empty vocabulary, or a word that
            contains spaces or is <s> or </s>.
    """
    if not 1 <= order <= MAX_ORDER:
        raise ConfigError("order", f"must be from 1 to {MAX_ORDER}, got {order}", "3 is usual")
    check_count("least", least)
    check_count("least_bigram", least_bigram)
    if order > 2 and least_bigram > least:
        problem = f"must be at most least, {least}, or three words lose their first two"
        raise ConfigError("least_bigram", problem, f"Use {least}, or a larger least")
    text = sentences if isinstance(sentences, NumberedText) else number_words(sentences)
    if not len(text.numbers):
        raise ConfigError("sentences", "expected at least one", "Give a text that has words")
    words = _vocabulary(text.words, vocabulary)
    tokens, ends = _tokens(text, words)
    return _smooth(words, _count(tokens, ends, order, len(words)), (1, least_bigram, least))


def _vocabulary(seen: tuple[str, ...], known: Collection[str] | None) -> tuple[str, ...]:
    words = set(seen if known is None else known)
    if known is not None and not words - set(SPECIAL):
        raise ConfigError("vocabulary", "it has no words", "Give None to know all words seen")
    if bad := [word for word in words if word.split() != [word]]:
        raise ConfigError("word", f"{min(bad)!r} is empty or contains spaces", "Split it at spaces")
    return SPECIAL + tuple(sorted(words - set(SPECIAL)))


def _tokens(
    text: NumberedText, words: tuple[str, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return all sentences, <s> ... </s>, in a row; and for each token where its sentence ends."""
    if {START, END} & set(text.words):
        raise ConfigError("sentences", f"one contains {START} or {END}", "Leave these out")
    new = {word: number for number, word in enumerate(words)}
    table = np.array([*(new.get(word, 0) for word in text.words), SPECIAL.index(END)], np.int64)
    stops = np.flatnonzero(text.numbers < 0)
    starts = np.append(0, stops[:-1] + 1)
    lengths = stops - starts + 2
    tokens = np.insert(table[text.numbers], starts, SPECIAL.index(START))
    return tokens, np.repeat(np.cumsum(lengths), lengths)


class _Counts(NamedTuple):
    """The n-grams of one order, sorted; prefix and suffix are indices into the order below."""

    prefix: NDArray[np.int64]
    number: NDArray[np.int64]  # of the last word
    suffix: NDArray[np.int64]
    raw: NDArray[np.int64]
    adjusted: NDArray[np.int64]


def _count(
    tokens: NDArray[np.int64], ends: NDArray[np.int64], order: int, words: int
) -> list[_Counts]:
    start = SPECIAL.index(START)
    index = tokens  # of the n-gram that begins at each position, one order lower
    nothing = np.zeros(words, np.int64)
    raw = np.bincount(tokens, minlength=words)
    counts = [_Counts(nothing, np.arange(words), nothing, raw, raw.copy())]
    from_start = [np.arange(words) == start]  # whether the n-gram begins with <s>
    for n in range(2, order + 1):
        positions = np.arange(len(index) - 1)
        positions = positions[positions + n <= ends[: len(positions)]]
        keys = index[positions] * words + tokens[positions + n - 1]
        unique, at, inverse, raw = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        example = positions[at]
        counts.append(_Counts(unique // words, unique % words, index[example + 1], raw, raw))
        from_start.append(tokens[example] == start)
        index = np.full(len(tokens), -1)
        index[positions] = inverse
    for n in range(order - 1):  # the highest order keeps its raw counts
        before = np.bincount(counts[n + 1].suffix, minlength=len(counts[n].raw))
        adjusted = np.where(from_start[n], counts[n].raw, before)
        counts[n] = counts[n]._replace(adjusted=adjusted)
    counts[0].adjusted[start] = 0  # never predicted
    return counts


def discounts_of(counts: NDArray[np.int64], order: int) -> tuple[float, float, float]:
    """Return D1, D2, D3+ for the counts of an order's n-grams, see `estimate`."""
    n1, n2, n3, n4 = (int((counts == k).sum()) for k in (1, 2, 3, 4))
    if min(n1, n2, n3, n4) > 0:
        y = n1 / (n1 + 2 * n2)
        discounts = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
        if all(0 <= d <= k for k, d in enumerate(discounts, 1)):
            return discounts
    _log.warning(
        "order %d: n-grams counted 1, 2, 3, 4 times: %d, %d, %d, %d. The text is too small to"
        " compute discounts; using %s",
        order, n1, n2, n3, n4, ", ".join(map(str, FALLBACK)),
    )  # fmt: skip
    return FALLBACK


def _smooth(words: tuple[str, ...], counted: list[_Counts], least: Sequence[int]) -> NgramModel:
    discounts = tuple(discounts_of(c.adjusted, n) for n, c in enumerate(counted, 1))
    predicted = len(words) - 1  # all but <s>
    lower = np.full(1, 1 / predicted)  # probabilities of the order below, here the uniform one
    kept_below = np.ones(1, bool)
    orders: list[Order] = []
    begin, begin_below = 1, 0  # first nodes of this order, and of the order below
    for n, (counts, discount) in enumerate(zip(counted, discounts, strict=True), 1):
        # words of the vocabulary that were never seen are kept
        kept = counts.raw >= least[min(n, 3) - 1] if n > 1 else np.ones(len(counts.raw), bool)
        c = counts.adjusted
        # what an n-gram gives to the back-off
        discounted = np.array([0.0, *discount])[np.minimum(c, 3)]
        discounted = np.where(kept, discounted, c)
        sums = np.bincount(counts.prefix, c, len(lower))
        mass = np.bincount(counts.prefix, discounted, len(lower))
        # a history that nothing follows gives all
        backoff = np.divide(mass, sums, out=np.ones(len(lower)), where=sums > 0)
        p = (c - discounted) / np.maximum(sums, 1)[counts.prefix]
        p = p + backoff[counts.prefix] * lower[counts.suffix]
        if n > 1:
            orders[-1] = orders[-1]._replace(backoff=_log10(backoff)[kept_below])
        # prefixes and suffixes occur at least as often, so they are kept as well
        node = np.cumsum(kept_below) - 1 + begin_below
        orders.append(
            Order(
                parent=node[counts.prefix[kept]],
                number=counts.number[kept],
                suffix=node[counts.suffix[kept]],
                probability=_log10(p)[kept],
                backoff=np.zeros(int(kept.sum())),
            )
        )
        begin_below, begin = begin, begin + int(kept.sum())
        lower, kept_below = p, kept
    return build_model(words, orders, discounts)


def _log10(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log10(np.where(p > 0, p, 10**NEVER))
