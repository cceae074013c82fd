"""Many recordings -> one folder of feature files: in parallel, resumable, with typed errors.

The folder holds STEM.npy, float32 (frames, columns), or a table of another format, for each
recording, in the tree of the input; and features.json: the meaning of the columns, the
configuration, the versions, each input's sha256. During a run, a journal beside them lists what is
finished, so that the same call can resume an interrupted run and ends with the same bytes.
"""

import glob
import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speechasym import files
from speechasym.asymmetry import surrogates
from speechasym.audio import reading
from speechasym.cluster import run_on_cluster
from speechasym.config import check_count, to_dict
from speechasym.errors import AudioError, ConfigError, OutputError, SpeechAsymError
from speechasym.feature_extraction import features_json, tables
from speechasym.feature_extraction.functionals import check_path, write_functionals
from speechasym.feature_extraction.sets import AsymmetryFeatures, FeatureConfig, feature_config
from speechasym.progress import progress
from speechasym.workers import run_tasks, stop_if_ended

PACKAGES = ("speechasym", "numpy", "numba", "soundfile", "soxr", "torch", "torchaudio")


@dataclass
class Extracted:
    """The outcome for each recording, by its stem in the output folder."""

    written: list[str] = field(default_factory=list)  # computed in this run
    kept: list[str] = field(default_factory=list)  # up to date from an earlier run
    failed: dict[str, str] = field(default_factory=dict)  # with the reason
    warned: dict[str, str] = field(default_factory=dict)  # computed, but the samples look damaged
    # of several channels, of which one or the mean was used
    multichannel: list[str] = field(default_factory=list)
    # with `noise_test`: (track, scale) -> recordings whose asymmetry differs from that of noise at
    # 5 %, and recordings tested
    unlike_noise: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)


def extract(
    inputs: str | Path | Iterable[str | Path], out: str | Path, *, workers: int = 1,
    scheduler: str | None = None, overwrite: bool = False, show_progress: bool = False,
    format: str = "npy", functionals: str | Path | None = None, **options: Any,
) -> Extracted:  # fmt: skip
    """Extract features from recordings into a folder.

    Args:
        inputs: files, folders and glob patterns, of any depth; the tree below a folder, or below
            the part of a pattern without wildcards, is kept.
        out: the folder to fill. A folder begun with the same configuration is continued.
        workers: processes.
        scheduler: of a dask cluster that computes instead, tcp://HOST:PORT, or local:N; its workers
            must share the file system. The result is the same.
        overwrite: replace features of another configuration, and files of other origin.
        show_progress: show a bar, or lines, on stderr.
        format: of the files: npy; csv (7 digits), parquet and hdf5 with a column of times; or
            praat, a Matrix for short recordings. `read_features` reads all of them.
        functionals: .csv or .parquet to write with a row of statistics for each recording in the
            folder, see `speechasym.functionals`.
        options: of the feature set: features="gammatone", rate=100, tracks=("level",), ...

    Returns:
        The stems computed, kept from before, and failed. A bad recording does not stop the others.

    Raises:
        ConfigError: no recordings, two for one output, options out of range, a missing optional
            package, or a cluster that cannot be used (see `cluster.run_on_cluster`).
        OutputError: the folder or the table of functionals cannot be written, is in use, or holds
            something else.

    Example:
        >>> result = speechasym.extract("recordings", "mfcc", features="mfcc")
        >>> result.written
        ['anna/take1', 'ben/take1']
        >>> np.load("mfcc/anna/take1.npy").shape
        (110, 39)
    """
    config = feature_config(**options)
    recordings = find(inputs)
    out = Path(out)
    check_count("workers", workers)
    ending = tables.ending(format)
    summary = None if functionals is None else check_path(Path(functionals))
    if summary is not None and not overwrite:
        files.check_replaceable([summary])
    with files.locked_folder(out):
        head = {
            "format": 1,
            "config": to_dict(config),
            "columns": config.columns(),
            "versions": {"python": platform.python_version()} | files.package_versions(PACKAGES),
        } | ({} if format == "npy" else {"table": format})
        known = features_json.known_records(out, head, overwrite)
        if not overwrite:
            features_json.check_unknown(out, recordings, ending)
        result = Extracted()
        tasks = [
            (stem, path, out, config, format, known.get(stem)) for stem, path in recordings.items()
        ]
        with (
            features_json.journal(out, head, known) as write,
            progress(len(tasks), "extract", show_progress) as step,
        ):
            for stem, record, reason, kept in _run(tasks, workers, scheduler):
                if record is None:
                    result.failed[stem] = reason
                    known.pop(stem, None)
                else:
                    (result.kept if kept else result.written).append(stem)
                    known[stem] = record
                    if not kept:
                        write({"stem": stem, "record": record})
                step()
        result.failed = dict(sorted(result.failed.items()))
        index = head | {"recordings": known, "failed": result.failed}
        files.write_json(out / features_json.INDEX, index)
        (out / features_json.JOURNAL).unlink(missing_ok=True)
        if summary is not None and known:
            write_functionals(out, summary, overwrite)
    result.written.sort()
    result.kept.sort()
    for stem in sorted(result.written + result.kept):
        if "warning" in known[stem]:
            result.warned[stem] = known[stem]["warning"]
        if known[stem]["source_channels"] > 1:
            result.multichannel.append(stem)
    for record in known.values():
        for verdict in record.get("noise_test", ()):
            key = verdict["track"], verdict["level"]
            unlike, tested = result.unlike_noise.get(key, (0, 0))
            result.unlike_noise[key] = unlike + (verdict["p"] <= 0.05), tested + 1
    return result


def find(inputs: str | Path | Iterable[str | Path]) -> dict[str, Path]:
    """Files, folders and globs -> {stem in the output folder: recording}.

    Raises `ConfigError` where there are no recordings, or two would share an output.
    """
    if isinstance(inputs, str | Path):
        inputs = [inputs]
    recordings: dict[str, Path] = {}
    for item in inputs:
        for stem, path in _expand(Path(item)):
            other = recordings.setdefault(stem, path)
            if other != path and not (other.exists() and path.exists() and other.samefile(path)):
                problem = f"its results would have the same name, {stem}, as those of {other}"
                raise ConfigError(path, problem, "Rename one, or write them into two folders")
    if not recordings:
        raise ConfigError("inputs", "no recordings given", "Give files, folders or globs")
    return recordings


def _expand(item: Path) -> Iterator[tuple[str, Path]]:
    if os.path.isdir(item):  # unlike Path's, raises nothing where the name is too long
        audio = (path for path in item.rglob("*") if path.suffix.lower() in reading.EXTENSIONS)
        paths = sorted(path for path in audio if path.name[0] != "." and path.is_file())
        if not paths:
            endings = " ".join(sorted(reading.EXTENSIONS))
            raise ConfigError(item, "no audio files in this folder", f"Known endings: {endings}")
        yield from ((path.relative_to(item).with_suffix("").as_posix(), path) for path in paths)
    elif not os.path.exists(item) and glob.has_magic(str(item)):
        matches = sorted(glob.glob(str(item), recursive=True))
        if not matches:
            raise ConfigError(item, "nothing matches this pattern", "Check it, or quote it")
        fixed = Path(*takewhile(lambda part: not glob.has_magic(part), item.parts))
        for path in map(Path, matches):  # the tree below the pattern's fixed part is kept
            if path.is_file():
                yield path.relative_to(fixed).with_suffix("").as_posix(), path
    else:
        yield item.stem, item


Task = tuple[str, Path, Path, FeatureConfig, str, dict[str, Any] | None]
Outcome = tuple[str, dict[str, Any] | None, str, bool]  # stem, record, why it failed, kept


def _run(tasks: list[Task], workers: int, scheduler: str | None) -> Iterator[Outcome]:
    workers = min(workers, len(tasks))
    if scheduler is not None:
        return run_on_cluster(_extract_one, tasks, scheduler, chunk=min(16, 1 + len(tasks) // 64))
    if workers == 1:
        return map(_extract_one, tasks)
    chunk = max(1, min(16, len(tasks) // (workers * 16)))
    preload = [__name__, "speechasym.ops.cpu_gammatone", "speechasym.ops.preloaded"]
    return run_tasks(_extract_one, tasks, workers, chunk=chunk, preload=preload)


def _extract_one(task: Task) -> Outcome:
    """One recording -> its file; bad input becomes a reason, trouble with the output is raised."""
    stem, source, out, config, kind, known = task
    target = out / f"{stem}.{tables.ENDINGS[kind]}"
    noises = config.noise_test if isinstance(config, AsymmetryFeatures) else 0
    try:
        header = reading.info(source)  # first, for the better error
        digest = files.sha256(source, AudioError)
        if known is not None and known["sha256"] == digest and target.is_file():
            return stem, known, "", True
        samples = 0
        beginning: list[NDArray] = []

        def blocks() -> Iterator[NDArray]:
            nonlocal samples
            for block in reading.blocks(source, config.sample_rate, config.channel):
                stop_if_ended()
                if noises and samples < surrogates.LONGEST_S * config.sample_rate:
                    beginning.append(block)
                samples += len(block)
                yield block

        frames = tables.write(target, config.frames(blocks()), config, kind)
    except OutputError:
        raise
    except SpeechAsymError as error:
        return stem, None, str(error), False
    record: dict[str, Any] = {
        "source": str(source), "source_channels": header.channels, "sha256": digest,
        "seconds": round(samples / config.sample_rate, 6), "frames": frames,
    }  # fmt: skip
    if header.warning:
        record["warning"] = header.warning
    if isinstance(config, AsymmetryFeatures) and noises:
        x = np.concatenate(beginning)
        record["noise_test"] = [
            {"track": verdict.track, "level": verdict.scale, "observed": round(verdict.observed, 4),
             "noise": round(verdict.noise, 4), "p": round(verdict.p, 4)}
            for verdict in surrogates.noise_test(x, config.asymmetry(), noises)
        ]  # fmt: skip
    return stem, record, "", False
