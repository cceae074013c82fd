"""Weights of word decoding: a grid over n-best lists of utterances that are not for testing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from speechasym.errors import ConfigError
from speechasym.ops.cpu_search import NOTHING
from speechasym.recognition.decoder import Decoder, Hypothesis
from speechasym.recognition.decoding_config import DecodingConfig

LM_WEIGHTS = (0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.3)
WORD_SCORES = (-1.5, -0.75, 0.0, 0.75, 1.5, 2.5)
HEAD_WEIGHTS = (0.0, 0.25, 0.5, 1.0)
BLANK_PENALTIES = (0.0, 1.0, 2.0)


class Tuned(NamedTuple):
    """Weights found, and the word error rates before and after, on the same utterances."""

    config: DecodingConfig
    before: float
    after: float


def tune(
    decoder: Decoder,
    utterances: Sequence[Mapping[str, Tensor | NDArray]],
    references: Sequence[Sequence[str]],
    *,
    rounds: int = 2,
    lm_weights: Sequence[float] = LM_WEIGHTS,
    word_scores: Sequence[float] = WORD_SCORES,
    head_weights: Sequence[float] = HEAD_WEIGHTS,
    blank_penalties: Sequence[float] = BLANK_PENALTIES,
) -> Tuned:
    """The weights of a grid with the fewest errors in n-best lists; never use test utterances.

    Each round decodes with the weights so far and tries the grid on the lists: language model,
    word score, and of each head that has a weight in the decoder's configuration and is not the
    first that is searched. The first round decodes once with each penalty of the blank.

    Raises `ConfigError` where there is nothing to tune on.
    """
    if not any(references) or len(utterances) != len(references):
        raise ConfigError(
            "references", f"{len(references)} for {len(utterances)} utterances", "Give words said"
        )
    kept = config = decoder.config
    others = [h for h in config.heads if h != config.searched[0]]
    fewest, total = -1, sum(map(len, references))

    def lists_of(config: DecodingConfig) -> tuple[list[list[Hypothesis]], list[list[int]]]:
        decoder.config = config
        lists = [decoder.decode(given) for given in utterances]
        errors = [
            [Levenshtein.distance(list(row), list(h.words)) for h in hypotheses]
            for row, hypotheses in zip(references, lists, strict=True)
        ]
        return lists, errors

    try:
        before = sum(row[0] for row in lists_of(kept)[1])
        for number in range(rounds):
            start = config
            for penalty in (start.blank_penalty,) if number else blank_penalties:
                tried = replace(start, blank_penalty=penalty)
                found, count = _best_of_grid(
                    tried, *lists_of(tried), others, lm_weights, word_scores, head_weights
                )
                if fewest < 0 or count < fewest:
                    config, fewest = found, count
    finally:
        decoder.config = kept
    return Tuned(config, before / total, fewest / total)


def _best_of_grid(
    config: DecodingConfig,
    lists: Sequence[Sequence[Hypothesis]],
    errors: Sequence[Sequence[int]],
    others: Sequence[str],
    lm_weights: Sequence[float],
    word_scores: Sequence[float],
    head_weights: Sequence[float],
) -> tuple[DecodingConfig, int]:
    heads = config.heads
    longest = max(map(len, lists))
    table = np.full((2 + len(heads), len(lists), longest), 0.0)
    wrong = np.zeros((len(lists), longest), np.int64)
    there = np.zeros((len(lists), longest), np.bool_)
    for i, row in enumerate(lists):
        for j, h in enumerate(row):
            table[:, i, j] = [h.lm, len(h.words), *(h.heads.get(head, 0.0) for head in heads)]
            wrong[i, j], there[i, j] = errors[i][j], True
    best: tuple[int, float] | None = None
    found = config
    at = np.arange(len(lists))
    for lm_weight, word_score, *own in product(
        lm_weights, word_scores, *(head_weights for _ in others)
    ):
        weights = config.weights | dict(zip(others, own, strict=True))
        factors = np.array([lm_weight, word_score, *(weights[head] for head in heads)])
        scores = np.where(there, np.tensordot(factors, table, 1), NOTHING)
        count = int(wrong[at, scores.argmax(1)].sum())
        far = abs(lm_weight - config.lm_weight) + abs(word_score - config.word_score)
        if best is None or (count, far) < best:  # of equally good ones the nearest
            best = count, far
            changed: dict[str, Any] = {f"{head}_weight": value for head, value in weights.items()}
            found = replace(config, lm_weight=lm_weight, word_score=word_score, **changed)
    assert best is not None
    return found, best[0]
