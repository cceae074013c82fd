"""Texts that do not fit a recording, or a part of it, are named; right ones are not."""

import csv
import json

import numpy as np
import pytest
from helpers import ROOT, called

from speechasym.recognition.text_fit import TextFit, joined, text_fit

STEP = 0.03


def posteriors(read: np.ndarray, steps_each: int = 4) -> np.ndarray:
    """log p in which symbols (L,) are certain for two of their steps, blanks in between."""
    path = np.zeros((len(read), steps_each), int)
    path[:, 1:3] = read[:, None]
    p = np.full((path.size, 40), 0.01 / 39)
    p[np.arange(path.size), path.ravel()] = 0.99
    return np.log(p).astype(np.float32)


@pytest.mark.parametrize("wrong", [slice(0), slice(50, 75), slice(0, 100)])
def test_a_part_that_is_something_else(wrong):
    rng = np.random.default_rng(0)
    said = rng.integers(1, 40, 100)
    text = said.copy()
    text[wrong] = 1 + (said[wrong] + 5) % 39
    spans = [(4 * n + 1, 4 * n + 3) for n in range(100)]
    seconds = 400 * STEP
    fit = text_fit(posteriors(said), spans, text, seconds)
    start, stop = wrong.start or 0, wrong.stop
    if start == stop:
        assert fit == (0.0, [], seconds) and fit.warning("x") == ""
        return
    ((a, b),) = fit.stretches
    assert abs(a - 4 * STEP * start) < 0.2 and abs(b - 4 * STEP * stop) < 0.2
    place = "" if stop - start == 100 else f" from {a:.1f} to {b:.1f} s"
    assert fit.warning("x.wav") == f"x.wav: the text does not fit what is said{place}"


def test_what_the_text_lacks():
    """Only 60 of 100 symbols are in the text; the others are read within a pause of it."""
    said = np.random.default_rng(1).integers(1, 40, 100)
    spans = [(4 * n + 1, 4 * n + 3) for n in (*range(30), *range(70, 100))]
    fit = text_fit(posteriors(said), spans, np.r_[said[:30], said[70:]], 12.0)
    ((a, b),) = fit.stretches
    assert abs(a - 3.6) < 0.2 and abs(b - 8.4) < 0.2


def test_parts_of_a_recording():
    first = TextFit(3.0, [(1.0, 2.0)], 10.0)
    fit = joined([first, first.later(10.0)], 20.0)
    assert fit == (3.0, [(1.0, 2.0), (11.0, 12.0)], 20.0) and joined([], 1.0) is None
    many = first._replace(stretches=[(2.0 * n, 2 * n + 1.0) for n in range(5)], seconds=20.0)
    assert many.warning("a").endswith(
        "from 0.0 to 1.0 s, from 2.0 to 3.0 s, from 4.0 to 5.0 s, and in 2 more places"
    )


def test_the_package_s_model(tmp_path, capsys):
    """One recording and a folder: right texts, that of another sentence, and half of it."""
    right = "he was not an ill disposed young man"
    other = "and saw the rest of the company leave them"
    sound = ROOT / "data" / "librivox-austen-0880.flac"
    code, _, err = called(capsys, "align", sound, right, "--out", tmp_path / "one")
    assert code == 0 and "does not fit" not in err
    call = ("align", sound, other, "--out", tmp_path / "other", "--format", "json,csv")
    code, _, err = called(capsys, *call)
    assert code == 0 and f"{sound}: the text does not fit what is said\n" in err
    table = json.loads((tmp_path / "other" / "librivox-austen-0880.json").read_text())
    assert table["misfit"] > 2.5 and table["score"] < -1
    own = tmp_path / "own"
    own.mkdir()
    for name, text in (("a", right), ("b", other)):
        (own / f"{name}.flac").write_bytes(sound.read_bytes())
        (own / f"{name}.txt").write_text(text)
    for _ in range(2):  # from the log the second time
        code, _, err = called(capsys, "align", own, "--out", tmp_path / "out")
        assert code == 0 and "b: the text does not fit what is said" in err and "a: " not in err
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(report["warned"]) == {"b"} and report["misfits"]["a"] < 2.5
    rows = list(csv.DictReader((tmp_path / "out" / "scores.csv").read_text().splitlines()))
    assert [(row["Name"], bool(row["Warning"])) for row in rows] == [("a", False), ("b", True)]
    assert float(rows[1]["Misfit"]) == table["misfit"]
