"""What levels hold of the features: read-out, prediction, and the figure."""

import numpy as np
import pytest

from speechasym.plots import levels


def test_read_out_of_a_linear_map():
    rng = np.random.default_rng(4)
    x, weight = rng.normal(size=(60, 5)), rng.uniform(0.5, 2, 60)
    y = x @ rng.normal(size=(5, 7)) + rng.normal(size=7)
    read = levels.fit_read_out(x, y, weight, ridge=1e-9)
    np.testing.assert_allclose(read(x), y, atol=1e-5)
    assert levels.explained(y, read(x)) == pytest.approx(1)
    # weighted least squares: a row of weight 2 counts as two rows
    noisy = y + rng.normal(size=y.shape)
    twice = np.ones(60)
    twice[:20] = 2
    one = levels.fit_read_out(x, noisy, twice, 0.0)
    two = levels.fit_read_out(
        np.concatenate([x, x[:20]]), np.concatenate([noisy, noisy[:20]]), np.ones(80), 0.0
    )
    np.testing.assert_allclose(one(x), two(x), atol=1e-8)
    mean = np.repeat(y.mean(0, keepdims=True), 60, 0)
    assert levels.explained(y, mean) == pytest.approx(0)
    nan = np.where(np.arange(60)[:, None] < 5, np.nan, y)
    assert levels.explained(y, nan) == pytest.approx(1)


def test_pooled():
    rows = np.arange(12.0).reshape(6, 2)
    result = levels.pooled(rows, np.array([0, 3]), np.array([3, 4]))
    np.testing.assert_allclose(result, [rows[:3].mean(0), rows[3]])


def test_predicted_is_what_the_level_misses(trained, recordings):
    """The level's steps error is that of this prediction, before the scale is taken back."""
    drawn, _ = recordings
    steps = levels.pooled(drawn.features, *drawn.step_frames(0))
    scale = np.sqrt(np.mean(steps**2, axis=1, keepdims=True))
    error = np.mean(((steps - levels.predicted(trained, drawn)) / scale) ** 2, axis=1)
    result = drawn.output.levels[0].error[0][drawn.output.levels[0].mask[0]]
    np.testing.assert_allclose(error, result.detach().numpy(), rtol=2e-3, atol=1e-4)


def test_levels_figure(trained, recordings):
    drawn, others = recordings
    figure = levels.levels_figure(trained, drawn, others)
    panels = [a for a in figure.axes if a.images]
    titles = [a.get_title("left") for a in panels]
    assert titles[0] == "features: gammatone, 16 columns" and len(panels) == 4
    assert "predicted by its units" in titles[1] and "residual" in titles[2]
    assert "fitted to 6 other cuts" in titles[3]
    parts = [a.images[0].get_array() for a in panels]
    np.testing.assert_allclose(parts[0] - parts[1], parts[2], atol=1e-5)
    alone = levels.levels_figure(trained, drawn, [])
    assert "this recording itself" in [a for a in alone.axes if a.images][3].get_title("left")
