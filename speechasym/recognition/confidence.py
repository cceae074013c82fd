"""Confidences that are probabilities: what speaks for a symbol, and how often it is then correct.

The confidence of a symbol is a logistic function of a few numbers, its evidence. Its weights are
fitted on cuts of readers whom the model did not learn from (`confidence_fit`), and are kept in a
file beside the model. Without the file a confidence is a mean posterior, which is not a probability
of being correct.

Shapes: S steps of a head, V classes, N recognised symbols, K numbers that are evidence of each.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from speechasym import files
from speechasym.errors import CheckpointError
from speechasym.language.letters import SPACE
from speechasym.language.ngrams import END
from speechasym.ops import cpu_chains
from speechasym.recognition.decoder import BY_LEXICON, Decoder, Hypothesis
from speechasym.recognition.search import WordSpan
from speechasym.recognition.speech import NUMBERS, Logistic, SpeechDetector
from speechasym.recognition.spellings import chain_of, spellings
from speechasym.recognition.trained_model import TrainedModel
from speechasym.training import labels

FILE, FORMAT = "confidence.json", 2
NEAR = 5  # symbols around one, itself included, whose certainty is evidence of it
# log p below the best path, a symbol, of a word that a head cannot write
IMPOSSIBLE = -10.0
EVIDENCE = ("posterior", "its log odds", "log steps", "log odds of those around", "of all")
WORD_EVIDENCE = (
    "posterior", "its log odds", "log10 p", "log10 p after the words before", "of the next word",
    "log odds in the list", "log steps a symbol", "log symbols",
)  # fmt: skip


class Confidence(NamedTuple):
    """What evidence is worth, as fitted for one model."""

    heads: dict[str, Logistic]  # by head, `BY_LEXICON` included
    words_from: str  # heads that were searched for the words by lexicon
    speech: SpeechDetector | None

    def calibrated(self, decoder: Decoder | None) -> dict[str, Logistic]:
        """Return what the evidence of each head is worth; words only as they were searched for."""
        heads = {head: logistic for head, logistic in self.heads.items() if head != BY_LEXICON}
        if BY_LEXICON in self.heads and decoder is not None:
            count = len(WORD_EVIDENCE) + 4 * len(aligned_heads(decoder))
            of_words = self.heads[BY_LEXICON]
            if decoder.config.source == self.words_from and len(of_words.weights) == count:
                heads[BY_LEXICON] = of_words
        return heads


def symbol_evidence(
    log_probs: NDArray[np.float32], runs: Sequence[tuple[int, int, int]]
) -> NDArray[np.float64]:
    """Return (N, K) evidence of the symbols on CTC's best path.

    The first column is the mean posterior over the steps that write a symbol. The others are
    named by `EVIDENCE`.

    Args:
        log_probs: (S, V) natural logarithms.
        runs: first step, step after the last, and class of each symbol.
    """
    if not runs:
        return np.zeros((0, len(EVIDENCE)))
    posterior = np.array([np.exp(log_probs[a:b, k], dtype=float).mean() for a, b, k in runs])
    odds = _log_odds(posterior)
    around = np.convolve(np.pad(odds, NEAR // 2, "edge"), np.full(NEAR, 1 / NEAR), "valid")
    steps = np.log([b - a for a, b, _ in runs])
    return np.stack([posterior, odds, steps, around, np.full(len(odds), odds.mean())], 1)


def aligned_heads(decoder: Decoder) -> tuple[str, ...]:
    """Return the heads whose posteriors are evidence of words by lexicon."""
    known = {*decoder.searches, *({"letters"} & decoder.inventories.keys())}
    return tuple(head for head in ("phones", "letters") if head in known)


def word_evidence(
    posteriors: Mapping[str, NDArray[np.float32]],
    decoder: Decoder,
    hypotheses: Sequence[Hypothesis],
    spans: Sequence[WordSpan],
) -> NDArray[np.float64]:
    """Return (N, K) evidence of the words of the best hypothesis.

    The first columns are named by `WORD_EVIDENCE`. Four more for each of `aligned_heads`: by how
    much the head's best path through all the words is less likely than its best path, a symbol,
    over the steps of the word; how alike the symbols of both are; and the means of these over the
    words. A head that was not searched is an independent witness.

    Args:
        posteriors: {head: (S, V) log p} of the segment that the words were found in.
        hypotheses: the list of `Decoder.decode`.
        spans: of the words, by `Decoder.spans`.
    """
    heads, words = aligned_heads(decoder), hypotheses[0].words
    if not words:
        return np.zeros((0, len(WORD_EVIDENCE) + 4 * len(heads)))
    lm = decoder.lm
    numbers = [lm.number(word) for word in (*words, END)]
    state, after = lm.start, []
    for number in numbers:
        value, state = lm.step(state, number)
        after.append(value)
    posterior = np.array([span.score for span in spans])
    alone = [float(lm.probability[1 + number]) for number in numbers[:-1]]
    columns: list[Any] = [posterior, _log_odds(posterior), alone, after[:-1], after[1:]]
    columns.append(_log_odds(shares_in_list(hypotheses)))
    for count, head in enumerate(heads):
        gap, alike, steps, symbols = _aligned(posteriors[head], decoder, head, words).T
        columns += [] if count else [np.log(steps / symbols), np.log(symbols)]
        for values in (gap, alike):
            columns += [values, np.full(len(words), values.mean())]
    return np.stack(columns, 1)


def shares_in_list(hypotheses: Sequence[Hypothesis]) -> NDArray[np.float64]:
    """Return (N,) how much of the list's probability has each word of the best, aligned to it."""
    totals = np.array([one.total for one in hypotheses])
    weights, best = np.exp(totals - totals.max()), hypotheses[0].words
    shares = np.zeros(len(best))
    for one, weight in zip(hypotheses, weights / weights.sum(), strict=True):
        for block in Levenshtein.opcodes(one.words, best).as_matching_blocks():
            shares[block.b : block.b + block.size] += weight
    return shares


def _aligned(
    log_probs: NDArray[np.float32], decoder: Decoder, head: str, words: Sequence[str]
) -> NDArray[np.float64]:
    """Return (N, 4) for each word: log p of its path over that of the best, a symbol; how alike
    the symbols of both are, 0 to 1; its steps, and its symbols.
    """
    if head in decoder.searches:
        chain = decoder.searches[head].chain(words)
    else:
        symbols = decoder.inventories[head]
        written, separator = spellings(words, symbols), labels.classes(symbols).get(SPACE, 0)
        ways = [written.get(word, [()]) for word in words]
        chain = chain_of(ways, separator, bool(separator))
    if head in decoder.merged:  # the posteriors are those of phones without contexts
        chain = chain._replace(symbol=decoder.merged[head][chain.symbol].astype(np.int32))
    states = cpu_chains.align(log_probs, *chain[:4])
    spoken = states >= 0
    path, best = np.where(spoken, chain.symbol[states], 0), log_probs.argmax(1)
    lost = (np.take_along_axis(log_probs, path[:, None], 1)[:, 0] - log_probs.max(1)).astype(float)
    word_of_step = np.where(spoken, chain.word[states], -1)
    rows = np.array([[IMPOSSIBLE, 0.0, 1.0, 1.0]] * len(words)).reshape(-1, 4)
    for number in range(len(words)):
        at = np.flatnonzero(word_of_step == number)
        if not len(at):
            continue
        a, b = at[0], at[-1] + 1
        own = path[at][np.diff(states[at], prepend=-1) != 0]
        read = best[a:b][np.diff(best[a:b], prepend=-1) != 0]
        alike = Levenshtein.normalized_similarity(own.tolist(), read[read > 0].tolist())
        rows[number] = max(IMPOSSIBLE, lost[a:b].sum() / len(own)), alike, b - a, len(own)
    return rows


def _log_odds(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log((p + 0.01) / (1.01 - p).clip(0.01))


def read_confidence(trained: TrainedModel) -> Confidence | None:
    """Return what was fitted for a model; None if nothing was, or for several that read together.

    Raises:
        CheckpointError: a file that cannot be read, or that belongs to another model.
    """
    path = trained.folder / FILE
    if trained.members or not path.is_file():
        return None
    remedy = "Remove it; evaluate RUN --cuts CUTS --calibrate fits a new one"
    text = files.read_text(path, CheckpointError)
    try:
        content = json.loads(text)
        model, version = content["model"], content["format"]
        heads = {head: _logistic(row) for head, row in content["heads"].items()}
        speech = content["speech"]
        if speech is not None:
            speech = SpeechDetector(tuple(map(str, speech["heads"])), _logistic(speech))
        confidence = Confidence(heads, str(content["words_from"]), speech)
        _check(confidence, trained)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"is not a calibration of confidences ({type(error).__name__}: {error})"
        raise CheckpointError(path, problem, remedy) from error
    if version != FORMAT:
        raise CheckpointError(path, f"must have format {FORMAT}, got {version!r}", remedy)
    if model != trained.fingerprint:
        raise CheckpointError(path, "was fitted for another model, or before more training", remedy)
    return confidence


def as_json(confidence: Confidence, trained: TrainedModel) -> dict[str, Any]:
    """Return the content of the file."""

    def row(logistic: Logistic) -> dict[str, Any]:
        return {"bias": logistic.bias, "weights": list(logistic.weights)}

    speech = confidence.speech
    return {
        "format": FORMAT,
        "model": trained.fingerprint,
        "words_from": confidence.words_from,
        "heads": {head: row(logistic) for head, logistic in confidence.heads.items()},
        "speech": speech and {"heads": list(speech.heads), **row(speech.logistic)},
    }


def _logistic(row: Mapping[str, Any]) -> Logistic:
    values = [float(value) for value in (row["bias"], *row["weights"])]
    if not np.isfinite(values).all():
        raise ValueError("numbers must be finite")
    return Logistic(values[0], tuple(values[1:]))


def _check(confidence: Confidence, trained: TrainedModel) -> None:
    """Raise `ValueError` for heads that the model lacks, or another number of weights."""
    speech = confidence.speech
    for head, logistic in confidence.heads.items():
        if head != BY_LEXICON and head not in trained.inventories:
            raise ValueError(f"the model has no head {head}")
        if head != BY_LEXICON and len(logistic.weights) != len(EVIDENCE):
            raise ValueError(f"{head}: expected {len(EVIDENCE)} weights")
    if speech is not None:
        if not set(speech.heads) <= trained.inventories.keys():
            raise ValueError(f"the model has not all of the heads {', '.join(speech.heads)}")
        if len(speech.logistic.weights) != (count := NUMBERS * len(speech.heads)):
            raise ValueError(f"speech: expected {count} weights")
