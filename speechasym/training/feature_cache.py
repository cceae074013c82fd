"""Features of cuts, in memory: each as it is, and at other speeds or in noise.

What a variant is depends on the seed, the cut's id and the variant's number only.

Shapes: T samples, F frames, D columns.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from speechasym import files
from speechasym.audio import reading
from speechasym.corpora.manifests import read_cuts
from speechasym.errors import AudioError, ConfigError, OutputError, SpeechAsymError
from speechasym.feature_extraction import sets
from speechasym.feature_extraction.sets import FeatureConfig
from speechasym.progress import progress
from speechasym.training.config import AugmentConfig
from speechasym.workers import run_tasks

if TYPE_CHECKING:
    from lhotse.cut import Cut

FORMAT = 1  # of the cache
# packages whose code decides what features are: a change of theirs makes the cache stale
_SOURCES = ("ops", "audio", "auditory", "asymmetry", "feature_extraction")


class Variant(NamedTuple):
    """How a cut is changed before its features are computed."""

    speed: float = 1.0
    noise: int | None = None  # number in the list of noises
    place: float = 0.0  # where the noise is taken from, as a share of what is possible
    snr_db: float = 0.0


class Task(NamedTuple):
    """Features to compute."""

    cut: "Cut"
    variant: Variant
    noise: "Cut | None"
    config: FeatureConfig
    cache: str | None


def draw(augment: AugmentConfig, noises: int, name: str, number: int, seed: int) -> Variant:
    """Variant `number` of cut `name`: speeds in turn, noise and its place and ratio at random."""
    turn = np.random.default_rng(_number(seed, name)).integers(len(augment.speeds))
    speed = augment.speeds[(number + int(turn)) % len(augment.speeds)]
    rng = np.random.default_rng(_number(seed, name, number))
    noisy, which, place, level = rng.random(4)
    if not noises or noisy >= augment.noise_share:
        return Variant(speed)
    low, high = augment.snr_db
    return Variant(speed, int(which * noises), float(place), low + (high - low) * float(level))


def _number(*parts: Any) -> int:
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8])


def read_noises(place: str) -> "list[Cut]":
    """Cuts of noise from a manifest, or of every recording below a folder. Raises `ConfigError`."""
    from lhotse import CutSet, Recording

    path = Path(place)
    if not path.is_dir():
        return list(read_cuts(path))
    found = sorted(p for p in path.rglob("*") if p.suffix.lower() in reading.EXTENSIONS)
    if not found:
        raise ConfigError(path, "no recordings below this folder", "Give a folder of noise")
    named = [Recording.from_file(p, recording_id=p.relative_to(path).as_posix()) for p in found]
    return list(CutSet.from_cuts(recording.to_cut() for recording in named))


def compute(
    tasks: Sequence[Task], workers: int = 1, what: str = "features", shown: bool = True
) -> Iterator[NDArray[np.float32]]:
    """Features (F, D) of each task, in order. Raises `AudioError` naming the cut."""
    with progress(len(tasks), what, shown) as step:
        if workers == 1 or len(tasks) < 2 * workers:
            for task in tasks:
                yield of(task)
                step()
            return
        for rows in run_tasks(of, tasks, workers, in_order=True, chunk=4):
            yield rows
            step()


def of(task: Task) -> NDArray[np.float32]:
    """Features (F, D) of one task, from the cache where they are there."""
    path = None
    if task.cache is not None:
        key = _fingerprint(task)
        path = Path(task.cache) / key[:2] / f"{key}.npy"
        with suppress(OSError, ValueError, EOFError):  # not there, or cut
            kept = np.load(path, allow_pickle=False)
            if kept.ndim == 2 and kept.dtype == np.float32:
                return kept
    rows = _features(task)
    if path is not None:
        own = path.with_name(f"{path.stem}-{uuid4().hex}")  # other runs may share the cache
        files.write_rows(own, iter([rows]), rows.shape[1])
        own.replace(path)
    return rows


def _features(task: Task) -> NDArray[np.float32]:
    cut, variant, rate = task.cut, task.variant, task.config.sample_rate
    x = _samples(cut, rate / variant.speed, task.config.channel)
    if task.noise is not None:
        seconds = len(x) / rate
        spare = max(0.0, task.noise.duration - seconds)
        stretch = task.noise.truncate(
            offset=variant.place * spare, duration=min(seconds, task.noise.duration)
        )
        noise = _samples(stretch, rate)
        if noise.any() and x.any():  # silence has no ratio
            x = reading.add_noise(x, noise, variant.snr_db)
    try:
        rows = np.concatenate(list(sets.frames(iter([x]), task.config)))
    except SpeechAsymError as error:
        raise AudioError(f"cut {cut.id}", str(error).rstrip("."), "Leave it out") from error
    if not np.isfinite(rows).all():
        raise AudioError(f"cut {cut.id}", "its features are not finite", "Leave it out")
    return np.ascontiguousarray(rows, np.float32)


def _samples(cut: "Cut", rate: float, channel: str | int = "mean") -> NDArray[np.float32]:
    """Mono samples (T,) of a cut, resampled to `rate` Hz."""
    import soxr

    try:
        found = cut.load_audio()
    except Exception as error:  # lhotse's readers have each their own
        raise AudioError(
            f"cut {cut.id}", f"its recording cannot be read ({_fault(cut, error)})",
            "Restore it, prepare the corpus again, or leave the cut out",
        ) from error  # fmt: skip
    if found is None or not found.size or not np.isfinite(found).all():
        raise AudioError(f"cut {cut.id}", "its samples are none, or not finite", "Leave it out")
    if isinstance(channel, int) and channel >= len(found):
        raise AudioError(f"cut {cut.id}", f"it has no channel {channel}", "Use channel mean")
    every = np.asarray(found, np.float32)
    x = every[channel] if isinstance(channel, int) else every.mean(0)
    if rate != cut.sampling_rate:
        x = soxr.resample(x, cut.sampling_rate, rate, quality="HQ").astype(np.float32)
    if not len(x):
        raise AudioError(f"cut {cut.id}", "it has no samples", "Leave it out")
    return x


def _fault(cut: "Cut", error: Exception) -> str:
    """Why a cut's recording cannot be read, in a line."""
    import soundfile

    for track in getattr(cut, "tracks", None) or [cut]:
        recording = getattr(getattr(track, "cut", track), "recording", None)
        if recording is None:  # padding
            continue
        for source in recording.sources:
            if source.type != "file":
                continue
            if not Path(source.source).is_file():
                return f"{source.source} is not there"
            try:
                info = soundfile.info(str(source.source))
            except (RuntimeError, OSError):
                return f"{source.source} is no audio file, or cut"
            there = f"{info.frames} samples at {info.samplerate} Hz"
            noted = f"{recording.num_samples} samples at {recording.sampling_rate} Hz"
            if there != noted and not recording.transforms:
                return f"{source.source} has {there}, where its manifest says {noted}"
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


@cache
def _code() -> str:
    """What the features are computed with: the package's version, and its own files."""
    home = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for package in _SOURCES:
        modules = sorted((home / package).rglob("*.py"))
        if not modules:
            raise RuntimeError(f"{home / package} has no modules: _SOURCES is out of date")
        for path in modules:
            digest.update(path.read_bytes())
    digest.update(Path(__file__).read_bytes())
    try:
        return f"{version('speechasym')} {digest.hexdigest()}"
    except Exception:  # not installed as a package
        return digest.hexdigest()


def _fingerprint(task: Task) -> str:
    cuts = [_identity(cut) for cut in (task.cut, task.noise) if cut is not None]
    variant = [task.variant.speed, task.variant.place, task.variant.snr_db]
    content = [FORMAT, _code(), task.config.as_json(), cuts, variant]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _identity(cut: "Cut") -> Any:
    """A cut without what is said in it, with size and time of its files."""

    def plain(part: Any) -> Any:
        if isinstance(part, dict):
            found = {k: plain(v) for k, v in part.items() if k not in ("supervisions", "custom")}
            if isinstance(part.get("source"), str):
                with suppress(OSError):
                    stat = os.stat(part["source"])
                    found["stat"] = [stat.st_size, stat.st_mtime_ns]
            return found
        return [plain(item) for item in part] if isinstance(part, list | tuple) else part

    return plain(cut.to_dict())


def check_cache(folder: str | None) -> None:
    """Raises `OutputError` where the cache cannot be made."""
    if folder is None:
        return
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            folder, f"no cache can be made there ({error.strerror})", "Choose another folder"
        ) from error
