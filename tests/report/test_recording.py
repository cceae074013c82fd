"""The page of one recording: what is on it, what is saved from it, odd input."""

import base64
import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from helpers import called, tone
from pages import Parsed
from toy import RATE, utterance

from speechasym.annotations.intervals import Interval
from speechasym.annotations.textgrid import read_textgrid, write_textgrid
from speechasym.errors import AnnotationError, AudioError, ConfigError
from speechasym.report.recording import write_recording_report


def saved(parsed: Parsed) -> dict[str, bytes]:
    """Return the files that the page lets one save."""
    links = [a for a in parsed.all("a") if "download" in a]
    return {a["download"]: base64.b64decode(a["href"].split(",", 1)[1]) for a in links}


def page_of(path, out, run, **options) -> Parsed:
    text = write_recording_report(path, out, run=run, **options).read_text("utf-8")
    assert "http://" not in text.replace("http://www.w3.org", "") and "https://" not in text
    return Parsed(text)


def test_page(toy, tmp_path):
    """A part of a recording with tiers of its own: rows, axes, names, times, and what is saved."""
    x, said, _ = utterance(["am", "mass"])
    seconds = len(x) / RATE
    path = tone(tmp_path / "mine.wav", np.concatenate([np.zeros(RATE), x]), RATE)
    grid = tmp_path / "mine.TextGrid"
    rows = [Interval(1 + a, 1 + b, label) for a, b, label in said]
    write_textgrid(grid, {"mine": rows, "empty": []}, 9 + seconds)
    parsed = page_of(
        path, tmp_path / "p.html", toy / "run", start=1.0, command="speechasym report x"
    )
    assert [a["id"] for a in parsed.all("section")] == ["listen", "text", "downloads", "about"]
    # gammatone, Fourier, four scales of three tracks, units of two levels
    assert len(parsed.all("img")) == 2 + 12 + 2 and len(parsed.all("audio")) == 1
    names = [a["class"] for a in parsed.all("div") if "row tier" in a.get("class", "")]
    assert "row tier other alone" in names and "row tier phones alone" in names
    assert len(parsed.all("span", **{"class": "unit-names"})) == 2
    assert len(parsed.all("span", **{"class": "hz"})) == 2 + 12
    assert "This page shows 1 to" in parsed.text and "speechasym report x" in parsed.text
    labels = [a["aria-label"] for a in parsed.all("button")]
    first = rows[0]
    assert f"{first.label}: by hand, {first.start:.2f} to {first.end:.2f} s" in labels
    files = saved(parsed)
    assert files["mine-spectrograms.png"].startswith(b"\x89PNG")
    assert b"<svg" in files["mine-spectrograms.svg"][:2000]
    back = tmp_path / "back.TextGrid"
    back.write_bytes(files["mine-labels.TextGrid"])
    tiers = read_textgrid(back)
    kept = [i for i in tiers["mine"] if i.label]
    assert [i.label for i in kept] == [i.label for i in rows] and "phones recognised" in tiers
    assert np.allclose([i.start for i in kept], [i.start for i in rows], atol=1e-3)
    table = list(csv.DictReader(io.StringIO(files["mine-labels.csv"].decode())))
    assert table and min(float(row["Begin"]) for row in table) >= 1
    phones = [row for row in table if row["Type"] == "phones recognised"]
    assert phones and all(0 < float(row["Confidence"]) <= 1 for row in phones)
    assert {row["Confidence"] for row in table if row["Type"] == "mine"} == {""}
    tiers = json.loads(files["mine-labels.json"])["tiers"]
    assert all(len(entry) == 3 for entry in tiers["mine"]["entries"])
    entries = tiers["phones recognised"]["entries"]
    assert [f"{value:.3f}" for *_, value in entries] == [row["Confidence"] for row in phones]
    arrays = np.load(io.BytesIO(files["mine-arrays.npz"]))
    assert arrays["level_db"].shape == (64, len(arrays["times"]))
    assert arrays["asymmetry"].shape[0] == 4 and "units_0" in arrays


@pytest.mark.parametrize(
    ("samples", "rate"), [(np.zeros(8000), 16000), (np.full(800, 0.1), 16000),
                          (np.random.default_rng(1).normal(0, 0.1, (9000, 2)), 44100)],
)  # fmt: skip
def test_odd_recordings(toy, tmp_path, samples, rate):
    """Silence, a twentieth of a second, stereo at another rate; tiers beyond the end are cut."""
    path = tone(tmp_path / "x.wav", samples, rate)
    tiers = {"words": [Interval(0.01, 0.04, "in"), Interval(7.0, 8.0, "out")]}
    write_textgrid(tmp_path / "x.TextGrid", tiers, 9.0)
    parsed = page_of(path, tmp_path / "x.html", toy / "run")
    assert "what is later is left out" in parsed.text
    hand = [a["aria-label"] for a in parsed.all("button") if "by hand" in a["aria-label"]]
    assert hand == ["in: by hand, 0.01 to 0.04 s"]


def test_bad_input(toy, tmp_path, capsys):
    path, out = tone(tmp_path / "x.wav", np.zeros(16000)), tmp_path / "p.html"
    (tmp_path / "bad.TextGrid").write_text("nothing")
    for error, says, options in (
        (AudioError, "ends after 1.000 s, before 3 s", {"start": 3}),
        (ConfigError, "start must be >= 0", {"start": 0.5, "end": 0.2}),
        (AnnotationError, "bad.TextGrid", {"textgrid": tmp_path / "bad.TextGrid"}),
        (ConfigError, "channel '5'", {"channel": "5"}),
    ):
        with pytest.raises(error, match=says):
            write_recording_report(path, out, run=toy / "run", **options)
    long = tone(tmp_path / "long.wav", np.zeros(130 * 1000), 1000)
    with pytest.raises(ConfigError, match="130 s are too long for a page"):
        write_recording_report(long, out, run=toy / "run", end=200)
    for arguments, says in (
        ([path, "--cuts", "c.jsonl.gz"], "--cuts: applies to the page of a run"),
        ([toy / "run", "--from", "1"], "--from: applies to one recording"),
        ([path, path], "at most one run and one recording"),
        ([tmp_path / "no.wav"], "no.wav: is not the folder of a run"),
    ):
        code, _, err = called(capsys, "report", *arguments, "--out", out)
        assert code == 2 and says in err, err
    assert not out.exists()


def test_a_long_transcription_is_shortened_at_the_top():
    from types import SimpleNamespace

    from speechasym.report.recording import Part, _head

    part = Part(Path("x.wav"), np.zeros(9, np.float32), 0.0, 60.0, 3600.0, 16000)
    page = str(_head(part, SimpleNamespace(text="WORD " * 200), ""))
    assert "WORD \u2026\u201d" in page and page.count("WORD") < 60
    assert "This page shows 0 to 60 s of 60.0 min" in page


def test_command(toy, tmp_path, capsys):
    x, _, _ = utterance(["am"])
    path, out = tone(tmp_path / "x.wav", x, RATE), tmp_path / "x.html"
    assert called(capsys, "report", toy / "run", path, "--out", out)[:2] == (0, f"{out}\n")
    assert "speechasym report" in Parsed(out.read_text("utf-8")).text
