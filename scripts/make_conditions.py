"""Copies of cuts in noise, in rooms and by telephone, to measure how robust a run is.

    python scripts/make_conditions.py dev_cuts.jsonl.gz --noise NOISES --out out/conditions
    for snr in clean 20 10 5 0 room telephone; do
        speechasym evaluate RUN --cuts out/conditions/${snr}_cuts.jsonl.gz
    done

NOISES is a folder of recordings. Each cut takes the next of them, from a place that is drawn; the
ratio is that of mean squares over the whole cut. A room has a reverberation time of 0.4 to 0.8 s
and direct sound of the reverberation's energy, 3 dB more or less; its tail is made of noise
(`audio.rooms`), as in training, but drawn again. A telephone passes 300 to 3400 Hz in 8 bits.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from lhotse import CutSet, Recording
from lhotse.utils import fastcopy

from speechasym import files
from speechasym.corpora.manifests import read_cuts
from speechasym.errors import ConfigError, SpeechAsymError
from speechasym.feature_extraction.sets import AsymmetryFeatures
from speechasym.training.augment import Variant, hashed_seed
from speechasym.training.cut_features import FeatureTask, samples_of
from speechasym.training.cuts import read_noises

RATIOS_DB = (20, 10, 5, 0)
BAND_HZ = (300.0, 3400.0)


def variant(condition: str, name: str, number: int, noises: int) -> Variant:
    """Return how a cut is changed in a condition."""
    rng = np.random.default_rng(hashed_seed("condition", name))
    place, time, direct = rng.random(3).tolist()
    if condition == "room":
        return Variant(room=(int(rng.integers(1 << 31)), 0.4 + 0.4 * time, 6 * direct - 3))
    if condition == "telephone":
        return Variant(telephone=BAND_HZ)
    if condition == "clean":
        return Variant()
    return Variant(noise=number % noises, place=place, snr_db=float(condition))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write recordings and a manifest of each condition."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("cuts", help="manifest of cuts")
    parser.add_argument("--noise", required=True, help="folder of recordings of noise")
    parser.add_argument("--out", type=Path, required=True, help="folder to make")
    options = parser.parse_args(arguments)
    try:
        if options.out.exists() and any(options.out.iterdir()):
            raise ConfigError(options.out, "is not empty", "Give a new folder")
        cuts, noises = list(read_cuts(options.cuts)), read_noises(options.noise)
        config = AsymmetryFeatures(compact=True)
        for condition in ("clean", *map(str, RATIOS_DB), "room", "telephone"):
            folder = options.out / condition
            folder.mkdir(parents=True)
            changed = []
            for number, cut in enumerate(cuts):
                drawn = variant(condition, cut.id, number, len(noises))
                noise = None if drawn.noise is None else noises[drawn.noise]
                x = samples_of(FeatureTask(cut, config, drawn, noise))
                x = x / max(1.0, float(np.abs(x).max()))  # louder than full scale with its noise
                path = folder / f"{number:05d}.flac"
                with files.atomic(path) as file:
                    soundfile.write(file, x, config.sample_rate, format="FLAC")
                recording = Recording.from_file(path, cut.id)
                changed.append(fastcopy(cut, start=0, recording=recording, channel=0))
            CutSet.from_cuts(changed).to_file(options.out / f"{condition}_cuts.jsonl.gz")
            print(f"{len(changed)} cuts, {condition}")
    except SpeechAsymError as error:
        parser.exit(2, f"make_conditions: {error}\n")


if __name__ == "__main__":
    main()
