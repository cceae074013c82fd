"""The words of a cut or a text with their possible pronunciations, in the phones of a run."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from speechasym.annotations.intervals import Interval
from speechasym.errors import AlignmentError, LexiconError, MissingWordError
from speechasym.language.lexicon import Lexicon
from speechasym.recognition.trained_model import TrainedModel
from speechasym.training import labels

if TYPE_CHECKING:
    from lhotse.cut import Cut

Pronounce = Callable[[str], Sequence[tuple[str, ...]]]  # word -> its pronunciations


def pronouncer(lexicon: Lexicon, guess: bool = False, guessed: set[str] | None = None) -> Pronounce:
    """Return a function that looks words up, and may derive or guess the others.

    Those that it does are added to `guessed`; see `completion`.
    """
    from speechasym.language import completion, letter_to_sound

    guesser = cache(lambda: letter_to_sound.learn(lexicon))  # when the first word is missing

    def pronounce(word: str) -> Sequence[tuple[str, ...]]:
        alternatives = lexicon.pronounce(word)
        if alternatives or not guess:
            return alternatives
        try:
            alternatives, _ = completion.derive(word.upper(), lexicon, guesser())
        except LexiconError:  # nothing to learn from, or an unknown letter
            return []
        if guessed is not None:
            guessed.add(word)
        return alternatives

    return pronounce


class Word(NamedTuple):
    """A word that is said."""

    text: str | None  # None: only phones, such as a silence between words
    pronunciations: tuple[tuple[str, ...], ...] = ()  # in the phones of the run; (): unknown


def words_of_cut(
    trained: TrainedModel, cut: "Cut", pronounce: Pronounce | None, head: str | None
) -> list[Word]:
    """Return the words of a cut with what is known of their phones.

    Phones of the cut's own alignment belong to the word that contains their middle; those outside
    of all words, such as silences, stay alone. Their times are not used otherwise. Phones that the
    run does not know give way to the lexicon. Raises `LabelError` for a cut without text, and the
    errors of `words_of_text`.
    """
    texts, name = labels.words_of(cut), f"cut {cut.id}"
    if head == "letters" or "phones" not in trained.inventories:
        return [Word(word) for word in texts]
    sounds = labels.timed_phones(cut, trained.config.data.labels)
    timed = labels.aligned(cut, "word")
    known = trained.inventories["phones"]
    foreign = any(labels.phone_in(sound.label, known) is None for sound in sounds)
    if not sounds or (pronounce is not None and (foreign or not timed)):
        return words_of_text(trained, texts, pronounce, head, name)
    if len(timed) != len(texts):
        texts = [word.label.upper() for word in timed]

    def number(sound: Interval) -> int | None:
        middle = (sound.start + sound.end) / 2
        return next((n for n, w in enumerate(timed) if w.start <= middle < w.end), None)

    words = []
    for n, group in groupby(sounds, key=number):
        row = tuple(_phone_of_run(trained, sound.label, name) for sound in group)
        words.append(Word(None if n is None else texts[n], (row,)))
    return words


def words_of_text(
    trained: TrainedModel,
    words: str | Sequence[str],
    pronounce: Pronounce | None,
    head: str | None,
    name: str,
) -> list[Word]:
    """Return the words of a text with their pronunciations; `name` is for messages.

    Raises:
        LabelError: characters other than letters.
        MissingWordError: a word without pronunciation.
        AlignmentError: a phone that the run does not know.
    """
    if isinstance(words, str):
        words = labels.words_in(words, name)
    if head == "letters" or pronounce is None or "phones" not in trained.inventories:
        return [Word(word) for word in words]
    pronounced = []
    for word in words:
        rows = [labels.pronounced(p, trained.config.data.labels, name) for p in pronounce(word)]
        if not rows:
            remedy = "Add it, guess it from its spelling (--spelling), or align by letters"
            raise MissingWordError(name, f"{word!r} is not in the lexicon", remedy)
        ways = dict.fromkeys(tuple(_phone_of_run(trained, p, name) for p in row) for row in rows)
        pronounced.append(Word(word, tuple(way for way in ways if way)))
    return pronounced


def _phone_of_run(trained: TrainedModel, symbol: str, name: str) -> str:
    """Return a phone in the letter case of the run. Raises `AlignmentError`."""
    inventory = trained.inventories["phones"]
    if (phone := labels.phone_in(symbol, inventory)) is not None:
        return phone
    some = " ".join(inventory[:5])
    problem = f"the run does not know the phone {symbol!r}; it knows {some}, for example"
    raise AlignmentError(name, problem, "Use the phones that it was trained on")
