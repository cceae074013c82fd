"""Any stretch of a recording, read without decoding what lies before it."""

import threading
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechasym.audio import containers, reading
from speechasym.audio.parts import opened


class Stretches:
    """A recording that stays open, of which threads can read any stretch, mono.

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
        self.sample_rate = self.header.sample_rate
        self._channel = reading.channel_number(path, channel, self.header.channels)
        self._lock, self._files = threading.Lock(), ExitStack()
        self._whole: NDArray[np.float32] | None = None
        if self.header.frames:
            spans = containers.check(self.path).spans
            self._parts = [self._files.enter_context(opened(self.path, span)) for span in spans]
            self.samples = self.header.frames
        else:  # only decoding can tell
            self._whole = np.concatenate(list(reading.blocks(path, None, channel)))
            self.samples = len(self._whole)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the samples (T,) from `start` to `stop`, as far as the recording has them.

        Raises `AudioError` where they cannot be decoded, or are not finite.
        """
        start = min(max(0, start), self.samples)
        stop = min(max(start, stop), self.samples)
        if self._whole is not None:
            return self._whole[start:stop]
        pieces, begin = [np.zeros((0, self.header.channels), np.float32)], 0
        try:
            with self._lock:
                for part in self._parts:
                    first, last = max(start - begin, 0), min(stop - begin, part.frames)
                    if first < last:
                        part.seek(first)
                        pieces.append(part.read(last - first, dtype="float32", always_2d=True))
                    begin += part.frames
        except (RuntimeError, ValueError) as error:  # soundfile's are RuntimeErrors
            raise reading.undecodable(self.path, self.header.container, error) from error
        raw = np.concatenate(pieces)
        reading.check_finite(self.path, raw, start, self.sample_rate)
        return raw.mean(1) if self._channel is None else np.ascontiguousarray(raw[:, self._channel])

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._files.close()
