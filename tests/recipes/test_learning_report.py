"""The report on learning rules, from made-up runs whose figures are known."""

import json

import numpy as np
import pytest

from recipes.claims.learning import report
from recipes.compare.systems import read_systems
from speechasym.training.config import read_config


def line(system, seed, errors):
    counts = {"PER": {who: [100, n, 0, 0] for who, n in zip("abc", errors, strict=True)}}
    rates = {"PER": sum(errors) / 300}
    return {"system": system, "seed": seed, "rates": rates, "counts": counts, "seconds": 60.0}


def run(folder, name, seed, errors, memory=None):
    """A run of ten steps an epoch, with these errors on dev."""
    place = folder / f"{name}-seed{seed}"
    place.mkdir(parents=True)
    settings = {"target": None, "heads": {"phones": 1.0, "letters": 0.0, "words": 0.0}}
    (place / "config.json").write_text(json.dumps({"config": settings}))
    rows = []
    for epoch, error in enumerate(errors, 1):
        step = 10 * epoch
        rows += [{"step": step, "epoch": epoch, "loss": 1.0, "loss_phones": error, "seconds": step}]
        rows += [{"step": step, "epoch": epoch, "dev_error_phones": error}]
    if memory is not None:
        stages = [{"cosine": 0.5}, {"cosine": None}]
        rows += [{"step": 1, "stages": stages, "memory": memory, "memory_backprop": 2**21}]
    (place / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "toy"
    rows = [line("local", 0, [10, 12, 8]), line("local", 1, [11, 9, 10]),
            line(report.BASE, 0, [12, 14, 10]), line(report.BASE, 1, [13, 11, 12])]  # fmt: skip
    for seed in (0, 1):
        run(place, report.BASE, seed, [0.9, 0.8, 0.6, 0.5, 0.4, 0.3])
        run(place, "local", seed, [0.9, 0.5, 0.4, 0.3, 0.3, 0.2])
    run(place / "meter", "local", 0, [0.9], memory=2**20)
    (place / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


def test_differences_targets_and_memory(folder, tmp_path):
    assert report.main([str(folder), "--out", str(tmp_path / "report.md")]) == 0
    text = (tmp_path / "report.md").read_text()
    (row,) = [row for row in text.splitlines() if row.startswith("| local | 2 |")]
    _, _, _, errors, steps, seconds, _, _ = (cell.strip() for cell in row.split("|"))
    assert errors.startswith("10.0 (10.0 to 10.0); -2.0 [")  # 300 of 3000 against 360
    assert (steps, seconds) == ("20", "20")  # the base has 0.5 after half of its run
    assert "| local | 1 | 50 | 0.50, - |" in text


def test_a_rule_that_misses_the_target_says_in_how_many_runs(folder, tmp_path):
    run(folder, "backprop", 0, [0.9, 0.9, 0.8, 0.8, 0.7, 0.7])
    with (folder / "results.jsonl").open("a") as file:
        file.write(json.dumps(line("backprop", 0, [30, 30, 30])) + "\n")
    assert report.main([str(folder), "--out", str(tmp_path / "report.md")]) == 0
    assert "| 0 of 1 runs | - |" in (tmp_path / "report.md").read_text()


def test_the_difference_is_in_points_with_seeds_and_speakers_drawn():
    ours, base = (np.array([[[n, 100.0] for n in row]] * 2) for row in ([10, 20], [12, 22]))
    assert report.difference(ours, base) == pytest.approx((-2, -2, -2))  # the same of each speaker


def test_a_folder_without_the_base_is_refused(tmp_path, capsys):
    (tmp_path / "results.jsonl").write_text(json.dumps(line("local", 0, [1, 2, 3])) + "\n")
    assert report.main([str(tmp_path), "--out", str(tmp_path / "report.md")]) == 2
    assert "contains no run of backprop-inter. Run recipes.compare" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["systems.yaml", "timit.yaml"])
def test_each_rule_of_the_recipe_is_a_valid_configuration(name):
    systems = read_systems(report.Path(report.__file__).with_name(name))
    assert report.BASE in [system.name for system in systems]
    basic = ["data.train=a", "data.dev=b", "learning.blocks=4", "model.preset=small"]
    found = [read_config(None, [*basic, *system.words]).learning for system in systems]
    assert len(set(found)) == len(systems)
