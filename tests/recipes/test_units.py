"""The recipe discovery/units: what runs and clusters find is measured against phones."""

import json

import numpy as np
import pytest
import toy_timit
from toy_timit import SPEAKERS

from recipes.discovery.units import (
    bridged,
    few,
    measure,
    named,
    picture,
    readout,
    report,
    systems,
    words,
)
from speechasym.annotations.intervals import Interval
from speechasym.errors import ConfigError
from speechasym.scoring import abx_cells


@pytest.fixture(scope="module")
def timit(tmp_path_factory):
    """TIMIT of tones: phones in their times, silences around words."""
    root = tmp_path_factory.mktemp("timit")
    rng = np.random.default_rng(0)
    toy_timit.write(root, rng)
    return root


def test_measures_tables_and_picture(timit, toy, tmp_path, monkeypatch):
    monkeypatch.setattr(abx_cells, "ROUNDS", 20)
    for name, value in (("SIZES", (4,)), ("SEEDS", 2), ("ROUNDS", 20), ("FITTED_CUTS", 3)):
        monkeypatch.setattr(measure, name, value)
    monkeypatch.setattr(measure, "FROZEN", {k: systems.FROZEN[k] for k in measure.CHANGED})
    out = tmp_path / "results.json"
    words = ["--timit", timit, "--train", toy / "train_cuts.jsonl.gz", "--runs", toy / "run"]
    words = [*map(str, words), "--out", str(out)]
    measure.main(words)
    cells = json.loads(out.read_text())
    of_run = cells["TIMIT TEST | run, level 0 | 0"]
    assert of_run["pnmi"]["value"] > 0.6 > of_run["chance"]["value"]
    assert 0 <= of_run["abx across"]["value"] < 0.2
    assert {k.split(" | ")[1] for k in cells} == {
        "change of log-mel 80", "change of compact 33", "pieces of log-mel 80",
        "pieces of compact 33", "run, level 0", "run, level 0 between pieces", "run, level 1",
        "k-means log-mel 80, 4", "k-means compact 33, 4", "k-means compact 33 between pieces, 4",
    }  # fmt: skip
    assert cells["TIMIT TEST | change of compact 33 | 0"]["strict f1"]["value"] > 0.7
    monkeypatch.setattr(measure, "measured", None)  # nothing is left to measure
    measure.main(words)
    found = {"a": cells["TIMIT TEST | run, level 0 | 0"]["strict f1"]}
    cells["TIMIT TEST | words of a | 0"] = {"word f1": {"value": 0.5}, "strict f1": found["a"]}
    text = report.tables(cells)
    assert "### TIMIT TEST: words, %" in text and text.count("| words of a | 1 | 50.0 | - |") == 1
    assert text.count("### TIMIT TEST") == 4 and "| k-means compact 33, 4 | 2 |" in text
    stem = timit / SPEAKERS[0] / "SX0"
    picture.main([str(toy / "run"), str(stem), str(tmp_path / "a.png")])
    assert (tmp_path / "a.png").stat().st_size > 10000


def test_a_read_out_learns_phones_of_frames(timit, toy, capsys):
    readout.main(["--timit", str(timit), "--runs", str(toy / "run"), "--minutes", "0.05"])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "|" in line]
    assert [row[0] for row in rows[2:]] == ["| compact 33", "| level 0", "| level 0, untrained"]
    assert all(0 <= float(row[2].split()[0]) < 40 for row in rows[2:])


def test_means_between_boundaries():
    rows = np.arange(8.0)[:, None]
    means, frames = systems.pooled(rows, [0.0, 0.03, 0.05, 0.2])
    assert means[:, 0].tolist() == [1, 3.5, 6] and frames.tolist() == [[0, 3], [3, 5], [5, 8]]


def test_a_track_turns_at_its_peaks():
    x = np.array([0, 1, 0.9, 1.2, 0.2, 0.3, 0.2, 0.9, 0.1])
    assert systems.turns(x, 0.05) == [1, 3, 5, 7] and systems.turns(x, 0.5) == [3, 7]
    assert systems.turns(np.zeros(5), 0.1) == []


def test_changes_are_largest_at_a_boundary():
    rows = np.repeat([[1.0, 0.0], [0.0, 1.0]], 6, 0)
    track = systems.changes(rows, 2)
    assert track.argmax() == 6 and track[6] == pytest.approx(1) and track[0] == 0


def test_few_minutes_are_of_all_speakers(toy):
    from speechasym.corpora.manifests import read_cuts

    cuts = list(read_cuts(toy / "train_cuts.jsonl.gz"))
    speakers = {c.supervisions[0].speaker for c in cuts}
    seconds = sum(c.duration for c in cuts)
    chosen = few.choose(cuts, seconds / 120)
    assert {c.supervisions[0].speaker for c in chosen} == speakers
    assert seconds / 2 <= sum(c.duration for c in chosen) < seconds
    with pytest.raises(ConfigError, match="fewer than"):
        few.choose(cuts, 1000)


def test_pieces_are_cut_where_rows_turn():
    rng = np.random.default_rng(0)
    rows = np.repeat([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], [9, 6, 12], 0)
    assert systems.pieces(rows + 0.1 * rng.normal(size=rows.shape), 0.5) == [9, 15]
    assert systems.pieces(rows, 50.0) == []
    assert len(systems.pieces(np.ones((3 * systems.LONGEST, 2)), 50.0)) == 2


def test_units_that_recur_together_become_words():
    rng = np.random.default_rng(0)
    lexicon = [[0, 1, 2], [3, 4], [5, 6, 7, 1], [2, 0]]
    texts = [[u for w in rng.integers(4, size=30) for u in lexicon[w]] for _ in range(20)]
    rounds = words.learn(texts, frozenset({9}))
    text = [(u,) for u in [9, 0, 1, 2, 3, 4, 9, 5, 6, 7, 1]]
    for pairs in rounds:
        text = words.joined(text, pairs)
    assert text == [(9,), (0, 1, 2), (3, 4), (9,), (5, 6, 7, 1)]
    silent = [Interval(0, 0.1, "a"), Interval(0.1, 0.2, "b")]
    loud = {"x": np.repeat([-2.0, 1.0], 10)}
    assert words.quiet({"x": silent}, loud) == {"a"}
    (one,) = words.segmented(silent, {"a": 3, "b": 4}, [{((3,), (4,))}])
    assert one == Interval(0, 0.2, "3-4")


@pytest.mark.parametrize("source", ["run", "kmeans-1"])
def test_units_become_the_phones_of_cuts(source, toy, tmp_path, monkeypatch):
    from speechasym.corpora.manifests import read_cuts
    from speechasym.training.labels import aligned

    results, out = tmp_path / "results.json", tmp_path / "named.jsonl.gz"
    results.write_text(
        json.dumps({"TIMIT TRAIN | pieces of log-mel 80 | 0": {"chosen": {"cost": 2, "late": 0.5}}})
    )
    named.main([str(toy / source), str(toy / "test_cuts.jsonl.gz"), str(results), str(out)])
    for cut in read_cuts(out):
        rows = aligned(cut, "phone")
        assert rows[0].start == 0 and len(rows) > 1
        assert all(row.label[0] == "u" and row.label[1:].isdigit() for row in rows)


def test_phone_errors_from_nothing_and_from_units(tmp_path):
    for name, wrong in (
        ("1-nothing-0", 60),
        ("1-nothing-1", 64),
        ("1-names-0", 50),
        ("3-units-0", 9),
    ):
        speakers = {s: {"D": 0, "I": 0, "S": wrong, "N": 100} for s in "ab"}
        content = {"scores": {"phones": {"speakers": speakers}}}
        (tmp_path / f"bridge-{name}.json").write_text(json.dumps(content))
    rows = bridged.report(tmp_path).splitlines()
    assert rows[2].startswith("| 1 | names | 50.0 | 50.0 (50.0 to 50.0) | -19.4 % (")
    assert rows[3].startswith("| 1 | nothing | 60.0 64.0 | 62.0 (") and rows[3].endswith("| - |")
    assert rows[4].startswith("| 3 | units | 9.0 |")
