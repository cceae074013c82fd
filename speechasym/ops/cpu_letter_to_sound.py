"""Alignment and beam search over joint units of letters and phones, compiled with numba.

The units are those of `speechasym.language.letter_to_sound`: one or two letters with up to two
phones.

Shapes: W words, L letters of all words in a row, P phones of all, U joint units.
"""

import numpy as np

from speechasym.ops.compiling import njit
from speechasym.ops.cpu_ngrams import next_state


@njit()
def _unit(x, i, letters, y, j, phones, a, p):  # type: ignore[no-untyped-def]
    """Return the number of the unit of letters x[i:] and phones y[j:]; `a` letters, `p` phones."""
    if letters == 2:
        return a * (1 + p + p * p) + (x[i] * a + x[i + 1]) * p + y[j]
    if phones == 0:
        return x[i]
    if phones == 1:
        return a + x[i] * p + y[j]
    return a * (1 + p) + (x[i] * p + y[j]) * p + y[j + 1]


@njit()
def expected_counts(letters, phones, lb, pb, probability, a, p, kinds):  # type: ignore[no-untyped-def]
    """Return how often each unit is expected, and the log likelihood of all alignable words."""
    counts = np.zeros(len(probability))
    total = 0.0
    for w in range(len(lb) - 1):
        x, y = letters[lb[w] : lb[w + 1]], phones[pb[w] : pb[w + 1]]
        n, m = len(x), len(y)
        before, after = np.zeros((n + 1, m + 1)), np.zeros((n + 1, m + 1))
        before[0, 0] = after[n, m] = 1.0
        for i in range(n + 1):
            for j in range(m + 1):
                for k in range(len(kinds)):
                    di, dj = kinds[k]
                    if i >= di and j >= dj and before[i - di, j - dj] > 0:
                        u = _unit(x, i - di, di, y, j - dj, dj, a, p)
                        before[i, j] += before[i - di, j - dj] * probability[u]
        if before[n, m] <= 0:
            continue
        total += np.log(before[n, m])
        for i in range(n, -1, -1):
            for j in range(m, -1, -1):
                for k in range(len(kinds)):
                    di, dj = kinds[k]
                    if i + di <= n and j + dj <= m and after[i + di, j + dj] > 0:
                        u = _unit(x, i, di, y, j, dj, a, p)
                        both = probability[u] * after[i + di, j + dj]
                        after[i, j] += both
                        counts[u] += before[i, j] * both / before[n, m]
    return counts, total


@njit()
def best_alignment(letters, phones, lb, pb, probability, a, p, kinds):  # type: ignore[no-untyped-def]
    """Return the likeliest units (L,) of each word, from its first letter on, and their number."""
    units, lengths = np.zeros(len(letters), np.int64), np.zeros(len(lb) - 1, np.int64)
    for w in range(len(lb) - 1):
        x, y = letters[lb[w] : lb[w + 1]], phones[pb[w] : pb[w + 1]]
        n, m = len(x), len(y)
        best = np.full((n + 1, m + 1), -np.inf)
        chosen = np.zeros((n + 1, m + 1), np.int64)
        best[0, 0] = 0.0
        for i in range(n + 1):
            for j in range(m + 1):
                for k in range(len(kinds)):
                    di, dj = kinds[k]
                    if i >= di and j >= dj and best[i - di, j - dj] > -np.inf:
                        u = _unit(x, i - di, di, y, j - dj, dj, a, p)
                        if probability[u] > 0:
                            score = best[i - di, j - dj] + np.log(probability[u])
                            if score > best[i, j]:
                                best[i, j], chosen[i, j] = score, k
        if best[n, m] == -np.inf:
            continue
        i, j, at = n, m, lb[w + 1]
        while i > 0:
            di, dj = kinds[chosen[i, j]]
            i, j, at = i - di, j - dj, at - 1
            units[at] = _unit(x, i, di, y, j, dj, a, p)
        lengths[w] = lb[w + 1] - at
        for k in range(lengths[w]):
            units[lb[w] + k] = units[at + k]
    return units, lengths


@njit()
def search(  # type: ignore[no-untyped-def]
    x, a, begins, units, audible, word, first, suffix, probability, backoff, state_of, start, beam
):
    """Return the likeliest units that spell the letters x and are not all silent; empty if none.

    The best `beam` hypotheses survive at each letter, one of those with the same predictions.
    """
    n = len(x)
    most = 1
    for place in range(len(begins) - 1):
        most = max(most, begins[place + 1] - begins[place])
    room = 2 * beam * most  # a letter is reached from the one before it, and from one more
    state, score = np.zeros((n + 1, room), np.int64), np.full((n + 1, room), -np.inf)
    unit, back = np.zeros((n + 1, room), np.int64), np.zeros((n + 1, room), np.int64)
    came, spoken = np.zeros((n + 1, room), np.int64), np.zeros((n + 1, room), np.bool_)
    count = np.zeros(n + 1, np.int64)
    state[0, 0], score[0, 0], count[0] = start, 0.0, 1
    best, last = -np.inf, -1
    for i in range(n + 1):
        kept = np.zeros(beam, np.int64)
        taken = 0
        for h in np.argsort(-score[i, : count[i]]):
            again = False
            for k in range(taken):
                same = state[i, kept[k]] == state[i, h] and spoken[i, kept[k]] == spoken[i, h]
                again = again or same
            if again:
                continue
            kept[taken] = h
            taken += 1
            if i == n:
                end, _ = next_state(word, first, suffix, probability, backoff, state[i, h], 2)
                if spoken[i, h] and score[i, h] + end > best:
                    best, last = score[i, h] + end, h
            for letters in range(1, min(2, n - i) + 1):
                place = x[i] if letters == 1 else a * (x[i] + 1) + x[i + 1]
                to = i + letters
                for at in range(begins[place], begins[place + 1]):
                    u = units[at]
                    p, node = next_state(word, first, suffix, probability, backoff, state[i, h], u)
                    c = count[to]
                    state[to, c], score[to, c] = state_of[node], score[i, h] + p
                    unit[to, c], back[to, c], came[to, c] = u, h, i
                    spoken[to, c] = spoken[i, h] or audible[u]
                    count[to] += 1
            if taken == beam:
                break
    path = np.zeros(n, np.int64)
    length = 0
    i = n
    while last >= 0 and i > 0:
        path[length] = unit[i, last]
        length += 1
        i, last = came[i, last], back[i, last]
    return path[:length][::-1]
