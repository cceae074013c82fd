"""Phone ABX: how well features tell phones apart, without any training.

A and X are two tokens of one phone, B is one of another; an error is X nearer to B than to A, half
an error if both are equally near. Tokens form cells that share what the task holds equal: the
ordered pair of phones, the speaker (or, across speakers, the speaker of A and B and another one of
X), and, within context, the phones before and after. Cells are averaged over contexts, then over
speakers, then over pairs of phones [1, 2].

[1] T. Schatz, "ABX-discriminability measures and applications", thesis, UPMC Paris, 2016.
[2] M. Poli, E. Dupoux, R. Riad, "fastabx: a library for efficient computation of ABX
    discriminability", 2025: the conventions of cells, frames and sub-sampling followed here.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from speechasym.config import check_count, plural
from speechasym.errors import ConfigError, ItemError
from speechasym.feature_extraction.features_json import INDEX
from speechasym.ops import cpu_abx
from speechasym.scoring.abx_cells import AbxScore, Task, Tokens, abx_scores
from speechasym.scoring.abx_items import Item, frames_of, read_items, timit_items

TASKS = tuple(Task(across, context) for across, context in product((False, True), repeat=2))


@dataclass(frozen=True)
class AbxResult:
    """The scores of the tasks; as a string, the report that the command prints."""

    tasks: dict[str, AbxScore]  # "within speakers, any context" ...; those that have cells
    tokens: Tokens
    left_out: dict[str, str]  # {task without cells: what it lacks}

    def __str__(self) -> str:
        items, too_short = self.tokens.items, self.tokens.too_short
        speakers = len({item.speaker for item in items})
        short = f", {too_short} left out as shorter than a frame" if too_short else ""
        lines = [
            f"{plural(len(items), 'token')} of {plural(speakers, 'speaker')}{short}",
            f"{'ABX':<30} error   95 % interval      cells    triples",
        ]
        for name, score in self.tasks.items():
            error, low, high = (100 * value for value in score[:3])
            lines.append(
                f"{name:<30} {error:4.1f} %  {low:4.1f} to {high:4.1f} %"
                f"  {score.cells:7}  {score.triples:9}"
            )
        lines += [f"{name} is left out: {reason}" for name, reason in self.left_out.items()]
        return "\n".join(lines)


def abx(
    items: str | Path | Sequence[Item],
    features: str | Path | Mapping[str, NDArray],
    rate: float | None = None,
    *,
    distance: Literal["angular", "euclidean"] = "angular",
    most: int | None = None,
    most_across: int | None = None,
    seed: int = 0,
    show_progress: bool = False,
) -> AbxResult:
    """Measure ABX errors within and across speakers, between any and the same neighbours.

    Of these four tasks, those that have no cell, such as across one speaker, are left out.

    Args:
        items: a ZeroSpeech .item file, a TIMIT folder, or a list of items.
        features: a folder written by `extract`, of which each recording is normalised to mean 0
            and variance 1; or {file: (F, D)}, used unchanged.
        rate: frames a second; for a folder it is optional, and checked.
        distance: of two frames.
        most, most_across, seed, show_progress: see `abx_scores`.

    Raises:
        ItemError, AnnotationError: items or features that cannot be read or do not fit.
        ConfigError: an option out of range; no task has a cell.

    Example:
        >>> mfcc = speechasym.features("speech.wav", features="mfcc")
        >>> print(speechasym.abx("phones.item", {"speech": mfcc}, rate=100))
        7 tokens of 1 speaker
        ABX                            error   95 % interval      cells    triples
        within speakers, any context    ... %  ...
    """
    if isinstance(items, str | Path):
        items = timit_items(items) if Path(items).is_dir() else read_items(items)
    if isinstance(features, str | Path):
        features, rate = load_features(features, rate)
    if rate is None:
        raise ConfigError("rate", "missing for features in memory", "Give their frames a second")
    for name, value in (("most", most), ("most_across", most_across)):
        if value is not None:
            check_count(name, value)
    tokens = select_tokens(items, features, rate, distance)
    scores = abx_scores(tokens, TASKS, most, most_across, seed, show_progress)
    left_out = {str(task): _missing(task) for task in TASKS if task not in scores}
    if not scores:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise ConfigError("items", f"no task has a cell ({reasons})", "Give items of more speech")
    tasks = {str(task): score for task, score in scores.items()}
    return AbxResult(tasks, tokens, left_out)


def load_features(
    folder: str | Path, rate: float | None = None
) -> tuple[dict[str, NDArray], float]:
    """Load the .npy files of a folder written by `extract`.

    Each column is normalised to mean 0 and variance 1 over each recording.

    Args:
        rate: frames a second expected; None: any.

    Returns:
        {path below the folder without suffix: (F, D)}, and their frames a second.

    Raises:
        ItemError: the folder contains no features, or has another rate.
    """
    folder = Path(folder)
    try:
        actual = json.loads((folder / INDEX).read_text("utf-8"))["config"]["rate"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ItemError(folder, f"no readable {INDEX}", "Run `speechasym extract` first") from error
    if rate is not None and actual != rate:
        problem = f"has {actual:g} frames a second, expected {rate:g}"
        raise ItemError(folder, problem, f"Use --rate {actual:g}")
    features = {}
    for path in sorted(folder.rglob("*.npy")):
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ItemError(path, f"cannot be read ({error})", "Extract it again") from error
        values = (values - values.mean(0)) / np.maximum(values.std(0), 1e-8)
        features[path.relative_to(folder).with_suffix("").as_posix()] = values
    return features, actual


def select_tokens(
    items: Sequence[Item],
    features: Mapping[str, NDArray],
    rate: float,
    distance: Literal["angular", "euclidean"] = "angular",
) -> Tokens:
    """Return the items with their frames, to be compared by dynamic time warping.

    Args:
        items: those that contain no frame's centre are left out and counted.
        features: (F, D) for each file; an item's file may be the end of one path among them.
        rate: frames a second.
        distance: of two frames.

    Raises:
        ItemError: a file without features or with several, or features that end before an item.
        ConfigError: no items, or an unknown distance.
    """
    if distance not in ("angular", "euclidean"):
        raise ConfigError("distance", f"unknown: {distance!r}", "Use angular or euclidean")
    kept, parts, too_short = [], [], 0
    paths = _paths_by_ending({item.file for item in items}, features)
    for item in items:
        track = features[paths[item.file]]
        first, last = frames_of(item, rate)
        if last > len(track):
            raise ItemError(
                item.file,
                f"its {len(track)} frames at {rate:g} a second end before an item that ends at "
                f"{float(Fraction(item.offset)):.3f} s",
                "Extract features of this recording at this rate",
            )
        if last <= first:
            too_short += 1
            continue
        kept.append(item)
        parts.append(np.asarray(track[first:last], np.float32))
    if not kept:
        raise ConfigError("items", "all are shorter than a frame", "Use a higher frame rate")
    starts = np.concatenate([[0], np.cumsum([len(p) for p in parts])])
    angular = distance == "angular"
    sequences = cpu_abx.prepare(np.concatenate(parts), starts, angular)
    return Tokens(kept, sequences, angular, too_short)


def _paths_by_ending(names: Iterable[str], features: Mapping[str, NDArray]) -> dict[str, str]:
    """Return {name of a recording: the only path among the features that ends with it}.

    Raises `ItemError` for a name that no path or several paths end with.
    """
    endings: dict[str, list[str]] = defaultdict(list)
    for path in sorted(features):
        parts = path.split("/")
        for i in range(1, len(parts)):
            endings["/".join(parts[i:])].append(path)
    paths = {}
    for name in sorted(names):
        matches = [name] if name in features else endings.get(name, [])
        if not matches:
            known = ", ".join(sorted(features)[:2]) or "none"
            problem = f"no features of this recording among the {len(features)} loaded: {known}"
            remedy = "Extract its recording too, or name it in the items as these are named"
            raise ItemError(name, problem, remedy)
        if len(matches) > 1:
            problem = f"{len(matches)} recordings have this name: {', '.join(matches[:2])}"
            raise ItemError(name, problem, "Name them in the items by these paths")
        paths[name] = matches[0]
    return paths


def _missing(task: Task) -> str:
    problem = "no cell; it needs two tokens of a phone and one of another by one speaker"
    if task.across:
        problem = "no cell; it needs two phones by one speaker, and one of them by another"
    return f"{problem}, all between the same neighbours" if task.context else problem
