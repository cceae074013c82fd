"""Features of cuts, computed once and stored in lhotse's Shar format: tar files of numpy arrays.

A file holds `BLOCK` neighbouring cuts, in all their variants that recur, as float16. Its name is a
hash of everything that its features depend on, so that a folder may serve several runs: the code
that computes them, their configuration, the cuts with path, size and time of their recordings, and
their variants. Labels, the model, the place of the manifest and other code do not count. Features
are read from their place in a file; nothing else of it is in memory.
"""

import hashlib
import io
import json
import math
import os
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from speechasym import files
from speechasym.config import to_dict
from speechasym.corpora.manifests import parse_cut
from speechasym.errors import AudioError, ConfigError, OutputError
from speechasym.feature_extraction.sets import FeatureConfig
from speechasym.progress import progress
from speechasym.training.augment import Variant
from speechasym.training.cut_features import FeatureTask, features_of
from speechasym.training.feature_code import code_version
from speechasym.workers import run_tasks

if TYPE_CHECKING:
    from lhotse.cut import Cut

FORMAT = 2  # of the folder; 1 was a .npy file for each variant
ABOUT = "speechasym-features.json"
ENDING = bytes(1024)  # of a tar file
Place = tuple[int, tuple[int, ...]]  # byte, shape


class Shard(NamedTuple):
    """A file of features, and what it is computed from."""

    path: Path
    lines: bytes  # of the cuts, compressed
    variants: list[tuple[Variant, ...]]  # by cut
    noises: "list[Cut]"  # that the variants refer to
    config: FeatureConfig
    skip: bool  # leave out cuts that cannot be read


class FeatureStore:
    """Features by cut and variant, in a folder."""

    def __init__(self, folder: str | Path, variants: int, block: int) -> None:
        self.folder, self.variants, self.block = Path(folder), variants, block
        self.paths: list[Path] = []
        self._places: dict[int, list[Place | None]] = {}  # {file: where its arrays are}

    def open_folder(self) -> None:
        """Create the folder. Raises `ConfigError` if it holds another format of features."""
        about = self.folder / ABOUT
        if about.exists():
            kept = None
            with suppress(OSError, ValueError, LookupError, TypeError):
                kept = json.loads(about.read_bytes())["format"]
            if kept != FORMAT:
                problem = f"stores features in format {kept}, but this version reads {FORMAT}"
                raise ConfigError(self.folder, problem, "Remove it, or set another data.cache")
        else:
            files.write_json(about, {"format": FORMAT})

    def fill(self, shards: Iterator[Shard], workers: int, what: str, show_progress: bool) -> None:
        """Compute the files that are missing or truncated.

        Processes of torchrun start at different files, and leave out those that another has
        written meanwhile.

        Raises `AudioError` naming the cut, and `OutputError` if the disk is full.
        """
        wanted = []
        for shard in shards:
            self.paths.append(shard.path)
            if not _is_whole(shard.path):
                wanted.append(shard)
        rank, size = (int(os.environ.get(n, d)) for n, d in (("RANK", "0"), ("WORLD_SIZE", "1")))
        first = len(wanted) * rank // size
        wanted = wanted[first:] + wanted[:first]
        results: Iterator[int] = map(write_shard, wanted)
        if workers > 1 and len(wanted) > 1:
            results = run_tasks(write_shard, wanted, workers)
        with progress(sum(len(shard.variants) for shard in wanted), what, show_progress) as step:
            for count in results:
                for _ in range(count):
                    step()

    def shard(
        self, lines: bytes, variants: list[tuple[Variant, ...]], noises: "list[Cut]",
        config: FeatureConfig, skip: bool,
    ) -> Shard:  # fmt: skip
        """Return a file of the folder, whether or not it exists."""
        identities = [_identity(json.loads(line)) for line in unpack_lines(lines)]
        others = [
            _identity(noises[variant.noise].to_dict())
            for row in variants
            for variant in row
            if variant.noise is not None
        ]
        home = Path(__file__).parents[1]
        content = [FORMAT, code_version(home), to_dict(config), identities, variants, others]
        text = json.dumps(content, sort_keys=True, default=str)
        key = hashlib.sha256(text.encode()).hexdigest()
        path = self.folder / key[:2] / f"features.{key}.tar"
        return Shard(path, lines, variants, noises, config, skip)

    def read(self, cut: int, variant: int, name: str) -> NDArray[np.float16]:
        """Return the features (F, D) of a cut's recurring variant. `name`: the cut's id.

        Raises:
            AudioError: the cut could not be read when the features were stored.
            OutputError: the file is damaged, or was removed.
        """
        block = cut // self.block
        path = self.paths[block]
        try:
            with path.open("rb") as file:
                if block not in self._places:
                    self._places[block] = _places(file)
                place = self._places[block][cut % self.block * self.variants + variant]
                if place is None:
                    problem = "its recording could not be read when features were stored"
                    raise AudioError(f"cut {name}", problem, "Restore it")
                start, shape = place
                file.seek(start)
                rows = np.fromfile(file, np.float16, math.prod(shape)).reshape(shape)
        except (OSError, ValueError, LookupError, EOFError, tarfile.TarError) as error:
            problem = f"is damaged or gone, with the features of cut {name} ({error})"
            remedy = "Run again, with --resume: what is missing is computed again"
            raise OutputError(path, problem, remedy) from error
        return rows


def write_shard(shard: Shard) -> int:
    """Compute and write a file, atomically, if it is missing; return its number of cuts."""
    if _is_whole(shard.path):
        return len(shard.variants)
    rate = shard.config.rate
    part = shard.path.with_name(f"{uuid4().hex}.tar")  # other runs may share the folder
    with files.atomic(part) as file, tarfile.open(fileobj=file, mode="w") as tar:
        for line, variants in zip(unpack_lines(shard.lines), shard.variants, strict=True):
            cut = parse_cut(line)
            for number, variant in enumerate(variants):
                noise = None if variant.noise is None else shard.noises[variant.noise]
                name = f"{cut.id}-{number}"
                try:
                    rows = half(features_of(FeatureTask(cut, shard.config, variant, noise)), cut.id)
                except AudioError:
                    if not shard.skip:
                        raise
                    _add(tar, f"{name}.nodata", b"")
                    _add(tar, f"{name}.nometa", b"")
                    continue
                array = io.BytesIO()
                np.save(array, rows, allow_pickle=False)
                _add(tar, f"{name}.npy", array.getvalue())
                about = {  # lhotse.Features
                    "type": type(shard.config).__name__, "num_frames": len(rows),
                    "num_features": rows.shape[1], "frame_shift": 1 / rate,
                    "sampling_rate": shard.config.sample_rate, "start": 0,
                    "duration": len(rows) / rate, "storage_type": "shar", "storage_path": "",
                    "storage_key": "", "recording_id": cut.id, "channels": 0,
                }  # fmt: skip
                _add(tar, f"{name}.json", json.dumps(about).encode())
    part.replace(shard.path)
    return len(shard.variants)


def pack_lines(lines: Sequence[bytes]) -> bytes:
    """Compress lines."""
    return zlib.compress(b"\n".join(lines), 1)


def unpack_lines(packed: bytes) -> list[bytes]:
    """Return the lines that `pack_lines` compressed."""
    return zlib.decompress(packed).split(b"\n")


def half(rows: NDArray[np.float32], name: str) -> NDArray[np.float16]:
    """Return features as they are stored, and trained on. Raises `AudioError` if one overflows."""
    with np.errstate(over="ignore"):
        rounded = rows.astype(np.float16)
    if not np.isfinite(rounded).all():
        problem = f"a feature of {np.abs(rows).max():g} is more than float16 holds (65504)"
        raise AudioError(f"cut {name}", problem, "Set data.features.normalise: utterance")
    return rounded


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _places(file: Any) -> list[Place | None]:
    """Return where the arrays of a file are, None for those that are left out."""
    with tarfile.open(fileobj=file, mode="r:") as tar:
        members = [m for m in tar if m.name.endswith((".npy", ".nodata"))]
    places: list[Place | None] = []
    for member in members:
        if member.name.endswith(".nodata"):
            places.append(None)
            continue
        file.seek(member.offset_data)
        np.lib.format.read_magic(file)
        shape, *order = np.lib.format.read_array_header_1_0(file)
        if order != [False, np.float16]:
            raise ValueError(f"{member.name} is not float16")
        places.append((file.tell(), shape))
    return places


def _is_whole(path: Path) -> bool:
    """Whether a tar file exists and has its ending."""
    with suppress(OSError), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size and size % tarfile.RECORDSIZE == 0:
            file.seek(-len(ENDING), os.SEEK_END)
            return file.read() == ENDING
    return False


def _identity(part: Any) -> Any:
    """Return a cut's dictionary without its supervisions, with size and time of its files."""
    if isinstance(part, list | tuple):
        return [_identity(item) for item in part]
    if not isinstance(part, dict):
        return part
    kept = {k: _identity(v) for k, v in part.items() if k not in ("supervisions", "custom")}
    if isinstance(part.get("source"), str):
        with suppress(OSError):
            stat = os.stat(part["source"])
            kept["stat"] = [stat.st_size, stat.st_mtime_ns]
    return kept
