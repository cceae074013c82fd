"""Pronunciations guessed from spelling, for words that a lexicon lacks.

What letters say is learned from a lexicon. Words and phones are aligned into joint units of one or
two letters and none to two phones (`X:K_S`, `TH:TH`, `E:`), by expectation maximisation; an n-gram
model of these units then tells, for a new word, the likeliest units that spell it [1].

Before that, words that only differ in spelling or by a possessive from one in the lexicon are
derived from it: COLOUR from COLOR, THOMAS'S from THOMAS.

Shapes: W words, L letters of all words in a row, P phones of all, U joint units.

[1] M. Bisani, H. Ney, "Joint-sequence models for grapheme-to-phoneme conversion", Speech
    Communication 50, 434-451, 2008.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym import files
from speechasym.errors import LexiconError
from speechasym.language import kneser_ney, ngrams
from speechasym.language.lexicon import Lexicon
from speechasym.ops import cpu_letter_to_sound

# letters and phones of a unit. Two letters with two phones are two units; two silent letters too
KINDS = np.array([[1, 0], [1, 1], [1, 2], [2, 1]])
ROUNDS = 12  # of expectation maximisation: the likelihood then rises by less than 0.1 % a round
BEAM = 24  # hypotheses that go on at each letter

_log = logging.getLogger(__name__)


class Pair(NamedTuple):
    """A spelling and one way to say it, without stress."""

    word: str
    phones: tuple[str, ...]


def _stressless(phones: Iterable[str]) -> tuple[str, ...]:
    return tuple(phone.rstrip("012") for phone in phones)


def _spellable(word: str) -> bool:
    return bool(word) and all(letter.isalpha() or letter == "'" for letter in word)


def pairs_of(lexicon: Lexicon, most: int | None = None, seed: int = 0) -> list[Pair]:
    """What there is to learn: words of letters and apostrophes, each way to say them, in capitals.

    Args:
        most: draw so many of them.
    """
    found = {
        Pair(word.upper(), _stressless(phones))
        for word, alternatives in lexicon.items()
        if _spellable(word)
        for phones in alternatives
    }
    pairs = sorted(found)
    if most is not None and most < len(pairs):
        chosen = np.random.default_rng(seed).choice(len(pairs), most, replace=False)
        pairs = [pairs[i] for i in sorted(chosen.tolist())]
    return pairs


# --- alignment ------------------------------------------------------------------------------------


class _Corpus(NamedTuple):
    """Pairs as numbers."""

    letters: NDArray[np.int64]  # (L,)
    phones: NDArray[np.int64]  # (P,)
    letter_begins: NDArray[np.int64]  # (W + 1,)
    phone_begins: NDArray[np.int64]  # (W + 1,)
    alphabet: tuple[str, ...]
    inventory: tuple[str, ...]

    @property
    def sizes(self) -> tuple[int, int]:
        return len(self.alphabet), len(self.inventory)


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


def _units(a: int, p: int) -> int:
    return a * (1 + p + p * p) + a * a * p


def _name(number: int, alphabet: tuple[str, ...], inventory: tuple[str, ...]) -> str:
    """A unit as the n-gram model has it: `X:K_S`."""
    a, p = len(alphabet), len(inventory)
    if number < a:
        return f"{alphabet[number]}:"
    if (number := number - a) < a * p:
        return f"{alphabet[number // p]}:{inventory[number % p]}"
    if (number := number - a * p) < a * p * p:
        rest, second = divmod(number, p)
        return f"{alphabet[rest // p]}:{inventory[rest % p]}_{inventory[second]}"
    rest, phone = divmod(number - a * p * p, p)
    return f"{alphabet[rest // a]}{alphabet[rest % a]}:{inventory[phone]}"


def align(pairs: list[Pair]) -> list[list[str]]:
    """The joint units of each pair; none for one that has more than two phones a letter.

    Expectation maximisation over all alignments; at first, all units are equally likely.
    """
    if not pairs:
        return []
    data = _corpus(pairs)
    arrays = (data.letters, data.phones, data.letter_begins, data.phone_begins)
    probability = np.full(_units(*data.sizes), 1e-3)
    for number in range(ROUNDS):
        counts, total = cpu_letter_to_sound.expected_counts(
            *arrays, probability, *data.sizes, KINDS
        )
        if not counts.sum():
            break
        probability = counts / counts.sum()
        _log.info("alignment %d: log likelihood %.0f", number, total)
    found, lengths = cpu_letter_to_sound.best_alignment(*arrays, probability, *data.sizes, KINDS)
    names = {u: _name(u, data.alphabet, data.inventory) for u in np.unique(found).tolist()}
    return [
        [names[u] for u in found[begin : begin + length].tolist()]
        for begin, length in zip(data.letter_begins.tolist(), lengths.tolist(), strict=False)
    ]


# --- guessing -------------------------------------------------------------------------------------


def learn(lexicon: Lexicon, *, order: int = 6, most: int | None = None, seed: int = 0) -> "Guesser":
    """Learn how words are said from a lexicon; stress is not learned.

    Args:
        order: of the n-gram model of joint units.
        most: learn from so many pronunciations, drawn by `seed`; None: from all.

    Raises:
        LexiconError: no word of letters that can be aligned.
        ConfigError: an order outside 1 to 9.
    """
    units = [row for row in align(pairs_of(lexicon, most, seed)) if row]
    if not units:
        raise LexiconError("lexicon", "no word to learn from", "Give one with words of letters")
    return Guesser(kneser_ney.estimate(units, order))


@dataclass(frozen=True, eq=False)
class Guesser:
    """Guesses how a word is said; made by `learn` or `read`."""

    model: ngrams.NgramModel  # of joint units

    @cached_property
    def _spelled(self) -> "_Spelled":
        return _spelled(self.model)

    @property
    def letters(self) -> tuple[str, ...]:
        """The letters it knows."""
        return self._spelled.alphabet

    def pronounce(self, word: str) -> tuple[str, ...]:
        """The likeliest phones of a word, in capitals or not; at least one.

        Raises:
            LexiconError: an empty word, a letter that was never learned, or no phones found.
        """
        spelled = self._spelled
        capitals = word.upper()
        strange = [letter for letter in capitals if letter not in spelled.number]
        if not word or strange:
            raise LexiconError(
                f"word {word!r}",
                f"{strange[0]!r} is no letter that was learned" if strange else "it is empty",
                f"Write words with {''.join(spelled.alphabet)} only",
            )
        model = self.model
        numbers = np.array([spelled.number[letter] for letter in capitals])
        units = cpu_letter_to_sound.search(
            numbers, len(spelled.alphabet), spelled.begins, spelled.units, spelled.audible,
            model.word, model.first, model.suffix, model.probability, model.backoff,
            model.state_of, model.start, BEAM,
        )  # fmt: skip
        if not len(units):
            raise LexiconError(f"word {word!r}", "nothing to hear in it", "Write it out")
        return tuple(phone for u in units.tolist() for phone in spelled.phones[u])


class _Spelled(NamedTuple):
    """Units by what they spell: one letter a at a, two letters a b at A (a + 1) + b."""

    alphabet: tuple[str, ...]
    number: dict[str, int]
    begins: NDArray[np.int64]  # (A + A A + 1,)
    units: NDArray[np.int64]  # (U,)
    audible: NDArray[np.bool_]  # by unit: has phones
    phones: list[tuple[str, ...]]  # by unit


def _spelled(model: ngrams.NgramModel) -> _Spelled:
    special = len(ngrams.SPECIAL)
    parts = [unit.rsplit(":", 1) for unit in model.words[special:]]
    alphabet = tuple(sorted({letter for spelling, _ in parts for letter in spelling}))
    number = {letter: n for n, letter in enumerate(alphabet)}
    places = []
    for spelling, _ in parts:
        first, *second = (number[letter] for letter in spelling)
        places.append(len(alphabet) * (first + 1) + second[0] if second else first)
    order = np.argsort(places, kind="stable")
    count = len(alphabet) * (len(alphabet) + 1)
    begins = np.searchsorted(np.array(places)[order], np.arange(count + 1))
    phones = [(), (), (), *(tuple(p.split("_")) if p else () for _, p in parts)]
    return _Spelled(
        alphabet, number, begins, order + special, np.array([bool(p) for p in phones]), phones
    )


# --- a lexicon for a list of words ----------------------------------------------------------------

_SIBILANTS = frozenset(("S", "Z", "SH", "ZH", "CH", "JH"))
_VOICELESS = frozenset(("P", "T", "K", "F", "TH"))
# spellings that sound like another one: British ones, and verse's 'D
_RESPELLED = tuple(
    (re.compile(pattern), other)
    for pattern, other in (
        (r"(?<=[A-Z]{3})'D$", r"ED"),
        (r"([AEIOUY][B-DF-HJ-NP-TV-Z]+I?)OUR(?!N|A|E[AU])", r"\1OR"),  # not FLOUR, OSBOURNE
        (r"([IY])S(E[DSR]?|ERS|ING|ATIONS?)$", r"\1Z\2"),
        # not BALLED, REFILLED, ENROLLED
        (r"([AEIOUY][B-DF-HJ-NP-TV-Z]*[AEU])LL(ED|ING|E[RD]S?|ORS?|ISH)$", r"\1L\2"),
        (r"(?<=[A-Z]{2})([BT])RE([DS]?)$", r"\1ER\2"),
        (r"ENCE(S?)$", r"ENSE\1"),
        (r"^ENQ", r"INQ"),
    )
)


def complete(
    lexicon: Lexicon, words: Iterable[str], guesser: Guesser
) -> tuple[Lexicon, dict[str, str]]:
    """The lexicon, and after it, sorted, those of the words that it lacks.

    A spelling such as COLOURS or REMOV'D is said as COLORS or REMOVED where the lexicon has these;
    a word with 'S as the word without it and IH Z, S or Z; all others are guessed from their
    letters. What is added has no stress. A word that cannot be guessed, for a letter that was never
    learned, is left out, and a warning is logged.

    Returns:
        The new lexicon, and {word added: the one of the lexicon it was derived from, "" if none}.
    """
    added: dict[str, str] = {}
    left_out = []
    found = Lexicon(lexicon)
    for word in sorted(set(words)):
        if not _own(word, lexicon):
            try:
                found[word], added[word] = _say(word.upper(), lexicon, guesser)
            except LexiconError:
                left_out.append(word)
    if left_out:
        _log.warning(
            "%d words cannot be guessed: %s%s",
            len(left_out), ", ".join(left_out[:10]), ", ..." if len(left_out) > 10 else "",
        )  # fmt: skip
    return found, added


def restricted(lexicon: Lexicon, words: Iterable[str]) -> Lexicon:
    """Those of the words that a lexicon has, sorted, without stress."""
    own = ((word, _own(word, lexicon)) for word in sorted(set(words)))
    return Lexicon({word: alternatives for word, alternatives in own if alternatives})


def _own(word: str, lexicon: Lexicon) -> list[tuple[str, ...]]:
    """The alternatives a lexicon has, without stress."""
    return list(dict.fromkeys(map(_stressless, lexicon.pronounce([word])[0][0])))


def _say(word: str, lexicon: Lexicon, guesser: Guesser) -> tuple[list[tuple[str, ...]], str]:
    """How to say a word that the lexicon lacks, and the word this is derived from, or ""."""
    for pattern, other in _RESPELLED:
        spelled = pattern.sub(other, word)
        if spelled != word and (own := _own(spelled, lexicon)):
            return own, spelled
    if len(word) > 2 and word.endswith("'S"):
        owner = word[:-2]
        said, source = _own(owner, lexicon), owner
        if not said:
            said, source = _say(owner, lexicon, guesser)
        return [_possessive(phones) for phones in said], source
    return [guesser.pronounce(word)], ""


def _possessive(phones: tuple[str, ...]) -> tuple[str, ...]:
    if phones[-1] in _SIBILANTS:
        return (*phones, "IH", "Z")
    return (*phones, "S" if phones[-1] in _VOICELESS else "Z")


def write_lexicon(
    path: str | Path, lexicon: Lexicon, added: Mapping[str, str] | None = None
) -> None:
    """Write a lexicon in CMUdict's format, with a comment behind what `complete` has added.

    Raises:
        OutputError: it cannot be written.
    """
    notes = {
        word: f" # from {source}" if source else " # guessed"
        for word, source in (added or {}).items()
    }
    with files.atomic(Path(path)) as file:
        for word, alternatives in lexicon.items():
            for n, phones in enumerate(alternatives):
                name = f"{word}({n})" if n else word
                file.write(f"{name}  {' '.join(phones)}{notes.get(word, '')}\n".encode())
