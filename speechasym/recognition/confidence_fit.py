"""Fit confidences to what was correct on cuts of readers that a model did not learn from.

Shapes: N symbols, K numbers that are evidence of each.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym import files
from speechasym.audio import reading
from speechasym.errors import AudioError, ConfigError
from speechasym.levels import ctc
from speechasym.levels.level import ModelOutput
from speechasym.recognition import pretrained, speech
from speechasym.recognition.confidence import (
    FILE,
    Confidence,
    aligned_heads,
    as_json,
    symbol_evidence,
    word_evidence,
)
from speechasym.recognition.decoder import BY_LEXICON
from speechasym.recognition.noises import sounds_without_speech
from speechasym.recognition.recogniser import Recogniser
from speechasym.recognition.speech import Logistic, SpeechDetector
from speechasym.scoring.calibration import calibration_error, hits
from speechasym.training.cuts import load_samples
from speechasym.training.dataset import Dataset

RIDGE = 1.0  # penalty of squared weights; evidence has unit variance
SPEECH_RIDGE = 10.0
FEWEST = 50  # symbols of a head, correct ones and wrong ones
MOST_CUTS = 120  # that are read with noise too
NOISE_S, ROUNDS = 15.0, 2  # of each kind of sound
SNR_DB = (20.0, 15.0, 10.0, 5.0)
LOST = 0.005  # share of windows with speech that the threshold may lose

log = logging.getLogger(__name__)


class Judged(NamedTuple):
    """The symbols that a head read, their evidence, and whether they are correct."""

    evidence: NDArray[np.float64]  # (N, K); the first column is the mean posterior
    correct: NDArray[np.bool_]  # (N,)
    speakers: NDArray[np.str_]  # (N,)

    def error(self, logistic: Logistic | None) -> float:
        """Return the expected calibration error; without a calibration, of the mean posterior."""
        p = self.evidence[:, 0].clip(0, 1) if logistic is None else logistic(self.evidence)
        return calibration_error(p, self.correct) if len(p) else float("nan")


def judge(
    evidence: Mapping[str, NDArray[np.float64]],
    hypotheses: Mapping[str, Sequence[str]],
    references: Mapping[str, Sequence[str]],
    speakers: Mapping[str, str],
) -> Judged:
    """Return which symbols of a head are correct; all arguments are by utterance."""
    names = [name for name in hypotheses if len(hypotheses[name])]
    if not names:
        return Judged(np.zeros((0, 1)), np.zeros(0, bool), np.zeros(0, str))
    correct = [hits(references[name], hypotheses[name]) for name in names]
    who = [speakers[name] for name in names for _ in hypotheses[name]]
    return Judged(
        np.concatenate([evidence[name] for name in names]), np.concatenate(correct), np.array(who)
    )


def fit_logistic(
    evidence: NDArray[np.float64], correct: NDArray[np.bool_], ridge: float = RIDGE
) -> Logistic:
    """Return the logistic function that makes what was correct and wrong most likely.

    Args:
        evidence: (N, K).
        correct: (N,)
        ridge: penalty of squared weights, for evidence scaled to unit variance.
    """
    mean, scale = evidence.mean(0), evidence.std(0) + 1e-9
    x = np.column_stack([np.ones(len(evidence)), (evidence - mean) / scale])
    penalty = np.array([1e-6] + [ridge] * evidence.shape[1])
    w = np.zeros(x.shape[1])
    for _ in range(50):  # Newton's method
        p = 1 / (1 + np.exp(-(x @ w).clip(-30, 30)))
        slope = x.T @ (correct - p) - penalty * w
        step = np.linalg.solve((x.T * (p * (1 - p))) @ x + np.diag(penalty), slope)
        w += step
        if np.abs(step).max() < 1e-8:
            break
    weights = w[1:] / scale
    return Logistic(float(w[0] - weights @ mean), tuple(weights.tolist()))


def fit(
    recogniser: Recogniser,
    judged: Mapping[str, Judged],
    references: Mapping[str, Mapping[str, Sequence[str]]],
    speakers: Mapping[str, str],
    data: Dataset,
) -> tuple[Path, dict[str, float]]:
    """Fit the confidences of a run, write them to its folder, and use them in the recogniser.

    They are fitted on the cuts, and on copies with synthetic noise of some of them. A head with
    fewer than 50 correct or 50 wrong symbols keeps the mean posterior.

    Args:
        judged: by head, `BY_LEXICON` included.
        references: what was said, by head and utterance.
        speakers: by utterance, of those that can be read.
        data: the cuts.

    Returns:
        The file, and the expected calibration error of each head where each speaker's confidences
        are fitted on the other speakers; fewer than two have none.

    Raises:
        ConfigError: several runs, the pretrained model, or cuts with too few symbols.
        OutputError: the file cannot be written.
    """
    check(recogniser)
    trained = recogniser.trained
    enough = {
        h: j for h, j in judged.items() if FEWEST <= j.correct.sum() <= len(j.correct) - FEWEST
    }
    if not enough:
        problem = f"no head has {FEWEST} correct and {FEWEST} wrong symbols in these cuts"
        raise ConfigError("calibrate", problem, "Give more cuts of unseen readers")
    for head in judged.keys() - enough.keys():
        log.warning(f"{head}: too few correct or wrong symbols; keeps its mean posterior")
    detector, noisy = _with_noise(recogniser, {h: references[h] for h in enough}, speakers, data)
    both = {head: (clean, noisy[head]) for head, clean in enough.items()}
    heads = {head: fit_logistic(*_joined(*pair)[:2]) for head, pair in both.items()}
    words_from = "phones" if recogniser.lm is None else recogniser.decoding.source
    recogniser.confidence = Confidence(heads, words_from, detector)
    path = trained.folder / FILE
    files.write_json(path, as_json(recogniser.confidence, trained))
    crossed = {h: _crossed(*pair) for h, pair in both.items() if len(set(pair[0].speakers)) > 1}
    return path, crossed


def check(recogniser: Recogniser) -> None:
    """Raise `ConfigError` for what cannot be calibrated: several runs, or the pretrained model."""
    trained = recogniser.trained
    if trained.members or trained.folder.resolve() == pretrained.FOLDER.resolve():
        problem = f"{trained.name} cannot be calibrated"
        raise ConfigError("calibrate", problem, "Give the folder of one run")


def _joined(first: Judged, second: Judged) -> Judged:
    if not len(second.correct):
        return first
    return Judged(
        np.concatenate([first.evidence, second.evidence]),
        np.concatenate([first.correct, second.correct]),
        np.concatenate([first.speakers, second.speakers]),
    )


def _crossed(clean: Judged, noisy: Judged) -> float:
    """The calibration error of clean cuts by confidences that are fitted on the other speakers."""
    p, both = np.zeros(len(clean.correct)), _joined(clean, noisy)
    for speaker in np.unique(clean.speakers):
        own, others = clean.speakers == speaker, both.speakers != speaker
        p[own] = fit_logistic(both.evidence[others], both.correct[others])(clean.evidence[own])
    return calibration_error(p, clean.correct)


def _with_noise(
    recogniser: Recogniser,
    references: Mapping[str, Mapping[str, Sequence[str]]],
    speakers: Mapping[str, str],
    data: Dataset,
    seed: int = 0,
) -> tuple[SpeechDetector | None, dict[str, Judged]]:
    """Return a detector of speech, and the symbols read from some cuts with synthetic noise.

    The detector is fitted on these cuts, clean and with noise, and on the noises. Its threshold is
    half-way between where speech begins and where sounds end; at most `LOST` of the windows with
    speech are below it. None for a model without phones and letters.
    """
    trained, rng = recogniser.trained, np.random.default_rng(seed)
    heads = [head for head in ("phones", "letters") if head in trained.inventories]
    config = trained.feature_config
    evidence: dict[str, dict[str, NDArray[np.float64]]] = {head: {} for head in references}
    tokens: dict[str, dict[str, Sequence[str]]] = {head: {} for head in references}
    spoken = []

    def output_of(x: NDArray[np.float32]) -> ModelOutput:
        return trained.output(trained.features(x))

    def described(output: ModelOutput) -> NDArray[np.float64]:
        return speech.windows(trained, output, heads)[1]

    rounds = [sounds_without_speech(NOISE_S, config.sample_rate, rng) for _ in range(ROUNDS)]
    sounds = [x for kinds in rounds for x in kinds.values()]
    chosen = [number for number, name in enumerate(data.ids) if name in speakers]
    for count, number in enumerate(chosen[:: max(1, -(-len(chosen) // MOST_CUTS))]):
        name, noise = data.ids[number], sounds[int(rng.integers(len(sounds)))]
        try:
            x = load_samples(data.index.cut(number), config.sample_rate, config.channel)
        except AudioError as error:
            log.warning("%s", error)
            continue
        spoken.append(described(output_of(x)))
        if not x.any():  # silence has no ratio
            continue
        output = output_of(reading.add_noise(x, noise, SNR_DB[count % len(SNR_DB)]))
        spoken.append(described(output))
        for head, (row, numbers) in _read(recogniser, output, list(references)).items():
            tokens[head][name], evidence[head][name] = row, numbers
    noisy = {
        head: judge(evidence[head], tokens[head], references[head], speakers) for head in references
    }
    if not heads:
        return None, noisy
    inside, outside = (
        np.concatenate(p) for p in (spoken, [described(output_of(x)) for x in sounds])
    )
    is_speech = np.repeat([True, False], [len(inside), len(outside)])
    logistic = fit_logistic(np.concatenate([inside, outside]), is_speech, SPEECH_RIDGE)
    lowest = np.quantile(logistic.log_odds(inside), LOST)
    threshold = min(lowest, (lowest + np.quantile(logistic.log_odds(outside), 1 - LOST)) / 2)
    logistic = logistic._replace(bias=logistic.bias - float(threshold))
    return SpeechDetector(tuple(heads), logistic), noisy


def _read(
    recogniser: Recogniser, output: ModelOutput, heads: Sequence[str]
) -> dict[str, tuple[Sequence[str], NDArray[np.float64]]]:
    """Return {head: symbols and their evidence} of an utterance."""
    of_run, decoder = recogniser.choose(heads)
    trained = recogniser.trained
    read: dict[str, tuple[Sequence[str], NDArray[np.float64]]] = {}
    for head in of_run:
        log_probs = trained.posteriors(output, head).log_probs
        runs = ctc.runs(log_probs.argmax(-1))
        row = ctc.symbols((k for _, _, k in runs), trained.inventories[head])
        read[head] = row, symbol_evidence(log_probs.numpy(), runs)
    if decoder is not None:
        alone, aligned = (
            {h: trained.posteriors(output, h, alone=single).log_probs.numpy() for h in needed}
            for single, needed in ((True, decoder.config.heads), (False, aligned_heads(decoder)))
        )
        found = decoder.decode(alone)
        _, spans = decoder.spans(alone, found[0].words)
        read[BY_LEXICON] = found[0].words, word_evidence(aligned, decoder, found, spans)
    return read
