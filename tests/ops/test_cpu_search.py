"""The sorting of hypotheses in word search; its results: tests/recognition/test_decoder.py."""

import numpy as np

from speechasym.ops import cpu_search


def test_sorted_with_and_without_ties():
    rng = np.random.default_rng(0)
    for size in [*range(40), 99, 1000]:
        for kinds in (2, size + 1):
            keys = rng.integers(0, kinds, size).astype(float)
            order = np.arange(size)
            cpu_search._sort(keys, order)
            assert sorted(order) == list(range(size))
            np.testing.assert_array_equal(keys[order], np.sort(keys))
