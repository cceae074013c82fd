"""Read text files; write files atomically, by a temporary file and a rename; lock folders."""

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from speechasym.errors import ConfigError, OutputError, SpeechAsymError
from speechasym.ops import folder_lock

SUFFIX = ".part"
WRITTEN = ".speechasym.json"  # in a folder: {name: sha256} of the files that commands wrote there


def read_bytes(path: str | Path, error: type[SpeechAsymError]) -> bytes:
    """Read a file, gzipped or not. Raises `error` if it cannot be read."""
    try:
        raw = Path(path).read_bytes()
        return gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    except (OSError, EOFError, zlib.error) as cause:
        reason = (isinstance(cause, OSError) and cause.strerror) or cause
        raise error(path, f"cannot be read ({reason})", "Check the path and the file") from cause


def read_text(
    path: str | Path, error: type[SpeechAsymError], *, utf16: bool = False, latin1: bool = False
) -> str:
    """Read a text file in UTF-8, gzipped or not; its lines end with line feeds alone.

    Args:
        error: class of the error to raise.
        utf16: also accept UTF-16 that starts with a byte order mark.
        latin1: take what is not UTF-8 for Latin-1.

    Raises:
        error: the file cannot be read, is empty, or is not text.
    """
    raw = read_bytes(path, error)
    wide = utf16 and raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    kind = "UTF-8 or marked UTF-16" if utf16 else "UTF-8"
    try:
        text = raw.decode("utf-16" if wide else "utf-8-sig")
        position = -1 if wide else raw.find(0)
    except UnicodeDecodeError as cause:
        text, position = raw.decode("latin-1"), raw.find(0) if latin1 and not wide else cause.start
    if position >= 0:
        line = raw.count(b"\n", 0, position) + 1
        problem = f"byte {position} is not {'text' if raw[position] == 0 else kind + ' text'}"
        raise error(f"{path}:{line}", problem, "Save the file as UTF-8 text")
    if not text.strip():
        raise error(path, "is empty", "Check the file")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def sha256(
    path: Path, error: type[SpeechAsymError] = ConfigError, remedy: str = "Check the path"
) -> str:
    """Return the sha256 of a file in hexadecimal. Raises `error` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as cause:
        raise error(path, f"cannot be read ({cause.strerror})", remedy) from cause


def package_versions(names: Iterable[str]) -> dict[str, str]:
    """Return the installed version of each package, or `unknown`, for files that record it."""
    from importlib.metadata import PackageNotFoundError, version

    versions = dict.fromkeys(names, "unknown")
    for name in versions:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a binary file that becomes `path` when the block succeeds, and vanishes when it fails.

    Raises `OutputError` if it cannot be written: no space, no permission, a file-size limit.
    """
    part = path.with_name(f".{path.name}{SUFFIX}")
    targets = {None, *map(str, (part, path, *path.parents))}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException as error:
        with suppress(OSError):  # it may not exist
            part.unlink()
        if not isinstance(error, OSError) or error.filename not in targets:
            raise  # by the block, perhaps for a file that it reads
        remedy = "Free some space, or choose a folder that you can write to"
        raise OutputError(path, f"cannot be written ({error.strerror})", remedy) from error


@contextmanager
def replacing(*paths: str | Path | None, overwrite: bool) -> Iterator[None]:
    """Protect the work of others from a block that writes these files; None stands for no file.

    Raises `OutputError`, before the block, for a file that `record_written` does not know.
    """
    targets = [Path(path) for path in paths if path is not None]
    if not overwrite:
        check_replaceable(targets)
    yield
    for path in targets:
        record_written(path)


def check_replaceable(paths: Iterable[Path]) -> None:
    """Raise `OutputError` unless each file is absent, or still as `record_written` found it.

    A file that was edited since, or of which nothing is known, is the work of somebody.
    """
    for path in paths:
        if not path.is_file():
            continue
        remedy = "Choose another file or folder, or give --overwrite to replace it"
        if _written(path.parent).get(path.name) != sha256(path, OutputError, remedy):
            raise OutputError(
                path, "exists, and was not written by speechasym, or was changed since", remedy
            )


def record_written(path: Path) -> None:
    """Record a file that was just written, so that the next run of the command may replace it."""
    if path.is_file():
        with suppress(OutputError):  # then the next run asks for --overwrite
            digest = sha256(path, OutputError)
            write_json(path.parent / WRITTEN, _written(path.parent) | {path.name: digest})


def _written(folder: Path) -> dict[str, str]:
    try:
        record = json.loads((folder / WRITTEN).read_bytes())
    except (OSError, ValueError):  # ValueError: not JSON, or not UTF-8
        return {}
    return record if isinstance(record, dict) else {}


@contextmanager
def locked_folder(out: Path) -> Iterator[None]:
    """Hold a folder, created if missing, locked against a second run that would write into it.

    Raises `OutputError` if the folder cannot be created, or another process holds it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"cannot be created ({error.strerror})"
        raise OutputError(out, problem, "Choose another folder") from error
    with folder_lock.locked(out) as free:
        if not free:
            problem = "another run is writing into this folder"
            raise OutputError(out, problem, "Wait for it, or choose another")
        yield


def write_json(path: Path, content: Any) -> None:
    """Write readable, sorted JSON, of which the same content gives the same bytes."""
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    with atomic(path) as file:
        # names that are not UTF-8 hold surrogates: JSON's \udcXX, which reads back the same
        file.write(text.encode("utf-8", "backslashreplace"))


def write_rows(path: Path, parts: Iterator[NDArray[np.float32]], columns: int) -> int:
    """Write a .npy file of float32 (rows, columns), part by part; return the number of rows."""
    rows = 0
    with atomic(path) as file:
        _npy_header(file, rows, columns)
        start = file.tell()
        for part in parts:
            file.write(np.ascontiguousarray(part, "<f4").data)
            rows += len(part)
        file.seek(0)
        _npy_header(file, rows, columns)
        assert file.tell() == start  # numpy leaves room in the header for the first axis to grow
    return rows


def _npy_header(file: BinaryIO, rows: int, columns: int) -> None:
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, columns)}
    np.lib.format.write_array_header_1_0(file, header)
