"""Training curves: what the artists hold, and metrics of odd curves."""

import json

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from speechasym.errors import ConfigError
from speechasym.plots import curves
from speechasym.plots.runs import plot_run
from speechasym.report import charts
from speechasym.training.run_folder import METRICS


def written(folder, lines) -> None:
    (folder / METRICS).write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_read_metrics(tmp_path):
    """Steps lie within their epochs, validations at their step; the last epoch is unfinished."""
    lines = [
        {"step": n + 1, "epoch": n // 4, "loss": 1.0, "loss_phones": 2.0 / (n + 1),
         "learning_rate": 1e-3}
        for n in range(10)
    ]  # fmt: skip
    lines.insert(4, {"step": 4, "epoch": 1, "dev_loss_phones": 3.0, "dev_error_phones": 0.5})
    lines.append({"step": 10, "epoch": 2, "dev_loss_phones": None, "dev_error_phones": 0.25})
    written(tmp_path, lines)
    metrics = curves.read_metrics(tmp_path)
    np.testing.assert_allclose(metrics.step_epochs, np.arange(1, 11) / 4)
    np.testing.assert_allclose(metrics.validation_epochs, [1, 2.5])
    assert metrics.heads == ["phones"]
    train, dev = curves.losses(Figure().subplots(), metrics)
    np.testing.assert_allclose(train.get_ydata(), [2.0 / (n + 1) for n in range(10)])
    assert dev.get_ydata()[0] == 3 and np.isnan(dev.get_ydata()[1])
    axes = Figure().subplots()
    (line,) = curves.errors(axes, metrics)
    np.testing.assert_allclose(line.get_ydata(), [50, 25])
    assert axes.get_yscale() == "log" and [t.get_text() for t in axes.texts] == ["25.0 %"]
    (line,) = curves.rate(Figure().subplots(), metrics)
    np.testing.assert_allclose(line.get_ydata(), 1)


def test_an_error_rate_of_zero_is_drawn(tmp_path):
    lines = [{"step": 1, "epoch": 0, "loss": 0.0, "loss_words": 0.0, "learning_rate": 0.0}]
    lines.append({"step": 1, "epoch": 1, "dev_loss_words": 0.0, "dev_error_words": 0.0})
    written(tmp_path, lines)
    metrics = curves.read_metrics(tmp_path)
    axes = Figure().subplots()
    curves.errors(axes, metrics)
    assert axes.get_yscale() == "linear"
    plot_run(tmp_path, tmp_path / "x.png", "curves")
    assert imread(tmp_path / "x.png").std() > 0.01


def test_losses_below_zero_are_drawn(tmp_path):
    """Beside rivals (`mmi`) a training loss may be negative."""
    lines = [{"step": 1, "epoch": 0, "loss": -2.0, "loss_phones": -2.0, "learning_rate": 0.0}]
    lines.append({"step": 1, "epoch": 1, "dev_loss_phones": 3.0, "dev_error_phones": 0.5})
    written(tmp_path, lines)
    metrics = curves.read_metrics(tmp_path)
    axes = Figure().subplots()
    train, _ = curves.losses(axes, metrics)
    assert train.get_ydata().tolist() == [-2.0] and axes.get_yscale() == "linear"
    low, high = axes.get_ylim()
    assert low < -2 and high > 3
    assert str(charts.curves(metrics)).count("<li>") == 4  # both losses, error, rate: all drawn


def test_running_mean():
    x = np.random.default_rng(0).normal(size=23)
    x[[3, 4, 5, 6]] = np.nan
    for width in (1, 2, 5, 30):
        expected = []
        for n in range(len(x)):
            low = max(0, n - width // 2)
            part = [v for v in x[low : low + width] if not np.isnan(v)]
            expected.append(np.mean(part) if part else np.nan)
        np.testing.assert_allclose(curves.running_mean(x, width), expected)


def test_curves_of_a_run(toy, tmp_path):
    metrics = curves.read_metrics(toy / "run")
    assert metrics.heads == ["phones", "letters", "words"] and len(metrics.steps) == 200
    figure = curves.curves_figure(metrics, "$x_y$")
    assert [len(a.lines) for a in figure.axes] == [9, 6, 1] and "$" in figure.get_suptitle()
    (tmp_path / METRICS).write_text("{not json")
    with pytest.raises(ConfigError, match="cannot be read"):
        curves.read_metrics(tmp_path)
    written(tmp_path, [])
    with pytest.raises(ConfigError, match="holds no training step"):
        curves.read_metrics(tmp_path)


def test_truncated_or_missing_metrics(tmp_path):
    line = {"step": 1, "epoch": 0, "loss": 1.0, "loss_phones": 2.0, "learning_rate": 1e-3}
    written(tmp_path, [line, line | {"step": 2}])
    path = tmp_path / METRICS
    path.write_text(path.read_text()[:-20])  # as a run that is writing leaves it
    assert len(curves.read_metrics(tmp_path).steps) == 1
    for wrong in ([line | {"loss": "x"}], [3], [[]]):
        written(tmp_path, wrong)
        with pytest.raises(ConfigError, match="cannot be read"):
            curves.read_metrics(tmp_path)
