"""What libsndfile sees of a file: all of it, or parts, behind another head."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

COPY_AGAIN = "Copy it again from its source"


class Span(NamedTuple):
    """Bytes `start` to `end` of a file, behind `head`."""

    start: int
    end: int
    head: bytes = b""


class Layout(NamedTuple):
    """The container of a file, its parts in order, and why they may not be what was recorded."""

    container: str  # "WAV", "FLAC", ...
    spans: tuple[Span | None, ...] = (None,)  # None: the whole file
    warning: str = ""


class Part(io.RawIOBase):
    """A span of a file as a file, readable and seekable."""

    def __init__(self, path: Path, span: Span) -> None:
        self._file = path.open("rb")
        self._span, self._at = span, 0
        self._size = len(span.head) + span.end - span.start

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer from the current position; return the number of bytes."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._at))
        data = self._span.head[self._at : self._at + count]
        if len(data) < count:
            self._file.seek(self._span.start + self._at + len(data) - len(self._span.head))
            data += self._file.read(count - len(data))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position."""
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def close(self) -> None:
        """Close the file beneath."""
        self._file.close()
        super().close()


@contextmanager
def opened(path: Path, span: Span | None) -> Iterator[Any]:
    """Open a file, or a span of it, as a `soundfile.SoundFile`."""
    import soundfile

    if span is None:  # by the bytes of its name, which may not be UTF-8
        with soundfile.SoundFile(os.fsencode(path) if os.name == "posix" else str(path)) as file:
            yield file
    else:
        with Part(path, span) as part, soundfile.SoundFile(part) as file:
            yield file
