"""Voices of the embedded corpus, and the phones that their sounds are mapped to."""

from typing import NamedTuple


class Speaker(NamedTuple):
    """A voice, and which sets it speaks in."""

    held_out: bool  # speaks in `test` only
    accent: str  # "us" or "gb"
    gender: str
    variant: str  # of espeak-ng; only those without echo, whose pauses are digital silence
    pitch: int  # middle of espeak's 0..100
    rate: int  # words a minute


SPEAKERS = {
    "us-m1": Speaker(False, "us", "male", "m1", 45, 160),
    "us-m2": Speaker(False, "us", "male", "m7", 60, 185),
    "us-f1": Speaker(False, "us", "female", "f1", 50, 170),
    "us-f2": Speaker(False, "us", "female", "belinda", 40, 195),
    "gb-m1": Speaker(False, "gb", "male", "m3", 55, 175),
    "gb-m2": Speaker(False, "gb", "male", "m4", 35, 190),
    "gb-f1": Speaker(False, "gb", "female", "Annie", 55, 165),
    "us-m3": Speaker(False, "us", "male", "Denis", 50, 165),
    "us-m4": Speaker(False, "us", "male", "quincy", 50, 180),
    "us-m5": Speaker(False, "us", "male", "Nguyen", 45, 175),
    "us-f4": Speaker(False, "us", "female", "Andrea", 45, 180),
    "us-f5": Speaker(False, "us", "female", "steph", 50, 160),
    "gb-m4": Speaker(False, "gb", "male", "paul", 50, 170),
    "gb-m5": Speaker(False, "gb", "male", "ed", 40, 180),
    "gb-f3": Speaker(False, "gb", "female", "anika", 50, 190),
    "gb-f4": Speaker(False, "gb", "female", "grandma", 45, 160),
    "us-f3": Speaker(True, "us", "female", "shelby", 50, 175),
    "gb-m3": Speaker(True, "gb", "male", "m8", 60, 165),
    "gb-f2": Speaker(True, "gb", "female", "aunty", 45, 185),
}
LANGUAGE = {"us": "en-us", "gb": "gmw/en"}  # espeak's names of the accents; en-gb takes no variant

# espeak's mnemonic -> one of the 39 phones of Lee & Hon (phones.FOLD_39). Phones that espeak writes
# as two (the r-coloured vowels of "chair", "near", "car") are missing, as are words with them.
_SHARED = """
p p|b b|t t|d d|k k|g g|tS ch|dZ jh|f f|v v|T th|D dh|s s|z z|S sh|Z sh|h hh|m m|n n|N ng|l l|r r
r- r|w w|j y|@L l|I ih|I2 ih|I# ih|i iy|i: iy|E eh|a ae|V ah|a# ah|@ ah|@2 ah|0 aa|O: aa|U uh
u: uw|3: er|eI ey|aI ay|OI oy|oU ow|aU aw|aa ae
"""
_BOTH = dict(entry.split() for entry in _SHARED.strip().replace("\n", "|").split("|"))
PHONE_MAP = {
    "us": _BOTH | {"3": "er", "O2": "aa", "t#": "dx"},
    "gb": _BOTH | {"3": "ah"},  # no r in "water"
}
LINK = ";"  # a glide between two vowels, as in "the egg": stays with the first of them
# phones whose closure comes before espeak's event
STOPS = frozenset({"p", "b", "t", "d", "k", "g", "ch", "jh"})
