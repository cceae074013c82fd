"""Word sequences by the posteriors of one head: a prefix beam search over a tree of spellings.

Shapes: S steps of the head, V classes (0 is CTC's blank).
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.config import check_choice, check_count, check_range
from speechasym.errors import ConfigError
from speechasym.language.ngrams import NgramModel
from speechasym.ops import cpu_chains, cpu_search
from speechasym.ops.cpu_chains import NOTHING, Chain
from speechasym.recognition.spellings import Spellings, chain_of, tree_of
from speechasym.training.config import HEADS

TRIED = 4  # sequences tried for each one in the list
_SEARCHED = {"phones": ("phones",), "letters": ("letters",), "both": ("phones", "letters")}


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """How words are searched for, and how the score is weighted."""

    source: Literal["phones", "letters", "both"] = "phones"  # heads to search; both: merged
    lm_weight: float = 0.7
    word_score: float = 0.0  # added for each word; higher values give more and shorter words
    # Weights of the heads. The searched head proposes with weight 1, then all heads rescore the
    # proposed sequences; a head with weight 0 is not evaluated
    phones_weight: float = 1.0
    letters_weight: float = 0.0
    words_weight: float = 0.0
    # Subtracted from the blank's log p at each step: CTC is overconfident of blanks, and what its
    # posteriors all but exclude is often what the words need
    blank_penalty: float = 1.0
    beam: int = 300  # hypotheses kept
    width: float = 13.0  # how far below the best a hypothesis may be, log p
    symbol_width: float = 9.0  # how far below a step's best a symbol may be to be tried, log p
    # Kept of those that the language model continues alike; the others are remembered for the list
    histories: int = 1
    nbest: int = 50  # sequences in the list, which all heads rescore

    def __post_init__(self) -> None:
        check_choice("source", self.source, _SEARCHED)
        for name in ("lm_weight", "phones_weight", "letters_weight", "words_weight"):
            check_range(name, getattr(self, name), "0.5 to 1")
        for name in ("word_score", "blank_penalty"):
            if not math.isfinite(value := getattr(self, name)):
                raise ConfigError(name, f"must be finite, got {value}", "Use 0")
        for name in ("beam", "histories", "nbest"):
            check_count(name, getattr(self, name))
        check_range("beam", self.beam, "100; more do not fit into memory", 1, 100_000)
        for name in ("width", "symbol_width"):
            check_range(name, getattr(self, name), "10 to 20", above=True)
        if not any(self.weights[head] for head in self.searched):
            problem = f"at least one for {self.source} must be > 0, got 0"
            raise ConfigError("weights", problem, "Use 1")

    @property
    def searched(self) -> tuple[str, ...]:
        """The heads whose posteriors are searched."""
        return _SEARCHED[self.source]

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each head."""
        return {head: getattr(self, f"{head}_weight") for head in HEADS}

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads that are needed."""
        return tuple(h for h in HEADS if h in self.searched or self.weights[h])


def config_of(source: str, **options: Any) -> DecodingConfig:
    """Return a configuration in which only the searched heads have weight, unless set here."""
    searched = _SEARCHED.get(source, ())
    weights = {f"{head}_weight": float(head in searched) for head in ("phones", "letters")}
    return DecodingConfig(source=source, **weights | options)  # type: ignore[arg-type]


class WordSpan(NamedTuple):
    """Where a word is in the best alignment."""

    first: int  # step in which its first symbol begins
    last: int  # step in which its last symbol ends
    score: float  # mean posterior of its symbols over the steps that write them


class WordSearch:
    """Search for word sequences by the posteriors of one head.

    Args:
        written: {word: ways to write it in classes of the head}, for words of the language model.
        lm: the language model.
        separator: class written between words, a silence or the space; 0 if there is none.
        obliged: whether the separator must stand between words; it is optional at the ends.
    """

    def __init__(
        self, written: Spellings, lm: NgramModel, *, separator: int = 0, obliged: bool = False
    ) -> None:
        self.written, self.lm = written, lm
        self.separator, self.obliged = separator, obliged
        self.tree = tree_of(written, lm, separator, obliged)

    def nbest(
        self, log_probs: NDArray[np.float32], config: DecodingConfig
    ) -> list[tuple[tuple[str, ...], float, float]]:
        """Return words, log p by the head, log p by the language model, best first.

        The first is the best of all if `beam`, `width`, `symbol_width` and `histories` are large
        enough. A history that was left out for another with the same future is put in place of it
        in the list, first what lost least. An unfinished word at the end is left out if the beam
        holds no sequence of whole words.

        Args:
            log_probs: (S, V) natural logarithms.
        """
        lm = self.lm
        whole, parent, word, lm_score, value, pair, less, step, *endings = cpu_search.search(
            log_probs, *self.tree, lm.word, lm.first, lm.suffix, lm.probability, lm.backoff,
            lm.state_of, lm.start, config.lm_weight, config.word_score, config.beam, config.width,
            config.symbol_width, config.histories,
        )  # fmt: skip
        instead: dict[int, list[tuple[int, float, int]]] = defaultdict(list)
        for number, *loss in zip(pair.tolist(), step.tolist(), less.tolist(), strict=True):
            instead[number >> 32].append((*loss, number & 0xFFFFFFFF))
        ending, sums, logs = endings
        costs = -(sums + value[ending] + config.lm_weight * (logs - lm_score[ending]))
        columns = (x.tolist() for x in (costs, sums, logs, ending))
        # still to be read off, best first: minus the score, log p by the head and by the language
        # model, the history that words begin with, those after it, and the step of its last end
        waiting: list[tuple[float, float, float, int, tuple[str, ...], int]]
        waiting = [(*row, (), len(log_probs)) for row in zip(*columns, strict=True)]
        heapify(waiting)
        found: dict[tuple[str, ...], tuple[float, float]] = {}
        seen: set[tuple[str, ...]] = set()
        # replaced beginnings may not fit what comes after them; too many of those end the list
        while waiting and len(found) < config.nbest and len(seen) < TRIED * config.nbest:
            cost, acoustic, log_p, history, after, end = heappop(waiting)
            chain, words = [], after
            while history > 0:
                chain.append((history, words))
                words, history = (lm.words[word[history]], *words), int(parent[history])
            if words in seen:
                continue
            seen.add(words)
            exact = self.likelihood(log_probs, words)  # -inf if they do not fit
            if exact > NOTHING or not found:
                found[words] = exact if whole and exact > NOTHING else acoustic, log_p
            for old, rest in chain:
                for then, difference, new in instead[old]:
                    if then < end:
                        p = log_p + float(lm_score[new] - lm_score[old])
                        heappush(waiting, (cost + difference, acoustic, p, new, rest, then))

        def score(row: tuple[tuple[str, ...], float, float]) -> float:
            return row[1] + config.lm_weight * row[2] + config.word_score * len(row[0])

        return sorted(((words, *scores) for words, scores in found.items()), key=score)[::-1]

    def likelihood(self, log_probs: NDArray[np.float32], words: Sequence[str]) -> float:
        """Return log p of words over all ways to write them and all alignments; -inf for none."""
        if any(word not in self.written for word in words):
            return NOTHING
        return float(cpu_chains.likelihood(log_probs, *self.chain(words)[:4]))

    def spans(self, log_probs: NDArray[np.float32], words: Sequence[str]) -> list[WordSpan] | None:
        """Return where each word is in the best alignment; None if the words do not fit."""
        chain = self.chain(words)
        states = cpu_chains.align(log_probs, *chain[:4])
        word_of_step = np.where(states >= 0, chain.word[states], -1)
        spans = []
        for number in range(len(words)):
            steps = np.flatnonzero(word_of_step == number)
            if not len(steps):
                return None
            score = float(np.exp(log_probs[steps, chain.symbol[states[steps]]]).mean())
            spans.append(WordSpan(int(steps[0]), int(steps[-1]), min(1.0, score)))
        return spans

    def chain(self, words: Sequence[str]) -> Chain:
        """Return all ways to write words; one that cannot be written has none of its own."""
        ways = [self.written.get(word, [()]) for word in words]
        return chain_of(ways, self.separator, self.obliged)
