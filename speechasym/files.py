"""Nothing is ever half-written: a temporary file beside the target, fsync, then a rename."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from speechasym.errors import OutputError

SUFFIX = ".part"


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """A binary file that becomes `path` when the block ends well, and vanishes when it does not.

    Raises:
        OutputError: it cannot be written: no space, no permission, a file-size limit.
    """
    part = path.with_name(f".{path.name}{SUFFIX}")
    own = {None, *map(str, (part, path, *path.parents))}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        _remove(part)
        if error.filename not in own:  # an error of reading, raised inside the block
            raise
        raise OutputError(
            path,
            f"cannot be written ({error.strerror})",
            "Free space there, or choose a folder that you may write to",
        ) from error
    except BaseException:
        _remove(part)
        raise


@contextmanager
def locked_folder(out: Path) -> Iterator[None]:
    """Hold a folder, created if missing, locked against a second run that would write into it.

    Raises:
        OutputError: the folder cannot be created, or another process holds it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            out, f"cannot be created ({error.strerror})", "Choose another folder"
        ) from error
    if os.name != "posix":
        yield
        return
    import fcntl

    handle = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OutputError(
                out, "another run is writing into this folder", "Wait for it, or choose another"
            ) from error
        yield
    finally:
        os.close(handle)  # frees the lock, as the end of the process would


def _remove(part: Path) -> None:
    with suppress(OSError):  # it may never have been made
        part.unlink()


def write_json(path: Path, content: Any) -> None:
    """Readable, sorted, with a newline at the end: the same content gives the same bytes."""
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    with atomic(path) as file:
        # a file name that is no UTF-8 holds surrogates: JSON's \udcXX, read back the same
        file.write(text.encode("utf-8", "backslashreplace"))


def write_rows(path: Path, parts: Iterator[NDArray[np.float32]], columns: int) -> int:
    """A .npy of float32 (rows, columns), written part by part; returns the number of rows."""
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
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<f4", "fortran_order": False, "shape": (rows, columns)}
    )
