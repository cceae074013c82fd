"""Any stretch of a recording, read without what lies before it."""

import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechasym.audio import containers, reading
from speechasym.audio.parts import opened

# encodings in which libsndfile finds each sample. Others (Vorbis, Opus, MP3, ADPCM) are decoded
# from the beginning: after a seek, its samples may differ or lie elsewhere.
_SEEKABLE = ("PCM", "FLOAT", "DOUBLE", "ULAW", "ALAW")
_IN_MEMORY = 1 << 23  # samples; more are kept in a temporary file


class Stretches:
    """A recording that stays open, of which threads can read any stretch, mono.

    A compressed recording other than FLAC is decoded when it is opened, and kept in memory, or a
    long one in a temporary file of 4 bytes a sample.

    Args:
        path: an audio file.
        channel: "mean" of all channels, or the number of one from 0.

    Raises:
        AudioError: unreadable, truncated, or without samples.
        ConfigError: no such channel.

    Example:
        >>> recording = Stretches("speech.flac")
        >>> x = recording.read(16000, 32000)  # (16000,)
    """

    def __init__(self, path: str | Path, channel: str | int = "mean") -> None:
        self.path, self.header = Path(path), reading.info(path)
        self.sample_rate, self.samples = self.header.sample_rate, self.header.frames
        self._channel = reading.channel_number(path, channel, self.header.channels)
        self._lock, self._files = threading.Lock(), ExitStack()
        self._decoded: NDArray[np.float32] | None = None
        if self.samples and self.header.subtype.startswith(_SEEKABLE):
            spans = containers.check(self.path).spans
            self._parts = [self._files.enter_context(opened(self.path, span)) for span in spans]
        else:
            self._parts = []
            self._decode(channel)

    def _decode(self, channel: str | int) -> None:
        blocks = reading.blocks(self.path, None, channel)
        if 0 < self.samples <= _IN_MEMORY:
            self._decoded = np.concatenate(list(blocks))
            self.samples = len(self._decoded)
            return
        self._file = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        self.samples = sum(self._file.write(block.data) // 4 for block in blocks)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the samples (T,) from `start` to `stop`, as far as the recording has them.

        Raises `AudioError` where they cannot be decoded, or are not finite.
        """
        start = min(max(0, start), self.samples)
        stop = min(max(start, stop), self.samples)
        if self._decoded is not None:
            return self._decoded[start:stop]
        try:
            with self._lock:
                return self._read(start, stop)
        except (RuntimeError, ValueError) as error:  # soundfile's are RuntimeErrors
            raise reading.undecodable(self.path, self.header.container, error) from error

    def _read(self, start: int, stop: int) -> NDArray[np.float32]:
        if not self._parts:
            self._file.seek(4 * start)
            return np.frombuffer(self._file.read(4 * (stop - start)), np.float32)
        pieces, begin = [np.zeros((0, self.header.channels), np.float32)], 0
        for part in self._parts:
            first, last = max(start - begin, 0), min(stop - begin, part.frames)
            if first < last:
                part.seek(first)
                pieces.append(part.read(last - first, dtype="float32", always_2d=True))
            begin += part.frames
        raw = np.concatenate(pieces)
        reading.check_finite(self.path, raw, start, self.sample_rate)
        if self._channel is None and raw.shape[1] > 1:
            return raw.mean(1)
        return np.ascontiguousarray(raw[:, self._channel or 0])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._files.close()
