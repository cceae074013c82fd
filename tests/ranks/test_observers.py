"""Observers of numbers: values by hand, limits, order, bad input; the page's examples."""

import contextlib
import io
import math
import re
from itertools import pairwise

import numpy as np
import pytest
from helpers import ROOT

from recipes.claims.ranks import observers as recipe
from speechasym import ranks
from speechasym.errors import ConfigError
from speechasym.ranks.observers import digits, significance

BOTH = [[0, 7, 7, 4], [1, 0, 0, 0]]


def test_it_is_public():
    assert ranks.significance is significance


def test_values_by_hand():
    e = math.exp(-1 / 2)
    expected = (math.log10(8) * (e + e**2) + math.log10(5) * e**3) / (1 + e + e**2 + e**3)
    a, b = significance(BOTH, 10, 2)
    assert a == pytest.approx(expected)
    assert b == pytest.approx(math.log10(2) / (1 + e + e**2 + e**3))
    power = [(i + 1) ** -0.5 for i in range(4)]
    assert significance([1, 0, 0, 0], 10, 2, law="power") == pytest.approx(
        math.log10(2) / sum(power)
    )
    # a resolution and a sensitivity for each place; 9 of 3 is 2, which is all of it
    weight = [1, math.exp(-1), math.exp(-2 / 4)]
    value = [math.log(2) / math.log(10), 1, math.log(2) / math.log(5)]
    assert significance([1, 9, 1], [10, 3, 5], [0.1, 1, 4]) == pytest.approx(
        np.dot(weight, value) / sum(weight)
    )


def test_the_observers_of_the_theory():
    for beta in (0.05, 1, 100):  # thousands not resolved
        a, b = significance(BOTH, 10, beta, places=3)
        assert a > 0.8 and b == 0
    a, b = significance(BOTH, 10, 100)
    assert a > b
    a, b = significance(BOTH, 10, 0.3)
    assert a < b


def test_limits():
    every = digits(range(10_000))
    assert (np.diff(significance(every, 10, 0.3)) > 0).all()  # the ordinary order
    assert not (np.diff(significance(every, 10, 0.35)) > 0).all()
    np.testing.assert_allclose(  # nearly nothing but the highest place
        significance(every, 10, 1e-3), np.log10(1 + every[:, 0]), atol=1e-12
    )
    np.testing.assert_allclose(significance(every, 10, 1e9), np.log10(1 + every).mean(1))
    assert significance([9, 9, 9], 10, 1) == pytest.approx(1)
    assert significance([0, 0, 0], 10, 1) == 0
    assert significance([12345], 100, 5) == significance([99], 100, 5) == 1


@pytest.mark.parametrize("law", ["geometric", "power"])
def test_monotonicity(law):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 12, (50, 5))
    base = significance(x, 10, 0.8, law=law)
    for place in range(5):  # a greater digit is never less significant
        more = x.copy()
        more[:, place] += 1
        assert (significance(more, 10, 0.8, law=law) >= base - 1e-12).all()
    lone = [significance(row, 10, 0.8, law=law) for row in np.eye(5, dtype=int)]
    assert all(high > low for high, low in pairwise(lone))  # higher places count more
    first = [significance([1, 0, 0], 10, b, law=law) for b in (0.1, 0.5, 2, 10)]
    assert all(a > b for a, b in pairwise(first))
    n = [significance([3, 1, 2], n, 1, law=law) for n in (4, 8, 16)]
    assert all(a > b for a, b in pairwise(n))


def test_digits():
    assert digits(774).tolist() == [7, 7, 4]
    assert digits([[0], [5]], 2).tolist() == [[[0, 0, 0]], [[1, 0, 1]]]
    assert digits([7, 1000], places=6).tolist() == [[0, 0, 0, 0, 0, 7], [0, 0, 1, 0, 0, 0]]
    assert digits(0).tolist() == [0]


@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"resolution": 1}, r"resolution: must be >= 2 and finite, got 1"),
        ({"resolution": [10, 10, 10, math.nan]}, "resolution: .* got nan"),
        ({"resolution": [10, 10]}, "resolution: .* each of 4 places"),
        ({"beta": 0}, "beta: must be > 0 and finite, got 0"),
        ({"beta": [1, 1, -2, 1]}, "beta: .* got -2"),
        ({"beta": math.inf}, "beta"),
        ({"places": 0}, "places"),
        ({"places": 5}, "places: must be at most 4"),
        ({"law": "zipf"}, "law"),
        ({"digits": [1, -1]}, "digits: must be an integer >= 0, got -1"),
        ({"digits": [1.5, 1]}, "digits"),
        ({"digits": [math.inf, 1]}, "digits"),
        ({"digits": []}, "digits"),
        ({"digits": 774}, "digits"),
    ],
)
def test_bad_input(changed, names):
    with pytest.raises(ConfigError, match=names):
        significance(**({"digits": BOTH, "resolution": 10, "beta": 1} | changed))


@pytest.mark.parametrize(
    ("numbers", "base", "places"), [(-1, 10, None), (1.5, 10, None), (7, 1, None), (1000, 10, 3)]
)
def test_bad_numbers(numbers, base, places):
    with pytest.raises(ConfigError):
        digits(numbers, base, places)


@pytest.mark.parametrize(("name", "count"), [("observers", 4), ("monitor", 1)])
def test_the_page_prints_what_it_says(name, count):
    page = (ROOT / "docs" / f"{name}.md").read_text()
    examples = re.findall(r"```python\n(.*?)```\n+```text\n(.*?)```", page, re.S)
    assert len(examples) == page.count("```python") == count
    names: dict[str, object] = {}
    for code, expected in examples:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile(code, f"docs/{name}.md", "exec"), names)
        assert printed.getvalue() == expected


def test_the_figure(tmp_path):
    recipe.main(["--out", str(tmp_path)])
    assert (tmp_path / "observers.png").stat().st_size > 5000
    assert recipe.turning_point(4) == pytest.approx(0.734, abs=0.01)
    assert recipe.turning_point(3) == 0
