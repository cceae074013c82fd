"""An n-gram model of letters, which knows what is frequent, so that levels learn what it misses.

Shapes: B texts, F symbols, V symbols known.
"""

import math
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from recipes.language import data
from speechasym.language.kneser_ney import estimate
from speechasym.language.letters import SPACE
from speechasym.language.ngrams import END, NgramModel

MARK = "_"  # for a space, which no word of an n-gram model contains


class Prior:
    """An n-gram model's log-probabilities (B, F, V) of what follows each of symbols (B, F)."""

    def __init__(self, model: NgramModel) -> None:
        self.model = model
        names = {data.END: END, SPACE: MARK}
        self.numbers = np.array([model.number(names.get(s, s)) for s in data.SYMBOLS], np.int32)

    def __call__(self, symbols: torch.Tensor) -> torch.Tensor:
        """Return them, base e."""
        found = self.model.following(self.numbers[symbols.numpy()])[..., self.numbers]
        return torch.from_numpy(found) * math.log(10)


def fit(books: Iterable[NDArray[np.uint8]], order: int) -> NgramModel:
    """Estimate a model of the books' sentences."""
    text = data.decode(np.concatenate(list(books)).tolist())
    sentences = text.replace(SPACE, MARK).split(data.END)
    return estimate((list(sentence) for sentence in sentences if sentence), order)
