"""Many recordings -> one folder: which ones, what is written, and that interrupted runs resume."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT, contents, environment, leftovers, run_cli, sine, tone

import speechasym
from speechasym.audio import reading
from speechasym.auditory import filterbank
from speechasym.config import to_dict
from speechasym.feature_extraction.extraction import find
from speechasym.feature_extraction.features_json import INDEX, JOURNAL
from speechasym.feature_extraction.sets import feature_config, features

NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 16000).astype(np.float32)
DATA = ROOT / "data"


def index(out: Path) -> dict:
    return json.loads((out / INDEX).read_text("utf-8"))


# --- which recordings ---------------------------------------------------------------------------


def test_tree_of_the_input_is_kept(tmp_path):
    inputs, out = tmp_path / "in", tmp_path / "out"
    for name in ("b.wav", "one/b.flac", "one/two/c.d.WAV", "Ünï cödé/ä.aiff"):
        path = tone(inputs / Path(name).with_suffix(Path(name).suffix.lower()))
        path.rename(inputs / name)
    result = speechasym.extract(inputs, out)
    assert result.written == ["b", "one/b", "one/two/c.d", "Ünï cödé/ä"]
    assert contents(out).keys() == {INDEX, *(f"{stem}.npy" for stem in result.written)}
    assert list(index(out)["recordings"]) == result.written
    assert index(out)["recordings"]["one/b"]["source"] == str(inputs / "one" / "b.flac")


def test_other_files_are_skipped(tmp_path):
    inputs = tmp_path / "in"
    fine = tone(inputs / "x.wav")
    for name in ("._x.wav", ".hidden.wav", "x.txt", "x.wav.bak", "x.npy", "wav"):
        shutil.copy(fine, inputs / name)
    (inputs / "folder.wav").mkdir()
    shutil.copy(fine, inputs / "folder.wav" / "y.wav")
    assert find(inputs) == {"x": fine, "folder.wav/y": inputs / "folder.wav" / "y.wav"}


def test_files_folders_and_globs_together(tmp_path):
    for name in ("a/1.wav", "a/2.wav", "a/2.txt", "b/3.wav", "b/deep/4.wav", "5.wav"):
        tone(tmp_path / name) if name.endswith("wav") else (tmp_path / name).touch()
    given = [tmp_path / "a" / "*.wav", tmp_path / "b", tmp_path / "5.wav", tmp_path / "a" / "1.wav"]
    assert list(find(given)) == ["1", "2", "3", "deep/4", "5"]
    assert list(find(str(tmp_path / "**" / "[34].wav"))) == ["b/3", "b/deep/4"]
    odd = tone(tmp_path / "x[12]*.wav")
    assert find(odd) == {"x[12]*": odd}  # a file of this name is not a pattern


def test_a_recording_given_twice_is_one(tmp_path):
    path = tone(tmp_path / "x.wav")
    (tmp_path / "link.wav").symlink_to(path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.wav").symlink_to(path)
    assert find([path, tmp_path / "x.*", tmp_path / "in" / "x.wav"]) == {"x": path}


@pytest.mark.parametrize("names", [("a.wav", "a.flac"), ("in/a.wav", "a.wav")])
def test_two_recordings_for_one_output(tmp_path, names):
    first, second = (tone(tmp_path / name) for name in names)
    inputs = [first, second] if "in" in names[0] else tmp_path
    with pytest.raises(speechasym.ConfigError, match=r"same name, a, as .* Rename one") as caught:
        speechasym.extract(inputs, tmp_path / "out")
    assert str(first) in str(caught.value) and str(second) in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ([], "inputs: no recordings given"),
        ("empty", "empty: no audio files in this folder"),
        ("*.mp3", r"\*\.mp3: nothing matches this pattern"),
        (["x.wav", "empty"], "empty: no audio files in this folder"),
    ],
)
def test_nothing_to_extract(tmp_path, monkeypatch, inputs, says):
    monkeypatch.chdir(tmp_path)
    tone(Path("x.wav"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(speechasym.ConfigError, match=says):
        speechasym.extract(inputs, "out")
    assert not Path("out").exists()


def test_name_too_long_and_name_that_is_not_utf8(tmp_path):
    out = tmp_path / "out"
    long = "x" * 300
    assert "File name too long" in speechasym.extract(f"{long}.wav", out).failed[long]
    path = tone(tmp_path / "x.wav")
    try:
        path = path.rename(tmp_path / os.fsdecode(b"caf\xe9.wav"))
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert speechasym.extract(path, out).written == [path.stem]
    assert list(index(out)["recordings"]) == [path.stem]
    assert speechasym.extract(path, out).kept == [path.stem]


# --- what is written ----------------------------------------------------------------------------

OPTIONS = {
    "gammatone": {"tracks": ("phase", "level", "frequency"), "channels": 7, "low_hz": 80.0},
    "logmel": {"features": "logmel"},
    "mfcc": {"features": "mfcc"},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_columns_match_the_matrix(tmp_path, name):
    path, out = tone(tmp_path / "x.wav", NOISE, subtype="FLOAT"), tmp_path / "out"
    speechasym.extract(path, out, **OPTIONS[name])
    head = index(out)
    written = np.load(out / "x.npy")
    assert written.dtype == np.float32 and written.shape == (100, len(head["columns"]))
    assert written.flags.c_contiguous and np.isfinite(written).all()
    np.testing.assert_array_equal(written, features(path, **OPTIONS[name]))
    record = head["recordings"]["x"]
    assert (record["frames"], record["seconds"], record["source_channels"]) == (100, 1.0, 1)
    names = [column["name"] for column in head["columns"]]
    assert len(set(names)) == len(names)
    units = [column["unit"] for column in head["columns"]]
    if name == "gammatone":
        assert units == ["dB"] * 7 + ["ERB"] * 7 + ["cycle"] * 7
        centres = [column["centre_hz"] for column in head["columns"]]
        assert centres[:7] == centres[7:14] == centres[14:] == sorted(centres[:7])
        assert centres[0] == 80.0 and centres[6] == 7600.0
        assert names[0] == "level_00" and names[20] == "phase_06"
        level, frequency, phase = np.split(written, 3, 1)
        assert level.min() > -60 and level.max() < 0
        assert np.abs(phase).max() <= 0.5 and np.abs(frequency).max() < 20
    elif name == "logmel":
        assert units == ["dB"] * 80
    else:
        assert units == ["dB"] * 13 + ["dB/frame"] * 13 + ["dB/frame^2"] * 13


def test_level_peaks_in_the_channel_of_a_sine(tmp_path):
    path, out = tone(tmp_path / "x.wav", sine(0.5, hertz=1000.0)), tmp_path / "out"
    speechasym.extract(path, out)
    loudest = index(out)["columns"][int(np.load(out / "x.npy")[25].argmax())]
    assert loudest["centre_hz"] == pytest.approx(1000, rel=0.05)
    assert np.load(out / "x.npy")[25].max() == pytest.approx(-6.0, abs=0.5)  # amplitude 0.5


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("samples", [1, 79, 80, 159, 160, 239, 240, 241, 399, 400])
def test_frames_are_the_length_rounded_half_up(name, samples):
    wanted = max(1, int(samples / 160 + 0.5))
    got = features(NOISE[:samples], 16000, **OPTIONS[name])
    assert got.shape == (wanted, len(feature_config(**OPTIONS[name]).columns()))
    assert np.isfinite(got).all()
    assert filterbank.frame_count(samples, 160) == wanted


@pytest.mark.parametrize("name", [*OPTIONS, "aligned"])
@pytest.mark.parametrize("size", [1, 37, 160, 4000, 5000])
def test_blockwise_equals_whole(name, size):
    options = OPTIONS.get(name, OPTIONS["gammatone"] | {"align": True})
    config = feature_config(**options)
    x = NOISE[: 400 if size == 1 else 5000]
    parts = list(config.frames(x[i : i + size] for i in range(0, len(x), size)))
    whole = features(x, 16000, **options)
    if name in ("logmel", "mfcc"):  # their transforms may sum in another order
        np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-3)
    else:
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_file_is_resampled_to_the_rate_asked_for(tmp_path):
    path = tone(tmp_path / "x.wav", sine(0.5, 44100, 1000.0), 44100)
    own = features(path, tracks=("level", "frequency"))
    x, _ = speechasym.load(path, 16000)
    np.testing.assert_array_equal(features(x, 16000, tracks=("level", "frequency")), own)
    assert features(path, sample_rate=8000).shape == (50, 64)


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (np.zeros((3, 100)), r"shape \(3, 100\)"),
        (np.zeros(0), r"shape \(0,\)"),
        (np.zeros(100, int), "floating-point samples, .*got int64.* x / 32768"),
        (np.array([0.0, 1.0, np.nan]), "sample 2 is nan"),
    ],
)
def test_samples_that_cannot_be_used(x, says):
    with pytest.raises(speechasym.ConfigError, match=says):
        features(x, 16000)
    with pytest.raises(speechasym.ConfigError, match="is required with samples"):
        features(x)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"features": "plp"}, "features"),
        ({"tracks": "level"}, "tracks"),
        ({"tracks": ()}, "tracks"),
        ({"tracks": ("level", "level")}, "tracks"),
        ({"tracks": ("loudness",)}, "tracks"),
        ({"rate": 0}, "rate"),
        ({"rate": -100}, "rate"),
        ({"rate": 1e-9}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"rate": float("inf")}, "rate"),
        ({"rate": 32000}, "rate"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"sample_rate": float("nan")}, "sample_rate"),
        ({"channels": 0}, "channels"),
        ({"channel": "left"}, "channel"),
        ({"channel": -1}, "channel"),
        ({"low_hz": 0}, "low_hz"),
        ({"low_hz": float("nan")}, "low_hz"),
        ({"features": "mfcc", "channels": 32}, "channels"),
        ({"high_hz": 8001}, "high_hz"),
        ({"high_hz": 49}, "high_hz"),
        ({"workers": 0}, "workers"),
    ],
)
def test_options_out_of_range(tmp_path, options, name):
    with pytest.raises(speechasym.ConfigError, match=f"^{name}: ") as caught:
        speechasym.extract(tone(tmp_path / "x.wav"), tmp_path / "out", **options)
    assert isinstance(caught.value, ValueError)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [{"tracks": ("phase",)}, {"channels": 32}, {"align": True}])
@pytest.mark.parametrize("kind", ["logmel", "mfcc"])
def test_options_of_another_feature_set_are_not_swallowed(kind, options):
    with pytest.raises(
        speechasym.ConfigError, match=rf"is an option of .*gammatone.* features, not of {kind}"
    ):
        feature_config(features=kind, **options)


# --- runs ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Short recordings, and a long one that comes last: time to interrupt a run."""
    folder = tmp_path_factory.mktemp("corpus")
    for i in range(6):
        tone(folder / "a" / f"{i}.wav", NOISE[: 2000 * (i + 1)])
    tone(folder / "a" / "stereo.wav", np.stack([NOISE, NOISE], 1))
    tone(folder / "z.wav", np.tile(NOISE, 300))
    return folder


@pytest.fixture(scope="module")
def uninterrupted(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    result = speechasym.extract(corpus, out)
    assert (len(result.written), result.multichannel, result.kept) == (8, ["a/stereo"], [])
    return contents(out)


def begin_and_interrupt(
    corpus: Path, out: Path, how: signal.Signals, workers: int, made: int
) -> str:
    """Run the command, and end it when `made` recordings are done, or the first is begun."""
    command = [sys.executable, "-m", "speechasym", "extract", corpus, "--out", out]
    command += ["--workers", str(workers)]
    for _ in range(5):  # should the run end before this machine looks
        shutil.rmtree(out, ignore_errors=True)
        with subprocess.Popen(
            command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
            # a shell's background job hands on that it ignores Ctrl-C, which a terminal's does not
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        ) as run:  # fmt: skip
            while (
                not (out / JOURNAL).exists() or len(list(out.rglob("*.npy"))) < made
            ) and run.poll() is None:
                time.sleep(0.002)
            if how == signal.SIGINT:
                os.killpg(run.pid, how)  # as a terminal does
            else:
                run.send_signal(how)
            _, stderr = run.communicate(timeout=30)  # returns when no worker is left either
        noted = (out / JOURNAL).read_text().count("\n") - 1 if (out / JOURNAL).exists() else 8
        if noted < 8:
            assert not (out / INDEX).exists()
            assert run.returncode == (130 if how == signal.SIGINT else -how)
            assert "Traceback" not in stderr
            return stderr
    raise AssertionError("the run was never interrupted")


@pytest.mark.parametrize(
    ("how", "workers", "made"),
    [
        (signal.SIGINT, 1, 3),
        (signal.SIGINT, 2, 0),  # while the workers start
        (signal.SIGINT, 2, 3),
        (signal.SIGKILL, 1, 3),
        (signal.SIGKILL, 2, 3),
        (signal.SIGTERM, 2, 3),
    ],
)
def test_interrupted_run_resumes_and_ends_the_same(
    tmp_path, corpus, uninterrupted, how, workers, made
):
    out = tmp_path / "out"
    stderr = begin_and_interrupt(corpus, out, how, workers, made)
    if how == signal.SIGINT:
        assert "speechasym: interrupted; the same command resumes here\n" in stderr
        assert not list(out.rglob("*.part"))
    result = speechasym.extract(corpus, out)
    assert result.written
    assert len(result.kept) + len(result.written) == 8
    assert contents(out) == uninterrupted
    assert result.multichannel == ["a/stereo"]


def test_two_workers_give_the_same_bytes(tmp_path, corpus, uninterrupted):
    out = tmp_path / "out"
    assert len(speechasym.extract(corpus, out, workers=2).written) == 8
    assert contents(out) == uninterrupted


def test_journal_with_an_incomplete_line(tmp_path):
    inputs, out = tmp_path / "in", tmp_path / "out"
    for i in range(4):
        tone(inputs / f"{i}.wav", NOISE[: 1000 * (i + 1)])
    speechasym.extract(inputs, out)
    whole = contents(out)
    head = index(out)
    lines = [json.dumps({k: head[k] for k in ("format", "config", "columns", "versions")})]
    lines += [json.dumps({"stem": s, "record": r}) for s, r in head["recordings"].items()]
    text = "\n".join(lines)
    for end, kept in ((len(text), 4), (len(text) - 9, 3), (len(lines[0]) + 9, 0), (9, 0), (0, 0)):
        (out / INDEX).unlink()
        (out / JOURNAL).write_text(text[:end])
        assert len(speechasym.extract(inputs, out).kept) == kept
        assert contents(out) == whole


def stopped(inputs: Path, out: Path, monkeypatch, **options) -> None:
    """A run that ends at its last recording as if the process had been killed."""
    last = sorted(find(inputs))[-1]
    with monkeypatch.context() as patch:
        real = reading.blocks

        def cut(path, *args):
            if path.stem == last:
                raise KeyboardInterrupt
            return real(path, *args)

        patch.setattr(reading, "blocks", cut)
        with pytest.raises(KeyboardInterrupt):
            speechasym.extract(inputs, out, **options)


def test_two_interruptions_keep_the_work_of_both(tmp_path, monkeypatch):
    for name in "abc":
        tone(tmp_path / "in" / f"{name}.wav")
    inputs, out = tmp_path / "in", tmp_path / "out"
    stopped([inputs / "a.wav", inputs / "b.wav"], out, monkeypatch)
    stopped(inputs, out, monkeypatch)
    assert speechasym.extract(inputs, out).kept == ["a", "b"]


def test_configurations_are_never_mixed(tmp_path, monkeypatch):
    """An interrupted run with --overwrite must not leave its files to the configuration before."""
    for name in "abc":
        tone(tmp_path / "in" / f"{name}.wav")
    inputs, out = tmp_path / "in", tmp_path / "out"
    for first_is_whole in (False, True):
        if first_is_whole:
            speechasym.extract(inputs, out, rate=50, overwrite=True)
        else:
            stopped(inputs, out, monkeypatch, rate=50)
        stopped(inputs, out, monkeypatch, rate=25, overwrite=True)
        assert not (out / INDEX).exists()  # it would describe other files
        with pytest.raises(speechasym.OutputError, match=r"rate 25 -> 50"):
            speechasym.extract(inputs, out, rate=50)
        result = speechasym.extract(inputs, out, rate=25)
        assert (result.kept, result.written) == (["a", "b"], ["c"])
        assert {np.load(out / f"{name}.npy").shape for name in "abc"} == {(8, 64)}


def test_changed_recording_is_done_again(tmp_path):
    a, b, out = tone(tmp_path / "in" / "a.wav"), tone(tmp_path / "in" / "b.wav"), tmp_path / "out"
    speechasym.extract(a.parent, out)
    before = contents(out)
    times = a.stat()
    tone(a, sine(hertz=880))  # of the same length
    os.utime(a, (times.st_atime, times.st_mtime))
    result = speechasym.extract(a.parent, out)
    assert (result.written, result.kept) == (["a"], ["b"])
    np.testing.assert_array_equal(np.load(out / "a.npy"), features(a))
    assert contents(out)["b.npy"] == before["b.npy"] != contents(out)["a.npy"]
    assert index(out)["recordings"]["a"]["sha256"] != index(out)["recordings"]["b"]["sha256"]
    (out / "b.npy").unlink()  # nor is a lost output taken for complete
    assert speechasym.extract(b.parent, out).written == ["b"]


def test_more_recordings_later(tmp_path):
    a, out = tone(tmp_path / "a.wav"), tmp_path / "out"
    speechasym.extract(a, out)
    tone(tmp_path / "b.wav")
    assert speechasym.extract(tmp_path / "b.wav", out).written == ["b"]
    assert list(index(out)["recordings"]) == ["a", "b"]
    both = contents(out)
    shutil.rmtree(out)
    speechasym.extract([tmp_path / "b.wav", a], out)
    assert contents(out) == both  # in whatever order


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_recording_does_not_stop_the_others(tmp_path, workers):
    inputs, out = tmp_path / "in", tmp_path / "out"
    for name in "aced":
        tone(inputs / f"{name}.wav")
    (inputs / "b.wav").write_bytes(b"")
    tone(inputs / "d.wav", np.full(100, np.nan), subtype="FLOAT")
    result = speechasym.extract(inputs, out, workers=workers)
    assert (result.written, list(result.failed)) == (["a", "c", "e"], ["b", "d"])
    assert f"{inputs / 'b.wav'}: an empty file" in result.failed["b"]
    assert "sample 0 (at 0.000000 s) must be finite, got nan" in result.failed["d"]
    assert index(out)["failed"] == result.failed
    assert contents(out).keys() == {INDEX, "a.npy", "c.npy", "e.npy"}
    tone(inputs / "b.wav")  # fixed
    again = speechasym.extract(inputs, out)
    assert (again.written, again.kept, list(again.failed)) == (["b"], ["a", "c", "e"], ["d"])


def test_failures_in_the_messages_of_the_command(tmp_path):
    inputs, out = tmp_path / "in", tmp_path / "out"
    tone(inputs / "fine.wav")
    (inputs / "[bold]bad.wav").write_bytes(b"")
    done = run_cli("extract", inputs, "--out", out, "--workers", 2)
    assert (done.code, done.out) == (1, f"1 recording -> {out}, 1 failed\n")
    assert "extract: 100%" in done.err and "2/2" in done.err
    row = next(row for row in done.err.splitlines() if "empty file" in row)
    assert row == f"speechasym: [bold]bad failed: {index(out)['failed']['[bold]bad']}"


def test_run_where_everything_failed_does_not_fix_the_configuration(tmp_path):
    path, out = tone(tmp_path / "x.wav"), tmp_path / "out"
    assert list(speechasym.extract(path, out, channel=1).failed) == ["x"]
    assert speechasym.extract(path, out, channel=0).written == ["x"]
    assert speechasym.extract(path, out, channel="0").kept == ["x"]  # as on the command line


def test_index_is_the_same_each_time_and_complete(tmp_path):
    path = tone(tmp_path / "x.wav", np.stack([NOISE, -NOISE / 2], 1))
    for out in (tmp_path / "1", tmp_path / "2"):
        assert speechasym.extract(path, out, channel=1, rate=50).multichannel == ["x"]
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    head = index(tmp_path / "1")
    assert head["config"]["rate"] == 50 and head["config"]["channel"] == 1
    assert {"python", "numpy", "numba", "soxr", "speechasym"} <= head["versions"].keys()
    assert head["recordings"]["x"].keys() == {
        "source", "source_channels", "sha256", "seconds", "frames"
    }  # fmt: skip
    assert to_dict(feature_config(**head["config"])) == head["config"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"recordings": {"x": 1}, "config": 3}'])
def test_damaged_index(tmp_path, text):
    path, out = tone(tmp_path / "x.wav"), tmp_path / "out"
    out.mkdir()
    (out / INDEX).write_text(text)
    with pytest.raises(speechasym.OutputError, match="does not describe features"):
        speechasym.extract(path, out)
    assert (out / INDEX).read_text() == text
    assert speechasym.extract(path, out, overwrite=True).written == ["x"]


def test_damaged_recording_is_extracted_and_named(tmp_path):
    noise = np.random.default_rng(4).integers(-(2**15), 2**15, 20000).astype("<i2").tobytes()
    noise = noise.replace(b"\r", b"\n")
    path, out = tone(tmp_path / "x.wav", np.frombuffer(noise, "<i2")), tmp_path / "out"
    result = speechasym.extract(path, out)
    assert result.written == ["x"] and "text mode" in result.warned["x"]
    assert index(out)["recordings"]["x"]["warning"] == result.warned["x"]
    assert speechasym.extract(path, out).warned == result.warned  # kept, and still damaged


def test_real_recordings(tmp_path):
    result = speechasym.extract(DATA, tmp_path / "out", tracks=("level", "frequency"))
    assert len(result.written) == 12 and not result.failed and not result.warned
    for stem, record in index(tmp_path / "out")["recordings"].items():
        matrix = np.load(tmp_path / "out" / f"{stem}.npy")
        assert matrix.shape == (record["frames"], 128)
        assert record["frames"] == max(1, int(record["seconds"] * 100 + 0.5))
        assert -60 < matrix[:, :64].max() < 3
        assert not leftovers(tmp_path)


def test_progress_in_lines_without_a_terminal(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    speechasym.extract(tone(tmp_path / "x.wav"), tmp_path / "out", show_progress=True)
    assert sys.stderr.getvalue().splitlines()[-1].startswith("extract: 100%")
