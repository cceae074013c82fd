"""Features as tables in memory: pandas or xarray.

Shapes: F frames, D columns.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from speechasym.config import check_choice
from speechasym.errors import ConfigError
from speechasym.feature_extraction import tables
from speechasym.feature_extraction.features_json import FeatureFolder, open_features

if TYPE_CHECKING:
    import pandas as pd


def read_features(
    source: str | Path, columns: Sequence[str] | None = None, form: str = "pandas"
) -> "pd.DataFrame | Any":
    """Read features that `extract` wrote, of any format, as a table.

    Args:
        source: a feature file beside (or below) its features.json, or the folder.
        columns: names to read, such as level_10; or of tracks, level; default: all.
        form: "pandas", or "xarray" for a `DataArray`.

    Returns:
        A `DataFrame` float32: a row for each frame, indexed by `time`, the start of the frame in s,
        for a folder by (file, time). `attrs` hold units, centre_hz (where columns have one), rate
        in frames per second, and the configuration. A `DataArray` has the dimensions (time,
        column), for a folder (frame, column), and the same as coordinates and attributes.

    Raises:
        ConfigError: not features, unknown columns, a table that does not fit in memory, or a
            missing package.

    Example:
        >>> table = speechasym.read_features("features/speech.csv")
        >>> table.shape, table.attrs["rate"]
        ((299, 64), 100.0)
        >>> round(float(table.loc[1.0:1.5, "level_10"].mean()), 1)  # dB
        -48.2
    """
    check_choice("form", form, ("pandas", "xarray"))
    pandas = tables.optional("pandas", "for tables of features")
    package = tables.optional("xarray", "for form='xarray'") if form == "xarray" else None
    folder = open_features(source)
    about = folder.config.columns()
    chosen = _chosen(folder, columns)
    kept = [about[number] for number in chosen]
    paths = folder.paths
    counts = [folder.recordings[stem]["frames"] for stem in paths]
    _check_memory(folder, sum(counts) * (len(chosen) * 4 + 12), len(about), max(counts))
    values = np.empty((sum(counts), len(chosen)), np.float32)
    place = 0
    for stem, count in zip(paths, counts, strict=True):
        values[place : place + count] = folder.read(stem)[:, chosen]
        place += count
    time = np.concatenate([tables.times(0, count, folder.config) for count in counts])
    attributes = {"rate": folder.config.rate, "config": folder.head["config"]}
    names = [column["name"] for column in kept]
    centres = {c["name"]: c["centre_hz"] for c in kept if "centre_hz" in c}
    if package is not None:
        coordinates: dict[str, Any] = {
            "column": names, "unit": ("column", [column["unit"] for column in kept]),
        }  # fmt: skip
        if len(centres) == len(kept):
            coordinates["centre_hz"] = ("column", list(centres.values()))
        rows = "time"
        if not folder.single:
            rows = "frame"
            coordinates["file"] = ("frame", np.repeat(list(paths), counts))
        coordinates["time"] = (rows, time, {"units": "s"})
        return package.DataArray(values, coordinates, (rows, "column"), "features", attributes)
    index = pandas.Index(time, name="time")
    if not folder.single:
        codes = np.repeat(np.arange(len(counts)), counts)
        file = pandas.Categorical.from_codes(codes, list(paths))
        index = pandas.MultiIndex.from_arrays([file, time], names=["file", "time"])
    frame = pandas.DataFrame(values, index, names, copy=False)
    units = {column["name"]: column["unit"] for column in kept}
    frame.attrs = {"units": units, "centre_hz": centres, **attributes}
    return frame


def _chosen(folder: FeatureFolder, columns: Sequence[str] | None) -> list[int]:
    about = folder.config.columns()
    if columns is None:
        return list(range(len(about)))
    chosen: list[int] = []
    for name in [columns] if isinstance(columns, str) else columns:
        which = [n for n, c in enumerate(about) if name in (c["name"], c.get("track"))]
        if not which:
            known = ", ".join(dict.fromkeys(str(c.get("track", c["name"])) for c in about))
            problem = f"{name!r} is not a column, nor one of the tracks {known}"
            raise ConfigError("columns", problem, f"Use for example {about[0]['name']}")
        chosen += which
    return chosen


def _check_memory(folder: FeatureFolder, needed: int, columns: int, longest: int) -> None:
    """Raise `ConfigError` where a table needs more memory than is free."""
    needed += longest * columns * 4  # while a file is read
    free = free_memory()
    if needed > free:
        sizes = f"{needed / 1e9:.2g} GB, and {free / 1e9:.2g} GB of memory are free"
        remedy = "Read some columns=[...], or file by file, or extract at a lower rate"
        raise ConfigError(folder.source, f"its table takes {sizes}", remedy)


def free_memory() -> float:
    """Return the bytes of memory that can be had without swapping; infinity if unknown."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return np.inf
