"""Features of cuts, computed in several processes and kept in a folder between runs.

Shapes: F frames, D columns.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from speechasym import files
from speechasym.audio import reading
from speechasym.config import to_dict
from speechasym.errors import AudioError, SpeechAsymError
from speechasym.feature_extraction.sets import FeatureConfig
from speechasym.progress import progress
from speechasym.training.augment import Variant
from speechasym.training.cuts import load_samples
from speechasym.workers import run_tasks

if TYPE_CHECKING:
    from lhotse.cut import Cut

FORMAT = 1  # of the cache
# code that features depend on: if any of it changes, the cache is stale
CODE = ("training/cuts.py", "training/feature_cache.py")
SOURCES = ("ops", "audio", "auditory", "asymmetry", "feature_extraction", *CODE)


class FeatureTask(NamedTuple):
    """Features to compute, of a cut or a variant of it."""

    cut: "Cut"
    config: FeatureConfig
    variant: Variant = Variant()
    noise: "Cut | None" = None
    cache: str | None = None  # folder


def features_of_all(
    tasks: Sequence[FeatureTask], workers: int, what: str, show_progress: bool
) -> Iterator[NDArray[np.float32]]:
    """Yield the features (F, D) of each task, in order. Raises `AudioError` naming the cut."""
    results: Iterator[NDArray[np.float32]] = map(features_of, tasks)
    if workers > 1 and len(tasks) >= 2 * workers:
        results = run_tasks(features_of, tasks, workers, in_order=True, chunk=4)
    with progress(len(tasks), what, show_progress) as step:
        for rows in results:
            yield rows
            step()


def features_of(task: FeatureTask) -> NDArray[np.float32]:
    """Return the features (F, D) of a task, from the cache if it has them."""
    if task.cache is None:
        return _compute(task)
    key = _cache_key(task)
    path = Path(task.cache) / key[:2] / f"{key}.npy"
    with suppress(OSError, ValueError, EOFError):  # missing or truncated
        kept = np.load(path, allow_pickle=False)
        if kept.ndim == 2 and kept.dtype == np.float32:
            return kept
    rows = _compute(task)
    part = path.with_name(f"{path.stem}-{uuid4().hex}")  # other runs may share the cache
    files.write_rows(part, iter([rows]), rows.shape[1])
    part.replace(path)
    return rows


def _compute(task: FeatureTask) -> NDArray[np.float32]:
    cut, variant, rate = task.cut, task.variant, task.config.sample_rate
    x = load_samples(cut, rate / variant.speed, task.config.channel)
    if task.noise is not None:
        longest = task.noise.duration
        seconds = min(len(x) / rate, longest)
        offset = variant.place * (longest - seconds)
        noise = load_samples(task.noise.truncate(offset=offset, duration=seconds), rate)
        if noise.any() and x.any():  # silence has no ratio
            x = reading.add_noise(x, noise, variant.snr_db)
    try:
        rows = np.concatenate(list(task.config.frames([x])))
    except SpeechAsymError as error:
        raise AudioError(f"cut {cut.id}", str(error).rstrip("."), "Leave it out") from error
    if not np.isfinite(rows).all():
        raise AudioError(f"cut {cut.id}", "its features are not finite", "Leave it out")
    return np.ascontiguousarray(rows, np.float32)


def _cache_key(task: FeatureTask) -> str:
    """Return a hash of everything that a task's features depend on."""
    cuts = [_identity(cut.to_dict()) for cut in (task.cut, task.noise) if cut is not None]
    variant = [task.variant.speed, task.variant.place, task.variant.snr_db]
    home = Path(__file__).parents[1]
    content = [FORMAT, code_version(home), to_dict(task.config), cuts, variant]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


@cache
def code_version(home: Path, sources: tuple[str, ...] = SOURCES) -> str:
    """Return the version of the package in `home`, and a hash of the modules in `sources`."""
    digest = hashlib.sha256()
    for source in sources:
        path = home / source
        modules = [path] if path.is_file() else sorted(path.rglob("*.py"))
        if not modules:
            raise RuntimeError(f"{path} has no modules: SOURCES is out of date")
        for module in modules:
            digest.update(module.read_bytes())
    return f"{files.package_versions(['speechasym'])['speechasym']} {digest.hexdigest()}"


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
