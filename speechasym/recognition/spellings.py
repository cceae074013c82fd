"""How a head writes words: their pronunciations or spellings, as a tree, and as a chain of states.

Classes are those of a head: 0 is CTC's blank, symbol k of its inventory is k + 1.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from speechasym.errors import DecodingError
from speechasym.language import phones
from speechasym.language.letters import SPACE
from speechasym.language.lexicon import Lexicon
from speechasym.language.ngrams import NgramModel
from speechasym.ops.cpu_search import NOTHING, Chain, Tree
from speechasym.training import labels

FLAP = "dx"  # of the folded phones of TIMIT

Spellings = dict[str, list[tuple[int, ...]]]  # {word: classes of each way to write it}


def pronunciations(entries: Lexicon, words: Iterable[str], inventory: Sequence[str]) -> Spellings:
    """Return {word: its pronunciations as classes of a phones head}, without stress and silences.

    If the head writes only TIMIT's 39 folded classes, the lexicon is folded alike, and words may
    have flaps if the head writes them.

    Args:
        inventory: symbols of the head, in order of their classes from 1, in either letter case.

    Raises:
        DecodingError: phones that the head does not write.
    """
    folded = set(inventory) <= set(phones.TIMIT_39)
    known = labels.classes(inventory)
    known |= {symbol.upper(): k for symbol, k in known.items() if symbol.upper() not in known}
    missing: Counter[str] = Counter()
    written: Spellings = {}
    for word in words:
        rows: dict[tuple[int, ...], None] = {}
        for symbols in entries[word]:
            ways = [[phones.strip_stress(p) for p in symbols if p not in phones.SILENCES]]
            if folded:
                ways += _flapped(ways[0]) if FLAP in known else []
                ways = [[phones.FOLD_ANY_TO_39.get(p.lower(), p) for p in way] for way in ways]
            missing.update(p for p in ways[0] if p not in known)
            for way in ways:
                if way and all(p in known for p in way):
                    rows[tuple(known[p] for p in way)] = None
        if rows:
            written[word] = list(rows)
    if missing:
        some = ", ".join(phone for phone, _ in missing.most_common(5))
        examples = " ".join(inventory[:8])
        problem = f"the run's phones head does not write {some}; it writes {examples} ..."
        remedy = "Give a lexicon in its phones, or train on speech that has them all"
        raise DecodingError("lexicon", problem, remedy)
    return written


def _flapped(row: Sequence[str]) -> list[list[str]]:
    """A pronunciation with flaps, which ARPAbet lexica do not mark.

    T or D is a flap between a vowel or R and a vowel, and at the end as before a vowel of the next
    word.
    """
    vowels = (*phones.VOWELS, "R")
    inner = [
        FLAP
        if p in ("T", "D") and 0 < i < len(row) - 1 and row[i - 1] in vowels
        and row[i + 1] in phones.VOWELS
        else p
        for i, p in enumerate(row)
    ]  # fmt: skip
    final = len(row) > 1 and row[-1] in ("T", "D") and row[-2] in vowels
    ways = [inner, [*inner[:-1], FLAP]] if final else [inner]
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
    ends: list[list[int]] = [[]]
    ahead = [NOTHING]
    unigram = {w: float(lm.probability[1 + lm.numbers[w]]) * math.log(10) for w in written}
    for word, ways in written.items():
        for row in ways:
            node = 0
            ahead[0] = max(ahead[0], unigram[word])
            for symbol in row:
                if symbol not in children[node]:
                    children[node][symbol] = len(children)
                    children.append({})
                    ends.append([])
                    ahead.append(NOTHING)
                node = children[node][symbol]
                ahead[node] = max(ahead[node], unigram[word])
            ends[node].append(lm.numbers[word])
    after = 0
    if separator:
        children[0][separator] = 0
        if obliged:
            after = len(children)
            children.append({separator: 0})
            ends.append([])
            ahead.append(ahead[0])
    rows = [sorted(arcs.items()) for arcs in children]
    return Tree(
        first=np.cumsum([0, *map(len, rows)], dtype=np.int32),
        symbol=np.array([symbol for row in rows for symbol, _ in row], np.int32),
        to=np.array([node for row in rows for _, node in row], np.int32),
        first_word=np.cumsum([0, *map(len, ends)], dtype=np.int32),
        word=np.array([number for row in ends for number in row], np.int32),
        ahead=np.array(ahead, np.float32),
        after=after,
    )


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
    return Chain(
        symbol=np.array(symbol, np.int32),
        first=np.cumsum([0, *map(len, before)], dtype=np.int32),
        before=np.array([q for row in before for q in row], np.int32),
        final=final,
        word=np.array(word, np.int32),
    )
