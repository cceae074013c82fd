"""Growth in runs: by each rule, resumed to the bit, and refused where it is not possible."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import tiny
from stages import train

from speechasym.errors import ConfigError
from speechasym.plots.curves import curves_figure, read_metrics
from speechasym.training import growing, models
from speechasym.training.config import read_config
from speechasym.training.distributed import ProcessGroup
from speechasym.training.run_folder import RunState

PERIODIC = ("grow=periodic:1", "epochs=4")
STRUCTURE = ("grow.rule=asymmetry", "grow.evidence=structure")
PLAIN = ("model.preset=transformer-intermediate", "grow.rule=periodic:1", "grow.what=levels")


def sizes(out):
    return [line["sizes"] for line in tiny.lines(out) if "grown" in line]


def test_a_run_grows_up_to_the_configured_model(few_words, tmp_path):
    result = train(few_words, tmp_path, "backprop+inter", *PERIODIC)
    assert sizes(tmp_path) == [[2, 1, 1], [2, 2, 1]]
    configured = json.loads((tmp_path / "config.json").read_text())["config"]["model"]["levels"]
    assert [level["repeat"] for level in configured] == [2, 2, 1]
    best = [line["sizes"] for line in tiny.lines(tmp_path)
            if line["step"] <= result["best_step"] and "grown" in line]  # fmt: skip
    _, config, _ = models.open_model(tmp_path)
    assert [level.repeat for level in config.model.levels] == [[1, 1, 1], *best][-1]
    flops = [line["flops"] for line in tiny.lines(tmp_path) if "loss" in line]
    assert flops == sorted(flops) and flops[0] > 0
    metrics = read_metrics(tmp_path)
    assert [line["grown"] for line in metrics.growths] == [1, 2]
    assert curves_figure(metrics, "run").axes[0].texts


@pytest.mark.parametrize(
    "more",
    [
        PERIODIC,
        (*PLAIN, "epochs=4"),
        ("grow.rule=periodic:1", "grow.what=units", "model.every.events=none", "epochs=4"),
        ("grow.rule=asymmetry", "grow.slope=1", "grow.window=1", "epochs=4"),
    ],
)
def test_resumed_across_growth_is_the_same_run(few_words, tmp_path, monkeypatch, more):
    train(few_words, tmp_path / "whole", "backprop+inter", *more)
    assert any("grown" in line for line in tiny.lines(tmp_path / "whole"))
    done = None
    for step in (3, 4, 100):
        with monkeypatch.context() as patch:
            tiny.stop_at(patch, step)
            done = train(few_words, tmp_path / "cut", "backprop+inter", *more, resume=True)
    assert done["finished"]
    tiny.same(tmp_path / "whole", tmp_path / "cut")


def test_a_budget_in_flops_ends_the_run(few_words, tmp_path):
    result = train(few_words, tmp_path, "backprop+inter", "flops=1e8", "epochs=1")
    flops = [line["flops"] for line in tiny.lines(tmp_path) if "loss" in line]
    assert result["finished"] and flops[-1] >= 1e8 > flops[-2]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["grow=sometimes"],
            r"grow.rule.*: must be asymmetry, periodic:K or none, got 'sometimes'",
        ),
        (["grow=periodic:0"], r"grow.rule.*: K of periodic:K must be an integer >= 1, got '0'"),
        (["grow=periodic"], r"must be asymmetry, periodic:K or none"),
        (["grow=asymmetry", "model.preset=recurrent"], r"asymmetry needs a model of levels"),
        (["grow=asymmetry", "learning=local"], r"asymmetry cannot be combined with learning.rule"),
        ([*STRUCTURE, "model.preset=transformer"], r"asymmetry needs levels with units"),
        (["grow=asymmetry", "monitor=false"], r"asymmetry needs what monitor sees"),
        (["grow.rule=asymmetry", "grow.start=2"], r"grow.start.*: must be >= 0 and <= 1, got 2"),
    ],
)
def test_bad_rules_are_named(more, message):
    with pytest.raises(ConfigError, match=message):
        read_config(None, ["data.train=a", "data.dev=b", *more])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["grow.start=1"], r"grow.what: blocks cannot grow: the run would start with all of"),
        (["grow.what=levels"], r"levels.0.events: hysteresis shortens"),
        (["grow.what=units"], r"levels.0.events: depend on which unit is strongest"),
        (["grow.what=heads"], r"the model has no heads that could grow"),
        (["model.every.block.norm=post"], r"post normalises the sum"),
    ],
)
def test_a_model_that_cannot_grow_is_refused_at_once(few_words, tmp_path, more, message):
    with pytest.raises(ConfigError, match=message):
        config = read_config(None, [*few_words, "grow.rule=periodic:1", *tiny.FEATURES, *more])
        growing.current(config, tmp_path, resumes=False)


def test_heads_grow_up_to_the_configured_ones(few_words, tmp_path):
    more = ("model={preset: transformer, every: {width: 16}}", "grow.rule=periodic:1")
    config = read_config(None, [*few_words, *tiny.FEATURES, *more, "grow.what=heads"])
    (level,) = growing.current(config, tmp_path, resumes=False).model.levels
    assert (level.block.heads, level.block.head_width) == (1, 4)  # of 4 heads


def test_several_processes_are_refused():
    config = read_config(None, ["data.train=a", "data.dev=b", "grow=asymmetry"])
    with pytest.raises(ConfigError, match=r"asymmetry cannot be combined with 2 processes"):
        growing.check_processes(config, ProcessGroup(size=2))


def test_too_little_memory_leaves_the_checkpoint(few_words, tmp_path, monkeypatch):
    def short(*args):
        raise MemoryError

    monkeypatch.setattr(growing, "_carried", short)
    with pytest.raises(ConfigError, match=r"growth at level 0 needs more memory than cpu has"):
        train(few_words, tmp_path, "backprop+inter", *PERIODIC, "save_every=1")
    monkeypatch.undo()
    assert train(few_words, tmp_path, "backprop+inter", *PERIODIC, "save_every=1", resume=True)[
        "finished"
    ]  # fmt: skip


def watched(*told):
    """What the monitor says of levels whose errors tell so much."""
    rows = [
        {"level": n, "labels": {"error": share / 2}, "following": {"error": share / 2}}
        for n, share in enumerate(told)
    ]
    return {"levels": [*rows[:-1], rows[-1] | {"following": None}]}  # too few steps on top


def test_the_level_grows_whose_structure_persists_and_is_the_largest():
    config = read_config(None, ["data.train=a", "data.dev=b", *STRUCTURE])
    now = replace(config, model=growing.started(config.model, config.grow))
    run, state = SimpleNamespace(config=now, bound=config.model), RunState()
    found = []
    for told in ((0.8, 0.9, 0.1), (0.79, 0.91, 0.1), (0.77, 0.8, 0.1), (0.7, 0.6, 0.1)):
        state.last, state.flops = {"dev_loss_phones": 1.0}, state.flops + 1
        found.append(growing.due(run, state, watched(*told)))
    assert found == [None, 1, 0, None]  # 0.77 of 0.79 persists, 0.8 of 0.91 does not
    whole = SimpleNamespace(config=config, bound=config.model)
    assert growing.due(whole, state, watched(0.9, 0.9, 0.9)) is None  # has its size


def test_a_fall_has_slowed_where_its_power_has_not_its_size():
    powers = [(c, 3.0 * c**-0.7) for c in (1.0, 2.0, 3.0, 5.0, 9.0, 20.0)]
    assert not growing.slowed(powers, 0.9, 1) and not growing.slowed(powers, 0.9, 3)
    flat = [*powers, (40.0, powers[-1][1] / 1.1)]
    assert growing.slowed(flat, 0.5, 1) and not growing.slowed(flat, 0.5, 4)
    assert growing.slowed([*powers, (40.0, 4.0)], 0.5, 1)  # it rises
    assert not growing.slowed(powers[:2], 1.0, 1)  # nothing to compare with
