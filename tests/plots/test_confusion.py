"""The confusion matrix: its order, and what its artists hold."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure

from speechasym.language import phones
from speechasym.plots.confusion import confusion, confusion_matrix, order_by_articulation
from speechasym.scoring import error_rates


@pytest.mark.parametrize("inventory", [phones.ARPABET, phones.TIMIT_39, phones.TIMIT_61])
def test_order_by_articulation(inventory):
    order, groups = order_by_articulation(inventory)
    assert sorted(order) == list(range(len(inventory)))
    assert groups[0][1] == 0 and groups[-1][2] == len(inventory)
    assert all(a[2] == b[1] for a, b in pairwise(groups))
    names = [inventory[n].upper() for n in order]
    group = {name: {names[k] for k in range(a, b)} for name, a, b in groups}
    assert {"IY", "AA"} <= group["vowels"] and {"AY", "OW"} <= group["diphthongs"]
    assert {"P", "T", "K"} <= group["stops"] and {"M", "NG"} <= group["nasals"]
    assert {"CH", "JH"} == group["affricates"] and {"L", "W", "R"} <= group["approximants"]
    assert names.index("IY") < names.index("EH") < names.index("AA")  # high to low
    assert names.index("P") < names.index("B") < names.index("T") < names.index("K")
    assert "others" not in group or inventory is phones.TIMIT_61  # q has no features
    if inventory is not phones.ARPABET:
        assert "SIL" in group["silence"] or "H#" in group["silence"]


def test_confusion():
    said = {"u": ["P", "IY", "T", "IY", "X"]}
    result = error_rates.error_rate(said, {"u": ["B", "IY", "T", "S", "IY"]})
    axes = Figure().subplots()
    share = np.square(confusion(axes, confusion_matrix(result)).get_array())
    names = [text.get_text() for text in axes.get_xticklabels()]
    assert names == ["IY", "P", "B", "T", "S", "X", "deleted"]
    rows = [text.get_text().split() for text in axes.get_yticklabels()]
    assert rows[0] == ["IY", "2"] and rows[-1] == ["inserted", "1"]
    np.testing.assert_allclose(share.sum(1), [100, 100, 0, 100, 0, 100, 100])
    assert share[1, 2] == pytest.approx(100)  # P as B
    assert share[5, 6] == pytest.approx(100) and share[6, 4] == pytest.approx(100)
    assert {"vowels", "stops", "fricatives", "others"} <= {t.get_text() for t in axes.texts}
