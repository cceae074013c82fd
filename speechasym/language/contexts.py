"""Phones in context: each with the kind of the phone that follows it in its word.

K AE T is written K+V AE+C T+#: before a vowel, before a consonant, at the end of the word. How a
phone sounds depends on what follows it [1]; three kinds are few enough to learn from hours of
speech, and tell a search for words where they end.

[1] R. Schwartz et al., "Context-dependent modeling for acoustic-phonetic recognition of continuous
    speech", ICASSP, 1985.
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from speechasym.language import phones

VOWEL, CONSONANT, END = "+V", "+C", "+#"
KINDS = (CONSONANT, VOWEL, END)
_VOWELS = frozenset(s for s, row in phones.TIMIT_TO_ARPABET.items() if {*row} & {*phones.VOWELS})


def in_context(word: Sequence[str]) -> list[str]:
    """Return the phones of a word (ARPAbet's or TIMIT's, without stress) with their contexts."""
    kinds = [VOWEL if phone.lower() in _VOWELS else CONSONANT for phone in word[1:]]
    return [phone + kind for phone, kind in zip(word, [*kinds, END], strict=False)]


def plain(symbol: str) -> str:
    """Return a phone without its context."""
    return symbol[:-2] if symbol.endswith(KINDS) else symbol


def nearest(symbol: str, known: Collection[str]) -> str:
    """Return a phone in context as it is known: in either letter case, else in another context.

    One that is not known at all is returned unchanged.
    """
    phone = plain(symbol)
    kinds = dict.fromkeys((symbol[len(phone) :], *KINDS))
    ways = (way + kind for kind in kinds for way in (phone, phone.lower(), phone.upper()))
    return next((way for way in ways if way in known), symbol)


def merged(inventory: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the phones (P,) that symbols (V,) are, and the class of each of V + 1 classes.

    Class 0 is the blank; symbol k of an inventory, counted from 0, is class k + 1.
    """
    alone = tuple(dict.fromkeys(map(plain, inventory)))
    number = {phone: n for n, phone in enumerate(alone, 1)}
    return alone, np.array([0, *(number[plain(symbol)] for symbol in inventory)])
