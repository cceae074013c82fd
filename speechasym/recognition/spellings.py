"""How a head writes words: their pronunciations or spellings, as a tree, and as a chain of states.

Classes are those of a head: 0 is CTC's blank, symbol k of its inventory is k + 1.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from speechasym.errors import DecodingError
from speechasym.language import contexts, phones
from speechasym.language.letters import SPACE
from speechasym.language.lexicon import Lexicon
from speechasym.language.ngrams import NgramModel
from speechasym.ops.cpu_chains import NOTHING, Chain
from speechasym.ops.cpu_search import Tree
from speechasym.training import labels

FLAP = "dx"  # of the folded phones of TIMIT

Spellings = dict[str, list[tuple[int, ...]]]  # {word: classes of each way to write it}


def pronunciations(
    entries: Lexicon, words: Iterable[str], inventory: Sequence[str], context: bool = False
) -> Spellings:
    """Return {word: its pronunciations as classes of a phones head}, without stress and silences.

    If the head writes only TIMIT's 39 folded classes, the lexicon is folded alike, and words may
    have flaps if the head writes them.

    Args:
        inventory: symbols of the head, in order of their classes from 1, in either letter case.
        context: whether they are phones in context. Of several ways to say a word, those with a
            context that was never heard are left out; of a single one, such phones take another.

    Raises:
        DecodingError: phones that the head does not write.
    """
    alone = contexts.merged(inventory)[0] if context else inventory
    folded = set(alone) <= set(phones.TIMIT_39)
    known = labels.classes(inventory)
    known |= {symbol.upper(): k for symbol, k in known.items() if symbol.upper() not in known}
    nearest = cache(lambda symbol: contexts.nearest(symbol, known))
    missing: Counter[str] = Counter()
    written: Spellings = {}
    plain = cache(phones.strip_stress)  # a few symbols, a hundred thousand times
    for word in words:
        rows: list[tuple[int, ...]] = []
        unheard: list[tuple[int, ...]] = []
        for symbols in entries[word]:
            ways = [[plain(p) for p in symbols if p not in phones.SILENCES]]
            if folded:
                ways += _flapped(ways[0]) if FLAP in alone else []
                ways = [[phones.FOLD_ANY_TO_39.get(p.lower(), p) for p in way] for way in ways]
            exact = list(map(contexts.in_context, ways)) if context else ways
            heard = [list(map(nearest, way)) for way in exact] if context else ways
            missing.update(
                p for p, near in zip(ways[0], heard[0], strict=True) if near not in known
            )
            for way, near in zip(exact, heard, strict=True):
                if near and known.keys() >= {*near}:
                    kept = rows if known.keys() >= {*way} else unheard
                    kept.append(tuple(known[p] for p in near))
        if rows or unheard:
            written[word] = list(dict.fromkeys(rows or unheard))
    if missing:
        some, examples = ", ".join(p for p, _ in missing.most_common(5)), " ".join(alone[:8])
        problem = f"the run's phones head does not write {some}; it writes {examples}, for example"
        remedy = "Give a lexicon in its phones, or train on speech that has them all"
        raise DecodingError("lexicon", problem, remedy)
    return written


def _flapped(row: Sequence[str]) -> list[list[str]]:
    """The ways to say a pronunciation with flaps, which ARPAbet lexica do not mark.

    T or D is a flap between a vowel or R and a vowel, and at the end if the next word begins with a
    vowel.
    """

    def flapped(i: int) -> bool:
        return i > 0 and row[i] in ("T", "D") and row[i - 1] in (*phones.VOWELS, "R")

    inner = [
        FLAP if flapped(i) and after in phones.VOWELS else p
        for i, (p, after) in enumerate(zip(row, [*row[1:], ""], strict=True))
    ]
    ways = [inner, [*inner[:-1], FLAP]] if row and flapped(len(row) - 1) else [inner]
    return [way for way in ways if way != list(row)]


def spellings(words: Iterable[str], inventory: Sequence[str]) -> Spellings:
    """Return {word: its letters as classes of a letters head}, for words of known letters only."""
    known = labels.classes(inventory)
    return {
        word: [tuple(known[c] for c in word)]
        for word in words
        if word and all(c in known and c != SPACE for c in word)
    }


def tree_of(written: Spellings, lm: NgramModel, separator: int, obliged: bool) -> Tree:
    """Return the tree of words that share beginnings; see `search.WordSearch` for the separator."""
    children: list[dict[int, int]] = [{}]
    ends: dict[int, list[int]] = defaultdict(list)
    ahead: dict[int, float] = defaultdict(lambda: NOTHING)
    unigrams = (lm.probability[1 : 1 + len(lm.words)].astype(np.float64) * math.log(10)).tolist()
    for word, ways in written.items():
        unigram = unigrams[lm.numbers[word]]
        for row in ways:
            node = 0
            ahead[0] = max(ahead[0], unigram)
            for symbol in row:
                if symbol not in children[node]:
                    children[node][symbol] = len(children)
                    children.append({})
                node = children[node][symbol]
                ahead[node] = max(ahead[node], unigram)
            ends[node].append(lm.numbers[word])
    after = 0
    if separator:
        children[0][separator] = 0
        if obliged:
            after = len(children)
            children.append({separator: 0})
            ahead[after] = ahead[0]
    arcs = [dict(sorted(row.items())) for row in children]
    nodes = range(len(children))
    first, symbols = _packed(arcs)
    _, to = _packed([row.values() for row in arcs])
    first_word, words = _packed([ends[node] for node in nodes])
    best = np.array([ahead[node] for node in nodes], np.float32)
    return Tree(first, symbols, to, first_word, words, best, after)


def chain_of(ways: Sequence[Sequence[tuple[int, ...]]], separator: int, obliged: bool) -> Chain:
    """Return all ways to write a sequence of words, from the ways to write each word."""
    symbol, word = [0], [-1]
    before: list[list[int]] = [[]]

    def add(label: int, previous: list[int], position: int) -> int:
        symbol.append(label)
        before.append(list(previous))
        word.append(position)
        return len(symbol) - 1

    def separated(ends: list[int], must: bool) -> list[int]:
        if not separator:
            return ends
        state = add(separator, ends, -1)
        before[state].append(state)  # another separator, after a blank
        return [state] if must else [*ends, state]

    ends = [0]
    for position, rows in enumerate(ways):
        starts, ends = separated(ends, obliged and position > 0), []
        for row in rows:
            previous = starts
            for label in row:
                previous = [add(label, previous, position)]
            ends += previous
    ends = separated(ends, False)
    final = np.zeros(len(symbol), np.bool_)
    final[ends] = True
    return Chain(np.array(symbol, np.int32), *_packed(before), final, np.array(word, np.int32))


def _packed(rows: Sequence[Collection[int]]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Where each row begins, and the total; the numbers of all rows in one."""
    first = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    return first, np.array([number for row in rows for number in row], np.int32)
