"""Phone inventories, the maps between them, and how phones are articulated.

[1] K.-F. Lee, H.-W. Hon, "Speaker-independent phone recognition using hidden Markov models", IEEE
    Trans. ASSP 37, 1641-1648, 1989: 61 TIMIT symbols, trained as 48, scored as 39.
[2] V. Zue, S. Seneff, "Transcription and alignment of the TIMIT database", 1988: the symbols.
[3] The CMU Pronouncing Dictionary 0.7a: 39 phones, vowels with stress 0, 1 (primary), 2.
[4] P. Ladefoged, K. Johnson, "A Course in Phonetics", 6th ed., 2011: articulation in American
    English.
"""

from typing import NamedTuple


def _rows(table: str) -> list[list[str]]:
    return [entry.split() for entry in table.replace("\n", "|").split("|") if entry]


# symbol, its class among 48, its class among 39; q (glottal stop) is dropped in both [1]
_FOLDINGS = _rows("""
aa aa aa|ae ae ae|ah ah ah|ao ao aa|aw aw aw|ax ax ah|ax-h ax ah|axr er er|ay ay ay|b b b
bcl vcl sil|ch ch ch|d d d|dcl vcl sil|dh dh dh|dx dx dx|eh eh eh|el el l|em m m|en en n|eng ng ng
epi epi sil|er er er|ey ey ey|f f f|g g g|gcl vcl sil|h# sil sil|hh hh hh|hv hh hh|ih ih ih
ix ix ih|iy iy iy|jh jh jh|k k k|kcl cl sil|l l l|m m m|n n n|ng ng ng|nx n n|ow ow ow|oy oy oy
p p p|pau sil sil|pcl cl sil|q - -|r r r|s s s|sh sh sh|t t t|tcl cl sil|th th th|uh uh uh
uw uw uw|ux uw uw|v v v|w w w|y y y|z z z|zh zh sh
""")

SILENCE = "sil"
SILENCES = frozenset(("sil", "SIL", "sp", "SP", "h#", "pau", "epi"))  # of annotations and lexica
GLOTTAL_STOP = "q"
TIMIT_61 = tuple(symbol for symbol, _, _ in _FOLDINGS)
FOLD_39 = {symbol: last for symbol, _, last in _FOLDINGS if last != "-"}
_FOLD_48_TO_39 = {middle: last for _, middle, last in _FOLDINGS if last != "-"}
TIMIT_48 = tuple(sorted(_FOLD_48_TO_39))
TIMIT_39 = tuple(sorted(set(FOLD_39.values())))
# a class is named after one of its symbols, or is sil, cl, vcl: one map folds any inventory
FOLD_ANY_TO_39 = _FOLD_48_TO_39 | FOLD_39


class Articulation(NamedTuple):
    """How a phone is articulated; "" where a feature does not apply [4].

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
        """Whether the phone is a vowel."""
        return bool(self.height)


# phone, voiced or not, place, manner
_CONSONANTS = _rows("""
B + bilabial stop|CH - postalveolar affricate|D + alveolar stop|DH + dental fricative
F - labiodental fricative|G + velar stop|HH - glottal fricative|JH + postalveolar affricate
K - velar stop|L + alveolar lateral|M + bilabial nasal|N + alveolar nasal|NG + velar nasal
P - bilabial stop|R + alveolar approximant|S - alveolar fricative|SH - postalveolar fricative
T - alveolar stop|TH - dental fricative|V + labiodental fricative|W + labial-velar approximant
Y + palatal approximant|Z + alveolar fricative|ZH + postalveolar fricative
""")
# phone, height, backness, rounded or not, tense or lax, the phone it glides to
_VOWELS = _rows("""
AA low back - tense -|AE low front - lax -|AH mid central - lax -|AO mid back + tense -
AW low central - tense UH|AY low central - tense IH|EH mid front - lax -|ER mid central - tense -
EY mid front - tense IH|IH high front - lax -|IY high front - tense -|OW mid back + tense UH
OY mid back + tense IH|UH high back + lax -|UW high back + tense -
""")
ARTICULATION = {
    phone: Articulation(voice == "+", place, manner) for phone, voice, place, manner in _CONSONANTS
} | {
    phone: Articulation(
        True, "", "", height, backness, rounded == "+", tense == "tense", glide.strip("-")
    )
    for phone, height, backness, rounded, tense, glide in _VOWELS
}
VOWELS = tuple(row[0] for row in _VOWELS)
ARPABET = tuple(sorted(ARTICULATION))
ARPABET_STRESSED = tuple(
    symbol
    for phone in ARPABET
    for symbol in ([phone + stress for stress in "012"] if phone in VOWELS else [phone])
)

# TIMIT symbol, ARPAbet phones; silences and q have none. A closure alone is an unreleased stop; a
# flap counts as T, which most are; syllabic consonants are AH and the consonant
TIMIT_TO_ARPABET = {
    symbol: tuple(phones.split("+")) if phones != "-" else ()
    for symbol, phones in _rows("""
aa AA|ae AE|ah AH|ao AO|aw AW|ax AH|ax-h AH|axr ER|ay AY|b B|bcl B|ch CH|d D|dcl D|dh DH|dx T|eh EH
el AH+L|em AH+M|en AH+N|eng AH+NG|epi -|er ER|ey EY|f F|g G|gcl G|h# -|hh HH|hv HH|ih IH|ix IH
iy IY|jh JH|k K|kcl K|l L|m M|n N|ng NG|nx N|ow OW|oy OY|p P|pau -|pcl P|q -|r R|s S|sh SH|t T
tcl T|th TH|uh UH|uw UW|ux UW|v V|w W|y Y|z Z|zh ZH
""")
}


def strip_stress(phone: str) -> str:
    """Return an ARPAbet phone without its stress: AH0 -> AH."""
    return phone[:-1] if phone[-1:] in ("0", "1", "2") else phone
