"""TIMIT's scoring conventions: how symbols are folded, and how silences count.

docs/scoring.md states every rule.

[1] K.-F. Lee, H.-W. Hon, "Speaker-independent phone recognition using hidden Markov models", IEEE
    Trans. ASSP 37, 1641-1648, 1989: the folding to 39.
[2] Kaldi, egs/timit/s5/local: score_basic.sh (silences are phones like others), score_sclite.sh
    (those of the reference are optional).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from speechasym.annotations.transcripts import place_of
from speechasym.errors import ScoringError
from speechasym.language import phones


class Convention(NamedTuple):
    """How TIMIT's symbols are prepared, and silences counted, before they are compared."""

    fold: bool  # to 39 classes, q dropped [1]; else the 61 are kept
    merge: bool  # a run of silences becomes one
    optional: bool  # silences of the reference may be deleted at no cost


CONVENTIONS = {
    "kaldi": Convention(fold=True, merge=False, optional=False),  # [2] score_basic.sh
    "optional-silence": Convention(fold=True, merge=False, optional=True),  # [2] score_sclite.sh
    "merged": Convention(fold=True, merge=True, optional=False),
    "strict": Convention(fold=False, merge=False, optional=False),
}


def convention_of(name: str) -> Convention:
    """Return a convention by its name. Raises `ScoringError` for an unknown one."""
    if name not in CONVENTIONS:
        raise ScoringError(name, "unknown convention", f"Use one of {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def apply_convention(
    transcripts: Mapping[str, Sequence[str]], convention: str
) -> dict[str, list[str]]:
    """Return transcripts as a convention compares them.

    Conventions that fold accept the symbols of the 61, 48 or 39 classes, also mixed: each class is
    named after one of its symbols, or is sil, cl or vcl.

    Raises:
        ScoringError: a symbol of none of these inventories; an unknown convention.
    """
    rule = convention_of(convention)
    known = phones.FOLD_ANY_TO_39 if rule.fold else {symbol: symbol for symbol in phones.TIMIT_61}
    prepared: dict[str, list[str]] = {}
    for name, tokens in transcripts.items():
        row: list[str] = []
        for token in tokens:
            if rule.fold and token == phones.GLOTTAL_STOP:
                continue
            if token not in known:
                inventory = "61, 48 or 39" if rule.fold else "61"
                raise ScoringError(
                    place_of(transcripts, name),
                    f"{token!r} is not one of TIMIT's {inventory} symbols, which the convention "
                    f"{convention} requires",
                    "Give other transcripts, or another convention",
                )
            phone = known[token]
            # q has been dropped: silences on both of its sides are merged too
            if not (rule.merge and phone == phones.SILENCE and row[-1:] == [phone]):
                row.append(phone)
        prepared[name] = row
    return prepared


def folded_symbol(transcripts: Mapping[str, Sequence[str]]) -> str | None:
    """Return a symbol of the 48 or 39 classes that is not one of the 61, if there is one.

    Transcripts with one of these (sil, cl, vcl) cannot be scored by the convention "strict".
    """
    classes = set(phones.TIMIT_48) - set(phones.TIMIT_61)
    return min({t for tokens in transcripts.values() for t in tokens if t in classes}, default=None)
