"""N-gram language models.

A model is a tree of n-grams: node 0 is the empty history, its children are the unigrams, theirs
the bigrams. Nodes are numbered order by order, and the children of a node are contiguous, sorted
by word, so that a model is a handful of flat arrays. Probabilities are float32 logarithms to the
base 10. `kneser_ney` estimates models, `arpa` reads and writes them.

Shapes: M nodes (1 + all n-grams), V words with <unk>, <s> and </s>.

[1] S. P. Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory, 1982.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.errors import ConfigError
from speechasym.ops import cpu_ngrams

UNKNOWN, START, END = "<unk>", "<s>", "</s>"
SPECIAL = (UNKNOWN, START, END)  # numbers 0, 1, 2 in every model
NEVER = -99.0  # log10 of what is not predicted, by convention of the ARPA format
MAX_ORDER = 9
LLOYD_STEPS = 50
_BLOCK = 100_000  # n-grams turned into words at once


class Perplexity(NamedTuple):
    """How well a model predicts a text; </s> is predicted too, <s> is not."""

    perplexity: float  # of the words that the model knows
    sentences: int
    words: int  # without </s>
    unknown: int  # words that the model does not know

    @property
    def unknown_rate(self) -> float:
        """Share of the words that the model does not know (OOV rate)."""
        return self.unknown / self.words if self.words else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class NgramModel:
    """A back-off model. A state is the node of a history, 0 for the empty one."""

    words: tuple[str, ...]  # (V,) by number: <unk>, <s>, </s>, then sorted
    sizes: tuple[int, ...]  # number of n-grams of each order
    word: NDArray[np.int32]  # (M,) last word of each n-gram; -1 at node 0
    first: NDArray[np.int32]  # (M + 1,) children of node n are first[n] to first[n + 1] - 1
    suffix: NDArray[np.int32]  # (M,) node of the longest proper suffix in the model; -1 at node 0
    probability: NDArray[np.float32]  # (M,) log10
    backoff: NDArray[np.float32]  # (M,) log10
    discounts: tuple[tuple[float, float, float], ...] = ()  # of each order; () if read from a file

    @property
    def order(self) -> int:
        """Length of the longest n-grams."""
        return len(self.sizes)

    def by_order(self, values: NDArray) -> list[NDArray]:
        """Split values (M,) of the nodes by the orders of their n-grams; node 0 is left out."""
        return np.split(values[1:], np.cumsum(self.sizes)[:-1])

    @cached_property
    def numbers(self) -> dict[str, int]:
        """{word: its number}."""
        return {word: number for number, word in enumerate(self.words)}

    @cached_property
    def state_of(self) -> NDArray[np.int32]:
        """(M,) the shortest history that predicts the same as each node."""
        return cpu_ngrams.shortest_states(self.first, self.suffix, self.backoff)

    @property
    def start(self) -> int:
        """The state at the beginning of a sentence."""
        return int(self.state_of[1 + SPECIAL.index(START)])

    def number(self, word: str) -> int:
        """Return a word's number, or that of <unk> if the model does not know it."""
        return self.numbers.get(word, 0)

    def step(self, state: int, number: int) -> tuple[float, int]:
        """Return log10 p(word | state), and the state after the word.

        Equal states predict the same for ever.
        """
        total, node = cpu_ngrams.next_state(
            self.word, self.first, self.suffix, self.probability, self.backoff, state, number
        )
        return total, int(self.state_of[node])

    def state(self, history: Iterable[str]) -> int:
        """Return the state after any words; those at a sentence's beginning must include <s>."""
        state = 0
        for word in history:
            state = self.step(state, self.number(word))[1]
        return state

    def log10(self, word: str, history: Iterable[str] = ()) -> float:
        """Return log10 p(word | history); only the last order - 1 words of the history matter."""
        return self.step(self.state(history), self.number(word))[0]

    def score(self, sentence: Iterable[str]) -> float:
        """Return log10 p of a whole sentence with its </s>, unknown words as <unk>."""
        return float(self._scores([list(sentence)])[0].sum())

    def _scores(
        self, sentences: Iterable[Sequence[str]]
    ) -> tuple[NDArray[np.float64], NDArray[np.int32], int]:
        """Return log10 p of each word and </s>, their numbers, and the number of sentences."""
        row: list[int] = []
        count = 0
        for sentence in sentences:
            row += [self.number(word) for word in sentence] + [SPECIAL.index(END)]
            count += 1
        numbers = np.array(row, np.int32)
        scores = cpu_ngrams.sentence_scores(
            self.word, self.first, self.suffix, self.probability, self.backoff, self.start, numbers
        )
        return scores, numbers, count

    def following(self, numbers: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return log10 p (B, F, V) of each word after each of numbered words (B, F).

        What precedes a row is not known. After </s> a sentence begins; <s> may not occur.
        """
        return cpu_ngrams.following(
            self.word, self.first, self.suffix, self.probability, self.backoff, self.state_of,
            self.start, numbers,
        )  # fmt: skip

    def perplexity(self, sentences: Iterable[Sequence[str]]) -> Perplexity:
        """Compute 10^(-mean log10 p) over the words and the </s> of sentences.

        Raises:
            ConfigError: no sentences.
        """
        scores, numbers, count = self._scores(sentences)
        if not count:
            raise ConfigError("sentences", "expected at least one", "Give a text that has words")
        known = numbers != 0
        return Perplexity(
            float(10 ** -scores[known].mean()), count, len(numbers) - count, int((~known).sum())
        )

    def ngrams(self, order: int) -> Iterator[tuple[tuple[str, ...], float, float]]:
        """Yield each n-gram of an order, with its log10 probability and back-off."""
        begin = 1 + sum(self.sizes[: order - 1])
        end = begin + self.sizes[order - 1]
        for at in range(begin, end, _BLOCK):
            block = slice(at, min(at + _BLOCK, end))
            nodes = np.arange(block.start, block.stop)
            columns = [self.word[nodes]]
            for _ in range(order - 1):
                nodes = np.searchsorted(self.first, nodes, "right") - 1  # parents
                columns.insert(0, self.word[nodes])
            rows = np.stack(columns, 1).tolist()
            values = self.probability[block].tolist(), self.backoff[block].tolist()
            for row, p, backoff in zip(rows, *values, strict=True):
                yield tuple(self.words[number] for number in row), p, backoff


class Order(NamedTuple):
    """The n-grams of one order, sorted by node."""

    parent: NDArray[np.int64]  # node
    number: NDArray[np.int64]  # of the last word
    suffix: NDArray[np.int64]  # node
    probability: NDArray[np.float64]  # log10
    backoff: NDArray[np.float64]  # log10


def build_model(
    words: tuple[str, ...],
    orders: Sequence[Order],
    discounts: tuple[tuple[float, float, float], ...] = (),
) -> NgramModel:
    """Build a model of the n-grams of each order."""
    root = Order(*(np.array([value]) for value in (-1, -1, -1, 0.0, 0.0)))
    parent, number, suffix, probability, backoff = (
        np.concatenate(arrays) for arrays in zip(root, *orders, strict=True)
    )
    probability[1 + SPECIAL.index(START)] = NEVER
    first = 1 + np.searchsorted(parent[1:], np.arange(len(parent) + 1))
    return NgramModel(
        words=words,
        sizes=tuple(len(order.parent) for order in orders),
        word=number.astype(np.int32),
        first=first.astype(np.int32),
        suffix=suffix.astype(np.int32),
        probability=probability.astype(np.float32),
        backoff=backoff.astype(np.float32),
        discounts=discounts,
    )


def rounded(model: NgramModel, values: int = 256) -> NgramModel:
    """Return a model with at most some number of probabilities in each order above 1.

    The values are where the logarithms move least [1]; unigrams keep theirs. Back-off weights are
    found again, so that distributions sum to 1, and above order 1 rounded to 256 values.
    """
    probability, backoff = model.probability.copy(), model.backoff.copy()
    for part in model.by_order(probability)[1:]:  # views
        part[:] = _nearest_values(part, values)
    cpu_ngrams.normalise(model.word, model.first, model.suffix, probability, backoff)
    for part in model.by_order(backoff)[1:]:
        part[part != 0] = _nearest_values(part[part != 0], 255)  # 0: nothing follows
    return replace(model, probability=probability, backoff=backoff)


def _nearest_values(x: NDArray[np.float32], values: int) -> NDArray[np.float32]:
    """Round numbers (M,) to values that are each the mean of the numbers nearest to it [1]."""
    order = np.sort(x).astype(np.float64)
    if not len(x):
        return x
    sums = np.concatenate([[0.0], np.cumsum(order)])
    centres = np.linspace(order[0], order[-1], values)
    for _ in range(LLOYD_STEPS):
        ends = np.searchsorted(order, (centres[1:] + centres[:-1]) / 2)
        ends = np.concatenate([[0], ends, [len(x)]])
        counts = np.diff(ends)
        centres = np.where(counts > 0, np.diff(sums[ends]) / np.maximum(counts, 1), centres)
    nearest = np.searchsorted((centres[1:] + centres[:-1]) / 2, x)
    return centres.astype(np.float32)[nearest]
