"""The monitor: what it writes, that it changes nothing, and that its lines resume exactly."""

import json

import pytest
import tiny
import torch
from stages import train

from speechasym.training import checkpoints, monitor

ATTENTION = (
    "model.levels.1={functions: [attention, feedforward], block: {weights: scaled, heads: 2}}"
)


def watched(out):
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "levels" in row]


@pytest.fixture(scope="module")
def run(few_words, tmp_path_factory):
    out = tmp_path_factory.mktemp("watched") / "run"
    train(few_words, out, "backprop+inter", ATTENTION)
    return out


def test_watching_changes_nothing(run, few_words, tmp_path):
    train(few_words, tmp_path / "blind", "backprop+inter", ATTENTION, "monitor=false")
    one, two = (checkpoints.load(folder)[0] for folder in (run, tmp_path / "blind"))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert not watched(tmp_path / "blind")
    rest = [row for row in tiny.lines(run) if "levels" not in row]
    assert rest == tiny.lines(tmp_path / "blind")


def test_a_resumed_run_has_the_same_lines(run, few_words, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        step, steps = monitor.Monitor.line, iter(range(9))

        def stop(self):
            if not next(steps):
                tiny.interrupt()
            return step(self)

        patch.setattr(monitor.Monitor, "line", stop)
        result = train(few_words, tmp_path, "backprop+inter", ATTENTION)
    assert not result["finished"] and len(watched(tmp_path)) == 1
    train(few_words, tmp_path, "backprop+inter", ATTENTION, resume=True)
    tiny.same(run, tmp_path)


def test_a_line_for_each_validation(run):
    lines = watched(run)
    assert [line["epoch"] for line in lines] == [1, 2]
    for row, (number, head) in zip(
        lines[-1]["levels"], enumerate(["phones", "letters", "words"]), strict=True
    ):
        assert (row["level"], row["head"], row["units"]) == (number, head, 8)
        assert 0 <= row["dead"] <= 1 and row["dead"] == 1 - len(row["wins"]) / 8
        assert sum(row["wins"]) == pytest.approx(1, abs=1e-5) and 0.01 <= row["beta"] <= 100
        assert 0 <= row["selectivity"] <= 1 and row["resolution"] is None
    first = lines[-1]["levels"][0]
    assert 0 < first["labels"]["error"] < 1 and first["following"]["added"] >= 0
    heads = lines[-1]["attention"]
    repeats = len(heads) // 2
    assert [(h["level"], h["head"]) for h in heads] == [(1, 0), (1, 1)] * repeats
    for head in heads:
        assert head["weights_by"] == "scaled" and head["growth"] > 0 and head["span"] > 0
        assert head["weights"] == sorted(head["weights"], reverse=True)


def test_labels_meet_half_way():
    """Two symbols read from steps 1 and 4 of a head, of 3 frames each: the edge is at frame 9."""
    scores = torch.full((6, 3), -9.0)
    scores[[0, 1, 2, 3, 4, 5], [0, 2, 0, 0, 1, 0]] = 9.0
    start = torch.arange(6) * 3
    middle = torch.tensor([0.5, 8.5, 9.5, 17.0])
    args = scores.log_softmax(-1), start, start + 3
    assert monitor.step_labels(*args, [2, 1], middle).tolist() == [2, 2, 1, 1]
    for labels in ([], [1] * 4):  # four equal ones need seven steps
        assert monitor.step_labels(*args, labels, middle).tolist() == [-1] * 4


def test_without_units_and_attention_there_is_nothing_to_watch(few_words, tmp_path):
    train(few_words, tmp_path, "backprop+inter", "model.every.units=0", "model.every.events=none")
    assert not watched(tmp_path)
