"""`recipes/claims/direction`: feature sets of equal size, tasks, classifiers, the report."""

import json

import make_stub_corpora as stubs
import numpy as np
import pytest
from helpers import sine
from toy import manifest

from recipes.claims.direction import classify, features, remedies, run, tasks
from recipes.claims.direction.tasks import Sentence, Task, Token
from speechasym.annotations.intervals import Interval, SampleInterval
from speechasym.annotations.textgrid import write_textgrid
from speechasym.errors import ItemError
from speechasym.feature_extraction.pitch import Pitch


def test_sets_have_equal_size_and_turn_with_time(monkeypatch):
    rng = np.random.default_rng(0)
    x = (rng.normal(0, 0.1, 8000) * np.repeat([0.01, 1, 0.1, 0.5], 2000)).astype(np.float32)
    rows = features.features(x)
    assert list(rows) == list(features.SETS)
    columns = {name: matrix.shape[1] for name, matrix in rows.items()}
    assert columns.pop(features.COMPACT) == 33 and set(columns.values()) == {features.COLUMNS}
    assert all(np.allclose(matrix.mean(0), 0, atol=1e-4) for matrix in rows.values())
    rise = np.geomspace(0.001, 1, 8000) * rng.normal(0, 0.1, 8000)
    for name in (features.CHANGE, features.SIGNED):
        means = []
        for sound in (rise, rise[::-1].copy()):
            monkeypatch.setattr(features, "_normalised", lambda x: x)
            means.append(features.features(sound.astype(np.float32))[name][20:-20, 24].mean())
        assert means[0] > 0.05 > means[1], name  # the slowest scale: rising, falling


def sentence(file="s1/a", speaker="s1"):
    rows = [(0, 1600, "h#"), (1600, 3200, "bcl"), (3200, 3600, "b"), (3600, 6800, "iy"),
            (6800, 8400, "tcl"), (8400, 9600, "t"), (9600, 12800, "h#")]  # fmt: skip
    words = [SampleInterval(1600, 6800, "be"), SampleInterval(6800, 9600, "t")]
    sound = np.random.default_rng(1).normal(0, 0.1, 12800).astype(np.float32)
    return Sentence(file, speaker, sound, [SampleInterval(*row) for row in rows], words)


def test_tokens_stand_where_the_phones_are():
    voicing, place, nuclei, sides = tasks.of_phones([sentence()])
    assert voicing.tokens == [
        Token("s1/a", 0.2, "voiced", "s1"),
        Token("s1/a", 0.525, "voiceless", "s1"),
    ]
    assert [t.label for t in place.tokens] == ["labial", "alveolar"]
    inside = [t.at for t in nuclei.tokens if t.label == "nucleus"]
    assert inside == [0.325]
    assert all(abs(t.at - 0.325) >= tasks.FAR for t in nuclei.tokens if t.label == "elsewhere")
    assert [(t.at, t.label) for t in sides.tokens] == [
        (pytest.approx(0.265), "begin"), (pytest.approx(0.385), "end")
    ]  # fmt: skip
    every, near = tasks.of_phrases([sentence()])
    assert [t.label for t in every.tokens] == ["other", "last"] and near.tokens == every.tokens
    assert max(every.offsets) == -8  # nothing of the pause is seen


def test_joined_sentences_keep_their_times():
    (one,) = tasks.joined([sentence("a"), sentence("b")])
    assert len(one.sound) == 25600 and len(one.words) == 4
    assert [row.start for row in one.words] == [1600, 6800, 14400, 19600]
    np.testing.assert_array_equal(one.sound[:12800], sentence().sound)
    times = run.elapsed(tasks.of_phrases([one])[0], [one])[run.ELAPSED][:, 0]
    np.testing.assert_allclose(times, [0.325, 0.5, 0.325, 0.5])


def test_sounds_are_ramped_and_reversed():
    task, sounds = tasks.of_envelopes(1)
    assert {t.label for t in task.tokens} == {"ramped", "damped"}
    assert len(sounds) == len(task.tokens) == 6 * len(tasks.CARRIERS)
    task, sounds = tasks.of_rooms([sentence()])
    assert set(sounds) == {"s1/a forward", "s1/a reversed"}
    assert not np.allclose(sounds["s1/a forward"], sounds["s1/a reversed"])


def task_of(count=40, speakers=8):
    tokens = [Token("f", 0.01 * n, "ab"[n % 2], f"s{n % speakers // 2}") for n in range(count)]
    return Task("made", "a or b", tokens, range(0, 1))


def test_classifiers_keep_speakers_apart():
    task, rng = task_of(), np.random.default_rng(0)
    y = np.array([t.label == "a" for t in task.tokens])
    seen = np.stack([y * 2.0 - 1 + rng.normal(0, 0.3, len(y)), rng.normal(size=len(y))], 1)
    counts = classify.evaluate(seen.astype(np.float32), task)
    assert counts.values[..., 1].sum() == 40 and classify.balanced(counts)[0] < 0.1
    # what tells only the speaker says nothing of others, even if it tells the class of each token
    who = np.array([t.speaker for t in task.tokens])
    own = np.stack([(who == w) & (y == k) for w in sorted(set(who)) for k in (0, 1)], 1)
    counts = classify.evaluate(own.astype(np.float32), task)
    assert 0.3 < classify.balanced(counts)[0] < 0.7
    xor = np.stack([rng.choice([-1.0, 1.0], 40) for _ in range(1)], 1)
    xor = np.concatenate([xor, xor * (2 * y - 1)[:, None]], 1).astype(np.float32)
    assert classify.balanced(classify.evaluate(xor, task, hidden=8))[0] < 0.2
    with pytest.raises(ItemError, match="has 2 speakers, fewer than 4"):
        classify.evaluate(seen, task_of(speakers=4))
    with pytest.raises(ItemError, match="fewer than 8 tokens of b"):
        classify.evaluate(
            seen[:21], Task("made", "", task.tokens[:13] + task.tokens[14::2][:8], range(1))
        )


def test_windows_repeat_the_ends():
    matrix = np.arange(10.0)[:, None]
    got = classify.windows(
        {"f": matrix}, [Token("f", 0.0, "a", "s"), Token("f", 0.055, "a", "s")], range(-2, 3, 2)
    )
    np.testing.assert_array_equal(got, [[0, 0, 2], [3, 5, 7]])


def test_a_verdict_needs_all_rivals():
    def errors(ours, power, mfcc, change):
        names = (features.HALF, features.POWER, features.MFCC, features.HALF_CHANGE)
        values = (ours, power, mfcc, change)
        return {n: np.full(11, v) for n, v in zip(names, values, strict=True)}

    assert run.verdict(errors(0.1, 0.2, 0.2, 0.2)) == "earns its keep"
    assert (
        run.verdict(errors(0.1, 0.2, 0.1, 0.2))
        == "better than power cepstra and power + signed change only"
    )
    assert run.verdict(errors(0.3, 0.2, 0.3, 0.3)) == "loses to power cepstra"
    assert run.verdict(errors(0.3, 0.3, 0.3, 0.3)) == "nothing certain"


def test_from_sounds_to_report(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tasks, "CARRIERS", (500, 1000, None, None))
    task, sounds = tasks.of_envelopes(1)
    monkeypatch.setattr(tasks, "of_envelopes", lambda: (task, sounds))
    monkeypatch.setattr(run, "NETS", ())
    monkeypatch.setattr(remedies, "planned", lambda task: [])
    assert run.main(["--out", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert (
        "| ramped or damped | ramped or damped, 8 cycles" in text
        and "damped 12, ramped 12 | 4 |" in text
    )
    assert (tmp_path / "direction.png").stat().st_size > 5000
    known = json.loads((tmp_path / "results.json").read_text())
    monkeypatch.setattr(run, "measure", None)  # what is known is not measured again
    assert run.main(["--out", str(tmp_path)]) == 0 and known["ramped or damped"]
    assert run.main(["--timit", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "contains sentences of 0 speakers" in capsys.readouterr().err
    (tmp_path / "results.json").write_text("{")
    assert run.main(["--out", str(tmp_path)]) == 2
    assert "results.json: is not JSON" in capsys.readouterr().err


def test_recordings_are_read_with_their_times(tmp_path):
    stubs.timit(tmp_path / "timit", {"TRAIN": ["FAAA0"], "TEST": ["MBBB0"]}, sentences=2)
    found = tasks.sentences(tmp_path / "timit")
    assert {s.speaker for s in found} == {"FAAA0", "MBBB0"} and len(found) == 4
    assert all(len(s.words) and s.phones[0].label == "h#" for s in found)
    cuts = manifest(tmp_path / "read", "test", 1, 3)
    with pytest.raises(ItemError, match=r"no TextGrid of a cut in .*Run `speechasym align` first"):
        tasks.aligned(cuts, tmp_path)
    words = [Interval(0.2, 0.4, "am"), Interval(0.4, 0.6, "a"), Interval(0.8, 0.9, "am")]
    write_textgrid(tmp_path / "test-00.TextGrid", {"words": words}, 1.0)
    (one,) = tasks.aligned(cuts, tmp_path)
    assert [row.label for row in one.words] == ["am", "a"]  # the last one is not known to be last
    assert [(r.start, r.end) for r in one.phones] == [(0, 3200), (9600, 12800)]
    assert [t.label for t in tasks.of_phrases([one])[0].tokens] == ["other", "last"]


def test_a_tone_is_no_speech(tmp_path):
    with pytest.raises(ItemError, match="fewer than 8 tokens"):
        run.measure(task_of(6), {"f": sine(0.5, 16000, 500, 0.3).astype(np.float32)}, {})


def test_read_stops_stand_at_their_release():
    rng = np.random.default_rng(0)
    x = 0.001 * rng.normal(size=12800).astype(np.float32)
    x[3000:3400] += 0.3 * rng.normal(size=400).astype(np.float32)
    assert abs(tasks.release(x, 2000, 3600) - 3000) < 16
    assert tasks.release(np.zeros(100, np.float32), 0, 50) == 20
    rows = [(0, 1600, "pau"), (2000, 3600, "T"), (3600, 5000, "AH0"), (5000, 6000, "D"),
            (6000, 7000, "S"), (7000, 8000, "B"), (8000, 9000, "R")]  # fmt: skip
    words = [SampleInterval(2000, 7000, "tuds"), SampleInterval(7000, 9000, "br")]
    one = Sentence("a", "s", x, [SampleInterval(*row) for row in rows], words)
    voicing, place = tasks.of_read_stops([one])
    assert [t.label for t in voicing.tokens] == ["voiceless", "voiced"]  # D is within a word
    assert [t.label for t in place.tokens] == ["alveolar", "labial"]
    fine = tasks.finer(voicing)
    assert fine.rate == 500 and fine.name == "stop voicing, read books, 500 Hz"
    matrix = np.arange(500.0)[:, None]
    got = classify.windows({"a": matrix}, [Token("a", 0.2, "x", "s")], range(-1, 2), fine.rate)
    np.testing.assert_array_equal(got, [[99, 100, 101]])


def test_pitch_that_falls_has_a_sign(monkeypatch):
    hz = np.r_[np.full(30, np.nan), np.linspace(200, 100, 40), np.full(30, np.nan)]
    track = Pitch(np.arange(100) / 100, hz)
    monkeypatch.setattr(features, "pitch", lambda x, rate: track)
    monkeypatch.setattr(features, "_normalised", lambda x: x)
    empty = {name: np.zeros((100, 32)) for name in features.BY_PITCH}
    rows = features.with_pitch(empty, np.ones(1))
    assert {name: m.shape for name, m in rows.items()} == {
        f"{name} + pitch": (100, 38) for name in features.BY_PITCH
    }
    for name in (features.POWER, features.HALF_CHANGE, features.HALF):
        assert (rows[f"{name} + pitch"][60, 34:] < -0.02).all(), name
    silent = Pitch(track.times, np.full(100, np.nan))
    monkeypatch.setattr(features, "pitch", lambda x, rate: silent)
    rows = features.with_pitch(empty, np.ones(1))
    assert not any(m.any() for m in rows.values())


def test_inputs_are_in_the_order_of_the_tokens():
    tokens = [Token("ab"[n % 2], 0.01 * n, "x", "s") for n in range(6)]
    matrices = {"a": np.arange(9.0)[:, None], "b": 10 + np.arange(9.0)[:, None]}
    task = Task("t", "", tokens, range(1))
    got = classify.inputs(task, lambda file: {"m": matrices[file]}, ["m"])
    np.testing.assert_array_equal(got["m"][:, 0], [0, 11, 2, 13, 4, 15])


def test_the_best_of_several_inputs_is_chosen_by_training_speakers():
    task, rng = task_of(), np.random.default_rng(0)
    y = np.array([t.label == "a" for t in task.tokens])[:, None]
    useful = (y * 2.0 - 1 + rng.normal(0, 0.2, (40, 1))).astype(np.float32)
    counts = classify.evaluate([rng.normal(size=(40, 1)).astype(np.float32), useful], task)
    assert counts.chosen == (1, 1, 1, 1) and classify.balanced(counts)[0] < 0.1


def test_remedies_are_tried_on_other_features(monkeypatch):
    monkeypatch.setattr(classify, "PENALTIES", (0.1,))
    task, asked = task_of()._replace(name="stop voicing"), []

    def made(x, rate=100, factor=1.0):
        asked.append((rate, factor))
        return {name: np.random.default_rng(0).normal(size=(rate, 2)) for name in features.SETS}

    monkeypatch.setattr(features, "features", made)
    monkeypatch.setattr(features, "with_pitch", lambda rows, x: {
        f"{name} + pitch": rows[name] for name in features.BY_PITCH})  # fmt: skip
    known = remedies.tried(remedies.FINER, task, {"f": np.ones(1)}, {})
    assert asked == [(500, 1.0)] and list(known) == list(remedies.SETS)
    found = remedies.tried(remedies.FITTED, task, {"f": np.ones(1)}, known)
    assert asked[1:] == [(100, factor) for factor in remedies.FACTORS]
    assert len(found[features.HALF].chosen) == 4 and found[features.POWER] is known[features.POWER]
    assert set(remedies.tried(remedies.PITCH, task, {"f": np.ones(1)}, known)) == set(found)


def test_remedies_are_judged_by_the_strongest_rival():
    task = task_of()
    y = np.array([t.label == "a" for t in task.tokens])[:, None] * 2.0 - 1
    noise = np.random.default_rng(0).normal(size=(40, 1))
    good, bad = (classify.evaluate((y * k + noise).astype(np.float32), task) for k in (4, 0))
    found = dict.fromkeys(remedies.SETS[:-1], bad) | {features.HALF: good}
    best, gap = remedies.against_strongest(found, dict.fromkeys(remedies.SETS, bad))
    assert best == remedies.SETS[0] and gap[0] < -0.3
    before = dict.fromkeys(remedies.SETS, bad) | {features.MFCC: good}
    best, gap = remedies.against_strongest(found, before)
    assert best == "MFCC with slopes, without remedy" and gap[0] == 0
    text = remedies.report([(task, before, {remedies.FINER: found})])
    assert "| 500 Hz | made |" in text and "nothing certain" in text
    names = ("phrase ends, near", "stop place", "syllable nuclei")
    assert [remedies.planned(task._replace(name=n)) for n in names] == [
        [remedies.PITCH], [remedies.FITTED, remedies.FINER], [remedies.FITTED]
    ]  # fmt: skip
