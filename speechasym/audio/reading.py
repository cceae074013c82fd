"""Read audio files: checked first, block by block, resampled on the way.

Samples are float32, full scale 1, time along the last axis. libsndfile decodes and soxr resamples;
faults that they ignore (truncated files, wrong extensions, NaN) raise errors here.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.audio import containers
from speechasym.audio.parts import Layout, opened
from speechasym.config import check_range
from speechasym.errors import AudioError, ConfigError

log = logging.getLogger("speechasym")

_ENDINGS = "wav wave flac ogg oga opus mp3 aif aiff aifc sph nist"
EXTENSIONS = frozenset(f".{ending}" for ending in _ENDINGS.split())
BLOCK_SECONDS = 20.0


class AudioInfo(NamedTuple):
    """The header of a recording."""

    sample_rate: int  # Hz
    channels: int
    frames: int  # samples per channel; 0 if only decoding can tell
    container: str  # "WAV", "FLAC", ...
    subtype: str  # libsndfile's name of the encoding, such as "PCM_16"
    warning: str = ""  # why the samples look damaged, although they can be read


def info(path: str | Path) -> AudioInfo:
    """Read and check the header of a recording, without decoding it.

    Raises `AudioError` if the file is missing, is not audio, or is shorter than its header says.
    """
    path = Path(path)
    return _info(path, containers.check(path))


def _info(path: Path, layout: Layout) -> AudioInfo:
    import soundfile

    parts = []
    try:
        for span in layout.spans:
            with opened(path, span) as file:
                parts.append((file.samplerate, file.channels, file.subtype, file.frames))
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise undecodable(path, layout.container, error) from error
    rate, channels, subtype, _ = parts[0]
    if rate <= 0:
        raise AudioError(path, f"sample rate must be > 0 Hz, got {rate}", "Convert it again")
    for part in parts:
        if part[:2] != (rate, channels):
            problem = f"changes from {rate} Hz, {channels} channels to {part[0]} Hz, {part[1]}"
            raise AudioError(path, problem, "Split it into files of one format each")
    lengths = [part[3] for part in parts]
    frames = sum(lengths) if all(0 < n < 1 << 60 for n in lengths) else 0
    warning = layout.warning
    if subtype == "PCM_16" and layout.container != "FLAC":
        warning = warning or containers.text_mode_damage(path)
    return AudioInfo(rate, channels, frames, layout.container, subtype, warning)


def blocks(
    path: str | Path,
    sample_rate: int | None = None,
    channel: str | int = "mean",
    seconds: float = BLOCK_SECONDS,
) -> Iterator[NDArray[np.float32]]:
    """Read a recording as mono blocks (T,) of about `seconds` each, never as a whole.

    Args:
        sample_rate: Hz to resample to; None: keep the file's.
        channel: "mean" of all channels, or the number of one from 0.
        seconds: length of a block before resampling.

    Raises:
        AudioError: unreadable, truncated, without samples, or with NaN or infinite samples.
        ConfigError: no such channel, or a sample rate <= 0.
    """
    import soundfile
    import soxr

    path = Path(path)
    check_range("sample_rate", sample_rate, "16000", above=True)
    layout = containers.check(path)
    header = _info(path, layout)
    number = channel_number(path, channel, header.channels)
    rate = header.sample_rate
    resample = None
    if sample_rate is not None and sample_rate != rate:
        resample = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
    size = max(1, round(seconds * rate))
    decoded = yielded = clipped = 0
    try:
        for raw in _decoded(path, layout, size, header.channels):
            check_finite(path, raw, decoded, rate)
            clipped += int((np.abs(raw) >= 1).sum()) if raw.size else 0
            decoded += len(raw)
            mono = raw.mean(1) if number is None else np.ascontiguousarray(raw[:, number])
            if resample is not None:
                mono = resample.resample_chunk(mono, last=len(raw) < size)
            if len(mono):
                yielded += len(mono)
                yield mono
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise undecodable(path, header.container, error) from error
    if decoded == 0:
        raise AudioError(path, "the file holds 0 samples", "Record or convert it again")
    if decoded < header.frames:
        counts = f"{header.frames} samples by its header, but only {decoded} could be decoded"
        raise AudioError(path, f"truncated or damaged: {counts}", "Copy it again from its source")
    if not yielded:
        problem = f"too short: {decoded} samples at {rate} Hz are less than one at {sample_rate} Hz"
        raise AudioError(path, problem, "Leave it out, or keep its sample rate")
    if clipped:
        log.info("%s: %d samples at or above full scale (clipped?)", path, clipped)


def add_noise(
    x: NDArray, noise: NDArray, snr_db: float, seed: int | None = None
) -> NDArray[np.float32]:
    """Mix noise into a signal at a signal-to-noise ratio.

    The ratio is that of mean squares over the whole of x, including pauses. Noise shorter than x
    is repeated.

    Args:
        x: (T,) signal.
        noise: (N,) noise at the same sample rate.
        snr_db: ratio in dB.
        seed: draws the position at which the noise starts; None: its beginning.

    Raises:
        ConfigError: x or the noise is empty or silent.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=16000)
        >>> noisy = speechasym.add_noise(x, noise, snr_db=10)
        >>> round(float(10 * np.log10(np.mean(x**2) / np.mean((noisy - x) ** 2))), 2)
        10.0
    """
    for name, samples in (("x", x), ("noise", noise)):
        if not np.any(samples):
            problem = "silent or empty, which defines no signal-to-noise ratio"
            raise ConfigError(name, problem, "Give sound")
    start = 0 if seed is None else int(np.random.default_rng(seed).integers(len(noise)))
    take = np.take(noise.astype(np.float64), np.arange(start, start + len(x)), mode="wrap")
    power = np.mean(take**2)
    if power == 0:
        raise ConfigError("noise", "silent over the part that was drawn", "Try another seed")
    gain = np.sqrt(np.mean(x.astype(np.float64) ** 2) / power * 10 ** (-snr_db / 10))
    return (x + gain * take).astype(np.float32)


def channel_number(path: str | Path, channel: str | int, count: int) -> int | None:
    """Return the number of the channel, None for the mean of all. Raises `ConfigError`."""
    if channel == "mean":
        if count > 1:
            log.info("%s: mean of %d channels", path, count)
        return None
    number = int(channel) if str(channel).isdecimal() else -1
    if not 0 <= number < count:
        problem = f"{path} has {count} channel{'s' * (count > 1)}"
        remedy = f"Use mean, or a number from 0 to {count - 1}"
        raise ConfigError(f"channel {channel!r}", problem, remedy)
    if count > 1:
        log.info("%s: channel %d of %d", path, number, count)
    return number


def check_finite(path: Path, raw: NDArray, before: int, rate: int) -> None:
    """Raise `AudioError` for samples (T, C) that are not finite, after `before` others."""
    bad = np.argwhere(~np.isfinite(raw))
    if len(bad):
        frame = before + bad[0, 0]
        value = raw[tuple(bad[0])]
        problem = f"sample {frame} (at {frame / rate:.6f} s) must be finite, got {value}"
        raise AudioError(path, problem, "Repair the recording, or the program that wrote it")


def _decoded(path: Path, layout: Layout, size: int, channels: int) -> Iterator[NDArray]:
    """Yield blocks (size, channels) across all parts of a file; the last one is shorter."""
    rest = np.zeros((0, channels), np.float32)
    for span in layout.spans:
        with opened(path, span) as file:
            while True:
                raw = file.read(size - len(rest), dtype="float32", always_2d=True)
                raw = np.concatenate([rest, raw]) if len(rest) else raw
                rest = raw[len(raw) :]
                if len(raw) < size:
                    break
                yield raw
        rest = raw
    yield rest


def undecodable(path: Path, container: str, error: Exception) -> AudioError:
    """Return the error that says why a file cannot be decoded."""
    reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
    remedy = f"Check that it plays, or convert it to one of {containers.FORMATS}"
    if container in ("FLAC", "Ogg", "MP3"):
        remedy = "It is probably truncated or damaged: copy it again from its source"
    if container == "NIST SPHERE":
        remedy = "If it is compressed with shorten, unpack it with sph2pipe -f wav"
    return AudioError(path, f"{container} file that cannot be decoded ({reason})", remedy)
