"""Units over time: their order, the labels they favour, and what the artists hold."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from toy import HERTZ, WORDS

from speechasym.plots import units
from speechasym.training import unit_names
from speechasym.training.unit_names import held


def test_order():
    values = np.array([[0.1, 0.9, 0.0], [0.8, 0.1, 0.0], [0.3, 0.0, 0.2]])
    wide = held(values, np.array([0, 2, 5]), np.array([2, 4, 6]), 7)
    assert units.most_active(wide).tolist() == [1, 0, 2]
    assert units.most_active(wide, 2).tolist() == [1, 0]


def test_activations(trained, recordings):
    """Winners of all events are drawn on their time, at the row of their unit."""
    drawn, _ = recordings
    level = drawn.output.levels[0]
    axes = Figure().subplots()
    data = units.unit_activity(drawn, 0, units.named_units(trained, drawn, 0)[0])
    image, winners, ticks = units.activations(axes, data, 100.0)
    assert image.get_array().shape == (8, len(drawn.features))
    assert len(winners.get_segments()) == len(ticks.get_segments()) == int(level.passed.mask.sum())
    starts = [segment[0, 0] for segment in winners.get_segments()]
    np.testing.assert_allclose(starts, level.passed.start[0] / 100)
    column = image.get_array()[:, int(100 * starts[2])]
    names = [text.get_text().split() for text in axes.get_yticklabels()]
    row = int(winners.get_segments()[2][0, 1])
    assert int(names[row][-1]) == int(
        level.winner[0][level.start[0] == level.passed.start[0, 2]][0]
    )
    assert column[row] == pytest.approx(column.max(), abs=0.5)
    assert {name for name, *_ in names} <= {*HERTZ, "sil", *map(str, range(8))}


def test_units_figure(trained, recordings):
    figure = units.units_figure(trained, recordings[0])
    panels = [a for a in figure.axes if a.images]
    titles = [a.get_title("left") for a in panels]
    assert titles[0].startswith("level 1: 8 units, ")
    assert titles[1].startswith("level 0: 8 units, 33 steps/s")
    assert {a.get_xlim() for a in panels} == {(0, recordings[0].seconds)}
    labels = {t.get_text().split()[0] for t in panels[0].get_yticklabels()}
    assert labels & {word.upper() for word in WORDS}  # the highest level is labelled with words
    assert panels[0].get_ylabel() == "word favoured in training, unit"


def test_units_of_silence_are_not_named_after_symbols(trained, recordings, tmp_path):
    """By the run, and in a run of version 0.1, which kept no names, by the recording."""
    drawn = recordings[0]
    quiet = np.array([s == "sil" for s in unit_names.frame_symbols(
        drawn.reference["phones"], len(drawn.features), drawn.frame_rate
    )])  # fmt: skip
    old = trained._replace(folder=tmp_path)
    for model, where in ((trained, "training"), (old, "this recording")):
        names, how = units.named_units(model, drawn, 0)
        assert how == f"phone favoured in {where}"
        active = held(drawn.step_values(0), *drawn.step_frames(0), len(quiet))
        assert names[int(np.nansum(active[quiet], 0).argmax())] == "sil"
    assert "favoured in this recording" in {
        a.get_ylabel().split(", ")[0].removeprefix("phone ").removeprefix("word ")
        for a in units.units_figure(old, drawn).axes
    }
