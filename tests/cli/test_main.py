"""The command: its help, options, exit codes, and the pictures of `plot`."""

import json
import os
import re
import shutil
import sys

import numpy as np
import pytest
from helpers import ROOT, called, contents, environment, run_cli, run_python, sine, tone
from matplotlib.image import imread

import speechasym
from speechasym.cli import doctor
from speechasym.cli.main import main
from speechasym.feature_extraction.features_json import INDEX
from speechasym.plots.recordings import plot

PANELS = ("waveform", "gammatone", "frequency", "phase")


# --- the command itself -------------------------------------------------------------------------

HEAVY = "{'torch', 'torchaudio', 'numba', 'librosa', 'matplotlib', 'soundfile'}"


@pytest.mark.parametrize("arguments", [["--help"], ["extract", "--help"], ["--version"]])
def test_help_waits_for_nothing_heavy(arguments):
    code = (
        "import sys; from speechasym.cli.main import main\n"
        f"try: main({arguments})\n"
        f"finally: print(sorted(set(sys.modules) & {HEAVY}), file=sys.stderr)"
    )
    done = run_python("-c", code)
    assert (done.code, done.err) == (0, "[]\n")
    assert "speechasym" in done.out


def test_gammatone_features_need_no_torch_and_no_compiler(tmp_path):
    path, out = tone(tmp_path / "x.wav"), tmp_path / "out"
    speechasym.extract(path, out)  # what this process has compiled, the next one loads
    code = "import sys; from speechasym.cli.main import main; main(); print('torch' in sys.modules)"
    env = environment() | {"NUMBA_DEBUG_CACHE": "1"}
    done = run_python("-c", code, "extract", path, "--out", tmp_path / "again", env=env)
    assert done.out.endswith("False\n")
    assert "[cache] data loaded" in done.out and "[cache] data saved" not in done.out
    assert contents(out) == contents(tmp_path / "again")


@pytest.mark.parametrize("command", ["extract", "plot", "doctor"])
def test_help_names_every_option(capsys, command):
    code, said, _ = called(capsys, command, "--help")
    assert code == 0
    options = {
        "extract": "out features tracks rate sample-rate channel channels low-hz high-hz align "
        "workers overwrite verbose config",
        "plot": "out what start duration channel config",
        "doctor": "help",
    }
    assert all(f"--{option}" in said for option in options[command].split())
    assert "Example" in said or command == "doctor"


def test_version(capsys):
    assert called(capsys, "--version")[:2] == (0, f"speechasym {speechasym.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "COMMAND"),
        (["fly"], "'fly'.*extract.*plot.*doctor"),
        (["extract"], "INPUT.*out"),
        (["extract", "x.wav"], "out"),
        (["extract", "x.wav", "--out", "o", "--rate", "fast"], "rate.*fast"),
        (["extract", "x.wav", "--out", "o", "--features", "plp"], "features.*plp.*logmel"),
        (["extract", "x.wav", "--out", "o", "--colour", "red"], "--colour"),
        (["extract", "x.wav", "--out", "o", "--config", "no.yaml"], "no.yaml"),
        (["plot", "x.wav"], "out"),
        (["doctor", "now"], "now"),
    ],
)
def test_command_line_that_cannot_be(capsys, arguments, says):
    code, out, err = called(capsys, *arguments)
    assert (code, out) == (2, "")
    assert re.search(says, err.partition(": ")[2])


def test_stopped_by_the_user(tmp_path, capsys, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("speechasym.feature_extraction.extraction.extract", stop)
    code, out, err = called(capsys, "extract", tmp_path, "--out", tmp_path / "out")
    assert (code, out) == (130, "")
    assert err == "speechasym: interrupted; the same command resumes here\n"


# --- extract ------------------------------------------------------------------------------------


def test_options_reach_the_features(tmp_path, capsys):
    path, out = tone(tmp_path / "x.wav", np.stack([sine(), 0 * sine()], 1)), tmp_path / "out"
    code, said, err = called(
        capsys, "extract", path, "--out", out, "--tracks", "frequency, level", "--rate", 50,
        "--sample-rate", 8000, "--channel", 1, "--channels", 5, "--low-hz", 100,
        "--high-hz", 3000, "--align",
    )  # fmt: skip
    assert (code, err) == (0, "extract: 100%, 0 s left, 1/1\n")
    assert said == f"1 recording -> {out}\n1 had several channels: used 1 (--channel)\n"
    assert json.loads((out / INDEX).read_text())["config"] == {
        "features": "gammatone", "tracks": ["level", "frequency"], "rate": 50.0,
        "sample_rate": 8000, "channel": 1, "channels": 5, "low_hz": 100.0, "high_hz": 3000.0,
        "align": True, "normalise": "none",
    }  # fmt: skip
    matrix = np.load(out / "x.npy")
    assert matrix.shape == (15, 10) and (matrix[:, :5] == -120).all()


def test_verbose_tells_of_every_recording(tmp_path):
    clipped = np.stack([np.clip(9 * sine(), -1, 1)] * 2, 1)
    path = tone(tmp_path / "x.wav", clipped, subtype="FLOAT")
    done = run_cli("extract", path, "--out", tmp_path / "out", "--verbose")
    assert done.code == 0 and f"{path}: mean of 2 channels\n" in done.err
    assert re.search(rf"{path}: \d+ samples at or above full scale", done.err)


YAML = """
rate: 50
channels: 9
channel: 0
high_hz: null
"""


def test_config_file_and_the_command_line_above_it(tmp_path, capsys):
    path, config = tone(tmp_path / "x.wav"), tmp_path / "my.yaml"
    for tracks in ("tracks: level,frequency", "tracks: [level, frequency]"):
        config.write_text(YAML + tracks)
        out = tmp_path / tracks
        assert called(capsys, "extract", path, "--out", out, "--config", config)[0] == 0
        assert np.load(out / "x.npy").shape == (15, 18)
        assert json.loads((out / INDEX).read_text())["config"]["channel"] == 0
    arguments = ["--config", config, "--rate", 25, "--channels=7", "--high-hz=null"]
    assert called(capsys, "extract", path, "--out", tmp_path / "2", *arguments)[0] == 0
    assert np.load(tmp_path / "2" / "x.npy").shape == (8, 14)


def test_everything_in_the_config_file(tmp_path, capsys):
    path, config = tone(tmp_path / "x.wav"), tmp_path / "my.yaml"
    config.write_text(f"inputs: ['{path}']\nout: '{tmp_path / 'out'}'\n")
    assert called(capsys, "extract", "--config", config)[0] == 0
    assert np.load(tmp_path / "out" / "x.npy").shape == (30, 64)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rate: fast", "my.yaml: rate: must be a float, got 'fast'"),
        ("colour: red", "my.yaml: colour: unknown key"),
        ("rate: .nan", "nan frames per second|rate"),
        ("rate: [", "config"),
    ],
)
def test_config_file_that_cannot_be(tmp_path, capsys, text, says):
    path, config = tone(tmp_path / "x.wav"), tmp_path / "my.yaml"
    config.write_text(text)
    code, out, err = called(capsys, "extract", path, "--out", tmp_path / "o", "--config", config)
    assert (code, out) == (2, "")
    assert re.search(says, err)


# --- plot ---------------------------------------------------------------------------------------


def size(panels: int, waveform: bool) -> tuple[int, int, int]:
    """Of a picture, in pixels: 8 inches wide at 150 a inch."""
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
    arguments = ["plot", path, "--out", picture, "--what", what]
    assert called(capsys, *arguments) == (0, f"{picture}\n", "")
    assert imread(picture).shape == height
    assert colours(picture) > (10 if what == "waveform" else 100)
    assert contents(tmp_path).keys() == {"x.wav", "deep/x.png"}


def test_picture_of_features(tmp_path, capsys):
    tone(tmp_path / "in" / "a" / "x.wav")
    out, picture = tmp_path / "out", tmp_path / "x.png"
    speechasym.extract(tmp_path / "in", out, tracks=("level", "frequency"))
    assert called(capsys, "plot", out / "a" / "x.npy", "--out", picture)[0] == 0
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
    done = run_cli("plot", ROOT / "data" / "cards-001.wav", "--out", picture)
    assert done == (0, f"{picture}\n", "")
    assert imread(picture).shape == size(4, True)


@pytest.mark.parametrize(
    ("samples", "rate"),
    [(1, 16000), (3000, 11025), (1920, 192000)],
)
def test_picture_of_odd_lengths_and_rates(tmp_path, samples, rate):
    path = tone(tmp_path / "x.wav", np.full(samples, 0.25), rate)
    plot(path, tmp_path / "x.png", ("waveform", "frequency"))
    assert imread(tmp_path / "x.png").shape == size(2, True)


def test_picture_of_silence(tmp_path):
    plot(tone(tmp_path / "x.wav", np.zeros(800)), tmp_path / "x.png", ("waveform", "gammatone"))
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
    plot(tone(tmp_path / name), tmp_path / "x.png", ("waveform",))
    assert imread(tmp_path / "x.png").shape == size(1, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["x.wav", "--what=spectrogram"], "--what: unknown figure 'spectrogram'. Use any of wave"),
        (["x.wav", "--what=waveform,colour"], "--what: unknown figure 'waveform,colour'"),
        (["x.wav", "--what=,"], "--what: unknown figure ''"),
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
        (["mfcc/x.npy"], "x.npy: holds mfcc features; only gammatone features can be drawn"),
        (["out/folder.npy"], "folder.npy: cannot be read"),
        (["out/empty.npy"], "empty.npy: cannot be read"),
        (["out/text.npy"], "text.npy: cannot be read"),
        (["out/wrong.npy"], r"wrong.npy: shape \(3, 5\) does not match"),
        (["broken/x.npy"], "x.npy: cannot be read"),
        (["x.txt"], "x.txt: unknown audio format"),
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
    for other in ("lost", "mfcc", "broken"):
        shutil.copytree(folder / "out", folder / other)
    (folder / "lost" / INDEX).unlink()
    (folder / "broken" / INDEX).write_text("{")
    head = json.loads((folder / "mfcc" / INDEX).read_text())
    (folder / "mfcc" / INDEX).write_text(json.dumps(head | {"config": {"features": "mfcc"}}))
    (folder / "out" / "folder.npy").mkdir()
    (folder / "out" / "empty.npy").touch()
    (folder / "out" / "text.npy").write_text("no numbers")
    np.save(folder / "out" / "wrong.npy", np.zeros((3, 5)))
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


# --- doctor -------------------------------------------------------------------------------------


def test_doctor_finds_this_machine_well():
    done = run_cli("doctor")
    assert (done.code, done.err) == (0, "")
    assert re.search(r"All \d+ checks passed", done.out)
    for what in ("Python", "torch and torchaudio", "libsndfile", "cores usable", "compiled"):
        assert what in done.out


def test_doctor_says_what_to_do(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(doctor, "NEEDED", ("numpy", "no-such-package"))
    for slow in ("_pair", "_gpu"):
        monkeypatch.setattr(doctor, slow, lambda: doctor.Check("torch", "not looked at"))
    code, out, _ = called(capsys, "doctor")
    assert code == 1
    assert re.search(r"2 of \d+ checks failed", out)
    rows = {row.what: row for row in doctor.check_installation()}
    assert rows["numpy"].remedy == ""
    assert "pip install no-such-package" in rows["no-such-package"].remedy
    assert "NUMBA_CACHE_DIR" in rows["cache for compiled kernels"].remedy


def test_main_reads_the_command_line(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["speechasym", "--version"])
    assert os.path.basename(sys.argv[0]) == "speechasym"
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    assert speechasym.__version__ in capsys.readouterr().out
