"""Pronunciation lexica: CMUdict's and LibriSpeech's text formats.

[1] The CMU Pronouncing Dictionary 0.7a: `WORD  P1 P2`, alternatives `WORD(1)`, comments `;;;`.
    NLTK distributes it as `WORD 1 P1 P2`, with a counter. Kaldi and MFA write probabilities there.
[2] LibriSpeech lexicon, openslr.org/11: `WORD<tab>P1 P2`, alternatives repeat the word.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from speechasym import files
from speechasym.errors import LexiconError
from speechasym.language import phones

Pronunciation = tuple[str, ...]

_ALTERNATIVE = re.compile(r"(.+)\(\d+\)")
_NUMBER = re.compile(r"\d+(\.\d*)?([eE][-+]?\d+)?|\.\d+")
# in place of phones in Kaldi's, MFA's and sphinx's lexica: silence, noises, unknown words
_NOISES = phones.SILENCES.union(
    ("SPN", "NSN", "LAU", "spn", "nsn", "lau", "+SPN+", "+NSN+", "+NOISE+", "++NOISE++")
)
_KNOWN = frozenset(phones.ARPABET + phones.ARPABET_STRESSED)


class Lexicon(dict[str, list[Pronunciation]]):
    """{word: its pronunciations, in the file's order}."""

    _folded: dict[str, list[Pronunciation]]  # {word without case: pronunciations}, see `_any_case`
    _folded_size = -1  # number of words when `_folded` was computed

    def pronounce(self, word: str) -> list[Pronunciation]:
        """Look up a word, as it is, else in capitals, else in any case; none if it is missing."""
        return self.get(word) or self.get(word.upper()) or self._any_case(word)

    def _any_case(self, word: str) -> list[Pronunciation]:
        """Return the pronunciations of all words that differ from this one only in case."""
        if self._folded_size != len(self):
            self._folded, self._folded_size = {}, len(self)
            for name, rows in self.items():
                merged = self._folded.setdefault(name.casefold(), [])
                merged += [row for row in rows if row not in merged]
        return self._folded.get(word.casefold(), [])

    def without_stress(self, word: str) -> list[Pronunciation]:
        """Look up a word: its different pronunciations without stress; none if it is missing."""
        rows = self.pronounce(word)
        return list(dict.fromkeys(tuple(map(phones.strip_stress, row)) for row in rows))


def restrict(lexicon: Lexicon, words: Iterable[str]) -> Lexicon:
    """Return the entries of those words that a lexicon has, sorted, without stress."""
    rows = ((word, lexicon.without_stress(word)) for word in sorted(set(words)))
    return Lexicon({word: alternatives for word, alternatives in rows if alternatives})


def read_lexicon(path: str | Path, extra: Iterable[str] = ()) -> Lexicon:
    """Read a lexicon of ARPAbet phones, with or without stress, in UTF-8 or Latin-1.

    The format may be [1], with `WORD(1)` or with NLTK's counter, or [2]. Comments begin with `;;;`,
    or with ` #` after a pronunciation. Probabilities after the word are ignored, duplicates
    dropped, and so are entries of nothing but silence or noise, such as `<UNK> SPN`.

    Args:
        extra: symbols to accept besides ARPAbet's, such as SIL or SPN; also where they are alone.

    Raises:
        LexiconError: the file cannot be read, is not text or has no entries; a word without
            phones, or an unknown phone.
    """
    known = _KNOWN.union(extra)
    lexicon = Lexicon()
    for number, line in enumerate(files.read_text(path, LexiconError, latin1=True).split("\n"), 1):
        if line.startswith(";;;") or not line.strip():
            continue
        word, *symbols = line.split()
        while symbols and _NUMBER.fullmatch(symbols[0]):
            del symbols[0]  # NLTK's counter, or probabilities
        if "#" in symbols:
            del symbols[symbols.index("#") :]
        if not symbols:
            problem = f"{line.strip()!r} has no phones, expected `WORD  P1 P2`"
            raise LexiconError(f"{path}:{number}", problem, "Fix or remove the line")
        if _NOISES.issuperset(symbols) and not known.issuperset(symbols):
            continue
        if unknown := [symbol for symbol in symbols if symbol not in known]:
            raise LexiconError(
                f"{path}:{number}",
                f"{unknown[0]!r} of {word!r} is not one of the 39 ARPAbet phones, with stress 0 to "
                "2 on vowels",
                "Fix the line, or name the symbol in `extra`",
            )
        if match := _ALTERNATIVE.fullmatch(word):
            word = match[1]
        alternatives = lexicon.setdefault(word, [])
        if tuple(symbols) not in alternatives:
            alternatives.append(tuple(symbols))
    if not lexicon:
        raise LexiconError(path, "no entries, expected `WORD  P1 P2`", "Check the file")
    return lexicon


def write_lexicon(
    path: str | Path, lexicon: Lexicon, added: Mapping[str, str] | None = None
) -> None:
    """Write a lexicon in CMUdict's format, with a comment on what `complete` has added.

    Raises:
        OutputError: the file cannot be written.
    """
    comments = {
        word: f" # from {source}" if source else " # guessed"
        for word, source in (added or {}).items()
    }
    with files.atomic(Path(path)) as file:
        for word, alternatives in lexicon.items():
            for n, symbols in enumerate(alternatives):
                name = f"{word}({n})" if n else word
                file.write(f"{name}  {' '.join(symbols)}{comments.get(word, '')}\n".encode())
