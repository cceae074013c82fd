"""Word decoding compiled with numba: a prefix beam search.

The search is time-synchronous. A hypothesis is a history of words, a node of the tree of
pronunciations, and the last symbol written; its probability is the sum over all alignments that
lead there [1]. CTC's rule also holds across words: a repeated symbol needs a blank in between.

Shapes: S steps, V classes (0 is the blank), N nodes of the tree, A arcs, H histories.

[1] A. Graves, N. Jaitly, "Towards end-to-end speech recognition with recurrent neural networks",
    ICML, 2014: prefix beam search; A. Hannun et al., "First-pass large vocabulary continuous speech
    recognition using bi-directional recurrent DNNs", arXiv:1408.2873, 2014: with words and an LM.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.ops.compiling import njit
from speechasym.ops.cpu_chains import NOTHING
from speechasym.ops.cpu_ngrams import next_state

_END = np.int32(2)  # number of </s> in every n-gram model
_jit = njit(nogil=True, error_model="numpy")


class Tree(NamedTuple):
    """Pronunciations as a prefix tree. Node 0 is the start of a word."""

    first: NDArray[np.int32]  # (N + 1,) arcs of node n are first[n] to first[n + 1] - 1
    symbol: NDArray[np.int32]  # (A,) class that an arc writes
    to: NDArray[np.int32]  # (A,) node that it leads to
    first_word: NDArray[np.int32]  # (N + 1,) words that end at node n, likewise
    word: NDArray[np.int32]  # numbers in the language model
    ahead: NDArray[np.float32]  # (N,) best unigram log p of a word below
    after: int  # node after a word: 0, or one that writes the separator first


@_jit
def _plus(a: Any, b: Any) -> Any:
    """Return log(exp a + exp b)."""
    if a < b:
        a, b = b, a
    if b == NOTHING:
        return a
    return a + math.log1p(math.exp(b - a))


@_jit
def _slot(table: Any, stamp: Any, keys: Any, now: Any, key: Any) -> Any:
    """Return the slot of a key in a hash table whose valid entries have the stamp `now`."""
    mask = len(table) - 1
    slot = (key * np.int64(-7046029254386353131) >> np.int64(20)) & mask
    while stamp[slot] == now and keys[table[slot]] != key:
        slot = (slot + 1) & mask
    return slot


@_jit
def _entry(table: Any, stamp: Any, keys: Any, now: Any, key: Any, count: int) -> Any:
    """Return the number of a key in the table; `count` if it is new, entered with that."""
    slot = _slot(table, stamp, keys, now, key)
    if stamp[slot] != now:
        stamp[slot], table[slot], keys[count] = now, count, key
    return table[slot]


@_jit
def _grown(x: Any, size: int) -> Any:
    out = np.empty(size, x.dtype)
    for i in range(len(x)):  # compiles in a tenth of the time that an assignment to a slice takes
        out[i] = x[i]
    return out


@_jit
def _sort(keys: Any, order: Any) -> None:
    """Sort `order`, in place, by rising keys[order]: a quicksort, as np.argsort's in numba.

    It is the same to the order of ties, and compiles in a fifth of the time.
    """
    lows, highs = np.empty(100, np.int64), np.empty(100, np.int64)
    lows[0], highs[0], depth = 0, len(order) - 1, 1
    while depth > 0:
        depth -= 1
        low, high = lows[depth], highs[depth]
        while high - low >= 15:
            middle = (low + high) >> 1
            # the pivot is the median of three, and waits at the end
            if keys[order[middle]] < keys[order[low]]:
                order[low], order[middle] = order[middle], order[low]
            if keys[order[high]] < keys[order[middle]]:
                order[high], order[middle] = order[middle], order[high]
            if keys[order[middle]] < keys[order[low]]:
                order[low], order[middle] = order[middle], order[low]
            pivot = keys[order[middle]]
            order[high], order[middle] = order[middle], order[high]
            i, j = low, high - 1
            while True:
                while i < high and keys[order[i]] < pivot:
                    i += 1
                while j >= low and pivot < keys[order[j]]:
                    j -= 1
                if i >= j:
                    break
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
            order[i], order[high] = order[high], order[i]
            if high - i > i - low:  # the larger part waits
                if high > i:
                    lows[depth], highs[depth] = i + 1, high
                    depth += 1
                high = i - 1
            else:
                if i > low:
                    lows[depth], highs[depth] = low, i - 1
                    depth += 1
                low = i + 1
        for i in range(low + 1, high + 1):
            k = order[i]
            j = i
            while j > low and keys[k] < keys[order[j - 1]]:
                order[j] = order[j - 1]
                j -= 1
            order[j] = k


@_jit
def search(
    log_probs: Any, first: Any, symbol: Any, to: Any, first_word: Any, words: Any, ahead: Any,
    after: int, lm_word: Any, lm_first: Any, lm_suffix: Any, lm_probability: Any, lm_backoff: Any,
    lm_state: Any, start: int, lm_weight: float, word_score: float, beam: int, width: float,
    symbol_width: float, most: int,
) -> Any:  # fmt: skip
    """Return the best word sequences of log_probs (S, V).

    Args:
        lm_*: arrays of `ngrams.NgramModel`, with logarithms to base 10, and its initial state.
        lm_weight, word_score: weight of natural log p(words), and addend per word.
        beam, width: maximum number of hypotheses, and their maximum distance from the best.
        symbol_width: maximum distance of a symbol from the best of its step.
        most: maximum number of histories in the same state of the language model at the same node.

    Returns:
        whole: whether endings end with a whole word.
        parent, word, lm, value (H,): of each history, by number, 0 being the empty one; natural
            log p of its words, and its part of the score.
        pair, less, step (R,): a history that was left out for another with the same future, as
            number of the other * 2**32 + its own; by how much its score was less, and when, where
            that was least.
        ending (E,): histories that end with a whole word, or all if none does; their sums over
        alignments, and natural log p of their words with </s>.
    """
    base = math.log(10.0)
    nodes, classes = len(first) - 1, log_probs.shape[1]
    fan = 0  # maximum successors of a hypothesis
    for n in range(nodes):
        count = 2
        for a in range(first[n], first[n + 1]):
            count += 1 + first_word[to[a] + 1] - first_word[to[a]]
        fan = max(fan, count)
    size = 1
    while size < 2 * beam * fan:
        size *= 2
    table, stamp = np.zeros(size, np.int32), np.full(size, -1, np.int32)
    keys = np.empty(beam * fan, np.int64)
    history, node = np.empty(beam * fan, np.int32), np.empty(beam * fan, np.int32)
    last = np.empty(beam * fan, np.int32)
    blank, written = np.empty(beam * fan), np.empty(beam * fan)
    merged, merged_stamp = np.zeros(size, np.int32), np.full(size, -1, np.int32)
    merged_keys, merged_count = np.empty(beam * fan, np.int64), np.empty(beam * fan, np.int32)
    merged_best = np.empty(beam * fan, np.int64)
    pairs, pair_keys = 0, np.empty(1 << 12, np.int64)
    less, step = np.empty(1 << 12), np.empty(1 << 12, np.int32)
    pair, pair_stamp = np.zeros(1 << 14, np.int32), np.full(1 << 14, -1, np.int32)

    room = 1 << 16
    parent, word = np.full(room, -1, np.int32), np.full(room, -1, np.int32)
    state, lm, value = np.empty(room, np.int32), np.empty(room), np.empty(room)
    names = np.empty(room, np.int64)
    known, known_stamp = np.zeros(4 * room, np.int32), np.full(4 * room, -1, np.int32)
    state[0], lm[0], value[0], histories = start, 0.0, 0.0, 1
    names[0] = -1

    beam_history, beam_node = np.zeros(beam, np.int32), np.zeros(beam, np.int32)
    beam_last = np.zeros(beam, np.int32)
    beam_blank, beam_written = np.full(beam, NOTHING), np.full(beam, NOTHING)
    beam_blank[0], kept = 0.0, 1
    span = np.int64(len(lm_word))

    for s in range(len(log_probs)):
        row = log_probs[s]
        top = row[0]
        for k in range(1, classes):
            top = max(top, row[k])
        floor = top - symbol_width
        if histories + beam * fan > len(parent):
            room = 2 * (histories + beam * fan)
            parent, word, state = _grown(parent, room), _grown(word, room), _grown(state, room)
            lm, value, names = _grown(lm, room), _grown(value, room), _grown(names, room)
            many = len(known)
            while many < 4 * room:
                many *= 2
            known, known_stamp = np.zeros(many, np.int32), np.full(many, -1, np.int32)
            for h in range(1, histories):
                _entry(known, known_stamp, names, 0, names[h], h)
        count, best = 0, NOTHING
        for i in range(kept):
            h, n, k = beam_history[i], beam_node[i], beam_last[i]
            total = _plus(beam_blank[i], beam_written[i])
            # the same node again: a blank, or the symbol continues
            key = (np.int64(h) * nodes + n) * classes + k
            c = _entry(table, stamp, keys, s, key, count)
            if c == count:
                history[c], node[c], last[c] = h, n, k
                blank[c], written[c] = NOTHING, NOTHING
                count += 1
            blank[c] = _plus(blank[c], total + row[0])
            if k > 0:
                written[c] = _plus(written[c], beam_written[i] + row[k])
            best = max(best, _plus(blank[c], written[c]) + value[h] + lm_weight * ahead[n])
            for a in range(first[n], first[n + 1]):
                k = symbol[a]
                if row[k] < floor:
                    continue
                p = (beam_blank[i] if k == beam_last[i] else total) + row[k]
                m = to[a]
                guess = p + value[h] + lm_weight * ahead[m]
                if p == NOTHING or guess < best - width:
                    continue
                if first[m] < first[m + 1]:  # the word may continue
                    best = max(best, guess)
                    key = (np.int64(h) * nodes + m) * classes + k
                    c = _entry(table, stamp, keys, s, key, count)
                    if c == count:
                        history[c], node[c], last[c] = h, m, k
                        blank[c], written[c] = NOTHING, NOTHING
                        count += 1
                    written[c] = _plus(written[c], p)
                for b in range(first_word[m], first_word[m + 1]):  # or it ends
                    name = np.int64(h) * span + words[b]
                    new = _entry(known, known_stamp, names, 0, name, histories)
                    if new == histories:
                        log_p, lm_node = next_state(
                            lm_word, lm_first, lm_suffix, lm_probability, lm_backoff,
                            state[h], words[b],
                        )  # fmt: skip
                        parent[histories], word[histories] = h, words[b]
                        state[histories] = lm_state[lm_node]
                        lm[histories] = lm[h] + base * log_p
                        value[histories] = value[h] + lm_weight * base * log_p + word_score
                        histories += 1
                    guess = p + value[new] + lm_weight * ahead[after]
                    if guess < best - width:
                        continue
                    best = max(best, guess)
                    key = (np.int64(new) * nodes + after) * classes + k
                    c = _entry(table, stamp, keys, s, key, count)
                    if c == count:
                        history[c], node[c], last[c] = new, after, k
                        blank[c], written[c] = NOTHING, NOTHING
                        count += 1
                    written[c] = _plus(written[c], p)
        # keep the best hypotheses, and few with the same future
        good = 0
        chosen, costs = np.empty(count, np.int64), np.empty(count)
        for c in range(count):
            score = _plus(blank[c], written[c]) + value[history[c]] + lm_weight * ahead[node[c]]
            if score >= best - width:
                chosen[good], costs[good] = c, -score
                good += 1
        order = np.arange(good)
        _sort(costs, order)
        kept, kinds = 0, 0
        for i in range(good):
            c = chosen[order[i]]
            h = history[c]
            key = (np.int64(state[h]) * nodes + node[c]) * classes + last[c]
            kind = _entry(merged, merged_stamp, merged_keys, s, key, kinds)
            if kind == kinds:
                merged_count[kind], merged_best[kind] = 0, order[i]
                kinds += 1
            if merged_count[kind] == most:
                winner = merged_best[kind]
                if pairs == len(pair_keys):
                    pair_keys, less = _grown(pair_keys, 2 * pairs), _grown(less, 2 * pairs)
                    step, many = _grown(step, 2 * pairs), 8 * pairs
                    pair, pair_stamp = np.zeros(many, np.int32), np.full(many, -1, np.int32)
                    for r in range(pairs):
                        _entry(pair, pair_stamp, pair_keys, 0, pair_keys[r], r)
                key = (np.int64(history[chosen[winner]]) << 32) + h
                r = _entry(pair, pair_stamp, pair_keys, 0, key, pairs)
                if r == pairs:
                    less[r] = math.inf
                    pairs += 1
                difference = costs[order[i]] - costs[winner]
                if difference < less[r]:
                    less[r], step[r] = difference, s
                continue
            merged_count[kind] += 1
            beam_history[kept], beam_node[kept], beam_last[kept] = h, node[c], last[c]
            beam_blank[kept], beam_written[kept] = blank[c], written[c]
            kept += 1
            if kept == beam:
                break

    well = False
    for i in range(kept):
        well = well or beam_node[i] == 0 or beam_node[i] == after
    ending, sums = np.empty(kept, np.int32), np.empty(kept)
    count = 0
    for i in range(kept):
        if well and beam_node[i] != 0 and beam_node[i] != after:
            continue
        at = 0
        while at < count and ending[at] != beam_history[i]:
            at += 1
        if at == count:
            ending[at], sums[at] = beam_history[i], NOTHING
            count += 1
        sums[at] = _plus(sums[at], _plus(beam_blank[i], beam_written[i]))
    logs = np.empty(count)
    for at in range(count):
        log_p, _ = next_state(
            lm_word, lm_first, lm_suffix, lm_probability, lm_backoff, state[ending[at]], _END
        )
        logs[at] = lm[ending[at]] + base * log_p
    return (
        well, parent[:histories], word[:histories], lm[:histories], value[:histories],
        pair_keys[:pairs], less[:pairs], step[:pairs], ending[:count], sums[:count], logs,
    )  # fmt: skip
