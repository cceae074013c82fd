"""Pronunciation lexicons: CMUdict's and LibriSpeech's text formats.

[1] The CMU Pronouncing Dictionary 0.7a: `WORD  P1 P2`, alternatives `WORD(1)`, comments `;;;`.
    NLTK hands it out as `WORD 1 P1 P2`, with a counter.
[2] LibriSpeech lexicon, openslr.org/11: `WORD<tab>P1 P2`, alternatives repeat the word.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from speechasym.errors import LexiconError
from speechasym.language import phones

_ALTERNATIVE = re.compile(r"(.+)\(\d+\)")
_KNOWN = frozenset(phones.ARPABET + phones.ARPABET_STRESSED)
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x1f]")


class Lexicon(dict[str, list[tuple[str, ...]]]):
    """{word: its pronunciations, in the file's order}; its keys are the word list."""

    def pronounce(self, words: Iterable[str]) -> tuple[list[list[tuple[str, ...]]], dict[str, int]]:
        """The alternatives of each word, and {word: how often} of those it does not have.

        A word is looked up as it is, then in capitals. One that is missing has no alternatives,
        so that the result is as long as the words.
        """
        found: list[list[tuple[str, ...]]] = []
        missing: dict[str, int] = {}
        for word in words:
            alternatives = self.get(word) or self.get(word.upper()) or []
            if not alternatives:
                missing[word] = missing.get(word, 0) + 1
            found.append(alternatives)
        return found, missing


def read(path: str | Path, extra: Iterable[str] = ()) -> Lexicon:
    """Read a lexicon of ARPAbet phones, with or without stress, in UTF-8 or Latin-1.

    Takes the formats of [1], with `WORD(1)` or with NLTK's counter, and [2]. Comments begin with
    `;;;`, or with ` #` behind a pronunciation. The same pronunciation twice counts once.

    Args:
        extra: symbols to accept besides ARPAbet's, such as SIL or SPN.

    Raises:
        LexiconError: no text, no entries, a word without phones, or an unknown phone.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise LexiconError(path, f"cannot be read ({error.strerror})", "Check the path") from error
    if bad := _BINARY.search(raw):
        raise LexiconError(
            f"{path}:{raw[: bad.start()].count(10) + 1}",
            f"byte {bad.start()} is not text; lines of `WORD  P1 P2` are expected",
            "Unpack it, or save it as UTF-8",
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    known = _KNOWN.union(extra)
    lexicon = Lexicon()
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        if line.startswith(";;;") or not line.strip():
            continue
        word, *symbols = line.split()
        if symbols and symbols[0].isdecimal():
            del symbols[0]  # NLTK's counter
        if "#" in symbols:
            del symbols[symbols.index("#") :]
        if not symbols:
            raise LexiconError(
                f"{path}:{number}",
                f"{line.strip()!r} has no phones; `WORD  P1 P2` is expected",
                "Mend or remove the line",
            )
        if unknown := [symbol for symbol in symbols if symbol not in known]:
            raise LexiconError(
                f"{path}:{number}",
                f"{unknown[0]!r} of {word!r} is none of the 39 ARPAbet phones, with stress 0 to 2 "
                "at vowels",
                "Mend the line, or name the symbol in `extra`",
            )
        if match := _ALTERNATIVE.fullmatch(word):
            word = match[1]
        alternatives = lexicon.setdefault(word, [])
        if tuple(symbols) not in alternatives:
            alternatives.append(tuple(symbols))
    if not lexicon:
        raise LexiconError(path, "no entries; `WORD  P1 P2` is expected", "Check the file")
    return lexicon
