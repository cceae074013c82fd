"""Fit confidences to what was correct on cuts of readers that a model did not learn from.

Shapes: N symbols, K numbers that are evidence of each.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speechasym import files
from speechasym.audio import reading
from speechasym.errors import AudioError, ConfigError
from speechasym.language.ngrams import UNKNOWN
from speechasym.recognition import pretrained, speech
from speechasym.recognition.confidence import FILE, Confidence, as_json
from speechasym.recognition.noises import sounds_without_speech
from speechasym.recognition.recogniser import Recogniser
from speechasym.recognition.speech import Logistic, SpeechDetector
from speechasym.scoring.calibration import calibration_error, hits
from speechasym.training.cuts import load_samples
from speechasym.training.dataset import Dataset

RIDGE = 1.0  # penalty of squared weights; evidence has unit variance
SPEECH_RIDGE = 10.0
FEWEST = 50  # symbols of a head, correct ones and wrong ones
MOST_CUTS = 80  # of which windows are read, clean and with noise
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
    vocabulary: Collection[str] | None = None,
) -> Judged:
    """Return which symbols of a head are correct.

    Args:
        evidence, hypotheses, references, speakers: by utterance.
        vocabulary: of the words head: <unk> is correct where another word was said.
    """
    if vocabulary is not None:
        references = {
            name: [word if word in vocabulary else UNKNOWN for word in row]
            for name, row in references.items()
        }
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
    recogniser: Recogniser, judged: Mapping[str, Judged], data: Dataset, numbers: Sequence[int]
) -> tuple[Path, dict[str, float]]:
    """Fit the confidences of a run, write them to its folder, and use them in the recogniser.

    A head with fewer than 50 correct or 50 wrong symbols keeps the mean posterior.

    Args:
        judged: by head, `BY_LEXICON` included.
        data: the cuts.
        numbers: of the cuts that can be read.

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
    heads = {head: fit_logistic(j.evidence, j.correct) for head, j in enough.items()}
    detector = fit_detector(recogniser, data, numbers)
    words_from = "phones" if recogniser.lm is None else recogniser.decoding.source
    recogniser.confidence = Confidence(heads, words_from, detector)
    path = trained.folder / FILE
    files.write_json(path, as_json(recogniser.confidence, trained))
    return path, {head: _crossed(j) for head, j in enough.items() if len(set(j.speakers)) > 1}


def check(recogniser: Recogniser) -> None:
    """Raise `ConfigError` for what cannot be calibrated: several runs, or the pretrained model."""
    trained = recogniser.trained
    if trained.members or trained.folder.resolve() == pretrained.FOLDER.resolve():
        problem = f"{trained.name} cannot be calibrated"
        raise ConfigError("calibrate", problem, "Give the folder of one run")


def _crossed(judged: Judged) -> float:
    """The calibration error of confidences that are fitted on the other speakers."""
    p = np.zeros(len(judged.correct))
    for speaker in np.unique(judged.speakers):
        own = judged.speakers == speaker
        p[own] = fit_logistic(judged.evidence[~own], judged.correct[~own])(judged.evidence[own])
    return calibration_error(p, judged.correct)


def fit_detector(
    recogniser: Recogniser, data: Dataset, numbers: Sequence[int], seed: int = 0
) -> SpeechDetector | None:
    """Return a detector of speech, fitted on cuts, clean and with noise, and on synthetic sounds.

    Its threshold is half-way between where speech begins and where sounds end; at most `LOST` of
    the windows with speech are below it. None for a model without phones and letters.
    """
    trained, rng = recogniser.trained, np.random.default_rng(seed)
    heads = tuple(head for head in ("phones", "letters") if head in trained.inventories)
    if not heads:
        return None
    config = trained.feature_config

    def read(x: NDArray[np.float32]) -> NDArray[np.float64]:
        output = trained.output(trained.features(x))
        return speech.windows(trained, output, heads)[1]

    rounds = [sounds_without_speech(NOISE_S, config.sample_rate, rng) for _ in range(ROUNDS)]
    sounds = [x for kinds in rounds for x in kinds.values()]
    without = np.concatenate([read(x) for x in sounds])
    rows = []
    chosen = list(numbers)[:: max(1, -(-len(numbers) // MOST_CUTS))]
    for count, number in enumerate(chosen):
        try:
            x = load_samples(data.index.cut(number), config.sample_rate, config.channel)
        except AudioError as error:
            log.warning("%s", error)
            continue
        noise = sounds[int(rng.integers(len(sounds)))]
        rows.append(read(x))
        if x.any():
            rows.append(read(reading.add_noise(x, noise, SNR_DB[count % len(SNR_DB)])))
    spoken = np.concatenate(rows)
    is_speech = np.repeat([True, False], [len(spoken), len(without)])
    logistic = fit_logistic(np.concatenate([spoken, without]), is_speech, SPEECH_RIDGE)
    lowest = np.quantile(logistic.log_odds(spoken), LOST)
    threshold = min(lowest, (lowest + np.quantile(logistic.log_odds(without), 1 - LOST)) / 2)
    return SpeechDetector(heads, logistic._replace(bias=logistic.bias - float(threshold)))
