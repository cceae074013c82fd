"""Words from the posteriors of a run's heads, by a lexicon and an n-gram language model.

Words are searched for by one head and rescored by all: a stack of levels reads the same utterance
as phones, as letters and as words. The score of a sequence of words W is

    sum over heads w_h log P_h(W) + lm_weight log P(W) + word_score |W|

P_h is CTC's: for the phones head the sum over all pronunciations, with or without silences between
words if the head writes them; for the letters head that of the spelling, with one or more spaces
between words; for the words head that of the words, <unk> for those outside its vocabulary. All
logarithms are natural.

Shapes: S steps of a head, V classes (0 is CTC's blank).
"""

import gc
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from operator import or_
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechasym import files
from speechasym.config import plural
from speechasym.errors import ConfigError, DecodingError
from speechasym.language import lexicon, ngrams, phones
from speechasym.language.letters import SPACE, spell
from speechasym.language.lexicon import Lexicon
from speechasym.language.model_files import read_model
from speechasym.language.ngrams import NgramModel
from speechasym.levels import ctc
from speechasym.ops.cpu_chains import NOTHING
from speechasym.recognition.search import DecodingConfig, WordSearch, WordSpan
from speechasym.recognition.spellings import pronunciations, spellings
from speechasym.recognition.trained_model import check_head
from speechasym.training import labels
from speechasym.training.labels import Inventory

log = logging.getLogger(__name__)

BY_LEXICON = "words by lexicon"
# Share of the smaller vocabulary that lexicon and language model must have in common
LEAST_COMMON = 0.1
FLOOR = 20.0  # log p below the worst for a sequence that a head cannot have written
Scores = dict[tuple[str, ...], dict[str, float]]  # {words: {head: log p}}


class Hypothesis(NamedTuple):
    """A possible sequence of words."""

    words: tuple[str, ...]
    total: float  # the score it is ranked by
    heads: dict[str, float]  # natural log p by each head, summed over alignments
    lm: float  # natural log p of the words, with </s>


class Vocabulary(NamedTuple):
    """How lexicon and language model fit each other, in numbers of words."""

    known: int  # in both, so that they can be recognised
    only_lm: list[str]  # without pronunciation; sorted
    only_lexicon: int  # unknown to the language model
    guessed: int  # with a guessed pronunciation


class Decoder:
    """Find words by the posteriors of a run's heads.

    Args:
        inventories: {head: symbols} as the run writes them.
        merged: {head: the class (V,) that each class is read as} where that is another.
        entries: pronunciations; None if only letters are searched.
        guessed: how many of the pronunciations are guessed, for the report.
        paths: of lexicon and language model, for the report.

    Raises:
        ConfigError: a head that is needed but missing.
        DecodingError: lexicon, language model and head do not fit each other.
    """

    def __init__(
        self,
        inventories: Mapping[str, Sequence[str]],
        entries: Lexicon | None,
        lm: NgramModel,
        config: DecodingConfig,
        *,
        merged: Mapping[str, NDArray[np.int64]] | None = None,
        guessed: int = 0,
        paths: tuple[Path | None, Path | None] = (None, None),
    ) -> None:
        self.inventories, self.entries, self.lm, self.config = inventories, entries, lm, config
        self.merged, self.paths = merged or {}, paths
        for head in config.heads:
            check_head(head, inventories, "from" if head in config.searched else f"{head}_weight")
        lm_words = [word for word in lm.words if word not in ngrams.SPECIAL]
        if not lm_words:
            raise DecodingError("language model", "it has no words", "Estimate one from a text")
        self.searches: dict[str, WordSearch] = {}
        known, self.vocabulary = lm_words, Vocabulary(len(lm_words), [], 0, 0)
        if "phones" in config.heads:
            if entries is None:
                raise ConfigError("lexicon", "needed to read phones", "Give one, or search letters")
            known = [word for word in lm_words if word in entries]
            if len(known) < LEAST_COMMON * min(len(lm_words), len(entries)):
                raise _different_vocabularies(lm_words, entries, len(known))
            only_lm = [word for word in lm_words if word not in entries]
            self.vocabulary = Vocabulary(len(known), only_lm, len(entries) - len(known), guessed)
            symbols = inventories["phones"]
            written = pronunciations(entries, known, symbols, context="phones" in self.merged)
            silence = labels.classes(symbols).get(phones.SILENCE, 0)
            self.searches["phones"] = WordSearch(written, lm, separator=silence)
        if "letters" in config.heads:
            symbols = inventories["letters"]
            written = spellings(known, symbols)
            if not written:
                example, remedy = lm_words[0], "Estimate it from a text in capitals"
                problem = f"the run's letters can write none of its words, such as {example!r}"
                raise DecodingError("language model", problem, remedy)
            space = labels.classes(symbols).get(SPACE, 0)
            self.searches["letters"] = WordSearch(written, lm, separator=space, obliged=bool(space))
        # compile now, so that the time of the first utterance is that of any other
        self.decode({h: np.zeros((2, len(inventories[h]) + 1), np.float32) for h in config.heads})

    def decode(self, posteriors: Mapping[str, Tensor | NDArray]) -> list[Hypothesis]:
        """Return the possible sequences of words, best first; at least one, () if nothing was said.

        Args:
            posteriors: {head: (S, V) natural log p} of an utterance.
        """
        config = self.config
        arrays = {head: _array(posteriors[head], config.blank_penalty) for head in config.heads}
        scores: Scores = {}
        lm_scores: dict[tuple[str, ...], float] = {}
        for head in config.searched:
            if not len(arrays[head]):
                continue
            for words, acoustic, lm in self.searches[head].nbest(arrays[head], config):
                scores.setdefault(words, {})[head] = acoustic
                lm_scores.setdefault(words, lm)
        if not scores:
            return [Hypothesis((), 0.0, {}, 0.0)]
        for head in config.heads:
            self._rescore(head, arrays[head], scores)
        hypotheses = []
        for words, lm in lm_scores.items():
            total = sum(config.weights[head] * value for head, value in scores[words].items())
            total += config.lm_weight * lm + config.word_score * len(words)
            hypotheses.append(Hypothesis(words, total, scores[words], lm))
        return sorted(hypotheses, key=lambda h: -h.total)

    def _rescore(self, head: str, log_probs: NDArray[np.float32], scores: Scores) -> None:
        """Add the head's log p to the scores that lack it."""
        missing = [words for words in scores if head not in scores[words]]
        if not len(log_probs):
            values = [0.0] * len(missing)
        elif head == "phones":
            values = [self.searches[head].likelihood(log_probs, words) for words in missing]
        else:
            known = labels.classes(self.inventories[head])
            texts = missing if head == "words" else map(spell, missing)
            rows = [labels.encode(text, known) for text in texts]
            values = ctc.log_likelihoods(torch.from_numpy(log_probs), rows)
        for words, value in zip(missing, values, strict=True):
            scores[words][head] = value
        finite = [s[head] for s in scores.values() if s[head] > NOTHING]
        lowest = min(finite) - FLOOR if finite else 0.0
        for by_head in scores.values():
            by_head[head] = max(by_head[head], lowest)

    def spans(
        self, posteriors: Mapping[str, Tensor | NDArray], words: Sequence[str]
    ) -> tuple[str, list[WordSpan]]:
        """Return the head that aligns the words, and where each word is in its steps."""
        for head in self.config.searched:
            log_probs = _array(posteriors[head], self.config.blank_penalty)
            spans = self.searches[head].spans(log_probs, words)
            if spans is not None:
                return head, spans
        raise AssertionError("words that no searched head can have written")

    def unknown_rates(self, references: Iterable[Sequence[str]]) -> dict[str, float | None]:
        """Return the share of reference words missing from LM, lexicon, or either; None for none.

        That of the lexicon is None without one.
        """
        words, entries = [word for row in references for word in row], self.entries
        no_lm = [word not in self.lm.numbers for word in words]
        no_entry = [entries is not None and word not in entries for word in words]

        def share(flags: Iterable[bool]) -> float | None:
            return sum(flags) / len(words) if words else None

        lexicon = None if entries is None else share(no_entry)
        return {"lm": share(no_lm), "lexicon": lexicon, "either": share(map(or_, no_lm, no_entry))}

    def as_json(self) -> dict[str, Any]:
        """Return settings, files with their checksums, and numbers of words."""
        content: dict[str, Any] = {"settings": asdict(self.config)}
        for name, path in zip(("lexicon", "lm"), self.paths, strict=True):
            content[name] = None if path is None else str(path)
            content[f"{name}_sha256"] = None if path is None else files.sha256(path)
        known, only_lm, only_lexicon, guessed = self.vocabulary
        counts = {"known": known, "only_in_lm": len(only_lm), "only_in_lexicon": only_lexicon}
        words = counts | {"guessed": guessed}
        return content | {"lm_ngrams": list(self.lm.sizes), "words": words}


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Pause the search for garbage while many small objects are made: half of the time here."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_no_garbage()
def open_decoder(
    inventories: Inventory,
    lexicon_file: str | Path | None,
    lm_file: str | Path,
    config: DecodingConfig,
    *,
    merged: Mapping[str, NDArray[np.int64]] | None = None,
    spelling: bool = False,
) -> Decoder:
    """Read lexicon and language model, and return a decoder for a run.

    Warns of words of the language model that the lexicon lacks.

    Args:
        lexicon_file: pronunciations; None to search letters only.
        lm_file: language model, ARPA (may be compressed) or binary.
        merged: see `Decoder`.
        spelling: guess the pronunciation of words that only the language model has.

    Raises:
        LexiconError, ArpaError: a file that cannot be read.
        ConfigError, DecodingError: see `Decoder`.
    """
    entries = None if lexicon_file is None else lexicon.read_lexicon(lexicon_file, phones.SILENCES)
    lm = read_model(lm_file)
    guessed = 0
    if entries is not None:  # in capitals, as words of texts are, whatever the lexicon's case
        capitals = [word for word in lm.words if word.isupper() and word not in entries]
        entries |= {word: rows for word in capitals if (rows := entries.pronounce(word))}
    if spelling and entries is not None:
        from speechasym.language import completion, letter_to_sound

        before = len(entries)
        wanted = [word for word in lm.words if word not in ngrams.SPECIAL]
        entries, _ = completion.complete(entries, wanted, letter_to_sound.learn(entries))
        guessed = len(entries) - before
    paths = (None if lexicon_file is None else Path(lexicon_file), Path(lm_file))
    decoder = Decoder(inventories, entries, lm, config, merged=merged, guessed=guessed, paths=paths)
    if only_lm := decoder.vocabulary.only_lm:
        be = "is" if len(only_lm) == 1 else "are"
        log.warning(
            f"{plural(len(only_lm), 'word')} of the language model {be} not in the lexicon and"
            f" cannot be recognised, such as {', '.join(only_lm[:3])}; --spelling guesses their"
            " pronunciation"
        )
    return decoder


def _array(log_probs: Tensor | NDArray, blank_penalty: float) -> NDArray[np.float32]:
    values = log_probs.detach().cpu().numpy() if isinstance(log_probs, Tensor) else log_probs
    values = np.array(values, np.float32, order="C")
    values[:, 0] -= blank_penalty
    return values


def _different_vocabularies(lm_words: Sequence[str], entries: Lexicon, known: int) -> DecodingError:
    upper = sum(word.upper() in entries for word in lm_words)
    lower = sum(word.lower() in entries for word in lm_words)
    case, remedy = "", "Use those of one language"
    if max(upper, lower) > known:
        case = f" (in {'capitals' if upper >= lower else 'small letters'} {max(upper, lower):,})"
        remedy = "Write both in the same case"
    problem = (
        f"of the {len(lm_words):,} words of the language model, such as"
        f" {lm_words[len(lm_words) // 2]!r}, the lexicon has {known:,}{case}; one of its"
        f" {len(entries):,} is {next(iter(entries))!r}"
    )
    remedy += ", or estimate the language model with the lexicon as its vocabulary"
    return DecodingError("lexicon and language model", problem, remedy)
