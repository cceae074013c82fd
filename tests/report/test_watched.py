"""The section on ranks over training: only of runs that were watched."""

from types import SimpleNamespace

import pytest
from stages import watched

from speechasym.report import page


@pytest.mark.parametrize("short", [False, True])
def test_ranks_of_a_watched_run(tmp_path, short):
    data = SimpleNamespace(metrics=watched(tmp_path, levels=2, blocks=1, short=short))
    ((identity, _, part),) = page._watched(data)
    assert identity == "watched" and part.count("<svg") == 3 * 2 + 2
    assert "Level 1: 8 units, geometric" in part and "span, s" in part
    assert ("phones, beyond the units" in part) == (not short)


def test_other_runs_have_no_such_section(tmp_path):
    metrics = watched(tmp_path)._replace(watched=())
    for each in (None, metrics):
        assert page._watched(SimpleNamespace(metrics=each)) == []
