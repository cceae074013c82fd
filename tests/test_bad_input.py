"""Whatever comes in, there is a typed error that names path, reason and remedy, or a defined
result: from `load`, `features`, `extract` and the command, and nothing half-written."""

import ctypes
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile as sf
from helpers import contents, environment, leftovers, run_cli, run_python, sine, tone

import speechasym
from speechasym.feature_extraction.features_json import INDEX, JOURNAL

TRACKS = ("level", "frequency", "phase")
EXTRACT = """
import sys, speechasym
try:
    print(speechasym.extract(sys.argv[1], sys.argv[2]))
except speechasym.SpeechAsymError as error:
    print(type(error).__name__, error)
"""


def check_error(error: speechasym.SpeechAsymError, path: object, says: str) -> None:
    subject, problem, remedy = error.args
    assert str(path) in str(error)
    assert re.search(says, str(error)), error
    assert subject and problem and len(remedy) > 10
    assert str(error).endswith(".") and ".." not in str(error) and "\n" not in str(error)


class File(NamedTuple):
    """A recording, and what the error says or the result is."""

    name: str
    make: Callable[[Path], object]
    says: str = ""  # in the error's text; "": there is none
    result: Callable[[np.ndarray, np.ndarray], None] = lambda x, features: None

    def __call__(self, shared: "Shared", tmp_path: Path) -> None:
        path = shared.inputs / self.name
        (self.fails if self.says else self.goes)(path, path.stem, shared, tmp_path / "out")

    def fails(self, path: Path, stem: str, shared: "Shared", out: Path) -> None:
        for call in (speechasym.load, speechasym.features):
            with pytest.raises(speechasym.AudioError) as caught:
                call(path)
            check_error(caught.value, path, self.says)
        made = speechasym.extract(path, out)
        assert (made.written, list(made.failed)) == ([], [stem])
        assert str(path) in made.failed[stem] and re.search(self.says, made.failed[stem])
        assert contents(out).keys() == {INDEX}
        # the command, on the whole folder
        assert shared.index["failed"][stem] == made.failed[stem]
        assert any(stem in row and made.failed[stem] in row for row in shared.err.splitlines())
        assert not (shared.out / f"{stem}.npy").exists()

    def goes(self, path: Path, stem: str, shared: "Shared", out: Path) -> None:
        x, rate = speechasym.load(path)
        features = speechasym.features(path, tracks=TRACKS)
        assert np.isfinite(features).all() and features.shape[1] == 192 and len(features) >= 1
        assert len(features) == pytest.approx(len(x) / rate * 100, abs=1)
        self.result(x, features)
        assert speechasym.extract(path, out, tracks=TRACKS).written == [stem]
        np.testing.assert_array_equal(np.load(out / f"{stem}.npy"), features)
        np.testing.assert_array_equal(np.load(shared.out / f"{stem}.npy"), features)
        assert stem in shared.index["recordings"] and stem not in shared.index["failed"]


def cut(fraction: float, **options: Any) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        whole = tone(path, sine(2.0), **options).read_bytes()
        path.write_bytes(whole[: int(len(whole) * fraction)])

    return make


def streamed(path: Path) -> None:
    data = bytearray(tone(path).read_bytes())
    assert data[36:40] == b"data"
    data[4:8] = data[40:44] = b"\xff" * 4
    path.write_bytes(data)


def holding(value: float, where: int, length: int = 4000) -> Callable[[Path], object]:
    x = np.zeros((length, 2), np.float32)
    x[where, 1] = value
    x[where + 5 :, 0] = np.nan  # a later one, in an earlier channel

    return lambda path: tone(path, x, subtype="FLOAT")


def written(samples: Any = None, **options: Any) -> Callable[[Path], object]:
    return lambda path: tone(path, samples, **options)


def frames(count: int) -> Callable[[np.ndarray, np.ndarray], None]:
    def check(x: np.ndarray, features: np.ndarray) -> None:
        assert len(features) == count

    return check


def like_the_sine(x: np.ndarray, features: np.ndarray) -> None:
    np.testing.assert_allclose(x, sine(), atol=0.02)
    reference = speechasym.features(sine(), 16000)
    loud = reference > -40
    np.testing.assert_allclose(features[:, :64][loud], reference[loud], atol=2.0)


def silent(x: np.ndarray, features: np.ndarray) -> None:
    assert not x.any() and len(features) == 50
    assert (features[:, :64] == -120).all() and (features[:, 64:] == 0).all()


def loud(x: np.ndarray, features: np.ndarray) -> None:
    assert (np.abs(x) >= 0.9999).mean() > 0.5
    assert 0 < features[:, :64].max() < 4  # the fundamental of a square wave: 2.1 dB


FILES = [
    File("0 bytes.wav", lambda path: path.write_bytes(b""), r"an empty file \(0 bytes\)"),
    File("10 bytes.wav", lambda path: path.write_bytes(b"RIFF$\0\0\0WA"), "only 10 bytes"),
    File("page.wav", lambda path: path.write_text("\n<!DOCTYPE html><p>404"), "a web page"),
    File("text.wav", lambda path: path.write_text("no sound at all"), "begins with b'no sound'"),
    File("0 frames.wav", written(np.zeros(0)), "0 samples"),
    File("0 frames aiff.aiff", written(np.zeros(0)), "0 samples"),
    File(
        "[red]half wav.wav", cut(0.5), "64000 bytes of samples by its header, but 31978 in the file"
    ),
    File(
        "header only.wav",
        lambda path: path.write_bytes(tone(path).read_bytes()[:40]),
        "without samples",
    ),
    File("half rf64.wav", cut(0.5, format="RF64"), "64000 bytes .* by its header"),
    File("half flac.flac", cut(0.5), "truncated or damaged: copy it again"),
    File("half aiff.aiff", cut(0.5), r"640\d\d bytes .* by its header"),
    File("half sph.sph", cut(0.5, format="NIST", subtype="PCM_16"), "64000 bytes .* by its header"),
    File("half ogg.ogg", cut(0.5), "truncated"),
    File("half mp3.mp3", cut(0.5), "truncated: 58 frames by its header, but 25 in the file"),
    File(
        "nan.wav", holding(np.nan, 1234), r"sample 1234 \(at 0.077125 s\) must be finite, got nan"
    ),
    File("inf.wav", holding(-np.inf, 0), r"sample 0 \(at 0.000000 s\) must be finite, got -inf"),
    File("late.wav", holding(np.inf, 325000, 325100), "sample 325000 .* got inf"),  # second block
    File("streamed.wav", streamed, result=like_the_sine),
    File("8 bit.wav", written(subtype="PCM_U8"), result=like_the_sine),
    File("24 bit.wav", written(subtype="PCM_24"), result=like_the_sine),
    File("32 bit.wav", written(subtype="PCM_32"), result=like_the_sine),
    File("float64.wav", written(subtype="DOUBLE"), result=like_the_sine),
    File("mu-law.wav", written(subtype="ULAW"), result=like_the_sine),
    File("stereo.wav", written(np.stack([sine(), sine()], 1)), result=like_the_sine),
    File("5.1.wav", written(np.outer(sine(), np.arange(6) / 2.5)), result=like_the_sine),
    File("1 sample.wav", written(np.ones(1) / 2), result=frames(1)),
    File("short.wav", written(sine(0.004)), result=frames(1)),
    File("silence.wav", written(np.zeros(8000)), result=silent),
    File("clipped.wav", written(np.clip(20 * sine(), -1, 1)), result=loud),
    File("44100 Hz.wav", written(sine(0.3, 44100), rate=44100), result=frames(30)),
    File("90 Hz.wav", written(sine(2.0, 90, 10.0), rate=90), result=frames(200)),
    File("ünï cödé  録音 $x^$ [a-z] 'q'.wav", written(), result=like_the_sine),
]


class Shared(NamedTuple):
    """One run of the command over a folder of all these files."""

    inputs: Path
    out: Path
    index: dict[str, Any]
    err: str


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    place = tmp_path_factory.mktemp("bad input")
    inputs, out = place / "recordings of all kinds", place / "out"
    for case in FILES:
        (inputs / case.name).parent.mkdir(exist_ok=True)
        case.make(inputs / case.name)
    (inputs / "a folder.wav").mkdir()
    done = run_cli("extract", inputs, "--out", out, "--tracks", ",".join(TRACKS))
    bad = sum(1 for case in FILES if case.says)
    assert done.code == 1
    assert f"{len(FILES) - bad} recordings -> {out}, {bad} failed" in done.out
    assert not leftovers(out)
    return Shared(inputs, out, json.loads((out / INDEX).read_text()), done.err)


def missing(shared, tmp_path):
    path = tmp_path / "not there.wav"
    with pytest.raises(speechasym.AudioError) as caught:
        speechasym.load(path)
    check_error(caught.value, path, "no such file")
    done = run_cli("extract", path, "--out", tmp_path / "out")
    assert (done.code, done.out) == (1, f"0 recordings -> {tmp_path / 'out'}, 1 failed\n")
    assert str(caught.value) in done.err


def folder_named_wav(shared, tmp_path):
    path = shared.inputs / "a folder.wav"
    for call in (speechasym.load, speechasym.features):
        with pytest.raises(speechasym.AudioError) as caught:
            call(path)
        check_error(caught.value, path, "a folder, not an audio file")
    with pytest.raises(speechasym.ConfigError) as found:
        speechasym.extract(path, tmp_path / "out")
    check_error(found.value, path, "no audio files in this folder")
    assert "a folder" not in shared.index["recordings"] | shared.index["failed"]  # passed over
    done = run_cli("extract", path, "--out", tmp_path / "out")
    assert (done.code, done.err) == (2, f"speechasym: {found.value}\n")
    assert not (tmp_path / "out").exists()


def pipe(shared, tmp_path):
    path = tmp_path / "pipe.wav"
    os.mkfifo(path)
    done = run_python("-c", EXTRACT, path, tmp_path / "out")  # not here: it might wait for ever
    assert f"{path}: a pipe or device, not a file. Write it into a file first." in done.out


def low_sample_rate(shared, tmp_path):
    refused(tmp_path, "sample_rate", "90 Hz .* below 45 Hz .* above 100 Hz", sample_rate=90)


def rate_that_does_not_divide(shared, tmp_path):
    error = refused(tmp_path, "rate", "1300 frames per second do not divide 16000", rate=1300)
    suggested = re.search(r"such as (\S+) or (\S+),", error)
    assert suggested
    for rate in suggested.groups():  # the remedy is one
        assert len(speechasym.features(np.zeros(16000), 16000, rate=float(rate))) in (1231, 1333)


def refused(tmp_path: Path, name: str, says: str, **options: float) -> str:
    """An option that cannot be, by all ways."""
    path, out = tone(tmp_path / "fine.wav"), tmp_path / "out"
    with pytest.raises(speechasym.ConfigError) as caught:
        speechasym.features(path, **options)
    check_error(caught.value, name, says)
    with pytest.raises(speechasym.ConfigError, match=says):
        speechasym.extract(path, out, **options)
    arguments = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
    done = run_cli("extract", path, "--out", out, *arguments)
    assert (done.code, done.out, done.err) == (2, "", f"speechasym: {caught.value}\n")
    assert not out.exists()
    return str(caught.value)


def without_privileges() -> None:
    """Root reads everything unless it gives up CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
    for capability in (1, 2):
        if ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) != 0:  # PR_CAPBSET_DROP
            os._exit(77)


def no_permission(shared, tmp_path):
    secret, fine = tone(tmp_path / "in" / "secret.wav"), tone(tmp_path / "in" / "fine.wav")
    secret.chmod(0)
    options = {} if os.geteuid() else {"preexec_fn": without_privileges}
    says = f"{secret}: no permission to read it. Change its permissions (chmod +r) or the user."
    load = EXTRACT.replace("extract(sys.argv[1], sys.argv[2])", "load(sys.argv[1])")
    done = run_python("-c", load, secret, **options)
    if done.code == 77:
        pytest.skip("root here cannot give up the right to read everything")
    assert done.out == f"AudioError {says}\n"
    out = tmp_path / "out"
    done = run_cli("extract", secret.parent, "--out", out, **options)
    assert done.code == 1 and says in done.err
    assert contents(out).keys() == {INDEX, f"{fine.stem}.npy"}
    # nor to write
    out.chmod(0o500)
    done = run_cli("extract", fine, "--out", out, "--rate", 50, "--overwrite", **options)
    out.chmod(0o700)
    assert done.code == 2 and "cannot be written (Permission denied)" in done.err
    assert contents(out).keys() == {INDEX, f"{fine.stem}.npy"}


def full_disk(shared, tmp_path):
    """A limit on the size of files stands in for it: the same OSError from the same calls."""
    path, short, out = (
        tone(tmp_path / "x.wav", sine(10.0)),
        tone(tmp_path / "y.wav"),
        tmp_path / "o",
    )
    speechasym.extract(short, tmp_path / "enough")
    enough = (tmp_path / "enough" / INDEX).stat().st_size
    # room for nothing; for most of x.npy, of 256 kB; for all but the last byte of the index
    for source, size, name in ((path, 0, JOURNAL), (path, 2e5, "x.npy"), (short, enough, INDEX)):
        limit = (int(size) - 1,) * 2 if size else (3000, 3000)
        options = {"preexec_fn": lambda to=limit: resource.setrlimit(resource.RLIMIT_FSIZE, to)}
        says = f"{out / name}: cannot be written (File too large). Free some space, or choose"
        if name == "x.npy":
            assert run_python("-c", EXTRACT, source, out, **options).out[:12] == "OutputError "
        done = run_cli("extract", source, "--out", out, **options)
        assert done.code == 2 and not done.out and f"speechasym: {says}" in done.err
        assert contents(out).keys() <= {JOURNAL, "y.npy"}
        assert not leftovers(out)
    assert speechasym.extract(path, out).written == ["x"]  # with space again
    assert contents(out).keys() == {INDEX, "x.npy", "y.npy"}


def two_runs_at_once(shared, tmp_path):
    path, out = tone(tmp_path / "x.wav", np.zeros(600 * 16000)), tmp_path / "out"
    command = [sys.executable, "-m", "speechasym", "extract", path, "--out", out]
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as first:
        while not (out / JOURNAL).exists() and first.poll() is None:
            time.sleep(0.002)
        first.send_signal(signal.SIGSTOP)
        try:
            says = f"{out}: another run is writing into this folder. Wait for it, or choose "
            says += "another."
            with pytest.raises(speechasym.OutputError) as caught:
                speechasym.extract(path, out)
            assert str(caught.value) == says
            done = run_cli("extract", path, "--out", out, "--overwrite")
            assert (done.code, done.out, done.err) == (2, "", f"speechasym: {says}\n")
        finally:
            first.send_signal(signal.SIGCONT)
        said, _ = first.communicate(timeout=60)
    assert (first.returncode, said) == (0, f"1 recording -> {out}\n")
    assert contents(out).keys() == {INDEX, "x.npy"}


def two_runs_one_after_the_other(shared, tmp_path):
    path, out = tone(tmp_path / "x.wav"), tmp_path / "out"
    assert speechasym.extract(path, out).written == ["x"]
    before = contents(out)
    again = run_cli("extract", path, "--out", out)
    assert (again.code, again.out) == (0, f"0 recordings -> {out}, 1 up to date\n")
    assert contents(out) == before
    with pytest.raises(speechasym.OutputError) as caught:
        speechasym.extract(path, out, rate=50)
    check_error(caught.value, out, r"another run \(config: rate 100.0 -> 50\)\. .*--overwrite")
    other = run_cli("extract", path, "--out", out, "--rate", 50)
    assert (other.code, other.out) == (2, "")
    assert contents(out) == before
    assert run_cli("extract", path, "--out", out, "--rate", 50, "--overwrite").code == 0
    assert np.load(out / "x.npy").shape == (15, 64)
    assert speechasym.extract(path, out, overwrite=True).written == ["x"]
    assert contents(out) == before


def an_hour(shared, tmp_path):
    """In the memory of a minute."""
    peak = []
    for minutes in (1, 60):
        path = tmp_path / f"{minutes}.wav"
        minute = np.random.default_rng(0).integers(-3000, 3000, 60 * 16000, np.int16)
        with sf.SoundFile(path, "w", 16000, 1, "PCM_16") as file:
            for _ in range(minutes):
                file.write(minute)
        # not ru_maxrss, which begins with what this process had when it forked
        code = f"{EXTRACT}\nprint(*[r for r in open('/proc/self/status') if 'VmHWM' in r])"
        done = run_python("-c", code, path, tmp_path / "out")
        path.unlink()
        assert f"written=['{minutes}']" in done.out
        assert (
            np.load(tmp_path / "out" / f"{minutes}.npy", mmap_mode="r").shape[0] == minutes * 6000
        )
        peak.append(int(re.search(r"VmHWM:\s+(\d+) kB", done.out)[1]) / 1024)
    assert peak[0] > 20 and peak[1] < peak[0] + 60


OTHERS = [
    missing,
    folder_named_wav,
    pipe,
    low_sample_rate,
    rate_that_does_not_divide,
    no_permission,
    full_disk,
    two_runs_at_once,
    two_runs_one_after_the_other,
    an_hour,
]


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=Path(case.name).stem.replace(" ", "_")) for case in FILES]
    + [pytest.param(case, id=case.__name__) for case in OTHERS],
)
def test_bad_input(case, shared, tmp_path):
    case(shared, tmp_path)
    assert not leftovers(tmp_path)
