"""What units are named after: favourites, silence, the training cuts, and the file."""

import json
from dataclasses import replace

import numpy as np
import pytest
from lhotse import CutSet
from toy import HERTZ, WORDS

from speechasym.annotations.intervals import Interval
from speechasym.errors import CheckpointError
from speechasym.recognition.trained_model import open_run
from speechasym.training import unit_names
from speechasym.training.unit_names import Favourites, LevelNames


def test_favourites_and_silence():
    """Units 0 and 1 favour b and a, unit 2 the pause, unit 3 is never active."""
    rows = np.zeros((10, 4))
    rows[:2, 1], rows[2:5, 0], rows[5:, 2], rows[4, 2] = 0.9, 0.8, 0.1, 0.3
    rows[9] = np.nan
    intervals = [Interval(0, 0.02, "a"), Interval(0.02, 0.05, "b"), Interval(0.05, 0.06, "h#")]
    sums = Favourites(prior_frames=0)
    sums.add(rows[:6], intervals, 100)
    sums.add(rows[6:], [], 100)
    assert sums.names() == ["b", "a", "b", ""]  # 0.3 in one of three frames, 0.1 in four of five
    careful = Favourites(prior_frames=20)
    for _ in range(9):
        careful.add(rows[5:], [], 100)
    careful.add(rows[:6], intervals, 100)
    assert careful.names()[2] == "sil"
    assert unit_names.frame_symbols(intervals, 8, 100) == [*"aabbb", "sil", "sil", "sil"]
    held = unit_names.held(np.eye(2), [0, 3], [2, 4], 5)
    assert np.isnan(held[[2, 4]]).all() and held[1].tolist() == [1, 0]


def test_a_run_keeps_the_names_of_its_units(toy):
    names = open_run(toy / "run").unit_names
    assert {n: (level.head, len(level.names)) for n, level in names.items()} == {
        0: ("phones", 8), 1: ("words", 8)
    }  # fmt: skip
    assert {"sil", *HERTZ} >= set(names[0].names) - {""} >= {"sil"}
    assert set(names[1].names) <= {"", "sil", *(word.upper() for word in WORDS)}


@pytest.mark.parametrize("context", [False, True])
def test_without_times_the_head_aligns_them(toy, tmp_path, context):
    """Most units have the name that annotated times give them, without contexts."""
    trained = open_run(toy / "run")
    cuts = []
    for cut in CutSet.from_file(toy / "train_cuts.jsonl.gz"):
        cut.supervisions = [replace(s, alignment=None) for s in cut.supervisions]
        cuts.append(cut)
    CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl.gz")
    lines = [f"{word.upper()} {' '.join(phones).upper()}" for word, phones in WORDS.items()]
    (tmp_path / "lexicon.txt").write_text("\n".join(lines).replace("AA", "AA1") + "\n")
    phones = tuple(phone.upper() + "+#" * context for phone in trained.inventories["phones"])
    inventories, config = trained.inventories | {"phones": phones}, trained.config
    found = {"lexicon": str(tmp_path / "lexicon.txt"), "context": context}
    labels = replace(config.data.labels, **found)
    config = replace(config, data=replace(config.data, labels=labels))
    names = unit_names.name_units(trained.model, config, inventories, tmp_path / "cuts.jsonl.gz")
    pairs = zip(names[0].names, trained.unit_names[0].names, strict=True)
    used = [(a, b) for a, b in pairs if b]
    assert sum(a.lower() == b for a, b in used) >= len(used) - 2


def test_the_file(tmp_path):
    assert unit_names.read(tmp_path) == {}
    names = {2: LevelNames("words", ["nice", "", "sil"])}
    unit_names.write(tmp_path, names)
    assert unit_names.read(tmp_path) == names
    path = tmp_path / unit_names.FILE
    for damaged in ("{", json.dumps({"format": 2}), json.dumps({"format": 1, "levels": [1]})):
        path.write_text(damaged)
        with pytest.raises(CheckpointError, match=r"units.json: does not hold names of units"):
            unit_names.read(tmp_path)
