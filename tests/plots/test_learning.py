"""The figure of the meter: a panel for each stage, and what cannot be drawn."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from stages import measured

from speechasym.errors import ConfigError
from speechasym.plots import learning
from speechasym.plots.curves import read_metrics
from speechasym.plots.runs import plot_run
from speechasym.training.run_folder import METRICS


@pytest.mark.parametrize("stages", [1, 4, 7])
def test_each_stage_has_its_panels(tmp_path, stages):
    metrics = measured(tmp_path, stages)
    assert len(metrics.steps) == 6 and not metrics.validations
    figure = learning.learning_figure(metrics, "$run")
    drawn = [axes for axes in figure.axes if axes.get_visible()]
    assert len(drawn) == 2 * stages + 1
    titles = [axes.get_title().replace("\n", ": ") for axes in drawn if axes.get_title()]
    assert len(titles) == stages and titles[0] == "stage 0: level 0, blocks 0 to 2"
    assert stages < 2 or titles[1] == "stage 1: level 0, block 3"
    cosines = [axes.lines[1] for axes in drawn if axes.get_title()]
    for number, line in enumerate(cosines):
        np.testing.assert_allclose(
            line.get_xydata(), [[e, 0.2 * e + 0.01 * number] for e in range(3)]
        )
    assert len(drawn[-1].patches) == 2 * (stages + 1)
    plot_run(tmp_path, tmp_path / "x.png", "learning")
    assert imread(tmp_path / "x.png").std() > 0.05


def test_of_many_stages_some_have_panels_and_all_have_bars(tmp_path):
    metrics = measured(tmp_path, 96)
    curves = learning.stage_curves(metrics)
    assert len(curves) == learning.MOST_STAGES
    assert [curves[0].title[:8], curves[-1].title[:8]] == ["stage 0:", "stage 95"]
    assert len(learning.stage_memory(metrics).names) == 97
    axes = Figure().subplots()
    learning.memory(axes, learning.stage_memory(metrics))
    assert len(axes.patches) == 2 * 97 and len(axes.get_xticks()) <= 26


def test_memory_is_that_of_the_largest_batch(tmp_path):
    data = learning.stage_memory(measured(tmp_path, 2))
    assert data.names == ["0", "1", "step"]
    np.testing.assert_allclose(data.rule, [1, 2, 4 + 2 / 2**20])
    np.testing.assert_allclose(data.backprop, [2, 4, 8])
    assert np.isnan(learning.stage_memory(measured(tmp_path, 2, short=True)).backprop).all()
    plot_run(tmp_path, tmp_path / "x.png", "learning")


def test_what_was_not_measured_is_not_drawn(tmp_path):
    measured(tmp_path, 2, epochs=1)
    path = tmp_path / METRICS
    _, *rest = path.read_text().splitlines(keepends=True)
    path.write_text("".join(rest))
    with pytest.raises(ConfigError, match=r"no measurements of the stages.*learning\.meter=true"):
        plot_run(tmp_path, tmp_path / "x.png", "learning")
    path.write_text(json.dumps({"step": 1, "stages": []}) + "\n" + "".join(rest))
    with pytest.raises(ConfigError, match="are not complete"):
        read_metrics(tmp_path)
    with pytest.raises(ConfigError, match="without the record"):
        plot_run(None, tmp_path / "x.png", "learning")
    assert [p.name for p in tmp_path.iterdir()] == [METRICS]
