"""The recipe claims/asymmetry: its stimuli and fits are right, and it runs without a corpus."""

from pathlib import Path

import numpy as np
import pytest

from recipes.claims.asymmetry import common, ramped, reverberation, reversal, run
from speechasym.scoring import abx
from speechasym.scoring.abx_items import Item


@pytest.mark.parametrize("carrier", [500, None])
def test_ramped_is_damped_reversed_with_the_same_energy(carrier):
    make = ramped
    up, down = make.ramped(carrier, 50, 4, 3), make.damped(carrier, 50, 4, 3)
    assert np.array_equal(up[::-1], down)
    sounds = [make.damped(carrier, 25, h) for h in make.HALF_LIVES] + [up, down]
    assert np.allclose([10 * np.log10(np.mean(x**2)) for x in sounds], make.RMS_DB)
    first, last = np.split(down[: 16 * 50], 2)  # halves of a period
    assert (first**2).sum() > 10 * (last**2).sum()


@pytest.mark.parametrize("carrier", [500, None])
def test_envelope_falls_by_half_in_the_half_life(carrier):
    make = ramped.damped
    ratio = make(carrier, 50, 8) / np.where(flat := make(carrier, 50, 1e9), flat, np.nan)
    assert np.isclose(ratio[8 * 16 + 5] / ratio[5], 0.5)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.5, 5.0])
@pytest.mark.parametrize("falling", [False, True])
def test_matched_ratio_is_found(ratio, falling):
    make = ramped
    own, other = np.array(make.HALF_LIVES, float), np.array(make.DAMPED)

    def curve(half_life):
        return np.log(half_life) * (-1 if falling else 1)

    found = make.matched_log_ratio(own, curve(own * ratio), other, curve(other))
    reached = (own * ratio >= other[0]) & (own * ratio <= other[-1])
    assert np.allclose(np.exp(found[reached]), ratio)
    assert np.isnan(found[~reached]).all()


def test_nearest_of_several_matches_counts():
    other = np.array([1.0, 2, 4, 8, 16])
    bumpy = np.array([0.0, 1, 0, 1, 2])
    find = ramped.matched_log_ratio
    assert np.exp(find(np.array([2.5]), np.array([0.5]), other, bumpy)) == pytest.approx(
        2**1.5 / 2.5
    )


def test_reading_of_a_row():
    verdict = ramped.verdict
    surely = common.Interval(1.0, 0.9, 1.0)
    match = common.Interval(4.0, 3.0, 6.0)
    row = {"sound": "sine", "response": "play", "more": surely, "match": match, "matched": 1.0}
    row["ratio"] = common.Interval(1.1, 1.05, 1.2)
    assert verdict(row) == "right way and size"
    assert verdict(row | {"sound": "noise"}) == "right way, too large"
    assert verdict(row | {"response": "work"}) == "wrong way"
    assert verdict(row | {"matched": 0.5}) == "right way, no match"
    assert verdict(row | {"ratio": common.Interval(1.0, 0.999, 1.001)}) == "equal"
    assert verdict(row | {"more": common.Interval(0.5, 0.4, 0.6)}) == "undecided"


@pytest.mark.parametrize("window", [10, 50, 130])
@pytest.mark.parametrize("first", [0, 77])
def test_local_reversal_twice_is_the_original(window, first):
    reverse = reversal.reverse_locally
    x = np.random.default_rng(0).standard_normal(7000)
    y = reverse(x, window, first)
    size = window * 16
    end = first + (7000 - first) // size * size
    assert np.array_equal(y[first : first + size], x[first : first + size][::-1])
    assert np.array_equal(y[:first], x[:first]) and np.array_equal(y[end:], x[end:])
    assert np.array_equal(reverse(y, window, first), x)


def test_knee_and_crossing_are_found():
    windows = np.array([0.0, *reversal.WINDOWS])
    error = 0.1 + 0.1 * np.maximum(np.log(np.maximum(windows, 5) / 40), 0)
    assert reversal.knee(windows, error) == pytest.approx(40, rel=0.02)
    curve = np.log(np.maximum(windows, 5))
    assert reversal.reaches(windows, curve, np.log(60)) == pytest.approx(60)
    assert reversal.reaches(windows, -curve, -np.log(60)) == pytest.approx(60)
    assert reversal.reaches(windows, curve, 9.0) == np.inf


@pytest.mark.parametrize("rt60", [0.3, 1.0])
def test_room_has_energy_1_and_falls_by_60_db(rt60):
    make = reverberation
    h = make.room(rt60, 5)
    assert (h**2).sum() == pytest.approx(1)
    assert h[0] ** 2 == pytest.approx(0.5)
    tenths = [10 * np.log10(np.mean(part**2)) for part in np.array_split(h[1:], 10)]
    assert tenths[-1] - tenths[0] == pytest.approx(-54, abs=1.5)


def test_direct_sound_keeps_its_place():
    make = reverberation
    x = np.zeros(4000)
    x[3000] = 1
    h = make.room(0.1)
    forward, back = (make.reverberate(x, h, reverse) for reverse in (False, True))
    assert np.abs(forward).argmax() == np.abs(back).argmax() == 3000
    assert np.allclose(forward[3000:], h[:1000], atol=1e-6)
    assert np.allclose(back[:3001][::-1][: len(h)], h, atol=1e-6)


def test_signed_moves_without_width():
    moves = common.leaky_moves
    track = np.array([[0.0], [2], [1], [1]])
    rise, fall = moves(track, 10 / np.log(2))  # forgets half in a frame
    assert np.allclose(rise[:, 0], [0, 2, 1, 0.5])
    assert np.allclose(fall[:, 0], [0, 0, 1, 0.5])


def test_errors_by_speaker_are_those_of_abx():
    rng = np.random.default_rng(1)
    items, features = [], {}
    for speaker in ("ann", "bob"):
        features[speaker] = rng.standard_normal((60, 4)).astype(np.float32)
        for i in range(12):
            times = str(i * 5 / 100), str((i * 5 + 4) / 100)
            items.append(Item(speaker, *times, "abc"[i % 3], "x", "y", speaker))
    corpus = common.Corpus({}, items)
    alone = common.per_speaker(corpus, features)
    tokens = abx.select_tokens([i for i in items if i.speaker == "bob"], features, 100)
    task = abx.Task()
    expected = abx.abx_scores(tokens, [task])[task].error
    assert alone[0, 1] == alone[1, 1] == pytest.approx(expected, abs=1e-12)
    # X equal to the originals: the crossed task is the plain one
    assert np.allclose(common.per_speaker(corpus, features, dict(features)), alone, atol=1e-6)


def test_quick_run_without_a_corpus_says_what_it_skipped(tmp_path, monkeypatch):
    monkeypatch.delenv("TIMIT_ROOT", raising=False)
    run.main(["--quick", "--out", str(tmp_path)])
    report = Path(tmp_path, "report.md").read_text("utf-8")
    assert report.count("Skipped: no TIMIT folder was given") == 2
    assert "figures mean nothing" in report
    assert "matched half-life ratio" in report and "nan" not in report
    assert (tmp_path / "ramped.png").stat().st_size > 10000
