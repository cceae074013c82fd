"""The next word as a choice among the commonest ones and `other`: classes, n-grams, counts.

Shapes: N words, V classes, S speakers.
"""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recipes.language.spoken_words import Words

COMMON = 300  # words that are classes of their own; all others are one
LEAST, LEAST_WITH_TEXTS = 2, 10  # times that a word is seen in training, to be known as an input
START, UNKNOWN = 0, 1  # numbers of the vocabulary that are not words
LEAST_PAUSE_S = 0.2


class Vocabulary(NamedTuple):
    """Words that a level knows, and those among which it chooses."""

    known: dict[str, int]  # words as inputs
    classes: dict[str, int]  # words as answers, from 0; any other word: the class after the last
    unigram: Tensor  # (V,) shares of the classes in the transcripts

    @classmethod
    def of_texts(cls, said: Sequence[str], texts: Sequence[Sequence[str]]) -> "Vocabulary":
        """Return the vocabulary of the words of transcripts, and of texts."""
        counts = Counter(said)
        common = sorted(counts, key=lambda word: (-counts[word], word))[:COMMON]
        seen = counts + Counter(word for text in texts for word in text)
        least = LEAST_WITH_TEXTS if texts else LEAST
        known = sorted(word for word in seen if seen[word] >= least or counts[word] >= LEAST)
        classes = {word: number for number, word in enumerate(common)}
        numbers = np.array([classes.get(word, len(classes)) for word in said])
        shares = (np.bincount(numbers, minlength=len(classes) + 1) + 1) / (len(said) + len(classes))
        names = {word: number for number, word in enumerate(known, UNKNOWN + 1)}
        return cls(names, classes, torch.from_numpy(shares / shares.sum()).float())

    @property
    def size(self) -> int:
        """Number of the inputs."""
        return len(self.known) + UNKNOWN + 1

    def of(self, words: Iterable[str]) -> NDArray[np.int64]:
        """Return the classes (N,) of words."""
        return np.array([self.classes.get(word, len(self.classes)) for word in words], np.int64)

    def numbers(self, words: Iterable[str], told: bool = True) -> NDArray[np.int64]:
        """Return the inputs (N + 1,): the start, and each word, or that it is one unless told."""
        numbers = [self.known.get(word, UNKNOWN) if told else UNKNOWN for word in words]
        return np.array([START, *numbers], np.int64)


def timing(words: Words) -> NDArray[np.float64]:
    """Return (N, 3) log duration a letter, log pause after a word, whether that is long."""
    letters = np.array([len(word) for word in words.text])
    pause = words.pause
    return np.stack([
        np.log2((words.end - words.start).clip(0.01) / letters), np.log2(pause.clip(0) + 0.02),
        pause >= LEAST_PAUSE_S,
    ], 1)  # fmt: skip


def other_tokens(text: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return for each word (N,) the number of the next token of the same word, in a circle."""
    order = np.argsort(text, kind="stable")
    sorted_text = text[order]
    last = np.append(sorted_text[1:] != sorted_text[:-1], True)
    first = np.flatnonzero(np.append(True, last[:-1]))
    following = np.arange(len(text)) + 1
    following[last] = first
    result = np.empty(len(text), np.int64)
    result[order] = order[following]
    return result


Contexts = Sequence[Hashable]  # of a word, from the shortest


class Ngrams:
    """Shares of classes after contexts, each interpolated with the next shorter one.

    p(c | h) = (n(h, c) + k(h) p(c | shorter h)) / (n(h) + k(h)), where k counts the kinds of words
    that followed h (Witten and Bell); p of no context is uniform.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.seen: dict[Hashable, Counter[int]] = defaultdict(Counter)

    def count(self, contexts: Iterable[Contexts], answers: Iterable[int]) -> "Ngrams":
        """Count what followed; returns itself."""
        for row, answer in zip(contexts, answers, strict=True):
            for context in row:
                self.seen[context][int(answer)] += 1
        return self

    def log_probs(self, contexts: Sequence[Contexts]) -> NDArray[np.float32]:
        """Return log2 p (N, V)."""
        table = np.empty((len(contexts), self.classes), np.float32)
        for number, row in enumerate(contexts):
            p = np.full(self.classes, 1 / self.classes)
            for context in row:
                if seen := self.seen.get(context):
                    kinds = len(seen)
                    p *= kinds
                    p[list(seen)] += list(seen.values())
                    p /= seen.total() + kinds
            table[number] = np.log2(p)
        return table


def contexts(text: Sequence[str], part: NDArray[Any], order: int) -> list[Contexts]:
    """Return the contexts of each word (N,), within its part (N,): a chapter or a book."""
    rows: list[Contexts] = []
    for n in range(len(text)):
        history = [text[m] if m >= 0 and part[m] == part[n] else "" for m in (n - 1, n - 2)]
        rows.append([tuple(history[:size]) for size in range(order)])
    return rows


def after_pauses(words: Words) -> NDArray[np.bool_]:
    """Return which words (N,) follow a pause in their chapter."""
    near = np.append(False, words.chapter[1:] == words.chapter[:-1])
    return np.append(False, words.pause[:-1] >= LEAST_PAUSE_S) & near


def by_speaker(speaker: NDArray[np.str_], *values: NDArray[Any]) -> dict[str, list[float]]:
    """Return {speaker: sums of the values (N,)}."""
    return {
        str(name): [round(float(v[speaker == name].sum()), 4) for v in values]
        for name in np.unique(speaker)
    }


def scores(words: Words, classes: NDArray[np.int64], table: NDArray[np.float32]) -> dict[str, Any]:
    """Return sums by speaker, from log2 p (N, V): bits of words, also of those after a pause alone.

    And how many of the common words are guessed; `other` is not a guess.
    """
    common = classes < table.shape[1] - 1
    right = common & (table[:, :-1].argmax(1) == classes)
    bits = -np.take_along_axis(table, classes[:, None], 1)[:, 0]
    after = after_pauses(words)
    return {
        "bits": by_speaker(words.speaker, bits, np.ones(len(bits))),
        "bits after pauses": by_speaker(words.speaker, bits * after, after),
        "right": by_speaker(words.speaker, right, common),
    }


def breaks(words: Words, new: NDArray[np.bool_]) -> dict[str, list[float]]:
    """Return by speaker: events that begin with the word after a pause, events, pauses, words.

    new: (N,) where events begin. The first word of a chapter is left out.
    """
    inside = np.append(False, words.chapter[1:] == words.chapter[:-1])
    after = after_pauses(words)
    new = new & inside
    return by_speaker(words.speaker, new & after, new, after, inside)


def rivals(
    words: dict[str, Words], vocabulary: Vocabulary, texts: Sequence[Sequence[str]]
) -> dict[str, dict[str, NDArray[np.float32]]]:
    """Return log2 p (N, V) of n-grams of the transcripts, and of these with the texts, by set."""
    said, classes = words["train"], vocabulary.of(words["train"].text.tolist())
    size = len(vocabulary.unigram)
    result = {}
    sets = [of for of in words if of != "train"]

    def rows_of(of: Words, order: int) -> list[Contexts]:
        return contexts(of.text.tolist(), of.chapter, order)

    for order, name in enumerate(("unigram", "bigram", "trigram"), 1):
        model = Ngrams(size).count(rows_of(said, order), classes)
        tables = {of: model.log_probs(rows_of(words[of], order)) for of in sets}
        result[name] = tables
        if order > 1 and texts:
            model = Ngrams(size)
            for text in texts:
                rows = contexts(text, np.zeros(len(text)), order)
                model.count(rows, vocabulary.of(text))
            other = {of: model.log_probs(rows_of(words[of], order)) for of in sets}
            answers = vocabulary.of(words["dev"].text.tolist())[:, None]

            def mixed(of: str, weight: float, pair: Any = (other, tables)) -> NDArray[np.float32]:
                a, b = (2.0 ** part[of] for part in pair)
                return np.log2(weight * a + (1 - weight) * b)

            weights = np.arange(0, 1, 0.1)
            said_bits = [np.take_along_axis(mixed("dev", w), answers, 1).mean() for w in weights]
            best = float(weights[int(np.argmax(said_bits))])
            result[f"text: {name}"] = {of: mixed(of, best) for of in sets}
    bigram = "text: bigram" if texts else "bigram"
    pauses = Ngrams(size).count([[(), bool(after)] for after in after_pauses(said)], classes)
    result[f"{bigram} + pause"] = {}
    for of in sets:  # what a pause makes of the classes' shares
        rows = [[(), bool(after)] for after in after_pauses(words[of])]
        table = result[bigram][of] + pauses.log_probs(rows) - result["unigram"][of]
        result[f"{bigram} + pause"][of] = table - np.logaddexp2.reduce(table, 1, keepdims=True)
    return result


def surprising(
    table: NDArray[np.float32], classes: NDArray[np.int64], share: float
) -> NDArray[np.bool_]:
    """Return where the share of words begins that were expected least, from log2 p (N, V)."""
    bits = -np.take_along_axis(table, classes[:, None], 1)[:, 0]
    return bits >= np.quantile(bits, 1 - share)
