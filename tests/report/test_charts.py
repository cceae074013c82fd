"""Charts: scales, ticks, and nothing to draw."""

import numpy as np
import pytest

from speechasym.report import charts


def test_chart_scales():
    scale = charts.AxisScale(0.07, 5.0, 0, 100, True)
    assert scale.ticks() == [0.1, 0.2, 0.5, 1, 2, 5]
    assert scale(0.07) == 0 and scale(5.0) == pytest.approx(100)
    assert charts.AxisScale(0, 60, 0, 1, False).ticks() == [0, 10, 20, 30, 40, 50, 60]
    line = charts.Line("x", "phones", np.array([1.0, 2.0]), np.array([np.nan, 0.0]))
    assert "nothing to draw" in charts.chart([line], "t", "x", "y")


def test_marks_are_vertical_lines_within_the_axes():
    line = charts.Line("x", "phones", np.array([0.0, 4.0]), np.array([1.0, 2.0]))
    drawn = str(charts.chart([line], "t", "x", "y", marks=[1.0, 4.0]))
    assert drawn.count('class="mark"') == 2 and f'x1="{charts.WIDTH - charts.RIGHT:.1f}"' in drawn
