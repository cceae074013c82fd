"""ABX against an oracle of plain loops, and against cases worked out by hand."""

import itertools
import math
import os
from pathlib import Path

import numpy as np
import pytest

from speechasym import errors as errors_module
from speechasym.ops import cpu_abx
from speechasym.scoring import abx, abx_cells
from speechasym.scoring.abx_items import Item, frames_of, read_items, timit_items

RNG = np.random.default_rng(5)


def score(tokens, across=False, context=False, *sampling, seed=0):
    task = abx_cells.Task(across, context)
    return abx_cells.abx_scores(tokens, [task], *sampling, seed=seed)[task]


def local(x, y, angular):
    if angular:
        cosine = np.dot(x, y) / (np.linalg.norm(x) * np.linalg.norm(y))
        return math.acos(max(-1, min(1, cosine))) / math.pi
    return math.dist(x, y)


def warp(a, b, angular):
    """Plain loops, by recursion over all predecessors, keeping the path's length."""
    n, m = len(a), len(b)
    cost = {}
    for i, j in itertools.product(range(n), range(m)):
        before = [cost[p] for p in ((i - 1, j - 1), (i, j - 1), (i - 1, j)) if p in cost]
        cost[i, j] = local(a[i], b[j], angular) + (min(before) if before else 0)
    i, j, steps = n - 1, m - 1, 1
    while (i, j) != (0, 0):
        options = [p for p in ((i - 1, j - 1), (i, j - 1), (i - 1, j)) if p in cost]
        i, j = min(options, key=lambda p: cost[p])  # the first of equals: the diagonal
        steps += 1
    return cost[n - 1, m - 1] / steps


@pytest.mark.parametrize("angular", [True, False])
def test_distances_against_plain_loops(angular):
    parts = [RNG.standard_normal((n, 5)).astype(np.float32) for n in (1, 2, 7, 4, 13)]
    starts = np.concatenate([[0], np.cumsum([len(p) for p in parts])])
    sequences = cpu_abx.prepare(np.concatenate(parts), starts, angular)
    got = cpu_abx.distances(sequences, sequences, angular)
    part = cpu_abx.distances(
        sequences.take(np.array([1, 4])), sequences.take(np.array([0, 2, 3])), angular
    )
    np.testing.assert_allclose(part, got[np.ix_([1, 4], [0, 2, 3])], rtol=1e-5)
    for i in range(5):
        for j in range(i, 5):
            want = warp(parts[i].astype(float), parts[j].astype(float), angular)
            assert got[i, j] == pytest.approx(got[j, i], abs=4e-4 if i == j else 1e-6)
            # along the diagonal, Euclidean squares cancel to sqrt(eps)
            assert got[i, j] == pytest.approx(want, abs=4e-4 if i == j else 1e-5)


def test_angles_by_hand():
    frames = np.array([[1, 0], [0, 2], [-3, 0], [1, 1]], np.float32)
    sequences = cpu_abx.prepare(frames, np.arange(5))
    got = cpu_abx.distances(sequences, sequences)
    np.testing.assert_allclose(got[0], [0, 0.5, 1, 0.25], atol=1e-4)
    np.testing.assert_allclose(got[1, 2], 0.5, atol=1e-6)


def items_and_features(count=40, speakers=3, contexts=2, seed=0):
    rng = np.random.default_rng(seed)
    items, features = [], {}
    for n in range(count):
        speaker = f"s{rng.integers(speakers)}"
        phone = "abc"[rng.integers(3)]
        around = str(rng.integers(contexts))
        track = rng.standard_normal((6, 4)).astype(np.float32)
        track[:, 0] += 2 * (phone == "a") + rng.standard_normal()
        features[f"f{n}"] = track
        items.append(Item(f"f{n}", "0.005", "0.045", phone, around, "x", speaker))
    return items, features


def oracle(items, features, across, context):
    """Every triple, one after the other."""

    def d(i, j):
        i, j = min(i, j), max(i, j)
        return warp(*(features[items[k].file][0:5].astype(float) for k in (i, j)), True)

    far = {(i, j): d(i, j) for i in range(len(items)) for j in range(i, len(items))}
    cells = {}
    for a, b, x in itertools.permutations(range(len(items)), 3):
        A, B, X = items[a], items[b], items[x]
        if A.phone != X.phone or B.phone == A.phone or A.speaker != B.speaker:
            continue
        if (X.speaker != A.speaker) != across:
            continue
        around = {(t.before, t.after) for t in (A, B, X)}
        if context and len(around) > 1:
            continue
        key = (A.phone, B.phone, A.speaker, X.speaker, min(around) if context else 0)
        near, other = (far[min(x, t), max(x, t)] for t in (a, b))
        wrong = 1.0 if near > other else 0.5 if near == other else 0.0
        cells.setdefault(key, []).append(wrong)
    by_speaker = {}
    for key, errors in cells.items():
        by_speaker.setdefault(key[:3], []).append(np.mean(errors))
    by_pair = {}
    for key, errors in by_speaker.items():
        by_pair.setdefault(key[:2], []).append(np.mean(errors))
    return np.mean([np.mean(v) for v in by_pair.values()]), sum(map(len, cells.values()))


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("context", [False, True])
def test_score_against_every_triple(across, context):
    items, features = items_and_features()
    want, triples = oracle(items, features, across, context)
    tokens = abx.select_tokens(items, features, 100)
    got = score(tokens, across, context)
    assert got.error == pytest.approx(want, abs=1e-6)
    assert got.triples == triples
    assert got.low <= got.error <= got.high


def test_by_hand():
    # one speaker; a at angles 0 and 10 degrees, b at 4 degrees: X = 0: A at 10, B at 4: wrong;
    # X = 10: A at 10, B at 6: wrong. With B at 90 both right; at 5 and 10 apart: one tie.
    def tokens(*degrees):
        features = {
            str(i): np.array([[math.cos(math.radians(d)), math.sin(math.radians(d))]], np.float32)
            for i, d in enumerate(degrees)
        }
        items = [
            Item(str(i), "0", "0.01", phone, "", "", "s")
            for i, phone in enumerate("aab"[: len(degrees)])
        ]
        return abx.select_tokens(items, features, 100)

    assert score(tokens(0, 10, 4)).error == 1
    assert score(tokens(0, 10, 90)).error == 0
    assert score(tokens(0, 10, -2)).error == 0.5


def test_frames_are_those_whose_centres_lie_inside():
    def frames(onset, offset, rate=100):
        return frames_of(Item("f", onset, offset, "", "", "", ""), rate)

    assert frames("0", "0.01") == (0, 1)
    assert frames("0.005", "0.015") == (0, 2)  # both centres are on the border
    assert frames("0.0051", "0.0149") == (1, 1)  # none
    assert frames("0.1", "0.2") == (10, 20)
    assert frames("0.29", "0.57") == (29, 57)  # as floats, 0.29 * 100 = 28.999999999999996
    assert frames("1/3", "2/3", 50) == (17, 33)


def test_sampling_is_deterministic_and_unbiased():
    items, features = items_and_features(count=160)
    tokens = abx.select_tokens(items, features, 100)
    for across in (False, True):
        whole = score(tokens, across)
        parts = [score(tokens, across, False, 8, 1, seed=seed) for seed in range(40)]
        assert parts[3][:5] == score(tokens, across, False, 8, 1, seed=3)[:5]
        assert len({part.error for part in parts}) > 30
        assert all(0 < part.triples < whole.triples for part in parts)
        assert np.mean([part.error for part in parts]) == pytest.approx(whole.error, abs=0.012)
    assert score(tokens, True, True, 1000, 1000)[:5] == score(tokens, True, True)[:5]


def test_memory_does_not_grow_with_the_square_of_the_tokens(monkeypatch):
    """Blocks that may not be kept are computed again, with the same result."""
    items, features = items_and_features(count=120, speakers=6)
    tokens = abx.select_tokens(items, features, 100)
    largest, calls = [], []
    distances = cpu_abx.distances

    def counted(rows, columns, angular):
        largest.append(len(rows.numbers) * len(columns.numbers))
        return distances(rows, columns, angular)

    monkeypatch.setattr(cpu_abx, "distances", counted)
    scores = []
    for limit in (2**30, 0):
        monkeypatch.setattr(abx_cells, "KEPT_BYTES", limit)
        scores.append(abx_cells.abx_scores(tokens, abx.TASKS))
        calls.append(sum(largest))
    assert calls[1] - calls[0] > 1.5 * calls[0]  # each pair of speakers from both sides
    assert max(largest) <= 30**2 < 120**2
    for task in abx.TASKS:
        assert scores[0][task].error == pytest.approx(scores[1][task].error, abs=1e-9)


def write_timit(root):
    lines = {
        "DR1/FAAA0": "0 1600 h#\n1600 3200 sh\n3200 4800 iy\n4800 5000 q\n5000 8000 h#\n",
        "DR1/MBBB0": "0 1600 h#\n1600 2400 ax-h\n2400 2600 dcl\n2600 3200 d\n3200 8000 h#\n",
    }
    for folder, text in lines.items():
        (root / "TRAIN" / folder).mkdir(parents=True)
        (root / "TRAIN" / folder / "SX1.PHN").write_text(text)
        (root / "TRAIN" / folder / "SA1.PHN").write_text(text)


def test_timit_items(tmp_path):
    write_timit(tmp_path)
    got = timit_items(tmp_path)
    assert [(i.phone, i.before, i.after, i.speaker) for i in got] == [
        ("sh", "sil", "iy", "FAAA0"),
        ("iy", "sh", "sil", "FAAA0"),  # q is dropped
        ("ah", "sil", "sil", "MBBB0"),
        ("d", "sil", "sil", "MBBB0"),
    ]
    assert got[0].file == "TRAIN/DR1/FAAA0/SX1"
    assert frames_of(got[0], 100) == (10, 20)


def test_item_file(tmp_path):
    path = tmp_path / "a.item"
    header = "#file onset offset #phone prev-phone next-phone speaker\n"
    path.write_text(header + "f 0.1 0.25 AA B K 17\n")
    assert read_items(path) == [Item("f", "0.1", "0.25", "AA", "B", "K", "17")]
    path.write_text(f"\ufeff\n{header}\nf 0.1 0.25 AA B K 17\n\n \n".replace("\n", "\r\n"), "utf-8")
    assert read_items(path) == [Item("f", "0.1", "0.25", "AA", "B", "K", "17")]
    for text, words in (
        ("", "is empty"),
        (header + "\n\n", "no items below the header"),
        ("f 0.1 0.2\n", "first line must be the header"),
        (header + "f 0.1 0.2 AA B K\n", "a.item:2.*expected 7 columns, got 6"),
        (header + "f 0.3 0.2 AA B K 1\n", "a.item:2.*not increasing times"),
        (header + "f x 0.2 AA B K 1\n", "not increasing times"),
        (header + "f -1 0.2 AA B K 1\n", "not increasing times"),
    ):
        path.write_text(text)
        with pytest.raises(errors_module.ItemError, match=words):
            read_items(path)
    with pytest.raises(errors_module.ItemError, match="cannot be read"):
        read_items(tmp_path / "none.item")
    with pytest.raises(errors_module.ItemError, match=r"no \.PHN files"):
        timit_items(tmp_path)
    (tmp_path / "x.PHN").write_text("0 10 xx\n")
    with pytest.raises(errors_module.ItemError, match="'xx' is not one of TIMIT's 61"):
        timit_items(tmp_path)


def test_items_named_by_the_ends_of_paths():
    """As in libri-light, whose items name recordings without their folders."""
    items, features = items_and_features(8)
    expected = abx.select_tokens(items, features, 100)
    for folder, name in (("84/121/", "{}"), ("dev/84/121/", "121/{}"), ("84/", "84/{}")):
        inside = {folder + path: values for path, values in features.items()}
        named = [item._replace(file=name.format(item.file)) for item in items]
        tokens = abx.select_tokens(named, inside, 100)
        np.testing.assert_array_equal(tokens.sequences.frames, expected.sequences.frames)
    twice = features | {"other/f1": features["f1"]}  # f1 is a path itself, and first
    assert len(abx.select_tokens(items, twice, 100).items) == 8
    inside["other/f1"] = features["f1"]
    with pytest.raises(
        errors_module.ItemError, match="f1: 2 recordings have this name: 84/f1, oth"
    ):
        abx.select_tokens(items, inside, 100)
    with pytest.raises(errors_module.ItemError, match=r"no features.*Extract its recording too"):
        abx.select_tokens([items[0]._replace(file="/f0")], inside, 100)
    with pytest.raises(errors_module.ItemError, match="0: no features"):
        abx.select_tokens([items[0]._replace(file="0")], inside, 100)


def test_items_that_do_not_fit_the_features():
    items, features = items_and_features(4)
    with pytest.raises(
        errors_module.ItemError, match="no features of this recording among the 0 loaded: none"
    ):
        abx.select_tokens(items, {}, 100)
    with pytest.raises(errors_module.ItemError, match="end before an item"):
        abx.select_tokens(items, features, 1000)
    with pytest.raises(abx.ConfigError, match="shorter than a frame"):
        abx.select_tokens(items, features, 1)
    short = items[0]._replace(onset="0.0051", offset="0.0149")
    assert abx.select_tokens([short, *items[1:]], features, 100).too_short == 1


def test_result_in_memory_and_its_report():
    items, features = items_and_features()
    result = abx.abx(items, features, 100, distance="euclidean", seed=2)
    tokens = abx.select_tokens(items, features, 100, "euclidean")
    expected = score(tokens, across=True, seed=2)
    assert result.tasks["across speakers, any context"][:5] == expected[:5]
    lines = str(result).splitlines()
    assert lines[0] == "40 tokens of 3 speakers"
    assert [line[:30].rstrip() for line in lines[1:]] == ["ABX", *result.tasks]
    assert lines[4].split()[4:6] == [f"{100 * expected.error:.1f}", "%"]
    with pytest.raises(abx.ConfigError, match="rate: missing"):
        abx.abx(items, features)
    with pytest.raises(abx.ConfigError, match="distance: unknown: 'cosine'"):
        abx.abx(items, features, 100, distance="cosine")


def test_tasks_without_cells_are_left_out():
    """A single speaker has no task across speakers; a single token has none at all."""
    items, features = items_and_features(speakers=1)
    result = abx.abx(items, features, 100)
    within = ["within speakers, any context", "within speakers, same context"]
    assert list(result.tasks) == within
    tokens = abx.select_tokens(items, features, 100)
    assert result.tasks[within[0]][:5] == score(tokens)[:5]
    assert list(result.left_out) == [name.replace("within", "across") for name in within]
    assert str(result).splitlines()[-2:] == [
        f"across speakers, {context} context is left out: no cell; it needs two phones by one "
        f"speaker, and one of them by another{around}"
        for context, around in (("any", ""), ("same", ", all between the same neighbours"))
    ]
    with pytest.raises(abx.ConfigError, match=r"no task has a cell \(within speakers, any.*by one"):
        abx.abx(items[:1], features, 100)
    with pytest.raises(abx.ConfigError, match="most: must be an integer >= 1, got 0"):
        abx.abx(items[:1], features, 100, most=0)


@pytest.mark.corpus("TIMIT_ROOT")
def test_timit_sample():
    """The real folder parses, and every token finds its frames in gammatone features."""
    from speechasym.feature_extraction import sets

    timit = Path(os.environ["TIMIT_ROOT"])
    items = timit_items(timit)
    few = [i for i in items if i.speaker == items[0].speaker]
    features = {
        f: sets.features(next(timit.glob(f"{f}.[Ww][Aa][Vv]"))) for f in {i.file for i in few}
    }
    tokens = abx.select_tokens(few, features, 100)
    assert len(tokens.items) > 200
    assert score(tokens).error < 0.4
