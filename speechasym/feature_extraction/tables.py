"""Feature files in the formats of other programs: .npy, .csv, .parquet, .h5 and Praat's .Matrix.

All but Praat's are written part by part, so that memory does not grow with the recording. Tables
have a column `time`: the start of each frame in seconds.

Shapes: F frames, D columns.
"""

import json
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechasym import files
from speechasym.config import check_choice, to_dict
from speechasym.errors import ConfigError
from speechasym.feature_extraction.sets import Columns, FeatureConfig

ENDINGS = {"npy": "npy", "csv": "csv", "parquet": "parquet", "hdf5": "h5", "praat": "Matrix"}
SUFFIXES = tuple(f".{ending}" for ending in ENDINGS.values())
MOST_IN_PRAAT = 1 << 26  # numbers in a Matrix, which is made and opened as a whole: 1 GB of text
GROUP = 1 << 20  # numbers written at a time

Parts = Iterator[NDArray[np.float32]]


def ending(kind: str) -> str:
    """Return the ending of a format's files; check that it is known and can be written.

    Raises `ConfigError` for another format, or where the package that writes it is missing.
    """
    check_choice("format", kind, ENDINGS)
    for needs, module in (("parquet", "pyarrow"), ("hdf5", "h5py")):
        if kind == needs:
            optional(module, f"to write {kind}")
    return ENDINGS[kind]


def optional(module: str, purpose: str) -> Any:
    """Import an optional package. Raises `ConfigError` where it is missing."""
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        remedy = "pip install 'speechasym[tables]'"
        raise ConfigError(module, f"must be installed {purpose}", remedy) from error


def write(path: Path, parts: Parts, config: FeatureConfig, kind: str) -> int:
    """Write the frames (n, D) of a recording as a file; return the number of frames.

    Raises `OutputError` where it cannot be written, `ConfigError` where it is too large for Praat.
    """
    if kind == "npy":
        return files.write_rows(path, parts, len(config.columns()))
    writers: dict[str, Callable[[Path, Parts, FeatureConfig], int]] = {
        "csv": _write_csv, "parquet": _write_parquet, "hdf5": _write_hdf5, "praat": _write_praat,
    }  # fmt: skip
    return writers[kind](path, parts, config)


def read(path: Path) -> NDArray[np.float32]:
    """Read the frames (F, D) of a file that `write` wrote; .npy stays on disk until it is used.

    Raises `ConfigError` for another ending, or a file that cannot be read.
    """
    suffix = path.suffix[1:]
    if path.suffix not in SUFFIXES:
        problem = f"must end in one of {' '.join(SUFFIXES)}"
        raise ConfigError(path, problem, "Give a file written by extract")
    if not path.is_file():
        raise ConfigError(path, "no such file", "Check the path")
    try:
        if suffix == "npy":
            values = np.load(path, mmap_mode="r", allow_pickle=False)
        elif suffix == "csv":
            values = _read_csv(path)
        elif suffix == "parquet":
            parquet = optional("pyarrow.parquet", f"to read {path}")
            table = parquet.read_table(path, use_threads=False).drop_columns(["time"])
            values = np.stack([column.to_numpy() for column in table.columns], 1)
        elif suffix == "h5":
            with optional("h5py", f"to read {path}").File(path) as file:
                values = file["features"][:]
        else:
            values = _read_praat(path)
    except (OSError, ValueError, KeyError, EOFError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(path, f"cannot be read ({reason})", "Extract it again") from error
    if values.ndim != 2:
        raise ConfigError(path, f"must hold (frames, columns), got {values.shape}", "Check it")
    return values


def times(first: int, frames: int, config: FeatureConfig) -> NDArray[np.float64]:
    """Return when frames begin, in s (F,)."""
    return np.arange(first, first + frames) / config.rate


def _grouped(parts: Parts, columns: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Join parts until they are worth a write: the number of the first frame, and the frames."""
    waiting: list[NDArray] = []
    first = rows = 0
    for part in chain(parts, [None]):
        if part is not None:
            waiting.append(part)
            rows += len(part)
        if rows and (part is None or rows * columns >= GROUP):
            yield first, np.concatenate(waiting)
            first, rows, waiting = first + rows, 0, []


def _write_csv(path: Path, parts: Parts, config: FeatureConfig) -> int:
    """Write comma-separated text, with seven significant digits."""
    names = [column["name"] for column in config.columns()]
    line, count = ",".join(["%.6f", *["%.7g"] * len(names)]) + "\n", 0
    with files.atomic(path) as file:
        file.write((",".join(["time", *names]) + "\n").encode())
        for first, rows in _grouped(parts, len(names)):
            table = np.column_stack([times(first, len(rows), config), rows])
            file.write("".join(line % tuple(row) for row in table.tolist()).encode())
            count = first + len(rows)
    return count


def _read_csv(path: Path) -> NDArray[np.float32]:
    lines = files.read_text(path, ConfigError).splitlines()[1:]
    if not lines:
        raise ValueError("only a line")
    return np.loadtxt(lines, np.float32, delimiter=",", ndmin=2)[:, 1:]


def _write_parquet(path: Path, parts: Parts, config: FeatureConfig) -> int:
    """Write Apache Parquet; units are in the metadata of the columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns, count = config.columns(), 0
    fields = [pa.field("time", pa.float64(), metadata={"unit": "s"})]
    fields += [pa.field(c["name"], pa.float32(), metadata={"unit": c["unit"]}) for c in columns]
    about = {"speechasym": json.dumps({"config": to_dict(config)})}
    schema = pa.schema(fields, metadata=about)
    with files.atomic(path) as file, pq.ParquetWriter(file, schema) as writer:
        for first, rows in _grouped(parts, len(columns)):
            arrays = [times(first, len(rows), config), *np.ascontiguousarray(rows.T)]
            writer.write_table(pa.Table.from_arrays([pa.array(a) for a in arrays], schema=schema))
            count = first + len(rows)
    return count


def _write_hdf5(path: Path, parts: Parts, config: FeatureConfig) -> int:
    """Write HDF5: features (F, D), time (F,), and name and unit of the columns (D,)."""
    import h5py

    columns, count = config.columns(), 0
    with files.atomic(path) as part, h5py.File(part.name, "w") as file:
        size = max(1, min(1024, GROUP // len(columns)))
        features = file.create_dataset(
            "features", (0, len(columns)), "f4", maxshape=(None, len(columns)),
            chunks=(size, len(columns)),
        )  # fmt: skip
        for first, rows in _grouped(parts, len(columns)):
            count = first + len(rows)
            features.resize(count, 0)
            features[first:] = rows
        file["time"] = times(0, count, config)
        file["column"] = [column["name"] for column in columns]
        file["unit"] = [column["unit"] for column in columns]
        file.attrs["rate"] = config.rate
        file.attrs["config"] = json.dumps(to_dict(config))
    return count


def _write_praat(path: Path, parts: Parts, config: FeatureConfig) -> int:
    """Write a Praat Matrix: a row for each column of the features, a column for each frame."""
    columns, count, waiting = len(config.columns()), 0, []
    for part in parts:
        waiting.append(part)
        count += len(part)
        if count * columns > MOST_IN_PRAAT:
            problem = f"more than {MOST_IN_PRAAT} numbers, too many for a Matrix"
            raise ConfigError(path, problem, "Use the format parquet, or shorter recordings")
    step = 1 / config.rate
    head = [0, count * step, count, step, step / 2, 0.5, columns + 0.5, columns, 1, 1]
    with files.atomic(path) as file:
        file.write(b'File type = "ooTextFile"\nObject class = "Matrix 2"\n\n')
        file.write("".join(f"{number:.12g}\n" for number in head).encode())
        for row in np.concatenate(waiting).T:
            file.write(("%.7g\n" * count % tuple(row.tolist())).encode())
    return count


def _read_praat(path: Path) -> NDArray[np.float32]:
    lines = files.read_text(path, ConfigError).split("\n")
    if 'Object class = "Matrix 2"' not in lines[:3]:
        raise ValueError("not a Matrix")
    numbers = np.array(lines[3:-1], np.float64)
    return numbers[10:].reshape(int(numbers[7]), int(numbers[2])).T.astype(np.float32)


def write_wide(path: Path, names: Columns, rows: Iterator[list[Any]]) -> None:
    """Write rows of texts and numbers as .csv or .parquet, row by row.

    Args:
        names: name, unit and type (str, int or float) of each column.
    """
    if path.suffix == ".csv":
        with files.atomic(path) as file:
            file.write((",".join(column["name"] for column in names) + "\n").encode())
            for row in rows:
                file.write((",".join(map(_cell, row)) + "\n").encode("utf-8", "surrogateescape"))
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    fields = [pa.field(c["name"], kinds[c["type"]], metadata={"unit": c["unit"]}) for c in names]
    schema = pa.schema(fields)
    size = max(1, GROUP // len(names))
    with files.atomic(path) as file, pq.ParquetWriter(file, schema) as writer:
        while waiting := list(islice(rows, size)):
            cells = zip(*waiting, strict=True)
            arrays = [pa.array(c, f.type) for c, f in zip(cells, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.7g}"
    text = str(value)
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n\r') else text
