"""Recordings in the forms that users have: files, and sounds in memory with or without their rate.

`blocks` and `load` are the one way in for every function that takes a recording. Samples become
mono float32, full scale 1.

Shapes: T samples, C channels.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.audio import reading
from speechasym.config import check_range
from speechasym.errors import AudioError, ConfigError

Source = Any  # a file, samples, samples with their rate, a dict of `datasets`, a lhotse cut
# what WAV readers return, by numpy's name: the value of full scale, and of silence
_INTEGERS = {"int16": (1 << 15, 0), "int32": (1 << 31, 0), "uint8": (1 << 7, 1 << 7)}
_MOST_GUESSED = 2  # channels of an array whose axes have no names: more may be a batch
_FORMS = "a file, samples (T,), (samples, rate), a dict with array and sampling_rate, or a cut"


class _Sound(NamedTuple):
    """What a source in memory says of itself."""

    samples: Any  # as they were given
    sample_rate: Any = None  # Hz; None: unknown
    name: str = "source"
    channels_first: bool = False  # known to be (C, T)


def is_recording(source: Source) -> bool:
    """Whether a source is a whole recording that knows its sample rate, unlike bare samples."""
    known = isinstance(source, str | Path | Mapping) or _with_rate(source) is not None
    return known or hasattr(source, "load_audio") or hasattr(source, "get_all_samples")


def name_of(source: Source) -> str:
    """Return the path, the id or "source", to name a recording in titles and errors."""
    if isinstance(source, str | Path):
        return str(source)
    if isinstance(source, Mapping):
        return str(source.get("path") or "source")
    cut = hasattr(source, "load_audio") and hasattr(source, "id")  # a set of cuts has no id
    return f"cut {source.id}" if cut else "source"


def load(
    source: Source, sample_rate: int | None = None, channel: str | int = "mean"
) -> tuple[NDArray[np.float32], int]:
    """Read a whole recording, mono: samples (T,) and their sample rate in Hz.

    Args:
        source: a file; samples with their rate, (x, 44100); a dict {"array": ..., "sampling_rate":
            ...} as in `datasets`; a lhotse cut or recording; or a decoder of torchcodec. See
            `mono` for the samples.
        sample_rate, channel: as in `reading.blocks`, which needs less memory for long files.

    Raises:
        AudioError: unreadable, truncated, without samples, or with NaN or infinite samples.
        ConfigError: a source of another kind or without a rate, unusable samples, no such channel.

    Example:
        >>> x, rate = speechasym.load("speech.wav", sample_rate=16000)
        >>> x.shape, rate
        ((47840,), 16000)
        >>> y, rate = speechasym.load({"array": x, "sampling_rate": 16000}, sample_rate=8000)
    """
    if isinstance(source, str | Path):
        header = reading.info(source)
        if header.warning:
            reading.log.warning("%s: %s", source, header.warning)
        rate = header.sample_rate if sample_rate is None else sample_rate
        return np.concatenate(list(reading.blocks(source, sample_rate, channel))), rate
    return _resampled(source, sample_rate, channel, None)


def blocks(
    source: Source,
    sample_rate: int | None = None,
    channel: str | int = "mean",
    own_rate: int | None = None,
    seconds: float = reading.BLOCK_SECONDS,
) -> Iterator[NDArray[np.float32]]:
    """Return a recording as mono blocks (T,); files are never read as a whole.

    Args:
        own_rate: Hz of samples that do not tell their rate.
        source, sample_rate, channel, seconds: see `load` and `reading.blocks`. Errors as there.
    """
    if isinstance(source, str | Path):
        return reading.blocks(source, sample_rate, channel, seconds)
    x, rate = _resampled(source, sample_rate, channel, own_rate)
    size = max(1, round(seconds * rate))
    return (x[i : i + size] for i in range(0, len(x), size))


def mono(
    samples: Any, channel: str | int = "mean", name: str = "source", channels_first: bool = False
) -> NDArray[np.float32]:
    """Return samples (T,) as float32, full scale 1.

    Integers as WAV readers return them are scaled: int16, int32, and uint8 around 128. Of two
    axes, the one with at most two entries is that of the channels.

    Args:
        samples: an array, a tensor or a list.
        channel: "mean" of all channels, or the number of one from 0.
        name: of the samples, for the errors.
        channels_first: the axes are known to be (C, T).

    Raises:
        ConfigError: samples of another type or shape, not finite, or none; no such channel.
    """
    x = _scaled(_array(samples, name), name)
    if x.ndim == 2 and x.size:
        if not channels_first:
            x = _channels_first(x, name)
        number = reading.channel_number(name, channel, len(x))
        x = x.mean(0) if number is None else x[number]
    if x.ndim != 1 or not x.size:
        remedy = "Give one recording that has samples, as (T,) or (channels, T)"
        raise ConfigError(name, f"must be samples of one sound, got shape {x.shape}", remedy)
    x = np.ascontiguousarray(x, np.float32)
    if not np.isfinite(x).all():
        first = int(np.isfinite(x).argmin())
        raise ConfigError(name, f"sample {first} is {x[first]}", "Give finite samples")
    return x


def _resampled(
    source: Source, sample_rate: int | None, channel: str | int, own_rate: int | None
) -> tuple[NDArray[np.float32], int]:
    check_range("sample_rate", sample_rate, "16000", above=True)
    sound = _sound(source)
    rate = _rate(sound, own_rate)
    x = mono(sound.samples, channel, sound.name, sound.channels_first)
    if sample_rate in (None, rate):
        return x, rate
    import soxr

    y = soxr.resample(x, rate, sample_rate, quality="HQ")
    if not len(y):
        problem = f"too short: {len(x)} samples at {rate} Hz are less than one at {sample_rate} Hz"
        raise ConfigError(sound.name, problem, "Leave it out, or keep its sample rate")
    return y, sample_rate


def _sound(source: Source) -> _Sound:
    """Take apart what is not a file. Raises `ConfigError`, or `AudioError` where a cut fails."""
    name = name_of(source)
    if isinstance(source, Mapping):
        return _from_dict(source, name)
    if hasattr(source, "load_audio"):  # a cut or recording of lhotse
        if not hasattr(source, "id"):
            problem = f"must be one recording, got {type(source).__name__}"
            raise ConfigError(name, problem, "Give its cuts one by one")
        try:
            samples = source.load_audio()
        except Exception as error:  # lhotse's readers each raise errors of their own
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            remedy = "Check the files that its manifest names"
            raise AudioError(name, f"its recording cannot be read ({reason})", remedy) from error
        if samples is None:
            raise AudioError(name, "it has no recording", "Give a cut with a recording")
        return _Sound(samples, source.sampling_rate, name, True)
    if hasattr(source, "get_all_samples"):  # a decoder of torchcodec, as newer `datasets` give
        decoded = source.get_all_samples()
        return _Sound(decoded.data, decoded.sample_rate, name, True)
    return _with_rate(source) or _Sound(source)


def _with_rate(source: Source) -> _Sound | None:
    """Take apart (samples, rate), or (rate, samples) as SciPy returns it; None for others."""
    if isinstance(source, tuple) and len(source) == 2:
        numbers = [isinstance(part, int | float | np.number) for part in source]
        if numbers == [False, True]:
            return _Sound(source[0], source[1])
        if numbers == [True, False]:
            return _Sound(source[1], source[0])
    return None


def _from_dict(source: Mapping[str, Any], name: str) -> _Sound:
    if source.get("array") is None:
        remedy = 'Give {"array": samples, "sampling_rate": Hz}'
        if "audio" in source:
            remedy = 'Give the recording in it, example["audio"]'
        elif source.get("bytes") is not None or source.get("path"):
            remedy = 'Decode it: dataset.cast_column("audio", Audio()), or give the path of a file'
        keys = ", ".join(map(str, source)) or "nothing"
        problem = f"must hold decoded samples under array, got a dict with {keys}"
        raise ConfigError(name, problem, remedy)
    if source.get("sampling_rate") is None:
        raise ConfigError(name, "its dict has an array, but no sampling_rate", "Add it, in Hz")
    return _Sound(source["array"], source["sampling_rate"], name)


def _rate(sound: _Sound, own_rate: Any) -> int:
    rates = [_whole(rate) for rate in (sound.sample_rate, own_rate) if rate is not None]
    if not rates:
        remedy = "Use sample_rate=16000, or give (samples, 16000)"
        raise ConfigError("sample_rate", "is required with samples", remedy)
    if rates[0] != rates[-1]:
        problem = f"{own_rate} Hz was given, but {sound.name} has {sound.sample_rate} Hz"
        raise ConfigError("sample_rate", problem, "Leave sample_rate out")
    return rates[0]


def _whole(rate: Any) -> int:
    try:
        hertz = int(rate)
        valid = hertz == float(rate) and hertz > 0
    except (TypeError, ValueError, OverflowError):
        valid = False
    if not valid:
        remedy = "Use for example 16000"
        raise ConfigError("sample_rate", f"must be whole Hz > 0, got {rate!r}", remedy)
    return hertz


def _array(samples: Any, name: str) -> NDArray:
    """Return an array of numbers. Raises `ConfigError` for anything else."""
    kind = getattr(samples, "dtype", type(samples).__name__)
    if hasattr(samples, "detach"):  # a tensor
        samples = samples.detach().cpu()
        if samples.is_floating_point():
            samples = samples.float()  # numpy has no bfloat16
    try:
        x = np.asarray(samples)
    except (ValueError, TypeError):  # lists of different lengths
        x = np.zeros(0, object)
    if x.dtype.kind not in "fiu":
        problem = f"must be a recording, got {kind}"
        raise ConfigError(name, problem, f"Use {_FORMS}")
    return x


def _scaled(x: NDArray, name: str) -> NDArray[np.float32]:
    """Return samples at full scale 1. Raises `ConfigError` for integers without a full scale."""
    kind = x.dtype.name
    if x.dtype.kind != "f" and kind not in _INTEGERS:
        problem = f"must be floating-point samples, int16, int32 or uint8, got {kind}"
        raise ConfigError(name, problem, "Scale to full scale 1: x = x / 32768 for 16 bits")
    if kind == "int32" and x.any() and x.min() >= -(1 << 15) and x.max() < 1 << 15:
        problem = f"int32 samples from {x.min()} to {x.max()} look like 16 bits"
        raise ConfigError(name, problem, "Use x.astype('int16'), or scale them: x / 2**31")
    full, silence = _INTEGERS.get(kind, (1, 0))
    x = x.astype(np.float32, copy=False)
    return x if full == 1 else (x - np.float32(silence)) / np.float32(full)


def _channels_first(x: NDArray, name: str) -> NDArray:
    """Return samples of two axes as (C, T). Raises `ConfigError` where that is a guess."""
    few = [axis for axis in (0, 1) if x.shape[axis] <= _MOST_GUESSED]
    if len(few) != 1:
        problem = f"shape {x.shape} does not tell which axis is that of the channels"
        remedy = "Give one sound, (T,): one row of a batch, or the mean of the channels"
        raise ConfigError(name, problem, remedy)
    return x if few == [0] else x.T
