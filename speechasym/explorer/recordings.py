"""The recordings that a page may show: files, parts of files, and what is known of them.

Only what was opened when the server started, and what it recorded since, has an id: no request can
name a path.
"""

import glob
import json
import os
import threading
from collections.abc import Hashable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from speechasym import files
from speechasym.annotations.ctm import read_ctm
from speechasym.annotations.intervals import Interval
from speechasym.annotations.tiers import read_tiers, tiers_beside
from speechasym.audio import reading
from speechasym.audio.stretches import Stretches
from speechasym.errors import AudioError, CheckpointError, ConfigError

Tiers = dict[str, list[Interval]]
DESCRIPTION = "model.json"  # in the folder of a finished run
MOST = 20_000  # recordings of a folder that are listed
# annotations that the list looks for; `Recording.tiers` also finds other letter cases
BESIDE = (".TextGrid", ".PHN", ".WRD", ".phn", ".wrd", ".ctm", ".corrected.TextGrid")
CORRECTED = ".corrected"  # before the suffix of a TextGrid with corrected labels


class GoneError(AudioError):
    """A recording that was deleted or changed since it was opened."""


class Recording:
    """A recording, or a part of one: opened when it is first looked at, and checked since.

    Args:
        number: its place in the list of the recordings.
        path: the file.
        name: as shown.
        channel: "mean", or the number of one from 0.
        start, seconds: the part of the file that it is; None: to the end.
        tiers: known besides those of files beside the recording.
    """

    def __init__(
        self, number: int, path: Path, name: str, channel: str | int = "mean",
        start: float = 0.0, seconds: float | None = None, tiers: Tiers | None = None,
    ) -> None:  # fmt: skip
        self.id, self.path, self.name, self.channel = str(number), path, name, channel
        self._start, self._seconds, self._tiers = start, seconds, tiers or {}
        self._lock = threading.RLock()
        self._stretches: Stretches | None = None
        self._seen: tuple[int, int] | None = None  # mtime in ns and size, as opened
        self.version = 0  # of what was opened, for what is kept of it
        self.temporary = False  # lies in a folder that is removed at the end

    def about(self) -> dict[str, object]:
        """Return name, duration and rate from the header, or the error, for the list."""
        row: dict[str, object] = {"id": self.id, "name": self.name}
        try:
            header = reading.info(self.path)
        except (AudioError, ConfigError) as error:
            return row | {"seconds": None, "rate": None, "error": str(error), "tiers": False}
        seconds = self._seconds or (header.frames / header.sample_rate or None)
        stem = self.path.with_suffix("")
        tiers = bool(self._tiers) or any(os.path.exists(f"{stem}{ending}") for ending in BESIDE)
        return row | {"seconds": seconds, "rate": header.sample_rate, "error": None, "tiers": tiers}

    def reopen(self) -> None:
        """Open the file, or read it again if it has changed. Raises `AudioError`."""
        with self._lock:
            stamp = self._stamp()
            if stamp != self._seen:
                self.close()
                self._seen, self.version = stamp, self.version + 1
            _ = self._open

    def close(self) -> None:
        """Close the file until it is needed again."""
        with self._lock:
            if self._stretches is not None:
                self._stretches.close()
            self._stretches = None

    def _stamp(self) -> tuple[int, int]:
        try:
            status = self.path.stat()
        except OSError:
            problem = "has been deleted or moved" if self._seen else "no such file"
            remedy = "Put it back, and choose it again in the list"
            raise GoneError(self.path, problem, remedy) from None
        return status.st_mtime_ns, status.st_size

    @property
    def _open(self) -> Stretches:
        with self._lock:
            stamp = self._stamp()
            self._seen = self._seen or stamp
            if stamp != self._seen:
                problem = "has changed since it was opened"
                remedy = "Choose it again in the list to read it again"
                raise GoneError(self.path, problem, remedy)
            if self._stretches is None:
                self._stretches = Stretches(self.path, self.channel)
            return self._stretches

    @property
    def rate(self) -> int:
        """Samples per second. Raises `AudioError`, `GoneError` if the file has changed."""
        return self._open.sample_rate

    @property
    def channels(self) -> int:
        """Channels of the file, of which `read` returns the mean or one."""
        return self._open.header.channels

    @property
    def first(self) -> int:
        """The sample of the file with which it begins."""
        return round(self._start * self.rate)

    @property
    def samples(self) -> int:
        """Number of samples."""
        rest = max(0, self._open.samples - self.first)
        return rest if self._seconds is None else min(rest, round(self._seconds * self.rate))

    @property
    def seconds(self) -> float:
        """Duration in s."""
        return self.samples / self.rate

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Return the samples (T,) from `start` to `stop`, as far as there are any."""
        first, last = self.first, self.samples
        return self._open.read(first + max(0, start), first + max(0, min(stop, last)))

    def blocks(self, seconds: float = 20.0) -> Iterator[NDArray[np.float32]]:
        """Yield all samples, block by block."""
        size = max(1, round(seconds * self.rate))
        for start in range(0, self.samples, size):
            yield self.read(start, start + size)

    def key(self, *names: Hashable) -> tuple[Hashable, ...]:
        """Return the key of what is computed from these samples."""
        return (self.id, self.version, *names)

    def _annotations(self) -> Iterator[Path]:
        """Yield the annotation files beside the recording."""
        endings = (".textgrid", ".phn", ".wrd", ".ctm")
        beside = self.path.parent.glob(f"{glob.escape(self.path.stem)}.*")
        for path in sorted(beside, key=lambda path: (len(path.name), path.name)):
            stem = path.stem.split(CORRECTED)[0]
            if path.suffix.lower() in endings and stem == self.path.stem and path.is_file():
                yield path

    @property
    def whole(self) -> bool:
        """Whether it is a file as a whole."""
        return self._start == 0 and self.samples == self._open.samples

    def tiers(self) -> Tiers:
        """Return tiers by hand, at times of this recording. Raises `AnnotationError`."""
        tiers = dict(self._tiers)
        if not self.whole:
            return tiers
        tiers |= tiers_beside(self.path)
        for path in self._annotations():
            if path.suffix.lower() == ".ctm":
                rows = read_ctm(path)
                tiers |= {"ctm": rows.get(self.path.stem, [])} if rows else {}
            elif CORRECTED in path.stem:
                mark = path.stem.removeprefix(self.path.stem)[1:]
                tiers |= {f"{name} ({mark})": rows for name, rows in read_tiers(path).items()}
        return tiers


def recordings_of(path: Path, channel: str | int = "mean") -> list[Recording]:
    """Return a file, or the recordings below a folder.

    Raises `AudioError` if there are none, or more than `MOST`.
    """
    if not path.is_dir():
        if not path.exists():
            raise AudioError(path, "no such file or folder", "Check the path")
        return [Recording(0, path, path.name, channel)]
    found: list[Path] = []
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        endings = reading.EXTENSIONS
        found += [Path(folder, n) for n in sorted(names) if Path(n).suffix.lower() in endings]
        if len(found) > MOST:
            problem = f"holds more than {MOST} recordings"
            raise AudioError(path, problem, "Open one of its folders")
    names = [str(file.relative_to(path)) for file in found]
    return [Recording(n, file, names[n], channel) for n, file in enumerate(found)]


def recordings_of_run(folder: Path, channel: str | int = "mean") -> list[Recording]:
    """Return the dev cuts of a run, and the test cuts beside them, with their annotation.

    Raises `CheckpointError` for a run that is not finished, `ConfigError` without its cuts.
    """
    if not (folder / DESCRIPTION).is_file():
        problem = f"is not the folder of a finished run (it has no {DESCRIPTION})"
        raise CheckpointError(folder, problem, "Resume it first: train --resume")
    from speechasym.corpora.manifests import stream_cuts
    from speechasym.training.labels import aligned

    model = files.read_text(folder / DESCRIPTION, CheckpointError)
    dev = Path(json.loads(model)["config"]["data"]["dev"])
    name = dev.name.replace("dev", "test", 1)
    paths = [path for path in dict.fromkeys((dev.with_name(name), dev)) if path.is_file()]
    if not paths:
        problem = f"the dev cuts of its configuration, {dev}, are not there"
        raise ConfigError(folder, problem, f"Give recordings, and --run {folder}")
    recordings: list[Recording] = []
    for _, cut in (row for path in paths for row in stream_cuts(path)):
        sources = getattr(getattr(cut, "recording", None), "sources", [])
        if len(sources) != 1 or sources[0].type != "file" or len(recordings) >= MOST:
            continue  # a mixture, or in an archive
        kinds = (("words", "word"), ("phones", "phone"))
        tiers = {tier: rows for tier, kind in kinds if (rows := aligned(cut, kind))}
        text = " ".join(s.text for s in cut.supervisions if s.text)
        tiers |= {"text": [Interval(0.0, cut.duration, text)]} if text else {}
        recordings.append(
            Recording(
                len(recordings), Path(sources[0].source), cut.id, channel, cut.start,
                cut.duration, tiers,
            )
        )  # fmt: skip
    return recordings
