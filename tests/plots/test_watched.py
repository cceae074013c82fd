"""Ranks over training: a row of panels for each level and attention, and what is not there."""

import json

import numpy as np
import pytest
from matplotlib.image import imread
from stages import watched

from speechasym.errors import ConfigError
from speechasym.plots import watched as plots
from speechasym.plots.runs import plot_run
from speechasym.training.run_folder import METRICS


def test_each_level_and_attention_has_a_row(tmp_path):
    metrics = watched(tmp_path, levels=1, blocks=2)
    figure = plots.watched_figure(metrics, "$run")
    assert len(figure.axes) == 4 * 3
    titles = [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]
    assert titles[0] == "level 0: 8 units, geometric\nwins: geometric (BIC by 80)"
    assert titles[-1] == "level 0, block 2: 2 heads, softmax"
    ranks, use, beta, left = figure.axes[:4]
    assert len(ranks.lines) == 3 and [len(line.get_xdata()) for line in ranks.lines] == [3] * 3
    np.testing.assert_allclose(use.lines[1].get_xydata(), [[n, 0.1 * n] for n in (1, 2, 3)])
    np.testing.assert_allclose(beta.lines[0].get_ydata(), [1, 1 / 2, 1 / 3])
    assert [line.get_label() for line in left.lines][1:3] == [
        "phones, by the error", "phones, beyond the units",
    ]  # fmt: skip


def test_without_cuts_ranks_are_those_of_training(tmp_path):
    watched(tmp_path, levels=1, blocks=0)
    plot_run(tmp_path, tmp_path / "x.png", "ranks")
    assert imread(tmp_path / "x.png").std() > 0.05


def test_blanks_are_left_out(tmp_path):
    """No fit, no targets, one unit that wins: what is known is drawn. A level may come later."""
    metrics = watched(tmp_path, blocks=0, short=True)
    metrics.watched[0]["levels"].pop()
    first, second = plots.level_histories(metrics)
    assert first.law == "too few units for a law" and np.isnan(first.beta["power fit"]).all()
    assert len(first.epochs) == 3 and second.epochs.tolist() == [2, 3]
    assert len(plots.watched_figure(metrics, "x").axes[3].lines) == 1
    problem = {"level": 0, "law": "power", "beta": 1.0, "head": "words", "problem": "not finite"}
    line = {"levels": [problem], "attention": []}
    only = metrics._replace(watched=[line], watched_epochs=[1.0])
    assert plots.watched_figure(only, "x").axes


def test_a_run_that_was_not_watched(tmp_path):
    watched(tmp_path, epochs=1)
    path = tmp_path / METRICS
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:1]))
    with pytest.raises(ConfigError, match=r"does not hold ranks.*--cuts.*monitor=true"):
        plot_run(tmp_path, tmp_path / "x.png", "ranks")
    path.write_text(path.read_text() + json.dumps({"step": 1, "levels": 3}) + "\n")
    with pytest.raises(ConfigError, match="ranks are not complete"):
        plot_run(tmp_path, tmp_path / "x.png", "ranks")
    assert [p.name for p in tmp_path.iterdir()] == [METRICS]


def test_times_that_are_drawn():
    assert plots.some_times(1) == [0] and plots.some_times(3) == [0, 1, 2]
    assert plots.some_times(60)[:2] == [0, 12] and plots.some_times(60)[-1] == 59
