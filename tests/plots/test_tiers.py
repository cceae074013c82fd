"""Tiers: every label is drawn and overlaps no other, and boundaries run through the panels."""

import io
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.text import Text

from speechasym.annotations.intervals import Interval
from speechasym.plots import asymmetry, recognised, signal
from speechasym.plots.tiers import arrange, mark_boundaries, tiers

SECONDS, RATE = 3.4, 16000
NAMES = [f"{['kcl', 'ix', 'axr', 's'][n % 4]}{n}" for n in range(71)]


def dense() -> dict[str, list[Interval]]:
    """71 phones and 17 words in 3.4 s, as in a sentence of TIMIT; some phones take 10 ms."""
    spans = np.random.default_rng(3).gamma(1.5, size=len(NAMES)) + 0.1
    ends = np.concatenate([[0], spans.cumsum()]) * SECONDS / spans.sum()
    phones = [Interval(*ends[n : n + 2], name) for n, name in enumerate(NAMES)]
    words = [Interval(ends[n], ends[n + 4], f"word$_{n}{'x' * (n % 9)}") for n in range(0, 68, 4)]
    words.append(Interval(ends[68], ends[69], "a long remark " * 12 + "on one phone"))
    return {"words": words, "a tier with a name that is longer than most": phones}


def excerpt() -> signal.Excerpt:
    x = np.random.default_rng(5).normal(0, 0.1, round(SECONDS * RATE)).astype(np.float32)
    return signal.Excerpt("x", x, 0, len(x), RATE, 0.0)


def signal_figure(recordings) -> Figure:
    data = signal.from_audio(excerpt())
    return signal.signal_figure(data, ["waveform", "gammatone"], dense())


def scales_figure(recordings) -> Figure:
    return asymmetry.scales_figure(excerpt(), dense())


def stacked_panels(recordings) -> Figure:
    drawn = recordings[0]._replace(reference=dense(), samples=excerpt().x, sample_rate=RATE)
    figure, panels = recognised.stacked_panels(drawn, [1.0, 1.0], "x")
    assert len(panels) == 2
    return figure


@pytest.mark.parametrize("draw", [signal_figure, scales_figure, stacked_panels])
def test_every_label_of_a_dense_tier_is_drawn_and_overlaps_no_other(recordings, draw):
    figure = draw(recordings)
    file = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(file, format="svg")
    picture = file.getvalue()
    assert [name for name in NAMES if f">{name}<" not in picture] == []
    for axes in figure.axes:
        labels = [t for t in axes.findobj(Text) if t.get_text().strip()]
        words = {*NAMES, *(i.label for i in dense()["words"])}
        labels = [t for t in labels if " ".join(t.get_text().split()) in words]
        boxes = [t.get_window_extent() for t in labels]
        assert len(boxes) in (0, len(words))
        for (a, one), (b, other) in combinations(zip(labels, boxes, strict=True), 2):
            assert not one.overlaps(other), (a.get_text(), b.get_text())
        for label, box in zip(labels, boxes, strict=True):
            inside = axes.get_window_extent().padded(1.0)
            assert inside.x0 <= box.x0 <= box.x1 <= inside.x1, label.get_text()
            assert inside.y0 <= box.y0 <= box.y1 <= inside.y1, label.get_text()


def test_boundaries_run_through_the_panels(recordings):
    """Of the finest tier that is not too dense for a panel."""
    for draw in (signal_figure, stacked_panels):
        figure = draw(recordings)
        words = {time for i in dense()["words"] for time in i[:2]}
        image = [axes for axes in figure.axes if axes.images or len(axes.lines) == 1]
        for axes in image:
            lines = [c for c in axes.collections if isinstance(c, LineCollection)]
            if axes.get_label() == "<colorbar>":
                continue
            times = {segment[0, 0] for c in lines for segment in c.get_segments()}
            assert words <= times
    axes = Figure().subplots()
    rows = arrange(dense(), 0, SECONDS, 2)
    mark_boundaries([axes], rows, 2)
    assert len(axes.collections[0].get_segments()) == len(words)  # 71 phones would be a raster


def test_labels_that_fit_take_one_line():
    rows = [Interval(0, 0.02, "long"), Interval(0.02, 0.9, "$long"), Interval(0.9, 1, "")]
    one, two = arrange({"a": rows, "b_$x^$": rows[1:]}, 0, 1, 4)
    assert (one.lines, two.lines) == (1, 1)
    assert [label.fits for label in one.labels] == [False, True]
    axes = Figure(figsize=(4, 1)).subplots()
    lines, labels = tiers(axes, [one, two], 0, 1)
    assert [t.get_text() for t in labels] == ["long", "$long", "$long"]
    assert len(lines[0].get_segments()) == 4 and len(lines[1].get_segments()) == 3


def test_tiers_of_a_stretch():
    rows = [Interval(0, 1, "a"), Interval(1, 2, "b"), Interval(2, 3, "c")]
    (row,) = arrange({"x": rows}, 1.5, 0.25, 6)
    assert [label.text for label in row.labels] == ["b"] and row.times == []
    assert row.labels[0].time == pytest.approx(1.625)
    axes = Figure().subplots()
    tiers(axes, [row], 1.5, 0.25)
    assert axes.get_xlim() == (1.5, 1.75)
