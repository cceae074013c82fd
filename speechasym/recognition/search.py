"""Word sequences by the posteriors of one head: a prefix beam search over a tree of spellings.

Shapes: S steps of the head, V classes (0 is CTC's blank).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym.language.ngrams import NgramModel
from speechasym.ops import cpu_search
from speechasym.ops.cpu_search import NOTHING, Chain
from speechasym.recognition.decoding_config import DecodingConfig
from speechasym.recognition.spellings import Spellings, chain_of, tree_of


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

        The search is exact if `beam`, `width`, `symbol_width` and `histories` are large enough. An
        unfinished word at the end is left out if the beam holds no sequence of whole words.

        Args:
            log_probs: (S, V) natural logarithms.
        """
        lm = self.lm
        parent, word, endings, sums, lm_sums = cpu_search.search(
            log_probs, *self.tree, lm.word, lm.first, lm.suffix, lm.probability, lm.backoff,
            lm.state_of, lm.start, config.lm_weight, config.word_score, config.beam, config.width,
            config.symbol_width, config.histories,
        )  # fmt: skip
        rows = []
        for history, acoustic, lm_score in zip(endings, sums, lm_sums, strict=True):
            numbers = []
            while history > 0:
                numbers.append(int(word[history]))
                history = parent[history]
            words = tuple(lm.words[number] for number in reversed(numbers))
            rows.append((words, float(acoustic), float(lm_score)))
        score = config.word_score
        rows.sort(key=lambda r: -(r[1] + config.lm_weight * r[2] + score * len(r[0])))
        return rows[: config.nbest]

    def likelihood(self, log_probs: NDArray[np.float32], words: Sequence[str]) -> float:
        """Return log p of words over all ways to write them and all alignments; -inf for none."""
        if any(word not in self.written for word in words):
            return NOTHING
        return float(cpu_search.likelihood(log_probs, *self._chain(words)[:4]))

    def spans(self, log_probs: NDArray[np.float32], words: Sequence[str]) -> list[WordSpan] | None:
        """Return where each word is in the best alignment; None if there is no alignment."""
        chain = self._chain(words)
        states = cpu_search.align(log_probs, *chain[:4])
        number_of_step = np.where(states >= 0, chain.word[states], -1)
        spans = []
        for number in range(len(words)):
            steps = np.flatnonzero(number_of_step == number)
            if not len(steps):
                return None
            score = float(np.exp(log_probs[steps, chain.symbol[states[steps]]]).mean())
            spans.append(WordSpan(int(steps[0]), int(steps[-1]), min(1.0, score)))
        return spans

    def _chain(self, words: Sequence[str]) -> Chain:
        return chain_of([self.written[word] for word in words], self.separator, self.obliged)
