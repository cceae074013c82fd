"""The recipe claims/context: what nets read in windows, and what an hour costs."""

import json

import numpy as np
import pytest

from recipes.claims.context import hour, report, windows
from speechasym.levels import ctc
from speechasym.training import cut_features, dataset


@pytest.mark.parametrize("frames", [1, 40, 240, 1001])
@pytest.mark.parametrize(("margin", "middle"), [(12, 12), (96, 24)])
def test_middles_fill_a_recording(frames, margin, middle):
    seen = windows.windows(frames, margin, middle)
    assert [w.start for w in seen] == list(range(0, frames, middle))
    for w in seen:
        assert w.begin == max(0, w.start - margin) and w.begin % 12 == 0
        assert w.end == min(frames, w.start + middle + margin)


def first_rows(trained, toy):
    data = dataset.load(trained.config.data, f"{toy}/test_cuts.jsonl.gz", (), inventories={},
                        show_progress=False)  # fmt: skip
    task = cut_features.FeatureTask(data.index.cut(0), trained.feature_config)
    return cut_features.features_of(task)


def test_a_window_that_holds_all_is_read_like_the_whole(trained, toy):
    rows = first_rows(trained, toy)
    output = trained.output(rows)
    for margin, middle in ((0, 0), (1200, 1200)):
        read, sums = windows.read(trained, rows, margin, middle)
        for head, symbols in read.items():
            (best,) = ctc.greedy(*output.heads[head])
            assert symbols == ctc.symbols(best, trained.inventories[head])
        passed = [float(level.passed.mask.sum()) for level in output.levels]
        np.testing.assert_array_equal(sums, [len(rows), *passed])
    short, sums = windows.read(trained, rows, 12, 12)
    assert sums[0] > 2 * len(rows) and short.keys() == read.keys()
    loud, _ = windows.read(trained, 3 * rows + 1, 12, 12, again=True)
    again, _ = windows.read(trained, rows, 12, 12, again=True)
    assert loud == again  # what is normalised again has no level of its own


def line(seed, frames, errors, system="events"):
    rows = {"a": [errors, 100], "b": [errors + seed, 100]}
    return {"system": system, "seed": seed, "frames": frames, "again": False, "cuts": "toy_cuts",
            "counts": {"phones": rows}, "kept": [20.0, 10.0]}  # fmt: skip


def test_what_a_window_costs_is_paired_by_net():
    whole = report.counts([line(1, 0, 10), line(0, 0, 30)], "phones")
    cost = report.change(np.add(whole, [5, 0]), whole)
    assert cost == pytest.approx((0.05, 0.05, 0.05))
    apart = report.change(np.add(whole, [5, 0]), whole, paired=False)
    assert apart.low < 0 < apart.value < apart.high
    assert report.rate_of(whole).value == pytest.approx(0.2025)


def test_the_shortest_window_that_is_enough():
    lines = [line(s, n, e) for s in (0, 1) for n, e in ((0, 20), (36, 30), (108, 20), (432, 20))]
    assert report.window_tables(lines).splitlines()[2].endswith("| 108 |")
    assert "| 20.0, 10.0 | 5.0, 10.0 | 22, 11 |" in report.event_table(lines)
    rival = [line(s, n, e + 10, "stride") for s in (0, 1) for n, e in ((0, 20), (36, 30))]
    assert "| toy | stride | phones | 10.0 (" in report.rivals(lines + rival)


def test_commands(trained, toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(windows, "WINDOWS", ((24, 12),))
    monkeypatch.setattr(windows, "open_run", lambda _: trained)
    monkeypatch.setattr(hour, "open_run", lambda _: trained)
    cuts = f"{toy}/test_cuts.jsonl.gz"
    out = tmp_path / "windows.jsonl"
    arguments = ["--cuts", cuts, "--run", "events-seed0=run", "--every", "4", "--again"]
    windows.main([*arguments, "--out", str(out)])
    before = out.read_text()
    windows.main([*arguments, "--out", str(out)])
    assert out.read_text() == before and len(before.splitlines()) == 3
    lines = []
    for way in hour.WAYS:
        measured = hour.measure("run", cuts, 0.1, way)
        lines.append({"system": "events", "minutes": 0.1, "way": way} | measured)
    assert lines[1]["frames"] == 600 and 0 < lines[1]["passed"][0] <= 200
    (tmp_path / "hour.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    report.main([str(tmp_path), "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "| test | events, normalised in it | 1 |" in printed and "| 0.1 | at once |" in printed
    assert (tmp_path / "context.png").stat().st_size > 5000
