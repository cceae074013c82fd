"""Use of units and the rank laws fitted to it."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from speechasym.plots.ranks import rank_shares, ranks, ranks_figure, unit_use


def test_unit_use(trained, recordings):
    drawn, others = recordings
    uses = unit_use(trained, [r.output for r in (drawn, *others)])
    assert [use.level for use in uses] == [0, 1] and uses[0].law == "geometric"
    for use in uses:
        assert use.mean.sum() == pytest.approx(1, abs=1e-5) and use.mean.shape == (8,)
        outputs = [recording.output.levels[use.level] for recording in (drawn, *others)]
        assert use.wins.sum() == sum(int(level.passed.mask.sum()) for level in outputs)
    figure = ranks_figure(uses, "x")
    for panel in figure.axes:
        texts = [text.get_text() for text in panel.get_legend().get_texts()]
        assert any(text.startswith("geometric: β") for text in texts)
        assert "(BIC by" in texts[-1]


@pytest.mark.parametrize("law", ["geometric", "power"])
def test_verdict_on_knuse_laws(law):
    rank = np.arange(40)
    weight = np.exp(-rank / 5) if law == "geometric" else 1 / (rank + 1.0)
    axes = Figure().subplots()
    counts = np.random.default_rng(1).permutation(np.round(2000 * weight))
    lines = ranks(axes, rank_shares(counts))
    assert axes.get_legend_handles_labels()[1][-1].startswith(f"{law} (BIC by")
    fitted = lines[1 if law == "geometric" else 2]
    x, y = fitted.get_data()
    np.testing.assert_allclose(y[:8], (weight / weight.sum())[:8], rtol=0.05)
    assert x[0] == 1


def test_one_unit_has_no_law():
    assert len(ranks(Figure().subplots(), rank_shares(np.array([0.0, 5, 0])))) == 1
