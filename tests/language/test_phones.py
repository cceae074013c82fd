"""Phones: inventories of the right size, maps that fit together and go back."""

# ruff: noqa: RUF001  IPA has signs that look like Latin letters

import pytest

from speechasym.language import phones


def test_inventories():
    sizes = {
        "TIMIT_61": 61,
        "TIMIT_48": 48,
        "TIMIT_39": 39,
        "ARPABET": 39,
        "ARPABET_STRESSED": 24 + 3 * 15,  # as the phone list of CMUdict 0.7a
    }
    for name, size in sizes.items():
        symbols = getattr(phones, name)
        assert (len(symbols), len(set(symbols))) == (size, size), name


def test_foldings_fit():
    """61 to 48 to 39 is 61 to 39; classes fold to themselves; q alone is dropped."""
    for symbol in phones.TIMIT_61:
        if symbol == phones.GLOTTAL_STOP:
            assert symbol not in phones.FOLD_48 and symbol not in phones.FOLD_39
            continue
        assert phones.FOLD_48_TO_39[phones.FOLD_48[symbol]] == phones.FOLD_39[symbol]
        assert phones.FOLD_ANY_TO_39[symbol] == phones.FOLD_39[symbol]
    assert set(phones.TIMIT_39) < set(phones.TIMIT_48)
    assert all(phones.FOLD_ANY_TO_39[phone] == phone for phone in phones.TIMIT_39)
    # examples from the table of Lee and Hon
    folds = {"ix": "ih", "zh": "sh", "ao": "aa", "el": "l", "nx": "n", "hv": "hh", "ux": "uw"}
    assert {s: phones.FOLD_39[s] for s in folds} == folds
    silent = ["h#", "pau", "epi", "bcl", "dcl", "gcl", "pcl", "tcl", "kcl"]
    assert sorted(s for s, f in phones.FOLD_39.items() if f == phones.SILENCE) == sorted(silent)


def test_ipa_goes_back():
    for phone in phones.ARPABET:
        assert phones.ipa_to_arpabet(phones.arpabet_to_ipa(phone)) == phone
    for phone in phones.ARPABET_STRESSED:
        back = phones.ipa_to_arpabet(phones.arpabet_to_ipa(phone))
        lost = phone.endswith("0") and phone not in ("AH0", "ER0")
        assert back == (phones.strip_stress(phone) if lost else phone)
    assert [phones.arpabet_to_ipa(p) for p in ("HH", "AH0", "L", "OW1")] == ["h", "ə", "l", "ˈoʊ"]
    assert phones.ipa_to_arpabet("g") == phones.ipa_to_arpabet("ɡ") == "G"


@pytest.mark.parametrize("phone", ["B1", "AA3", "aa", "", "1", "QQ"])
def test_no_arpabet(phone):
    with pytest.raises(KeyError):
        phones.arpabet_to_ipa(phone)


@pytest.mark.parametrize("sound", ["", "ˈb", "ˈ", "x"])
def test_no_ipa(sound):
    with pytest.raises(KeyError):
        phones.ipa_to_arpabet(sound)


def test_timit_symbols_have_ipa_and_arpabet():
    assert tuple(phones.TIMIT_TO_IPA) == tuple(phones.TIMIT_TO_ARPABET) == phones.TIMIT_61
    silent = {s for s, ipa in phones.TIMIT_TO_IPA.items() if not ipa}
    assert silent == {"h#", "pau", "epi"}
    known = set(phones.ARPABET)
    for symbol, sounds in phones.TIMIT_TO_ARPABET.items():
        assert set(sounds) <= known
        assert bool(sounds) == (symbol not in silent | {"q"})
    # where both write one sound, they agree on its sign
    for symbol, sounds in phones.TIMIT_TO_ARPABET.items():
        if symbol.upper() in known:
            assert sounds == (symbol.upper(),)
            assert phones.TIMIT_TO_IPA[symbol] == phones.ARPABET_TO_IPA[symbol.upper()]


def test_timit_to_arpabet():
    """A closure joins its release, an affricate's too; alone it is a stop."""
    timit = "h# sh iy hv ae dcl jh ah s tcl q bcl b en tcl ch h#"
    said = phones.timit_to_arpabet(timit.split())
    assert " ".join(said) == "SH IY HH AE JH AH S T B AH N CH"
    assert phones.timit_to_arpabet(["tcl", "d"]) == ["T", "D"]
    assert phones.timit_to_arpabet([]) == []
    with pytest.raises(KeyError):
        phones.timit_to_arpabet(["sil"])


def test_features():
    f = phones.FEATURES
    assert set(f) == set(phones.ARPABET)
    assert {p for p in f if f[p].vowel} == set(phones.VOWELS)
    for phone, made in f.items():
        assert bool(made.place and made.manner) != made.vowel, phone
        assert bool(made.backness) == made.vowel, phone
        assert made.glide in ("", "IH", "UH")
    # pairs that differ in voicing alone
    for low, high in ("PB", "TD", "KG", "FV", "SZ", ("TH", "DH"), ("SH", "ZH"), ("CH", "JH")):
        assert f[low] == f[high]._replace(voiced=False), (low, high)
    consonants = [made for made in f.values() if not made.vowel]
    assert len(set(consonants)) == 24  # no two are made alike
    assert len({made for made in f.values() if made.vowel}) == 15
    assert sorted(p for p in f if f[p].rounded) == ["AO", "OW", "OY", "UH", "UW"]
    assert sorted(p for p in f if f[p].manner == "nasal") == ["M", "N", "NG"]
