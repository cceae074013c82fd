"""Weights of word decoding: a grid search over n-best lists of utterances outside the test set."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from speechasym.errors import ConfigError
from speechasym.ops.cpu_chains import NOTHING
from speechasym.recognition.decoder import Decoder, Hypothesis
from speechasym.recognition.search import DecodingConfig

LM_WEIGHTS = (0.2, 0.3, 0.45, 0.6, 0.8, 1.0, 1.3)
WORD_SCORES = (-1.5, -0.75, 0.0, 0.75, 1.5, 2.5)
HEAD_WEIGHTS = (0.0, 0.25, 0.5, 1.0)
BLANK_PENALTIES = (-0.7, 0.0, 1.0, 2.0)


class Tuned(NamedTuple):
    """The best weights, and the word error rates before and after on the same utterances."""

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
) -> Tuned:
    """Find the weights with the fewest errors in n-best lists; never use test utterances.

    Each round decodes with the weights so far and tries a grid on the lists: language model, word
    score, and each head that has a weight in the decoder's configuration and is not the first one
    searched. The first round decodes once with each blank penalty.

    Raises:
        ConfigError: no reference words, or not one reference for each utterance.
    """
    if not any(references) or len(utterances) != len(references):
        problem = f"{len(references)} for {len(utterances)} utterances"
        raise ConfigError("references", problem, "Give words said")
    config, fewest, total = decoder.config, -1, sum(map(len, references))

    def decode(config: DecodingConfig) -> tuple[list[list[Hypothesis]], list[list[int]]]:
        """The n-best list of each utterance, and the errors of each hypothesis."""
        trial = copy(decoder)
        trial.config = config
        lists = [trial.decode(posteriors) for posteriors in utterances]
        errors = [
            [Levenshtein.distance(list(row), list(h.words)) for h in hypotheses]
            for row, hypotheses in zip(references, lists, strict=True)
        ]
        return lists, errors

    before = sum(row[0] for row in decode(config)[1])
    for number in range(rounds):
        penalties = (config.blank_penalty,) if number else BLANK_PENALTIES
        for trial in [replace(config, blank_penalty=penalty) for penalty in penalties]:
            best, count = _best_of_grid(trial, *decode(trial), lm_weights)
            if fewest < 0 or count < fewest:
                config, fewest = best, count
    return Tuned(config, before / total, fewest / total)


def _best_of_grid(
    config: DecodingConfig,
    lists: Sequence[Sequence[Hypothesis]],
    errors: Sequence[Sequence[int]],
    lm_weights: Sequence[float],
) -> tuple[DecodingConfig, int]:
    """The best weights for n-best lists, and their errors."""
    heads = config.heads
    others = [head for head in heads if head != config.searched[0]]
    shape = len(lists), max(map(len, lists))
    parts = np.zeros((2 + len(heads), *shape))
    wrong, exists = np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
    for i, row in enumerate(lists):
        for j, h in enumerate(row):
            parts[:, i, j] = [h.lm, len(h.words), *(h.heads.get(head, 0.0) for head in heads)]
            wrong[i, j], exists[i, j] = errors[i][j], True
    trials = []
    grids = (lm_weights, WORD_SCORES, *(HEAD_WEIGHTS for _ in others))
    for lm_weight, word_score, *head_weights in product(*grids):
        weights = config.weights | dict(zip(others, head_weights, strict=True))
        factors = np.array([lm_weight, word_score, *(weights[head] for head in heads)])
        scores = np.where(exists, np.tensordot(factors, parts, 1), NOTHING)
        count = int(wrong[np.arange(len(lists)), scores.argmax(1)].sum())
        # the nearest of equally good ones
        distance = abs(lm_weight - config.lm_weight) + abs(word_score - config.word_score)
        changed: dict[str, Any] = {f"{head}_weight": value for head, value in weights.items()}
        changed |= {"lm_weight": lm_weight, "word_score": word_score}
        trials.append((count, distance, changed))
    count, _, changed = min(trials, key=lambda trial: trial[:2])
    return replace(config, **changed), count
