"""Pronunciations for words that a lexicon lacks: derived from its other words, or guessed.

Words that differ from one in the lexicon only in spelling, or by a possessive, are derived from it:
COLOUR from COLOR, THOMAS'S from THOMAS. All others are guessed by `letter_to_sound`.
"""

import logging
import re
from collections.abc import Iterable

from speechasym.errors import LexiconError
from speechasym.language.letter_to_sound import LetterToSound
from speechasym.language.lexicon import Lexicon, Pronunciation

_SIBILANTS = frozenset(("S", "Z", "SH", "ZH", "CH", "JH"))
_VOICELESS = frozenset(("P", "T", "K", "F", "TH"))
# spellings that sound like another one: British ones, and verse's 'D
_RESPELLINGS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
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

_log = logging.getLogger(__name__)


def complete(
    lexicon: Lexicon, words: Iterable[str], guesser: LetterToSound
) -> tuple[Lexicon, dict[str, str]]:
    """Add to a lexicon those of the words that it lacks, sorted, without stress.

    A spelling such as COLOURS or REMOV'D is pronounced as COLORS or REMOVED if the lexicon has
    these; a word with 'S as the word without it and IH Z, S or Z; all others are guessed from
    their letters. A word with a letter that `guesser` does not know is left out, and a warning is
    logged.

    Returns:
        The new lexicon, and {word added: the word it was derived from, "" if guessed}.
    """
    added: dict[str, str] = {}
    left_out = []
    completed = Lexicon(lexicon)
    for word in sorted(set(words)):
        if not lexicon.without_stress(word):
            try:
                completed[word], added[word] = derive(word.upper(), lexicon, guesser)
            except LexiconError:
                left_out.append(word)
    if left_out:
        _log.warning(
            "%d words cannot be guessed: %s%s",
            len(left_out), ", ".join(left_out[:10]), ", ..." if len(left_out) > 10 else "",
        )  # fmt: skip
    return completed, added


def derive(word: str, lexicon: Lexicon, guesser: LetterToSound) -> tuple[list[Pronunciation], str]:
    """Pronounce a word that the lexicon lacks; return also the word it is derived from, or "".

    Raises `LexiconError` for a letter that the guesser does not know.
    """
    for pattern, replacement in _RESPELLINGS:
        respelled = pattern.sub(replacement, word)
        if respelled != word and (alternatives := lexicon.without_stress(respelled)):
            return alternatives, respelled
    if len(word) > 2 and word.endswith("'S"):
        owner = source = word[:-2]
        alternatives = lexicon.without_stress(owner)
        if not alternatives:
            alternatives, source = derive(owner, lexicon, guesser)
        return [_possessive(phones) for phones in alternatives], source
    return [guesser.pronounce(word)], ""


def _possessive(phones: Pronunciation) -> Pronunciation:
    if phones[-1] in _SIBILANTS:
        return (*phones, "IH", "Z")
    return (*phones, "S" if phones[-1] in _VOICELESS else "Z")
