"""The recordings in data/ are whole, documented, and what scripts/make_data.py makes."""

import hashlib
import importlib.util
import io
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile as sf

ROOT = Path(__file__).parents[2]
DATA = ROOT / "data"
SCRIPT = ROOT / "scripts" / "make_data.py"
AUDIO = sorted(path.name for path in DATA.iterdir() if path.suffix in {".wav", ".flac"})


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sums() -> dict[str, str]:
    lines = (DATA / "SHA256SUMS").read_text().splitlines()
    return {name: digest for digest, name in (line.split("  ") for line in lines)}


def samples(name: str) -> bytes:
    return sf.read(DATA / name, dtype="int16")[0].astype("<i2").tobytes()


@pytest.fixture(scope="module")
def make_data() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_data", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def package(make_data: ModuleType, tmp_path: Path) -> Path:
    """The unpacked package, made again from data/: its files are plain WAV and bare samples."""
    folder = tmp_path / "package"
    for clip in make_data.CLIPS:
        path = folder / make_data.SOURCE_ROOT / clip.source
        path.parent.mkdir(parents=True, exist_ok=True)
        data = samples(clip.name)
        if path.suffix == ".raw":
            path.write_bytes(data)
        else:
            sf.write(path, np.frombuffer(data, "<i2"), 16000, subtype="PCM_16")
    return folder


def as_deb(folder: Path, member: str = "data.tar.xz") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:xz", preset=0) as tar:
        tar.add(folder, arcname=".")
    deb = b"!<arch>\n"
    for name, data in (("debian-binary", b"2.0\n"), ("odd", b"x"), (member, file.getvalue())):
        deb += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
        deb += data + b"\n" * (len(data) % 2)
    return deb


def test_sums_match_and_name_every_file() -> None:
    expected = sums()
    assert set(expected) == {*AUDIO, "transcripts.txt"}
    for name, digest in expected.items():
        assert sha256((DATA / name).read_bytes()) == digest, name


def test_folder_is_small_and_holds_nothing_else() -> None:
    files = [path for path in DATA.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2_000_000
    assert {path.name for path in files} == {*sums(), "SHA256SUMS", "README.md"}


@pytest.mark.parametrize("name", AUDIO)
def test_audio_is_16_khz_mono(name: str) -> None:
    info = sf.info(DATA / name)
    assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
    assert info.frames > 16000
    assert np.any(np.frombuffer(samples(name), "<i2"))


def test_every_audio_file_has_a_transcript() -> None:
    lines = (DATA / "transcripts.txt").read_text().splitlines()
    transcripts = dict(line.split(" ", 1) for line in lines)
    assert sorted(transcripts) == sorted(Path(name).stem for name in AUDIO)
    for text in transcripts.values():
        assert text.replace(" ", "").isalpha() and text == text.lower()
        assert text.split(" ") == text.split()


def test_readme_agrees_with_the_files() -> None:
    readme = (DATA / "README.md").read_text()
    expected = sums()
    for name in AUDIO:
        assert f"| `{name}` | {sf.info(DATA / name).duration:.2f} s | 16000 Hz |" in readme
        assert f"| `{name}` | `{expected[name]}` | `{sha256(samples(name))}` |" in readme
    for line in (DATA / "transcripts.txt").read_text().splitlines():
        assert f"| {line.split(' ', 1)[1]} |" in readme


def test_script_knows_these_samples(make_data: ModuleType) -> None:
    assert [clip.name for clip in make_data.CLIPS] == AUDIO
    for clip in make_data.CLIPS:
        assert sha256(samples(clip.name)) == clip.samples_sha256, clip.name


@pytest.mark.parametrize("kind", ["folder", "deb"])
def test_script_rebuilds_the_folder(
    kind: str, make_data: ModuleType, package: Path, tmp_path: Path
) -> None:
    if kind == "deb":
        deb = tmp_path / "package.deb"
        deb.write_bytes(as_deb(package))
        package = deb
    out = tmp_path / "out"
    assert make_data.main([str(package), "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == sorted([*sums(), "SHA256SUMS"])
    for name in AUDIO:
        # FLAC bytes may differ from data/ under another libsndfile; samples may not.
        rebuilt = sf.read(out / name, dtype="int16")[0].astype("<i2").tobytes()
        assert rebuilt == samples(name), name
        if name.endswith(".wav"):
            assert (out / name).read_bytes() == (DATA / name).read_bytes(), name
    assert (out / "transcripts.txt").read_bytes() == (DATA / "transcripts.txt").read_bytes()
    for line in (out / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert sha256((out / name).read_bytes()) == digest


def test_script_refuses_other_sources_and_writes_nothing(package: Path, tmp_path: Path) -> None:
    source = next(package.rglob("goforward.raw"))
    source.write_bytes(source.read_bytes()[:-2] + b"\x01\x00")
    next(package.rglob("001.wav")).unlink()
    out = tmp_path / "out"
    command = [sys.executable, str(SCRIPT), str(package), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert "goforward.raw has sha256" in done.stderr
    assert "cards/001.wav is missing" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"RIFF", "not a .deb"),
        (b"!<arch>\n", "no data.tar member"),
        (b"!<arch>\n" + b"data.tar.xz".ljust(48) + b"9         `\nabc", "truncated"),
        (b"!<arch>\n" + b"data.tar.xz".ljust(48) + b"4         `\nabcd", "cannot read data.tar.xz"),
        (b"!<arch>\n" + b"data.tar.xz".ljust(48) + b"?         `\nabcd", "damaged"),
        (None, "neither a file nor a folder"),
    ],
)
def test_script_refuses_what_is_no_package(
    content: bytes | None,
    message: str,
    make_data: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    package = tmp_path / "package.deb"
    if content is not None:
        package.write_bytes(content)
    assert make_data.main([str(package), "--out", str(tmp_path / "out")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
