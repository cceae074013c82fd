"""`recipes/claims/growth`: its systems, and the report on made-up runs whose figures are known."""

import json

import pytest
from helpers import ROOT

from recipes.claims.growth import report
from recipes.compare.systems import read_systems
from speechasym.training.config import read_config


def test_the_systems_are_ways_of_growth_of_one_stack():
    systems = read_systems(ROOT / "recipes" / "claims" / "growth" / "systems.yaml")
    basic = ["data.train=a", "data.dev=b", "model.preset=small", "flops=1e12"]
    configs = {s.name: read_config(None, [*basic, *s.words]) for s in systems}
    assert [s.name for s in systems][:2] == ["asymmetry", report.BASE]
    assert configs["asymmetry"].model == configs["full"].model != configs["small"].model
    rules = [config.grow.rule for config in configs.values()]
    assert rules[:4] == ["asymmetry", "none", "none", "periodic:3"]


def finished(folder, name, seed, errors, growths=()):
    """A run of an epoch for each 100 FLOPs, with these phone errors on dev."""
    place = folder / f"{name}-seed{seed}"
    place.mkdir(parents=True)
    settings = {"target": None, "heads": {"phones": 1.0}}
    (place / "config.json").write_text(json.dumps({"config": settings}))
    rows = []
    for epoch, error in enumerate(errors, 1):
        at = {"step": epoch, "epoch": epoch}
        rows.append({**at, "loss": 1.0, "loss_phones": error, "seconds": 1.0, "flops": 100 * epoch})
        rows.append({**at, "dev_error_phones": error})
        if epoch in growths:
            rows.append({**at, "grown": 1, "sizes": [2, 1], "flops": 100 * epoch})
    (place / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with (folder / "results.jsonl").open("a") as file:
        counts = {"PER": {"a": [100, 10, 0, 0], "b": [100, 20, 0, 0]}}
        row = {"system": name, "seed": seed, "rates": {"PER": 0.15}, "counts": counts}
        file.write(json.dumps(row | {"seconds": 60.0}) + "\n")


def test_flops_are_compared_at_the_error_that_the_whole_stack_ends_with(tmp_path, capsys):
    folder = tmp_path / "toy"
    for seed in (0, 1):
        finished(folder, "full", seed, [0.9, 0.6, 0.4, 0.3])
        finished(folder, "asymmetry", seed, [0.9, 0.3, 0.25, 0.2], growths=[2])
    finished(folder, "periodic", 0, [0.9, 0.9, 0.8, 0.7])
    assert report.main([str(folder), "--out", str(tmp_path / "report.md")]) == 0
    rows = {row.split(" | ")[0]: row for row in capsys.readouterr().out.splitlines()}
    assert rows["| asymmetry"].endswith(
        "| 2 | 20.0 (20.0 to 20.0) | 2.00 (2.00 to 2.00) | 0.50: 2+1 |"
    )
    assert rows["| full"].endswith("| 30.0 (30.0 to 30.0) | 1.00 (1.00 to 1.00) | - |")
    assert "0.00 (0.00 to 0.00)" in rows["| periodic"]
    assert (tmp_path / "report.png").stat().st_size > 5000


@pytest.mark.parametrize("missing", ["full", None])
def test_a_folder_without_the_whole_stack_is_named(tmp_path, capsys, missing):
    if missing:
        finished(tmp_path / "toy", "asymmetry", 0, [0.9] * 4)
    assert report.main([str(tmp_path / "toy"), "--out", str(tmp_path / "report.md")]) == 2
    assert "contains no run of full" in capsys.readouterr().err
