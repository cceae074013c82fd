"""Units that a run has found: which unit of each level is heard when, as intervals and tokens.

A level's segments are its events, or where it has none, its steps with the same strongest unit. A
segment's unit is the one that holds in it, or has most of its activation.

Shapes: F frames, S segments, U units.
"""

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym import files
from speechasym.annotations.intervals import Interval
from speechasym.annotations.textgrid import write_textgrid
from speechasym.audio import sources
from speechasym.audio.sources import Source
from speechasym.corpora.manifests import MANIFEST_SUFFIXES, stream_cuts
from speechasym.errors import AudioError, ConfigError
from speechasym.feature_extraction import extraction
from speechasym.levels.hierarchy import Hierarchy
from speechasym.levels.level import LevelOutput
from speechasym.levels.units import shares
from speechasym.recognition.segments import LONGEST_S, Segment, normalised, segments
from speechasym.recognition.trained_model import TrainedModel, open_run
from speechasym.training.cuts import load_samples

TOKENS = "units.jsonl"  # of all recordings, in the output folder


class LevelUnits(NamedTuple):
    """The units of a level in a recording."""

    level: int  # from 0, the lowest
    size: int  # U, how many units the level has
    units: NDArray[np.int64]  # (S,) numbers from 0, in order of time
    times: NDArray[np.float64]  # (S, 2) start and end, s

    @property
    def intervals(self) -> list[Interval]:
        """The segments, named after the numbers of their units."""
        rows = zip(self.times.tolist(), self.units.tolist(), strict=True)
        return [Interval(start, end, str(unit)) for (start, end), unit in rows]


class DiscoveredFile(NamedTuple):
    """The units in one of several recordings."""

    name: str
    seconds: float
    levels: list[LevelUnits]  # empty if it failed
    error: AudioError | None
    written: tuple[Path, ...]


def discover_units(
    source: Source,
    run: str | Path | TrainedModel,
    sample_rate: int | None = None,
    *,
    levels: Sequence[int] | None = None,
    longest: float = LONGEST_S,
) -> list[LevelUnits]:
    """Find the units of a run's levels in one recording.

    Args:
        source: a file, samples (T,) at `sample_rate` Hz, or a recording that knows its rate.
        run: folder of a finished run, trained with or without labels.
        sample_rate: of samples.
        levels: numbers from 0, the lowest; default: all that have units.
        longest: s that are read at once; longer recordings are cut where it is quietest.

    Raises:
        AudioError: the recording cannot be read, is empty, or is digital silence.
        CheckpointError: not a finished run.
        ConfigError: no level of the run has units, or not this one.

    Example:
        >>> for level in speechasym.discover_units("speech.wav", "run"):
        ...     print(level.level, len(level.units), level.times.shape)
        0 35 (35, 2)
        1 25 (25, 2)
    """
    trained = open_run(run)
    rate = trained.feature_config.sample_rate
    own_rate = None if sources.is_recording(source) else sample_rate
    blocks = sources.blocks(source, rate, trained.feature_config.channel, own_rate)
    name = str(source) if isinstance(source, str | Path) else "recording"
    return _discover(blocks, trained, checked_levels(trained, levels), name, longest)


def discover_files(
    inputs: str | Path | Sequence[str | Path],
    run: str | Path | TrainedModel,
    out: str | Path,
    *,
    levels: Sequence[int] | None = None,
    longest: float = LONGEST_S,
    overwrite: bool = False,
) -> Iterator[DiscoveredFile]:
    """Find the units in recordings one after another, and write them into a folder.

    For each recording STEM.TextGrid, with a tier for each level, and STEM.npz, with `level0` (S,)
    and `level0_times` (S, 2) in s and so on; of all together units.jsonl, in which each line is
    {"id", "level", "units", "times"} of one level of a recording.
    Of several recordings, one that cannot be read is reported in its result, and the others
    continue.

    Args:
        inputs: files, folders, glob patterns, or manifests of cuts.
        out: folder, created if missing.
        overwrite: replace files that were not written here, or were changed since.
        run, levels, longest: see `discover_units`.

    Raises:
        AudioError: the only recording cannot be read, is empty or silent.
        CheckpointError, ConfigError: see `discover_units`; nothing was found.
        OutputError: a file cannot be written, or must not be replaced.

    Example:
        >>> for result in speechasym.discover_files(["talks"], "run", "units"):
        ...     print(result.name, [len(level.units) for level in result.levels])
        one [35, 25]
    """
    trained, folder = open_run(run), Path(out)
    wanted = checked_levels(trained, levels)
    recordings = _recordings([inputs] if isinstance(inputs, str | Path) else inputs)
    targets = {name: (folder / f"{name}.TextGrid", folder / f"{name}.npz") for name in recordings}
    table = folder / TOKENS
    if not overwrite:
        files.check_replaceable([table, *(path for pair in targets.values() for path in pair)])
    lines: list[str] = []
    for name, source in recordings.items():
        try:
            found, seconds = _of_one(source, trained, wanted, name, longest)
        except AudioError as error:
            if len(recordings) == 1:
                raise
            yield DiscoveredFile(name, 0.0, [], error, ())
            continue
        grid, arrays = targets[name]
        write_textgrid(grid, {f"level {row.level}": row.intervals for row in found}, seconds)
        _write_arrays(arrays, found)
        lines += [json.dumps(_line(name, row)) + "\n" for row in found]
        for path in (grid, arrays):
            files.record_written(path)
        yield DiscoveredFile(name, seconds, found, None, (grid, arrays))
    if lines:
        with files.atomic(table) as file:
            file.write("".join(lines).encode("utf-8", "backslashreplace"))
        files.record_written(table)


def checked_levels(trained: TrainedModel, levels: Sequence[int] | None = None) -> list[int]:
    """Return the levels, by default all with units. Raises `ConfigError` for one without."""
    model = trained.model
    if not isinstance(model, Hierarchy):
        problem = "has no units: its model has no levels"
        raise ConfigError(trained.name, problem, "Give one run of a model with levels")
    having = [number for number, level in enumerate(model.config.levels) if level.units]
    if not having:
        remedy = "Train one with model.every={units: 64}, see docs/units.md"
        raise ConfigError(trained.name, "has no units at any level", remedy)
    for number in levels or ():
        if number not in having:
            known = ", ".join(map(str, having))
            problem = f"level {number} has no units, or does not exist"
            raise ConfigError("levels", problem, f"Use {known}")
    return sorted(set(levels)) if levels else having


def _recordings(inputs: Sequence[str | Path]) -> "dict[str, Any]":
    """Return {name: path, or cut of a manifest}, as `extraction.find` does."""
    manifests = [i for i in inputs if str(i).removesuffix(".gz").endswith(MANIFEST_SUFFIXES)]
    others = [item for item in inputs if item not in manifests]
    found: dict[str, Any] = dict(extraction.find(others)) if others or not manifests else {}
    for path in manifests:
        for _, cut in stream_cuts(path):
            if cut.id in found:
                problem = f"its cut {cut.id} has the name of another recording"
                raise ConfigError(path, problem, "Write them into two folders")
            found[cut.id] = cut
    return found


def _of_one(
    source: Any, trained: TrainedModel, levels: Sequence[int], name: str, longest: float
) -> tuple[list[LevelUnits], float]:
    """Return the units and the length in s of a path or cut."""
    config = trained.feature_config
    if isinstance(source, Path):
        blocks: Iterable[Any] = sources.blocks(source, config.sample_rate, config.channel, None)
        name = str(source)
    else:
        blocks = [load_samples(source, config.sample_rate, config.channel)]
    samples = 0

    def counted() -> Iterator[NDArray[np.float32]]:
        nonlocal samples
        for block in blocks:
            samples += len(block)
            yield block

    found = _discover(counted(), trained, levels, name, longest)
    seconds = samples / config.sample_rate
    for row in found:
        np.minimum(row.times, seconds, out=row.times)
    return found, seconds


def _discover(
    blocks: Iterable[NDArray[np.float32]], trained: TrainedModel, levels: Sequence[int], name: str,
    longest: float,
) -> list[LevelUnits]:  # fmt: skip
    config, model = trained.feature_config, trained.model
    assert isinstance(model, Hierarchy)  # `checked_levels` has made sure
    parts: dict[int, list[tuple[NDArray, NDArray]]] = {number: [] for number in levels}
    silent = True
    for segment in segments(blocks, config, longest):
        silent &= segment.silent
        if segment.silent and segment.end == segment.start:
            continue
        output = trained.output(normalised(segment.rows, config))
        for number in levels:
            parts[number].append(_within(output.levels[number], segment))
    if silent:
        problem = "is digital silence, or has no samples"
        raise AudioError(name, problem, "Give a recording with sound")
    result = []
    for number, rows in parts.items():
        units = np.concatenate([units for units, _ in rows])
        frames = np.concatenate([frames for _, frames in rows])
        times = np.maximum(0.0, frames / config.rate - trained.delay)
        if len(times):  # so that segments cover the recording
            times[0, 0] = 0.0
            times[-1, 1] = frames[-1, 1] / config.rate
        result.append(LevelUnits(number, model.config.levels[number].units, units, times))
    return result


def _within(level: LevelOutput, segment: Segment) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return units (S,) and frames (S, 2), from the recording's start, of a segment's steps."""
    steps = int(level.mask[0].sum())
    assert level.activation is not None
    activation = shares(level.activation[0, :steps]).numpy()
    start, end = (part[0, :steps].numpy() + segment.first for part in (level.start, level.end))
    middle = (start + end) / 2
    kept = (middle >= segment.start) & (middle < segment.end)
    if level.events is None:
        strongest = activation.argmax(1)
        of_step = np.cumsum(np.diff(strongest, prepend=strongest[:1]) != 0)
    else:
        of_step = level.events.of_step[0, :steps].numpy()
    of_step, start, end, activation = (x[kept] for x in (of_step, start, end, activation))
    first = np.flatnonzero(np.diff(of_step, prepend=-1))
    last = np.append(first[1:], len(of_step)) - 1
    if not len(first):
        return np.zeros(0, np.int64), np.zeros((0, 2), np.int64)
    if level.winner is not None:
        units = level.winner[0, :steps].numpy()[kept][first]
    else:
        units = np.add.reduceat(activation, first, axis=0).argmax(1)
    frames = np.stack([start[first], end[last]], 1)
    frames[1:, 0] = frames[:-1, 1]  # frames between steps belong to the earlier one
    return units.astype(np.int64), frames


def _line(name: str, row: LevelUnits) -> Mapping[str, Any]:
    times = [[round(start, 4), round(end, 4)] for start, end in row.times.tolist()]
    return {"id": name, "level": row.level, "units": row.units.tolist(), "times": times}


def _write_arrays(path: Path, found: Sequence[LevelUnits]) -> None:
    arrays: dict[str, NDArray[Any]] = {f"level{row.level}": row.units for row in found}
    arrays |= {f"level{row.level}_times": row.times for row in found}
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    with files.atomic(path) as file:
        file.write(content.getvalue())
