"""`recipes/claims/heads`: systems of equal size, ensembles, and their table."""

import json

import pytest
from helpers import ROOT

from recipes.claims.heads import measure
from recipes.compare.systems import read_systems
from speechasym.errors import OutputError
from speechasym.levels.hierarchy import build_model, count_parameters
from speechasym.training.config import read_config

HERE = ROOT / "recipes" / "claims"


def test_heads_share_the_width_and_four_small_nets_the_parameters():
    counts, heads = {}, {}
    for system in read_systems(HERE / "heads" / "systems.yaml"):
        words = ["data.train=a", "data.dev=b", "model.every.width=64", *system.words]
        model = read_config(HERE / "starvation" / "starved.yaml", words).model
        heads[system.name] = model.levels[0].block.heads
        counts[system.name] = count_parameters(build_model(model, 33, {"phones": 40}))
    assert heads == {"heads4": 4, "heads1": 1, "heads16": 16, "small1": 1}
    ours = counts[measure.OURS]
    assert all(abs(counts[name] / ours - 1) < 0.01 for name in ("heads1", "heads16"))
    assert 0.97 < measure.SIZE * counts[measure.MEMBER] / ours < 1


def lines(**seeds):
    return [
        {"system": name, "seed": seed, "parameters": 100 if name == "small1" else 400}
        for name, count in seeds.items() for seed in range(count)
    ]  # fmt: skip


def test_ensembles_are_of_nets_that_no_other_has():
    rows = {row.name: row for row in measure.rows_of(lines(heads4=2, heads1=2, small1=9))}
    assert [*rows][:3] == ["heads4", "heads1", "small1"]
    ways = ("by steps", "by answers")
    names = ("2 x heads4", "2 x heads1", "4 x small1")
    assert [*rows][3:] == [f"{name}, {way}" for name in names for way in ways]
    together = rows["4 x small1, by answers"]
    assert [len(group) for group in together.groups] == [4, 4] and together.parameters == 400
    assert together.groups[1][0] == "small1-seed4"
    with pytest.raises(OutputError, match=r"heads4.*is not among the finished runs"):
        measure.rows_of(lines(heads1=2))


def test_an_ensemble_of_one_net_reads_what_it_reads(trained, toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measure, "open_run", lambda folder: trained)
    text = "".join(json.dumps(line) + "\n" for line in lines(heads4=2, small1=4))
    (tmp_path / "results.jsonl").write_text(text)
    assert measure.main([str(tmp_path), "--test", str(toy / "test_cuts.jsonl.gz")]) == 0
    rows = [
        row.split(" | ") for row in capsys.readouterr().out.splitlines() if row.startswith("| ")
    ]
    assert [row[0] for row in rows[2:]] == [
        "| four heads of 16 channels", "| one head of 24 channels",
        "| two nets with four heads of 16 channels, by steps",
        "| two nets with four heads of 16 channels, by answers",
        "| four nets with one head of 24 channels, by steps",
        "| four nets with one head of 24 channels, by answers",
    ]  # fmt: skip
    by_steps = [row for row in rows[2:] if "answers" not in row[0]]
    assert len({row[3] for row in by_steps}) == 1  # the same net alone and with itself
    assert all(row[4] == "+0.0 [+0.0, +0.0] |" for row in by_steps[1:])
    assert (tmp_path / "heads.png").stat().st_size > 5000
