"""Functionals: statistics of each column of features over a recording, one row for each recording.

Shapes: F frames, D columns, S statistics.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speechasym import files
from speechasym.errors import ConfigError
from speechasym.feature_extraction import tables
from speechasym.feature_extraction.features_json import FeatureFolder, open_features
from speechasym.feature_extraction.sets import Columns

if TYPE_CHECKING:
    import pandas as pd

PERCENTILES = (5, 25, 50, 75, 95)
STATISTICS = ("mean", "sd", "slope", *(f"p{p:02d}" for p in PERCENTILES), "range")
BLOCK = 1 << 22  # numbers sorted at a time


def functionals(source: str | Path) -> "pd.DataFrame":
    """Compute mean, deviation, slope, percentiles and range of each column of features.

    Args:
        source: a folder that `extract` filled, or one of its files.

    Returns:
        A row for each recording: seconds, frames, and for each column C_mean; C_sd (standard
        deviation, over F); C_slope (of a straight line, per second; NaN for a single frame);
        C_p05, C_p25, C_p50, C_p75, C_p95 (percentiles) and C_range (largest minus smallest). The
        index holds the recordings' names in the folder, `attrs["units"]` the units.

    Raises:
        ConfigError: not features that `extract` wrote, or pandas is not installed.

    Example:
        >>> table = speechasym.functionals("features")
        >>> round(float(table.loc["speech", "level_10_p95"]), 1)  # dB
        -32.7
    """
    pandas = tables.optional("pandas", "for tables of functionals")
    folder = open_features(source)
    names = columns(folder)
    frame = pandas.DataFrame(list(_rows(folder)), columns=[name["name"] for name in names])
    frame.attrs["units"] = {name["name"]: name["unit"] for name in names[1:]}
    return frame.set_index("file")


def check_path(path: Path) -> Path:
    """Return the path of a table of functionals. Raises `ConfigError` for an unknown ending."""
    if path.suffix not in (".csv", ".parquet"):
        raise ConfigError(path, "must end in .csv or .parquet", "Use for example functionals.csv")
    if path.suffix == ".parquet":
        tables.optional("pyarrow", "to write parquet")
    return path


def write_functionals(folder: Path, path: Path, overwrite: bool) -> None:
    """Write the table of `functionals` as .csv or .parquet, row by row.

    Raises `OutputError` where it cannot be written, or would replace the work of others.
    """
    opened = open_features(folder)
    with files.replacing(path, overwrite=overwrite):
        tables.write_wide(path, columns(opened), _rows(opened))


def columns(folder: FeatureFolder) -> Columns:
    """Return name, unit and type of the table's columns."""
    table: Columns = [
        {"name": "file", "unit": "", "type": str}, {"name": "seconds", "unit": "s", "type": float},
        {"name": "frames", "unit": "", "type": int},
    ]  # fmt: skip
    for column in folder.config.columns():
        for statistic in STATISTICS:
            unit = column["unit"] + ("/s" if statistic == "slope" else "")
            table.append({"name": f"{column['name']}_{statistic}", "unit": unit, "type": float})
    return table


def _rows(folder: FeatureFolder) -> Iterator[list[Any]]:
    for stem, path in folder.paths.items():
        values = folder.read(stem)
        if not len(values):
            raise ConfigError(path, "has no frames", "Extract it again")
        seconds = folder.recordings[stem]["seconds"]
        statistics = summarise(values, folder.config.rate)
        yield [stem, float(seconds), len(values), *statistics.ravel().tolist()]


def summarise(values: NDArray[np.float32], rate: float) -> NDArray[np.float64]:
    """Features (F, D) at `rate` frames a second -> their statistics (D, S), see `functionals`."""
    frames, count = values.shape
    seconds = (np.arange(frames) - (frames - 1) / 2) / rate
    spread = (seconds**2).sum()
    parts = []
    step = max(1, BLOCK // frames)
    for first in range(0, count, step):
        block = np.asarray(values[:, first : first + step], np.float64)
        slope = seconds @ block / spread if frames > 1 else np.full(block.shape[1], np.nan)
        percentiles = np.percentile(block, PERCENTILES, axis=0)
        rows = [block.mean(0), block.std(0), slope, *percentiles, np.ptp(block, 0)]
        parts.append(np.stack(rows, 1))
    return np.concatenate(parts)
