"""The command: its help, options and exit codes."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from helpers import called, contents, environment, run_cli, run_python, sine, tone

import speechasym
from speechasym.cli import doctor
from speechasym.cli.main import main
from speechasym.feature_extraction.features_json import INDEX

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


def test_the_command_alone_prints_help(capsys):
    code, out, err = called(capsys)
    assert (code, err) == (0, "") and "transcribe" in out and "First steps" in out


def test_version(capsys):
    assert called(capsys, "--version")[:2] == (0, f"speechasym {speechasym.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
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


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "ascii:surrogateescape", "utf-8"])
def test_characters_that_the_terminal_lacks_are_escaped(tmp_path, encoding):
    transcript = tmp_path / "t.txt"
    transcript.write_text("u1 ʃ p p\nu2 ʃ p\n", "utf-8")
    env = environment() | {"PYTHONIOENCODING": encoding}
    command = ("-m", "speechasym", "score", "per", transcript, transcript, "--confusions", "1")
    done = run_python(*command, env=env)
    assert done.code == 0
    assert ("ʃ" if encoding == "utf-8" else r"\u0283") in done.out
    assert re.search("^(p|ʃ|.u0283) ", done.out, re.M)
    command = ("-m", "speechasym", "extract", tmp_path / "ʃ.wav", "--out", tmp_path / "o")
    done = run_python(*command, env=env)
    assert done.code == 1 and ("ʃ" if encoding == "utf-8" else r"\u0283") in done.err


def test_a_handler_that_the_user_chose_stays(tmp_path):
    transcript = tmp_path / "t.txt"
    transcript.write_text("u1 ʃ\n", "utf-8")
    env = environment() | {"PYTHONIOENCODING": "ascii:replace"}
    command = ("-m", "speechasym", "score", "per", transcript, transcript, "--confusions", "1")
    assert "\n? " in run_python(*command, env=env).out


@pytest.mark.parametrize(
    "arguments", [["extract", "--print-config"], ["score", "per", "t.txt", "t.txt"]]
)
def test_a_closed_pipe_ends_quietly(tmp_path, arguments):
    (tmp_path / "t.txt").write_text("u1 a\n")
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "speechasym", *arguments]
    done = subprocess.run(
        command, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment(), cwd=tmp_path
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


# --- extract ------------------------------------------------------------------------------------


def test_options_reach_the_features(tmp_path, capsys):
    path, out = tone(tmp_path / "x.wav", np.stack([sine(), 0 * sine()], 1)), tmp_path / "out"
    code, said, err = called(
        capsys, "extract", path, "--out", out, "--tracks", "frequency, level", "--rate", 50,
        "--sample-rate", 8000, "--channel", 1, "--channels", 5, "--low-hz", 100,
        "--high-hz", 3000, "--align",
    )  # fmt: skip
    assert code == 0 and err.splitlines()[-1].startswith("extract: 100%")
    assert said == f"1 recording -> {out}\n1 recording had several channels: used 1 (--channel)\n"
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


ENDING = """
import atexit, sys
from speechasym.cli import main
class Module:
    def __del__(self):
        print("torn down")
sys.modules["x"] = Module()
atexit.register(print, "at exit")
main.main = lambda: print("done") or 1
main.command()
"""


def test_the_interpreter_is_not_torn_down_at_the_end():
    done = run_python("-c", ENDING)
    assert (done.code, done.out) == (1, "done\nat exit\n")
