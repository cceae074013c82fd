"""Phone inventories and the maps between them.

TIMIT's 61 symbols with the foldings to 48 and 39; the 39 ARPAbet phones of CMUdict with and without
stress; IPA for both; articulatory features; and the 28 letters.

[1] K.-F. Lee, H.-W. Hon, "Speaker-independent phone recognition using hidden Markov models", IEEE
    Trans. ASSP 37, 1641-1648, 1989: 61 TIMIT symbols, trained as 48, scored as 39.
[2] V. Zue, S. Seneff, "Transcription and alignment of the TIMIT database", 1988: what they stand
    for.
[3] The CMU Pronouncing Dictionary 0.7a: 39 phones, vowels with stress 0, 1 (primary), 2.
[4] P. Ladefoged, K. Johnson, "A Course in Phonetics", 6th ed., 2011: IPA and features of American
    English.
"""

# ruff: noqa: RUF001  IPA has signs that look like Latin letters

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

# symbol, its class among 48, its class among 39; q (glottal stop) is dropped in both [1]
_TABLE = """
aa aa aa|ae ae ae|ah ah ah|ao ao aa|aw aw aw|ax ax ah|ax-h ax ah|axr er er|ay ay ay|b b b
bcl vcl sil|ch ch ch|d d d|dcl vcl sil|dh dh dh|dx dx dx|eh eh eh|el el l|em m m|en en n|eng ng ng
epi epi sil|er er er|ey ey ey|f f f|g g g|gcl vcl sil|h# sil sil|hh hh hh|hv hh hh|ih ih ih
ix ix ih|iy iy iy|jh jh jh|k k k|kcl cl sil|l l l|m m m|n n n|ng ng ng|nx n n|ow ow ow|oy oy oy
p p p|pau sil sil|pcl cl sil|q - -|r r r|s s s|sh sh sh|t t t|tcl cl sil|th th th|uh uh uh
uw uw uw|ux uw uw|v v v|w w w|y y y|z z z|zh zh sh
"""
_ROWS = [entry.split() for entry in _TABLE.replace("\n", "|").split("|") if entry]

TIMIT_61 = tuple(row[0] for row in _ROWS)
FOLD_48 = {row[0]: row[1] for row in _ROWS if row[1] != "-"}
FOLD_39 = {row[0]: row[2] for row in _ROWS if row[2] != "-"}
FOLD_48_TO_39 = {row[1]: row[2] for row in _ROWS if row[1] != "-"}
SILENCE = "sil"
SILENCES = frozenset(("sil", "SIL", "sp", "SP", "h#", "pau", "epi"))  # of annotations and lexica
GLOTTAL_STOP = "q"
TIMIT_48 = tuple(sorted(FOLD_48_TO_39))
TIMIT_39 = tuple(sorted(set(FOLD_39.values())))
# a class is named after one of its symbols, or is sil, cl, vcl: so any inventory folds by one map
FOLD_ANY_TO_39 = FOLD_48_TO_39 | FOLD_39


class Features(NamedTuple):
    """How a phone is made; "" where a feature does not apply [4].

    Height, backness and rounding are those of the vowel's beginning.
    """

    voiced: bool
    place: str = ""
    manner: str = ""  # stop, affricate, fricative, nasal, approximant, lateral; "" for vowels
    height: str = ""  # high, mid, low
    backness: str = ""  # front, central, back
    rounded: bool = False
    tense: bool = False
    glide: str = ""  # the phone that a diphthong moves to

    @property
    def vowel(self) -> bool:
        """Whether it is a vowel: those have a height."""
        return bool(self.height)


# phone, IPA, voiced or not, place, manner
_CONSONANTS = """
B b + bilabial stop|CH tʃ - postalveolar affricate|D d + alveolar stop|DH ð + dental fricative
F f - labiodental fricative|G ɡ + velar stop|HH h - glottal fricative
JH dʒ + postalveolar affricate|K k - velar stop|L l + alveolar lateral|M m + bilabial nasal
N n + alveolar nasal|NG ŋ + velar nasal|P p - bilabial stop|R ɹ + alveolar approximant
S s - alveolar fricative|SH ʃ - postalveolar fricative|T t - alveolar stop|TH θ - dental fricative
V v + labiodental fricative|W w + labial-velar approximant|Y j + palatal approximant
Z z + alveolar fricative|ZH ʒ + postalveolar fricative
"""
# phone, IPA, height, backness, rounded or not, tense or lax, the phone it glides to
_VOWELS = """
AA ɑ low back - tense -|AE æ low front - lax -|AH ʌ mid central - lax -|AO ɔ mid back + tense -
AW aʊ low central - tense UH|AY aɪ low central - tense IH|EH ɛ mid front - lax -
ER ɝ mid central - tense -|EY eɪ mid front - tense IH|IH ɪ high front - lax -
IY i high front - tense -|OW oʊ mid back + tense UH|OY ɔɪ mid back + tense IH
UH ʊ high back + lax -|UW u high back + tense -
"""


def _rows(table: str) -> list[list[str]]:
    return [entry.split() for entry in table.replace("\n", "|").split("|") if entry]


FEATURES = {
    phone: Features(voice == "+", place, manner)
    for phone, _, voice, place, manner in _rows(_CONSONANTS)
} | {
    phone: Features(
        True, "", "", height, backness, rounded == "+", tense == "tense", glide.strip("-")
    )
    for phone, _, height, backness, rounded, tense, glide in _rows(_VOWELS)
}
VOWELS = tuple(row[0] for row in _rows(_VOWELS))
ARPABET = tuple(sorted(FEATURES))
ARPABET_STRESSED = tuple(
    symbol
    for phone in ARPABET
    for symbol in ([phone + stress for stress in "012"] if phone in VOWELS else [phone])
)
ARPABET_TO_IPA = {row[0]: row[1] for row in _rows(_CONSONANTS) + _rows(_VOWELS)}
_REDUCED = {"AH0": "ə", "ER0": "ɚ"}  # the two vowels that have a sign of their own, unstressed
_STRESS = {"1": "ˈ", "2": "ˌ", "0": "", "": ""}
# the plain letters that many write for two of the signs
IPA_TO_ARPABET = {ipa: phone for phone, ipa in ARPABET_TO_IPA.items()} | {
    "ə": "AH0",
    "ɚ": "ER0",
    "g": "G",
    "r": "R",
}

# TIMIT symbol, IPA [2], ARPAbet phones. Silences have neither. A closure alone is an unreleased
# stop; a flap is counted as T, which most are; syllabic consonants are AH and the consonant
_TIMIT = """
aa ɑ AA|ae æ AE|ah ʌ AH|ao ɔ AO|aw aʊ AW|ax ə AH|ax-h ə̥ AH|axr ɚ ER|ay aɪ AY|b b B|bcl b̚ B
ch tʃ CH|d d D|dcl d̚ D|dh ð DH|dx ɾ T|eh ɛ EH|el l̩ AH+L|em m̩ AH+M|en n̩ AH+N|eng ŋ̍ AH+NG
epi - -|er ɝ ER|ey eɪ EY|f f F|g ɡ G|gcl ɡ̚ G|h# - -|hh h HH|hv ɦ HH|ih ɪ IH|ix ɨ IH|iy i IY
jh dʒ JH|k k K|kcl k̚ K|l l L|m m M|n n N|ng ŋ NG|nx ɾ̃ N|ow oʊ OW|oy ɔɪ OY|p p P|pau - -|pcl p̚ P
q ʔ -|r ɹ R|s s S|sh ʃ SH|t t T|tcl t̚ T|th θ TH|uh ʊ UH|uw u UW|ux ʉ UW|v v V|w w W|y j Y|z z Z
zh ʒ ZH
"""
TIMIT_TO_IPA = {row[0]: row[1].strip("-") for row in _rows(_TIMIT)}
TIMIT_TO_ARPABET = {
    row[0]: tuple(row[2].split("+")) if row[2] != "-" else () for row in _rows(_TIMIT)
}
_RELEASES = {
    "bcl": ("b",),
    "dcl": ("d", "jh"),
    "gcl": ("g",),
    "kcl": ("k",),
    "pcl": ("p",),
    "tcl": ("t", "ch"),
}


def strip_stress(phone: str) -> str:
    """An ARPAbet phone without its stress: AH0 -> AH; one without stress stays."""
    return phone[:-1] if phone[-1:] in ("0", "1", "2") else phone


def arpabet_to_ipa(phone: str) -> str:
    """IPA of an ARPAbet phone; stress is marked before the vowel, AH0 is ə and ER0 is ɚ.

    Raises KeyError for what is none of `ARPABET` or `ARPABET_STRESSED`.
    """
    if phone in _REDUCED:
        return _REDUCED[phone]
    plain = strip_stress(phone)
    if plain != phone and plain not in VOWELS:
        raise KeyError(phone)
    return _STRESS[phone[len(plain) :]] + ARPABET_TO_IPA[plain]


def ipa_to_arpabet(sound: str) -> str:
    """ARPAbet phone of one IPA sound, with stress if it is marked; ə is AH0 and ɚ is ER0.

    Takes back `arpabet_to_ipa`, except that stress 0 of the other vowels is not written in IPA.
    Raises KeyError for a sound that English does not have here.
    """
    for stress, mark in _STRESS.items():
        if mark and sound.startswith(mark):
            phone = strip_stress(IPA_TO_ARPABET[sound[1:]])
            if phone not in VOWELS:
                raise KeyError(sound)
            return phone + stress
    return IPA_TO_ARPABET[sound]


def timit_to_arpabet(symbols: Iterable[str]) -> list[str]:
    """ARPAbet phones, without stress, of a sequence of the 61 TIMIT symbols.

    A closure and the release after it are one stop (dcl jh and tcl ch one affricate); a closure
    without its release is a stop all the same. Silences and q are left out.
    Raises KeyError for another symbol.
    """
    phones: list[str] = []
    for symbol, after in pairwise([*symbols, ""]):
        if after not in _RELEASES.get(symbol, ()):
            phones += TIMIT_TO_ARPABET[symbol]
    return phones
