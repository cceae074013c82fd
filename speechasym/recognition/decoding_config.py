"""Options of word decoding: which heads are searched, and the weight of each part of the score."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from speechasym.errors import ConfigError
from speechasym.training.config import HEADS

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
    beam: int = 150  # hypotheses kept
    width: float = 18.0  # how far below the best a hypothesis may be, log p
    symbol_width: float = 9.0  # how far below a step's best a symbol may be to be tried, log p
    histories: int = 3  # kept of those that the language model continues alike
    nbest: int = 20  # sequences that all heads rescore

    def __post_init__(self) -> None:
        if self.source not in _SEARCHED:
            raise ConfigError(
                "source", f"{self.source!r} is unknown", "Use phones, letters or both"
            )
        for name in ("lm_weight", "phones_weight", "letters_weight", "words_weight"):
            self._check(name, 0 <= getattr(self, name) < math.inf, ">= 0", "Use 0.5 to 1")
        for name in ("word_score", "blank_penalty"):
            self._check(name, math.isfinite(getattr(self, name)), "finite", "Use 0")
        for name in ("beam", "histories", "nbest"):
            self._check(name, getattr(self, name) >= 1, ">= 1", "Use a positive number")
        self._check("beam", self.beam <= 100_000, "<= 100000 to fit into memory", "Use 100")
        for name in ("width", "symbol_width"):
            self._check(name, getattr(self, name) > 0, "> 0", "Use 10 to 20")
        if not any(self.weights[head] for head in self.searched):
            raise ConfigError(
                "weights", f"at least one for {self.source} must be > 0, got 0", "Use 1"
            )

    def _check(self, name: str, valid: bool, expected: str, remedy: str) -> None:
        if not valid:
            raise ConfigError(name, f"must be {expected}, got {getattr(self, name)}", remedy)

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
    if source in _SEARCHED:
        weights = {f"{h}_weight": float(h in _SEARCHED[source]) for h in ("phones", "letters")}
        options = weights | options
    return DecodingConfig(source=source, **options)  # type: ignore[arg-type]
