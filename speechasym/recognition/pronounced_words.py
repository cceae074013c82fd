"""The words of a cut or a text with their possible pronunciations, in the phones of a run."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from speechasym.annotations.intervals import Interval
from speechasym.errors import AlignmentError, LexiconError, MissingWordError
from speechasym.language.lexicon import Lexicon
from speechasym.recognition.trained_model import TrainedModel
from speechasym.training import labels

if TYPE_CHECKING:
    from lhotse.cut import Cut

Spell = Callable[[str], Sequence[tuple[str, ...]]]


class Word(NamedTuple):
    """A word that is said."""

    text: str | None  # None: only phones, such as a silence between words
    pronunciations: tuple[tuple[str, ...], ...] = ()  # in the phones of the run; (): unknown


def words_of_cut(
    trained: TrainedModel,
    cut: "Cut",
    lexicon: Lexicon | None = None,
    *,
    head: str | None = None,
    spell: Spell | None = None,
) -> list[Word]:
    """Return the words of a cut with what is known of their phones.

    Phones of the cut's own alignment belong to the word that contains their middle; those outside
    of all words, such as silences, stay alone. Their times are not used otherwise.

    Raises:
        LabelError: the cut has no text.
        MissingWordError, AlignmentError: see `words_of_text`.
    """
    texts = labels.words_of(cut)
    name = f"cut {cut.id}"
    if head == "letters" or "phones" not in trained.inventories:
        return [Word(word) for word in texts]
    sounds, timed = labels.timed_phones(cut, trained.config.data.labels), timed_words(cut)
    if not sounds or (not timed and lexicon is not None):
        return words_of_text(trained, texts, lexicon, spell, name, head)
    if len(timed) != len(texts):
        texts = [word.label.upper() for word in timed]
    groups: list[tuple[int | None, list[str]]] = []
    for start, end, symbol in sounds:
        middle = (start + end) / 2
        numbers = (n for n, word in enumerate(timed) if word.start <= middle < word.end)
        number = next(numbers, None)
        if not groups or groups[-1][0] != number:
            groups.append((number, []))
        groups[-1][1].append(_phone_of_run(trained, symbol, name))
    return [Word(None if n is None else texts[n], (tuple(row),)) for n, row in groups]


def timed_words(cut: "Cut") -> list[Interval]:
    """Return the cut's words with their times; none if a part of the cut lacks them."""
    words = []
    for supervision in sorted(cut.supervisions, key=lambda s: s.start):
        if not supervision.alignment or "word" not in supervision.alignment:
            return []
        items = supervision.alignment["word"]
        words += [Interval(i.start, i.start + i.duration, i.symbol) for i in items]
    return words


def words_of_text(
    trained: TrainedModel,
    words: str | Sequence[str],
    lexicon: Lexicon | None,
    spell: Spell | None,
    name: str,
    head: str | None,
) -> list[Word]:
    """Return words with the pronunciations of the lexicon, or of `spell` if it lacks them.

    Raises:
        LabelError: characters other than letters.
        MissingWordError: a word without pronunciation.
        AlignmentError: a phone that the run does not know.
    """
    if isinstance(words, str):
        words = labels.words_in(words, name)
    if head == "letters" or lexicon is None or "phones" not in trained.inventories:
        return [Word(word) for word in words]
    pronounced = []
    for word in words:
        alternatives: Sequence[tuple[str, ...]] = lexicon.pronounce([word])[0][0]
        if not alternatives and spell is not None:
            alternatives = spell(word)
        if not alternatives:
            raise MissingWordError(
                name,
                f"{word!r} is not in the lexicon",
                "Add it, guess it from its spelling (--spelling), or align by letters",
            )
        rows: dict[tuple[str, ...], None] = {}
        for symbols in alternatives:
            row = labels.pronounced(symbols, trained.config.data.labels, name)
            rows[tuple(_phone_of_run(trained, symbol, name) for symbol in row)] = None
        pronounced.append(Word(word, tuple(row for row in rows if row)))
    return pronounced


def _phone_of_run(trained: TrainedModel, symbol: str, name: str) -> str:
    """A phone in the letter case of the run."""
    inventory = trained.inventories["phones"]
    for form in (symbol, symbol.lower(), symbol.upper()):
        if form in inventory:
            return form
    raise AlignmentError(
        name,
        f"the run does not know the phone {symbol!r}; it knows {' '.join(inventory[:5])} ...",
        "Use the phones that it was trained on",
    )


def speller(lexicon: Lexicon) -> Spell:
    """Return a function that guesses pronunciations from spelling; it learns when first called."""
    from speechasym.language import letter_to_sound

    guessers: list[letter_to_sound.LetterToSound] = []

    def spell(word: str) -> list[tuple[str, ...]]:
        try:
            if not guessers:
                guessers.append(letter_to_sound.learn(lexicon))
            return [guessers[0].pronounce(word)]
        except LexiconError:  # nothing to learn from, or an unknown letter
            return []

    return spell
