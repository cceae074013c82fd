import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechasym.auditory import erb

HZ = st.floats(0, 96000)


def test_published_values():
    # Glasberg & Moore (1990): ERB at 1 kHz is 132.6 Hz, at 100 Hz 35.5 Hz
    assert erb.erb(1000) == pytest.approx(132.639, abs=1e-3)
    assert erb.erb(100) == pytest.approx(35.494, abs=1e-3)
    # the rounded formula of the same paper agrees to its rounding, 0.4 %
    assert erb.hz_to_cam(1000) == pytest.approx(21.4 * math.log10(5.37), rel=4e-3)


@given(HZ)
def test_scale_inverts(hz):
    assert erb.cam_to_hz(erb.hz_to_cam(hz)) == pytest.approx(hz, rel=1e-12, abs=1e-9)


@given(HZ)
def test_bandwidth_is_the_slope_of_the_scale(hz):
    step = 1e-3
    slope = (erb.hz_to_cam(hz + step) - erb.hz_to_cam(hz - step)) / (2 * step)
    assert 1 / slope == pytest.approx(erb.erb(hz), rel=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3, 64])
def test_space_is_even_in_cam_and_keeps_its_ends(count):
    centres = erb.erb_space(50, 7600, count)
    assert len(centres) == count
    if count > 1:
        assert (centres[0], centres[-1]) == (50, 7600)
        np.testing.assert_allclose(np.diff(erb.hz_to_cam(centres), 2), 0, atol=1e-12)
    else:
        assert 50 < centres[0] < 7600


@pytest.mark.parametrize("order", [1, 2, 3, 4, 6])
def test_gammatone_has_the_ears_bandwidth(order):
    # numeric ERB of |1 / (b + i (f - fc))|^(2 order): area over height
    b = float(erb.gammatone_bandwidth(1000, order))
    f = np.linspace(-4e6, 4e6, 8_000_001)
    area = np.sum((1 + (f / b) ** 2) ** -order) * (f[1] - f[0])
    assert area == pytest.approx(float(erb.erb(1000)), rel=1e-4)


def test_fourth_order_factor():
    assert erb.gammatone_bandwidth(1000) / erb.erb(1000) == pytest.approx(1.0186, abs=1e-4)
