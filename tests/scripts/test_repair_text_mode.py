"""scripts/repair_text_mode.py undoes what it is for, on real speech that was damaged on purpose."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechasym.audio import reading

ROOT = Path(__file__).parents[2]
CLIPS = sorted(p for p in (ROOT / "data").iterdir() if p.suffix in (".wav", ".flac"))


@pytest.fixture(scope="module")
def repair():
    spec = importlib.util.spec_from_file_location("repair", ROOT / "scripts/repair_text_mode.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def damaged(x):
    return x.tobytes().replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def with_drops(x, count):
    """Speech at a level that passes 0x0A0D, and set to it, at `count` places: each loses a byte."""
    x = np.rint(x * (8000 / np.abs(x).max())).astype(np.int16)
    for _ in range(count):
        near = np.abs(x.astype(int) - 0x0A0D)
        near[np.convolve(x == 0x0A0D, np.ones(801), "same") > 0] = 10**6  # one in 50 ms
        x[near.argmin()] = 0x0A0D
    return x


@pytest.mark.parametrize("clip", CLIPS, ids=lambda p: p.stem)
@pytest.mark.parametrize("drops", [0, 1, 2, 4])
def test_speech_is_restored(repair, clip, drops):
    x, _ = soundfile.read(clip, dtype="int16")
    x = with_drops(x, drops)
    broken = damaged(x)
    broken = broken[: len(broken) // 2 * 2]
    missing = 2 * len(x) - len(broken)
    assert missing >= drops
    fixed, count = repair.repair(np.frombuffer(broken, np.uint8), len(x))
    assert count >= missing - 1
    off = np.abs(fixed.astype(int) - x)
    # low bytes stay 3 off; 10 and 13 as a high byte cannot always be told apart
    assert np.mean(off > 3) < 5e-3
    assert np.mean(off.astype(float) ** 2) < 0.04 * np.mean(x.astype(float) ** 2)


def test_folder_is_copied_and_only_damage_is_mended(repair, tmp_path):
    source = tmp_path / "timit"
    source.mkdir()
    x, rate = soundfile.read(ROOT / "data/librivox-austen-0870.flac", dtype="int16")
    x = with_drops(x, 2)
    soundfile.write(source / "WHOLE.WAV", x, rate)
    broken = np.frombuffer(damaged(x)[: len(damaged(x)) // 2 * 2], "<i2")
    soundfile.write(source / "BROKEN.WAV", broken, rate)
    (source / "BROKEN.TXT").write_text(f"0 {len(x)} And mister john dashwood\n")
    assert reading.info(source / "BROKEN.WAV").warning
    assert repair.main(source, tmp_path / "copy") == 0
    assert (tmp_path / "copy/WHOLE.WAV").read_bytes() == (source / "WHOLE.WAV").read_bytes()
    assert soundfile.info(tmp_path / "copy/BROKEN.WAV").frames == len(x)
    assert not reading.info(tmp_path / "copy/BROKEN.WAV").warning
    assert repair.main(source, tmp_path / "copy") == 2
