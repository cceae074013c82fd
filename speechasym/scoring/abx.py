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
from itertools import permutations, product
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.config import check_count
from speechasym.errors import ConfigError, ItemError
from speechasym.feature_extraction.features_json import INDEX
from speechasym.ops import cpu_abx
from speechasym.scoring.abx_items import Item, frames_of, read_items, timit_items

MOST_ITEMS = 16000  # a matrix of all distances: 1 GiB
_NO_CELL_REMEDY = "Give items of more speech"


class _NoCellError(ConfigError):
    """A task none of whose cells has an A, a B and an X."""


class Tokens(NamedTuple):
    """Items with all distances between them."""

    items: list[Item]
    distance: NDArray[np.float32]  # (N, N)
    too_short: int  # items left out because they contain no frame's centre


class AbxScore(NamedTuple):
    """ABX error, 0 to 1 (chance 0.5), with a 95 % interval by resampling speakers."""

    error: float
    low: float
    high: float
    cells: int
    triples: int
    samples: NDArray[np.float64]  # the error for each resampling; the same speakers are drawn for
    # the same items, task and seed, so that differences between features can have an interval


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
            f"{len(items)} tokens of {speakers} speakers{short}",
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
) -> AbxResult:
    """Measure ABX errors within and across speakers, between any and the same neighbours.

    Of these four tasks, those that have no cell, such as across one speaker, are left out.

    Args:
        items: a ZeroSpeech .item file, a TIMIT folder, or a list of items.
        features: a folder written by `extract`, of which each recording is normalised to mean 0
            and variance 1; or {file: (F, D)}, used unchanged.
        rate: frames a second; for a folder it is optional, and checked.
        distance: of two frames.
        most, most_across, seed: see `abx_score`.

    Raises:
        ItemError, AnnotationError: items or features that cannot be read or do not fit.
        ConfigError: an option out of range; no task has a cell; too many items.
    """
    if isinstance(items, str | Path):
        items = timit_items(items) if Path(items).is_dir() else read_items(items)
    if isinstance(features, str | Path):
        features, rate = load_features(features, rate)
    if rate is None:
        raise ConfigError("rate", "missing for features in memory", "Give their frames a second")
    tokens = token_distances(items, features, rate, distance)
    tasks: dict[str, AbxScore] = {}
    left_out: dict[str, str] = {}
    for across, context in product((False, True), repeat=2):
        name = f"{'across' if across else 'within'} speakers, "
        name += f"{'same' if context else 'any'} context"
        try:
            tasks[name] = abx_score(tokens, across, context, most, most_across, seed)
        except _NoCellError as error:
            left_out[name] = error.args[1]
    if not tasks:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise ConfigError("items", f"no task has a cell ({reasons})", _NO_CELL_REMEDY)
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


def token_distances(
    items: Sequence[Item],
    features: Mapping[str, NDArray],
    rate: float,
    distance: Literal["angular", "euclidean"] = "angular",
) -> Tokens:
    """Compute all distances between items, by dynamic time warping.

    Args:
        items: those that contain no frame's centre are left out and counted.
        features: (F, D) for each file; an item's file may be the end of one path among them.
        rate: frames a second.
        distance: of two frames.

    Raises:
        ItemError: a file without features or with several, or features that end before an item.
        ConfigError: no items, more than a matrix of distances can hold, or an unknown distance.
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
    if len(kept) > MOST_ITEMS:
        problem = f"at most {MOST_ITEMS} can be compared, got {len(kept)}"
        raise ConfigError("items", problem, "Write a .item file of some of the speakers")
    starts = np.concatenate([[0], np.cumsum([len(p) for p in parts])])
    matrix = cpu_abx.distances(np.concatenate(parts), starts, distance == "angular")
    return Tokens(kept, matrix, too_short)


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


Cell = tuple[str, str, str, str]  # phones of A and B; speakers of A and B, and of X


def abx_score(
    tokens: Tokens,
    across: bool = False,
    context: bool = False,
    most: int | None = None,
    most_across: int | None = None,
    seed: int = 0,
) -> AbxScore:
    """Measure the ABX error of one task over all cells.

    Args:
        across: X by another speaker than A and B; else all three by one speaker.
        context: all three between the same neighbours; else between any.
        most: tokens of A, of B and of X per cell, drawn at random; None: all.
        most_across: speakers of X for each A and B, drawn likewise.
        seed: of these draws, and of the interval.

    Raises:
        ConfigError: no cell has an A, a B and an X.
    """
    for name, value in (("most", most), ("most_across", most_across)):
        if value is not None:
            check_count(name, value)
    rng = np.random.default_rng(seed)
    # context, phone, speaker -> indices
    groups: dict[tuple[str, str], dict[str, dict[str, list[int]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for i, item in enumerate(tokens.items):
        around = (item.before, item.after) if context else ("", "")
        groups[around][item.phone][item.speaker].append(i)

    def some(indices: list[int]) -> NDArray[np.int64]:
        array = np.array(indices)
        return rng.permutation(array)[:most] if most is not None and len(array) > most else array

    errors: dict[Cell, list[float]] = defaultdict(list)  # over contexts
    triples = 0
    for _, by_phone in sorted(groups.items()):
        for phone_a, phone_b in permutations(sorted(by_phone), 2):
            by_a, by_b = by_phone[phone_a], by_phone[phone_b]
            for speaker in sorted(by_a.keys() & by_b.keys()):
                if across:
                    others = sorted(by_a.keys() - {speaker})
                    if most_across is not None and len(others) > most_across:
                        others = sorted(rng.permutation(others)[:most_across])
                    xs = {other: some(by_a[other]) for other in others}
                    a = some(by_a[speaker])
                elif len(by_a[speaker]) > 1:
                    a = some(by_a[speaker])
                    xs = {speaker: a}
                else:
                    continue
                b = some(by_b[speaker])
                for speaker_x, x in xs.items():
                    wrong, count = cpu_abx.cell_errors(tokens.distance, a, b, x)
                    errors[phone_a, phone_b, speaker, speaker_x].append(wrong / count)
                    triples += count
    if not errors:
        problem = "no cell; it needs two tokens of a phone and one of another by one speaker"
        if across:
            problem = "no cell; it needs two phones by one speaker, and one of them by another"
        if context:
            problem += ", all between the same neighbours"
        raise _NoCellError("items", problem, _NO_CELL_REMEDY)
    error, samples = _average(errors, rng)
    low, high = map(float, np.nanquantile(samples, [0.025, 0.975]))
    return AbxScore(error, low, high, sum(map(len, errors.values())), triples, samples)


def _average(
    errors: Mapping[Cell, list[float]], rng: np.random.Generator, rounds: int = 1000
) -> tuple[float, NDArray[np.float64]]:
    """Average over contexts and speakers of X, then speakers, then pairs; and resample speakers.

    A speaker who is drawn twice counts twice, both as the speaker of A and B and as that of X.
    """
    pairs = {pair: i for i, pair in enumerate(sorted({cell[:2] for cell in errors}))}
    names = sorted({cell[2] for cell in errors} | {cell[3] for cell in errors})
    speakers = {name: i for i, name in enumerate(names)}
    shape = (len(pairs), len(speakers), len(speakers))
    total, cells = np.zeros(shape), np.zeros(shape)
    for (a, b, speaker, other), values in errors.items():
        index = pairs[a, b], speakers[speaker], speakers[other]
        total[index], cells[index] = sum(values), len(values)

    def mean(weight: NDArray) -> float:
        # within speakers, the speaker of X is that of A: its weight would cancel
        drawn = cells @ weight
        each = np.divide(total @ weight, drawn, out=np.zeros_like(drawn), where=drawn > 0)
        present = (drawn > 0) @ weight
        if not present.any():
            return np.nan  # one speaker alone was drawn, and X needs another
        return float(np.mean((each @ weight)[present > 0] / present[present > 0]))

    size = len(speakers)
    weights = rng.multinomial(size, np.full(size, 1 / size), rounds).astype(float)
    return mean(np.ones(size)), np.array([mean(w) for w in weights])
