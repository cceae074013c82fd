"""Fit what `speechasym segments` decides by: speech of LibriSpeech among synthetic sounds.

    python scripts/fit_activity.py --data DATA --cache CACHE

DATA holds LibriSpeech/local-train, CACHE is where alignments are kept. Each of twelve readers reads
clean, and twice with each of the sounds of `recognition/noises.py` at 20, 10, 5 or 0 dB or beside
them, with the sound alone before and after; every third recording is limited to the band of a
telephone. No recorded noise is used. Writes speechasym/recognition/activity.json.

Shapes: T samples, F frames, K columns.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
from activity_recordings import CONDITIONS, RATE, Mixture, Spoken, librispeech, mix

from speechasym import files
from speechasym.recognition import activity, activity_evidence
from speechasym.recognition.activity_evidence import evidence
from speechasym.recognition.confidence_fit import fit_logistic
from speechasym.recognition.noises import sounds_without_speech
from speechasym.recognition.speech import Logistic

THIN = 10  # one frame in as many is used
RIDGE = 10.0
MIXED_S, ALONE_S = 20.0, 10.0  # length of a sound with speech, and of one without
ROUNDS, ALONE_ROUNDS = 2, 12  # of each kind: with the speech of a reader, and without speech
SEED = 1000  # of the sounds with speech; those without have 0
TELEPHONE_HZ, EVERY = 8000, 3


def telephone(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples (T,) through a sample rate of 8 kHz."""
    return np.asarray(soxr.resample(soxr.resample(x, RATE, TELEPHONE_HZ), TELEPHONE_HZ, RATE))


def training_mixtures(readers: dict[str, list[Spoken]]) -> Iterator[Mixture]:
    """Each reader clean, and with sounds; utterances and conditions take turns."""
    count = 0
    for number, (reader, spoken) in enumerate(readers.items()):
        yield mix(reader, *spoken[0], "none", "clean", None)
        for turn in range(ROUNDS):
            rng = np.random.default_rng(SEED + ROUNDS * number + turn)
            for kind, sound in sounds_without_speech(MIXED_S, RATE, rng).items():
                loudness = np.sqrt(np.mean(np.square(sound, dtype=np.float64)))
                x, speech = spoken[count % len(spoken)]
                condition = CONDITIONS[count % len(CONDITIONS)]
                scaled = (sound / loudness).astype(np.float32)
                yield mix(reader, x, speech, f"{kind}{turn}", condition, scaled)
                count += 1


def fit(readers: dict[str, list[Spoken]]) -> tuple[Logistic, int]:
    """Fit to the frames of readers and sounds; return the number of frames too."""
    parts, labels = [], []
    for number, m in enumerate(training_mixtures(readers)):
        x = telephone(m.x) if number % EVERY == EVERY - 1 else m.x
        rows = np.concatenate(list(evidence([x])))[: len(m.speech)]
        used = np.arange(number % THIN, len(rows), THIN)
        used = used[m.speech[used] >= 0]
        parts.append(rows[used])
        labels.append(m.speech[used] == 1)
    rng = np.random.default_rng(0)
    for _ in range(ALONE_ROUNDS):
        for x in sounds_without_speech(ALONE_S, RATE, rng).values():
            parts.append(np.concatenate(list(evidence([x])))[::THIN])
            labels.append(np.zeros(len(parts[-1]), bool))
    speech = np.concatenate(labels)
    return fit_logistic(np.concatenate(parts).astype(np.float64), speech, RIDGE), len(speech)


def main() -> None:
    """Fit, and write the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the recordings")
    parser.add_argument("--cache", type=Path, required=True, help="folder for alignments")
    options = parser.parse_args()
    readers = librispeech(
        options.data / "LibriSpeech" / "local-train", options.cache / "train.json"
    )
    logistic, frames = fit(readers)
    about = "logistic function of the evidence of speech; written by scripts/fit_activity.py"
    weights = dict(zip(activity_evidence.columns(), logistic.weights, strict=True))
    content = {"about": about, "bias": logistic.bias, "weights": weights}
    files.write_json(activity.FILE, content)
    print(f"{frames} frames -> {activity.FILE}")


if __name__ == "__main__":
    main()
