"""The cells of ABX tasks, scored speaker by speaker so that memory stays bounded.

Shapes: N tokens, S speakers, P phones, R drawings of speakers.
"""

import zlib
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.ops import cpu_abx
from speechasym.ops.cpu_abx import Groups, Sequences
from speechasym.progress import progress
from speechasym.scoring.abx_items import Item

ROUNDS = 1000  # drawings of speakers for an interval
KEPT_BYTES = 2**30  # distances that are kept for the way back, from X's speaker to A's and B's


class Task(NamedTuple):
    """What the three tokens of a triple share."""

    across: bool = False  # X is by another speaker than A and B
    context: bool = False  # all three are between the same neighbours

    def __str__(self) -> str:
        speakers = "across" if self.across else "within"
        return f"{speakers} speakers, {'same' if self.context else 'any'} context"


class AbxScore(NamedTuple):
    """ABX error, 0 to 1 (chance 0.5), with a 95 % interval by resampling speakers."""

    error: float
    low: float
    high: float
    cells: int
    triples: int
    samples: NDArray[np.float64]  # the error for each resampling; the same speakers are drawn for
    # the same items, task and seed, so that differences between features can have an interval


class Tokens(NamedTuple):
    """Items, and their frames ready to be compared."""

    items: list[Item]
    sequences: Sequences
    angular: bool
    too_short: int  # items left out because they contain no frame's centre

    def distances(self, rows: Iterable[int], columns: Iterable[int]) -> NDArray[np.float32]:
        """Return the distances (rows, columns) between tokens, given by increasing indices."""
        one, other = (self.sequences.take(np.array([*part])) for part in (rows, columns))
        return cpu_abx.distances(one, other, self.angular)


class _Speaker(NamedTuple):
    tokens: NDArray[np.int64]  # those that a task needs
    groups: dict[bool, Groups]  # by `Task.context`; members are positions in `tokens`


def abx_scores(
    tokens: Tokens,
    tasks: Collection[Task],
    most: int | None = None,
    most_across: int | None = None,
    seed: int = 0,
    show_progress: bool = False,
) -> dict[Task, AbxScore]:
    """Measure the ABX errors of some tasks in one pass; tasks without cells are left out.

    Distances are computed for two speakers at a time, so that memory does not grow with the square
    of the number of tokens.

    Args:
        most: tokens of a phone (between the same neighbours) by a speaker, drawn at random; None:
            all.
        most_across: speakers of X for each phone and speaker of A, drawn likewise.
        seed: of these draws, and of the intervals.
        show_progress: on stderr.
    """
    phones = len({item.phone for item in tokens.items})
    speakers = _speakers(tokens.items, {task.context for task in tasks}, most, seed)
    count = len(speakers)
    totals = {task: _Total(phones**2, count, seed) for task in tasks}
    keeps = sum(len(speaker.tokens) for speaker in speakers) ** 2 * 4 <= KEPT_BYTES
    kept: dict[tuple[int, int], NDArray[np.float32]] = {}  # (s, x): distances of x's tokens
    with progress(count, "ABX", show_progress) as step:
        for s, speaker in enumerate(speakers):
            allowed = {
                task: _speakers_of_x(speakers, s, task, phones, most_across, seed) for task in tasks
            }
            errors = {task: np.zeros((count, phones**2)) for task in tasks}
            cells = {task: np.zeros((count, phones**2)) for task in tasks}
            columns = tokens.sequences.take(speaker.tokens)
            for x, other in enumerate(speakers):
                matches = {
                    task: _match(other, speaker, task.context, allowed[task][:, x])
                    for task in tasks
                }
                needed = np.zeros(len(other.tokens), bool)
                for task, match in matches.items():
                    groups = other.groups[task.context]
                    needed[groups.members[np.repeat(match >= 0, np.diff(groups.starts))]] = True
                distance = kept.pop((s, x), None)
                if not needed.any():
                    continue
                if distance is not None:
                    needed[:] = True
                else:
                    parts = tokens.sequences.take(other.tokens[needed])
                    distance = cpu_abx.distances(parts, columns, tokens.angular)
                    if keeps and x > s and needed.all():
                        kept[x, s] = distance.T.copy()
                rows = np.cumsum(needed) - 1
                for task, match in matches.items():
                    context = task.context
                    totals[task].triples += cpu_abx.cell_errors(
                        distance, rows, other.groups[context], match, speaker.groups[context],
                        x == s, phones, errors[task][x], cells[task][x],
                    )  # fmt: skip
            for task, total in totals.items():
                total.add(s, errors[task], cells[task])
            step()
    return {task: total.score() for task, total in totals.items() if total.triples}


def _speakers(
    items: Sequence[Item], contexts: Collection[bool], most: int | None, seed: int
) -> list[_Speaker]:
    """Return the tokens of each speaker in groups, for tasks with and without contexts."""
    speaker = np.unique([item.speaker for item in items], return_inverse=True)[1]
    names, phone = np.unique([item.phone for item in items], return_inverse=True)
    places = ["\t".join((item.before, item.after)) for item in items]
    around = np.unique(places, return_inverse=True)[1]
    by_speaker = np.argsort(speaker, kind="stable")
    result = []
    for indices in np.split(by_speaker, np.flatnonzero(np.diff(speaker[by_speaker])) + 1):
        found = {}
        for context in contexts:
            codes = around[indices] * context * len(names) + phone[indices]
            order = np.argsort(codes, kind="stable")
            first = np.flatnonzero(np.diff(codes[order], prepend=-1))
            parts = [
                _draw(part, most, seed, items[part[0]], context)
                for part in np.split(indices[order], first[1:])
            ]
            starts = np.cumsum([0, *map(len, parts)])
            found[context] = Groups(codes[order][first], starts, np.concatenate(parts))
        used = np.unique(np.concatenate([groups.members for groups in found.values()]))
        for context, groups in found.items():
            found[context] = groups._replace(members=np.searchsorted(used, groups.members))
        result.append(_Speaker(used, found))
    return result


def _draw(
    indices: NDArray[np.int64], most: int | None, seed: int, item: Item, context: bool
) -> NDArray[np.int64]:
    """Return at most so many of some indices, drawn by the group of an item."""
    if most is None or len(indices) <= most:
        return indices
    name = [item.speaker, item.phone, *((item.before, item.after) if context else ())]
    rng = np.random.default_rng([seed, zlib.crc32("\t".join(name).encode())])
    return np.sort(rng.permutation(indices)[:most])


def _speakers_of_x(
    speakers: Sequence[_Speaker], s: int, task: Task, phones: int, most: int | None, seed: int
) -> NDArray[np.bool_]:
    """Return which speakers of X each group of A by speaker s has: (groups, S)."""
    codes = speakers[s].groups[task.context].code
    allowed = np.zeros((len(codes), len(speakers)), bool)
    if not task.across:
        allowed[:, s] = True
    else:
        for x, other in enumerate(speakers):
            allowed[:, x] = x != s and np.isin(codes, other.groups[task.context].code)
        if most is not None:
            rng = np.random.default_rng([seed, s, task.context])
            order = np.argsort(-rng.random(allowed.shape) * allowed, axis=1)  # allowed ones first
            np.put_along_axis(allowed, order[:, most:], False, axis=1)
    _, inverse, sizes = np.unique(codes // phones, return_inverse=True, return_counts=True)
    return allowed & (sizes[inverse] > 1)[:, None]  # else there is no B


def _match(
    x: _Speaker, a: _Speaker, context: bool, allowed: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return the group of A for each group of X, or -1."""
    codes, wanted = a.groups[context].code, x.groups[context].code
    place = np.minimum(np.searchsorted(codes, wanted), len(codes) - 1)
    return np.where((codes[place] == wanted) & allowed[place], place, -1)


class _Total:
    """Errors averaged over contexts and speakers of X, then speakers, then pairs of phones."""

    def __init__(self, pairs: int, speakers: int, seed: int) -> None:
        drawn = np.random.default_rng(seed).multinomial(
            speakers, np.full(speakers, 1 / speakers), ROUNDS
        )
        # how often each speaker counts, as the speaker of A and B and as that of X: once in the
        # first column, which gives the error itself
        self.weights = np.vstack([np.ones(speakers), drawn]).T  # (S, 1 + R)
        self.errors = np.zeros((pairs, 1 + ROUNDS))
        self.present = np.zeros((pairs, 1 + ROUNDS))
        self.cells = self.triples = 0

    def add(self, s: int, errors: NDArray[np.float64], cells: NDArray[np.float64]) -> None:
        """Add a speaker of A and B: sums of errors and numbers of cells, (S of X, pairs)."""
        pairs, xs = cells.any(0), cells.any(1)
        drawn = cells[np.ix_(xs, pairs)].T @ self.weights[xs]
        each = errors[np.ix_(xs, pairs)].T @ self.weights[xs]
        each = np.divide(each, drawn, out=np.zeros_like(drawn), where=drawn > 0)
        self.errors[pairs] += each * self.weights[s]
        self.present[pairs] += (drawn > 0) * self.weights[s]
        self.cells += int(cells.sum())

    def score(self) -> AbxScore:
        """Return the mean over pairs; a drawing without any has none."""
        pairs = self.present > 0
        each = np.divide(self.errors, self.present, out=np.zeros_like(self.errors), where=pairs)
        number = pairs.sum(0)
        means = np.divide(each.sum(0), number, out=np.full(len(number), np.nan), where=number > 0)
        low, high = map(float, np.nanquantile(means[1:], [0.025, 0.975]))
        return AbxScore(float(means[0]), low, high, self.cells, self.triples, means[1:])
