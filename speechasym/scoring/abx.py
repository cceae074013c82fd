"""Phone ABX: how well do features tell phones apart, without any training?

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
import math
from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.errors import ConfigError, ItemError
from speechasym.language import phones
from speechasym.ops import cpu_abx, cpu_dtw

MOST_ITEMS = 16000  # a matrix of all distances: 1 GiB


class Item(NamedTuple):
    """One token of a phone."""

    file: str  # stem of its recording and features
    onset: str  # s, as written: decimals, so that no frame moves by rounding
    offset: str  # s
    phone: str
    before: str  # the phone before, and
    after: str  # the phone after it
    speaker: str


class Score(NamedTuple):
    """ABX error, 0 to 1 (chance 0.5), with a 95 % interval by resampling speakers."""

    error: float
    low: float
    high: float
    cells: int
    triples: int
    samples: NDArray[np.float64]  # the error for each drawing of speakers; the same drawings for
    # the same items, tasks and seed, so that differences between features can have an interval


def read_items(path: str | Path) -> list[Item]:
    """Items of a ZeroSpeech .item file: a header, then one token a line, times in s.

    Raises `ItemError` for what does not have the seven columns, or whose times are reversed.
    """
    path = Path(path)
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise ItemError(path, f"cannot be read ({error.strerror})", "Check the path") from error
    except UnicodeDecodeError as error:
        raise ItemError(path, "not a text file", "Give a .item file or a TIMIT folder") from error
    header = "#file onset offset #phone prev-phone next-phone speaker"
    if not lines or lines[0].split() != header.split():
        raise ItemError(path, "the first line is no item header", f"It should be: {header}")
    if len(lines) < 2:
        raise ItemError(path, "no items below the header", "Check the file")
    items = []
    for number, line in enumerate(lines[1:], 2):
        row = line.split()
        if len(row) != 7:
            raise ItemError(
                f"{path}:{number}", f"{len(row)} columns instead of 7", f"They are: {header}"
            )
        items.append(_checked(f"{path}:{number}", Item(*row)))
    return items


def _checked(place: str, item: Item) -> Item:
    try:
        good = 0 <= Fraction(item.onset) < Fraction(item.offset)
    except (ValueError, ZeroDivisionError):
        good = False
    if not good:
        raise ItemError(
            place,
            f"times {item.onset} to {item.offset} s are not a stretch of time",
            "Onset and offset are s from the beginning, the onset first",
        )
    return item


def timit_items(root: str | Path) -> list[Item]:
    """Tokens of the 39 folded phones, silences left out, from the .PHN files below a folder.

    SA sentences, which all speakers share, are left out. Files are named by their path below
    `root` without ending, speakers by the folder they are in. The first and the last phone of a
    file, having no neighbour, are silences in TIMIT anyway.

    Raises `ItemError` where there are none, or a line is not `begin end symbol`.
    """
    root = Path(root)
    items = []
    found = sorted(p for p in root.rglob("*") if p.suffix.lower() == ".phn")
    if not found:
        raise ItemError(root, "no .PHN files below this folder", "Give the folder with TRAIN, TEST")
    for path in found:
        if path.stem.upper() in ("SA1", "SA2"):
            continue
        rows = []
        text = path.read_text("utf-8", "replace")
        for number, line in enumerate(text.splitlines(), 1):
            parts = line.split()
            if len(parts) != 3 or parts[2] not in phones.TIMIT_61:
                raise ItemError(
                    f"{path}:{number}", f"{line!r} is not `begin end symbol`", "Check the file"
                )
            if parts[2] in phones.FOLD_39:
                rows.append((int(parts[0]), int(parts[1]), phones.FOLD_39[parts[2]]))
        stem = path.relative_to(root).with_suffix("").as_posix()
        for (_, _, before), (begin, end, phone), (_, _, after) in zip(
            rows, rows[1:], rows[2:], strict=False
        ):
            if phone != phones.SILENCE:
                onset, offset = str(Fraction(begin, 16000)), str(Fraction(end, 16000))
                item = Item(stem, onset, offset, phone, before, after, path.parent.name)
                items.append(_checked(str(path), item))
    return items


def frames_of(item: Item, rate: float) -> tuple[int, int]:
    """First frame and frame after the last: those whose centres lie between onset and offset."""
    exact = Fraction(rate).limit_denominator(1000)
    half = Fraction(1, 2)
    first = math.ceil(Fraction(item.onset) * exact - half)
    return first, math.floor(Fraction(item.offset) * exact - half) + 1


class Tokens(NamedTuple):
    """Items with their features and all distances between them."""

    items: list[Item]
    distance: NDArray[np.float32]  # (N, N)
    too_short: int  # items left out because no frame's centre lies within them


def compare(
    items: list[Item], features: Mapping[str, NDArray], rate: float, angular: bool = True
) -> Tokens:
    """All distances between items.

    Args:
        items: tokens; those without a frame are left out and counted.
        features: (F, D) for each file; rate: their frames a second.
        angular: angular or Euclidean distance of frames.

    Raises:
        ItemError: a file without features, or features shorter than an item's times.
        ConfigError: nothing to compare, or more items than a matrix of distances can hold.
    """
    kept, parts, short = [], [], 0
    for item in items:
        if item.file not in features:
            known = "those of " + ", ".join(sorted(features)[:2]) if features else "nothing"
            raise ItemError(
                item.file,
                f"no features of this recording, of {len(features)} there: {known}",
                "Extract and score the same folder",
            )
        track = features[item.file]
        first, last = frames_of(item, rate)
        if last > len(track):
            raise ItemError(
                item.file,
                f"its {len(track)} frames at {rate:g} a second end before an item that ends at "
                f"{float(Fraction(item.offset)):.3f} s",
                "Were they made at another rate, or from another recording?",
            )
        if last <= first:
            short += 1
            continue
        kept.append(item)
        parts.append(np.asarray(track[first:last], np.float32))
    if not kept:
        raise ConfigError("items", "no item is as long as a frame", "Use a higher frame rate")
    if len(kept) > MOST_ITEMS:
        raise ConfigError(
            "items",
            f"{len(kept)} tokens are more than the {MOST_ITEMS} that can all be compared",
            "Make a .item file of some speakers",
        )
    starts = np.concatenate([[0], np.cumsum([len(p) for p in parts])])
    return Tokens(kept, cpu_dtw.distances(np.concatenate(parts), starts, angular), short)


def load_features(
    folder: str | Path, rate: float | None = None, normalise: bool = True
) -> tuple[dict[str, NDArray], float]:
    """The .npy files of a folder made by `extract`: {stem: (F, D)}, and their frames a second.

    Args:
        rate: frames a second that they should have; None: whatever they have.
        normalise: mean 0 and variance 1 of each column over each recording.

    Raises `ItemError` if the folder holds no features, or was made at another rate.
    """
    folder = Path(folder)
    index = folder / "features.json"
    try:
        made = json.loads(index.read_text("utf-8"))["config"]["rate"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ItemError(folder, "no features.json to read there", "Run extract first") from error
    if rate is not None and made != rate:
        raise ItemError(
            folder, f"made at {made:g} frames a second, not {rate:g}", f"Say --rate {made:g}"
        )
    loaded = {}
    for path in sorted(folder.rglob("*.npy")):
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ItemError(path, f"cannot be read ({error})", "Extract it again") from error
        if normalise:
            values = (values - values.mean(0)) / np.maximum(values.std(0), 1e-8)
        loaded[path.relative_to(folder).with_suffix("").as_posix()] = values
    return loaded, made


def evaluate(
    items: str | Path,
    features: str | Path,
    rate: float | None = None,
    *,
    angular: bool = True,
    most: int | None = None,
    most_across: int | None = None,
    seed: int = 0,
) -> tuple[dict[str, Score], Tokens]:
    """ABX errors within and across speakers, between any and the same neighbours.

    Args:
        items: a ZeroSpeech .item file, or a TIMIT folder.
        features: a folder made by `extract`; each recording is normalised to mean 0, variance 1.
        rate: frames a second, checked if given.
        angular: angular distance of frames, else Euclidean.
        most, most_across, seed: see `score`.

    Returns:
        The score of each of the four tasks that has cells, and the tokens compared.

    Raises:
        ItemError, ConfigError: items or features that cannot be read or do not fit.
    """
    listed = timit_items(items) if Path(items).is_dir() else read_items(items)
    values, rate = load_features(features, rate)
    tokens = compare(listed, values, rate, angular)
    results = {}
    for speakers, across in (("within", False), ("across", True)):
        for neighbours, context in (("any", False), ("same", True)):
            name = f"{speakers} speakers, {neighbours} context"
            results[name] = score(tokens, across, context, most, most_across, seed)
    return results, tokens


def score(
    tokens: Tokens,
    across: bool = False,
    context: bool = False,
    most: int | None = None,
    most_across: int | None = None,
    seed: int = 0,
) -> Score:
    """ABX error over all cells.

    Args:
        across: X by another speaker than A and B; else all three by one.
        context: all three between the same neighbours; else between any.
        most: tokens of A, of B and of X per cell, drawn by `seed`; None: all.
        most_across: speakers of X for each A and B, drawn likewise.

    Raises:
        ConfigError: no cell has the tokens that it needs.
    """
    for name, value in (("most", most), ("most_across", most_across)):
        if value is not None and value < 1:
            raise ConfigError(name, f"{value} is less than 1", "Use 1 or more, or leave it out")
    draw = np.random.default_rng(seed)
    groups: dict[tuple[str, str], dict[str, dict[str, list[int]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for i, item in enumerate(tokens.items):
        around = (item.before, item.after) if context else ("", "")
        groups[around][item.phone][item.speaker].append(i)

    def some(tokens: list[int]) -> NDArray[np.int64]:
        array = np.array(tokens)
        return draw.permutation(array)[:most] if most is not None and len(array) > most else array

    # pair of phones, speaker, speaker of X -> errors of its cells, over contexts
    errors: dict[tuple[str, str, str, str], list[float]] = defaultdict(list)
    triples = 0
    for around in sorted(groups):
        by_phone = groups[around]
        for phone_a in sorted(by_phone):
            for phone_b in sorted(by_phone):
                if phone_a == phone_b:
                    continue
                for speaker in sorted(by_phone[phone_a].keys() & by_phone[phone_b].keys()):
                    own, other = by_phone[phone_a][speaker], by_phone[phone_b][speaker]
                    if across:
                        rest = sorted(by_phone[phone_a].keys() - {speaker})
                        if most_across is not None and len(rest) > most_across:
                            rest = sorted(draw.permutation(rest)[:most_across])
                        xs = [(s, some(by_phone[phone_a][s])) for s in rest]
                        a = some(own)
                    elif len(own) > 1:
                        a = some(own)
                        xs = [(speaker, a)]
                    else:
                        continue
                    b = some(other)
                    for speaker_x, x in xs:
                        wrong, count = cpu_abx.cell_errors(tokens.distance, a, b, x)
                        errors[phone_a, phone_b, speaker, speaker_x].append(wrong / count)
                        triples += count
    if not errors:
        raise ConfigError("items", "no cell has an A, a B and an X", "More speech is needed")
    error, samples = _collapse(errors, draw)
    low, high = np.nanquantile(samples, [0.025, 0.975])
    cells = sum(map(len, errors.values()))
    return Score(error, float(low), float(high), cells, triples, samples)


def _collapse(
    errors: dict[tuple[str, str, str, str], list[float]],
    draw: np.random.Generator,
    rounds: int = 1000,
) -> tuple[float, NDArray[np.float64]]:
    """Mean over contexts and speakers of X, then speakers, then pairs; and that of resamplings.

    They resample speakers: one that is drawn twice counts twice, both as the speaker of A
    and B and as that of X.
    """
    pairs = {pair: i for i, pair in enumerate(sorted({key[:2] for key in errors}))}
    names = sorted({key[2] for key in errors} | {key[3] for key in errors})
    speakers = {name: i for i, name in enumerate(names)}
    shape = (len(pairs), len(speakers), len(speakers))
    total, cells = np.zeros(shape), np.zeros(shape)
    for (a, b, speaker, other), values in errors.items():
        place = pairs[a, b], speakers[speaker], speakers[other]
        total[place], cells[place] = sum(values), len(values)

    def mean(weight: NDArray) -> float:
        # within speakers, the speaker of X is that of A: its weight would cancel
        seen = cells @ weight
        each = np.divide(total @ weight, seen, out=np.zeros_like(seen), where=seen > 0)
        there = (seen > 0) @ weight
        if not there.any():
            return np.nan  # one speaker alone was drawn, and X needs another
        return float(np.mean((each @ weight)[there > 0] / there[there > 0]))

    size = len(speakers)
    weights = draw.multinomial(size, np.full(size, 1 / size), rounds).astype(float)
    return mean(np.ones(size)), np.array([mean(w) for w in weights])
