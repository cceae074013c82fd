"""The section on the stages: only of runs that were measured, with charts for each stage."""

from types import SimpleNamespace

import pytest
from stages import measured, settings

from speechasym.report import page


@pytest.mark.parametrize("short", [False, True])
def test_stages_of_a_measured_run(tmp_path, short):
    metrics = measured(tmp_path, 3, short=short)
    trained = SimpleNamespace(config=settings("local+global"))
    ((identity, _, part),) = page._learning(SimpleNamespace(metrics=metrics, trained=trained))
    assert identity == "learning" and part.count("<svg") == 2 * 3
    assert "learned by local+global" in part and "Stage 2: level 1, blocks 0 to 2" in part
    row = part[part.index("whole step") :]
    cells = [cell.split("</td>")[0].split(">")[-1] for cell in row.split("<td")[1:]]
    assert cells[1:] == ["4", "", "\N{EN DASH}" if short else "8", "3", "2"]


def test_other_runs_have_no_such_section(tmp_path):
    metrics = measured(tmp_path, 2)._replace(measured=())
    for each in (None, metrics):
        assert page._learning(SimpleNamespace(metrics=each, trained=None)) == []
