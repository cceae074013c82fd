"""Audio files in: checked before they are trusted, read block by block, resampled on the way.

Samples are float32, full scale 1, time along the last axis. libsndfile decodes and soxr resamples;
what they let pass in silence (a cut file, a wrong name, NaN) is found and named here.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speechasym.audio import containers
from speechasym.errors import AudioError, ConfigError

log = logging.getLogger("speechasym")

_ENDINGS = "wav wave flac ogg oga opus mp3 aif aiff aifc sph nist"
EXTENSIONS = frozenset(f".{ending}" for ending in _ENDINGS.split())
BLOCK_SECONDS = 20.0


class AudioInfo(NamedTuple):
    """What a recording's header says."""

    sample_rate: int  # Hz
    channels: int
    frames: int  # samples a channel; 0 where only decoding can tell
    container: str  # "WAV", "FLAC", ...
    subtype: str  # libsndfile's name of the coding, such as "PCM_16"
    warning: str = ""  # why the samples look damaged although they can be read


def info(path: str | Path) -> AudioInfo:
    """Read and check a recording's header, without decoding it.

    Raises:
        AudioError: there is no such file, it is not audio, or it is shorter than its header says.
    """
    import soundfile

    path = Path(path)
    container = containers.check(path)
    try:
        with _open(path) as file:
            frames = max(0, file.frames) if file.frames < 1 << 60 else 0
            warning = containers.no_end(path) if container == "Ogg" else ""
            if file.subtype == "PCM_16" and container != "FLAC":
                warning = containers.text_mode(path)
            found = AudioInfo(
                file.samplerate, file.channels, frames, container, file.subtype, warning
            )
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise _undecodable(path, container, error) from error
    if found.sample_rate <= 0:
        raise AudioError(path, f"sample rate {found.sample_rate} Hz", "Convert it again")
    return found


def blocks(
    path: str | Path,
    sample_rate: int | None = None,
    channel: str | int = "mean",
    seconds: float = BLOCK_SECONDS,
) -> Iterator[NDArray[np.float32]]:
    """A recording as mono blocks (T,) of about `seconds` each, never the whole in memory.

    Args:
        path: the file.
        sample_rate: Hz to resample to; None keeps the file's.
        channel: "mean" of all channels, or one channel's number from 0.
        seconds: length of a block before resampling.

    Raises:
        AudioError: unreadable, cut, without samples, or with NaN or infinite samples.
        ConfigError: the file has no such channel, or the sample rate is not positive.
    """
    import soundfile
    import soxr

    path = Path(path)
    if sample_rate is not None and not sample_rate > 0:
        raise ConfigError("sample_rate", f"{sample_rate} Hz is not positive", "Give Hz > 0")
    header = info(path)
    which = _channel(path, channel, header.channels)
    rate = header.sample_rate
    resample = None
    if sample_rate is not None and sample_rate != rate:
        resample = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    size = max(1, round(seconds * rate))
    done = given = clipped = 0
    try:
        with _open(path) as file:
            while True:
                raw = file.read(size, dtype="float32", always_2d=True)
                _check_finite(path, raw, done, rate)
                clipped += int((np.abs(raw) >= 1).sum()) if raw.size else 0
                done += len(raw)
                mono = raw.mean(1) if which is None else np.ascontiguousarray(raw[:, which])
                last = len(raw) < size
                if resample is not None:
                    mono = resample.resample_chunk(mono, last=last)
                if len(mono):
                    given += len(mono)
                    yield mono
                if last:
                    break
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise _undecodable(path, header.container, error) from error
    if done == 0:
        raise AudioError(path, "the file holds 0 samples", "Record or convert it again")
    if header.frames and done < header.frames:
        raise AudioError(
            path,
            f"the header promises {header.frames} samples, only {done} could be decoded: the file "
            "is cut or damaged",
            "Copy it again from its source",
        )
    if not given:
        raise AudioError(
            path,
            f"too short: {done} samples at {rate} Hz are less than one at {sample_rate} Hz",
            "Leave it out, or keep its sample rate",
        )
    if clipped:
        log.info("%s: %d samples at or above full scale (clipped?)", path, clipped)


def load(
    path: str | Path, sample_rate: int | None = None, channel: str | int = "mean"
) -> tuple[NDArray[np.float32], int]:
    """A whole recording, mono: samples (T,) and their rate in Hz.

    Args and errors as `blocks`. For long recordings `blocks` needs less memory.

    Example:
        >>> x, rate = speechasym.load("speech.flac", sample_rate=16000)
    """
    header = info(path)
    if header.warning:
        log.warning("%s: %s", path, header.warning)
    rate = header.sample_rate if sample_rate is None else sample_rate
    return np.concatenate(list(blocks(path, sample_rate, channel))), rate


def check_samples(source: ArrayLike) -> NDArray[np.float32]:
    """Return samples (T,) as float32, full scale 1.

    Raises `ConfigError` unless they are floating point, mono, and finite.
    """
    x = np.asarray(source)
    if x.dtype.kind != "f":
        raise ConfigError(
            "source",
            f"samples of type {x.dtype}; floating point is expected",
            "Scale integers to full scale 1: x = x / 32768 for 16 bits",
        )
    if x.ndim != 1 or not x.size:
        raise ConfigError("source", f"shape {x.shape}; mono samples (T,) are expected", "Mix down")
    x = x.astype(np.float32)
    if not np.isfinite(x).all():
        first = int(np.isfinite(x).argmin())
        raise ConfigError("source", f"sample {first} is {x[first]}", "Give finite samples")
    return x


def add_noise(
    x: NDArray, noise: NDArray, snr_db: float, seed: int | None = None
) -> NDArray[np.float32]:
    """Mix noise into a signal at a signal-to-noise ratio.

    The ratio is that of mean squares over the whole of x, pauses included. Noise shorter than x is
    repeated; it starts at a place drawn from `seed`, or at its beginning without one.

    Args:
        x: (T,) signal; noise: (N,) noise at the same sample rate; snr_db: ratio in dB.

    Raises:
        ConfigError: either is empty or silent, so that no ratio exists.
    """
    for name, samples in (("x", x), ("noise", noise)):
        if samples.size == 0 or not np.any(samples):
            raise ConfigError(
                name, "silent or empty, so that no signal-to-noise ratio exists", "Give sound"
            )
    start = 0 if seed is None else int(np.random.default_rng(seed).integers(len(noise)))
    take = np.take(noise.astype(np.float64), np.arange(start, start + len(x)), mode="wrap")
    power = np.mean(take**2)
    if power == 0:
        raise ConfigError("noise", "silent over the stretch that was drawn", "Try another seed")
    gain = np.sqrt(np.mean(x.astype(np.float64) ** 2) / power * 10 ** (-snr_db / 10))
    return (x + gain * take).astype(np.float32)


def _channel(path: Path, channel: str | int, count: int) -> int | None:
    """The channel to take, None for the mean of all. Raises `ConfigError`."""
    if channel == "mean":
        if count > 1:
            log.info("%s: mean of %d channels", path, count)
        return None
    try:
        number = int(channel)
    except (TypeError, ValueError):
        number = -1
    if not 0 <= number < count:
        raise ConfigError(
            f"channel {channel!r}",
            f"{path} has {count} channel{'s' * (count > 1)}",
            f"Use mean, or a number from 0 to {count - 1}",
        )
    if count > 1:
        log.info("%s: channel %d of %d", path, number, count)
    return number


def _check_finite(path: Path, raw: NDArray, before: int, rate: int) -> None:
    bad = ~np.isfinite(raw).all(1)
    if bad.any():
        first = int(bad.argmax())
        value = raw[first][~np.isfinite(raw[first])][0]
        raise AudioError(
            path,
            f"sample {before + first} (at {(before + first) / rate:.6f} s) is {value}; finite "
            "samples are expected",
            "Repair the recording, or the program that wrote it",
        )


def _open(path: Path) -> Any:
    """A `soundfile.SoundFile`, by its name's own bytes: those of old corpora may be no UTF-8."""
    import soundfile

    return soundfile.SoundFile(os.fsencode(path) if os.name == "posix" else str(path))


def _undecodable(path: Path, container: str, error: Exception) -> AudioError:
    reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
    remedy = f"Check that it plays, or convert it to one of {containers.FORMATS}"
    if container in ("FLAC", "Ogg", "MP3"):
        remedy = "It is probably cut or damaged: copy it again from its source"
    if container == "NIST SPHERE":
        remedy = "If it is compressed with shorten, unpack it with sph2pipe -f wav"
    return AudioError(path, f"{container} that cannot be decoded ({reason})", remedy)
