"""The recipe claims/loop: exponents of known maps, and the feedback as a map."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from recipes.claims.loop import closed, measure, report
from recipes.claims.loop.exponent import growths
from speechasym.errors import ConfigError
from speechasym.levels import presets
from speechasym.levels.hierarchy import build_model

LENGTHS = torch.tensor([60, 41])


def test_the_logistic_map_has_log_2():
    state = torch.tensor([[0.3], [0.61]], dtype=torch.float64)
    found = growths(lambda x: 4 * x * (1 - x), state, passes=4000, distance=1e-8, transient=20)
    assert found.mean(0).tolist() == pytest.approx([math.log(2)] * 2, abs=0.02)


@pytest.mark.parametrize("radius", [0.3, 1.0, 1.7])
def test_a_linear_loop_has_its_spectral_radius(radius):
    a = np.random.default_rng(0).normal(size=(6, 6))
    matrix = torch.tensor(radius * a / np.abs(np.linalg.eigvals(a)).max())
    state = torch.ones(3, 6, dtype=torch.float64)
    # not of an orbit that leaves all bounds, but about the fixed point
    found = growths(lambda x: (x - 1) @ matrix.T + 1, state, passes=2000, transient=50)
    assert found.mean(0).tolist() == pytest.approx([math.log(radius)] * 3, abs=0.01)


def test_what_is_forgotten_at_once_has_minus_infinity():
    assert growths(torch.zeros_like, torch.ones(2, 3), passes=3).eq(-math.inf).all()


LEVELS = [
    {"width": 16, "units": 8, "stride": 3, "events": "hysteresis"},
    {"width": 12, "units": 6, "events": "hysteresis"},
    {"width": 16, "units": 8},
]


def made(passes=4, weight=1.0):
    torch.manual_seed(0)
    keys = {"preset": "tiny", "levels": LEVELS, "feedback": {"passes": passes}}
    model = build_model(keys, 6, {"phones": 5}).eval()
    x = torch.randn(2, 60, 6)
    model.initialise([(x, LENGTHS)])
    return (closed.scaled(closed.listening(model, 1), weight) if passes > 1 else model), x


def test_the_loop_is_what_the_model_computes():
    model, x = made(passes=4)
    loop = closed.ClosedLoop(model, x, LENGTHS)
    state = loop.start
    for _ in range(2):
        state = loop(state)
    wanted = model(x, LENGTHS).levels
    for output, want in zip(loop.outputs(state), wanted, strict=True):
        torch.testing.assert_close(output.activation, want.activation)
    twice = loop(torch.cat([state, loop.start]))
    torch.testing.assert_close(twice, torch.cat([loop(state), loop(loop.start)]))


def test_gains():
    model, x = made(weight=0.0)
    loop = closed.ClosedLoop(model, x, LENGTHS)
    assert growths(loop, loop.start, passes=2).eq(-math.inf).all()
    loud, _ = made(weight=2.0)
    weight = made()[0].levels[0].context.weight
    torch.testing.assert_close(loud.levels[0].context.weight, 2 * weight)
    assert weight.detach().var() * weight.shape[1] == pytest.approx(1, rel=0.2)
    heard = closed.ClosedLoop(loud, x, LENGTHS)
    assert growths(heard, heard.start, passes=3).isfinite().all()
    with pytest.raises(ConfigError, match="no loop"):
        closed.ClosedLoop(made(passes=1)[0], x, LENGTHS)


def test_rest_and_circles_are_told_apart():
    start = torch.tensor([[1.0], [2.0], [3.0]])
    steps = torch.tensor([[1.0], [-1.0], [1.1]])
    turning = type("Turning", (), {"start": start, "__call__": lambda _, x: x * steps})()
    moves, periods, last, largest = measure.settling(turning)
    assert periods == [1, 2, 0] and len(moves) == measure.SETTLING
    assert moves[-1] == pytest.approx([0, 2, 0.1 / 1.1], abs=1e-4)
    assert largest == pytest.approx(float(last[2]))


def test_one_changed_event_spreads():
    model, x = made()
    loop = closed.ClosedLoop(model, x, LENGTHS)
    found = closed.spread(loop, loop(loop.start), 0, 3)
    assert found["moved"].shape == found["reach"].shape == (3, 3)
    assert (found["moved"][0] > 0).all() and found["moved"].max() <= 20
    # only the lowest level hears what is changed: in the first pass it moves near the event
    assert found["reach"][0, 0] < found["reach"][-1].nanmean() + 20
    deaf = closed.ClosedLoop(made(weight=0.0)[0], x, LENGTHS)
    assert closed.spread(deaf, deaf.start, 1, 2)["moved"].eq(0).all()


def test_it_measures_reports_and_draws(trained, toy, tmp_path, monkeypatch, capsys):
    sizes = {head: len(symbols) for head, symbols in trained.inventories.items()}
    config = presets.model_config({"preset": "tiny", "levels": LEVELS, "feedback": {"passes": 3}})
    torch.manual_seed(0)
    model = closed.listening(build_model(config, trained.model.inputs, sizes).eval(), 0)
    net = trained._replace(model=model, config=replace(trained.config, model=config))
    monkeypatch.setattr(measure, "open_run", lambda _: net)
    monkeypatch.setattr(report, "CROSSED", (1.0,))
    small = {"GAINS": (0.0, 1.0), "CROSSED": (1.0,), "DISTANCES": (1e-3, 1e-1)}
    for name, value in {**small, "PASSES": 3, "TRANSIENT": 1, "SETTLING": 14, "AFTER": 2}.items():
        monkeypatch.setattr(measure, name, value)
    arguments = ["--run", "toy-seed0=run", "--cuts", f"{toy}/test_cuts.jsonl.gz"]
    arguments += ["--train", f"{toy}/dev_cuts.jsonl.gz", "--out", str(tmp_path), "--count", "2"]
    measure.main([*arguments, "--every", "4"])
    paths = [tmp_path / f"toy-seed0-{kind}.json" for kind in ("trained", "untrained")]
    one, two = (json.loads(path.read_text()) for path in paths)
    assert one["exponents"][0]["exponents"] == [None, None] and "errors" not in two
    same = one["errors"]["clean"]
    assert same.keys() == {"gain 0", "gain 1", "gain 1, passes 2", "gain 1, passes 10"}
    assert len(one["moves"]) == 14 and one["passes"] == 3
    report.main([str(tmp_path), "--out", str(tmp_path), "--rounds", "2"])
    printed = capsys.readouterr().out
    assert "| toy | trained | 1 | 0 | -inf |" in printed and "| toy | untrained | 1 |" in printed
    assert (tmp_path / "loop.png").stat().st_size > 5000
    with pytest.raises(ConfigError, match="holds no result"):
        report.main([str(tmp_path / "nothing")])
