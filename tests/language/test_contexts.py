"""Phones in context: how they are written, and what they are without."""

import numpy as np
import pytest

from speechasym.language import contexts


@pytest.mark.parametrize(
    ("word", "want"),
    [
        ("K AE T", "K+V AE+C T+#"),
        ("AH", "AH+#"),
        ("Y UW IY", "Y+V UW+V IY+#"),
        ("s ix axr el", "s+V ix+V axr+V el+#"),  # of TIMIT; a syllabic consonant is a vowel
        ("", ""),
    ],
)
def test_each_phone_has_the_kind_of_the_next(word, want):
    row = contexts.in_context(word.split())
    assert row == want.split()
    assert list(map(contexts.plain, row)) == word.split()


def test_what_was_never_heard_in_a_context_has_another():
    known = {"AE+C", "AE+#", "T+V", "aa+V"}
    assert contexts.nearest("AE+#", known) == "AE+#"
    assert contexts.nearest("AE+V", known) == "AE+C"
    assert contexts.nearest("T+#", known) == "T+V"
    assert contexts.nearest("AA+#", known) == "aa+V"  # in the letter case of the run
    assert contexts.nearest("ZH+V", known) == "ZH+V"


def test_phones_of_an_inventory():
    phones, classes = contexts.merged(("AE+#", "AE+C", "T+V", "AE+V", "K+C"))
    assert phones == ("AE", "T", "K")
    np.testing.assert_array_equal(classes, [0, 1, 1, 2, 1, 3])
