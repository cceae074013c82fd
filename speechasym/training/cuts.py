"""What is read from lhotse cuts: samples, and recordings of noise.

Shapes: T samples.
"""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from speechasym.audio import reading
from speechasym.corpora.manifests import read_cuts
from speechasym.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from lhotse import Recording
    from lhotse.cut import Cut

MISSING = -1  # stamp of a cut without its audio files


def read_noises(path: str | Path) -> "list[Cut]":
    """Return cuts of a manifest, or of every recording in a folder. Raises `ConfigError`."""
    from lhotse import Recording

    path = Path(path)
    if not path.is_dir():
        return list(read_cuts(path))
    files = sorted(p for p in path.rglob("*") if p.suffix.lower() in reading.EXTENSIONS)
    if not files:
        raise ConfigError(path, "no recordings in this folder", "Give a folder of noise recordings")
    return [Recording.from_file(p, p.relative_to(path).as_posix()).to_cut() for p in files]


def load_samples(cut: "Cut", rate: float, channel: str | int = "mean") -> NDArray[np.float32]:
    """Return mono samples (T,) of a cut, resampled to `rate` Hz. Raises `AudioError`."""
    import soxr

    try:
        samples = cut.load_audio()
    except Exception as error:  # lhotse's readers each raise errors of their own
        raise unreadable(cut, error) from error
    if samples is None or not samples.size or not np.isfinite(samples).all():
        raise AudioError(f"cut {cut.id}", "its samples are missing or not finite", "Leave it out")
    if isinstance(channel, int) and channel >= len(samples):
        raise AudioError(f"cut {cut.id}", f"it has no channel {channel}", "Use channel mean")
    samples = np.asarray(samples, np.float32)
    x = samples[channel] if isinstance(channel, int) else samples.mean(0)
    if rate != cut.sampling_rate:
        x = soxr.resample(x, cut.sampling_rate, rate, quality="HQ").astype(np.float32)
    if not len(x):
        raise AudioError(f"cut {cut.id}", "it has no samples", "Leave it out")
    return x


def _audio_files(cut: "Cut") -> "Iterator[tuple[Path, Recording]]":
    """Yield the files that a cut is read from, with what its manifest says of them."""
    for track in getattr(cut, "tracks", None) or [cut]:
        recording = getattr(getattr(track, "cut", track), "recording", None)  # padding has none
        if recording is not None:
            for source in recording.sources:
                if source.type == "file":
                    yield Path(source.source), recording


def file_stamp(cut: "Cut") -> int:
    """Return a number that changes when a cut's audio files change; `MISSING` if one is missing."""
    stats = []
    for path, _ in _audio_files(cut):
        try:
            stat = os.stat(path)
        except OSError:
            return MISSING
        stats.append((stat.st_size, stat.st_mtime_ns))
    return zlib.crc32(repr(stats).encode())


def unreadable(cut: "Cut", error: Exception) -> AudioError:
    """Return the error that says why a cut's recording cannot be read."""
    problem = f"its recording cannot be read ({_read_fault(cut, error)})"
    remedy = "Restore it, prepare the corpus again, or leave the cut out"
    return AudioError(f"cut {cut.id}", problem, remedy)


def _read_fault(cut: "Cut", error: Exception) -> str:
    """Say in one line why a cut's recording cannot be read."""
    import soundfile

    for path, recording in _audio_files(cut):
        if not path.is_file():
            return f"{path} does not exist"
        try:
            info = soundfile.info(str(path))
        except (RuntimeError, OSError):
            return f"{path} is not an audio file, or is truncated"
        actual = f"{info.frames} samples at {info.samplerate} Hz"
        expected = f"{recording.num_samples} samples at {recording.sampling_rate} Hz"
        if actual != expected and not recording.transforms:
            return f"{path} has {actual}, but its manifest says {expected}"
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
