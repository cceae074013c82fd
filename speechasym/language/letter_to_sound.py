"""Pronunciations guessed from spelling, as learned from a lexicon.

Words and phones are aligned into joint units of one or two letters and none to two phones
(`X:K_S`, `TH:TH`, `E:`), by expectation maximisation; an n-gram model of these units then finds,
for a new word, the likeliest units that spell it [1].

Shapes: W words, L letters of all words in a row, P phones of all, U joint units.

[1] M. Bisani, H. Ney, "Joint-sequence models for grapheme-to-phoneme conversion", Speech
    Communication 50, 434-451, 2008.
"""

import logging
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.errors import LexiconError
from speechasym.language import kneser_ney
from speechasym.language.lexicon import Lexicon, Pronunciation
from speechasym.language.ngrams import SPECIAL, NgramModel
from speechasym.ops import cpu_letter_to_sound

# letters and phones of a unit. Two letters with two phones are two units; two silent letters too
KINDS = np.array([[1, 0], [1, 1], [1, 2], [2, 1]])
ROUNDS = 12  # of expectation maximisation: the likelihood then rises by less than 0.1 % a round
BEAM = 24  # hypotheses kept at each letter

_log = logging.getLogger(__name__)


class Pair(NamedTuple):
    """A spelling and one pronunciation, without stress."""

    word: str
    phones: Pronunciation


def pairs_of(lexicon: Lexicon, most: int | None = None, seed: int = 0) -> list[Pair]:
    """Return the pronunciations, in capitals, of all words of letters and apostrophes.

    Args:
        most: draw so many of them at random; None: all.
    """
    pairs = sorted(
        {
            Pair(word.upper(), phones)
            for word in lexicon
            if word and all(letter.isalpha() or letter == "'" for letter in word)
            for phones in lexicon.without_stress(word)
        }
    )
    if most is not None and most < len(pairs):
        chosen = np.random.default_rng(seed).choice(len(pairs), most, replace=False)
        pairs = [pairs[i] for i in sorted(chosen.tolist())]
    return pairs


class _Corpus(NamedTuple):
    """Pairs as numbers."""

    letters: NDArray[np.int64]  # (L,)
    phones: NDArray[np.int64]  # (P,)
    letter_begins: NDArray[np.int64]  # (W + 1,)
    phone_begins: NDArray[np.int64]  # (W + 1,)
    alphabet: tuple[str, ...]
    inventory: tuple[str, ...]


def _corpus(pairs: list[Pair]) -> _Corpus:
    alphabet = tuple(sorted({letter for pair in pairs for letter in pair.word}))
    inventory = tuple(sorted({phone for pair in pairs for phone in pair.phones}))
    letter_of = {letter: n for n, letter in enumerate(alphabet)}
    phone_of = {phone: n for n, phone in enumerate(inventory)}
    return _Corpus(
        np.array([letter_of[letter] for pair in pairs for letter in pair.word], np.int64),
        np.array([phone_of[phone] for pair in pairs for phone in pair.phones], np.int64),
        np.cumsum([0, *(len(pair.word) for pair in pairs)]),
        np.cumsum([0, *(len(pair.phones) for pair in pairs)]),
        alphabet,
        inventory,
    )


def _unit_names(alphabet: Sequence[str], inventory: Sequence[str]) -> list[str]:
    """Return the word that stands for each unit in the n-gram model, in the kernels' order."""
    return [
        *(f"{x}:" for x in alphabet),
        *(f"{x}:{y}" for x, y in product(alphabet, inventory)),
        *(f"{x}:{y}_{z}" for x, y, z in product(alphabet, inventory, inventory)),
        *(f"{x}{z}:{y}" for x, z, y in product(alphabet, alphabet, inventory)),
    ]


def align(pairs: list[Pair]) -> list[list[str]]:
    """Return the joint units of each pair; none for one that has more than two phones a letter.

    Expectation maximisation over all alignments, from equally likely units.
    """
    if not pairs:
        return []
    data = _corpus(pairs)
    arrays = (data.letters, data.phones, data.letter_begins, data.phone_begins)
    sizes, names = (len(data.alphabet), len(data.inventory)), _unit_names(*data[-2:])
    probability = np.full(len(names), 1e-3)
    for number in range(ROUNDS):
        counts, total = cpu_letter_to_sound.expected_counts(*arrays, probability, *sizes, KINDS)
        if not counts.sum():
            break
        probability = counts / counts.sum()
        _log.info("alignment %d: log likelihood %.0f", number, total)
    units, lengths = cpu_letter_to_sound.best_alignment(*arrays, probability, *sizes, KINDS)
    return [
        [names[u] for u in units[begin : begin + length].tolist()]
        for begin, length in zip(data.letter_begins.tolist(), lengths.tolist(), strict=False)
    ]


def learn(
    lexicon: Lexicon, *, order: int = 6, most: int | None = None, seed: int = 0
) -> "LetterToSound":
    """Learn from a lexicon how words are pronounced; stress is not learned.

    Args:
        order: of the n-gram model of joint units.
        most: learn from so many pronunciations, drawn at random; None: from all.

    Raises:
        LexiconError: no word of letters that can be aligned.
        ConfigError: order out of range.
    """
    units = [row for row in align(pairs_of(lexicon, most, seed)) if row]
    if not units:
        raise LexiconError("lexicon", "no word to learn from", "Give one with words of letters")
    return LetterToSound(kneser_ney.estimate(units, order))


class LetterToSound:
    """Guesses the pronunciation of words; returned by `learn`.

    Args:
        model: of joint units.
    """

    def __init__(self, model: NgramModel) -> None:
        self.model = model
        parts = [unit.rsplit(":", 1) for unit in model.words[len(SPECIAL) :]]
        self.alphabet = sorted({letter for spelling, _ in parts for letter in spelling})
        self._number = {letter: n for n, letter in enumerate(self.alphabet)}
        size = len(self.alphabet)
        keys = []  # what a unit spells: one letter a is a, two letters a b are size (a + 1) + b
        for spelling, _ in parts:
            first, *second = (self._number[letter] for letter in spelling)
            keys.append(size * (first + 1) + second[0] if second else first)
        order = np.argsort(keys, kind="stable")
        self._units = order + len(SPECIAL)  # (U,) sorted by key
        self._begins = np.searchsorted(np.array(keys)[order], np.arange(size * (size + 1) + 1))
        self._phones: list[Pronunciation] = [  # of each unit
            (), (), (), *(tuple(p.split("_")) if p else () for _, p in parts)
        ]  # fmt: skip
        self._audible = np.array([bool(p) for p in self._phones])

    def pronounce(self, word: str) -> Pronunciation:
        """Return the likeliest phones of a word, in capitals or not; at least one phone.

        Raises:
            LexiconError: an empty word, a letter that the lexicon does not have, or only silent
                letters.
        """
        capitals = word.upper()
        unknown = [letter for letter in capitals if letter not in self._number]
        if not word or unknown:
            raise LexiconError(
                f"word {word!r}",
                f"{unknown[0]!r} is not among the letters learned" if unknown else "it is empty",
                f"Write words with {''.join(self.alphabet)} only",
            )
        model = self.model
        numbers = np.array([self._number[letter] for letter in capitals])
        best = cpu_letter_to_sound.search(
            numbers, len(self.alphabet), self._begins, self._units, self._audible,
            model.word, model.first, model.suffix, model.probability, model.backoff,
            model.state_of, model.start, BEAM,
        )  # fmt: skip
        if not len(best):
            raise LexiconError(f"word {word!r}", "all its letters are silent", "Write it out")
        return tuple(phone for u in best.tolist() for phone in self._phones[u])
