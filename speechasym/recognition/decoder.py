"""Words from the posteriors of a run's heads, by a lexicon and an n-gram language model.

Words are searched for by one head and may be weighed by all: a stack of levels has said the same
utterance in phones, in letters and in words. The score of a sequence of words W is

    sum over heads w_h log P_h(W) + lm_weight log P(W) + word_score |W|

P_h is CTC's: of the phones head the sum over all pronunciations, with or without silences between
words where the head writes them; of the letters head of the spelling, one or more spaces between
words; of the words head of the words, <unk> for those that it does not know. All logarithms are
natural.

Shapes: S steps of a head, V classes (0 is CTC's blank).
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from speechasym import files
from speechasym.errors import ConfigError, DecodingError
from speechasym.language import lexicon, ngrams, phones
from speechasym.language.arpa import read_arpa
from speechasym.language.letters import SPACE, spell
from speechasym.language.lexicon import Lexicon
from speechasym.language.ngrams import NgramModel
from speechasym.levels import ctc
from speechasym.ops import cpu_search
from speechasym.ops.cpu_search import NOTHING, Chain
from speechasym.recognition.spellings import (
    Spellings,
    chain_of,
    pronunciations,
    spellings,
    tree_of,
)
from speechasym.training import labels
from speechasym.training.config import HEADS

BY_LEXICON = "words by lexicon"
FEWEST = 0.1  # share of the words of the smaller that lexicon and language model have in common
FLOOR = 20.0  # log p below the worst where a head cannot have written a sequence at all
_SEARCHED = {"phones": ("phones",), "letters": ("letters",), "both": ("phones", "letters")}


@dataclass(frozen=True, kw_only=True)
class DecodingConfig:
    """How words are searched for, and what weighs how much."""

    source: Literal["phones", "letters", "both"] = "phones"  # what is searched; both: and joined
    lm_weight: float = 0.7
    word_score: float = 0.0  # for each word; more of it: more and shorter words
    phones_weight: float = 1.0  # weights of the heads; the searched one finds by 1, and all weigh
    letters_weight: float = 0.0  # the sequences found; 0: the head is not asked
    words_weight: float = 0.0
    # Taken from the blank's log p at each step: CTC's posteriors are sure of blanks, and what they
    # deny in passing the words would often have
    blank_penalty: float = 1.0
    beam: int = 150  # hypotheses kept
    width: float = 18.0  # how far below the best a hypothesis may be, log p
    symbol_width: float = 9.0  # how far below the best of a step a symbol may be to be tried
    histories: int = 3  # kept where the language model cannot tell what follows
    nbest: int = 20  # sequences that are handed on, and weighed by all heads

    def __post_init__(self) -> None:
        if self.source not in _SEARCHED:
            raise ConfigError("source", f"{self.source!r} is unknown", "Use phones, letters, both")
        for name in ("lm_weight", "phones_weight", "letters_weight", "words_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(name, f"{getattr(self, name)} is not from 0", "0.5 to 1 is usual")
        for name in ("word_score", "blank_penalty"):
            if not math.isfinite(getattr(self, name)):
                raise ConfigError(name, f"{getattr(self, name)} is not finite", "0 is usual")
        for name in ("beam", "histories", "nbest"):
            if getattr(self, name) < 1:
                raise ConfigError(name, f"{getattr(self, name)} is less than 1", "Use 1 or more")
        if self.beam > 100_000:
            raise ConfigError("beam", f"{self.beam} hypotheses need much memory", "100 is usual")
        for name in ("width", "symbol_width"):
            if not getattr(self, name) > 0:
                raise ConfigError(
                    name, f"{getattr(self, name)} is not above 0", "10 to 20 is usual"
                )
        if not any(self.weights[head] for head in _SEARCHED[self.source]):
            raise ConfigError("weights", f"none of {self.source} is above 0", "Use 1")

    @property
    def searched(self) -> tuple[str, ...]:
        """Heads whose posteriors are searched."""
        return _SEARCHED[self.source]

    @property
    def weights(self) -> dict[str, float]:
        """Of each head."""
        return {head: getattr(self, f"{head}_weight") for head in HEADS}

    @property
    def heads(self) -> tuple[str, ...]:
        """Heads that are needed."""
        return tuple(h for h in HEADS if h in self.searched or self.weights[h])


def config_of(source: str, **options: Any) -> DecodingConfig:
    """A configuration in which only the searched heads weigh, unless their weights are told."""
    if source in _SEARCHED:
        own = {f"{h}_weight": float(h in _SEARCHED[source]) for h in ("phones", "letters")}
        options = own | options
    return DecodingConfig(source=source, **options)  # type: ignore[arg-type]


class Hypothesis(NamedTuple):
    """A sequence of words that may have been said."""

    words: tuple[str, ...]
    total: float  # what it is ranked by
    heads: dict[str, float]  # natural log p of each head, summed over alignments
    lm: float  # natural log p of the words, with </s>


class Vocabulary(NamedTuple):
    """What lexicon and language model make of each other, in numbers of words."""

    known: int  # that can be recognised: in both
    only_lm: list[str]  # without pronunciation; sorted
    only_lexicon: int  # that the language model does not know
    guessed: int  # whose pronunciation was guessed


# --- one head -----------------------------------------------------------------------------------


class WordSearch:
    """Word sequences by the posteriors of one head.

    Args:
        written: {word: ways to write it in classes of the head}; words of the language model only.
        lm: the language model.
        separator: class written between words, a silence or the space; 0 if there is none.
        obliged: whether it has to stand between words; it never has to at the ends.
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
        """Of log_probs (S, V): words, log p by the head, log p by the language model; best first.

        No beam hides the best one if `beam`, `width`, `symbol_width` and `histories` are large
        enough. Where it does hide all that end with a whole word, an unfinished word is left out.
        """
        lm = self.lm
        parent, word, ending, sums, logs = cpu_search.search(
            log_probs, *self.tree, lm.word, lm.first, lm.suffix, lm.probability, lm.backoff,
            lm.state_of, lm.start, config.lm_weight, config.word_score, config.beam, config.width,
            config.symbol_width, config.histories,
        )  # fmt: skip
        rows = []
        for history, acoustic, told in zip(ending, sums, logs, strict=True):
            numbers = []
            while history > 0:
                numbers.append(int(word[history]))
                history = parent[history]
            said = tuple(lm.words[number] for number in reversed(numbers))
            rows.append((said, float(acoustic), float(told)))
        score = config.word_score
        rows.sort(key=lambda r: -(r[1] + config.lm_weight * r[2] + score * len(r[0])))
        return rows[: config.nbest]

    def chain(self, words: Sequence[str]) -> Chain:
        """All that the head may write for words. Raises KeyError for one that it cannot write."""
        return chain_of([self.written[word] for word in words], self.separator, self.obliged)

    def likelihood(self, log_probs: NDArray[np.float32], words: Sequence[str]) -> float:
        """log p of words, summed over all ways to write them and all alignments; -inf: none."""
        if any(word not in self.written for word in words):
            return NOTHING
        return float(cpu_search.likelihood(log_probs, *self.chain(words)[:4]))

    def spans(
        self, log_probs: NDArray[np.float32], words: Sequence[str]
    ) -> list[tuple[int, int]] | None:
        """First and last step of each word in the best alignment; None where none fits."""
        chain = self.chain(words)
        states = cpu_search.align(log_probs, *chain[:4])
        place = np.where(states >= 0, chain.word[states], -1)
        found = []
        for number in range(len(words)):
            steps = np.flatnonzero(place == number)
            if not len(steps):
                return None
            found.append((int(steps[0]), int(steps[-1])))
        return found


# --- all heads ----------------------------------------------------------------------------------


class Decoder:
    """Words by the posteriors of a run's heads.

    Args:
        inventories: {head: symbols}, of the heads that the run has.
        entries: pronunciations; None where only letters are searched.
        lm: the language model.
        guessed: how many of the pronunciations are guessed, for the report.

    Raises:
        ConfigError: a head that is needed but not there.
        DecodingError: lexicon, language model and head do not fit each other.
    """

    def __init__(
        self,
        inventories: Mapping[str, Sequence[str]],
        entries: Lexicon | None,
        lm: NgramModel,
        config: DecodingConfig,
        *,
        guessed: int = 0,
    ) -> None:
        self.inventories, self.entries, self.lm, self.config = inventories, entries, lm, config
        for head in config.heads:
            if head not in inventories:
                raise ConfigError(
                    "from" if head in config.searched else f"{head}_weight",
                    f"the run has no head {head}; it has {', '.join(inventories)}",
                    "Choose among those, or train with a weight for it (heads)",
                )
        own = [word for word in lm.words if word not in ngrams.SPECIAL]
        if not own:
            raise DecodingError("language model", "it has no words", "Estimate one from a text")
        if config.source == "letters" or entries is None:
            if "phones" in config.searched:
                raise ConfigError("lexicon", "phones need one", "Give one, or search by letters")
            known, self.vocabulary = own, Vocabulary(len(own), [], 0, 0)
        else:
            known = [word for word in own if word in entries]
            only = [word for word in own if word not in entries]
            rest = len(entries) - len(known)
            self.vocabulary = Vocabulary(len(known), only, rest, guessed)
            if len(known) < FEWEST * min(len(own), len(entries)):
                raise _strangers(own, entries, len(known))
        self.searches: dict[str, WordSearch] = {}
        if "phones" in config.heads and entries is not None:
            symbols = inventories["phones"]
            written = pronunciations(entries, known, symbols)
            silence = labels.classes(symbols).get(phones.SILENCE, 0)
            self.searches["phones"] = WordSearch(written, lm, separator=silence)
        if "letters" in config.heads:
            symbols = inventories["letters"]
            written = spellings(known, symbols)
            if not written:
                raise DecodingError(
                    "language model",
                    f"none of its words, as {own[0]!r}, is written in the letters of the run",
                    "Estimate it from a text in capitals",
                )
            space = labels.classes(symbols).get(SPACE, 0)
            self.searches["letters"] = WordSearch(written, lm, separator=space, obliged=bool(space))
        self.decode({h: np.zeros((2, len(inventories[h]) + 1), np.float32) for h in config.heads})

    def decode(self, posteriors: Mapping[str, Tensor | NDArray]) -> list[Hypothesis]:
        """{head: natural log p (S, V)} of one utterance -> what may have been said, best first.

        At least one hypothesis; its words are () where nothing was said.
        """
        config = self.config
        given = {head: _array(posteriors[head], config.blank_penalty) for head in config.heads}
        found: dict[tuple[str, ...], tuple[dict[str, float], float]] = {}
        for head in config.searched:
            if not len(given[head]):
                continue
            for words, acoustic, lm in self.searches[head].nbest(given[head], config):
                found.setdefault(words, ({}, lm))[0][head] = acoustic
        if not found:
            return [Hypothesis((), 0.0, {}, 0.0)]
        for head in config.heads:
            self._weighed(head, given[head], {w: scores for w, (scores, _) in found.items()})
        return ranked(
            [Hypothesis(words, 0.0, scores, lm) for words, (scores, lm) in found.items()], config
        )

    def _weighed(
        self,
        head: str,
        log_probs: NDArray[np.float32],
        found: dict[tuple[str, ...], dict[str, float]],
    ) -> None:
        """Add the head's log p to those that lack it."""
        if not len(log_probs):
            for scores in found.values():
                scores[head] = 0.0
        elif head == "phones":
            for words, scores in found.items():
                if head not in scores:
                    scores[head] = self.searches[head].likelihood(log_probs, words)
        else:
            lacking = [words for words in found if head not in found[words]]
            known = labels.classes(self.inventories[head])
            rows = [
                labels.encode(words if head == "words" else spell(words), known)
                for words in lacking
            ]
            values = ctc.log_likelihoods(torch.from_numpy(log_probs), rows)
            for words, value in zip(lacking, values, strict=True):
                found[words][head] = value
        finite = [s[head] for s in found.values() if s[head] > NOTHING]
        low = min(finite) - FLOOR if finite else 0.0
        for scores in found.values():
            if scores[head] == NOTHING:
                scores[head] = low

    def spans(
        self, posteriors: Mapping[str, Tensor | NDArray], words: Sequence[str]
    ) -> tuple[str, list[tuple[int, int]]]:
        """The head that tells, and the first and last of its steps for each word."""
        for head in self.config.searched:
            log_probs = _array(posteriors[head], self.config.blank_penalty)
            found = self.searches[head].spans(log_probs, words)
            if found is not None:
                return head, found
        raise AssertionError("words that no searched head can have written")


def ranked(hypotheses: Iterable[Hypothesis], config: DecodingConfig) -> list[Hypothesis]:
    """By the weights of a configuration, best first."""
    weights = config.weights
    scored = [
        h._replace(
            total=sum(weights[head] * value for head, value in h.heads.items())
            + config.lm_weight * h.lm
            + config.word_score * len(h.words)
        )
        for h in hypotheses
    ]
    return sorted(scored, key=lambda h: -h.total)


def _array(log_probs: Tensor | NDArray, penalty: float) -> NDArray[np.float32]:
    values = log_probs.detach().cpu().numpy() if isinstance(log_probs, Tensor) else log_probs
    values = np.array(values, np.float32, order="C")
    values[:, 0] -= penalty
    return values


def _strangers(own: Sequence[str], entries: Lexicon, known: int) -> DecodingError:
    example = next(iter(entries))
    upper = sum(word.upper() in entries for word in own)
    lower = sum(word.lower() in entries for word in own)
    case = ""
    if max(upper, lower) > known:
        case = f" (in {'capitals' if upper >= lower else 'small letters'} {max(upper, lower):,})"
    remedy = "Write both in the same case" if case else "Take those of one language"
    return DecodingError(
        "lexicon and language model",
        f"of the {len(own):,} words of the language model, as {own[len(own) // 2]!r}, the lexicon"
        f" has {known:,}{case}; one of its {len(entries):,} is {example!r}",
        f"{remedy}, or estimate the language model with the lexicon as its vocabulary",
    )


# --- from files ---------------------------------------------------------------------------------


class Opened(NamedTuple):
    """A decoder and what it was made from."""

    decoder: Decoder
    lexicon: Path | None
    lm: Path
    seconds: float  # that reading and building took

    def as_json(self) -> dict[str, Any]:
        """Settings, files and their checksums, and words."""
        vocabulary = self.decoder.vocabulary
        return {
            "settings": asdict(self.decoder.config),
            "lexicon": None if self.lexicon is None else str(self.lexicon),
            "lexicon_sha256": None if self.lexicon is None else files.sha256(self.lexicon),
            "lm": str(self.lm),
            "lm_sha256": files.sha256(self.lm),
            "lm_ngrams": list(self.decoder.lm.sizes),
            "words": {
                "known": vocabulary.known,
                "only_in_lm": len(vocabulary.only_lm),
                "only_in_lexicon": vocabulary.only_lexicon,
                "guessed": vocabulary.guessed,
            },
        }

    def warnings(self) -> list[str]:
        """What a reader of results has to know."""
        missing = self.decoder.vocabulary.only_lm
        if not missing:
            return []
        return [
            f"{len(missing):,} words of the language model are not in the lexicon and cannot be"
            f" recognised, as {', '.join(missing[:3])}; --spelling guesses how they sound"
        ]


def open_decoder(
    trained: Any,
    lexicon_file: str | Path | None,
    lm_file: str | Path,
    config: DecodingConfig,
    *,
    spelling: bool = False,
) -> Opened:
    """A decoder for a run.

    Args:
        trained: what `transcription.open_run` gave.
        lexicon_file: pronunciations, see `lexicon.read`; lm_file: ARPA, may be packed.
        spelling: guess the pronunciation of words that only the language model has.

    Raises:
        LexiconError, ArpaError: a file that cannot be read. ConfigError, DecodingError: see
            `Decoder`.
    """
    began = time.monotonic()
    for head in config.heads:
        if head not in trained.inventories:
            trained.check_heads([head], "--from")
    entries = None if lexicon_file is None else lexicon.read(lexicon_file, phones.SILENCES)
    lm = read_arpa(lm_file)
    guessed = 0
    if spelling and entries is not None:
        from speechasym.language import letter_to_sound

        before = len(entries)
        wanted = [word for word in lm.words if word not in ngrams.SPECIAL]
        entries, _ = letter_to_sound.complete(entries, wanted, letter_to_sound.learn(entries))
        guessed = len(entries) - before
    decoder = Decoder(
        trained.inventories, entries, lm, config, guessed=guessed,
    )  # fmt: skip
    path = None if lexicon_file is None else Path(lexicon_file)
    return Opened(decoder, path, Path(lm_file), time.monotonic() - began)


def unknown_rates(opened: Opened, references: Iterable[Sequence[str]]) -> dict[str, float | None]:
    """Share of the words said that the language model, the lexicon, or either does not have."""
    said = [word for row in references for word in row]
    lm, entries = opened.decoder.lm.numbers, opened.decoder.entries

    def share(missing: int) -> float | None:
        return missing / len(said) if said else None

    return {
        "lm": share(sum(word not in lm for word in said)),
        "lexicon": None if entries is None else share(sum(w not in entries for w in said)),
        "either": share(
            sum(word not in lm or (entries is not None and word not in entries) for word in said)
        ),
    }
