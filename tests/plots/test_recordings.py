"""Pictures of recordings and feature files, by the command and by `plot`."""

import json
import re
import shutil
from itertools import pairwise

import numpy as np
import pytest
from helpers import ROOT, called, contents, run_cli, sine, tone
from matplotlib.image import imread

import speechasym
from speechasym.feature_extraction.features_json import INDEX
from speechasym.plots.recordings import plot


def size(panels: int, waveform: bool) -> tuple[int, int, int]:
    """Size of a picture without caption in pixels: 8 inches wide at 150 pixels per inch."""
    inches = 1 + 1.75 * (panels - 0.4 * waveform)
    return int(inches * 150), 1200, 4


def colours(path) -> int:
    rgb = imread(path)[::3, ::3, :3] * 255
    return len(np.unique(np.rint(rgb) @ [65536, 256, 1]))


@pytest.mark.parametrize(
    ("what", "height"),
    [
        ("waveform", size(1, True)),
        ("phase,waveform", size(2, True)),
        (" frequency , phase ", size(2, False)),
    ],
)
def test_picture_of_a_recording(tmp_path, capsys, what, height):
    path, picture = tone(tmp_path / "x.wav", rate=8000), tmp_path / "deep" / "x.png"
    arguments = ["plot", path, "--out", picture, "--what", what, "--no-caption"]
    assert called(capsys, *arguments) == (0, f"{picture}\n", "")
    assert imread(picture).shape == height
    assert colours(picture) > (10 if what == "waveform" else 100)
    assert contents(tmp_path).keys() == {"x.wav", "deep/x.png", "deep/.speechasym.json"}


def test_picture_of_features(tmp_path, capsys):
    tone(tmp_path / "in" / "a" / "x.wav")
    out, picture = tmp_path / "out", tmp_path / "x.png"
    speechasym.extract(tmp_path / "in", out, tracks=("level", "frequency"))
    assert called(capsys, "plot", out / "a" / "x.npy", "--out", picture, "--no-caption")[0] == 0
    assert imread(picture).shape == size(2, False)
    code, _, err = called(capsys, "plot", out / "a" / "x.npy", "--out", picture, "--what=phase")
    assert code == 2
    assert "has no data for phase; it has gammatone, frequency. Extract with" in err


@pytest.mark.parametrize("ending", ["png", "PDF", "svg"])
def test_picture_formats(tmp_path, capsys, ending):
    path, picture = tone(tmp_path / "x.wav"), tmp_path / f"x.{ending}"
    assert called(capsys, "plot", path, "--out", picture, "--what=gammatone")[0] == 0
    begin = {"png": b"\x89PNG", "PDF": b"%PDF", "svg": b"<?xml"}[ending]
    assert picture.read_bytes().startswith(begin)


def test_picture_by_the_command_in_a_process_of_its_own(tmp_path):
    picture = tmp_path / "x.png"
    done = run_cli("plot", ROOT / "data" / "cards-001.wav", "--out", picture, "--no-caption")
    assert done == (0, f"{picture}\n", "")
    assert imread(picture).shape == size(4, True)


@pytest.mark.parametrize(
    ("samples", "rate"),
    [(1, 16000), (3000, 11025), (1920, 192000)],
)
def test_picture_of_odd_lengths_and_rates(tmp_path, samples, rate):
    path = tone(tmp_path / "x.wav", np.full(samples, 0.25), rate)
    plot(path, tmp_path / "x.png", ("waveform", "frequency"), caption=False)
    assert imread(tmp_path / "x.png").shape == size(2, True)


def test_picture_of_silence(tmp_path):
    path = tone(tmp_path / "x.wav", np.zeros(800))
    plot(path, tmp_path / "x.png", ("waveform", "gammatone"), caption=False)
    assert imread(tmp_path / "x.png").shape == size(2, True)


def test_picture_of_a_stretch(tmp_path, capsys):
    """Of a second of silence and a tone after it, the first is empty and the second is not."""
    x = np.concatenate([np.zeros(16000), sine(0.5)])
    path = tone(tmp_path / "x.wav", x, subtype="FLOAT")
    seen = []
    for start in (0, 1):
        arguments = ["--what=waveform", "--start", start, "--duration", 0.5]
        assert called(capsys, "plot", path, "--out", tmp_path / "x.png", *arguments)[0] == 0
        seen.append((imread(tmp_path / "x.png")[..., :3] < 0.5).mean())
    assert seen[1] > 3 * seen[0]


@pytest.mark.parametrize("name", ["a $x^$ b.wav", r"$\nothing$.wav", "[i].wav", "übung.wav"])
def test_picture_of_any_name(tmp_path, name):
    plot(tone(tmp_path / name), tmp_path / "x.png", ("waveform",), caption=False)
    assert imread(tmp_path / "x.png").shape == size(1, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["x.wav", "--what=cochleagram"], "what: 'cochleagram' is not known. Use any of wave"),
        (["x.wav", "--what=waveform,colour"], "what: 'waveform,colour' is not known"),
        (["x.wav", "--what=,"], "what: '' is not known"),
        (["x.wav", "--start=-1"], "start must be >= 0 and duration > 0, got -1.0 s"),
        (["x.wav", "--start=.nan"], "start"),
        (["x.wav", "--start=.inf"], "start"),
        (["x.wav", "--duration=0"], "start, duration: .*, got 0.0 s and 0.0 s"),
        (["x.wav", "--start=9"], "x.wav: ends after 0.300 s, before 9 s. Choose an earlier"),
        (["x.wav", "--channel=1"], "channel '1': .*x.wav has 1 channel"),
        (["out/x.npy", "--start=9"], "x.npy: ends before 9 s"),
        (["none.wav"], "none.wav: no such file"),
        (["none.npy"], "none.npy: no such file"),
        (["lost/x.npy"], "x.npy: there is no features.json beside or above it"),
        (["mfcc/x.npy"], r"x.npy: shape \(30, 64\) does not match"),
        (["out/x.npy", "--what=power"], "x.npy: has no data for power; it has gammatone"),
        (["out/folder.npy"], "folder.npy: there is no features.json in it"),
        (["out"], "must be one figure of a run"),
        (["empty/x.npy"], "x.npy: cannot be read"),
        (["text/x.npy"], "x.npy: cannot be read"),
        (["wrong/x.npy"], r"x.npy: shape \(3, 5\) does not match"),
        (["wrong/y.npy"], "y.npy: is not listed in .*features.json"),
        (["broken/x.npy"], "features.json: does not describe features"),
        (["x.csv"], "x.csv: there is no features.json .* wrote: .npy, .csv, .parquet, .h5, .Matr"),
        (["x.txt"], "x.txt: unknown audio format"),
        (
            ["x.wav", "--what=level"],
            "Use any of waveform,gammatone,frequency,phase,spectrogram,.* or one of lev",
        ),
        (["x.wav", "--what=levels,waveform"], "is a whole figure and cannot be combined, got lev"),
        (["x.wav", "--what=summary,levels"], "what: summary is a whole figure"),
        (["x.wav", "--what=levels", "--start=9"], "x.wav: ends after 0.300 s, before 9 s"),
        (["x.wav", "--what=levels", "--channel=1"], r"Use mean, or a number from 0 to 0\.$"),
        (
            ["x.wav", "--what=hysteresis", "--channel=9"],
            "0 to 0; a filterbank channel is chosen by",
        ),
        (
            ["x.wav", "--what=hysteresis", "--at=9"],
            "at: 9 Hz is outside the filterbank, 50 to 7600",
        ),
        (["x.wav", "--what=levels", "--tiers=none.PHN"], "none.PHN: cannot be read"),
        (["x.wav", "--what=summary", "--tiers=x.PHN"], "tiers: are drawn over time, which is not"),
        (
            ["out/x.npy", "--what=levels"],
            "levels is drawn from samples, and this is a feature file",
        ),
    ],
)
def test_what_cannot_be_drawn(drawable, tmp_path, capsys, arguments, says):
    file, *options = arguments
    code, out, err = called(capsys, "plot", drawable / file, "--out", tmp_path / "p.png", *options)
    assert (code, out) == (2, "")
    assert re.search(says, err), err
    assert not contents(tmp_path)


@pytest.fixture(scope="module")
def drawable(tmp_path_factory):
    """Things that can be drawn and things that cannot."""
    folder = tmp_path_factory.mktemp("drawable")
    speechasym.extract(tone(folder / "x.wav"), folder / "out")
    for other in ("lost", "mfcc", "broken", "empty", "text", "wrong"):
        shutil.copytree(folder / "out", folder / other)
    (folder / "lost" / INDEX).unlink()
    (folder / "broken" / INDEX).write_text("{")
    head = json.loads((folder / "mfcc" / INDEX).read_text())
    (folder / "mfcc" / INDEX).write_text(json.dumps(head | {"config": {"features": "mfcc"}}))
    (folder / "out" / "folder.npy").mkdir()
    (folder / "empty" / "x.npy").write_bytes(b"")
    (folder / "text" / "x.npy").write_text("no numbers")
    for name in ("x", "y"):
        np.save(folder / "wrong" / f"{name}.npy", np.zeros((3, 5)))
    (folder / "x.csv").write_text("time,level\n0,1\n")
    (folder / "x.txt").write_text("this is no sound")
    return folder


def test_picture_that_cannot_be_written(tmp_path, capsys):
    path = tone(tmp_path / "x.wav")
    for name in ("x.gif", "x", "x.npy"):
        code, _, err = called(capsys, "plot", path, "--out", tmp_path / name)
        assert code == 2 and "End it in .png, .pdf or .svg" in err
    (tmp_path / "file").touch()
    for name in ("file/x.png", "file/a/b/x.png", f"{'x' * 251}.png", "/proc/none/a/b/x.png"):
        code, _, err = called(capsys, "plot", path, "--out", tmp_path / name, "--what=waveform")
        assert code == 2 and f"{name}: cannot be written (" in err
    assert contents(tmp_path).keys() == {"x.wav", "file"}


def test_damaged_recording_is_drawn_with_a_warning(tmp_path, capsys, caplog):
    noise = np.random.default_rng(4).integers(-(2**15), 2**15, 9000).astype("<i2").tobytes()
    path = tone(tmp_path / "x.wav", np.frombuffer(noise.replace(b"\r", b"\n"), "<i2"))
    assert called(capsys, "plot", path, "--out", tmp_path / "x.png", "--what=waveform")[0] == 0
    assert "damaged by a copy in text mode" in caplog.text


def test_text_shrinks_with_a_figure_smaller_than_its_panels_need(tmp_path):
    """So that labels of rows that lie above one another do not meet."""
    path = tone(tmp_path / "x.wav", rate=8000)
    figures = [speechasym.plot(path, what="levels", size=size) for size in (None, (9, 6))]
    usual, small = ([a.yaxis.label for a in f.axes if a.get_ylabel()] for f in figures)
    assert small[0].get_fontsize() == pytest.approx(0.6 * usual[0].get_fontsize())
    first = sorted((label.get_window_extent() for label in small[:5]), key=lambda box: box.y0)
    assert all(above.y0 >= below.y1 for below, above in pairwise(first))
    ticks = figures[1].axes[1].xaxis.get_major_ticks()[0].label1
    assert ticks.get_fontsize() == pytest.approx(6)
    chosen = speechasym.plot(path, what="levels", size=(9, 6), font_size=8)
    assert chosen.axes[1].yaxis.label.get_fontsize() == 8
