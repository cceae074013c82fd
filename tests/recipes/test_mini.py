"""`recipes/mini/run.sh` end to end, small: every step, again with nothing to do, and its errors.

The commands run in this process, one after the other: importing torch a dozen times would take
longer than all the rest.
"""

import json

import pytest
from helpers import ROOT
from recipe_commands import Commands

from speechasym.annotations.tiers import read_tiers

RUN = ROOT / "recipes" / "mini" / "run.sh"
TOY = ("epochs=2", "threads=1", "data.workers=0")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    pytest.importorskip("espeakng_loader")
    folder = tmp_path_factory.mktemp("recipe")
    commands = Commands(folder)
    out = folder / "out"
    return commands, out, commands.run(RUN, out, *TOY, MINI_MINUTES="2")


def test_every_step_leaves_what_it_promises(done):
    commands, out, found = done
    assert found.returncode == 0, found.stderr
    names = commands.names
    assert names[:4] == ["prepare", "train", "evaluate", "transcribe"]
    assert names[4:] == ["plot"] * 6 + ["report"]
    scores = json.loads((out / "test.json").read_text())["scores"]
    assert set(scores) == {"phones", "letters", "letters as words", "words"}
    assert scores["words"]["N"] > 40 and len(scores["words"]["speakers"]) == 3
    for name in ("curves", "confusion", "units", "ranks", "levels", "asymmetry"):
        assert (out / "pictures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert f"{name}" in found.stdout
    grid = next((out / "textgrids").glob("*.TextGrid"))
    assert {"phones", "letters", "words"} <= set(read_tiers(grid))
    assert (out / "run" / "model.safetensors").exists()
    assert "said:" in found.stdout


def test_again_it_trains_nothing(done):
    commands, out, _ = done
    model = (out / "run" / "model.safetensors").stat().st_mtime_ns
    metrics = (out / "run" / "metrics.jsonl").read_bytes()
    found = commands.run(RUN, out, *TOY, MINI_MINUTES="2")
    assert found.returncode == 0, found.stderr
    assert (out / "run" / "model.safetensors").stat().st_mtime_ns == model
    assert (out / "run" / "metrics.jsonl").read_bytes() == metrics


def test_a_wrong_key_ends_it_with_its_message(done, capfd):
    commands, out, _ = done
    found = commands.run(RUN, out, "epohcs=2", MINI_MINUTES="2")
    assert found.returncode == 2
    assert "Did you mean epochs" in capfd.readouterr().err
    assert "3." not in found.stdout  # nothing is evaluated
