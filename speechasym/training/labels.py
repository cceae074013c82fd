"""What a recogniser learns to write: phones, letters and words of cuts, as labels.

Label 0 is CTC's blank; symbol k of an inventory, counted from 0, has label k + 1.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from speechasym.annotations.intervals import Interval
from speechasym.errors import LabelError
from speechasym.language import contexts
from speechasym.language.letters import LETTERS, normalise, spell
from speechasym.language.lexicon import Lexicon
from speechasym.language.ngrams import UNKNOWN
from speechasym.language.phones import FOLD_ANY_TO_39, GLOTTAL_STOP, SILENCE, SILENCES, strip_stress
from speechasym.training.config import LabelConfig

if TYPE_CHECKING:
    from lhotse.cut import Cut

Inventory = dict[str, tuple[str, ...]]
FOLDED = FOLD_ANY_TO_39 | {"": "", GLOTTAL_STOP: ""}  # TIMIT's phones to 39, or to nothing


def tokens(
    cut: "Cut",
    head: str,
    config: LabelConfig,
    lexicon: Lexicon | None,
    known: Collection[str] | None = None,
) -> list[str]:
    """Return the symbols of a cut for a head. Raises `LabelError`.

    Phones are the cut's own, or those of its words in the lexicon: if it has none, if most of them
    are not in `known`, the phones of a run (default: all are), or if they are learned in context.
    """
    if head == "phones":
        return _phones(cut, config, lexicon, known)
    words = words_of(cut)
    return words if head == "words" else spell(words)


def words_of(cut: "Cut") -> list[str]:
    """Return a cut's words in capitals A to Z and apostrophes. Raises `LabelError`."""
    texts = [s.text for s in sorted(cut.supervisions, key=lambda s: s.start)]
    if not texts or None in texts:
        remedy = "Add its text, or leave it out (only the head phones needs none)"
        raise LabelError(f"cut {cut.id}", "it has no text", remedy)
    return words_in(" ".join(texts), f"cut {cut.id}")


def words_in(text: str, name: str) -> list[str]:
    """Return a text's words as `words_of` does; `name` is for messages. Raises `LabelError`."""
    plain, unwritable = normalise(text)
    if unwritable:
        problem = f"{unwritable[0]!r} in {text[:60]!r} is not a letter A to Z or an apostrophe"
        raise LabelError(name, problem, "Write it out in letters")
    return plain.split()


def _phones(
    cut: "Cut", config: LabelConfig, lexicon: Lexicon | None, known: Collection[str] | None
) -> list[str]:
    own = [] if config.context else [phone.label for phone in timed_phones(cut, config)]
    if own and (lexicon is None or mostly_known(own, known)):
        return own
    name = f"cut {cut.id}"
    if lexicon is None:
        problem, other = "it has no phones", "set heads.phones to 0"
        if config.context:
            problem, other = "phones in context need a lexicon", "set data.labels.context to false"
        raise LabelError(name, problem, f"Set data.labels.lexicon, or {other}")
    rows: list[list[str]] = []
    for word in words_of(cut):
        alternatives = lexicon.pronounce(word)
        if not alternatives:
            raise LabelError(name, f"{word!r} is not in the lexicon", "Add it there")
        rows.append(list(alternatives[0]))
    if config.context:
        rows = [contexts.in_context(pronounced(row, config, name)) for row in rows]
        row = list(chain.from_iterable(rows))
        return row if known is None else [contexts.nearest(phone, known) for phone in row]
    row = pronounced(chain.from_iterable(rows), config, name)
    return row if known is None else [phone_in(phone, known) or phone for phone in row]


def phone_in(symbol: str, known: Collection[str]) -> str | None:
    """Return a phone in the letter case of those that are known; None if it is not one."""
    return next((s for s in (symbol, symbol.lower(), symbol.upper()) if s in known), None)


def mostly_known(phones: Sequence[str], known: Collection[str] | None) -> bool:
    """Return whether at least half of the phones are known: whether they are of the same set."""
    return known is None or 2 * sum(phone in known for phone in phones) >= len(phones)


def pronounced(symbols: Iterable[str], config: LabelConfig, name: str) -> list[str]:
    """Return a lexicon's phones as the configuration wants them, without stress."""
    row: list[str] = []
    for symbol in map(strip_stress, symbols):
        phone = _configured(symbol, config.fold, config.silence)
        if phone is None:
            raise _unfoldable(symbol, name)
        again = config.silence == "merge" and phone == SILENCE and row[-1:] == [SILENCE]
        if phone and not again:
            row.append(phone)
    return row


@cache
def _configured(symbol: str, fold: str, silence: str) -> str | None:
    """Return a folded phone, SILENCE for silences, "" for what is dropped; None: unknown."""
    folded = FOLDED.get(symbol.lower()) if fold == "timit39" else symbol
    if folded not in SILENCES:
        return folded
    return "" if silence == "drop" else SILENCE


def _unfoldable(symbol: str, name: str) -> LabelError:
    return LabelError(name, f"{symbol!r} is not a symbol of TIMIT", "Set labels.fold: none")


def timed_phones(cut: "Cut", config: LabelConfig) -> list[Interval]:
    """Return a cut's phones; none unless all its speech has phones with times.

    Merged silences last from the start of the first to the end of the last. Raises `LabelError`.
    """
    return configured(aligned(cut, "phone"), config, f"cut {cut.id}")


def aligned(cut: "Cut", kind: str) -> list[Interval]:
    """Return a cut's intervals of kind "phone" or "word"; none unless all its speech has them."""
    supervisions = sorted(cut.supervisions, key=lambda s: s.start)
    if not all(s.alignment and kind in s.alignment for s in supervisions):
        return []
    return [Interval(i.start, i.end, i.symbol) for s in supervisions for i in s.alignment[kind]]


def configured(intervals: Iterable[Interval], config: LabelConfig, name: str) -> list[Interval]:
    """Fold phones; drop, merge or keep silences; `name` is for messages. Raises `LabelError`."""
    phones: list[Interval] = []
    for interval in intervals:
        phone = _configured(interval.label, config.fold, config.silence)
        if phone is None:
            raise _unfoldable(interval.label, name)
        again = config.silence == "merge" and [p.label for p in phones[-1:]] == [SILENCE]
        if again and phone == SILENCE:
            phones[-1] = phones[-1]._replace(end=interval.end)
        elif phone:
            phones.append(interval._replace(label=phone))
    return phones


def inventory(head: str, counts: Mapping[str, int], config: LabelConfig) -> tuple[str, ...]:
    """Return the symbols of a head, from {symbol: how often} of training. Raises `LabelError`."""
    if head == "letters":
        return LETTERS
    if not counts:
        raise LabelError(head, "the training cuts have none", "Check the manifest")
    if head == "phones":
        return tuple(sorted(counts))
    words = [word for word, count in counts.items() if count >= config.word_least]
    words = sorted(words, key=lambda word: (-counts[word], word))[: config.word_most]
    return (*sorted(words), UNKNOWN)


def read_as(
    inventories: Inventory, config: LabelConfig
) -> tuple[Inventory, dict[str, NDArray[np.int64]]]:
    """Return the symbols that heads are read as, and {head: the class (V,) that each class is}.

    V counts the blank. Phones in context are read as phones; all else is read as it is written,
    and has no class.
    """
    if not config.context or "phones" not in inventories:
        return inventories, {}
    plain, classes = contexts.merged(inventories["phones"])
    return {**inventories, "phones": plain}, {"phones": classes}


def encode(row: Sequence[str], known: Mapping[str, int]) -> list[int]:
    """Return the labels {symbol: label} of symbols; unknown ones are <unk> or left out."""
    unknown = known.get(UNKNOWN)
    encoded = (known.get(token, unknown) for token in row)
    return [label for label in encoded if label is not None]


def classes(symbols: Sequence[str]) -> dict[str, int]:
    """Return {symbol: label}, from 1."""
    return {symbol: label for label, symbol in enumerate(symbols, 1)}
