"""Look-ups in an n-gram model, compiled with numba.

A model is a tree in flat arrays (`speechasym.language.ngrams.NgramModel`): node 0 is the empty
history, the children of node n are first[n] to first[n + 1] - 1, sorted by `word`. The symbol </s>
is number 2 in every model.
"""

import numpy as np

from speechasym.ops.compiling import njit


@njit()
def _child(word, first, node, number):  # type: ignore[no-untyped-def]
    """Return the child of a node for a word, or -1 if it has none."""
    if node == 0:
        return number + 1  # every word is a unigram
    low, high = first[node], first[node + 1]
    while low < high:
        middle = (low + high) // 2
        if word[middle] < number:
            low = middle + 1
        else:
            high = middle
    return low if low < first[node + 1] and word[low] == number else -1


@njit()
def next_state(word, first, suffix, probability, backoff, state, number):  # type: ignore[no-untyped-def]
    """Return log10 p(word | state) and the node of the longest n-gram that ends with the word."""
    total = 0.0
    child = _child(word, first, state, number)
    while child < 0:
        total += backoff[state]
        state = suffix[state]
        child = _child(word, first, state, number)
    return total + probability[child], child


@njit()
def longest_suffixes(word, first):  # type: ignore[no-untyped-def]
    """Return the node of each n-gram's longest proper suffix in the model; -1 at node 0."""
    suffix = np.zeros(len(word), np.int32)
    suffix[0] = -1
    for parent in range(1, len(word)):  # a suffix has the smaller number
        for node in range(first[parent], first[parent + 1]):
            state, child = parent, -1
            while child < 0:
                state = suffix[state]
                child = _child(word, first, state, word[node])
            suffix[node] = child
    return suffix


@njit()
def normalise(word, first, suffix, probability, backoff):  # type: ignore[no-untyped-def]
    """Set the back-off weights (log10) of nodes with children so that each distribution sums to 1.

    Where the children alone have more than 0.9999, the weight is as if they had that.
    """
    for node in range(1, len(word)):  # shorter histories first, whose weights longer ones need
        if first[node] == first[node + 1]:
            continue
        rest, lower = 1.0, 1.0
        for child in range(first[node], first[node + 1]):
            rest -= 10.0 ** probability[child]
            state = suffix[node]
            lower -= (
                10.0 ** next_state(word, first, suffix, probability, backoff, state, word[child])[0]
            )
        backoff[node] = np.log10(max(rest, 1e-4) / max(lower, 1e-4))


@njit()
def sentence_scores(word, first, suffix, probability, backoff, start, numbers):  # type: ignore[no-untyped-def]
    """Return log10 p of each word of concatenated sentences, each of which ends with </s>."""
    scores = np.empty(len(numbers))
    state = start
    for at in range(len(numbers)):
        scores[at], state = next_state(
            word, first, suffix, probability, backoff, state, numbers[at]
        )
        if numbers[at] == 2:
            state = start
    return scores


@njit()
def following(word, first, suffix, probability, backoff, state_of, start, rows):  # type: ignore[no-untyped-def]
    """Return log10 p (B, F, V) of each word after each of the words (B, F), whatever came before.

    A row begins in the empty history; after </s> the next sentence begins.
    """
    words = first[1] - 1  # the children of the root
    out = np.empty((*rows.shape, words), np.float32)
    for row in range(rows.shape[0]):
        state = 0
        for at in range(rows.shape[1]):
            number = rows[row, at]
            node = next_state(word, first, suffix, probability, backoff, state, number)[1]
            state = start if number == 2 else state_of[node]
            answer = out[row, at]
            answer[:] = np.inf  # not known yet: the longest history that a word follows decides
            total, node = 0.0, state
            while node:
                for child in range(first[node], first[node + 1]):
                    if answer[word[child]] == np.inf:
                        answer[word[child]] = total + probability[child]
                total += backoff[node]
                node = suffix[node]
            for number in range(words):
                if answer[number] == np.inf:
                    answer[number] = total + probability[number + 1]
    return out


@njit()
def shortest_states(first, suffix, backoff):  # type: ignore[no-untyped-def]
    """Return, for each node, its longest suffix that has children or a backoff weight."""
    out = np.zeros(len(suffix), np.int32)
    for node in range(1, len(suffix)):  # a suffix has the smaller number
        alone = first[node] == first[node + 1] and backoff[node] == 0
        out[node] = out[suffix[node]] if alone else node
    return out
