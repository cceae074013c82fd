"""ABX: distances by dynamic time warping between many short sequences, and errors; with numba.

Shapes: N sequences, R frames in all of them, D dimensions.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.ops.compiling import njit

_jit = njit(nogil=True, error_model="numpy")


@njit(nogil=True, error_model="numpy", fastmath={"contract", "nsz"})
def _angles(cosine: Any) -> None:
    """Replace cosines by arccos / pi, in [0, 1]; absolute error below 1e-7 [1].

    [1] M. Abramowitz, I. A. Stegun, "Handbook of Mathematical Functions", 4.4.46, 1964.
    """
    f = np.float32
    for i in range(cosine.shape[0]):
        row = cosine[i]
        for j in range(row.shape[0]):
            x = row[j]
            a = min(abs(x), f(1))
            y = f(-0.0012624911)
            y = y * a + f(0.0066700901)
            y = y * a + f(-0.0170881256)
            y = y * a + f(0.0308918810)
            y = y * a + f(-0.0501743046)
            y = y * a + f(0.0889789874)
            y = y * a + f(-0.2145988016)
            y = y * a + f(1.5707963050)
            y = y * np.sqrt(f(1) - a) * f(1 / np.pi)
            row[j] = f(1) - y if x < 0 else y


@_jit
def _warp(local: Any, first: int, last: int, cost: Any, earlier: bool) -> Any:
    """Return the mean local distance along the best path through local[:, first:last].

    Of equally good steps it takes the diagonal one, then that in the later of the two sequences;
    `earlier` says that the rows are the earlier one.
    """
    n, m = local.shape[0], last - first
    for i in range(n):
        for j in range(m):
            d = local[i, first + j]
            if i == 0 and j == 0:
                cost[i, j] = d
            elif i == 0:
                cost[i, j] = cost[i, j - 1] + d
            elif j == 0:
                cost[i, j] = cost[i - 1, j] + d
            else:
                cost[i, j] = min(cost[i - 1, j - 1], min(cost[i, j - 1], cost[i - 1, j])) + d
    i, j, steps = n - 1, m - 1, 1
    while i > 0 and j > 0:
        diagonal, left, up = cost[i - 1, j - 1], cost[i, j - 1], cost[i - 1, j]
        if diagonal <= left and diagonal <= up:
            i -= 1
            j -= 1
        elif left < up or (left == up and earlier):
            j -= 1
        else:
            i -= 1
        steps += 1
    return cost[n - 1, m - 1] / np.float32(steps + i + j)


@_jit
def _warp_row(local: Any, starts: Any, cost: Any, first_later: int, out: Any) -> None:
    for j in range(len(out)):
        out[j] = _warp(local, starts[j], starts[j + 1], cost, j >= first_later)


class Sequences(NamedTuple):
    """Sequences of frames, ready for `distances`."""

    frames: NDArray  # (R, D): of length 1 where distances are angular
    square: NDArray  # (R,) their squared lengths
    starts: NDArray[np.int64]  # (N + 1,) first frame of each sequence, and R
    numbers: NDArray[np.int64]  # (N,) increasing: of two sequences, which is the later one

    def take(self, indices: NDArray[np.int64]) -> "Sequences":
        """Return some of the sequences, given by increasing indices."""
        lengths = np.diff(self.starts)[indices]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        frames = np.arange(starts[-1]) + np.repeat(self.starts[indices] - starts[:-1], lengths)
        return Sequences(self.frames[frames], self.square[frames], starts, self.numbers[indices])


def prepare(
    frames: NDArray[np.floating], starts: NDArray[np.int64], angular: bool = True
) -> Sequences:
    """Return sequences for `distances`, of their frames (R, D), and the first of each and R."""
    if angular:
        norm = np.linalg.norm(frames, axis=1, keepdims=True)
        frames = frames / np.where(norm > 0, norm, 1)
    else:
        frames = frames.astype(np.float64)  # differences of squares need the digits
    return Sequences(frames, (frames**2).sum(1), starts, np.arange(len(starts) - 1))


def distances(rows: Sequences, columns: Sequences, angular: bool = True) -> NDArray[np.float32]:
    """Return the DTW distances of each sequence in `rows` from each in `columns`: (N, N').

    A path steps to the next frame of either sequence or of both; a distance is the mean local
    distance along the best path. Among equal paths the diagonal step is preferred, then that in
    the later sequence [1], so that a distance is the same from both sides.

    Args:
        rows, columns: of `prepare`.
        angular: use local distances arccos(cosine) / pi, else Euclidean ones.

    [1] T. Schatz et al., "Evaluating speech features with the minimal-pair ABX task", Interspeech
        2013.
    """
    out = np.empty((len(rows.numbers), len(columns.numbers)), np.float32)
    if not out.size:
        return out
    right = columns.frames.T
    cost = np.empty((np.diff(rows.starts).max(), np.diff(columns.starts).max()), np.float32)
    first_later = np.searchsorted(columns.numbers, rows.numbers)
    for k, first in enumerate(first_later):
        part = slice(rows.starts[k], rows.starts[k + 1])
        local = rows.frames[part] @ right
        if angular:
            _angles(local)
        else:
            both = rows.square[part, None] + columns.square[None]
            local = np.sqrt(np.maximum(both - 2 * local, 0)).astype(np.float32)
        _warp_row(local, columns.starts, cost, int(first), out[k])
    return out


class Groups(NamedTuple):
    """The tokens of a speaker, by phone and neighbours."""

    code: NDArray[np.int64]  # (G,) increasing: neighbours times P plus phone
    starts: NDArray[np.int64]  # (G + 1,) first member of each, and M
    members: NDArray[np.int64]  # (M,) which tokens of the speaker


@njit(nogil=True)
def cell_errors(
    distance: Any, rows: Any, xs: Groups, match: Any, groups: Groups, same: bool,
    phones: int, errors: Any, cells: Any,
) -> int:  # fmt: skip
    """Add up the errors of the cells of one speaker of A and B and one of X; return the triples.

    Args:
        distance: (rows, tokens of A and B's speaker).
        rows: for each token of X's speaker, its row.
        xs: groups of X's speaker.
        match: (groups of X,) the group of A for each, or -1 to leave it out.
        groups: of the speaker of A and B.
        same: both are one speaker; a token is never its own A.
        phones: their number P.
        errors, cells: (P * P,) sums of errors, and numbers of cells, by phone of A times P plus B.
    """
    triples = 0
    for g in range(len(match)):
        ga = match[g]
        if ga < 0:
            continue
        a = groups.members[groups.starts[ga] : groups.starts[ga + 1]]
        x = xs.members[xs.starts[g] : xs.starts[g + 1]]
        pairs = len(x) * (len(a) - 1 if same else len(a))
        if pairs == 0:
            continue
        around = groups.code[ga] // phones
        first, last = ga, ga + 1
        while first > 0 and groups.code[first - 1] // phones == around:
            first -= 1
        while last < len(groups.code) and groups.code[last] // phones == around:
            last += 1
        for gb in range(first, last):
            if gb == ga:
                continue
            b = groups.members[groups.starts[gb] : groups.starts[gb + 1]]
            wrong = 0.0
            for t in x:
                row = distance[rows[t]]
                for i in a:
                    if same and i == t:
                        continue
                    near = row[i]
                    for j in b:
                        far = row[j]
                        wrong += 1.0 if near > far else (0.5 if near == far else 0.0)
            pair = groups.code[ga] % phones * phones + groups.code[gb] % phones
            errors[pair] += wrong / (pairs * len(b))
            cells[pair] += 1
            triples += pairs * len(b)
    return triples
