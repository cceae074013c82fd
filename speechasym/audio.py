"""Audio files in: checked before they are trusted, read block by block, resampled on the way.

Samples are float32, full scale 1, time along the last axis. libsndfile decodes and soxr resamples;
what they let pass in silence (a cut file, a wrong name, NaN) is found and named here.
"""

import logging
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.errors import AudioError, ConfigError

log = logging.getLogger("speechasym")

EXTENSIONS = frozenset(
    [
        ".wav",
        ".wave",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aif",
        ".aiff",
        ".aifc",
        ".sph",
        ".nist",
    ]
)
BLOCK_SECONDS = 20.0
# What streaming writers give as the size of samples to come: the standard's, sox's, arecord's
UNKNOWN_SIZES = (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x80000000)
FORMATS = "WAV, RF64, FLAC, Ogg (Vorbis, Opus), MP3, AIFF and NIST SPHERE"


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
    container = _check(path)
    try:
        with _open(path) as file:
            frames = max(0, file.frames) if file.frames < 1 << 60 else 0
            warning = _no_end(path) if container == "Ogg" else ""
            if file.subtype == "PCM_16" and container != "FLAC":
                warning = _text_mode(path)
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


def _no_end(path: Path) -> str:
    """The last page of a whole Ogg file says that it is the last; libsndfile does not look."""
    with path.open("rb") as file:
        page = _last_page(file, path.stat().st_size)
    if page and page[5] & 4:
        return ""
    return "cut short? Its last page is not marked as the end: compare it with its source"


def _last_page(file: BinaryIO, size: int) -> bytes:
    """From the beginning of an Ogg file's last page, of 65307 bytes at most, to the file's end."""
    file.seek(max(0, size - (1 << 16)))
    tail = file.read()
    return tail[tail.rfind(b"OggS") :] if b"OggS" in tail else b""


def _text_mode(path: Path) -> str:
    """A copy in text mode turns each byte 13 into 10 and drops it before a 10: then half of the
    samples are put together from the wrong bytes. Such a file holds 12 and 14 but never 13. It
    holds 11 and 15 too, where a quiet recording of even samples only lacks all three."""
    with path.open("rb") as file:
        counts = np.bincount(np.frombuffer(file.read(1 << 20), np.uint8), minlength=16)
    if counts[13] == 0 and counts[[10, 11, 12, 14, 15]].min() >= 40:
        return (
            "samples damaged by a copy in text mode (no byte 13 among them, where chance gives "
            f"about {(counts[12] + counts[14]) // 2}): get it again, copied as binary"
        )
    return ""


def _undecodable(path: Path, container: str, error: Exception) -> AudioError:
    reason = getattr(error, "error_string", str(error)).strip().rstrip(".")
    remedy = f"Check that it plays, or convert it to one of {FORMATS}"
    if container in ("FLAC", "Ogg", "MP3"):
        remedy = "It is probably cut or damaged: copy it again from its source"
    if container == "NIST SPHERE":
        remedy = "If it is compressed with shorten, unpack it with sph2pipe -f wav"
    return AudioError(path, f"{container} that cannot be decoded ({reason})", remedy)


def _check(path: Path) -> str:
    """Container by its first bytes. Raises `AudioError` for what is not a whole audio file."""
    try:
        if path.is_dir():
            raise AudioError(path, "a folder, not an audio file", "Give a file")
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise AudioError(path, "a pipe or device, not a file", "Write it into a file first")
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            head = file.read(44)
            container = _container(path, head, size)
            if container in ("WAV", "RF64"):
                _check_riff(path, file, size)
            elif container == "AIFF":
                _check_aiff(path, file, size)
            elif container == "Ogg":
                _check_ogg(path, file, size)
            elif container == "NIST SPHERE":
                _check_sphere(path, file, size)
    except FileNotFoundError as error:
        raise AudioError(path, "no such file", "Check the path") from error
    except PermissionError as error:
        raise AudioError(
            path, "no permission to read it", "Change its permissions (chmod +r) or the user"
        ) from error
    except OSError as error:
        raise AudioError(path, f"cannot be read ({error.strerror})", "Check the disk") from error
    return container


def _container(path: Path, head: bytes, size: int) -> str:
    if size == 0:
        raise AudioError(path, "an empty file (0 bytes)", "Copy it again from its source")
    if head[:4] in (b"RIFF", b"RF64", b"RIFX") and head[8:12] == b"WAVE":
        return "RF64" if head[:4] == b"RF64" else "WAV"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "AIFF"
    # an MPEG frame: 11 bits of sync, a layer that is not 0, a bit rate that is not 15
    mpeg = len(head) > 3 and head[0] == 0xFF and head[1] & 0xE6 > 0xE0 and head[2] & 0xF0 != 0xF0
    known = {b"fLaC": "FLAC", b"OggS": "Ogg", b"NIST": "NIST SPHERE"}
    if head[:4] in known:
        return known[head[:4]]
    if head[:3] == b"ID3" or mpeg:
        return "MP3"
    if head[:4] in (b"RIFF", b"RF64", b"FORM") or size < 12:
        raise AudioError(
            path, f"only {size} bytes, a header cut short", "Copy it again from its source"
        )
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise AudioError(
            path, "a web page, not audio: a download that failed?", "Download the recording again"
        )
    raise AudioError(
        path,
        f"not an audio file known here: it begins with {head[:8]!r}",
        f"Convert it to one of {FORMATS}",
    )


def _cut(path: Path, promised: int, there: int) -> AudioError:
    return AudioError(
        path,
        f"cut short: the header promises {promised} bytes of samples, {there} are there",
        "Copy it again from its source",
    )


def _check_riff(path: Path, file: BinaryIO, size: int) -> None:
    """Walk the chunks up to `data`, and compare its size with what is there."""
    file.seek(0)
    order = ">" if file.read(4) == b"RIFX" else "<"
    file.seek(12)
    long_size = None
    while True:
        head = file.read(8)
        if len(head) < 8:
            raise AudioError(
                path,
                f"no samples: a WAV header and then nothing ({size} bytes)",
                "Copy it again from its source",
            )
        name, length = struct.unpack(order + "4sI", head)
        if name == b"ds64":
            body = file.read(length)
            long_size = struct.unpack_from("<Q", body, 8)[0] if len(body) >= 16 else None
            file.seek(length % 2, 1)
            continue
        if name == b"data":
            there = size - file.tell()
            promised = (long_size or 0) if length in UNKNOWN_SIZES else length
            if promised > there:
                raise _cut(path, promised, there)
            return
        file.seek(length + length % 2, 1)


def _check_aiff(path: Path, file: BinaryIO, size: int) -> None:
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, length = struct.unpack(">4sI", head)
        if name == b"SSND":
            there = size - file.tell()
            if length > there:
                raise _cut(path, length, there)
            return
        file.seek(length + length % 2, 1)
    raise AudioError(path, "no samples in this AIFF file", "Copy it again from its source")


def _check_ogg(path: Path, file: BinaryIO, size: int) -> None:
    """libsndfile takes what is there of a cut file for the whole; its last page tells."""
    page = _last_page(file, size)
    sizes = page[27 : 27 + page[26]] if len(page) > 27 else b""
    if not sizes or len(sizes) < page[26] or len(page) < 27 + page[26] + sum(sizes):
        raise AudioError(
            path, "cut short: its last page is not whole", "Copy it again from its source"
        )


def _check_sphere(path: Path, file: BinaryIO, size: int) -> None:
    """A text header of fields `name -type value`, padded to the length its second line gives."""
    file.seek(0)
    lines = file.read(1024).split(b"\n")
    try:
        header = int(lines[1])
        file.seek(0)
        rows = (line.split() for line in file.read(header).split(b"\n"))
        fields = {row[0]: row[2] for row in rows if len(row) == 3}
        width = int(fields.get(b"sample_n_bytes", b"2")) * int(fields.get(b"channel_count", b"1"))
        promised = int(fields[b"sample_count"]) * width
    except (IndexError, KeyError, ValueError) as error:
        raise AudioError(
            path, "a NIST SPHERE header that cannot be read", "Copy it again from its source"
        ) from error
    if b"shorten" in fields.get(b"sample_coding", b""):
        raise AudioError(
            path, "NIST SPHERE compressed with shorten", "Unpack it with sph2pipe -f wav"
        )
    if promised > size - header:
        raise _cut(path, promised, size - header)
