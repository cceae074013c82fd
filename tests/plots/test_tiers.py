"""Tiers: labels where they fit, and parts of tiers."""

from matplotlib.figure import Figure

from speechasym.annotations.intervals import Interval
from speechasym.plots.tiers import tiers


def test_labels_show_where_they_fit():
    figure = Figure(figsize=(4, 1))
    axes = figure.subplots()
    rows = [Interval(0, 0.02, "long"), Interval(0.02, 0.9, "$long"), Interval(0.9, 1, "")]
    lines, labels = tiers(axes, {"a": rows, "b_$x^$": rows[:1]}, 0, 1)
    figure.draw_without_rendering()
    assert [label.fits() for label in labels] == [False, True, False]
    assert len(lines[0].get_segments()) == 4 and len(lines[1].get_segments()) == 2
    figure.set_size_inches(60, 1)
    figure.draw_without_rendering()
    assert all(label.fits() for label in labels)


def test_tiers_of_a_stretch():
    axes = Figure().subplots()
    rows = [Interval(0, 1, "a"), Interval(1, 2, "b"), Interval(2, 3, "c")]
    _, labels = tiers(axes, {"x": rows}, 1.5, 0.25)
    assert [(t.get_text(), t.start, t.end) for t in labels] == [("b", 1.5, 1.75)]
    assert axes.get_xlim() == (1.5, 1.75)
