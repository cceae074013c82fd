"""Phones: inventories of the right size, maps that fit together."""

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
    """One map folds all inventories; classes fold to themselves; q alone is dropped."""
    for symbol in phones.TIMIT_61:
        if symbol == phones.GLOTTAL_STOP:
            assert symbol not in phones.FOLD_39
            continue
        assert phones.FOLD_ANY_TO_39[symbol] == phones.FOLD_39[symbol]
    # 61 to 48 to 39 is 61 to 39
    folded = {middle: phones.FOLD_39.get(symbol) for symbol, middle, _ in phones._FOLDINGS}
    assert all(phones.FOLD_ANY_TO_39.get(middle) == last for middle, last in folded.items())
    assert set(phones.TIMIT_39) < set(phones.TIMIT_48)
    assert all(phones.FOLD_ANY_TO_39[phone] == phone for phone in phones.TIMIT_39)
    # examples from the table of Lee and Hon
    folds = {"ix": "ih", "zh": "sh", "ao": "aa", "el": "l", "nx": "n", "hv": "hh", "ux": "uw"}
    assert {s: phones.FOLD_39[s] for s in folds} == folds
    silent = ["h#", "pau", "epi", "bcl", "dcl", "gcl", "pcl", "tcl", "kcl"]
    assert sorted(s for s, f in phones.FOLD_39.items() if f == phones.SILENCE) == sorted(silent)


def test_timit_symbols_have_arpabet():
    assert tuple(phones.TIMIT_TO_ARPABET) == phones.TIMIT_61
    known = set(phones.ARPABET)
    for symbol, sounds in phones.TIMIT_TO_ARPABET.items():
        assert set(sounds) <= known
        assert bool(sounds) == (symbol not in {"h#", "pau", "epi", "q"})
        if symbol.upper() in known:
            assert sounds == (symbol.upper(),)


def test_articulation():
    f = phones.ARTICULATION
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
