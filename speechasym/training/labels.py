"""What a recogniser learns to write: phones, letters and words of cuts, and their numbers.

Class 0 is CTC's blank; symbol k of an inventory is class k + 1.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from speechasym.errors import ConfigError, LabelError
from speechasym.language import phones
from speechasym.language.letters import LETTERS, normalise, spell
from speechasym.language.lexicon import Lexicon
from speechasym.training.config import LabelConfig

if TYPE_CHECKING:
    from lhotse.cut import Cut

Inventory = dict[str, tuple[str, ...]]
UNKNOWN = "<unk>"


def tokens(cut: "Cut", head: str, config: LabelConfig, lexicon: Lexicon | None) -> list[str]:
    """The symbols of one cut for a head. Raises `LabelError`."""
    if head == "phones":
        return _phones(cut, config, lexicon)
    words = words_of(cut)
    return words if head == "words" else spell(words)


def words_of(cut: "Cut") -> list[str]:
    """A cut's words in capitals, of the letters A to Z and the apostrophe; no punctuation."""
    texts = [s.text for s in sorted(cut.supervisions, key=lambda s: s.start)]
    if not texts or None in texts:
        raise LabelError(
            f"cut {cut.id}", "it has no text", "Leave it out, or set heads.letters and words to 0"
        )
    return words_in(" ".join(texts), f"cut {cut.id}")


def words_in(text: str, name: str) -> list[str]:
    """Return a text's words as `words_of` does; errors name `name`. Raises `LabelError`."""
    plain, unwritable = normalise(text)
    if unwritable:
        raise LabelError(
            name,
            f"{unwritable[0]!r} in {text[:60]!r} is not a letter A to Z or an apostrophe",
            "Write it out in letters",
        )
    return plain.split()


def _phones(cut: "Cut", config: LabelConfig, lexicon: Lexicon | None) -> list[str]:
    timed = timed_phones(cut, config)
    if timed:
        return [symbol for symbol, _, _ in timed]
    if lexicon is None:
        raise LabelError(
            f"cut {cut.id}",
            "it has no phones",
            "Give data.labels.lexicon, or set heads.phones to 0",
        )
    words = words_of(cut)
    found, missing = lexicon.pronounce(words)
    if missing:
        raise LabelError(
            f"cut {cut.id}", f"{next(iter(missing))!r} is not in the lexicon", "Add it there"
        )
    return pronounced([p for alternatives in found for p in alternatives[0]], config, cut.id)


def pronounced(symbols: Iterable[str], config: LabelConfig, name: str) -> list[str]:
    """Return a lexicon's phones as the configuration wants them, without stress."""
    rows = [(phones.strip_stress(symbol), 0.0, 0.0) for symbol in symbols]
    return [symbol for symbol, _, _ in _read(rows, config, name)]


def timed_phones(cut: "Cut", config: LabelConfig) -> list[tuple[str, float, float]]:
    """(symbol, start, end) in s of the cut's own phones; none unless all its speech has some.

    Silences that are merged last from the first to the end of the last. Raises `LabelError`.
    """
    supervisions = sorted(cut.supervisions, key=lambda s: s.start)
    if not supervisions or not all(s.alignment and "phone" in s.alignment for s in supervisions):
        return []
    items = [item for s in supervisions for item in s.alignment["phone"]]
    return _read([(item.symbol, item.start, item.end) for item in items], config, cut.id)


def _read(
    rows: Iterable[tuple[str, float, float]], config: LabelConfig, name: str
) -> list[tuple[str, float, float]]:
    """Symbols as the configuration wants them."""
    found: list[tuple[str, float, float]] = []
    for symbol, start, end in rows:
        if config.fold == "timit39":
            symbol = _folded(symbol, name)
        silent = symbol in phones.SILENCES
        if not symbol or (silent and config.silence == "drop"):
            continue
        if silent and config.silence == "merge" and found and found[-1][0] == phones.SILENCE:
            found[-1] = (phones.SILENCE, found[-1][1], end)
            continue
        found.append((phones.SILENCE if silent else symbol, start, end))
    return found


def _folded(symbol: str, name: str) -> str:
    """One of the 39, or nothing."""
    key = symbol if symbol == "h#" else symbol.lower()
    if key in phones.FOLD_ANY_TO_39:
        return phones.FOLD_ANY_TO_39[key]
    if key in ("", phones.GLOTTAL_STOP):
        return ""
    raise LabelError(f"cut {name}", f"{symbol!r} is no symbol of TIMIT", "Set labels.fold: none")


def inventory(head: str, rows: Iterable[Sequence[str]], config: LabelConfig) -> tuple[str, ...]:
    """The symbols of a head, from the training cuts' tokens. Raises `LabelError` for none."""
    if head == "letters":
        return LETTERS
    counts = Counter(token for row in rows for token in row)
    if not counts:
        raise LabelError(head, "the training cuts have none", "Check the manifest")
    if head == "phones":
        return tuple(sorted(counts))
    often = [word for word, count in counts.items() if count >= config.word_least]
    often = sorted(often, key=lambda word: (-counts[word], word))[: config.word_most]
    return (*sorted(often), UNKNOWN)


def encode(row: Sequence[str], known: Mapping[str, int]) -> list[int]:
    """Tokens -> classes {symbol: class}; those without a class are <unk>, or left out."""
    unknown = known.get(UNKNOWN)
    found = (known.get(token, unknown) for token in row)
    return [number for number in found if number is not None]


def classes(symbols: Sequence[str]) -> dict[str, int]:
    """{symbol: class}, from 1."""
    return {symbol: number for number, symbol in enumerate(symbols, 1)}


def check_heads(heads: Iterable[str], known: Mapping[str, Sequence[str]]) -> None:
    """Raises `ConfigError` for a head without an inventory."""
    for head in heads:
        if head not in known:
            raise ConfigError("heads", f"no inventory of {head}", f"Known are {', '.join(known)}")
