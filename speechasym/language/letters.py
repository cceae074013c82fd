"""The 28 letters, and text written in them: the spelling of LibriSpeech's transcripts."""

import re
import unicodedata
from collections.abc import Iterable

SPACE = " "
LETTERS = (SPACE, "'", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ")

WRITTEN = re.compile("[A-Z' ]*")

_APOSTROPHES = str.maketrans(dict.fromkeys("\u2019\u2018\u02bc\uff07`\u00b4", "'"))


def plain(text: str) -> str:
    """Return text with straight apostrophes and without accents."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_APOSTROPHES))
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign))


def normalise(text: str) -> tuple[str, str]:
    """Write text in the 28 letters, and return it with what cannot be written so.

    Lower case becomes upper, accents are dropped, curly apostrophes become straight; other signs
    become spaces. Digits and letters of other scripts cannot be written: they are dropped, and
    returned, sorted, as the second string.
    """
    if WRITTEN.fullmatch(text):  # as corpora write it
        return " ".join(text.split()), ""
    capitals = plain(text).upper()
    unwritable = {sign for sign in capitals if sign.isalnum() and sign not in LETTERS}
    written = "".join(sign if sign in LETTERS else SPACE for sign in capitals)
    return " ".join(written.split()), "".join(sorted(unwritable))


def spell(words: Iterable[str]) -> list[str]:
    """Return the letters of words, with a space between words."""
    return list(SPACE.join(words))
