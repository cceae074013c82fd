"""The recipe claims/arbitration: its rules, what it keeps in files, its tables and figure."""

import copy
import json

import numpy as np
import pytest
import torch
from helpers import tone

from recipes.claims.arbitration import measure, picture, readings, report, rules
from recipes.claims.arbitration.readings import Condition, Utterance
from recipes.claims.arbitration.temperatures import best_temperature, tempered
from speechasym.levels.arbitration import Reading
from speechasym.scoring.calibration import calibration_error

NETS = ("a", "b", "c")


def reading(labels, steps=9, first=1, sure=0.9, classes=4):
    p = torch.full((steps, classes), (1 - sure) / (classes - 1))
    for step in range(steps):
        label = labels[(step - first) // 2] if (step - first) % 2 == 0 and step - first >= 0 else 0
        p[step, label if (step - first) // 2 < len(labels) else 0] = sure
    edges = np.arange(steps + 1.0)
    return Reading(p.log(), np.stack([edges[:-1], edges[1:]], 1))


def utterance(*answers, said=("x", "y"), name="s0-1"):
    heard = {
        net: reading((*labels, 0, 0, 0, 0)) for net, labels in zip(NETS, answers, strict=False)
    }
    errors = {"phones": dict.fromkeys(NETS, 0.5)}
    return Utterance(name, name.split("-")[0], {"phones": list(said)}, {"phones": heard}, errors)


def scene(*answers):
    return rules.Scene(utterance(*answers), "phones", NETS[: len(answers)], {})


@pytest.mark.parametrize("rule", rules.RULES.values())
def test_nets_that_agree_are_heard_by_every_rule(rule):
    assert rule(scene((1, 2), (1, 2), (1, 2))) == (1, 2)


def test_the_majority_is_heard_slot_by_slot():
    assert rules.majority(scene((1, 2), (3, 2), (1, 2, 3))) == (1, 2)
    assert rules.majority(scene((1, 2, 3), (2, 3), (2,))) == (2, 3)
    assert rules.majority(scene((1,), (2,))) == (1,)  # a tie


def test_the_gate_learns_whom_to_hear():
    scenes = [scene((1, 2), (3, 3)), scene((2, 1), (3, 3))]
    for one, said in zip(scenes, (["x", "y"], ["y", "x"]), strict=True):
        one.said = said
    gate = rules.Gate(2)
    gate.learn(scenes * 4, {"x": 1, "y": 2, "z": 3})
    assert [gate.answer(one) for one in scenes] == [(1, 2), (2, 1)]
    assert gate.bias[0] > gate.bias[1]


def test_a_condition_is_kept_in_a_file(tmp_path):
    kept = Condition({"phones": ["x", "y", "z"]}, [utterance((1, 2), (3,), (2,))])
    readings.save(tmp_path / "a" / "x.npz", kept)
    (again,) = readings.load(tmp_path / "a" / "x.npz", NETS[:2]).utterances
    assert again.said == kept.utterances[0].said and list(again.readings["phones"]) == ["a", "b"]
    one, two = again.readings["phones"]["a"], kept.utterances[0].readings["phones"]["a"]
    torch.testing.assert_close(one.log_probs, two.log_probs, atol=2e-3, rtol=1e-3)
    np.testing.assert_array_equal(one.frames, two.frames)


def test_it_reads_measures_reports_and_draws(trained, toy, tmp_path, monkeypatch, capsys):
    model = copy.deepcopy(trained.model)
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1.01)
    runs = {"one": trained, "two": trained._replace(model=model)}
    monkeypatch.setattr(measure, "open_run", runs.get)
    for name in ("city", "wind"):
        tone(tmp_path / "noise" / f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, 16000))
    measure.main([
        "--run", "one=one", "--run", "two=two", "--dev", f"{toy}/dev_cuts.jsonl.gz",
        "--test", f"{toy}/test_cuts.jsonl.gz", "--noise", f"{tmp_path}/noise", "--snr", "5",
        "--every", "3", "--every-dev", "3", "--heads", "phones", "--name", "toy",
        "--out", str(tmp_path),
    ])  # fmt: skip
    (path,) = (tmp_path / "results").glob("*.json")
    result = json.loads(path.read_text())
    assert set(result["conditions"]) == {"clean", "5"} and result["nets"] == ["one", "two"]
    for by_rule in result["conditions"].values():
        assert by_rule[measure.OURS]["rate"] <= by_rule["net two"]["rate"] + 0.1
    report.main([str(tmp_path / "results")])
    printed = capsys.readouterr().out
    assert "| clean | 5 dB |" in printed and f"| {measure.OURS} |" in printed
    out = tmp_path / "heard.png"
    picture.main([f"{tmp_path}/toy/test-5.npz", "--net", "one", "two", "--out", str(out)])
    assert out.stat().st_size > 5000


def test_the_temperature_undoes_too_much_confidence():
    rng = np.random.default_rng(0)
    log_p = np.log(rng.dirichlet(np.ones(4), 4000))
    labels = log_p.argmax(1)
    p = tempered(log_p, labels, 1.0)
    np.testing.assert_allclose(p, np.exp(log_p.max(1)))
    correct = rng.random(len(p)) < p
    sharp = 3 * log_p  # as if three times too sure
    found = best_temperature(sharp, labels, correct)
    assert found == pytest.approx(3, rel=0.15)
    before = calibration_error(tempered(sharp, labels, 1.0), correct)
    after = calibration_error(tempered(sharp, labels, found), correct)
    assert after < 0.03 < 0.1 < before
