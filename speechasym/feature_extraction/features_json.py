"""A folder of features while it is filled: features.json, and the journal of a run.

features.json describes the folder once a run has ended; until then a journal lists the finished
recordings, so that an interrupted run can resume.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym import files
from speechasym.errors import ConfigError, OutputError
from speechasym.feature_extraction import tables
from speechasym.feature_extraction.sets import FeatureConfig, feature_config

INDEX = "features.json"
JOURNAL = ".features.journal"


class FeatureFolder(NamedTuple):
    """A folder that `extract` filled, or one file in it."""

    source: Path  # folder or file
    head: dict[str, Any]  # features.json
    config: FeatureConfig
    recordings: dict[str, dict[str, Any]]  # record by stem, in order
    single: bool  # one file

    @property
    def paths(self) -> dict[str, Path]:
        """The feature file of each recording."""
        if self.single:
            return dict.fromkeys(self.recordings, self.source)
        ending = tables.ENDINGS[self.head.get("table", "npy")]
        return {stem: self.source / f"{stem}.{ending}" for stem in self.recordings}

    def read(self, stem: str) -> NDArray[np.float32]:
        """Read the frames (F, D) of a recording. Raises `ConfigError` where they do not fit."""
        path, record = self.paths[stem], self.recordings[stem]
        values = tables.read(path)
        wanted = (record["frames"], len(self.config.columns()))
        if values.shape != wanted:
            problem = f"shape {values.shape} does not match {INDEX}, {wanted}"
            raise ConfigError(path, problem, "Extract it again")
        return values


def open_features(source: str | Path) -> FeatureFolder:
    """Open a folder that `extract` filled, or a feature file below one.

    Raises `ConfigError` for anything else.
    """
    path = Path(source)
    if not path.exists():
        raise ConfigError(path, "no such file or folder", "Check the path")
    places = [path] if path.is_dir() else list(path.resolve().parents)
    folder = next((place for place in places if (place / INDEX).exists()), None)
    if folder is None:
        where = "in it" if path.is_dir() else "beside or above it"
        problem = f"there is no {INDEX} {where} to describe it"
        remedy = "Run `speechasym extract` first, or to the end"
        if not path.is_dir():
            remedy = f"Give a file that `speechasym extract` wrote: {', '.join(tables.SUFFIXES)}"
        raise ConfigError(path, problem, remedy)
    try:
        head = json.loads((folder / INDEX).read_text("utf-8"))
        config = feature_config(**head["config"])
        recordings = dict(sorted(head["recordings"].items()))
        tables.ENDINGS[head.get("table", "npy")]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        problem = f"does not describe features ({error})"
        raise ConfigError(folder / INDEX, problem, "Extract them again") from error
    if path.is_dir():
        if not recordings:
            raise ConfigError(path, "holds no features", "Extract some recordings into it")
        return FeatureFolder(path, head, config, recordings, False)
    stem = path.resolve().relative_to(folder).with_suffix("").as_posix()
    if stem not in recordings:
        remedy = "Give a file that `speechasym extract` wrote, or extract it again"
        raise ConfigError(path, f"is not listed in {folder / INDEX}", remedy)
    return FeatureFolder(path, head, config, {stem: recordings[stem]}, True)


def check_unknown(out: Path, stems: Iterable[str], ending: str) -> None:
    """Raise `OutputError` for a file that would be replaced, and that `extract` did not write.

    An interrupted run may have written some that its journal does not list yet.
    """
    if (out / JOURNAL).exists():
        return
    listed: set[str] = set()
    if (out / INDEX).exists():
        index = json.loads((out / INDEX).read_text("utf-8"))
        listed = {*index.get("recordings", ()), *index.get("failed", ())}
    for stem in stems:
        path = out / f"{stem}.{ending}"
        if stem not in listed and os.path.exists(path):  # False for names that are too long
            remedy = "Choose another folder, or --overwrite to replace it"
            raise OutputError(path, "exists, and is not listed in features.json", remedy)


def known_records(out: Path, head: dict[str, Any], overwrite: bool) -> dict[str, dict[str, Any]]:
    """Read what earlier runs with the same head finished: {stem: record}.

    Raises `OutputError` where the folder has another configuration or is damaged, unless
    `overwrite`.
    """
    known: dict[str, dict[str, Any]] = {}
    try:
        if (out / INDEX).exists():
            index = json.loads((out / INDEX).read_text("utf-8"))
            known |= index["recordings"]
            if known:  # a folder without features may get any
                _check_same(out, index, head)
        if (out / JOURNAL).exists():
            lines = (out / JOURNAL).read_text("utf-8").splitlines()
            if len(lines) > 1:
                _check_same(out, json.loads(lines[0]), head)
            for line in lines[1:]:
                try:
                    entry = json.loads(line)
                except json.JSONDecodeError:
                    break  # the line that was being written when the run was interrupted
                known[entry["stem"]] = entry["record"]
    except OutputError:
        if not overwrite:
            raise
        return {}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        if overwrite or not (out / INDEX).exists():
            return {}
        remedy = "Choose another folder, or --overwrite"
        raise OutputError(out / INDEX, "does not describe features", remedy) from error
    return known


def _check_same(out: Path, old: dict[str, Any], head: dict[str, Any]) -> None:
    tables_of = [index.get("table", "npy") for index in (old, head)]
    if tables_of[0] != tables_of[1]:
        problem = f"holds features of another format ({tables_of[0]} -> {tables_of[1]})"
        raise OutputError(out, problem, "Choose another folder, or --overwrite")
    for part in ("config", "versions"):
        if old[part] != head[part]:
            names = [k for k in head[part] if old[part].get(k) != head[part][k]]
            changes = ", ".join(f"{k} {old[part].get(k)} -> {head[part][k]}" for k in names)
            problem = f"holds features of another run ({part}: {changes})"
            raise OutputError(out, problem, "Choose another folder, or --overwrite to replace them")


@contextmanager
def journal(
    out: Path, head: dict[str, Any], known: dict[str, dict[str, Any]]
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that writes the record of a finished recording into the journal.

    The journal is rewritten with what is known, so that it keeps nothing of another configuration
    and no incomplete line.
    """
    lines = [head, *({"stem": stem, "record": record} for stem, record in known.items())]
    with files.atomic(out / JOURNAL) as new:
        new.write("".join(json.dumps(line) + "\n" for line in lines).encode())
    if not known:
        (out / INDEX).unlink(missing_ok=True)  # it describes files that are about to be replaced
    try:
        with (out / JOURNAL).open("a") as file:

            def write(entry: dict[str, Any]) -> None:
                file.write(json.dumps(entry) + "\n")
                file.flush()

            yield write
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise OutputError(out / JOURNAL, problem, "Free space, or check access") from error
